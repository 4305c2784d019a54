# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The pillar kernels, run on the CPU, make the pillars of the CPU path, bit by bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trt_engine.cuda import memory
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Graph
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.memory import Pool
from trt_engine.cuda.pillar_targets import PillarGrid
from trt_engine.cuda.pillar_targets import PillarRows
from trt_engine.cuda.pillars import PillarPlan
from trt_engine.cuda.runtime import Stream
from trt_engine.cuda.scatter import ScatterPlan
from trt_engine.errors import PointsError
from trt_engine.lidar.pillars import BirdsEye
from trt_engine.lidar.pillars import PaddedPillars
from trt_engine.lidar.pillars import PillarCounts
from trt_engine.lidar.pillars import Pillarizer
from trt_engine.lidar.pillars import PillarNet
from trt_engine.lidar.point_records import PointLayout
from trt_engine.lidar.point_records import PointRecords
from trt_engine.lidar_card import PointsInput

pytestmark = pytest.mark.slow  # compiles the kernels for the CPU, once for each kind of card

# 4 columns (x) and 3 rows (y) of one metre
SMALL = PointsInput('voxels', (0, -1, -2, 4, 2, 2), (1, 1, 4), 3, 40, 'pillar10')
# 48 columns and 50 rows, of sizes that are no binary fractions; more than one block of cells
ROAD = PointsInput('voxels', (0, -3.96, -3, 7.68, 4.04, 1), (0.16, 0.16, 4), 8, 900, 'pillar10')
CHANNELS = 5


