# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The command `ros2 run trt_builder trt_build`: builds engines, and tells of models and engines."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
from importlib import import_module
import io
import sys

from trt_engine.command import end_well

USAGE = 2

# verb -> module of `commands`; any other first word is the card of an engine to build
VERBS: Mapping[str, str] = {
    'inspect': 'inspect',
    'dla-report': 'dla_report',
    'store': 'store',
    'trtexec': 'trtexec',
    'sensitivity': 'sensitivity',
}


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the words say; return the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    verb = words.pop(0) if words and words[0] in VERBS else None
    command = import_module(f'trt_builder.commands.{VERBS[verb] if verb else "build"}')
    parser = argparse.ArgumentParser(
        prog=f'trt_build {verb}' if verb else 'trt_build',
        description=command.SUMMARY,
        epilog=command.EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')  # names of files may be no text
    return end_well(lambda: command.run(parser.parse_args(words)), misused=USAGE)
