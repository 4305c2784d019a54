# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Between ROS messages and this package."""

from __future__ import annotations

from collections.abc import Sequence

from builtin_interfaces.msg import Time
import cv2
from std_msgs.msg import Header
from vision_msgs.msg import BoundingBox2D
from vision_msgs.msg import Detection2D
from vision_msgs.msg import Detection2DArray
from vision_msgs.msg import LabelInfo
from vision_msgs.msg import ObjectHypothesis
from vision_msgs.msg import ObjectHypothesisWithPose
from vision_msgs.msg import Point2D
from vision_msgs.msg import Pose2D
from vision_msgs.msg import VisionClass

from trt_engine.backend import Array
from trt_inference.cdr import serialize_compressed_image
from trt_inference.cdr import serialize_image
from trt_inference.detections import Detections
from trt_inference.image_view import CompressedView
from trt_inference.image_view import ImageView
from trt_inference.worker import Result
from trt_inference.worker import StreamStatistics
from trt_interfaces.msg import InferenceStats


def header(view: ImageView | CompressedView) -> Header:
    """Return the header of an image, for what was found in it."""
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


def label_info(stamp: Time, classes: Sequence[str], threshold: float) -> LabelInfo:
    """Return the names of the classes in the order of the network's own numbers."""
    return LabelInfo(
        header=Header(stamp=stamp),
        class_map=[VisionClass(class_id=i, class_name=name) for i, name in enumerate(classes)],
        threshold=threshold,
    )


def stats(
    header: Header, camera: str, result: Result, statistics: StreamStatistics, dropped: int,
    backend: str,
) -> InferenceStats:  # fmt: skip
    """Return what one frame cost, and how its camera is doing."""
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
        detections=len(result.detections),
        backend=backend,
    )


def overlay(view: ImageView | CompressedView, picture: Array, compressed: bool) -> bytes:
    """Return the drawn picture as a serialized Image, or CompressedImage (JPEG), of that header."""
    stamp_ns = view.stamp_sec * 1_000_000_000 + view.stamp_nanosec
    if not compressed:
        return serialize_image(stamp_ns, view.frame_id, picture)
    _, encoded = cv2.imencode('.jpg', picture)
    return serialize_compressed_image(stamp_ns, view.frame_id, 'jpeg', encoded.tobytes())
