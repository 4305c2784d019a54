# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Transforms of TF as matrices; tf2_ros is asked for when the first one is."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from trt_engine.backend import Array
from trt_engine.errors import ConfigError
from trt_engine.errors import PointsError
from trt_inference.rigid import is_turn
from trt_inference.rigid import transform


class Transforms:
    """Listens to /tf and /tf_static for a node.

    Args:
        node: Whose executor takes the messages in; not the thread that asks for matrices.
        timeout_ms: Longest wait for a transform that has not come yet.
        why: What of the configuration needs TF.
        instead: What to configure for doing without.

    Raises:
        ConfigError: tf2_ros is not installed.
    """

    def __init__(
        self,
        node: Node,
        timeout_ms: float,
        why: str = 'target_frame or fixed_frame is set',
        instead: str = 'set neither',
    ) -> None:
        try:
            self._tf: Any = import_module('tf2_ros')
        except ImportError as exc:
            raise ConfigError(
                f'{why}, and tf2_ros cannot be imported ({exc}); '
                f'install it (apt install ros-$ROS_DISTRO-tf2-ros-py), or {instead}'
            ) from exc
        self._timeout = Duration(nanoseconds=round(timeout_ms * 1e6))
        self._buffer: Any = self._tf.Buffer()
        self._listener: Any = self._tf.TransformListener(self._buffer, node)

    def matrix(self, target: str, source: str, stamp_ns: int) -> Array:
        """Return the 4x4 float64 transform from one frame to another at a time.

        Args:
            target: Frame to which it takes a point.
            source: Frame from which.
            stamp_ns: When.

        Raises:
            PointsError: It is not known, did not come in time, or the time is before 1970.
        """
        # rclpy has no such times, and a driver that counts from elsewhere may send them
        if stamp_ns < 0:
            raise PointsError(
                f'the stamp {stamp_ns / 1e9:.3f} s is below zero, for which TF has no transform '
                f'from {source!r} to {target!r}; does the driver set header.stamp?'
            )
        try:
            found = self._buffer.lookup_transform(
                target, source, Time(nanoseconds=stamp_ns), self._timeout
            )
        except self._tf.TransformException as exc:
            raise PointsError(
                f'TF has no transform from {source!r} to {target!r} at {stamp_ns / 1e9:.3f} s '
                f'within {self._timeout.nanoseconds / 1e6:g} ms: {exc}; is it published?'
            ) from exc
        return as_matrix(found.transform)

    def close(self) -> None:
        """Listen no more."""
        self._listener.unregister()


def as_matrix(message: Any) -> Array:
    """Return a geometry_msgs/Transform as 4x4 float64.

    Raises:
        PointsError: Its quaternion has no length.
    """
    turn, shift = message.rotation, message.translation
    quaternion = np.array([turn.x, turn.y, turn.z, turn.w], np.float64)
    if not is_turn(quaternion):
        raise PointsError(
            f'TF has a transform with the quaternion {quaternion.tolist()}; wanted a length of 1'
        )
    return transform(np.array([shift.x, shift.y, shift.z]), quaternion)
