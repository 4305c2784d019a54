# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""How results look: results on the standard output, everything else on the standard error."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
import json
import sys
from typing import Any

from trt_builder.build_process import Progress

PLAIN_EVERY_S = 10.0  # a log that says nothing for longer looks like one of a hanging build


def print_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    print(json.dumps(values, indent=2))


def print_fields(fields: Iterable[tuple[str, str | Sequence[str]]]) -> None:
    """Print names and values, one value a line; a name without values is left out."""
    for name, value in fields:
        for place, line in enumerate([value] if isinstance(value, str) else value):
            print(f'  {name if not place else "":<10}{line}')


def print_table(title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table under a title; nothing where there are no rows."""
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    print(f'\n{title}' if title else '')
    for row in (names, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(f'  {"  ".join(cells)}'.rstrip())


def describe_checks(checks: Mapping[str, Any]) -> str:
    """Return what the comparison of an engine with its model showed, in a line."""
    if checks.get('passed') is None:
        return f'none: {checks.get("skipped", "the engine was built elsewhere")}'
    return f'{"passed" if checks["passed"] else "failed"}: {checks.get("summary", "")}'


def describe_layers(layers: Mapping[str, Any]) -> str:
    """Return how many layers compute in what and where, in a line."""
    if not layers.get('count'):
        return 'not known: TensorRT told nothing of them'
    counts = [
        ', '.join(f'{count} {name}' for name, count in sorted(layers[by].items()))
        for by in ('precision', 'device')
    ]
    return f'{layers["count"]}: {counts[0]}; on {counts[1]}; {layers["moves"]} more only move data'


def describe_bytes(count: int) -> str:
    """Return a size in MiB."""
    return f'{count / (1 << 20):.1f} MiB'


def warn(text: str) -> None:
    """Tell of something that may go wrong."""
    print(f'warning: {text}', file=sys.stderr)


@contextmanager
def show_progress() -> Iterator[Callable[[Progress], None]]:
    """Give what shows how far a build is: a bar on a terminal, else a line for each phase."""
    if not sys.stderr.isatty():
        yield _PlainProgress()
        return
    from rich import progress as bars
    from rich.console import Console
    from rich.table import Column

    rest = Column(ratio=1, no_wrap=True, overflow='ellipsis')
    columns = (
        bars.BarColumn(),
        bars.TaskProgressColumn(),
        bars.TimeElapsedColumn(),
        # names of layers hold brackets
        bars.TextColumn('{task.description}', markup=False, table_column=rest),
    )
    console = Console(stderr=True)
    with bars.Progress(*columns, console=console, transient=True, expand=True) as bar:
        task = bar.add_task('', total=1.0)
        yield lambda step: bar.update(
            task, completed=step.fraction, description=f'{step.phase}: {step.message}'
        )


class _PlainProgress:
    def __init__(self) -> None:
        self._phase, self._when_s = '', 0.0

    def __call__(self, step: Progress) -> None:
        if step.phase == self._phase and step.elapsed_s - self._when_s < PLAIN_EVERY_S:
            return
        self._phase, self._when_s = step.phase, step.elapsed_s
        text = f'{step.elapsed_s:7.1f} s {step.fraction:4.0%}  {step.phase}: {step.message}'
        print(text, file=sys.stderr, flush=True)
