# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`trt_build <card>`: the engine of a card, or with --dry-run what building it would do."""

from __future__ import annotations

from argparse import ArgumentParser
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
import sys
from typing import Any

from trt_builder.build_process import check_in_process
from trt_builder.builder import EngineBuilder
from trt_builder.builder import Outcome
from trt_builder.builder import refusal
from trt_builder.commands import arguments
from trt_builder.commands.dry_run import dry_run
from trt_builder.commands.inspect import print_layers
from trt_builder.commands.show import describe_bytes
from trt_builder.commands.show import describe_checks
from trt_builder.commands.show import describe_layers
from trt_builder.commands.show import print_fields
from trt_builder.commands.show import print_json
from trt_builder.commands.show import show_progress
from trt_builder.commands.show import warn
from trt_builder.layers import fallbacks
from trt_builder.layers import placement
from trt_builder.trtexec.reader import FromTrtexec
from trt_builder.trtexec.reader import read
from trt_builder.trtexec.reader import split
from trt_engine.card import Card
from trt_engine.card import load_card
from trt_engine.entry import read_text
from trt_engine.errors import ConfigError
from trt_engine.errors import PerceptionError
from trt_engine.lidar.model import network_file
from trt_engine.store import Store

SUMMARY = """\
Build the engine of a model card, unless the store has it already.
In place of a card, a verb (each has its own --help): inspect, dla-report, store, trtexec,
sensitivity."""
EXAMPLE = """\
examples:
  trt_build demo --dry-run                     what would happen, on any machine
  trt_build yolox_nano --onnx yolox_nano.onnx --precision int8 --set calibration.data=pictures/
  trt_build demo --flavour tensorrt_rtx        an engine for a desktop GPU

exit status: 0 done, 1 refused or failed, 2 wrong usage, 130 stopped"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    arguments.add_card(parser)
    arguments.add_flavour(parser)
    parser.add_argument(
        '--from-trtexec', metavar='LINE', help='take build settings from a line of trtexec'
    )
    arguments.add_store(parser)
    parser.add_argument('--force', action='store_true', help='build even if the store has it')
    parser.add_argument(
        '--allow-few', action='store_true', help='calibrate with fewer than 100 samples, too'
    )
    parser.add_argument('--dry-run', action='store_true', help='tell what would happen, and why')
    arguments.add_tensorrt(parser, 'with --dry-run or --from-trtexec: the version that is meant')
    arguments.add_json(parser)


def run(args: Namespace) -> int:
    """Build, or tell what building would do; return the exit status."""
    if args.tensorrt is not None and not (args.dry_run or args.from_trtexec):
        raise ConfigError(
            '--tensorrt: a build takes the TensorRT that is installed; give --dry-run too'
        )
    try:
        return _run(args)
    except PerceptionError as exc:
        if args.json:
            print_json(refusal(exc))
        raise


def _run(args: Namespace) -> int:
    settings: Sequence[str] = ()
    told: dict[str, Any] = {}
    if args.from_trtexec is not None:
        line = _read_line(args)
        settings = line.settings
        told = {'from_trtexec': {'settings': settings, 'notes': line.notes}}
    card = arguments.read_card(args, settings)
    store = Store(args.store)
    if args.dry_run:
        found = dry_run(args, card, store)
        if args.json:
            print_json({**found.to_json(), **told})
        else:
            found.print()
        return 1 if found.refused else 0
    with show_progress() as progress:
        outcome = EngineBuilder(store, args.flavour).build(
            card, force=args.force, allow_few=args.allow_few, progress=progress
        )
    for text in outcome.warnings:
        warn(text)
    if args.json:
        print_json({**outcome.to_json(), **told})
    else:
        _print_outcome(outcome, card)
    return 0


def _read_line(args: Namespace) -> FromTrtexec:
    """Return what --from-trtexec says, and take its model unless --onnx names another."""
    for word in split(args.from_trtexec):
        if args.onnx is None and word.startswith('--onnx='):
            args.onnx = Path(word.removeprefix('--onnx='))
    version = arguments.known_version('tensorrt', args.tensorrt)
    model = network_file(load_card(args.card, onnx=args.onnx))
    (report,) = check_in_process([model], 'tensorrt', version)
    line = read(args.from_trtexec, version, report.require())
    if line.engine is not None:
        note = f'--saveEngine={line.engine}: the engine goes into the store'
        line = replace(line, notes=(*line.notes, note))
    for text in (*(f'--set {setting}' for setting in line.settings), *line.notes):
        print(f'trtexec: {text}', file=sys.stderr)
    return line


def _print_outcome(outcome: Outcome, card: Card) -> None:
    entry = outcome.entry
    print(f'{outcome.status} {card.name}: {outcome.reason}')
    print_fields(
        (
            ('engine', str(entry.plan)),
            ('key', entry.key),
            ('size', describe_bytes(entry.size_bytes)),
            ('took', f'{outcome.seconds:.1f} s'),
            ('checks', describe_checks(outcome.checks)),
            ('layers', describe_layers(entry.manifest.layers)),
            ('decided', outcome.notes),
        )
    )
    if card.build.dla.core is not None and entry.manifest.layers.get('count'):
        fell = fallbacks(placement(read_text(entry.layers)))
        print_layers('Fell back from the DLA to the GPU', fell)
