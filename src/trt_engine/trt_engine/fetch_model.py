# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The command `ros2 run trt_engine fetch_model <card>`: downloads the network that a card names."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
import logging
import sys

from trt_engine.card import load_card
from trt_engine.command import end_well
from trt_engine.model_file import fetch_model
from trt_engine.model_file import Progress


def main(argv: Sequence[str] | None = None) -> int:
    """Download one card's network; return the exit status."""
    parser = argparse.ArgumentParser(prog='fetch_model', description=__doc__)
    parser.add_argument('card', help='name of a model card, or path of its YAML file')
    parser.add_argument('--force', action='store_true', help='download even if it is here already')
    args = parser.parse_args(argv)
    logging.basicConfig(format='%(message)s')
    return end_well(
        lambda: _fetch(args.card, args.force),
        stopped='stopped; run it again to go on where it stopped',
    )


def _fetch(name: str, force: bool) -> int:
    card = load_card(name)
    print(f'{card.name}: {card.model.source} (licence: {card.model.licence})')
    with _progress_bar() as progress:
        path = fetch_model(card, progress, force=force)
    print(path)
    return 0


@contextmanager
def _progress_bar() -> Iterator[Progress | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.BarColumn(),
        bars.DownloadColumn(),
        bars.TransferSpeedColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task('')
        yield lambda done, total: bar.update(task, completed=done, total=total)


if __name__ == '__main__':
    sys.exit(main())
