# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Brings clouds and the boxes found in them together, whichever comes first, and draws them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from trt_engine.backend import Array
from trt_inference.cdr import read_stamp_ns
from trt_inference.cdr_reader import Serialized
from trt_inference.lidar.birds_eye import draw
from trt_inference.lidar.birds_eye import places
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.point_view import view_points

_KEPT = 30  # clouds without boxes, or boxes without a cloud; the oldest goes

T = TypeVar('T')


@dataclass(frozen=True, eq=False)
class _Seen:
    frame_id: str
    boxes: Boxes3d
    classes: tuple[str, ...]


class CloudPictures:
    """Makes a picture of each cloud whose boxes are known; both carry the same stamp."""

    def __init__(self) -> None:
        self._clouds: OrderedDict[int, Serialized] = OrderedDict()
        self._seen: OrderedDict[int, _Seen] = OrderedDict()

    def add_cloud(self, serialized: Serialized) -> Array | None:
        """Take a serialized sensor_msgs/PointCloud2; return a picture where the boxes are known.

        Raises:
            PointsError: It cannot be read.
        """
        stamp_ns = read_stamp_ns(bytes(serialized[:12]))
        seen = self._seen.pop(stamp_ns, None)
        if seen is not None:
            return _drawn(serialized, seen)
        _keep(self._clouds, stamp_ns, serialized)
        return None

    def add_boxes(
        self, stamp_ns: int, frame_id: str, boxes: Boxes3d, classes: Sequence[str]
    ) -> Array | None:
        """Take the boxes of a cloud; return a picture where the cloud has come.

        Args:
            stamp_ns: Of the cloud.
            frame_id: Frame of the boxes; where it is not that of the cloud, no point is drawn.
            boxes: What was seen.
            classes: Names, in the order of the network.

        Raises:
            PointsError: The cloud cannot be read.
        """
        seen = _Seen(frame_id, boxes, tuple(classes))
        serialized = self._clouds.pop(stamp_ns, None)
        if serialized is not None:
            return _drawn(serialized, seen)
        _keep(self._seen, stamp_ns, seen)
        return None


def _keep(waiting: OrderedDict[int, T], stamp_ns: int, value: T) -> None:
    waiting[stamp_ns] = value
    if len(waiting) > _KEPT:
        waiting.popitem(last=False)


def _drawn(serialized: Serialized, seen: _Seen) -> Array:
    view = view_points(serialized)
    points = places(view) if view.frame_id == seen.frame_id else np.zeros((0, 3), np.float32)
    return draw(points, seen.boxes, seen.classes)
