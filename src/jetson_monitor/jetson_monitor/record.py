# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Writes samples to CSV or JSON lines, so that an afternoon can be looked at later."""

from __future__ import annotations

from collections.abc import Sequence
import csv
from datetime import datetime
from datetime import timezone
import io
import json
from pathlib import Path
from typing import Protocol

from jetson_monitor.errors import RecordError
from jetson_monitor.health import text
from jetson_monitor.line_file import LineFile
from jetson_monitor.line_file import whole_lines
from jetson_monitor.sample import Sample

TIME_COLUMNS = ('time_utc', 'monotonic_s')
_YOUNG_ROWS = 10

_Cells = dict[str, str]


class Recorder(Protocol):
    """What every recorder can do."""

    def write(self, sample: Sample) -> None:
        """Write one sample, as one line that is with the kernel on return."""

    def close(self) -> None:
        """Close the file."""


def open_recorder(path: Path, max_bytes: int, files: int) -> Recorder:
    """Return the recorder for a file name: .csv, or .jsonl for JSON lines.

    Args:
        path: The file to write; what it holds already is kept.
        max_bytes: Size at which a new file is begun.
        files: How many files are kept, the newest included.

    Raises:
        RecordError: The name ends otherwise, or the file cannot be written.
    """
    recorders: dict[str, type[CsvRecorder] | type[JsonRecorder]] = {
        '.csv': CsvRecorder,
        '.jsonl': JsonRecorder,
    }
    if path.suffix not in recorders:
        raise RecordError(f'{path} is of no known kind; wanted a name ending in .csv or .jsonl')
    return recorders[path.suffix](path, max_bytes, files)


class CsvRecorder:
    """Writes one row a sample: UTC, monotonic seconds, then values and texts by name.

    An empty cell is unknown. A file has one header, which names all that there is in its first
    samples: loads are differences, and slow sources come late, so that a young file is still
    rewritten for a new name. Later, a new name begins a new file.
    """

    def __init__(self, path: Path, max_bytes: int, files: int) -> None:
        """Open the file; a header that is there already is taken up.

        Raises:
            RecordError: The file cannot be written.
        """
        self._file = LineFile(path, max_bytes, files)
        self._columns: tuple[str, ...] = ()
        self._young: list[_Cells] | None = []  # all rows of a file that may be rewritten
        if not self._file.is_empty:
            self._young = None
            self._columns = tuple(next(csv.reader([next(whole_lines(path))])))
            if self._columns[:2] != TIME_COLUMNS:
                self.close()
                raise RecordError(f'{path} is there and no recording; name another file')

    def write(self, sample: Sample) -> None:
        """Write one row.

        Raises:
            RecordError: The disk is full, or the like.
        """
        cells = _stamp(sample) | {name: text(value) for name, value in sample.values.items()}
        cells |= sample.texts
        if cells.keys() <= set(self._columns):
            self._append(cells)
        else:
            names = {*self._columns, *cells} - set(TIME_COLUMNS)
            self._columns = (*TIME_COLUMNS, *sorted(names))
            self._widen(cells)
        if self._young is not None:
            self._young.append(cells)
            if len(self._young) > _YOUNG_ROWS:
                self._young = None

    def _append(self, cells: _Cells) -> None:
        row = self._row(cells)
        if self._file.is_full(row):
            self._file.rotate()
            self._file.append(_csv_line(self._columns))
            self._young = None
        self._file.append(row)

    def _widen(self, cells: _Cells) -> None:
        rows = [*(self._young or []), cells]
        if self._young is None:
            self._file.rotate()
        self._file.rewrite([_csv_line(self._columns), *map(self._row, rows)])

    def _row(self, cells: _Cells) -> str:
        return _csv_line([cells.get(name, '') for name in self._columns])

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class JsonRecorder:
    """Writes one JSON object a sample, flat; what is unknown is not in it."""

    def __init__(self, path: Path, max_bytes: int, files: int) -> None:
        """Open the file.

        Raises:
            RecordError: The file cannot be written.
        """
        self._file = LineFile(path, max_bytes, files)

    def write(self, sample: Sample) -> None:
        """Write one object.

        Raises:
            RecordError: The disk is full, or the like.
        """
        line = json_line(sample)
        if self._file.is_full(line):
            self._file.rotate()
        self._file.append(line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def json_line(sample: Sample) -> str:
    """Return a sample as one flat JSON object."""
    stamp = {'time_utc': utc(sample.time_s), 'monotonic_s': round(sample.monotonic_s, 3)}
    return json.dumps({**stamp, **sample.values, **sample.texts})


def utc(time_s: float) -> str:
    """Return seconds since the epoch as ISO 8601 with milliseconds."""
    stamp = datetime.fromtimestamp(time_s, timezone.utc)
    return stamp.isoformat(timespec='milliseconds').replace('+00:00', 'Z')


def read_json_lines(path: Path) -> list[Sample]:
    """Return the samples of a recording in JSON lines; a half last line is left out.

    Raises:
        RecordError: The file cannot be read, or a line is no sample.
    """
    samples = []
    for number, line in enumerate(whole_lines(path), 1):
        try:
            found = json.loads(line)
            time_s = datetime.fromisoformat(found.pop('time_utc').replace('Z', '+00:00'))
            monotonic_s = float(found.pop('monotonic_s'))
        except (ValueError, KeyError, AttributeError, TypeError) as exc:
            raise RecordError(
                f'{path}, line {number}: no recorded sample; wanted a JSON object with time_utc '
                'and monotonic_s'
            ) from exc
        values = {name: float(each) for name, each in found.items() if _is_number(each)}
        texts = {name: each for name, each in found.items() if isinstance(each, str)}
        samples.append(Sample(time_s.timestamp(), monotonic_s, values, texts))
    return samples


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _stamp(sample: Sample) -> _Cells:
    return {'time_utc': utc(sample.time_s), 'monotonic_s': text(sample.monotonic_s)}


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator='').writerow(cells)
    return line.getvalue().replace('\n', ' ').replace('\r', ' ')
