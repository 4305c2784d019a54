# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The inference node: what of `detector_node` is a camera's."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from trt_engine.backend import Backend
from trt_engine.card import Card
from trt_engine.stop_signals import StopSignals
from trt_inference import conversions
from trt_inference.camera_frames import camera_frames
from trt_inference.config import InferenceConfig
from trt_inference.detections import Detections
from trt_inference.detector_config import Stream
from trt_inference.detector_node import DetectorNode
from trt_inference.detector_node import NEWEST
from trt_inference.detector_node import Ready
from trt_inference.detector_node import RESULTS
from trt_inference.detector_node import run
from trt_inference.detector_node import Topics
from trt_inference.latest import LatestFrames
from trt_inference.loading import GpuOptions
from trt_inference.loading import Loaded
from trt_inference.overlay import draw
from trt_inference.pipeline import Picture
from trt_inference.worker import Open
from trt_inference.worker import Result


class _CameraTopics(Topics):
    """The topics of one camera."""

    def __init__(self, node: LifecycleNode, stream: Stream, compressed_overlay: bool) -> None:
        super().__init__(node, stream)
        create = node.create_lifecycle_publisher
        self.detections = create(Detection2DArray, stream.topic('detections'), RESULTS)
        self.overlay = (
            create(CompressedImage, stream.topic('overlay/compressed'), NEWEST)
            if compressed_overlay
            else create(Image, stream.topic('overlay'), NEWEST)
        )


class InferenceNode(DetectorNode[InferenceConfig]):
    """Turns the images of one or several cameras into detections."""

    def __init__(self, name: str = 'inference', **kwargs: Any) -> None:
        """Declare parameters; nothing is loaded or subscribed before `configure`."""
        super().__init__(name, InferenceConfig, 'camera', **kwargs)

    def _prepare(self, card: Card, backend: Backend) -> Ready:
        config = self._config
        options = GpuOptions(
            mapped=config.mapped,
            spin=config.spin_wait,
            batch=len(self._streams),
            jpeg=config.jpeg_decoder if config.transport == 'compressed' else 'opencv',
        )
        return Loaded(card, backend, pipeline=config.pipeline, options=options)

    def _make_topics(self, stream: Stream) -> Topics:
        return _CameraTopics(self, stream, self._config.overlay_transport == 'compressed')

    def _incoming(self) -> tuple[type, LatestFrames, Open[Picture]]:
        compressed = self._config.transport == 'compressed'
        network = self._network
        assert isinstance(network, Loaded)
        frames = camera_frames(
            len(self._streams), compressed=compressed, takes_jpeg=network.detector.takes_jpeg
        )
        return CompressedImage if compressed else Image, *frames

    def _tell_worker(self) -> None:
        super()._tell_worker()
        if self._worker is not None:
            self._worker.max_batch_wait_ms = self._config.max_batch_wait_ms

    def _publish_seen(
        self, topics: _CameraTopics, header: Header, result: Result[Picture, Detections]
    ) -> None:
        classes = self._classes
        topics.detections.publish(conversions.detections(header, result.seen, classes))
        if topics.overlay.get_subscription_count() > 0:
            picture = draw(*result.taken, result.seen, classes)
            compressed = self._config.overlay_transport == 'compressed'
            topics.overlay.publish(conversions.overlay(result.view, picture, compressed))


def main(told_to_stop: StopSignals, args: list[str] | None = None) -> int:
    """Run the nodes until they are told to stop; return the exit status."""
    words = sys.argv if args is None else args
    names = _parser().parse_args(remove_ros_args(words)[1:]).nodes
    if len(set(names)) < len(names):
        print(f'inference: --nodes {" ".join(names)}; wanted each name once', file=sys.stderr)
        return 2
    return run(told_to_stop, InferenceNode, 'inference', names, words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='inference', description=InferenceNode.__doc__)
    parser.add_argument(
        '--nodes',
        nargs='+',
        default=['inference'],
        metavar='NAME',
        help='several nodes in one process, each with a network and parameters of its own: on the '
        'GPU they run side by side and share what CUDA and TensorRT take of the memory',
    )
    return parser


if __name__ == '__main__':
    sys.exit(main(StopSignals()))
