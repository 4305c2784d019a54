# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the camera sees of a box: ahead, beside, behind, partly, and from within."""

from __future__ import annotations

import math

import cv2
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import numpy as np
import pytest

from trt_inference.fusion.box_projection import enclosing_boxes
from trt_inference.fusion.camera_model import Calibration
from trt_inference.fusion.camera_model import camera_model
from trt_inference.rigid import box_corners
from trt_inference.rigid import FACES
from trt_inference.rigid import moved
from trt_inference.rigid import rotations
from trt_inference.rigid import transform

K = (100.0, 0.0, 99.5, 0.0, 100.0, 49.5, 0.0, 0.0, 1.0)
BARREL = (-0.3, 0.1, 0.001, -0.002, -0.01)
PINHOLE = camera_model(Calibration(200, 100, 'plumb_bob', (), K, (0.0,) * 12))
BENT = camera_model(Calibration(200, 100, 'plumb_bob', BARREL, K, (0.0,) * 12))
UPRIGHT = (0.0, 0.0, 0.0, 1.0)
WHOLE = [-0.5, -0.5, 199.5, 99.5]


def box(center, size=(1.0, 1.0, 1.0), turn=UPRIGHT):
    return box_corners(*(np.array([each], np.float64) for each in (center, size, turn)))


def seen(*boxes, camera=PINHOLE, near_m=0.1):
    return enclosing_boxes(np.concatenate(boxes), camera, near_m)


def test_a_cube_ahead_is_enclosed_by_its_near_face():
    # from 4.5 m to 5.5 m ahead, half a metre to each side: 100 * 0.5 / 4.5 px
    (found,) = seen(box((0, 0, 5)))
    half = 50 / 4.5
    assert found == pytest.approx([99.5 - half, 49.5 - half, 99.5 + half, 49.5 + half])


def test_a_turned_box_shows_its_diagonal():
    half = math.radians(45) / 2
    (found,) = seen(box((0, 0, 10), (2, 2, 1e-9), (0, 0, math.sin(half), math.cos(half))))
    reach = 100 * math.sqrt(2) / 10
    assert found == pytest.approx([99.5 - reach, 49.5 - reach, 99.5 + reach, 49.5 + reach])


@pytest.mark.parametrize(
    ('center', 'size'),
    [
        ((0, 0, -5), (1, 1, 1)),
        ((0, 0, -0.45), (1, 1, 1)),  # ends 5 cm ahead, before the near plane
        ((30, 0, 5), (1, 1, 1)),
        ((0, -30, 5), (1, 1, 1)),
        ((30, 0, 0), (1, 1, 9)),  # beside the camera, ahead and behind
        ((0, 0, 5), (0, 0, 0)),
    ],
)
@pytest.mark.parametrize('camera', [PINHOLE, BENT])
def test_what_cannot_be_seen_has_no_rectangle(center, size, camera):
    assert np.isnan(seen(box(center, size), camera=camera)).all()


def test_a_plate_that_is_seen_from_its_very_edge_has_no_rectangle():
    assert np.isnan(seen(box((0, 0, 5), (0, 3, 3)))).all()


def test_what_is_partly_behind_is_cut_before_it_is_projected():
    # a wall along the right side, from 5 m behind to 10 m ahead, its inner face at x = 2
    (found,) = seen(box((2.5, 0, 2.5), (1, 1, 15)))
    far = 99.5 + 100 * 2 / 10
    # it leaves the image on the right at z = 2 m (x/z = 1), where it is 100 * 0.5 / 2 px high
    assert found == pytest.approx([far, 49.5 - 25, 199.5, 49.5 + 25])


def test_only_what_is_in_the_image_of_a_slanted_part_counts():
    # 45 degrees turned, so that only one corner of the diamond comes in from the right
    half = math.radians(45) / 2
    turn = (0, 0, math.sin(half), math.cos(half))
    (found,) = seen(box((11.5, 0, 10), (2, 2, 1e-9), turn))
    left = 99.5 + 115 - 10 * math.sqrt(2)
    assert 99.5 < left < 219.5
    assert np.isnan(found).all() == (left >= 199.5)
    (found,) = seen(box((11, 0, 10), (2, 2, 1e-9), turn))
    left = 99.5 + 110 - 10 * math.sqrt(2)
    inside = 199.5 - left
    assert found == pytest.approx([left, 49.5 - inside, 199.5, 49.5 + inside])


@pytest.mark.parametrize('camera', [PINHOLE, BENT])
def test_from_within_a_box_it_is_everywhere(camera):
    assert seen(box((0, 0, 0), (4, 4, 4)), camera=camera)[0] == pytest.approx(WHOLE)


def test_a_lens_folds_nothing_that_is_beside_into_the_image():
    # 80 degrees to the side: the polynomial of the lens would put it somewhere in the image
    corners = box((11, 0, 2), (1, 1, 1))
    still = np.zeros(3)
    bare, _ = cv2.projectPoints(
        corners[0], still, still, np.reshape(K, (3, 3)), np.array([-0.3] * 4)
    )
    lens = camera_model(Calibration(200, 100, 'plumb_bob', (-0.3, 0.02, 0, 0), K, (0.0,) * 12))
    assert np.isfinite(bare).all()
    assert np.isnan(seen(corners, camera=lens)).all()


def test_edges_that_bend_are_enclosed_too():
    # a bar across the upper part: pulled in at its ends, so that its middle is the highest
    (found,) = seen(box((0, -0.3, 1), (1.6, 0.05, 0.001)), camera=BENT)
    x = np.linspace(-0.8, 0.8, 1001)
    z = np.full_like(x, 0.9995)
    top = BENT.project(np.stack([x, np.full_like(x, -0.325), z], axis=-1))
    assert found[1] == pytest.approx(top[:, 1].min(), abs=0.1)
    assert found[1] < top[[0, -1], 1].min() - 1


