# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Point clouds in files: KITTI's .bin, and .pcd of the Point Cloud Library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trt_engine.backend import Array
from trt_engine.errors import SourceError

CLOUD_SUFFIXES = ('.bin', '.pcd')
MAX_POINTS = 16_000_000
BIN_FIELDS = ('x', 'y', 'z', 'intensity')
_MAX_HEADER_BYTES = 4096
_PADDING = '_'  # what the Point Cloud Library calls the gaps between fields
_MOST_NUMBERS = 1024  # of one field; the largest descriptors of that library have some hundreds
_WANTED = ('FIELDS', 'SIZE', 'TYPE', 'POINTS', 'DATA')


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points as a message may carry them.

    Attributes:
        fields: Names of the columns; x, y and z are among them.
        points: (N, fields) float32.
    """

    fields: tuple[str, ...]
    points: Array


def read_cloud(path: Path) -> Cloud:
    """Return what a file holds.

    A .bin file holds x, y, z and intensity of each point as little-endian float32. Of a .pcd file
    the numbers are taken as float32, without fields of several numbers and padding between fields;
    `DATA binary_compressed` is not read.

    Raises:
        OSError: The file cannot be read.
        SourceError: It is not what its suffix says, or is cut short.
    """
    data = path.read_bytes()
    if path.suffix.lower() == '.pcd':
        return _read_pcd(path, data)
    if not data or len(data) % 16 or len(data) > MAX_POINTS * 16:
        raise SourceError(
            f'{path}: {len(data)} bytes; wanted 16 for each of 1 to {MAX_POINTS} points: x, y, z '
            'and intensity as float32'
        )
    return Cloud(BIN_FIELDS, np.frombuffer(data, '<f4').astype(np.float32).reshape(-1, 4))


def _read_pcd(path: Path, data: bytes) -> Cloud:
    header, start = _pcd_header(path, data)
    names = header['FIELDS']
    counts = header.get('COUNT', ['1'] * len(names))
    form = list(zip(header['TYPE'], header['SIZE'], strict=False))
    known = {(kind, size) for kind in 'FIU' for size in '1248'} - {('F', '1'), ('F', '2')}
    numbers = [int(each) if each.isdigit() else 0 for each in counts]
    columns = [
        place
        for place, (name, number) in enumerate(zip(names, numbers, strict=False))
        if number == 1 and name != _PADDING
    ]
    fields = tuple(names[place] for place in columns)
    if not len(names) == len(form) == len(numbers) or not {'x', 'y', 'z'} <= set(fields):
        raise SourceError(
            f'{path}: has the fields {" ".join(names)}, COUNT {" ".join(counts)}; wanted x, y, z '
            'and others, one number each'
        )
    sound = all(1 <= each <= _MOST_NUMBERS for each in numbers)
    if not sound or not set(form) <= known or len(set(fields)) < len(fields):
        raise SourceError(
            f'{path}: FIELDS {" ".join(names)}, TYPE {" ".join(header["TYPE"])}, SIZE '
            f'{" ".join(header["SIZE"])}, COUNT {" ".join(counts)}; wanted each name once, I and U '
            f'of 1, 2, 4 or 8 bytes, F of 4 or 8, and 1 to {_MOST_NUMBERS} numbers a field'
        )
    (points,) = header['POINTS']
    count = int(points) if points.isdigit() else 0
    if not 1 <= count <= MAX_POINTS:
        raise SourceError(f'{path}: POINTS is {points}; wanted 1 to {MAX_POINTS}')
    kind = header['DATA'][0]
    if kind == 'ascii':
        places = np.cumsum([0, *numbers])
        values = _ascii(path, data[start:], count, sum(numbers))[:, places[columns]]
    elif kind == 'binary':
        codes = {'F': 'f', 'I': 'i', 'U': 'u'}
        record = np.dtype(
            [
                (f'f{place}', f'<{codes[letter]}{size}', (number,) if number > 1 else ())
                for place, ((letter, size), number) in enumerate(zip(form, numbers, strict=True))
            ]
        )
        if len(data) - start < count * record.itemsize:
            raise SourceError(
                f'{path}: {len(data) - start} bytes follow the header; wanted '
                f'{count * record.itemsize}, which is {record.itemsize} for each of {count} points'
            )
        records = np.frombuffer(data, record, count, start)
        values = np.stack([records[f'f{each}'].astype(np.float32) for each in columns], axis=1)
    else:
        raise SourceError(f'{path}: DATA is {kind}; wanted ascii or binary; convert the file')
    return Cloud(fields, values)


def _pcd_header(path: Path, data: bytes) -> tuple[dict[str, list[str]], int]:
    """Return the words of each line of the header, and where the points begin."""
    header: dict[str, list[str]] = {}
    start = 0
    while 'DATA' not in header:
        end = data.find(b'\n', start, _MAX_HEADER_BYTES)
        if end < 0:
            raise SourceError(f'{path}: no PCD header; wanted lines from FIELDS to DATA')
        words = data[start:end].decode('ascii', 'replace').split()
        start = end + 1
        if words and not words[0].startswith('#'):
            header[words[0]] = words[1:]
    if lacking := [name for name in _WANTED if not header.get(name)]:
        raise SourceError(f'{path}: the PCD header lacks {", ".join(lacking)}')
    return header, start


def _ascii(path: Path, text: bytes, count: int, fields: int) -> Array:
    try:
        values = np.array(text.split(), np.float32)
    except ValueError as exc:
        raise SourceError(f'{path}: a point is not made of numbers: {exc}') from exc
    if len(values) != count * fields:
        raise SourceError(
            f'{path}: {len(values)} numbers follow the header; wanted {count} points of {fields}'
        )
    return values.reshape(count, fields)
