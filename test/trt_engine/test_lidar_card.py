# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The input of a lidar card is read whole, or refused with file, key, value and what is allowed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from trt_engine.errors import CardError
from trt_engine.fields import Key
from trt_engine.lidar_card import PointsInput
from trt_engine.lidar_card import read_points_input

pytestmark = pytest.mark.slow

KEY = Key(Path('lidar.yaml'), 'input')
NVIDIA = {
    'tensor': 'voxels',
    'range_m': [0, -39.68, -3, 69.12, 39.68, 1],
    'voxel_m': [0.16, 0.16, 4],
    'max_points': 32,
    'max_voxels': 10000,
    'features': 'pillar10',
}


def test_the_defaults_are_those_of_the_dataclass():
    spec = read_points_input(NVIDIA, KEY)
    low_high = (0.0, -39.68, -3.0, 69.12, 39.68, 1.0)
    assert spec == PointsInput('voxels', low_high, (0.16, 0.16, 4.0), 32, 10000, 'pillar10')
    assert spec.grid == (432, 496)
    assert (spec.point_size, spec.feature_size) == (4, 10)
    assert (spec.channels, spec.intensity_scale) == (('intensity',), 1.0)


def test_everything_may_be_said():
    spec = read_points_input(
        NVIDIA
        | {
            'features': 'pillar9',
            'channels': ['intensity', 'time_lag'],
            'intensity_scale': '1/255',
            'fields': {'intensity': 'reflectivity'},
            'missing': {'intensity': 0.5},
        },
        KEY,
    )
    assert (spec.point_size, spec.feature_size) == (5, 10)
    assert spec.intensity_scale == pytest.approx(1 / 255)
    assert spec.fields == {'intensity': 'reflectivity'}
    assert spec.missing == {'intensity': 0.5}


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        ({'tensor': None}, r'input\.tensor is null; allowed: a text'),
        ({'range_m': [0, 1]}, r'input\.range_m is a list of 2; allowed: a list of 6 values'),
        ({'range_m': [0, 0, 0, -1, 1, 4]}, 'range_m ends in x at -1, which is not above 0'),
        ({'range_m': [0, 0, 0, 1, 1, float('inf')]}, r'range_m\.5 is inf'),
        ({'voxel_m': [0.16, 0, 4]}, r'voxel_m\.1 is 0; allowed: a number above 0'),
        ({'voxel_m': [0.17, 0.16, 4]}, 'x: 69.12 m in steps of 0.17 m are 406.6 pillars'),
        (
            {'voxel_m': [0.16, 0.16, 2]},
            'voxel_m has 2 m in z, and the range 4 m; allowed: the same',
        ),
        (
            {'voxel_m': [0.001, 0.001, 4]},
            'makes 69120 \\* 79360 pillars; allowed: at most 16777216',
        ),
        ({'max_points': 0}, 'max_points is 0'),
        ({'max_voxels': 2.5}, 'max_voxels is 2.5'),
        ({'features': 'pillar11'}, "'pillar11'; did you mean 'pillar10'"),
        ({'channels': ['intensity', 'intensity']}, 'channels .* allowed: each channel once'),
        ({'channels': ['reflectivity']}, "'reflectivity'; .*allowed: intensity, ring, time_lag"),
        ({'intensity_scale': 0}, 'intensity_scale is 0'),
        ({'fields': {'ring': 'line'}}, "fields names 'ring'; input.channels has: intensity"),
        ({'missing': {'colour': 1}}, "unknown key 'colour'; allowed: intensity, ring, time_lag"),
        (
            {'channels': ['time_lag'], 'fields': {'time_lag': 't'}},
            'which no field of a cloud holds',
        ),
        ({'voxel': 1}, "unknown key 'voxel'; did you mean 'voxel_m'"),
    ],
)
def test_what_cannot_be_is_refused(changes, text):
    with pytest.raises(CardError, match=text):
        read_points_input(NVIDIA | changes, KEY)


WHOLE = {
    'tensor': 'points', 'range_m': [-40, -20, -3, 40, 20, 1], 'max_points': 60_000,
    'features': 'points',
}  # fmt: skip


def test_a_network_of_points_needs_no_pillars():
    spec = read_points_input(WHOLE, KEY)
    assert (spec.voxel_m, spec.grid, spec.max_voxels) == ((80, 40, 4), (1, 1), 1)
    assert (spec.feature_size, spec.mask_tensor, spec.padding) == (4, None, 'zero')
    told = {'voxel_m': [0.5, 0.5, 4], 'mask_tensor': 'mask', 'padding': 'repeat'}
    spec = read_points_input(WHOLE | told, KEY)
    assert (spec.grid, spec.mask_tensor, spec.padding) == ((160, 80), 'mask', 'repeat')


@pytest.mark.parametrize('values', [NVIDIA, WHOLE])
def test_what_was_read_can_be_written_out_and_read_again(values):
    spec = read_points_input(values, KEY)
    assert read_points_input(asdict(spec), KEY) == spec


def test_voxels_may_be_lower_than_the_range():
    spec = read_points_input(NVIDIA | {'features': 'voxel', 'voxel_m': [0.16, 0.16, 0.5]}, KEY)
    assert (spec.layers, spec.feature_size) == (8, 4)


@pytest.mark.parametrize(
    ('base', 'changes', 'text'),
    [
        (WHOLE, {'max_voxels': 2}, r'max_voxels is for pillars, and input\.features is points'),
        (WHOLE, {'places_tensor': 'a'}, 'places_tensor is for pillars'),
        (WHOLE, {'sizes_tensor': 'a'}, 'sizes_tensor is for pillars'),
        (WHOLE, {'voxel_m': [0.3, 0.5, 4]}, 'in x: 80 m in steps of 0.3 m'),
        (WHOLE, {'max_points': 1 << 23}, 'max_points is 8388608'),
        (WHOLE, {'padding': 'one'}, "padding is 'one'; allowed: zero, repeat"),
        (WHOLE, {'range_m': [0, 1]}, 'range_m is a list of 2'),
        (NVIDIA, {'mask_tensor': 'mask'}, r'mask_tensor is for input\.features: points'),
        (NVIDIA, {'padding': 'repeat'}, r'padding is for input\.features: points'),
        (NVIDIA, {'max_points': 1025}, 'max_points is 1025; allowed: at most 1024 in a pillar'),
        (
            NVIDIA,
            {'features': 'voxel', 'voxel_m': [0.02, 0.02, 1]},
            r'makes 3456 \* 3968 \* 4 pillars; allowed',
        ),
        (NVIDIA, {'features': 'voxel', 'voxel_m': [0.16, 0.16, 0.3]}, 'in z: 4 m in steps of 0.3'),
    ],
)
def test_what_is_for_the_other_form_is_refused(base, changes, text):
    with pytest.raises(CardError, match=text):
        read_points_input(base | changes, KEY)


def test_a_missing_key_is_named():
    with pytest.raises(CardError, match=r"lidar.yaml: input lacks the key 'range_m'"):
        read_points_input({'tensor': 'voxels'}, KEY)
