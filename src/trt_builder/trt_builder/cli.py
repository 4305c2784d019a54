# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The command `ros2 run trt_builder trt_build`: builds engines, and tells of models and engines."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
import io
import sys

from trt_engine.card import load_card
from trt_engine.command import end_well
from trt_engine.errors import ConfigError
from trt_engine.errors import PerceptionError

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

    def work() -> int:
        if verb is None and words:
            _check_verb(words[0])
        status: int = command.run(parser.parse_args(words))
        return status

    return end_well(work, misused=USAGE)


def _check_verb(word: str) -> None:
    near = get_close_matches(word, VERBS, n=1, cutoff=0.75)
    if not near:
        return
    try:
        load_card(word)
    except PerceptionError as exc:
        raise ConfigError(
            f'{word!r} is neither a verb nor a card; did you mean {near[0]!r}? '
            f'verbs: {", ".join(VERBS)}'
        ) from exc
