# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Between ROS messages and this package."""

from __future__ import annotations

from collections.abc import Sequence
import math
from typing import Any

from builtin_interfaces.msg import Duration
from builtin_interfaces.msg import Time
import cv2
from geometry_msgs.msg import Point
from geometry_msgs.msg import Pose
from geometry_msgs.msg import PoseWithCovariance
from geometry_msgs.msg import Quaternion
from geometry_msgs.msg import Vector3
import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import ColorRGBA
from std_msgs.msg import Header
from vision_msgs.msg import BoundingBox2D
from vision_msgs.msg import BoundingBox3D
from vision_msgs.msg import Detection2D
from vision_msgs.msg import Detection2DArray
from vision_msgs.msg import Detection3D
from vision_msgs.msg import Detection3DArray
from vision_msgs.msg import LabelInfo
from vision_msgs.msg import ObjectHypothesis
from vision_msgs.msg import ObjectHypothesisWithPose
from vision_msgs.msg import Point2D
from vision_msgs.msg import Pose2D
from vision_msgs.msg import VisionClass
from visualization_msgs.msg import Marker
from visualization_msgs.msg import MarkerArray

from trt_engine.backend import Array
from trt_inference.camera.detections import Detections
from trt_inference.cdr import serialize_compressed_image
from trt_inference.cdr import serialize_image
from trt_inference.detector.worker import Result
from trt_inference.detector.worker import Stamped
from trt_inference.detector.worker import StreamStatistics
from trt_inference.fusion.association import Fused
from trt_inference.fusion.association import SeenByLidar
from trt_inference.fusion.association import SeenInImage
from trt_inference.fusion.camera_model import Calibration
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.boxes3d import wrapped
from trt_interfaces.msg import InferenceStats

# By class, round and round: colours that stand out from each other and from a dark background.
_COLOURS = (
    (0.12, 0.71, 0.96), (1.0, 0.6, 0.1), (0.35, 0.85, 0.35), (0.95, 0.35, 0.75), (0.95, 0.9, 0.25),
    (0.6, 0.5, 1.0),
)  # fmt: skip


def header(view: Stamped) -> Header:
    """Return the header of a message, for what was found in it."""
    return Header(
        stamp=Time(sec=view.stamp_sec, nanosec=view.stamp_nanosec), frame_id=view.frame_id
    )


def detections(header: Header, found: Detections, classes: Sequence[str]) -> Detection2DArray:
    """Return the message of all detections in one image; class_id holds the class name."""
    message = Detection2DArray(header=header)
    # tolist gives Python floats at once; one conversion for each field costs more than the rest
    for (left, top, right, bottom), score, index in zip(
        found.boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True
    ):
        center = Point2D(x=(left + right) / 2, y=(top + bottom) / 2)
        message.detections.append(
            Detection2D(
                header=header,
                results=[
                    ObjectHypothesisWithPose(
                        hypothesis=ObjectHypothesis(class_id=classes[index], score=score)
                    )
                ],
                bbox=BoundingBox2D(
                    center=Pose2D(position=center), size_x=right - left, size_y=bottom - top
                ),
            )
        )
    return message


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


def label_info(stamp: Time, classes: Sequence[str], threshold: float) -> LabelInfo:
    """Return the names of the classes in the order of the network's own numbers."""
    return LabelInfo(
        header=Header(stamp=stamp),
        class_map=[VisionClass(class_id=i, class_name=name) for i, name in enumerate(classes)],
        threshold=threshold,
    )


def stats(
    header: Header,
    camera: str,
    result: Result[Any, Any],
    statistics: StreamStatistics,
    dropped: int,
    backend: str,
) -> InferenceStats:
    """Return what one frame cost, and how its sensor is doing."""
    fps = statistics.rate.per_second()
    return InferenceStats(
        header=header,
        camera=camera,
        preprocess_ms=result.stages_ms['preprocess'],
        inference_ms=result.stages_ms['inference'],
        decode_ms=result.stages_ms['decode'],
        publish_ms=result.stages_ms['publish'],
        total_ms=result.stages_ms['total'],
        age_ms=result.age_ms,
        fps=float('nan') if fps is None else fps,
        frames=statistics.frames,
        dropped=dropped,
        errors=statistics.errors,
        detections=len(result.seen),
        backend=backend,
    )


