# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Serialized sensor_msgs/PointCloud2, read in place: no message object, one copy into float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trt_engine.backend import Array
from trt_engine.errors import PointsError
from trt_engine.lidar_card import Channel
from trt_engine.lidar_card import PointsInput
from trt_inference.cdr_reader import CdrReader
from trt_inference.cdr_reader import Serialized

MAX_FIELDS = 64
MAX_POINTS = 16_000_000
_LOOKED_AT = 5000
_TYPES: Mapping[int, str] = {
    1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 8: 'f8',
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PointView:
    """A sensor_msgs/PointCloud2; its columns lie in the message and live as long as it.

    Attributes:
        columns: Field -> (height, width) of the field's own type and byte order; fields that
            hold several numbers a point, which no network here reads, are left out.
        is_dense: What the message says; nothing here relies on it.
    """

    stamp_sec: int
    stamp_nanosec: int
    frame_id: str
    width: int
    height: int
    point_step: int
    row_step: int
    columns: Mapping[str, Array]
    is_dense: bool

    def __len__(self) -> int:
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    offset: int
    datatype: int
    count: int


def view_points(serialized: Serialized) -> PointView:
    """Return what a serialized sensor_msgs/PointCloud2 holds.

    Raises:
        PointsError: It is malformed or cut short, or its numbers contradict each other.
    """
    cdr = CdrReader(serialized, PointsError)
    sec, nanosec = cdr.stamp()
    frame_id = cdr.string('header.frame_id')
    height = cdr.number('height')
    width = cdr.number('width')
    fields = _read_fields(cdr)
    order = '>' if cdr.byte('is_bigendian') else '<'
    point_step = cdr.number('point_step')
    row_step = cdr.number('row_step')
    size = cdr.number('length of data')
    start = cdr.take(size, 'data')
    is_dense = bool(cdr.byte('is_dense'))
    cdr.end('is_dense')

    types = {field: _dtype(field, order, point_step) for field in fields}
    single = {field: dtype for field, dtype in types.items() if field.count <= 1}
    columns: dict[str, Array]
    if width * height == 0:
        columns = {field.name: np.empty((0, 0), dtype) for field, dtype in single.items()}
    else:
        strides = _strides(width, height, point_step, row_step, size)
        columns = {
            field.name: np.ndarray(
                (height, width), dtype, serialized, start + field.offset, strides
            )
            for field, dtype in single.items()
        }  # fmt: skip
    return PointView(
        sec, nanosec, frame_id, width, height, point_step, row_step, columns, is_dense
    )  # fmt: skip


def _read_fields(cdr: CdrReader) -> list[_Field]:
    count = cdr.number('number of fields')
    if count > MAX_FIELDS:
        raise PointsError(f'the cloud declares {count} fields; wanted at most {MAX_FIELDS}')
    fields: dict[str, _Field] = {}
    for place in range(count):
        name = cdr.string(f'name of field {place}')
        offset = cdr.number(f'offset of field {name!r}')
        datatype = cdr.byte(f'datatype of field {name!r}')
        field = _Field(name, offset, datatype, cdr.number(f'count of field {name!r}'))
        if name in fields:
            raise PointsError(f'the cloud has two fields {name!r}; wanted each name once')
        fields[name] = field
    return list(fields.values())


def _dtype(field: _Field, order: str, point_step: int) -> np.dtype[np.generic]:
    if field.datatype not in _TYPES:
        raise PointsError(
            f'field {field.name!r} has datatype {field.datatype}; wanted 1 (int8) to 8 (float64)'
        )
    dtype = np.dtype(order + _TYPES[field.datatype])
    # a count of 0 can only mean a single number
    end = field.offset + dtype.itemsize * max(field.count, 1)
    if end > point_step:
        raise PointsError(
            f'field {field.name!r} ends at byte {end} of a point, but point_step is {point_step}'
        )
    return dtype


def _strides(width: int, height: int, point_step: int, row_step: int, size: int) -> tuple[int, int]:
    """Return the bytes from row to row and from point to point, which the data must hold."""
    if width * height > MAX_POINTS:
        raise PointsError(
            f'the cloud declares width {width} * height {height} = {width * height} points; '
            f'wanted at most {MAX_POINTS}'
        )
    row = width * point_step
    # where there is one row, nothing depends on row_step
    if height == 1:
        row_step = row
    if row_step < row:
        raise PointsError(
            f'row_step {row_step} is too short: width {width} * point_step {point_step} = {row}'
        )
    wanted = (height - 1) * row_step + row
    if size < wanted:
        raise PointsError(
            f'wanted row_step {row_step} * {height - 1} rows + {row} = {wanted} bytes of data '
            f'(width {width}, height {height}, point_step {point_step}), got {size}'
        )
    return row_step, point_step


class PointReader:
    """Turns clouds into what a network's card wants, in a buffer that is used again.

    Attributes:
        dropped: Points of the last cloud that were no measurement: a number was NaN or infinite,
            or they lay at the origin, which is how organised clouds mark a beam without return.
    """

    def __init__(self, spec: PointsInput) -> None:
        self._spec = spec
        self._buffer: Array = np.empty((spec.point_size, 0), np.float32)
        self.dropped = 0

    @np.errstate(over='ignore', invalid='ignore')  # what does not fit float32 is dropped
    def __call__(self, view: PointView, *, time_lag_s: float = 0.0) -> Array:
        """Return the points, (N, channels) float32: x, y, z, then the card's channels.

        They lie column by column in memory and are valid until the next call.

        Args:
            view: The cloud.
            time_lag_s: How long before the newest sweep this one was taken.

        Raises:
            PointsError: The cloud lacks a field that the network needs.
        """
        count = len(view)
        if count > self._buffer.shape[1]:
            self._buffer = np.empty((self._spec.point_size, count), np.float32)
        out = self._buffer[:, :count]
        for values, axis in zip(out, 'xyz', strict=False):
            column = view.columns.get(axis)
            if column is None:
                raise PointsError(f'the cloud has no field {axis!r}; it has: {_names(view)}')
            np.copyto(values.reshape(column.shape), column, casting='unsafe')
        for values, channel in zip(out[3:], self._spec.channels, strict=True):
            if channel == 'time_lag':
                values.fill(time_lag_s)
            else:
                self._fill(values, view, channel)
        return self._measured(out)

    def _fill(self, values: Array, view: PointView, channel: Channel) -> None:
        name = self._spec.fields.get(channel, channel)
        column = view.columns.get(name)
        if column is not None:
            np.copyto(values.reshape(column.shape), column, casting='unsafe')
            if channel == 'intensity':
                values *= np.float32(self._spec.intensity_scale)
        elif channel in self._spec.missing:
            values.fill(self._spec.missing[channel])
        else:
            raise PointsError(
                f'the cloud has no field {name!r}, which the network needs as {channel}; it has: '
                f'{_names(view)}. Name one of them under input.fields.{channel} of the card, or '
                f'a value for clouds without one under input.missing.{channel}'
            )

    def _measured(self, out: Array) -> Array:
        good = np.isfinite(out).all(axis=0)
        good &= (out[:3] != 0).any(axis=0)
        count = int(np.count_nonzero(good))
        self.dropped = out.shape[1] - count
        if self.dropped:
            for values in out:
                values[:count] = values[good]
        points: Array = out[:, :count].T
        return points


def high_intensity(view: PointView, spec: PointsInput) -> float | None:
    """Return the intensity that one point of a hundred exceeds, as the network gets it.

    Of a large cloud, some thousand points that are spread over it are looked at.

    Args:
        view: The cloud.
        spec: What the card says of the points.

    Returns:
        None where the network takes no intensity, or the cloud has none.
    """
    column = view.columns.get(spec.fields.get('intensity', 'intensity'))
    if 'intensity' not in spec.channels or column is None:
        return None
    some = column[:, :: len(view) // _LOOKED_AT + 1].astype(np.float64)
    some = some[np.isfinite(some)]
    return float(np.quantile(some, 0.99)) * spec.intensity_scale if some.size else None


def _names(view: PointView) -> str:
    return ', '.join(view.columns) or 'none'
