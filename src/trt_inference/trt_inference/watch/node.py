# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The watch node: follows one inference node, says how it is doing, keeps what it drew."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
import shutil
import sys
import time

import cv2
import rclpy
from rclpy.exceptions import NameValidationException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import QoSReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from sensor_msgs.msg import PointCloud2
from vision_msgs.msg import Detection2DArray
from vision_msgs.msg import Detection3DArray
from vision_msgs.msg import LabelInfo

from trt_engine.backend import Array
from trt_engine.conversions import declare
from trt_engine.conversions import starting_ros
from trt_engine.errors import ConfigError
from trt_engine.errors import ImageError
from trt_engine.errors import PerceptionError
from trt_inference.camera.image_view import view_compressed_image
from trt_inference.camera.image_view import view_image
from trt_inference.lidar.conversions import boxes_3d
from trt_inference.watch.cloud_pictures import CloudPictures
from trt_inference.watch.config import WatchConfig
from trt_inference.watch.summary import Summary
from trt_inference.watch.video_file import VideoFile
from trt_interfaces.msg import InferenceStats

_DEPTH = 30
_LOOK_UP_S = 0.1  # how often the loop looks whether it is to stop
_LIVE_PERIOD_S = 0.2
_LINE_PERIOD_S = 5.0
# The overlay of a frame, and its statistics, come after its detections.
_SETTLE_S = 0.5


