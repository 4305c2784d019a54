# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a frame costs from its serialized message to its published detections, ours and baseline.

Both paths get the same bytes, the same network on the same backend, and publish to the same kind of
publisher, in turns within one run. What the network itself takes is measured inside our path and
subtracted from both, so that the rest can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import gc
import statistics
import time
import tracemalloc

from baseline import BaselineNode
import cv2
import rclpy
from rclpy.publisher import Publisher
from vision_msgs.msg import Detection2DArray

from trt_engine.backend import Array
from trt_engine.backend import Backend
from trt_engine.card import Card
from trt_inference.camera.conversions import detections
from trt_inference.camera.image_view import view_image
from trt_inference.camera.pipeline import Detector
from trt_inference.cdr import serialize_image
from trt_inference.detector.conversions import header as header_of


@dataclass(frozen=True)
class Comparison:
    """Medians of one picture size, in milliseconds; allocations in KiB."""

    width: int
    height: int
    rounds: int
    read_ms: float
    preprocess_ms: float
    inference_ms: float
    decode_ms: float
    publish_ms: float
    ours_ms: float
    baseline_ms: float
    baseline_inference_ms: float
    allocated_kib: float
    baseline_allocated_kib: float

    @property
    def ratio(self) -> float:
        """Return our path over the baseline's, both less the network."""
        return (self.ours_ms - self.inference_ms) / (self.baseline_ms - self.baseline_inference_ms)


class OurPath:
    """What the node does with a message, without the thread between."""

    def __init__(self, detector: Detector, publisher: Publisher) -> None:
        self.detector = detector
        self.publisher = publisher
        self.stages_ms: dict[str, float] = {}

    def on_message(self, serialized: bytes) -> None:
        begun = time.perf_counter()
        view = view_image(serialized)
        viewed = time.perf_counter()
        found = self.detector(view.pixels, view.encoding)
        detected = time.perf_counter()
        header = header_of(view)
        self.publisher.publish(detections(header, found, self.detector.card.classes))
        published = time.perf_counter()
        self.stages_ms = {
            'read': (viewed - begun) * 1e3,
            **self.detector.stages_ms,
            'publish': (published - detected) * 1e3,
        }


class TimedBackend:
    """Passes on to a backend, and keeps how long its last run took."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.last_ms = 0.0

    def run(self, inputs: dict[str, Array]) -> object:
        begun = time.perf_counter()
        outputs = self._backend.run(inputs)
        self.last_ms = (time.perf_counter() - begun) * 1e3
        return outputs


def allocated_kib(call: Callable[[], object], rounds: int = 20) -> float:
    """Return the most that one call had allocated at once, beyond what was there before it."""
    call()
    tracemalloc.start()
    peaks = []
    for _ in range(rounds):
        gc.collect()
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        call()
        _, peak = tracemalloc.get_traced_memory()
        peaks.append((peak - before) / 1024)
    tracemalloc.stop()
    return statistics.median(peaks)


def compare(card: Card, backend: Backend, picture: Array, size: tuple[int, int],
            rounds: int) -> Comparison:  # fmt: skip
    """Send the same picture through both paths in turns."""
    message = serialize_image(1_700_000_000_000_000_000, 'camera', cv2.resize(picture, size))
    rclpy.init()
    node = rclpy.create_node('bench_frames')
    ours = OurPath(Detector(card, backend), node.create_publisher(Detection2DArray, 'ours', 10))
    timed = TimedBackend(backend)
    baseline = BaselineNode(card, timed, node.create_publisher(Detection2DArray, 'baseline', 10))
    stages: dict[str, list[float]] = {}
    totals: dict[str, list[float]] = {'ours': [], 'baseline': [], 'baseline_inference': []}
    for number in range(-10, rounds):
        for name, path in (('ours', ours), ('baseline', baseline)):
            begun = time.perf_counter()
            path.on_message(message)
            took_ms = (time.perf_counter() - begun) * 1e3
            if number >= 0:
                totals[name].append(took_ms)
        if number >= 0:
            totals['baseline_inference'].append(timed.last_ms)
            for name, value in ours.stages_ms.items():
                stages.setdefault(name, []).append(value)
    result = Comparison(
        width=size[0],
        height=size[1],
        rounds=rounds,
        **{f'{name}_ms': statistics.median(values) for name, values in stages.items()},
        **{f'{name}_ms': statistics.median(values) for name, values in totals.items()},
        allocated_kib=allocated_kib(lambda: ours.on_message(message)),
        baseline_allocated_kib=allocated_kib(lambda: baseline.on_message(message)),
    )
    node.destroy_node()
    rclpy.shutdown()
    return result
