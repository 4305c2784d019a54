# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""TensorRT's calibration cache: the text in which calibrators of 8.6 to 10.16 keep scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
import math
from pathlib import Path
import re
import struct

from trt_engine.errors import CalibrationError

MAX_BYTES = 1 << 24

_HEADER = re.compile(r'TRT-(\d{3,6})-(\w+)')
_SCALE = re.compile(r'[0-9a-fA-F]{8}')


@dataclass(frozen=True)
class CalibrationCache:
    """Scales of tensors: a real value is its INT8 value times the scale.

    Attributes:
        version: Digits of the TensorRT version that calibrated, such as `8602` or `100300`.
        algorithm: Name of the calibrator, such as EntropyCalibration2 or MinMaxCalibration.
        scales: Tensor name -> scale, in the order of the file; 0 where nothing was ever seen.
    """

    version: str
    algorithm: str
    scales: Mapping[str, float] = field(hash=False)


def read_cache(path: Path) -> CalibrationCache:
    """Return the calibration cache that a file holds.

    Raises:
        CalibrationError: It cannot be read, or is not one.
    """
    try:
        with path.open('rb') as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise CalibrationError(f'{path}: cannot be read: {exc.strerror or exc}') from exc
    if len(raw) > MAX_BYTES:
        raise CalibrationError(f'{path}: more than {MAX_BYTES} bytes; not a calibration cache')
    try:
        text = raw.decode()
    except UnicodeDecodeError as exc:
        raise CalibrationError(f'{path}: not a calibration cache but binary data') from exc
    return parse_cache(text, str(path))


def parse_cache(text: str, about: str) -> CalibrationCache:
    """Return the calibration cache that a text holds.

    Args:
        text: The text.
        about: Where it comes from, for messages.

    Raises:
        CalibrationError: Names the line and what is wrong with it.
    """
    first, *rest = text.splitlines() or ['']
    header = _HEADER.fullmatch(first.strip())
    if header is None:
        raise CalibrationError(
            f"{about}: line 1 is {first[:60]!r}; wanted the head of TensorRT's calibration cache, "
            'such as TRT-8602-EntropyCalibration2'
        )
    scales: dict[str, float] = {}
    for number, line in enumerate(rest, 2):
        if not line.strip():
            continue
        name, colon, digits = line.rpartition(':')
        name, digits = name.strip(), digits.strip()
        if not (name and colon and _SCALE.fullmatch(digits)):
            raise CalibrationError(
                f'{about}: line {number} is {line[:60]!r}; wanted a tensor, a colon and the 8 '
                'hexadecimal digits of its scale'
            )
        scale: float = struct.unpack('>f', bytes.fromhex(digits))[0]
        if not math.isfinite(scale) or scale < 0:
            raise CalibrationError(
                f'{about}: line {number} gives {name!r} the scale {scale}; wanted a finite number, '
                'not negative; calibrate again'
            )
        if name in scales:
            raise CalibrationError(f'{about}: line {number} gives {name!r} a second scale')
        scales[name] = scale
    if not scales:
        raise CalibrationError(f'{about}: has no scales; calibrate again')
    return CalibrationCache(header[1], header[2], scales)
