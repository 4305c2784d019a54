# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Samples the board, judges it, notes events and records: all that happens once a period."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
import math
from pathlib import Path
import threading
from typing import Any

from jetson_monitor.board import Board
from jetson_monitor.board import read_board
from jetson_monitor.config import MonitorConfig
from jetson_monitor.energy import Energy
from jetson_monitor.energy import EnergyMeter
from jetson_monitor.errors import RecordError
from jetson_monitor.events import Event
from jetson_monitor.events import EventDetector
from jetson_monitor.events import EventLog
from jetson_monitor.health import Judge
from jetson_monitor.health import Status
from jetson_monitor.record import open_recorder
from jetson_monitor.rules import Level
from jetson_monitor.sample import Sample
from jetson_monitor.sources import open_sources
from jetson_monitor.sources import Sources


@dataclass(frozen=True)
class Snapshot:
    """All that is known after one sample; energies are None where no power is known."""

    sample: Sample
    statuses: tuple[Status, ...]
    events: tuple[Event, ...]
    energy: Energy | None
    energy_window: Energy | None


class Monitor:
    """Turns successive samples into snapshots, and writes the files that are wanted."""

    def __init__(
        self, config: MonitorConfig, read: Callable[[], Sample | None], soc: str | None = None
    ) -> None:
        """Open the files.

        Args:
            config: What is wanted.
            read: Returns the newest sample, or None where there is no new one.
            soc: The chip, such as tegra234.

        Raises:
            RecordError: A file cannot be written.
        """
        self._read = read
        self._judge = Judge(config, soc)
        self._events = EventDetector()
        self._meter = EnergyMeter(config.energy_window_s)
        self._recorder = (
            open_recorder(
                Path(config.record).expanduser(),
                int(config.record_mib * 1024 * 1024),
                config.record_files,
            )
            if config.record
            else None
        )
        self._event_log = (
            EventLog(Path(config.event_file).expanduser()) if config.event_file else None
        )

    def step(self) -> Snapshot | None:
        """Take one sample; None where there is none."""
        sample = self._read()
        if sample is None:
            return None
        statuses = self._judge.judge(sample)
        events = self._events.observe(sample)
        self._meter.add(sample)
        failure = self._write(sample, events)
        if failure:
            statuses = (*statuses, Status('recording', Level.ERROR, failure))
        return Snapshot(sample, statuses, events, self._meter.total, self._meter.window)

    def close(self) -> None:
        """Close the files."""
        for file in (self._recorder, self._event_log):
            if file is not None:
                file.close()

    def _write(self, sample: Sample, events: tuple[Event, ...]) -> str:
        """Write what happened; return why that failed, as a full disk must not end the watch."""
        wanted: tuple[tuple[Any, Sequence[object]], ...] = (
            (self._recorder, (sample,)),
            (self._event_log, events),
        )
        failures = []
        for file, lines in wanted:
            if file is None:
                continue
            try:
                for line in lines:
                    file.write(line)
            except RecordError as exc:
                failures.append(str(exc))
        return '; '.join(failures)


class Sampling:
    """Runs a monitor in a thread of its own, so that a slow sensor delays nobody."""

    def __init__(
        self,
        monitor: Monitor,
        period_s: float,
        clock: Callable[[], float],
        on_snapshot: Callable[[Snapshot], None],
        on_crash: Callable[[Exception], None],
    ) -> None:
        """Start.

        Args:
            monitor: What is run.
            period_s: Seconds from one sample to the next.
            clock: Seconds of a clock that never goes back.
            on_snapshot: Called in the thread with each snapshot.
            on_crash: Called in the thread with a defect, after which the thread has ended.
        """
        self._monitor = monitor
        self._period_s = period_s
        self._clock = clock
        self._on_snapshot = on_snapshot
        self._on_crash = on_crash
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name='sampling', daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop; a read that hangs in a driver is left to itself after `timeout_s`."""
        self._stopping.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        start_s = self._clock()
        try:
            while not self._stopping.is_set():
                snapshot = self._monitor.step()
                if snapshot is not None:
                    self._on_snapshot(snapshot)
                # On a fixed grid, so that the rate does not depend on how long reading takes.
                elapsed_s = self._clock() - start_s
                next_s = (math.floor(elapsed_s / self._period_s) + 1) * self._period_s
                self._stopping.wait(next_s - elapsed_s)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the owner must hear of it
            self._on_crash(exc)


def open_configured(config: MonitorConfig) -> Sources:
    """Return the sources that a configuration names.

    Raises:
        MonitorError: They cannot be read here, or the recording to replay cannot.
    """
    return open_sources(
        config.source,
        period_s=config.period_s,
        root=Path(config.root),
        mounts=config.mounts,
        tegrastats=config.tegrastats,
        log=Path(config.replay_file).expanduser() if config.replay_file else None,
    )


def configured_board(config: MonitorConfig) -> tuple[Board, Status]:
    """Return the board that a configuration reads, and what is to be said of it.

    Another machine is watched as far as it can be, and named as such.
    """
    if config.source == 'replay':
        message = f'recording {config.replay_file}; of which board is not known'
        return Board(), Status('board', Level.OK, message)
    board = read_board(Path(config.root))
    message = board.model or 'machine of unknown model'
    if not board.is_jetson:
        message += ': this is not a Jetson, or a container that hides it; what there is, is shown'
    return board, Status('board', Level.OK, message, board.facts())