class WatchNode(Node):  # type: ignore[misc]
    """Subscribes to what one inference node publishes."""

    def __init__(self) -> None:
        """Declare parameters and subscribe.

        Raises:
            ConfigError: A parameter has a value that is not allowed.
        """
        super().__init__('watch')
        self._config = config = declare(self, WatchConfig, fixed=True)
        self.summary = Summary(time.monotonic)
        self._video: VideoFile | None = None
        self._last_overlay: Array | None = None
        self._classes: tuple[str, ...] = ()
        self._pictures = CloudPictures()
        try:
            self._subscribe(config)
        except NameValidationException as exc:
            raise ConfigError(
                f'node is {config.node!r} and points_topic {config.points_topic!r}, of which one '
                f'names no topic: {exc}'
            ) from exc

    def _subscribe(self, config: WatchConfig) -> None:
        quality = QoSProfile(
            depth=_DEPTH, reliability=QoSReliabilityPolicy[config.reliability.upper()]
        )
        subscribe = partial(self.create_subscription, qos_profile=quality)
        if config.points_topic:
            kind, on_detections = Detection3DArray, self._on_boxes
        else:
            kind, on_detections = Detection2DArray, self._on_detections
        self._detections_topic = subscribe(
            kind, f'{config.node}/detections', on_detections
        ).topic_name
        subscribe(InferenceStats, f'{config.node}/stats', self._on_stats)
        if not config.out:
            return
        self._video = VideoFile(_folder(config.out) / 'overlay', config.video_rate)
        if config.points_topic:
            latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
            self.create_subscription(
                LabelInfo, f'{config.node}/label_info', self._on_label_info, latched
            )
            subscribe(PointCloud2, config.points_topic, self._on_cloud, raw=True)
        else:
            # An overlay is drawn only while someone listens.
            subscribe(Image, f'{config.node}/overlay', self._on_overlay, raw=True)
            subscribe(
                CompressedImage,
                f'{config.node}/overlay/compressed',
                self._on_compressed_overlay,
                raw=True,
            )

    def run(self, told_to_stop: Callable[[], bool]) -> str | None:
        """Watch until the end; return why nothing was seen, or None where there was something."""
        executor = SingleThreadedExecutor()
        executor.add_node(self)
        live = sys.stdout.isatty()
        period_s = _LIVE_PERIOD_S if live else _LINE_PERIOD_S
        shown_s = time.monotonic()
        try:
            while not told_to_stop() and not self._is_over():
                executor.spin_once(timeout_sec=_LOOK_UP_S)
                if self.summary.frames and time.monotonic() - shown_s >= period_s:
                    shown_s = time.monotonic()
                    _show(self.summary.line(), live)
            settled_s = time.monotonic() + _SETTLE_S
            while not told_to_stop() and time.monotonic() < settled_s:
                executor.spin_once(timeout_sec=_LOOK_UP_S)
        finally:
            files = self._finish()
        if live and self.summary.frames:
            print()
        print(self.summary.report())
        for path in files:
            print(f'wrote {path}')
        if self.summary.frames or told_to_stop():
            return None
        return (
            f'nothing came on {self._detections_topic} in {self._config.startup_timeout_s:g} s; is '
            'the inference node active (its log and /diagnostics say), and does it get images?'
        )

    def _is_over(self) -> bool:
        config, summary = self._config, self.summary
        if not summary.frames:
            return 0 < config.startup_timeout_s <= summary.idle_s
        if 0 < config.frames <= summary.frames:
            return True
        return 0 < config.idle_timeout_s <= summary.idle_s

    def _finish(self) -> list[Path]:
        files = []
        if self._video is not None:
            self._video.close()
            if self._video.path is not None:
                files.append(self._video.path)
        if self._last_overlay is not None:
            picture = Path(self._config.out).expanduser() / 'overlay.png'
            if cv2.imwrite(str(picture), self._last_overlay):
                files.append(picture)
        return files

    def _on_detections(self, message: Detection2DArray | Detection3DArray) -> None:
        if 0 < self._config.frames <= self.summary.frames:
            return
        self.summary.add_frame(
            [each.results[0].hypothesis.class_id for each in message.detections if each.results]
        )

    def _on_stats(self, message: InferenceStats) -> None:
        self.summary.add_stats(message.total_ms, message.dropped, message.errors, message.backend)

    def _on_label_info(self, message: LabelInfo) -> None:
        self._classes = tuple(each.class_name for each in message.class_map)

    def _on_boxes(self, message: Detection3DArray) -> None:
        self._on_detections(message)
        if self._video is not None:
            header, boxes = message.header, boxes_3d(message, self._classes)
            stamp_ns = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
            self._keep(self._pictures.add_boxes(stamp_ns, header.frame_id, boxes, self._classes))

    def _on_cloud(self, serialized: bytes) -> None:
        self._keep(self._pictures.add_cloud(serialized))

    def _on_overlay(self, serialized: bytes) -> None:
        view = view_image(serialized)
        if view.encoding not in ('bgr8', 'rgb8'):
            raise ImageError(f'overlay of encoding {view.encoding}; wanted bgr8 or rgb8')
        self._keep(view.pixels if view.encoding == 'bgr8' else view.pixels[:, :, ::-1])

    def _on_compressed_overlay(self, serialized: bytes) -> None:
        self._keep(view_compressed_image(serialized).decode())

    def _keep(self, pixels: Array | None) -> None:
        if pixels is None:
            return
        assert self._video is not None
        self._video.write(pixels)
        self._last_overlay = pixels


def _folder(name: str) -> Path:
    path = Path(name).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(
            f'out is {name!r}, where no folder can be made: {exc.strerror}; name another folder'
        ) from exc
    return path


def _show(line: str, live: bool) -> None:
    if not live:
        print(line, flush=True)
        return
    width = shutil.get_terminal_size().columns
    print(f'\r{line[: width - 1]}\x1b[K', end='', flush=True)


def main(told_to_stop: Callable[[], bool], args: list[str] | None = None) -> int:
    """Watch until the end that the parameters name; return the exit status."""
    try:
        with starting_ros():
            rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        failure = WatchNode().run(told_to_stop)
    except PerceptionError as exc:
        failure = str(exc)
    finally:
        rclpy.try_shutdown()
    if failure is not None:
        print(f'watch: {failure}', file=sys.stderr)
        return 1
    return 0
