# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The generated messages serialise, and unknown figures stay unknown."""

from __future__ import annotations

import math

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not in this environment: . tools/env.sh')


def test_stats_survive_serialisation_with_unknown_age():
    from rclpy.serialization import deserialize_message
    from rclpy.serialization import serialize_message

    from trt_interfaces.msg import InferenceStats

    stats = InferenceStats(camera='front', frames=2**40, age_ms=math.nan, backend='onnxruntime')
    stats.header.frame_id = 'front_optical'

    again = deserialize_message(serialize_message(stats), InferenceStats)

    assert again.header.frame_id == 'front_optical'
    assert again.frames == 2**40
    assert math.isnan(again.age_ms)


def test_an_idle_builder_survives_serialisation_without_a_fraction():
    from rclpy.serialization import deserialize_message
    from rclpy.serialization import serialize_message

    from trt_interfaces.msg import BuilderStatus

    status = BuilderStatus(state='idle', fraction=math.nan, elapsed_s=math.nan, last_outcome='ö')

    again = deserialize_message(serialize_message(status), BuilderStatus)

    assert again.state == 'idle'
    assert math.isnan(again.fraction)
    assert math.isnan(again.elapsed_s)
    assert again.last_outcome == 'ö'


def test_a_goal_begins_with_nothing_overridden():
    from trt_interfaces.action import BuildEngine

    goal = BuildEngine.Goal(card='demo')

    assert (goal.onnx, goal.overrides, goal.force) == ('', [], False)
