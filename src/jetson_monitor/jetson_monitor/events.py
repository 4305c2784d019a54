# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What happened, told once: throttling began, the mode changed, a source was lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import json
from pathlib import Path

from jetson_monitor.health import is_throttled
from jetson_monitor.health import text
from jetson_monitor.line_file import LineFile
from jetson_monitor.record import utc
from jetson_monitor.sample import Sample

_FILE_BYTES = 16 * 1024 * 1024
_FILES = 2


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Attributes:
        time_s: Seconds since the epoch, of the first sample that shows it.
        kind: throttling_began, throttling_ended, power_mode_changed, oom_kill, source_lost or
            source_returned.
        message: What happened, in words.
    """

    time_s: float
    kind: str
    message: str

    def json(self) -> str:
        """Return it as one JSON object."""
        return json.dumps(
            {'time_utc': utc(self.time_s), 'event': self.kind, 'message': self.message}
        )


class EventDetector:
    """Compares each sample with those before; what is not known changes nothing."""

    def __init__(self) -> None:
        self._throttled = False
        self._throttled_since_s = 0.0
        self._mode: str | None = None
        self._alive: dict[str, bool] = {}
        self._kills: float | None = None

    def observe(self, sample: Sample) -> tuple[Event, ...]:
        """Return what happened between the sample before and this one."""
        return tuple(
            Event(sample.time_s, kind, message)
            for kind, message in (
                *self._throttling(sample),
                *self._power_mode(sample),
                *self._oom(sample),
                *self._sources(sample),
            )
        )

    def _throttling(self, sample: Sample) -> Iterator[tuple[str, str]]:
        throttled = is_throttled(sample)
        if throttled is None or throttled == self._throttled:
            return
        self._throttled = throttled
        if throttled:
            self._throttled_since_s = sample.monotonic_s
            devices = sample.matching('throttle_', '_state')
            active = [
                name for name, state in devices.items() if state and not name.endswith('_max')
            ]
            yield 'throttling_began', f'throttled by {", ".join(active)}'
        else:
            lasted_s = sample.monotonic_s - self._throttled_since_s
            yield 'throttling_ended', f'full speed again after {lasted_s:.0f} s'

    def _power_mode(self, sample: Sample) -> Iterator[tuple[str, str]]:
        mode = sample.texts.get('power_mode')
        if mode is None or mode == self._mode:
            return
        if self._mode is not None:
            yield 'power_mode_changed', f'power mode {self._mode} became {mode}'
        self._mode = mode

    def _oom(self, sample: Sample) -> Iterator[tuple[str, str]]:
        kills = sample.values.get('oom_kills')
        if kills is None:
            return
        if self._kills is not None and kills > self._kills:
            killed = text(kills - self._kills)
            yield 'oom_kill', f'the kernel killed processes for want of memory: {killed}'
        self._kills = kills

    def _sources(self, sample: Sample) -> Iterator[tuple[str, str]]:
        for name, alive in sample.matching('source_', '_alive').items():
            before = self._alive.get(name)
            if alive and before is False:
                yield 'source_returned', f'{name} sends again'
            elif not alive and before:
                yield 'source_lost', f'{name} has stopped; what only it knew is missing'
            # A source that never lived, as one that is not installed, is no loss.
            if alive or before is not None:
                self._alive[name] = bool(alive)


class EventLog:
    """Notes events in a file, a JSON object a line."""

    def __init__(self, path: Path) -> None:
        """Open the file, and go on where it ends.

        Raises:
            RecordError: The file cannot be written.
        """
        self._file = LineFile(path, _FILE_BYTES, _FILES)

    def write(self, event: Event) -> None:
        """Write one event.

        Raises:
            RecordError: The disk is full, or the like.
        """
        line = event.json()
        if self._file.is_full(line):
            self._file.rotate()
        self._file.append(line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
