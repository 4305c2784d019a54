# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What every detector node says: headers, class names, the cost of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from builtin_interfaces.msg import Time
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo
from vision_msgs.msg import VisionClass

from trt_inference.detector.worker import Result
from trt_inference.detector.worker import Stamped
from trt_inference.detector.worker import StreamStatistics
from trt_interfaces.msg import InferenceStats


def header(view: Stamped) -> Header:
    """Return the header of a message, for what was found in it."""
    return Header(
        stamp=Time(sec=view.stamp_sec, nanosec=view.stamp_nanosec), frame_id=view.frame_id
    )


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
