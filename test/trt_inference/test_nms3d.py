# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Overlap of turned rectangles agrees with shapely; suppression with a plain loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from shapely import area
from shapely import intersection
from shapely import polygons

from trt_inference.lidar.nms3d import circle_nms
from trt_inference.lidar.nms3d import rotated_iou
from trt_inference.lidar.nms3d import rotated_nms

pytestmark = pytest.mark.slow


def rectangles(chance, count, spread=3.0):
    return np.stack(
        (
            chance.uniform(-spread, spread, count),
            chance.uniform(-spread, spread, count),
            chance.uniform(0.1, 6, count),
            chance.uniform(0.1, 3, count),
            chance.uniform(-7, 7, count),
        ),
        axis=1,
    )


def shapely_iou(first, second):
    def outlines(boxes):
        x, y, length, width, yaw = boxes.T[..., None]
        along, across = length * [0.5, -0.5, -0.5, 0.5], width * [0.5, 0.5, -0.5, -0.5]
        cos, sin = np.cos(yaw), np.sin(yaw)
        corners = (x + along * cos - across * sin, y + along * sin + across * cos)
        return polygons(np.stack(corners, axis=-1))

    one, two = outlines(first), outlines(second)
    shared = area(intersection(one, two))
    return shared / (area(one) + area(two) - shared)


@pytest.fixture(scope='module')
def pairs():
    chance = np.random.default_rng(1)
    return rectangles(chance, 10_000), rectangles(chance, 10_000)


def test_overlap_is_that_of_shapely(pairs):
    expected = shapely_iou(*pairs)
    assert 0.3 < (expected > 0).mean() < 0.9
    np.testing.assert_allclose(rotated_iou(*pairs), expected, rtol=0, atol=1e-9)


def test_rectangles_that_differ_by_next_to_nothing_are_one(pairs):
    # GEOS, behind shapely, makes some of these pairs disjoint, so that it cannot be the judge here
    first = pairs[0]
    nearly = 10.0 ** np.random.default_rng(2).integers(-17, -4, (10_000, 1))
    second = first + np.random.default_rng(3).uniform(-1, 1, first.shape) * nearly
    assert (1 - rotated_iou(first, second) < 200 * nearly[:, 0] + 1e-12).all()


def test_overlap_does_not_depend_on_the_order_of_a_pair(pairs):
    first, second = pairs
    np.testing.assert_allclose(rotated_iou(first, second), rotated_iou(second, first), atol=1e-12)


@pytest.mark.parametrize(
    ('first', 'second', 'iou'),
    [
        ((0, 0, 4, 2, 0), (0, 0, 4, 2, 0), 1),
        ((0, 0, 4, 2, 0.3), (0, 0, 4, 2, 0.3 + math.pi), 1),
        ((0, 0, 4, 2, 0), (2, 0, 4, 2, 0), 1 / 3),
        ((0, 0, 4, 2, 0), (4, 0, 4, 2, 0), 0),
        ((0, 0, 4, 2, 0), (9, 9, 4, 2, 1), 0),
        ((0, 0, 4, 2, 0), (0, 0, 4, 2, math.pi / 2), 4 / 12),
        ((0, 0, 4, 4, 0), (0, 0, 1, 1, 0.7), 1 / 16),
        ((0, 0, 2, 2, 0), (0, 0, 2, 2, math.pi / 4), math.sqrt(0.5)),
        ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), 0),
        ((0, 0, 0, 2, 0), (0, 0, 4, 2, 0), 0),
        ((1e6, 1e6, 4, 2, 1), (1e6, 1e6, 4, 2, 1), 1),
    ],
)  # fmt: skip
def test_overlap_by_hand(first, second, iou):
    found = rotated_iou(np.array(first, float), np.array(second, float))
    assert found == pytest.approx(iou, abs=1e-9)


def plain(rivals, scores, classes, agnostic, limit):
    stay = []
    for index in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        same = [other for other in stay if agnostic or classes[other] == classes[index]]
        if not any(rivals(index, other) for other in same):
            stay.append(index)
    return stay[:limit]


@pytest.mark.parametrize('agnostic', [True, False])
@pytest.mark.parametrize('threshold', [0.01, 0.3, 0.9])
@pytest.mark.parametrize('limit', [7, 500])
def test_rotated_nms_is_that_of_a_plain_loop(agnostic, threshold, limit):
    chance = np.random.default_rng(2)
    boxes = rectangles(chance, 150, 12)
    scores, classes = chance.integers(0, 40, 150) / 40, chance.integers(0, 3, 150)
    ious = rotated_iou(boxes[:, None], boxes)
    expected = plain(lambda a, b: ious[a, b] > threshold, scores, classes, agnostic, limit)
    found = rotated_nms(boxes, scores, classes, threshold, class_agnostic=agnostic, limit=limit)
    assert found.tolist() == expected


@pytest.mark.parametrize('agnostic', [True, False])
def test_circle_nms_is_that_of_a_plain_loop(agnostic):
    chance = np.random.default_rng(3)
    centers = chance.integers(0, 20, (150, 2)) / 2
    scores, classes = chance.integers(0, 40, 150) / 40, chance.integers(0, 3, 150)
    apart = np.hypot(*(centers[:, None] - centers).transpose(2, 0, 1))
    expected = plain(lambda a, b: apart[a, b] <= 1.5, scores, classes, agnostic, 500)
    found = circle_nms(centers, scores, classes, 1.5, class_agnostic=agnostic, limit=500)
    assert found.tolist() == expected


def test_of_equal_scores_the_earlier_box_stays():
    boxes = np.array([[0, 0, 4, 2, 0.1]] * 3)
    assert rotated_nms(
        boxes, np.ones(3), np.zeros(3), 0.5, class_agnostic=True, limit=9
    ).tolist() == [0]  # fmt: skip


def test_nothing_leaves_nothing():
    none = np.zeros((0, 5))
    assert len(rotated_nms(none, none[:, 0], none[:, 0], 0.5, class_agnostic=False, limit=9)) == 0
    assert (
        len(circle_nms(none[:, :2], none[:, 0], none[:, 0], 1, class_agnostic=True, limit=9)) == 0
    )
