# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Pillars are those of a plain loop over the points, to the bit where it decides anything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trt_engine.errors import PointsError
from trt_engine.lidar.pillars import BirdsEye
from trt_engine.lidar.pillars import PaddedPillars
from trt_engine.lidar.pillars import PillarCounts
from trt_engine.lidar.pillars import Pillarizer
from trt_engine.lidar.pillars import PillarNet
from trt_engine.lidar_card import PointsInput

pytestmark = pytest.mark.slow

# 4 columns (x) and 3 rows (y) of one metre
SMALL = PointsInput('voxels', (0, -1, -2, 4, 2, 2), (1, 1, 4), 3, 100, 'pillar10')
KITTI = PointsInput(
    'voxels', (0, -39.68, -3, 69.12, 39.68, 1), (0.16, 0.16, 4), 32, 2000, 'pillar10'
)


def points(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def reference(spec, cloud):
    """Return cells, points of each, and features, by the words of the card and one loop."""
    columns, _ = spec.grid
    single = np.float32
    cells = {}
    for point in cloud:
        place = []
        for axis in range(3):
            low, high = single(spec.range_m[axis]), single(spec.range_m[axis + 3])
            if not low <= point[axis] < high:
                break
            count = (*spec.grid, 1)[axis]
            step = np.floor((point[axis] - low) / single(spec.voxel_m[axis]))
            place.append(min(int(step), count - 1))
        else:
            kept = cells.setdefault(place[1] * columns + place[0], [])
            kept.append(point)
    chosen = sorted(cells)[: spec.max_voxels]
    features = []
    for cell in chosen:
        kept = np.array(cells[cell][: spec.max_points], np.float64)
        mean = kept[:, :3].mean(axis=0)
        place = np.array([cell % columns, cell // columns, 0])
        middle = (place + 0.5) * spec.voxel_m + spec.range_m[:3]
        for point in kept:
            row = [*point, *(point[:3] - mean), *(point[:3] - middle)]
            if spec.features != 'pillar10':
                row.pop()
            if spec.features == 'pillar9_relative':
                row[:2] = row[-2:]
            features.append(row)
    return chosen, [min(len(cells[c]), spec.max_points) for c in chosen], np.array(features)


@pytest.fixture(scope='module')
def cloud():
    chance = np.random.default_rng(4)
    away, angle = chance.exponential(3, 6000), chance.uniform(-np.pi, np.pi, 6000)
    x, y = away * np.cos(angle), away * np.sin(angle)
    return np.stack((x, y, chance.normal(-1, 1, 6000), chance.random(6000)), 1).astype(np.float32)


@pytest.mark.parametrize('features', ['pillar10', 'pillar9', 'pillar9_relative'])
@pytest.mark.parametrize(('max_points', 'max_voxels'), [(32, 2000), (2, 2000), (4, 300), (1, 1)])
def test_pillars_are_those_of_a_plain_loop(cloud, features, max_points, max_voxels):
    spec = replace(KITTI, features=features, max_points=max_points, max_voxels=max_voxels)
    pillars = Pillarizer(spec)(cloud)
    cells, sizes, rows = reference(spec, cloud)
    assert pillars.cells.tolist() == cells
    assert pillars.sizes.tolist() == sizes
    assert pillars.starts.tolist() == (np.cumsum(sizes) - sizes).tolist()
    assert (pillars.features.shape, pillars.features.dtype) == (rows.shape, np.float32)
    np.testing.assert_allclose(pillars.features, rows, atol=2e-5)
    places = pillars.places(spec.grid[0])
    assert places.dtype == np.int32
    np.testing.assert_array_equal(places[:, 2] * spec.grid[0] + places[:, 3], cells)
    assert not places[:, :2].any()


def test_counts_add_up(cloud):
    spec = replace(KITTI, max_points=2, max_voxels=200)
    pillars = Pillarizer(spec)(cloud)
    counts = pillars.counts
    assert counts.points == len(cloud)
    assert counts.points == counts.outside + counts.over_points + counts.over_voxels + counts.kept
    assert counts.kept == len(pillars.features)
    assert counts.voxels - counts.voxels_dropped == len(pillars) == 200
    assert min(counts.outside, counts.over_points, counts.over_voxels) > 0


def test_one_point_by_hand():
    pillars = Pillarizer(SMALL)(points((2.25, 0.5, 1, 0.75)))
    assert pillars.cells.tolist() == [1 * 4 + 2]
    assert pillars.places(4).tolist() == [[0, 0, 1, 2]]
    assert pillars.features.tolist() == [[2.25, 0.5, 1, 0.75, 0, 0, 0, -0.25, 0, 1]]
    assert pillars.counts == PillarCounts(1, 0, 0, 0, 1, 1, 0)
    assert pillars.counts.overflow() is None


def test_two_points_of_a_pillar_share_their_mean():
    pillars = Pillarizer(SMALL)(points((0.25, 0, 0, 0), (0.75, 0.5, 1, 0)))
    assert pillars.features[:, 4:7].tolist() == [[-0.25, -0.25, -0.5], [0.25, 0.25, 0.5]]


def test_an_empty_cloud_has_no_pillars():
    for cloud in (points(), points((9, 0, 0, 0))):
        pillars = Pillarizer(SMALL)(cloud)
        assert len(pillars) == 0
        assert pillars.features.shape == (0, 10)
        assert pillars.places(4).shape == (0, 4)
        assert not PaddedPillars(SMALL)(pillars).any()
        layer = PillarNet(np.ones((10, 5), np.float32), np.ones(5, np.float32), 3)(pillars)
        assert layer.shape == (0, 5)
        assert not BirdsEye(SMALL, 5)(layer, pillars.cells).any()


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
def test_lower_edges_are_inside_and_upper_edges_outside(point, cell):
    pillars = Pillarizer(SMALL)(points((*point, 0)))
    assert pillars.cells.tolist() == ([] if cell is None else [cell])
    assert pillars.counts.outside == (cell is None)


def test_a_point_that_rounds_onto_the_upper_edge_stays_in_the_last_cell():
    last = np.nextafter(np.float32(39.68), np.float32(0))
    x = np.nextafter(np.float32(69.12), np.float32(0))
    pillars = Pillarizer(KITTI)(points((x, last, 0, 0)))
    assert pillars.cells.tolist() == [432 * 496 - 1]


def test_overflow_is_reported_with_the_numbers():
    spec = replace(SMALL, max_voxels=1)
    cloud = points(*[(0.5, -0.5, 0, n) for n in range(5)], (3, 1, 0, 0), (2, 1, 0, 0), (2, 1, 0, 0))
    pillars = Pillarizer(spec)(cloud)
    assert pillars.features[:, 3].tolist() == [0, 1, 2]
    assert pillars.counts == PillarCounts(8, 0, 2, 3, 3, 3, 2)
    assert pillars.counts.overflow() == '2 of 3 pillars with 3 of 8 points are beyond max_voxels'
    roomy = Pillarizer(SMALL)(cloud).counts
    assert (roomy.over_points, roomy.overflow()) == (2, None), 'the training leaves them out too'


def test_equal_clouds_give_equal_bits_wherever_they_lie_in_memory(cloud):
    first = Pillarizer(KITTI)(cloud)
    for other in (cloud.copy(), np.asfortranarray(cloud), np.repeat(cloud, 2, axis=0)[::2]):
        second = Pillarizer(KITTI)(other)
        for name in ('features', 'starts', 'sizes', 'cells'):
            assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


def test_points_in_another_order_change_only_what_is_beyond_the_cap(cloud):
    spec = replace(KITTI, max_points=5)
    shuffled = np.random.default_rng(1).permutation(cloud)
    first, second = Pillarizer(spec)(cloud), Pillarizer(spec)(shuffled)
    assert first.counts == second.counts
    np.testing.assert_array_equal(first.cells, second.cells)
    np.testing.assert_array_equal(first.sizes, second.sizes)
    for start, size in zip(first.starts, first.sizes, strict=True):
        if size < spec.max_points:
            rows = slice(start, start + size)
            one, two = (sorted(p.features[rows, :4].tolist()) for p in (first, second))
            assert one == two


@pytest.mark.parametrize(
    ('cloud', 'text'),
    [
        (np.zeros((5, 3), np.float32), r'float32 \[5, 3\]; wanted float32 \[N, 4\]'),
        (np.zeros((5, 4)), r'float64 \[5, 4\]; wanted float32'),
        (np.zeros(4, np.float32), r'float32 \[4\]; wanted'),
    ],
)
def test_another_shape_or_type_is_refused(cloud, text):
    with pytest.raises(PointsError, match=text):
        Pillarizer(SMALL)(cloud)


def test_padding_is_zero_also_after_a_fuller_cloud(cloud):
    spec = replace(KITTI, max_points=4)
    padded, pillarize = PaddedPillars(spec), Pillarizer(spec)
    for part in (cloud, cloud[:50], cloud[:0], cloud[50:90]):
        pillars = pillarize(part)
        expected = np.zeros((spec.max_voxels, 4, 10), np.float32)
        for place, (start, size) in enumerate(zip(pillars.starts, pillars.sizes, strict=True)):
            expected[place, :size] = pillars.features[start : start + size]
        np.testing.assert_array_equal(padded(pillars), expected)


@pytest.mark.parametrize('max_points', [1, 4, 32])
def test_the_pillar_net_is_that_of_padded_rows(cloud, max_points):
    spec = replace(KITTI, max_points=max_points)
    chance = np.random.default_rng(3)
    weight = chance.normal(size=(10, 8)).astype(np.float32)
    bias = chance.normal(size=8).astype(np.float32)
    pillars = Pillarizer(spec)(cloud)
    rows = PaddedPillars(spec)(pillars)[: len(pillars)].astype(np.float64)
    expected = np.maximum(rows @ weight + bias, 0).max(axis=1)
    found = PillarNet(weight, bias, max_points)(pillars)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_padded_row_counts_with_the_bias_and_a_full_pillar_has_none():
    weight = -np.ones((10, 1), np.float32)
    net = PillarNet(weight, np.array([0.5], np.float32), 3)
    # each point makes -1 * (sum of its features) + 0.5 < 0.5
    one = points((0.5, 0.5, 0, 1))
    assert net(Pillarizer(SMALL)(one)).tolist() == [[0.5]]
    assert net(Pillarizer(SMALL)(np.repeat(one, 3, axis=0))).tolist() == [[0.0]]


def test_the_birds_eye_grid_holds_one_frame(cloud):
    birds_eye, pillarize = BirdsEye(KITTI, 3), Pillarizer(KITTI)
    chance = np.random.default_rng(5)
    for part in (cloud, cloud[:100], cloud[:0], cloud[100:200]):
        pillars = pillarize(part)
        features = chance.normal(size=(len(pillars), 3)).astype(np.float32)
        expected = np.zeros((1, 3, 496, 432), np.float32)
        for cell, row in zip(pillars.cells, features, strict=True):
            expected[0, :, cell // 432, cell % 432] = row
        tensor = birds_eye(features, pillars.cells)
        np.testing.assert_array_equal(tensor, expected)
