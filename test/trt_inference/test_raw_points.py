# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Records taken out of a message hold what the point reader reads there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.memory import Pool
from trt_engine.cuda.pillar_targets import PillarRows
from trt_engine.cuda.pillars import PillarPlan
from trt_engine.cuda.runtime import Stream
from trt_engine.lidar.pillars import PaddedPillars
from trt_engine.lidar.pillars import Pillarizer
from trt_engine.lidar_card import PointsInput
from trt_inference.lidar.point_view import PointReader
from trt_inference.lidar.point_view import PointView
from trt_inference.lidar.raw_points import raw_points

SPEC = PointsInput('voxels', (0, -4, -3, 8, 4, 1), (1, 1, 4), 5, 60, 'pillar10')
FLOATS = {'x': '<f4', 'y': '<f4', 'z': '<f4', 'intensity': '<f4'}


def view_of(types=FLOATS, width=30, height=4, *, step=22, padding=10, order=None):
    """Return a cloud of random bytes in places, some of them no measurement."""
    chance = np.random.default_rng(2)
    offsets, end = {}, 2
    for name in order or types:
        offsets[name] = end
        end += np.dtype(types[name]).itemsize
    message = chance.integers(0, 256, height * (width * step + padding)).astype(np.uint8)
    columns = {
        name: np.ndarray(
            (height, width), dtype, message, offsets[name], (width * step + padding, step)
        )
        for name, dtype in types.items()
    }
    for column in columns.values():
        column[:] = np.round(chance.uniform(0, 6, column.shape), 3)
    if width * height > 5:
        columns['x'][0, 3] = columns['z'][-1, -1] = np.nan
        columns['y'][-1, -2] = np.inf
        for axis in 'xyz':
            columns[axis][0, 5] = 0
    return PointView(0, 0, 'lidar', width, height, step, 0, columns, False)


def numbers_of(records):
    """Return what a GPU would read, less what is no measurement."""
    layout = records.layout
    packed = np.zeros(len(records) * layout.step, np.uint8)
    records.copy_to(packed)
    columns = [
        np.full(len(records), constant, np.float32) if offset is None
        else np.ndarray(len(records), '<f4', packed, offset, layout.step) * np.float32(scale)
        for offset, scale, constant in zip(
            layout.offsets, layout.scales, layout.constants, strict=True
        )
    ]  # fmt: skip
    points = np.stack(columns, axis=1)
    return points[np.isfinite(points).all(axis=1) & (points[:, :3] != 0).any(axis=1)]


@pytest.mark.parametrize(
    'spec',
    [
        SPEC,
        replace(SPEC, intensity_scale=1 / 255),
        replace(SPEC, channels=()),
        replace(SPEC, channels=('intensity', 'time_lag')),
        replace(SPEC, channels=('ring', 'intensity'), missing={'ring': 3.0}),
        replace(SPEC, channels=('ring',), fields={'ring': 'intensity'}),
    ],
)
@pytest.mark.parametrize('order', [('x', 'y', 'z', 'intensity'), ('intensity', 'z', 'x', 'y')])
@pytest.mark.parametrize(('width', 'height'), [(30, 4), (120, 1), (1, 3), (1, 1)])
def test_records_hold_what_the_reader_reads(spec, order, width, height):
    view = view_of(FLOATS, width, height, order=order)
    lag = 0.1
    records = raw_points(view, spec, time_lag_s=lag)
    assert len(records) == len(view)
    np.testing.assert_array_equal(
        numbers_of(records), PointReader(spec)(view, time_lag_s=lag)
    )  # fmt: skip


def test_the_message_is_not_copied():
    view = view_of()
    records = raw_points(view, SPEC)
    assert np.shares_memory(records.rows, view.columns['x'])
    view.columns['x'][0, 0] = 7.5
    assert numbers_of(records)[0, 0] == 7.5


def test_nothing_behind_the_last_number_is_touched():
    view = view_of(step=18, padding=0, height=1)
    rows = raw_points(view, SPEC).rows
    last = view.columns['intensity'][0, -1:]
    assert rows.ctypes.data + rows.size == last.ctypes.data + 4


@pytest.mark.parametrize(
    'view',
    [
        view_of(width=0),
        view_of(FLOATS | {'x': '<f8'}),
        view_of(dict.fromkeys(FLOATS, '>f4')),
        view_of(FLOATS | {'intensity': 'u1'}),
        replace(view_of(), columns={name: view_of().columns[name] for name in 'xyz'}),
        replace(view_of(), columns={'intensity': view_of().columns['intensity']}),
        replace(view_of(), columns={name: each.copy() for name, each in view_of().columns.items()}),
    ],
)
def test_what_is_laid_out_otherwise_is_left_to_the_reader(view):
    assert raw_points(view, SPEC) is None


@pytest.mark.slow
def test_a_message_becomes_the_pillars_of_the_cpu_path(device, tmp_path):
    view = view_of(order=('intensity', 'z', 'x', 'y'))
    records = raw_points(view, SPEC)
    kernels, pool, stream = Kernels(tmp_path), Pool(), Stream()
    memory = Lease(pool)
    shape = (SPEC.max_voxels, SPEC.max_points, SPEC.feature_size)
    tensor = memory.take('device', int(np.prod(shape)) * 4).address
    target = PillarRows(memory, stream, SPEC, tensor)
    plan = PillarPlan(kernels, memory, target, records.layout, 200)
    plan.stage(records)
    plan.upload(stream)
    plan.enqueue(stream)
    stream.synchronize()
    reader = PointReader(SPEC)
    pillars = Pillarizer(SPEC)(reader(view))
    assert plan.read() == (pillars.counts, reader.dropped)
    assert len(pillars) > 10
    np.testing.assert_array_equal(device.read(tensor, shape, 'f4'), PaddedPillars(SPEC)(pillars))
    memory.close()
    pool.close()
    kernels.close()
    stream.close()
