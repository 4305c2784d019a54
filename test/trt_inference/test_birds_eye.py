# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A cloud is drawn where it is: ahead is up, left is left, the front of a box has a line."""

from __future__ import annotations

import numpy as np
import pytest

from trt_inference.cdr import serialize_points
from trt_inference.detector.colors import class_color
from trt_inference.lidar.birds_eye import draw
from trt_inference.lidar.birds_eye import places
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.point_view import view_points

NOTHING = np.zeros((0, 3), np.float32)


def box(x, y, length, width, yaw, label=0):
    return Boxes3d(
        np.array([[x, y, 0]], np.float32), np.array([[length, width, 1.5]], np.float32),
        np.array([yaw], np.float32), np.full((1, 2), np.nan, np.float32),
        np.ones(1, np.float32), np.array([label], np.int32),
    )  # fmt: skip


def drawn(points, boxes):
    return draw(np.array(points, np.float32).reshape(-1, 3), boxes, (), reach_m=25, pixels=250)


def coloured(picture):
    """Return (row, column) of pixels that are not grey."""
    return np.argwhere(picture.max(axis=2).astype(int) - picture.min(axis=2) > 40)


def test_points_ahead_are_up_and_the_higher_is_the_brighter():
    picture = drawn([(13, 0, -2), (0, 13, 1), (0, -14, -0.5)], Boxes3d.none())
    ahead, left, right = picture[60, 125, 0], picture[125, 60, 0], picture[125, 195, 0]
    assert 60 < ahead < right < left == 255
    assert picture[190, 125].tolist() == [18] * 3


def test_the_higher_point_of_a_pixel_is_seen():
    for heights in ((-2, 1), (1, -2)):
        assert drawn([(10.1, 10.1, z) for z in heights], Boxes3d.none())[74, 74, 0] == 255


@pytest.mark.parametrize(
    ('yaw', 'first', 'last'),
    [(0, (100, 95), (125, 105)), (np.pi / 2, (107, 87), (118, 112))],
)
def test_a_box_lies_along_its_heading(yaw, first, last):
    found = coloured(drawn(NOTHING, box(2.5, 5, 5, 2, yaw)))
    # 5 pixels are a metre; lines are drawn with soft edges
    assert found.min(axis=0).tolist() == pytest.approx(first, abs=2)
    assert found.max(axis=0).tolist() == pytest.approx(last, abs=2)


def test_a_line_goes_from_the_middle_to_the_front():
    picture = drawn(NOTHING, box(0, 12, 8, 4, 0))
    column = 125 - 12 * 5
    front, rear = picture[110, column], picture[140, column]
    assert front.tolist() == pytest.approx(class_color(0), abs=60)
    assert rear.max() < 60


def test_the_key_says_how_many_there_are():
    one = draw(NOTHING, box(0, 40, 4, 2, 0, label=1), ('car', 'bus'), reach_m=30, pixels=300)
    none = draw(NOTHING, Boxes3d.none(), ('car', 'bus'), reach_m=30, pixels=300)
    assert (one[:28] == none[:28]).all()
    assert (one[28:50, :100] != none[28:50, :100]).any()


def test_numbers_that_are_none_do_no_harm():
    points = [(np.nan, 0, 0), (np.inf, 1, 0), (1e30, 0, 0), (3, 3, 0)]
    picture = drawn(points, box(1e20, 0, 4, 2, np.nan))
    assert picture[110, 110].max() > 60


def test_places_are_those_of_any_cloud_with_x_y_and_z():
    points = np.arange(8, dtype=np.float32).reshape(2, 4)
    view = view_points(serialize_points(1, 'lidar', points, ('x', 'y', 'intensity', 'z')))
    assert places(view).tolist() == [[0, 1, 3], [4, 5, 7]]
    view = view_points(serialize_points(1, 'lidar', points[:, :2], ('x', 'y')))
    assert places(view).shape == (0, 3)