PLACES = st.floats(-10, 10)
LENGTHS = st.floats(0.1, 6)
TURNS = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda each: np.dot(each, each) > 0.1)


@settings(max_examples=300, deadline=None)
@given(
    center=st.tuples(PLACES, PLACES, PLACES),
    size=st.tuples(LENGTHS, LENGTHS, LENGTHS),
    turn=TURNS,
    lens=st.sampled_from(['pinhole', 'bent']),
)
def test_points_of_a_box_that_are_in_the_image_are_in_its_rectangle(center, size, turn, lens):
    camera = PINHOLE if lens == 'pinhole' else BENT
    turn = np.array(turn) / np.linalg.norm(turn)
    (found,) = seen(box(center, size, turn), camera=camera)
    chance = np.random.default_rng(1)
    points = chance.uniform(-0.5, 0.5, (3000, 3))
    # all on its faces, as what is within is hidden by them
    points[np.arange(3000), np.arange(3000) % 3] = np.sign(chance.uniform(-1, 1, 3000)) / 2
    points = (points * size) @ rotations(turn).T + center
    points = points[points[:, 2] > 0.1]
    slopes = np.hypot(*(points[:, :2] / points[:, 2:]).T)
    if len(camera.outline):
        points = points[slopes < np.hypot(*camera.outline[0]) * math.cos(math.pi / 16)]
    pixels = camera.project(points)
    pixels = pixels[(pixels > -0.5).all(axis=1) & (pixels < (199.5, 99.5)).all(axis=1)]
    if np.isnan(found[0]):
        assert not len(pixels)
        return
    slack = 1e-6 if lens == 'pinhole' else 2.0  # between the points of a curve
    assert (pixels >= found[:2] - slack).all()
    assert (pixels <= found[2:] + slack).all()
    assert (found[:2] >= WHOLE[:2]).all()
    assert (found[2:] <= WHOLE[2:]).all()


@pytest.mark.parametrize('camera', [PINHOLE, BENT])
def test_rectangles_are_no_larger_than_what_is_seen(camera):
    chance = np.random.default_rng(6)
    u, v = (each.ravel() for each in np.meshgrid(*[np.linspace(0, 1, 121)] * 2))
    partly = 0
    for _ in range(60):
        place = chance.uniform((-4, -2, -2), (4, 2, 6))
        corners = box(place, chance.uniform(0.5, 4, 3), chance.normal(size=4))
        (found,) = seen(corners, camera=camera, near_m=1.0)
        first, across, _, down = np.moveaxis(corners[0, FACES], 1, 0)[:, :, None]
        points = first + u[:, None] * (across - first) + v[:, None] * (down - first)
        points = points.reshape(-1, 3)
        points = points[points[:, 2] > 1.0]
        if len(camera.outline):
            slopes = np.hypot(*(points[:, :2] / points[:, 2:]).T)
            points = points[slopes < np.hypot(*camera.outline[0])]
        pixels = camera.project(points)
        pixels = pixels[(pixels > -0.5).all(axis=1) & (pixels < (199.5, 99.5)).all(axis=1)]
        if np.isnan(found[0]):
            assert not len(pixels)
            continue
        # 4 m in 120 steps, 1 m ahead
        limits = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
        assert found == pytest.approx(limits, abs=5)
        partly += bool((corners[..., 2] < 1.0).any())
    assert partly > 5


def test_boxes_are_projected_as_opencv_projects_their_corners():
    chance = np.random.default_rng(5)
    corners = np.concatenate([
        box(chance.uniform((-3, -1.5, 8), (3, 1.5, 20)), chance.uniform(0.5, 2, 3), turn)
        for turn in chance.normal(size=(200, 4)) / 1
    ])  # fmt: skip
    found = enclosing_boxes(corners, PINHOLE, 0.1)
    still = np.zeros(3)
    pixels, _ = cv2.projectPoints(
        corners.reshape(-1, 3), still, still, np.reshape(K, (3, 3)), np.zeros(4)
    )
    pixels = pixels.reshape(-1, 8, 2)
    expected = np.concatenate([pixels.min(axis=1), pixels.max(axis=1)], axis=1)
    inside = (expected[:, :2] >= -0.5).all(axis=1) & (expected[:, 2:] <= (199.5, 99.5)).all(axis=1)
    assert inside.sum() > 100
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-9)


def test_nothing_gives_nothing():
    assert enclosing_boxes(np.zeros((0, 8, 3)), PINHOLE, 0.1).shape == (0, 4)
    assert enclosing_boxes(np.zeros((0, 8, 3)), BENT, 0.1).shape == (0, 4)


def test_faces_are_flat_rectangles_and_hold_every_corner_thrice():
    (corners,) = box((1, 2, 3), (4, 2, 6), (0.5, -0.5, 0.5, 0.5))
    assert np.bincount(FACES.ravel()).tolist() == [3] * 8
    for a, b, c, d in corners[FACES]:
        np.testing.assert_allclose(a + c, b + d, atol=1e-12)
        assert np.dot(b - a, d - a) == pytest.approx(0)


def test_a_lidar_looks_ahead_where_its_camera_does():
    matrix = transform(np.array([0, -0.1, 0.2]), np.array([0.5, -0.5, 0.5, 0.5]))
    # 10 m ahead, 2 m to the left, 1 m up
    assert moved(np.array([10.0, 2.0, 1.0]), matrix) == pytest.approx([-2, -1.1, 10.2])
