# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The topics that every sensor of a node has, and the QoS of topics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSDurabilityPolicy
from rclpy.qos import QoSProfile
from vision_msgs.msg import LabelInfo

from trt_inference.detector.config import Stream
from trt_interfaces.msg import InferenceStats

RESULTS = QoSProfile(depth=10)
NEWEST = QoSProfile(depth=1)
_LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


class Topics:
    """The topics of one sensor that every node has; a node adds its own."""

    def __init__(self, node: LifecycleNode, stream: Stream) -> None:
        create = node.create_lifecycle_publisher
        self.label_info = create(LabelInfo, stream.topic('label_info'), _LATCHED)
        self.stats = create(InferenceStats, stream.topic('stats'), RESULTS)

    def all(self) -> Sequence[Any]:
        """Return every publisher."""
        return tuple(vars(self).values())
