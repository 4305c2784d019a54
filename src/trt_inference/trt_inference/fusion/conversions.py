# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What fusion takes of messages, and what it says."""

from __future__ import annotations

from collections.abc import Sequence

from geometry_msgs.msg import PoseWithCovariance
import numpy as np
from sensor_msgs.msg import CameraInfo
from vision_msgs.msg import Detection2DArray
from vision_msgs.msg import Detection3D
from vision_msgs.msg import Detection3DArray
from vision_msgs.msg import ObjectHypothesis
from vision_msgs.msg import ObjectHypothesisWithPose

from trt_inference.fusion.association import Fused
from trt_inference.fusion.association import SeenByLidar
from trt_inference.fusion.association import SeenInImage
from trt_inference.fusion.camera_model import Calibration


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
    with np.errstate(invalid='ignore', over='ignore'):  # what is no number is refused below
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
