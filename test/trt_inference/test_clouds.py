# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Clouds are moved, cropped and accumulated as worked out by hand, or refused with the numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trt_engine.errors import ConfigError
from trt_engine.errors import PointsError
from trt_inference.lidar.clouds import check_transform
from trt_inference.lidar.clouds import CloudOptions
from trt_inference.lidar.clouds import inside
from trt_inference.lidar.clouds import inverse
from trt_inference.lidar.clouds import move
from trt_inference.lidar.clouds import Sweeps

SECOND = 1_000_000_000


def transform(x=0.0, y=0.0, z=0.0, *, yaw=0.0, roll=0.0):
    """Return the transform that rolls, then turns, then shifts."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    turned = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    cos, sin = math.cos(roll), math.sin(roll)
    matrix = np.eye(4)
    matrix[:3, :3] = turned @ [[1, 0, 0], [0, cos, -sin], [0, sin, cos]]
    matrix[:3, 3] = x, y, z
    return matrix


def cloud(*rows):
    """Return points column by column in memory, as the reader gives them."""
    return np.array(rows, np.float32).T.copy().T


@pytest.mark.parametrize(
    ('matrix', 'expected'),
    [
        (transform(), (3, 1, 2)),
        (transform(10, -20, 30), (13, -19, 32)),
        (transform(yaw=math.pi / 2), (-1, 3, 2)),
        (transform(yaw=-math.pi / 2), (1, -3, 2)),
        (transform(yaw=math.pi), (-3, -1, 2)),
        (transform(roll=math.pi), (3, -1, -2)),
        (transform(1, 1, 1, yaw=math.pi / 2, roll=math.pi / 2), (3, 4, 2)),
    ],
)
def test_points_move_as_worked_out_by_hand(matrix, expected):
    points = cloud((3, 1, 2, 0.5))
    move(points, matrix)
    np.testing.assert_allclose(points, [[*expected, 0.5]], atol=1e-6)
    move(points, inverse(matrix))
    np.testing.assert_allclose(points, [[3, 1, 2, 0.5]], atol=2e-6)


def test_where_a_point_stands_in_the_cloud_does_not_round_it():
    chance = np.random.default_rng(1)
    points = cloud(*chance.normal(0, 30, (1001, 4)))
    order = chance.permutation(1001)
    permuted = cloud(*points[order])
    matrix = transform(1.1, 2.2, 3.3, yaw=0.7, roll=0.1)
    move(points, matrix)
    move(permuted, matrix)
    assert permuted.tobytes() == points[order].tobytes()


@pytest.mark.parametrize(
    'matrix',
    [
        np.eye(3),
        np.eye(4) * 2,
        np.diag([1.0, 1, -1, 1]),
        np.full((4, 4), np.nan),
        transform() + np.eye(4)[3][:, None],
    ],
    ids=['3x3', 'scaled', 'mirrored', 'nan', 'projective'],
)
def test_what_moves_no_rigid_body_is_refused(matrix):
    with pytest.raises(PointsError, match=r'the mount is \[\[.*wanted 4x4 numbers, a rotation'):
        check_transform(matrix, 'the mount')


@pytest.mark.parametrize(
    ('options', 'kept'),
    [
        (CloudOptions(self_box_m=(-1, -1, -2, 3, 1, 2)), [2, 3, 4, 5]),
        (CloudOptions(near_m=3), [2, 4, 5]),
        (CloudOptions(far_m=5), [0, 1, 2, 3, 4]),
        (CloudOptions(near_m=2.5, far_m=5), [2, 4]),
        (CloudOptions(self_box_m=(-1, -1, -2, 3, 1, 2), near_m=2.5, far_m=5), [2, 4]),
    ],
)
def test_crops(options, kept):
    points = cloud(
        (0.5, 0, 0, 1),
        (2, 1, 2, 1),  # on the box: of the vehicle
        (3, 0, 2.5, 1),  # above it; on the near circle
        (0, -2, 0, 1),  # beside it
        (-3, 4, 50, 1),  # 5 m away seen from above, on the far circle
        (300, 400, 0, 1),
    )
    assert np.flatnonzero(inside(points, options)).tolist() == kept


@pytest.mark.parametrize(
    ('options', 'idle'),
    [
        ({}, True),
        ({'sweep_age_s': 0.5}, True),
        ({'sweeps': 2}, False),
        ({'near_m': 1.0}, False),
        ({'far_m': 90.0}, False),
        ({'ground_offset_m': 0.1}, False),
        ({'self_box_m': (-1, -1, -2, 3, 1, 2)}, False),
    ],
)
def test_clouds_stay_as_they_come_where_nothing_is_asked(options, idle):
    assert CloudOptions(**options).idle == idle


def test_without_options_every_point_counts():
    assert inside(cloud((0, 0, 0, 0)), CloudOptions(sweeps=4)) is None


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        ({'self_box_m': (0, 0, 0, 1, -1, 1)}, 'wanted lowest x, y, z, then highest'),
        ({'near_m': 5, 'far_m': 5}, 'near_m is 5 and far_m is 5, .*; wanted far_m above near_m'),
        ({'sweeps': 0}, '0 sweeps of the last 1 s are wanted; allowed: at least 1'),
        ({'sweep_age_s': 0}, '1 sweeps of the last 0 s'),
    ],
)
def test_options_that_cannot_be_are_refused(options, text):
    with pytest.raises(ConfigError, match=text):
        CloudOptions(**options)


# A pole at (10, 0) of a frame that does not move, seen by a vehicle that drives 2 m ahead and
# then turns left by 90 degrees on the spot; the last number is the time lag.
DRIVE = [
    (transform(), (10, 0, 1)),
    (transform(2), (8, 0, 1)),
    (transform(2, yaw=math.pi / 2), (0, -8, 1)),
]


def test_a_pole_stays_where_it_is_while_the_vehicle_drives():
    sweeps = Sweeps(4, 3, CloudOptions(sweeps=3))
    for place, (pose, seen) in enumerate(DRIVE):
        merged = sweeps(cloud((*seen, 9)), 5 * SECOND + place * SECOND // 10, pose)
        expected = [(*seen, lag * 0.1) for lag in range(place + 1)]
        np.testing.assert_allclose(merged, expected, atol=1e-5)
        assert merged.dtype == np.float32
        assert merged.T.flags['C_CONTIGUOUS'] or merged.shape[0] == 1


def test_only_so_many_sweeps_and_none_that_is_too_old():
    sweeps = Sweeps(3, None, CloudOptions(sweeps=3, sweep_age_s=0.25))
    times_s = (1.0, 1.1, 1.2, 1.3, 1.5, 1.6, 9.0)
    seen = [sweeps(cloud((t, 0, 0)), round(t * SECOND), np.eye(4))[:, 0].tolist() for t in times_s]
    expected = [
        [1.0], [1.1, 1.0], [1.2, 1.1, 1.0], [1.3, 1.2, 1.1], [1.5, 1.3], [1.6, 1.5], [9.0],
    ]  # fmt: skip
    assert [[round(t, 3) for t in row] for row in seen] == expected


def test_a_sweep_that_is_just_as_old_as_allowed_counts_at_any_time_of_the_century():
    for begin_ns in (0, 1_700_000_000_000_000_042, 1_795_283_600_005_622_182):
        sweeps = Sweeps(3, None, CloudOptions(sweeps=9, sweep_age_s=0.5))
        times_ns = range(begin_ns, begin_ns + SECOND, SECOND // 10)
        lengths = [len(sweeps(cloud((1, 0, 0)), each, np.eye(4))) for each in times_ns]
        assert lengths == [1, 2, 3, 4, 5, 6, 6, 6, 6, 6]


def test_time_that_goes_back_begins_anew():
    sweeps = Sweeps(3, None, CloudOptions(sweeps=4, sweep_age_s=100))
    lengths = [
        len(sweeps(cloud((1, 0, 0)), t * SECOND, np.eye(4))) for t in (10, 11, 12, 12, 13, 3, 4)
    ]
    assert lengths == [1, 2, 3, 1, 2, 1, 2]
    sweeps.clear()
    assert len(sweeps(cloud((1, 0, 0)), 5 * SECOND, np.eye(4))) == 1


def test_clouds_whose_frames_nobody_can_relate_are_not_accumulated():
    sweeps = Sweeps(3, None, CloudOptions(sweeps=4))
    frames = ('front', 'front', 'rear', 'front', 'front')
    lengths = [
        len(sweeps(cloud((1, 0, 0)), place, np.eye(4), frame)) for place, frame in enumerate(frames)
    ]
    assert lengths == [1, 2, 1, 1, 2]


def test_poses_kilometres_from_their_origin_keep_their_centimetres():
    sweeps = Sweeps(3, None, CloudOptions(sweeps=2))
    sweeps(cloud((10, 0, 0)), SECOND, transform(4_000_000, 5_000_000, yaw=0.3))
    pose = transform(4_000_000 + 0.05, 5_000_000, yaw=0.3)
    merged = sweeps(cloud((0, 0, 0)), SECOND + 1, pose)
    ahead, left = 0.05 * math.cos(0.3), -0.05 * math.sin(0.3)
    np.testing.assert_allclose(merged[1], (10 - ahead, -left, 0), atol=1e-5)


def test_earlier_sweeps_do_not_share_memory_with_the_callers_buffer():
    sweeps = Sweeps(3, None, CloudOptions(sweeps=2))
    buffer = cloud((1, 2, 3))
    sweeps(buffer, SECOND, np.eye(4))
    buffer[:] = 7
    assert sweeps(buffer, 2 * SECOND - 1, np.eye(4)).tolist() == [[7, 7, 7], [1, 2, 3]]


def test_one_sweep_needs_no_pose():
    sweeps = Sweeps(4, 3, CloudOptions())
    points = cloud((1, 2, 3, 9))
    assert sweeps(points, 0, np.full((4, 4), np.nan)) is points
    assert points.tolist() == [[1, 2, 3, 0]]
    with pytest.raises(PointsError, match='the pose of the cloud is'):
        Sweeps(4, 3, CloudOptions(sweeps=2))(points, 0, np.full((4, 4), np.nan))


def test_empty_clouds_pass():
    sweeps = Sweeps(4, 3, CloudOptions(sweeps=2))
    nothing = np.empty((4, 0), np.float32).T
    assert sweeps(nothing, SECOND, np.eye(4)).shape == (0, 4)
    assert sweeps(cloud((1, 0, 0, 0)), SECOND + 1, np.eye(4)).shape == (1, 4)
    assert sweeps(nothing, SECOND + 2, np.eye(4)).shape == (1, 4)
    move(nothing, transform(1))
