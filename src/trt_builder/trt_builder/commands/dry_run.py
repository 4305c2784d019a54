# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`trt_build <card> --dry-run`: all that can be said of a build beforehand, anywhere."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
import json
from pathlib import Path
import shutil
from typing import Any

from trt_builder.builder import EngineBuilder
from trt_builder.builder import Plan
from trt_builder.commands import arguments
from trt_builder.commands.dla_report import availability
from trt_builder.commands.dla_report import describe_availability
from trt_builder.commands.inspect import print_model
from trt_builder.commands.show import print_fields
from trt_builder.commands.show import print_table
from trt_builder.commands.trtexec import equivalent
from trt_builder.compat import describe
from trt_builder.dla.process import report_in_process
from trt_builder.dla.report import Availability
from trt_builder.dla.report import DlaReport
from trt_builder.settings import Resolved
from trt_builder.trtexec.writer import Command
from trt_engine.card import Card
from trt_engine.errors import BuildRefusedError
from trt_engine.store import Found
from trt_engine.store import Store

_TOLD_ELSEWHERE = ('flavour', 'version', 'notes', 'warnings')


@dataclass(frozen=True)
class DryRun:
    """What building would do.

    Attributes:
        plan: What the builder says.
        notes: Why each choice was made.
        dla: What a DLA could run, where the card wants one.
        available: Whether this machine has one.
        disk_mib: What is free where the engine would lie.
        trtexec: The same build as a line of trtexec.
        no_trtexec: Why there is no such line.
    """

    plan: Plan
    notes: tuple[str, ...]
    dla: DlaReport | None
    available: Availability
    disk_mib: int
    trtexec: Command | None
    no_trtexec: str

    @property
    def refused(self) -> bool:
        """Return whether there would be no engine."""
        return bool(self.plan.refusals) and self.plan.found.entry is None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        dla = self.dla and {**self.dla.to_json(), 'availability': asdict(self.available)}
        line = self.trtexec and asdict(self.trtexec)
        return {
            **self.plan.to_json(),
            'notes': self.notes,
            'disk_free_mib': self.disk_mib,
            'dla': dla,
            'trtexec': line,
        }

    def print(self) -> None:
        """Print it for people."""
        plan = self.plan
        values = plan.to_json()
        print(f'{values["status"]} {plan.card.name}: {values["reason"]}')
        print_fields((('engine', values['engine'] or ()), ('key', values['key'])))
        print()
        print_model(plan.model)
        if (told := plan.resolved) is not None:
            title = f'Told to {describe(told.flavour, told.version)}'
            print_table(title, ('setting', 'value'), list(_settings(told.to_json())))
        print('\nDecided and expected')
        print_fields(
            (
                ('note', self.notes),
                ('warning', plan.warnings),
                ('memory', () if plan.memory is None else plan.memory.text),
                ('disk', f'{self.disk_mib} MiB are free'),
            )
        )
        if self.dla is not None:
            print(f'\n{self.dla.to_text()}\n\n{describe_availability(self.available)}')
        if told is not None:
            print(f'\nThe same with trtexec\n{self.trtexec or self.no_trtexec}')


def dry_run(args: Namespace, card: Card, store: Store) -> DryRun:
    """Return what building the engine of a card would do."""
    assumed, note = arguments.assume_version(args.flavour, args.tensorrt)
    plan = EngineBuilder(store, args.flavour, assume=assumed).plan(card, allow_few=args.allow_few)
    if args.force and plan.found.entry is not None:
        plan = replace(plan, found=Found(None, 'to be built anew, as asked'))
    line, why = None, ''
    try:
        line = equivalent(plan)
    except BuildRefusedError as exc:
        why = str(exc)
    dla = None
    if card.build.dla.core is not None and plan.model.facts is not None:
        dla = report_in_process(
            plan.onnx,
            card.build.precision,
            shapes=_shapes(plan.resolved),
            tensorrt=arguments.known_version('tensorrt', args.tensorrt),
        )
    notes = (*([note] if note else []), *plan.notes)
    return DryRun(
        plan, notes, dla, availability(None, args.tensorrt), _free_mib(store.root), line, why
    )


def _free_mib(folder: Path) -> int:
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    return shutil.disk_usage(nearest).free >> 20


def _shapes(resolved: Resolved | None) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the inputs that a model leaves open."""
    profiles = () if resolved is None else resolved.profiles[:1]
    return {name: shapes.opt for profile in profiles for name, shapes in profile.items()}


def _settings(values: Mapping[str, Any], within: str = '') -> Iterator[tuple[str, str]]:
    """Yield what TensorRT is told, one value a line, but for what is left to it."""
    for name, value in values.items():
        place = f'{within}{name}'
        if place in _TOLD_ELSEWHERE or value is None:
            continue
        if isinstance(value, Mapping):
            yield from _settings(value, f'{place}.')
        elif not isinstance(value, tuple):
            yield place, value if isinstance(value, str) else json.dumps(value)
        elif value and isinstance(value[0], Mapping):
            yield from _settings({str(n): each for n, each in enumerate(value)}, f'{place}.')
        elif value or name == 'tactic_sources':  # where none is not the default
            numbers = all(isinstance(each, int) for each in value)
            yield place, ('x' if numbers else ', ').join(map(str, value)) or 'none'
