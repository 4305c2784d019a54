# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded logs as a source, so that a robot's bad afternoon can be looked at on a laptop.

A log is what tegrastats printed, or a recording of ours: CSV or JSON lines. It is played on its own
timeline; so a gap in it is seen as it was then.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import csv
from dataclasses import replace
from datetime import datetime
from datetime import timezone
from datetime import tzinfo
import itertools
import operator
from pathlib import Path
import time

from jetson_monitor.errors import RecordError
from jetson_monitor.line_file import whole_lines
from jetson_monitor.record import read_json_lines
from jetson_monitor.record import TIME_COLUMNS
from jetson_monitor.sample import Sample
from jetson_monitor.sysfs.files import number
from jetson_monitor.tegrastats import parse_line
from jetson_monitor.tegrastats import Parsed


def read_log(path: Path, *, interval_s: float = 1.0, zone: tzinfo = timezone.utc) -> list[Sample]:
    """Return the samples of a log, the oldest first.

    Args:
        path: What tegrastats printed, or a recording in CSV (.csv) or JSON lines (.jsonl).
        interval_s: Seconds between lines of tegrastats without a stamp; such a log begins in 1970.
        zone: Time zone of the board's stamps, which do not say it.

    Raises:
        RecordError: The file cannot be read, or has no sample.
    """
    readers: dict[str, Callable[[Path], list[Sample]]] = {
        '.csv': _read_csv,
        '.jsonl': read_json_lines,
    }
    read = readers.get(path.suffix)
    samples = read(path) if read else _read_tegrastats(path, interval_s, zone)
    if not samples:
        raise RecordError(
            f'{path} has no sample; wanted lines of tegrastats, or a recording (.csv or .jsonl)'
        )
    return samples


def _read_csv(path: Path) -> list[Sample]:
    rows = csv.reader(whole_lines(path))
    samples = []
    try:
        header = next(rows, [])
        if tuple(header[:2]) != TIME_COLUMNS:
            raise RecordError(
                f'{path} begins with {",".join(header)[:80]!r}; wanted a recording, whose header '
                f'begins with {",".join(TIME_COLUMNS)}'
            )
        for row in rows:
            samples.append(_sample(dict(zip(header, row, strict=True))))
    except (csv.Error, ValueError) as error:
        raise RecordError(
            f'{path}, line {rows.line_num}: {error}; wanted {TIME_COLUMNS[0]} as ISO 8601, '
            f'{TIME_COLUMNS[1]} in seconds, and as many cells as the header has'
        ) from error
    return samples


def _sample(cells: dict[str, str]) -> Sample:
    # until Python 3.11 the Z that stands for UTC is not understood
    time_utc = datetime.fromisoformat(cells.pop('time_utc').replace('Z', '+00:00'))
    monotonic_s = float(cells.pop('monotonic_s'))
    values = {name: value for name, cell in cells.items() if (value := number(cell)) is not None}
    texts = {name: cell for name, cell in cells.items() if cell and name not in values}
    return Sample(time_utc.timestamp(), monotonic_s, values, texts)


def _read_tegrastats(path: Path, interval_s: float, zone: tzinfo) -> list[Sample]:
    try:
        lines = path.read_text(errors='replace').split('\n')
    except OSError as error:
        raise RecordError(f'{path} cannot be read: {error.strerror}') from error
    parsed = [each for each in map(parse_line, lines) if each.values]
    return list(_timed(parsed, interval_s, zone))


def _timed(parsed: Iterable[Parsed], interval_s: float, zone: tzinfo) -> Iterator[Sample]:
    """Yield lines as samples; of those with the stamp of one second, each a part of it later."""
    time_s = monotonic_s = 0.0
    for stamp, group in itertools.groupby(parsed, key=lambda each: each.stamp):
        lines = list(group)
        step_s = interval_s
        if stamp is not None:
            step_s = 1 / len(lines)
            stamp_s = stamp.replace(tzinfo=zone).timestamp()
            # where the clock of the board was set back, time goes on as if there were no gap
            monotonic_s += max(stamp_s - time_s, 0.0) if time_s else 0.0
            time_s = stamp_s
        for line in lines:
            yield Sample(time_s, monotonic_s, line.values)
            time_s += step_s
            monotonic_s += step_s


class ReplaySource:
    """Gives out the samples of a log when their time has come.

    Its `clock` and `monotonic` are those of the log: what it is merged or judged with needs them.

    Args:
        samples: At least one, the oldest first.
        speed: Seconds of the log that pass in one second.
        monotonic: Returns seconds that never go back.

    Attributes:
        period_s: Median time between the samples.
    """

    name = 'replay'

    def __init__(
        self,
        samples: Sequence[Sample],
        speed: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._samples = list(_forward(samples))
        self._times_s = [sample.monotonic_s for sample in self._samples]
        self._speed = speed
        self._real_s = monotonic
        self._start_s = monotonic()
        gaps_s = sorted(map(operator.sub, self._times_s[1:], self._times_s))
        self.period_s = gaps_s[len(gaps_s) // 2] if gaps_s else 0.0

    @property
    def problem(self) -> str:
        """That the log has ended, '' until then."""
        return 'the log has ended' if self.monotonic() > self._times_s[-1] else ''

    def monotonic(self) -> float:
        """Return where in the log it is, in seconds of the log's own clock."""
        return self._times_s[0] + (self._real_s() - self._start_s) * self._speed

    def clock(self) -> float:
        """Return what time it was then, in seconds since the epoch."""
        sample = self.read()
        return sample.time_s + self.monotonic() - sample.monotonic_s

    def read(self) -> Sample:
        """Return the newest sample of then."""
        return self._samples[max(bisect.bisect(self._times_s, self.monotonic()) - 1, 0)]

    def close(self) -> None:
        """Do nothing: the log has been read."""


def _forward(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Yield samples on one monotonic clock, also where the board was started anew in between."""
    monotonic_s = 0.0
    last: Sample | None = None
    for sample in samples:
        if last is None:
            monotonic_s = sample.monotonic_s
        elif sample.monotonic_s >= last.monotonic_s:
            monotonic_s += sample.monotonic_s - last.monotonic_s
        else:
            monotonic_s += max(sample.time_s - last.time_s, 0.0)
        last = sample
        yield replace(sample, monotonic_s=monotonic_s)
