# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the camera node says: boxes in the plane, pictures with them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
from std_msgs.msg import Header
from vision_msgs.msg import BoundingBox2D
from vision_msgs.msg import Detection2D
from vision_msgs.msg import Detection2DArray
from vision_msgs.msg import ObjectHypothesis
from vision_msgs.msg import ObjectHypothesisWithPose
from vision_msgs.msg import Point2D
from vision_msgs.msg import Pose2D

from trt_engine.backend import Array
from trt_inference.camera.detections import Detections
from trt_inference.cdr import serialize_compressed_image
from trt_inference.cdr import serialize_image
from trt_inference.detector.worker import Stamped


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


def overlay(view: Stamped, picture: Array, compressed: bool) -> bytes:
    """Return the drawn picture as a serialized Image, or CompressedImage (JPEG), of that header."""
    stamp_ns = view.stamp_sec * 1_000_000_000 + view.stamp_nanosec
    if not compressed:
        return serialize_image(stamp_ns, view.frame_id, picture)
    _, encoded = cv2.imencode('.jpg', picture)
    return serialize_compressed_image(stamp_ns, view.frame_id, 'jpeg', encoded.tobytes())
