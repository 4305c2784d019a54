# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Images and clouds as the bytes that go over the wire (little-endian CDR), and stamps in them."""

from __future__ import annotations

from collections.abc import Sequence
import struct

import numpy as np

from trt_engine.backend import Array
from trt_engine.errors import ImageError
from trt_engine.errors import PointsError

_LITTLE_ENDIAN = b'\x00\x01\x00\x00'
_STAMP = slice(4, 12)
_NSEC = 1_000_000_000
_FLOAT32 = 7  # of sensor_msgs/PointField


def serialize_image(stamp_ns: int, frame_id: str, pixels: Array) -> bytes:
    """Return a sensor_msgs/Image of encoding bgr8.

    Args:
        stamp_ns: Time of capture.
        frame_id: Coordinate frame of the camera.
        pixels: (height, width, 3) uint8, blue first.

    Raises:
        ImageError: The array has another shape or dtype.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        got = f'{pixels.dtype} of shape {pixels.shape}'
        raise ImageError(f'cannot send {got} as an image; wanted uint8 of shape (height, width, 3)')
    height, width, channels = pixels.shape
    head = _header(stamp_ns, frame_id)
    _append(head, '<II', height, width)
    _append_string(head, 'bgr8')
    _append(head, '<B', 0)  # is_bigendian
    _append(head, '<II', width * channels, pixels.size)
    return b''.join((head, np.ascontiguousarray(pixels).data))


def serialize_compressed_image(stamp_ns: int, frame_id: str, format: str, data: bytes) -> bytes:
    """Return a sensor_msgs/CompressedImage that holds `data`, a whole `jpeg` or `png` file."""
    head = _header(stamp_ns, frame_id)
    _append_string(head, format)
    _append(head, '<I', len(data))
    return b''.join((head, data))


def serialize_points(stamp_ns: int, frame_id: str, points: Array, fields: Sequence[str]) -> bytes:
    """Return a sensor_msgs/PointCloud2 of one row.

    Args:
        stamp_ns: Time of the sweep.
        frame_id: Coordinate frame of the points.
        points: (N, fields) float32.
        fields: Names of the columns, such as x, y, z, intensity.

    Raises:
        PointsError: The array has another shape or dtype.
    """
    if points.ndim != 2 or points.shape[1] != len(fields) or points.dtype != np.float32:
        raise PointsError(
            f'cannot send {points.dtype} of shape {points.shape} as a cloud of '
            f'{", ".join(fields)}; wanted float32 of shape (points, {len(fields)})'
        )
    head = _header(stamp_ns, frame_id)
    _append(head, '<II', 1, len(points))  # height, width
    _append(head, '<I', len(fields))
    for place, name in enumerate(fields):
        _append_string(head, name)
        _append(head, '<I', place * points.itemsize)
        _append(head, '<B', _FLOAT32)
        _append(head, '<I', 1)
    _append(head, '<B', 0)  # is_bigendian
    _append(head, '<II', len(fields) * points.itemsize, points.nbytes)  # point_step, row_step
    _append(head, '<I', points.nbytes)
    is_dense = bool(np.isfinite(points).all())
    return b''.join((head, np.ascontiguousarray(points, '<f4').data, bytes((is_dense,))))


def read_stamp_ns(message: bytes) -> int:
    """Return the stamp of a serialized message that begins with a std_msgs/Header.

    Raises:
        ImageError: The message is too short to hold one.
    """
    seconds, nanoseconds = struct.unpack(_stamp_format(message), message[_STAMP])
    return int(seconds * _NSEC + nanoseconds)


def restamp(message: bytes, stamp_ns: int) -> bytes:
    """Return the message, which begins with a std_msgs/Header, with another stamp.

    Raises:
        ImageError: The message is too short to hold a stamp, or the stamp does not fit the field.
    """
    stamp = _pack_stamp(_stamp_format(message), stamp_ns)
    view = memoryview(message)
    return b''.join((view[: _STAMP.start], stamp, view[_STAMP.stop :]))


def _stamp_format(message: bytes) -> str:
    if len(message) < _STAMP.stop:
        raise ImageError(
            f'a message of {len(message)} bytes has no header; wanted at least {_STAMP.stop}'
        )
    return '<iI' if message[1] & 1 else '>iI'


def _pack_stamp(format: str, stamp_ns: int) -> bytes:
    try:
        return struct.pack(format, *divmod(stamp_ns, _NSEC))
    except struct.error as exc:
        raise ImageError(f'{stamp_ns} ns does not fit a stamp of 32-bit seconds') from exc


def _header(stamp_ns: int, frame_id: str) -> bytearray:
    head = bytearray(_LITTLE_ENDIAN)
    head += _pack_stamp('<iI', stamp_ns)
    _append_string(head, frame_id)
    return head


def _append(head: bytearray, format: str, *values: int) -> None:
    # CDR aligns a number to its own size, counted from the end of the four-byte encapsulation.
    alignment = struct.calcsize('<' + format[-1])
    head += bytes(-len(head) % alignment)
    head += struct.pack(format, *values)


def _append_string(head: bytearray, text: str) -> None:
    encoded = text.encode() + b'\x00'
    _append(head, '<I', len(encoded))
    head += encoded
