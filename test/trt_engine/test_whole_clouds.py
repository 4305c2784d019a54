# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Clouds for networks that take points or plain voxels: kept, thinned, padded, or refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trt_engine.backend import TensorInfo
from trt_engine.errors import ModelFileError
from trt_engine.errors import PointsError
from trt_engine.lidar.pillar_inputs import network_shapes
from trt_engine.lidar.pillar_inputs import open_pillarizer
from trt_engine.lidar.pillar_inputs import PillarInputs
from trt_engine.lidar.pillars import PillarCounts
from trt_engine.lidar.whole_clouds import cloud_shapes
from trt_engine.lidar.whole_clouds import CloudInputs
from trt_engine.lidar_card import PointsInput

RANGE = (0, -1, -2, 4, 2, 2)
WHOLE = PointsInput('points', RANGE, (4, 3, 4), 5, 1, 'points')
VOXELS = PointsInput('voxels', RANGE, (1, 1, 1), 2, 9, 'voxel', places_tensor='places')


def points(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def line(count):
    """Return points in range that the last number counts."""
    return points(*((1, 0, 0, place) for place in range(count)))


def inputs(**shapes):
    kinds = {'mask': np.bool_, 'count': np.int32}
    return [
        TensorInfo(name, 'input', np.dtype(kinds.get(name, np.float32)), shape)
        for name, shape in shapes.items()
    ]


@pytest.mark.parametrize(
    ('count', 'kept'),
    [
        (0, []),
        (1, [0]),
        (5, [0, 1, 2, 3, 4]),
        (6, [0, 1, 2, 3, 4]),
        (10, [0, 2, 4, 6, 8]),
        (12, [0, 2, 4, 7, 9]),
    ],
)
def test_more_points_than_fit_are_thinned_evenly(count, kept):
    cloud = open_pillarizer(WHOLE)(line(count))
    assert cloud.features[:, 3].tolist() == kept
    assert cloud.counts == PillarCounts(count, 0, count - len(kept), 0, len(kept), 0, 0)
    assert len(cloud) == min(count, 1)
    assert cloud.sizes.tolist() == [len(kept)][:count]


def test_what_is_out_of_range_or_no_number_takes_no_place():
    bad = points((np.nan, 0, 0, 0), (4, 0, 0, 1), (0, 0, np.inf, 2), (1, 2, 0, 3), (0, -1.1, 0, 4))
    cloud = open_pillarizer(WHOLE)(np.concatenate((bad, line(5))))
    assert cloud.features.tolist() == line(5).tolist()
    assert cloud.counts == PillarCounts(10, 5, 0, 0, 5, 0, 0)
    assert cloud.counts.overflow() is None


def test_overflow_is_said_without_pillars():
    counts = open_pillarizer(WHOLE)(line(7)).counts
    assert counts.overflow() == '2 of 7 points are beyond max_points'


def test_another_shape_is_refused():
    with pytest.raises(PointsError, match=r'float32 \[2, 3\]; wanted float32 \[N, 4\]'):
        open_pillarizer(WHOLE)(np.zeros((2, 3), np.float32))


def given(spec, infos, count):
    return CloudInputs(spec, infos)(open_pillarizer(spec)(line(count)))


@pytest.mark.parametrize('shape', [(-1, 4), (1, -1, 4), (-1, -1, -1)])
def test_a_free_number_of_points_is_that_of_the_cloud(shape):
    (tensor,) = given(WHOLE, inputs(points=shape), 3).values()
    assert tensor.shape == ((3, 4) if len(shape) == 2 else (1, 3, 4))
    assert tensor.reshape(-1, 4).tolist() == line(3).tolist()


@pytest.mark.parametrize(('shape', 'mask'), [((5, 4), (5,)), ((1, 5, 4), (1, 5))])
def test_padding_is_zero_and_the_mask_and_the_count_say_where(shape, mask):
    spec = replace(WHOLE, count_tensor='count', mask_tensor='mask')
    make = CloudInputs(spec, inputs(points=shape, mask=mask, count=(1,)))
    for count in (5, 2, 3):
        found = make(open_pillarizer(spec)(line(count)))
        wanted = np.zeros((5, 4), np.float32)
        wanted[:count] = line(count)
        np.testing.assert_array_equal(found['points'], wanted.reshape(shape))
        assert found['mask'].tolist() == (np.arange(5) < count).reshape(mask).tolist()
        assert (found['count'].dtype, found['count'].tolist()) == (np.int32, [count])


def test_points_may_come_again_where_padding_would_be():
    spec = replace(WHOLE, padding='repeat')
    make = CloudInputs(spec, inputs(points=(5, 4)))
    for count, order in ((2, [0, 1, 0, 1, 0]), (5, [0, 1, 2, 3, 4]), (1, [0] * 5)):
        found = make(open_pillarizer(spec)(line(count)))
        assert found['points'][:, 3].tolist() == order


def test_a_count_may_have_no_dimension():
    spec = replace(WHOLE, count_tensor='count')
    assert given(spec, inputs(points=(5, 4), count=()), 3)['count'].tolist() == 3


@pytest.mark.parametrize(
    ('changes', 'shapes', 'text'),
    [
        ({}, {'points': (5, 4)}, 'always takes 5 points, and nothing tells it how many are real'),
        ({}, {'cloud': (-1, 4)}, 'takes cloud; .* name points'),
        ({}, {'points': (-1, 4), 'count': (1,)}, 'takes points, count; .* name points'),
        ({'mask_tensor': 'mask'}, {'points': (-1, 4)}, 'takes points; .* name points, mask'),
        ({}, {'points': (-1, 5)}, r'as \[-1, 5\], .* make \[5, 4\] or \[1, 5, 4\]'),
        ({}, {'points': (9, 4)}, r'as \[9, 4\], .* make \[5, 4\]'),
        ({}, {'points': (2, -1, 4)}, r'as \[2, -1, 4\]'),
        ({}, {'points': (4,)}, r'as \[4\]'),
        ({'count_tensor': 'count'}, {'points': (5, 4), 'count': (2,)}, r'make \[1\] or \[\]'),
        ({'mask_tensor': 'mask'}, {'points': (-1, 4), 'mask': (5,)}, r"'mask' as \[5\]"),
        ({'mask_tensor': 'mask'}, {'points': (5, 4), 'mask': (-1,)}, r"'mask' as \[-1\]"),
        ({'mask_tensor': 'mask'}, {'points': (5, 4), 'mask': (5, 1)}, r"'mask' as \[5, 1\]"),
    ],
)
def test_networks_that_do_not_fit_the_card_are_refused(changes, shapes, text):
    with pytest.raises(ModelFileError, match=text):
        CloudInputs(replace(WHOLE, **changes), inputs(**shapes))


def test_a_builder_learns_the_fewest_and_the_most_points():
    spec = replace(WHOLE, count_tensor='count', mask_tensor='mask')
    free = {'points': (1, -1, 4), 'count': (1,), 'mask': (-1,)}
    assert network_shapes(spec, free) == {'points': (1, 5, 4), 'count': (1,), 'mask': (5,)}
    fewest = network_shapes(spec, free, fewest=True)
    assert fewest == {'points': (1, 1, 4), 'count': (1,), 'mask': (1,)}
    fixed = {'points': (-1, 5, 4), 'count': (-1,), 'mask': (5,)}
    assert cloud_shapes(spec, fixed, points=1) == cloud_shapes(spec, fixed)
    with pytest.raises(ModelFileError, match=r"takes cloud; input\.tensor .* 'points'"):
        network_shapes(spec, {'cloud': (-1, 4)})


def test_voxels_have_layers_and_plain_points():
    cloud = points((2.5, 0.5, 1.5, 7), (2.5, 0.25, -2, 8), (0.5, -1, 0, 9), (2.5, 0.75, 1, 6))
    voxels = open_pillarizer(VOXELS)(cloud)
    assert VOXELS.layers == 4
    assert voxels.features.tolist() == cloud[[1, 2, 0, 3]].tolist()
    assert voxels.places(*VOXELS.grid).tolist() == [[0, 0, 1, 2], [0, 2, 0, 0], [0, 3, 1, 2]]
    assert voxels.sizes.tolist() == [1, 1, 2]
    assert voxels.counts == PillarCounts(4, 0, 0, 0, 4, 3, 0)


@pytest.mark.parametrize(('size', 'first'), [(3, 1), (4, 0), (-1, 0)])
def test_places_come_with_the_batch_or_without(size, first):
    infos = inputs(voxels=(-1, 2, 4), places=(-1, size))
    voxels = open_pillarizer(VOXELS)(points((2.5, 0.5, 1.5, 7)))
    found = PillarInputs(VOXELS, infos)(voxels)
    assert found['voxels'].tolist() == [[[2.5, 0.5, 1.5, 7], [0, 0, 0, 0]]]
    assert found['places'].tolist() == [[0, 3, 1, 2][first:]]
    shapes = {info.name: info.shape for info in infos}
    assert network_shapes(VOXELS, shapes)['places'] == (9, 4 - first)
    assert network_shapes(VOXELS, shapes, fewest=True)['voxels'] == (1, 2, 4)


def test_places_of_another_width_are_refused():
    with pytest.raises(ModelFileError, match=r"'places' as \[-1, 2\]; wanted \[V, 4\]"):
        PillarInputs(VOXELS, inputs(voxels=(-1, 2, 4), places=(-1, 2)))
