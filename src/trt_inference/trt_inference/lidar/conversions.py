# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Boxes in space, to messages and back."""

from __future__ import annotations

from collections.abc import Sequence
import math

from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from geometry_msgs.msg import Pose
from geometry_msgs.msg import PoseWithCovariance
from geometry_msgs.msg import Quaternion
from geometry_msgs.msg import Vector3
import numpy as np
from std_msgs.msg import ColorRGBA
from std_msgs.msg import Header
from vision_msgs.msg import BoundingBox3D
from vision_msgs.msg import Detection3D
from vision_msgs.msg import Detection3DArray
from vision_msgs.msg import ObjectHypothesis
from vision_msgs.msg import ObjectHypothesisWithPose
from visualization_msgs.msg import Marker
from visualization_msgs.msg import MarkerArray

from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.boxes3d import wrapped

# By class, round and round: colours that stand out from each other and from a dark background.
_COLOURS = (
    (0.12, 0.71, 0.96), (1.0, 0.6, 0.1), (0.35, 0.85, 0.35), (0.95, 0.35, 0.75), (0.95, 0.9, 0.25),
    (0.6, 0.5, 1.0),
)  # fmt: skip


def detections_3d(header: Header, seen: Boxes3d, classes: Sequence[str]) -> Detection3DArray:
    """Return the message of all boxes in one cloud; class_id holds the class name.

    The heading of a box is its x axis, as REP-103 has it. vision_msgs has no place for velocities.
    """
    message = Detection3DArray(header=header)
    for pose, size, score, index in zip(
        _poses(seen), seen.sizes.tolist(), seen.scores.tolist(), seen.classes.tolist(), strict=True
    ):
        length, width, height = size
        hypothesis = ObjectHypothesis(class_id=classes[index], score=score)
        message.detections.append(
            Detection3D(
                header=header,
                results=[
                    ObjectHypothesisWithPose(
                        hypothesis=hypothesis, pose=PoseWithCovariance(pose=pose)
                    )
                ],
                bbox=BoundingBox3D(center=pose, size=Vector3(x=length, y=width, z=height)),
            )
        )
    return message


def boxes_3d(message: Detection3DArray, classes: Sequence[str]) -> Boxes3d:
    """Return the boxes of a message; those without a known class are left out, all velocities NaN.

    Args:
        message: As `detections_3d` makes it: boxes are turned about z alone.
        classes: Names, in the order of the network.
    """
    rows = []
    for each in message.detections:
        best = each.results[0].hypothesis if each.results else None
        if best is None or best.class_id not in classes:
            continue
        center, size, turn = each.bbox.center, each.bbox.size, each.bbox.center.orientation
        at = center.position
        yaw = 2 * math.atan2(turn.z, turn.w)
        rows.append([at.x, at.y, at.z, size.x, size.y, size.z, yaw, best.score,
                     classes.index(best.class_id)])  # fmt: skip
    table = np.array(rows, np.float32).reshape(-1, 9)
    velocities = np.full((len(rows), 2), np.nan, np.float32)
    yaws = wrapped(table[:, 6]).astype(np.float32)
    labels = table[:, 8].astype(np.int32)
    return Boxes3d(table[:, :3], table[:, 3:6], yaws, velocities, table[:, 7], labels)


def markers(
    header: Header, seen: Boxes3d, classes: Sequence[str], lifetime_s: float
) -> MarkerArray:  # fmt: skip
    """Return boxes for RViz and Foxglove: a see-through box, an arrow ahead, class and score.

    What an earlier message showed is deleted.
    """
    shown = [Marker(header=header, action=Marker.DELETEALL)]
    lifetime = Duration(sec=int(lifetime_s), nanosec=int(lifetime_s % 1 * 1e9))
    speeds = np.hypot(*seen.velocities.astype(np.float64).T).tolist()
    numbers = zip(seen.sizes.tolist(), seen.scores.tolist(), seen.classes.tolist(), strict=True)
    for place, (pose, (size, score, index)) in enumerate(zip(_poses(seen), numbers, strict=True)):
        length, width, height = size
        red, green, blue = _COLOURS[index % len(_COLOURS)]
        text = f'{classes[index]} {score:.2f}'
        if not math.isnan(speeds[place]):
            text += f' {speeds[place]:.1f} m/s'
        middle = pose.position
        above = Point(x=middle.x, y=middle.y, z=middle.z + height / 2 + 0.4)
        shown += [
            Marker(
                header=header, ns='boxes', id=place, type=Marker.CUBE, pose=pose,
                scale=Vector3(x=length, y=width, z=height), lifetime=lifetime,
                color=ColorRGBA(r=red, g=green, b=blue, a=0.35),
            ),
            Marker(
                header=header, ns='headings', id=place, type=Marker.ARROW, pose=pose,
                scale=Vector3(x=length / 2 + 0.5, y=0.15, z=0.15), lifetime=lifetime,
                color=ColorRGBA(r=red, g=green, b=blue, a=1.0),
            ),
            Marker(
                header=header, ns='labels', id=place, type=Marker.TEXT_VIEW_FACING, text=text,
                pose=Pose(position=above), scale=Vector3(z=0.6), lifetime=lifetime,
                color=ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0),
            ),
        ]  # fmt: skip
    return MarkerArray(markers=shown)


def _poses(seen: Boxes3d) -> list[Pose]:
    halves = seen.yaws.astype(np.float64) / 2
    return [
        Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(z=sin, w=cos))
        for (x, y, z), sin, cos in zip(
            seen.centers.tolist(), np.sin(halves).tolist(), np.cos(halves).tolist(), strict=True
        )
    ]