def overlay(view: Stamped, picture: Array, compressed: bool) -> bytes:
    """Return the drawn picture as a serialized Image, or CompressedImage (JPEG), of that header."""
    stamp_ns = view.stamp_sec * 1_000_000_000 + view.stamp_nanosec
    if not compressed:
        return serialize_image(stamp_ns, view.frame_id, picture)
    _, encoded = cv2.imencode('.jpg', picture)
    return serialize_compressed_image(stamp_ns, view.frame_id, 'jpeg', encoded.tobytes())


def calibration(message: CameraInfo) -> Calibration:
    """Return what a CameraInfo says."""
    roi = message.roi
    return Calibration(
        width=message.width,
        height=message.height,
        model=message.distortion_model,
        d=tuple(message.d),
        k=tuple(message.k.tolist()),
        p=tuple(message.p.tolist()),
        binning=(message.binning_x, message.binning_y),
        roi=(roi.x_offset, roi.y_offset, roi.width, roi.height),
    )


def seen_in_image(message: Detection2DArray) -> SeenInImage:
    """Return what was seen in an image, without what has no class.

    Of several classes that a box may be the one with the highest score counts; a turned box is
    enclosed by one that is not.

    Raises:
        FusionError: A number is none, or a size is below zero.
    """
    named = [each for each in message.detections if each.results]
    best = [_best(each.results).hypothesis for each in named]
    places = [
        (box.center.position.x, box.center.position.y, box.size_x, box.size_y, box.center.theta)
        for box in (each.bbox for each in named)
    ]
    x, y, across, down, turn = np.array(places, np.float64).reshape(-1, 5).T
    with np.errstate(invalid='ignore'):  # what is no number is refused below
        cos, sin = np.abs(np.cos(turn)), np.abs(np.sin(turn))
        width, height = across * cos + down * sin, across * sin + down * cos
    sides = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return SeenInImage(
        np.stack(sides, axis=-1),
        tuple(each.class_id for each in best),
        np.array([each.score for each in best], np.float64),
    )


def seen_by_lidar(message: Detection3DArray) -> SeenByLidar:
    """Return what was seen in a cloud; a box without a class has the label '' and the score 0.

    Raises:
        FusionError: A number is none, a size is below zero, or an orientation is none.
    """
    best = [_best(each.results) for each in message.detections]
    numbers = [
        (
            place.position.x, place.position.y, place.position.z, size.x, size.y, size.z,
            place.orientation.x, place.orientation.y, place.orientation.z, place.orientation.w,
        )
        for place, size in ((each.bbox.center, each.bbox.size) for each in message.detections)
    ]  # fmt: skip
    table = np.array(numbers, np.float64).reshape(-1, 10)
    return SeenByLidar(
        table[:, :3],
        table[:, 3:6],
        table[:, 6:],
        tuple(each.hypothesis.class_id for each in best),
        np.array([each.hypothesis.score for each in best], np.float64),
    )


def fused_detections(message: Detection3DArray, fused: Fused) -> Detection3DArray:
    """Return the boxes of the lidar that are kept, in their own message's header.

    A box with a partner has one class, that of the image; the others are as the lidar gave them.
    """
    kept = Detection3DArray(header=message.header)
    for index, partner, label, score in zip(
        fused.boxes.tolist(), fused.partners.tolist(), fused.labels, fused.scores.tolist(),
        strict=True,
    ):  # fmt: skip
        box = message.detections[index]
        if partner >= 0:
            pose = _best(box.results).pose if box.results else PoseWithCovariance(
                pose=box.bbox.center
            )  # fmt: skip
            hypothesis = ObjectHypothesis(class_id=label, score=score)
            results = [ObjectHypothesisWithPose(hypothesis=hypothesis, pose=pose)]
            box = Detection3D(header=box.header, results=results, bbox=box.bbox, id=box.id)
        kept.detections.append(box)
    return kept


def _best(results: Sequence[ObjectHypothesisWithPose]) -> ObjectHypothesisWithPose:
    """Return the class with the highest score; an empty one where there is none."""
    return max(results, key=lambda each: each.hypothesis.score, default=ObjectHypothesisWithPose())
