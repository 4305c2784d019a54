# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Sources of samples, alone or together: of each value the richest source that has it now."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
import time
from typing import Protocol

from jetson_monitor.errors import ConfigError
from jetson_monitor.errors import SourceError
from jetson_monitor.jtop_source import JtopSource
from jetson_monitor.nvml import NvmlSource
from jetson_monitor.replay import read_log
from jetson_monitor.replay import ReplaySource
from jetson_monitor.sample import merge
from jetson_monitor.sample import Sample
from jetson_monitor.sysfs import SysfsSource
from jetson_monitor.tegrastats_stream import TegrastatsSource

STALE_PERIODS = 3
# Each kind with the sources that it takes, the richest first. The kernel's files are richest: they
# alone know limits and throttling, and are read in the moment of the sample.
KINDS: Mapping[str, tuple[str, ...]] = {
    'auto': ('sysfs', 'nvml', 'tegrastats', 'jtop'),
    'sysfs': ('sysfs', 'nvml'),
    'tegrastats': ('tegrastats',),
    'jtop': ('jtop',),
    'replay': ('replay',),
}
_SILENT = 'it has sent nothing new'


class Source(Protocol):
    """Where samples come from."""

    @property
    def name(self) -> str:
        """What it is called in samples and messages."""

    @property
    def problem(self) -> str:
        """Why there is nothing new, as far as it knows; '' while all is well."""

    def read(self) -> Sample | None:
        """Return the newest sample at once, however old it is; None before the first.

        Raises:
            SourceError: There will be no new one until what the message says is done.
        """

    def close(self) -> None:
        """Let go of processes and libraries."""


@dataclass(frozen=True)
class SourceState:
    """How a source is doing.

    Attributes:
        name: What it is called.
        alive: Whether its values are used now.
        problem: Why not, as far as is known; '' if it is alive.
    """

    name: str
    alive: bool
    problem: str = ''


class Sources:
    """Several sources as one.

    The values of a source that has sent nothing new for three periods are left out, until it
    sends again. Each sample says of each source how old its news is and whether they are used.

    Args:
        sources: The richest first.
        period_s: Seconds from sample to sample.
        clock: Returns seconds since the epoch.
        monotonic: Returns seconds that never go back, the same as the sources have.
        unused: Sources that could not be opened, with the reason.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        period_s: float = 1.0,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        unused: Mapping[str, str] | None = None,
    ) -> None:
        self._sources = tuple(sources)
        self._limit_s = STALE_PERIODS * period_s
        self._clock = clock
        self._monotonic = monotonic
        unused = unused or {}
        self._unused = tuple(SourceState(name, False, why) for name, why in unused.items())
        self._states: tuple[SourceState, ...] = ()

    @property
    def states(self) -> tuple[SourceState, ...]:
        """How each source did when last read, those that could not be opened included."""
        return self._states + self._unused

    def read(self) -> Sample:
        """Return what is known now."""
        fresh: list[tuple[str, Sample]] = []
        ages: dict[str, float] = {}
        states = []
        for source in self._sources:
            problem = source.problem
            sample = None
            try:
                sample = source.read()
            except SourceError as error:
                problem = str(error)
            alive = False
            if sample is not None:
                age_s = max(self._monotonic() - sample.monotonic_s, 0.0)
                ages[f'source_{source.name}_age_s'] = age_s
                alive = age_s <= self._limit_s
                if alive:
                    fresh.append((source.name, sample))
            ages[f'source_{source.name}_alive'] = float(alive)
            states.append(SourceState(source.name, alive, '' if alive else problem or _SILENT))
        self._states = tuple(states)
        merged = merge(self._clock(), self._monotonic(), fresh)
        return replace(merged, values={**merged.values, **_mean_load(merged), **ages})

    def close(self) -> None:
        """Close every source."""
        with contextlib.ExitStack() as stack:
            for source in self._sources:
                stack.callback(source.close)


def _mean_load(sample: Sample) -> dict[str, float]:
    """Return the mean of the cores that are online; jtop's own is wrong in every second sample."""
    loads = sample.matching('cpu', '_load_percent').values()
    return {'cpu_load_percent': sum(loads) / len(loads)} if loads else {}


def open_sources(
    kind: str = 'auto',
    *,
    period_s: float = 1.0,
    root: Path = Path('/'),
    mounts: Iterable[str] = ('/',),
    tegrastats: Sequence[str] = ('tegrastats',),
    log: Path | None = None,
    speed: float = 1.0,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> Sources:
    """Open one kind of source, or all that work here.

    Args:
        kind: One of KINDS. `auto` is all that work here but replay; `sysfs` has NVML beside it,
            as the kernel's files of Thor do not say the load of the GPU.
        period_s: Seconds from sample to sample.
        root: Where sys, proc, etc and var are.
        mounts: Folders whose disks are watched.
        tegrastats: Program to run, with arguments.
        log: What `replay` plays: see jetson_monitor.replay.
        speed: How fast it plays; 2 is twice as fast as it was.
        clock: Returns seconds since the epoch.
        monotonic: Returns seconds that never go back.

    Raises:
        ConfigError: There is no such kind, or no log to replay.
        RecordError: The log cannot be read.
        SourceError: The source that was asked for, or any of all, cannot be read here.
    """
    if kind not in KINDS:
        raise ConfigError(f'source {kind!r} is not known; wanted one of {", ".join(KINDS)}')
    if kind == 'replay':
        if log is None:
            raise ConfigError('source replay has no log to play; give one')
        replay = ReplaySource(read_log(log), speed, monotonic)
        return Sources(
            [replay], max(period_s, replay.period_s), clock=replay.clock, monotonic=replay.monotonic
        )

    openers: Mapping[str, Callable[[], Source]] = {
        'sysfs': lambda: SysfsSource(root, mounts=mounts, clock=clock, monotonic=monotonic),
        'nvml': lambda: NvmlSource(clock=clock, monotonic=monotonic),
        'tegrastats': lambda: TegrastatsSource(
            period_s, tegrastats, clock=clock, monotonic=monotonic
        ),
        'jtop': lambda: JtopSource(period_s, clock=clock, monotonic=monotonic),
    }
    opened: list[Source] = []
    unused: dict[str, str] = {}
    for name in KINDS[kind]:
        try:
            opened.append(openers[name]())
        except SourceError as error:
            unused[name] = str(error)
    sources = Sources(opened, period_s, clock=clock, monotonic=monotonic, unused=unused)
    if (KINDS[kind][0] in unused and kind != 'auto') or not opened:
        sources.close()
        reasons = '; '.join(f'{name}: {reason}' for name, reason in unused.items())
        raise SourceError(f'source {kind} cannot be used here: {reasons}')
    return sources
