# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a lidar network was not shown is in the diagnostics, with the numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trt_engine.health import Level
from trt_engine.lidar.pillars import PillarCounts
from trt_inference.lidar.health import CloudCounts
from trt_inference.lidar.health import points_health

WELL = PillarCounts(
    points=100, outside=30, over_points=0, over_voxels=0, kept=70, voxels=20, voxels_dropped=0
)
MUCH = PillarCounts(
    points=100, outside=30, over_points=7, over_voxels=3, kept=60, voxels=20, voxels_dropped=2
)
NONE = replace(WELL, outside=100, kept=0, voxels=0)
GONE = replace(WELL, points=0, outside=0, kept=0, voxels=0)
BEFORE = CloudCounts(clouds=10, overflows=4, last=WELL)


@pytest.mark.parametrize(
    ('now', 'level', 'text'),
    [
        (CloudCounts(), Level.OK, 'no cloud yet'),
        (CloudCounts(12, 4, last=WELL), Level.OK, '70 points in 20 pillars'),
        (CloudCounts(12, 4, last=replace(WELL, voxels=0)), Level.OK, '70 points'),
        (
            CloudCounts(15, 6, last=MUCH),
            Level.WARN,
            '2 of 5 clouds hold more than the network: 2 of 20 pillars with 3 of 100 points are '
            'beyond max_voxels',
        ),
        (
            CloudCounts(15, 6, last=WELL),
            Level.WARN,
            '2 of 5 clouds hold more than the network: not the last one',
        ),
        (
            CloudCounts(10, 4, last=MUCH),
            Level.OK,
            '60 points in 20 pillars, 7 more of which they had no room for',
        ),
        (
            CloudCounts(11, 4, last=NONE),
            Level.WARN,
            'the network saw none of 100 points: 100 are outside of its range; are frame and '
            'units those of the card?',
        ),
        (
            CloudCounts(11, 4, dropped=5, cropped=20, last=replace(NONE, points=1, outside=1)),
            Level.WARN,
            'the network saw none of 26 points: 5 are no measurement, 20 were cut away by '
            'self_box_m, near_m or far_m, 1 are outside of its range; are frame and units those '
            'of the card?',
        ),
        (
            CloudCounts(11, 4, cropped=20, last=GONE),
            Level.WARN,
            'the network saw none of 20 points: 20 were cut away by self_box_m, near_m or far_m',
        ),
        (CloudCounts(11, 4, last=GONE), Level.WARN, 'the last cloud was empty'),
    ],
    ids=[
        'none',
        'well',
        'whole',
        'much',
        'was much',
        'no news',
        'nothing in range',
        'most cut away',
        'all cut away',
        'empty',
    ],
)
def test_judgement(now, level, text):
    health = points_health(now, BEFORE)
    assert (health.level, health.message) == (level, text)


@pytest.mark.parametrize(
    ('now', 'text'),
    [
        (
            CloudCounts(15, 6, last=MUCH),
            'the last cloud was seen alone, and sweeps is 3; do header stamps rise, by less than '
            'sweep_age_s, in one frame?',
        ),
        (CloudCounts(1, 0, last=WELL), '70 points in 20 pillars'),
        (CloudCounts(12, 4, last=WELL, sweeps=2), '70 points in 20 pillars'),
        (CloudCounts(10, 4, last=WELL), '70 points in 20 pillars'),
    ],
    ids=['alone', 'the first', 'a gap', 'no news'],
)
def test_sweeps_that_are_not_laid_over_each_other_are_a_warning(now, text):
    before = CloudCounts() if now.clouds == 1 else BEFORE
    health = points_health(now, before, sweeps=3)
    assert health.message == text
    assert health.values['sweeps at once'] == f'{now.sweeps} of 3'


@pytest.mark.parametrize(
    ('intensity', 'most', 'text'),
    [
        (
            101.4,
            1.0,
            'intensities reach 101, and the network was trained with up to 1: it sees what is not '
            'there; set input.intensity_scale of the card',
        ),
        (1.0, 1.0, '70 points in 20 pillars'),
        (101.4, None, '70 points in 20 pillars'),
        (None, 1.0, '70 points in 20 pillars'),
    ],
)
def test_intensities_beyond_those_of_the_training_are_a_warning(intensity, most, text):
    now = CloudCounts(12, 4, last=WELL, intensity=intensity)
    health = points_health(now, BEFORE, intensity_max=most)
    assert health.message == text
    assert points_health(now, now, intensity_max=most).level == Level.OK


def test_every_number_is_there():
    values = points_health(CloudCounts(15, 6, 11, 12, MUCH, intensity=0.25), BEFORE).values
    assert list(values.values()) == [
        '6',
        '1 of 1',
        '123',
        '11',
        '12',
        '30',
        '7',
        '3',
        '60',
        '20',
        '2',
        '0.25',
    ]
