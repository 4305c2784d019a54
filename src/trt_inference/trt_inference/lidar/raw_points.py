# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The points of a cloud as they lie in its message, for a GPU that reads them there itself."""

from __future__ import annotations

import numpy as np

from trt_engine.backend import Array
from trt_engine.lidar.point_records import PointLayout
from trt_engine.lidar.point_records import PointRecords
from trt_engine.lidar_card import PointsInput
from trt_inference.lidar.point_view import PointView


def raw_points(
    view: PointView, spec: PointsInput, *, time_lag_s: float = 0.0
) -> PointRecords | None:
    """Return the records that hold what `PointReader` would read.

    Args:
        view: The cloud; the records live as long as its message.
        spec: What the card says of the points.
        time_lag_s: How long before the newest sweep this one was taken.

    Returns:
        None where `PointReader` must be asked: the cloud is empty, a number is no little-endian
        float32, the columns do not lie in records of one message, or a field is missing for which
        the card has no value.
    """
    columns: list[Array | None] = [view.columns.get(axis) for axis in 'xyz']
    if len(view) == 0 or any(column is None for column in columns):
        return None
    scales, constants = [1.0] * 3, [0.0] * 3
    for channel in spec.channels:
        column = None
        constant = time_lag_s
        if channel != 'time_lag':
            column = view.columns.get(spec.fields.get(channel, channel))
            if column is None and channel not in spec.missing:
                return None
            constant = spec.missing.get(channel, 0.0)
        columns.append(column)
        scales.append(spec.intensity_scale if channel == 'intensity' else 1.0)
        constants.append(constant)
    present = [column for column in columns if column is not None]
    if any(column.dtype != np.dtype('<f4') for column in present):
        return None
    if any(column.strides != (present[0].strides[0], view.point_step) for column in present):
        return None

    # records begin with the first number that is needed: what is before it stays where it is
    first = min(present, key=lambda column: column.ctypes.data)
    offsets = tuple(
        None if column is None else column.ctypes.data - first.ctypes.data for column in columns
    )
    layout = PointLayout(view.point_step, offsets, tuple(scales), tuple(constants))
    shape = (view.height, (view.width - 1) * layout.step + layout.span)
    rows = np.lib.stride_tricks.as_strided(
        first[0, :1].view(np.uint8), shape, (first.strides[0], 1), writeable=False
    )
    return PointRecords(layout, rows, view.width)
