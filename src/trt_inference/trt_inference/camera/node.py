# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The inference node: what of `detector_node` is a camera's."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
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
from trt_engine.conversions import starting_ros
from trt_engine.entry import Entry
from trt_engine.errors import ConfigError
from trt_engine.memory.budget import Budget
from trt_engine.stop_signals import StopSignals
from trt_inference.camera import conversions
from trt_inference.camera.budget import CameraBudget
from trt_inference.camera.budget import engine_budget
from trt_inference.camera.config import InferenceConfig
from trt_inference.camera.detections import Detections
from trt_inference.camera.frames import camera_frames
from trt_inference.camera.gpu_pipeline import GpuDetector
from trt_inference.camera.image_view import CompressedView
from trt_inference.camera.image_view import ImageView
from trt_inference.camera.loading import GpuOptions
from trt_inference.camera.loading import Loaded
from trt_inference.camera.overlay import draw
from trt_inference.camera.pipeline import Picture
from trt_inference.detector.config import Stream
from trt_inference.detector.configured import Ready
from trt_inference.detector.latest import Frame
from trt_inference.detector.latest import LatestFrames
from trt_inference.detector.node import DetectorNode
from trt_inference.detector.process_node import run
from trt_inference.detector.topics_node import NEWEST
from trt_inference.detector.topics_node import RESULTS
from trt_inference.detector.topics_node import Topics
from trt_inference.detector.worker import Open
from trt_inference.detector.worker import Result
from trt_inference.detector.worker import Worker


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
        self._cameras: CameraBudget | None = None

    def _engine_budget(self, card: Card, engine: Entry) -> Budget:
        names = [stream.name for stream in self._streams]
        return engine_budget(card, engine, names, self._config.weight_streaming_mib)

    def _prepare(self, card: Card, backend: Backend) -> Ready:
        config = self._config
        options = GpuOptions(
            mapped=config.mapped,
            spin=config.spin_wait,
            batch=len(self._streams),
            jpeg=config.jpeg_decoder if config.transport == 'compressed' else 'opencv',
        )
        return Loaded(card, backend, pipeline=config.pipeline, options=options)

    def _budget(self, card: Card, network: Ready) -> Budget | None:
        self._cameras = None
        if not isinstance(network.detector, GpuDetector):
            return None
        names = [stream.name for stream in self._streams]
        self._cameras = CameraBudget(card, network.detector, names)
        return self._cameras.budget

    def _make_topics(self, stream: Stream) -> Topics:
        return _CameraTopics(self, stream, self._config.overlay_transport == 'compressed')

    def _incoming(self) -> tuple[type, LatestFrames, Open[Picture]]:
        compressed = self._config.transport == 'compressed'
        network = self._network
        assert isinstance(network, Loaded)
        latest, open_frame = camera_frames(
            len(self._streams), compressed=compressed, takes_jpeg=network.detector.takes_jpeg
        )
        if self._cameras is not None:
            open_frame = partial(self._open_checked, self._cameras, open_frame)
        return CompressedImage if compressed else Image, latest, open_frame

    def _open_checked(
        self, cameras: CameraBudget, open_frame: Open[Picture], frame: Frame
    ) -> tuple[ImageView | CompressedView, Callable[[], Picture]]:
        view, take = open_frame(frame)
        assert isinstance(view, ImageView | CompressedView)
        cameras.look_at(self._streams[frame.stream].name, view, self._memory.judge)
        return view, take

    def _tell(self, worker: Worker[Any, Any]) -> None:
        super()._tell(worker)
        worker.max_batch_wait_ms = self._config.max_batch_wait_ms

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
    try:
        with starting_ros():
            ours = remove_ros_args(words)[1:]
    except ConfigError as exc:
        print(f'inference: {exc}', file=sys.stderr)
        return 1
    names = _parser().parse_args(ours).nodes
    if len(set(names)) < len(names):
        print(f'inference: --nodes {" ".join(names)}; wanted each name once', file=sys.stderr)
        return 2
    return run(told_to_stop, InferenceNode, 'inference', names, words, InferenceNode.autostart)


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
