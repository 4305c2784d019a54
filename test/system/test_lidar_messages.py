# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Boxes as messages: poses by REP-103, names, markers for viewers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trt_inference.lidar.boxes3d import Boxes3d

CLASSES = ('car', 'truck')


def boxes(yaws=(0.0,), speeds=None):
    count = len(yaws)
    velocities = np.full((count, 2), np.nan) if speeds is None else np.array(speeds)
    return Boxes3d(
        np.tile(np.array([10, -5, 0.5], np.float32), (count, 1)),
        np.tile(np.array([4, 2, 1.5], np.float32), (count, 1)),
        np.array(yaws, np.float32),
        velocities.astype(np.float32),
        np.full(count, 0.75, np.float32),
        np.arange(count, dtype=np.int32) % 2,
    )


def header():
    from builtin_interfaces.msg import Time
    from std_msgs.msg import Header

    return Header(stamp=Time(sec=3, nanosec=4), frame_id='lidar')


@pytest.mark.parametrize('quarter', [-2, -1, 0, 1])
def test_the_heading_of_a_box_is_its_x_axis(quarter):
    from trt_inference.lidar.conversions import detections_3d

    yaw = quarter * math.pi / 2 + 0.3
    message = detections_3d(header(), boxes((yaw,)), CLASSES)
    (found,) = message.detections
    turn = found.bbox.center.orientation
    assert (turn.x, turn.y) == (0, 0)
    ahead = (1 - 2 * turn.z**2, 2 * turn.z * turn.w)
    assert ahead == pytest.approx((math.cos(yaw), math.sin(yaw)), abs=1e-6)


def test_detections_hold_names_scores_and_sizes():
    from trt_inference.lidar.conversions import detections_3d

    message = detections_3d(header(), boxes((0.0, 1.0)), CLASSES)
    assert message.header == header()
    for found, name in zip(message.detections, CLASSES, strict=True):
        assert found.header == header()
        (result,) = found.results
        assert (result.hypothesis.class_id, result.hypothesis.score) == (name, 0.75)
        assert result.pose.pose == found.bbox.center
        center, size = found.bbox.center.position, found.bbox.size
        assert (center.x, center.y, center.z) == (10, -5, 0.5)
        assert (size.x, size.y, size.z) == (4, 2, 1.5)
    assert detections_3d(header(), Boxes3d.none(), CLASSES).detections == []


@pytest.mark.parametrize(
    ('speeds', 'text'), [(None, 'car 0.75'), ([(3.0, 4.0)], 'car 0.75 5.0 m/s')]
)
def test_markers_replace_those_before(speeds, text):
    from visualization_msgs.msg import Marker

    from trt_inference.lidar.conversions import markers

    clear, box, ahead, label = markers(header(), boxes(speeds=speeds), CLASSES, 1.25).markers
    assert (clear.action, clear.header) == (Marker.DELETEALL, header())
    assert [each.type for each in (box, ahead, label)] == [
        Marker.CUBE, Marker.ARROW, Marker.TEXT_VIEW_FACING,
    ]  # fmt: skip
    for each in (box, ahead, label):
        assert each.header == header()
        assert (each.lifetime.sec, each.lifetime.nanosec) == (1, 250_000_000)
        assert each.color.a > 0
    assert (box.scale.x, box.scale.y, box.scale.z) == (4, 2, 1.5)
    assert (label.text, label.pose.position.z) == (text, pytest.approx(0.5 + 0.75 + 0.4))
    assert len({(each.ns, each.id) for each in (box, ahead, label)}) == 3


def test_boxes_of_a_message_are_those_that_it_was_made_of():
    from trt_inference.lidar.conversions import boxes_3d
    from trt_inference.lidar.conversions import detections_3d

    given = boxes((0.5, -3.0, math.pi - 0.01))
    message = detections_3d(header(), given, CLASSES)
    found = boxes_3d(message, CLASSES)
    for name in ('centers', 'sizes', 'yaws', 'scores', 'classes'):
        np.testing.assert_allclose(getattr(found, name), getattr(given, name), atol=1e-6)
        assert getattr(found, name).dtype == getattr(given, name).dtype
    only_trucks = boxes_3d(message, ('truck',))
    assert only_trucks.classes.tolist() == [0]
    assert len(boxes_3d(message, ())) == 0