def points(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def cloud_of(seed, count=4000):
    """Return points, most of them in the range of ROAD, many in few cells; some no measurement."""
    chance = np.random.default_rng(seed)
    away, angle = chance.exponential(2, count), chance.uniform(-np.pi, np.pi, count)
    cloud = np.stack(
        (1 + away * np.cos(angle), away * np.sin(angle), chance.normal(-1, 1, count),
         chance.random(count)), 1,
    ).astype(np.float32)  # fmt: skip
    cloud[chance.random(count) < 0.01] = 0
    for bad in (np.nan, np.inf, -np.inf):
        cloud[chance.random(count) < 0.003, chance.integers(4)] = bad
    return cloud


def measured(cloud):
    """Return what `PointReader` leaves of a cloud."""
    return cloud[np.isfinite(cloud).all(axis=1) & (cloud[:, :3] != 0).any(axis=1)]


def records_of(cloud, step, offsets):
    """Return points as rows of records with rubbish between the numbers."""
    rows = np.random.default_rng(1).integers(0, 256, (len(cloud), step)).astype(np.uint8)
    for numbers, offset in zip(cloud.T, offsets, strict=True):
        rows[:, offset : offset + 4] = numbers.astype('<f4')[:, None].view(np.uint8)
    layout = PointLayout(step, offsets, (1.0,) * len(offsets), (0.0,) * len(offsets))
    return PointRecords(layout, rows.reshape(1, -1), len(cloud))


class Machine:
    """Kernels, memory and a stream, and the tensors that pillars are written to."""

    def __init__(self, device, folder, mapped=None):
        self.device = device
        self.kernels, self.pool, self.stream = Kernels(folder), Pool(mapped=mapped), Stream()
        self.memory = Lease(self.pool)

    def take(self, shape, dtype):
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self.memory.take('device', nbytes).address

    def plan(self, target, cloud, capacity):
        return PillarPlan(self.kernels, self.memory, target, cloud.layout, capacity)

    def run(self, plan, records):
        plan.stage(records)
        plan.upload(self.stream)
        plan.enqueue(self.stream)
        self.stream.synchronize()
        return plan.read()

    def rows(self, spec, dtype='float32'):
        """Return a target, and what reads its four tensors."""
        shapes = {
            'tensor': ((spec.max_voxels, spec.max_points, spec.feature_size), dtype),
            'places': ((spec.max_voxels, 4), 'int32'),
            'sizes': ((spec.max_voxels,), 'int32'),
            'number': ((1,), 'int32'),
        }
        at = {name: self.take(*each) for name, each in shapes.items()}
        target = PillarRows(self.memory, self.stream, spec, dtype=dtype, **at)
        return target, lambda: [
            self.device.read(at[name], *each) for name, each in shapes.items()
        ]  # fmt: skip

    def grid(self, spec, dtype='float32', channels=CHANNELS):
        """Return a target, what reads it, and the same on the CPU."""
        chance = np.random.default_rng(3)
        weight = chance.normal(size=(spec.feature_size, channels)).astype(np.float32)
        bias = chance.normal(size=channels).astype(np.float32)
        columns, rows = spec.grid
        shape = (1, channels, rows, columns)
        tensor = self.take(shape, dtype)
        target = PillarGrid(self.memory, self.stream, spec, tensor, weight, bias, dtype)
        net, birds_eye = PillarNet(weight, bias, spec.max_points), BirdsEye(spec, channels)
        return (
            target,
            lambda: self.device.read(tensor, shape, dtype),
            lambda pillars: birds_eye(net(pillars), pillars.cells),
        )

    def close(self):
        self.memory.close()
        self.pool.close()
        self.kernels.close()
        self.stream.close()


@pytest.fixture
def machine(device, tmp_path):
    machine = Machine(device, tmp_path / 'cubins')
    yield machine
    machine.close()


def check_rows(spec, read, pillars):
    tensor, places, sizes, number = read()
    np.testing.assert_array_equal(tensor, PaddedPillars(spec)(pillars))
    wanted = np.zeros_like(places)
    wanted[: len(pillars)] = pillars.places(spec.grid[0])
    np.testing.assert_array_equal(places, wanted)
    assert sizes[: len(pillars)].tolist() == pillars.sizes.tolist()
    assert not sizes[len(pillars) :].any()
    assert number.tolist() == [len(pillars)]


@pytest.mark.parametrize('features', ['pillar10', 'pillar9', 'pillar9_relative'])
@pytest.mark.parametrize(('max_points', 'max_voxels'), [(8, 900), (2, 600), (32, 60), (1, 1)])
def test_pillars_are_those_of_the_cpu_path(machine, features, max_points, max_voxels):
    spec = replace(ROAD, features=features, max_points=max_points, max_voxels=max_voxels)
    target, read = machine.rows(spec)
    plan = machine.plan(target, PointRecords.of(points()), 4000)
    # the emptier cloud after the fuller one: what that left behind must be gone
    for part in (cloud_of(1), cloud_of(2)[:300], points(), cloud_of(3)[:700]):
        pillars = Pillarizer(spec)(measured(part))
        counts, dropped = machine.run(plan, PointRecords.of(part))
        assert counts == pillars.counts
        assert dropped == len(part) - len(measured(part))
        check_rows(spec, read, pillars)


def test_the_clouds_of_these_tests_overflow_both_ways():
    counts = Pillarizer(replace(ROAD, max_points=2, max_voxels=600))(measured(cloud_of(1))).counts
    assert min(counts.outside, counts.over_points, counts.over_voxels, counts.kept) > 20


@pytest.mark.parametrize('max_points', [1, 4, 32])
def test_the_grid_is_that_of_the_cpu_path(machine, max_points):
    spec = replace(ROAD, max_points=max_points)
    target, read, wanted = machine.grid(spec)
    plan = machine.plan(target, PointRecords.of(points()), 4000)
    for part in (cloud_of(1), cloud_of(2)[:300], points(), cloud_of(3)[:700]):
        pillars = Pillarizer(spec)(measured(part))
        counts, _ = machine.run(plan, PointRecords.of(part))
        assert counts == pillars.counts
        expected = wanted(pillars)
        # ten products of numbers below 30, added in another order
        np.testing.assert_allclose(read(), expected, rtol=1e-5, atol=2e-5)
        np.testing.assert_array_equal(read() != 0, expected != 0)


def test_a_padded_row_counts_with_the_bias_and_a_full_pillar_has_none(machine):
    weight, bias = -np.ones((10, 1), np.float32), np.array([0.5], np.float32)
    tensor = machine.take((3, 4), 'float32')
    target = PillarGrid(machine.memory, machine.stream, SMALL, tensor, weight, bias)
    plan = machine.plan(target, PointRecords.of(points()), 3)
    # each point makes -1 * (sum of its features) + 0.5 < 0.5
    one = points((0.5, 0.5, 0.25, 1))
    for cloud, value in ((one, 0.5), (np.repeat(one, 3, axis=0), 0.0)):
        machine.run(plan, PointRecords.of(cloud))
        assert machine.device.read(tensor, (3, 4), 'float32')[1, 0] == value


@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_what_an_encoder_made_of_pillars_is_laid_out_as_on_the_cpu(machine, dtype):
    rows, _ = machine.rows(ROAD)
    plan = machine.plan(rows, PointRecords.of(points()), 4000)
    columns, lines = ROAD.grid
    shape = (1, CHANNELS, lines, columns)
    features, grid = machine.take((ROAD.max_voxels, CHANNELS), dtype), machine.take(shape, dtype)
    scatter = ScatterPlan(
        machine.kernels, machine.memory, machine.stream, rows, features, grid, CHANNELS, dtype
    )
    birds_eye = BirdsEye(ROAD, CHANNELS)
    for part in (cloud_of(1), cloud_of(2)[:300], points(), cloud_of(3)[:700]):
        made = np.random.default_rng(4).normal(size=(ROAD.max_voxels, CHANNELS)).astype(dtype)
        machine.device.write(features, made)
        machine.run(plan, PointRecords.of(part))
        scatter.enqueue(machine.stream)
        machine.stream.synchronize()
        pillars = Pillarizer(ROAD)(measured(part))
        expected = birds_eye(made[: len(pillars)], pillars.cells)
        np.testing.assert_array_equal(machine.device.read(grid, shape, dtype), expected)


def test_half_precision_is_rounded_as_numpy_does(machine):
    spec = replace(ROAD, max_points=4)
    single, half = machine.grid(spec), machine.grid(spec, 'float16')
    for target, _, _ in (single, half):
        machine.run(
            machine.plan(target, PointRecords.of(points()), 4000), PointRecords.of(cloud_of(4))
        )
    made = half[1]()
    assert len(np.unique(made)) > 1000
    np.testing.assert_array_equal(made, single[1]().astype(np.float16))


def test_every_kind_of_number_becomes_the_half_precision_of_numpy(machine):
    spec = replace(SMALL, max_points=1024, max_voxels=1)
    target, read = machine.rows(spec, 'float16')
    chance = np.random.default_rng(7)
    numbers = np.concatenate((
        chance.integers(0, 1 << 32, 300, np.uint64).astype(np.uint32).view(np.float32),
        np.ldexp(chance.normal(size=300), chance.integers(-30, 20, 300)),
        (np.arange(200) + chance.choice([0, 0.5], 200)) * 2.0**-24,
        [65504, 65519.99, 65520, 65521, 1e9, 2.0**-25, 2.0**-14, 6.1e-5, 0.0, -0.0],
    )).astype(np.float32)  # fmt: skip
    numbers = numbers[np.isfinite(numbers)]
    cloud = np.full((len(numbers), 4), 0.5, np.float32)
    cloud[:, 3] = numbers
    machine.run(
        machine.plan(target, PointRecords.of(cloud), 1024), PointRecords.of(cloud)
    )  # fmt: skip
    with np.errstate(over='ignore'):
        wanted = numbers.astype(np.float16)
    made = read()[0][0, : len(numbers), 3]
    np.testing.assert_array_equal(made.view(np.uint16), wanted.view(np.uint16))


@pytest.mark.parametrize(
    ('point', 'cell'),
    [
        ((0, -1, -2), 0),
        ((-1e-6, -1, -2), None),
        ((0, -1.0001, -2), None),
        ((0, -1, -2.0001), None),
        ((3.9999, 1.9999, 1.9999), 11),
        ((4, 0, 0), None),
        ((0, 2, 0), None),
        ((0, 0, 2), None),
        ((1, 0, 0), 5),
        ((np.nextafter(np.float32(1), np.float32(0)), 0, 0), 4),
        ((np.nan, 0, 0), None),
        ((0, np.inf, 0), None),
        ((0, 0, -np.inf), None),
        ((3e38, 0, 0), None),
    ],
)
def test_lower_edges_are_inside_and_upper_edges_outside(machine, point, cell):
    target, read = machine.rows(SMALL)
    cloud = PointRecords.of(points((*point, 0.5)))
    counts, dropped = machine.run(machine.plan(target, cloud, 1), cloud)
    _, places, _, number = read()
    assert dropped == (not np.isfinite(point).all())
    assert counts.outside + dropped == (cell is None)
    assert number.tolist() == [cell is not None]
    assert places[0].tolist() == ([0] * 4 if cell is None else [0, 0, cell // 4, cell % 4])


def test_a_point_that_rounds_onto_the_upper_edge_stays_in_the_last_cell(machine):
    spec = replace(ROAD, range_m=(-3.96, -3.96, -3, 4.04, 4.04, 1))
    below = np.nextafter(np.float32(4.04), np.float32(0))
    assert (below - np.float32(-3.96)) / np.float32(0.16) == 50
    target, read = machine.rows(spec)
    cloud = points((below, below, 0, 0))
    machine.run(machine.plan(target, PointRecords.of(cloud), 1), PointRecords.of(cloud))
    assert read()[1][0].tolist() == [0, 0, 49, 49]


def test_overflow_is_reported_with_the_numbers(machine):
    spec = replace(SMALL, max_voxels=1)
    target, read = machine.rows(spec)
    cloud = points(*[(0.5, -0.5, 0, n) for n in range(5)], (3, 1, 0, 0), (2, 1, 0, 0), (2, 1, 0, 0))
    counts, _ = machine.run(machine.plan(target, PointRecords.of(cloud), 8), PointRecords.of(cloud))
    assert counts == PillarCounts(8, 0, 2, 3, 3, 3, 2)
    assert read()[0][0, :, 3].tolist() == [0, 1, 2]


@pytest.mark.parametrize('order', ['forward', 'reversed'])
def test_neither_threads_nor_points_beyond_the_cap_change_a_bit(machine, monkeypatch, order):
    monkeypatch.setenv('FAKE_GPU_ORDER', order)
    spec = replace(ROAD, max_points=5)
    cloud = measured(cloud_of(5))
    (rows, read_rows), (grid, read_grid, _) = machine.rows(spec), machine.grid(spec)
    pillars = Pillarizer(spec)(cloud)
    made = []
    for target, read in ((rows, lambda: read_rows()[0]), (grid, read_grid)):
        plan = machine.plan(target, PointRecords.of(cloud), len(cloud))
        for _ in range(2):
            counts, _ = machine.run(plan, PointRecords.of(cloud))
            assert counts == pillars.counts
            made.append(read().tobytes())
    assert made[0] == made[1] == PaddedPillars(spec)(pillars).tobytes()
    assert made[2] == made[3]


def test_shuffled_points_give_what_the_cpu_path_makes_of_them(machine):
    spec = replace(ROAD, max_points=5)
    target, read = machine.rows(spec)
    cloud = measured(cloud_of(6))
    plan = machine.plan(target, PointRecords.of(cloud), len(cloud))
    counts = []
    for seed in range(2):
        shuffled = np.random.default_rng(seed).permutation(cloud)
        counts.append(machine.run(plan, PointRecords.of(shuffled))[0])
        check_rows(spec, read, Pillarizer(spec)(shuffled))
    assert counts[0] == counts[1]


@pytest.mark.parametrize('max_points', [1, 3, 300, 1024])
def test_a_pillar_may_hold_every_point(machine, max_points):
    spec = replace(SMALL, max_points=max_points, max_voxels=2)
    target, read = machine.rows(spec)
    chance = np.random.default_rng(8)
    cloud = chance.uniform(0, 1, (70_000, 4)).astype(np.float32)
    cloud[chance.random(len(cloud)) < 0.001, 0] += 1
    pillars = Pillarizer(spec)(cloud)
    plan = machine.plan(target, PointRecords.of(cloud), len(cloud))
    assert machine.run(plan, PointRecords.of(cloud))[0] == pillars.counts
    check_rows(spec, read, pillars)


@pytest.mark.parametrize(
    ('step', 'offsets'),
    [(16, (0, 4, 8, 12)), (22, (0, 4, 8, 12)), (48, (8, 4, 20, 36)), (19, (15, 1, 5, 10))],
)
def test_records_of_any_layout_give_the_same_pillars(machine, step, offsets):
    cloud = cloud_of(9)[:900]
    records = records_of(cloud, step, offsets)
    target, read = machine.rows(ROAD)
    machine.run(machine.plan(target, records, len(cloud)), records)
    check_rows(ROAD, read, Pillarizer(ROAD)(measured(cloud)))


def test_rows_of_an_organised_cloud_may_be_padded_and_the_last_cut_short(machine):
    cloud = cloud_of(10)[:600]
    rows = records_of(cloud, 22, (2, 6, 10, 14))
    message = np.zeros((20, 30 * 22 + 50), np.uint8)
    message[:, : 30 * 22] = rows.rows.reshape(20, -1)
    # a point ends at byte 18: of what follows in the last one there may be nothing
    records = PointRecords(rows.layout, message[:, : 29 * 22 + 18], 30)
    target, read = machine.rows(ROAD)
    machine.run(machine.plan(target, records, 600), records)
    check_rows(ROAD, read, Pillarizer(ROAD)(measured(cloud)))


def test_scale_and_constants_are_those_of_the_point_reader(machine):
    spec = replace(ROAD, channels=('intensity', 'ring'), features='pillar9')
    cloud = cloud_of(11)[:600]
    cloud[:, 3] *= 255
    rows = records_of(cloud, 16, (0, 4, 8, 12)).rows
    layout = PointLayout(16, (0, 4, 8, 12, None), (1, 1, 1, 1 / 255, 1), (0, 0, 0, 0, 7))
    target, read = machine.rows(spec)
    records = PointRecords(layout, rows, 600)
    machine.run(machine.plan(target, records, 600), records)
    cloud[:, 3] *= np.float32(1 / 255)
    whole = np.concatenate((measured(cloud), np.full((len(measured(cloud)), 1), 7)), axis=1)
    check_rows(spec, read, Pillarizer(spec)(whole.astype(np.float32)))


def test_points_that_were_moved_to_the_origin_count_where_all_are_measured(machine):
    cloud = points((0, 0, 0, 1), (0.5, 0.5, 0, 1), (np.nan, 0, 0, 1))
    for is_measured, kept, left_out in ((False, 1, 2), (True, 2, 0)):
        target, read = machine.rows(SMALL)
        records = PointRecords.of(cloud, measured=is_measured)
        counts, dropped = machine.run(machine.plan(target, records, 3), records)
        pillars = Pillarizer(SMALL)(cloud if is_measured else measured(cloud))
        assert counts == pillars.counts
        assert (counts.kept, dropped) == (kept, left_out)
        check_rows(SMALL, read, pillars)


def test_two_plans_take_turns_with_one_grid(machine):
    target, read, wanted = machine.grid(ROAD)
    plans = [
        machine.plan(target, PointRecords.of(points()), 700),
        machine.plan(target, records_of(points(), 20, (16, 0, 4, 8)), 4000),
    ]
    for seed in range(4):
        cloud = cloud_of(seed)[: 700 - 100 * seed]
        odd = seed % 2
        records = records_of(cloud, 20, (16, 0, 4, 8)) if odd else PointRecords.of(cloud)
        machine.run(plans[odd], records)
        expected = wanted(Pillarizer(ROAD)(measured(cloud)))
        np.testing.assert_allclose(read(), expected, rtol=1e-5, atol=2e-5)


def test_a_graph_of_it_takes_clouds_of_any_size(machine):
    target, read = machine.rows(ROAD)
    plan = machine.plan(target, PointRecords.of(points()), 4000)
    graph = Graph(machine.stream, lambda: plan.enqueue(machine.stream))
    for count in (4000, 0, 1, 2500):
        cloud = cloud_of(12)[:count]
        plan.stage(PointRecords.of(cloud))
        plan.upload(machine.stream)
        graph.launch(machine.stream)
        machine.stream.synchronize()
        pillars = Pillarizer(ROAD)(measured(cloud))
        assert plan.read()[0] == pillars.counts
        check_rows(ROAD, read, pillars)
    graph.close()


def test_only_the_bytes_of_the_cloud_are_copied(machine, monkeypatch):
    machine.memory.mapped = False  # where memory is shared nothing is copied
    target, _ = machine.rows(SMALL)
    plan = machine.plan(target, PointRecords.of(points()), 1000)
    plan.stage(PointRecords.of(points((1, 1, 1, 1), (2, 1, 1, 1))))
    calls = []
    with monkeypatch.context() as patch:
        patch.setattr(memory, 'call', lambda *given: calls.append(given))
        plan.upload(machine.stream)
    ((name, _, _, size, _, _),) = calls
    assert (name, size) == ('cudaMemcpyAsync', 16 + 2 * 16)


def test_where_memory_is_shared_clouds_are_read_in_place(device, tmp_path):
    machine = Machine(device, tmp_path, mapped=True)
    target, read = machine.rows(ROAD)
    cloud = cloud_of(14)[:900]
    plan = machine.plan(target, PointRecords.of(points()), 900)
    pillars = Pillarizer(ROAD)(measured(cloud))
    assert machine.run(plan, PointRecords.of(cloud))[0] == pillars.counts
    check_rows(ROAD, read, pillars)
    machine.close()


def test_an_empty_cloud_may_have_any_layout(machine):
    target, read = machine.rows(SMALL)
    plan = machine.plan(target, PointRecords.of(points()), 2)
    machine.run(plan, PointRecords.of(points((1, 1, 1, 1))))
    counts, _ = machine.run(plan, PointRecords.of(np.zeros((0, 7), np.float32)))
    assert counts == PillarCounts(0, 0, 0, 0, 0, 0, 0)
    assert not any(each.any() for each in read())


def test_a_cloud_of_another_size_or_layout_is_refused(machine):
    target, _ = machine.rows(SMALL)
    plan = machine.plan(target, PointRecords.of(points()), 2)
    with pytest.raises(PointsError, match='a cloud of 3 points; wanted at most 2'):
        plan.stage(PointRecords.of(np.ones((3, 4), np.float32)))
    with pytest.raises(PointsError, match=r'step=20.*; wanted those of .*step=16'):
        plan.stage(records_of(points((1, 1, 1, 1)), 20, (0, 4, 8, 12)))
    with pytest.raises(PointsError, match=r'points of 5 numbers.* wanted 4 numbers'):
        machine.plan(target, PointRecords.of(np.ones((3, 5), np.float32)), 2)
    with pytest.raises(PointsError, match=r'at most 0 of them.* 1 to 16777216 points'):
        machine.plan(target, PointRecords.of(points()), 0)


def test_a_grid_as_large_as_kittis_is_that_of_the_cpu_path(machine):
    spec = PointsInput(
        'voxels', (0, -39.68, -3, 69.12, 39.68, 1), (0.16, 0.16, 4), 32, 2000, 'pillar10'
    )
    chance = np.random.default_rng(13)
    cloud = (chance.normal(size=(20_000, 4)) * [15, 10, 1, 0.3] + [25, 0, -1, 0.5]).astype('f4')
    target, read, wanted = machine.grid(spec, channels=3)
    pillars = Pillarizer(spec)(cloud)
    plan = machine.plan(target, PointRecords.of(cloud), len(cloud))
    assert machine.run(plan, PointRecords.of(cloud))[0] == pillars.counts
    assert pillars.counts.voxels_dropped > 1000
    np.testing.assert_allclose(read(), wanted(pillars), rtol=1e-5, atol=1e-4)
