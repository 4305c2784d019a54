# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`trt_build trtexec`: the same build as a command line of NVIDIA's trtexec."""

from __future__ import annotations

from argparse import ArgumentParser
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
import sys

from trt_builder.builder import EngineBuilder
from trt_builder.builder import Plan
from trt_builder.commands import arguments
from trt_builder.trtexec.writer import Command
from trt_builder.trtexec.writer import command
from trt_engine.errors import BuildRefusedError
from trt_engine.store import Store

SUMMARY = 'Print the trtexec line that builds the same engine.'
EXAMPLE = 'example: trt_build trtexec demo --tensorrt 8.6.2 > build.sh'


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    arguments.add_card(parser)
    arguments.add_tensorrt(parser, 'version that trtexec is of')
    arguments.add_store(parser)


def run(args: Namespace) -> int:
    """Print the line; return the exit status."""
    assumed, note = arguments.assume_version('tensorrt', args.tensorrt)
    builder = EngineBuilder(Store(args.store), assume=assumed)
    line = equivalent(builder.plan(arguments.read_card(args)))
    for each in (*([note] if note else []), *line.notes):
        print(f'# {each}', file=sys.stderr)
    print(replace(line, notes=()))
    return 0


def equivalent(plan: Plan) -> Command:
    """Return the trtexec line of a plan.

    Raises:
        BuildRefusedError: The build is refused, or there is no trtexec for it.
    """
    if plan.resolved is None:
        raise BuildRefusedError('; '.join(plan.refusals))
    return command(plan.resolved, plan.model.require(), engine=Path(f'{plan.card.name}.engine'))
