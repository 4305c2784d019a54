# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Average precision of boxes from above, against cases worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trt_inference.lidar.boxes3d import Boxes3d
from trt_validation.lidar_precision import average_precision
from trt_validation.lidar_precision import Rule
from trt_validation.lidar_precision import Truth

IOU = Rule('iou', 0.7)


def boxes(*rows):
    """Return boxes of class 0: x, y, score."""
    x, y, scores = np.array(rows, np.float32).reshape(-1, 3).T
    count = len(x)
    sizes = np.tile(np.array([4, 2, 1.5], np.float32), (count, 1))
    return Boxes3d(
        np.stack((x, y, np.zeros(count, np.float32)), 1), sizes, np.zeros(count, np.float32),
        np.full((count, 2), np.nan), scores, np.zeros(count, np.int32),
    )  # fmt: skip


THINGS = np.array([[10, 0, 4, 2, 0], [30, 0, 4, 2, 0], [20, 9, 4, 2, 0]], float)


@pytest.mark.parametrize(
    ('rows', 'expected'),
    [
        ([(10, 0, 0.9), (30, 0, 0.8)], 1.0),
        ([(10, 0, 0.9)], 51 / 101),
        ([(0, 30, 0.9), (10, 0, 0.8), (30, 0, 0.7)], 2 / 3),
        ([(10, 0, 0.9), (10.1, 0, 0.8), (30, 0, 0.7)], (51 + 50 * 2 / 3) / 101),
        ([(10, 0, 0.9), (20, 9, 0.8), (30, 0, 0.7)], 1.0),
        ([(13, 0, 0.9)], 0.0),
        ([], 0.0),
    ],
    ids=['all', 'half', 'one false, first', 'one twice', 'uncounted', 'beside', 'none'],
)
@pytest.mark.parametrize('rule', [IOU, Rule('centre', 1.0)], ids=str)
def test_average_precision(rows, expected, rule):
    truth = Truth(THINGS, np.zeros(3, int), np.array([True, True, False]))
    assert average_precision([boxes(*rows)], [truth], 0, rule) == pytest.approx(expected)
    assert math.isnan(average_precision([boxes(*rows)], [truth], 1, rule))


def test_average_precision_by_distance():
    truth = Truth(THINGS, np.zeros(3, int), np.ones(3, bool))
    found = boxes((10, 0, 0.9), (0, 35, 0.8), (30, 0, 0.7))
    near = average_precision([found], [truth], 0, IOU, within_m=(0, 20))
    far = average_precision([found], [truth], 0, IOU, within_m=(25, 40))
    assert (near, far) == (1.0, 0.5)


@pytest.mark.parametrize(
    ('rule', 'away', 'turned', 'expected'),
    [
        (Rule('centre', 1.0), 0.99, 0.0, 1.0),
        (Rule('centre', 1.0), 1.01, 0.0, 0.0),
        (Rule('centre', 1.0), 0.0, 1.57, 1.0),  # a heading is nothing to it
        (Rule('iou', 0.6), 0.99, 0.0, 1.0),  # 3.01 of 4.99
        (Rule('iou', 0.6), 1.01, 0.0, 0.0),
        (Rule('iou', 0.3), 0.0, math.pi / 2, 1.0),  # a third
        (Rule('iou', 0.4), 0.0, math.pi / 2, 0.0),
        (Rule('iou', 0.99), 0.0, math.pi, 1.0),
    ],
)
def test_a_rule_says_what_is_found(rule, away, turned, expected):
    thing = np.array([[10 + away, 0, 4, 2, turned]])
    truth = Truth(thing, np.zeros(1, int), np.ones(1, bool))
    assert average_precision([boxes((10, 0, 1))], [truth], 0, rule) == expected


def test_a_box_takes_the_closest_thing_that_is_free():
    things = np.array([[10, 0, 4, 2, 0], [10.4, 0, 4, 2, 0]], float)
    truth = Truth(things, np.zeros(2, int), np.ones(2, bool))
    found = boxes((10.4, 0, 0.9), (10.4, 0, 0.8))
    assert average_precision([found], [truth], 0, Rule('centre', 1.0)) == 1.0
