# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The replay node: publishes recordings, pictures, clouds, video or camera as they are due."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from importlib import import_module
import sys
import time
from typing import Any

from builtin_interfaces.msg import Time
import rclpy
from rclpy.duration import Duration
from rclpy.exceptions import NameValidationException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.qos import QoSReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from sensor_msgs.msg import PointCloud2

from trt_engine.conversions import declare
from trt_engine.conversions import starting_ros
from trt_engine.errors import ConfigError
from trt_engine.errors import ImageError
from trt_engine.errors import PerceptionError
from trt_engine.errors import SourceError
from trt_inference.cdr import read_stamp_ns
from trt_inference.cdr import restamp
from trt_inference.cdr import serialize_compressed_image
from trt_inference.cdr import serialize_image
from trt_inference.cdr import serialize_points
from trt_inference.replay.config import ReplayConfig
from trt_inference.replay.schedule import play
from trt_inference.replay.schedule import Played
from trt_inference.replay.schedule import Schedule
from trt_inference.replay.schedule import StampShift
from trt_inference.replay.sources import CloudSource
from trt_inference.replay.sources import IMAGE_TYPES
from trt_inference.replay.sources import open_source
from trt_inference.replay.sources import Picture
from trt_inference.replay.sources import Recorded
from trt_inference.replay.sources import Source
from trt_inference.replay.sources import Sweep

_NSEC = 1_000_000_000
_DEPTH = 10
_LOOK_UP_S = 0.1  # how often the loop looks whether it is told to stop
_CLOCK_PERIOD_S = 0.025
# A subscriber that the publisher has found may not have found the publisher yet.
_SETTLE_S = 1.0
_FLUSH_S = 1.0


class ReplayNode(Node):  # type: ignore[misc]
    """Publishes the items of one source."""

    def __init__(self) -> None:
        """Declare parameters, open the source, create its publishers.

        Raises:
            ConfigError: A parameter has a value that is not allowed.
            SourceError: The source cannot be played.
        """
        super().__init__('replay')
        self._config = config = declare(self, ReplayConfig, fixed=True)
        self.source = open_source(
            config.source,
            frame_rate=config.frame_rate,
            topics=config.topics,
            warn=self.get_logger().warning,
        )
        self._quality = QoSProfile(
            depth=_DEPTH, reliability=QoSReliabilityPolicy[config.reliability.upper()]
        )
        self._awaited: list[Publisher] = []
        self._recorded = self._recorded_publishers(self.source)
        self._raw = self._compressed = self._info = self._points = None
        if isinstance(self.source, CloudSource):
            self._points = self._create(PointCloud2, config.points_topic)
            self._awaited.append(self._points)
        elif not self.source.topics:
            if config.transport in ('raw', 'both'):
                self._raw = self._create(Image, config.image_topic)
                self._awaited.append(self._raw)
            if config.transport in ('compressed', 'both'):
                self._compressed = self._create(CompressedImage, f'{config.image_topic}/compressed')
                self._awaited.append(self._compressed)
            if config.camera_info_topic:
                self._info = self._create(CameraInfo, config.camera_info_topic)
        self._clock_publisher = self._create(Clock, '/clock') if config.publish_clock else None
        self._shift = StampShift(config.rate) if config.restamp else None
        self._schedule = Schedule(config.rate)
        # A recording has its own clock; that of pictures begins when they are first shown.
        self._clock_zero_ns = 0

    def run(self, told_to_stop: Callable[[], bool]) -> int:
        """Play until the end or until told to stop; return how many items were published."""
        config = self._config
        published = 0
        executor = SingleThreadedExecutor()
        executor.add_node(self)
        self._wait_for_subscribers(executor, told_to_stop)
        if not self.source.topics:
            self._clock_zero_ns = self.get_clock().now().nanoseconds
        for played in play(self.source, config.loop):
            if told_to_stop():
                return published
            due_in_ns = 0 if self.source.live else max(0, self._schedule.remaining_ns(played.t_ns))
            due_ns = self.get_clock().now().nanoseconds + due_in_ns
            publish = self._prepare(played, due_ns)
            if not self._wait_until_due(played.t_ns, executor, told_to_stop):
                return published
            publish()
            published += 1
        self._flush(executor, told_to_stop)
        return published

    def _prepare(self, played: Played, due_ns: int) -> Callable[[], None]:
        # What takes time is done before the item is due, so that it leaves on time.
        item = played.item
        if isinstance(item, Recorded):
            publisher, has_header = self._recorded[item.topic]
            data = self._stamped(item, played.shift_ns, due_ns) if has_header else item.data
            return lambda: publisher.publish(data)
        if self._clock_publisher is not None:
            due_ns = self._clock_zero_ns + played.t_ns
        if isinstance(item, Sweep):
            return self._prepare_sweep(item, due_ns)
        return self._prepare_picture(item, due_ns)

    def _prepare_sweep(self, sweep: Sweep, stamp_ns: int) -> Callable[[], None]:
        publisher, cloud = self._points, sweep.cloud
        assert publisher is not None
        message = serialize_points(
            stamp_ns, self._config.points_frame_id, cloud.points, cloud.fields
        )  # fmt: skip
        return lambda: publisher.publish(message)

    def _prepare_picture(self, picture: Picture, stamp_ns: int) -> Callable[[], None]:
        frame_id = self._config.frame_id
        ready: list[tuple[Publisher, Any]] = []
        if self._raw is not None:
            ready.append((self._raw, serialize_image(stamp_ns, frame_id, picture.pixels)))
        if self._compressed is not None:
            format, data = picture.encoded()
            message = serialize_compressed_image(stamp_ns, frame_id, format, data)
            ready.append((self._compressed, message))
        if self._info is not None:
            height, width = picture.pixels.shape[:2]
            info = CameraInfo(height=height, width=width)
            info.header.stamp = _time(stamp_ns)
            info.header.frame_id = frame_id
            ready.append((self._info, info))

        def publish() -> None:
            for publisher, message in ready:
                publisher.publish(message)

        return publish

    def _stamped(self, item: Recorded, lap_shift_ns: int, due_ns: int) -> bytes:
        data = item.data
        try:
            if self._shift is not None:
                return restamp(data, self._shift(read_stamp_ns(data) + lap_shift_ns, due_ns))
            if self._clock_publisher is not None and lap_shift_ns:
                # /clock goes on from lap to lap, and stamps must not fall behind it.
                return restamp(data, read_stamp_ns(data) + lap_shift_ns)
        except ImageError as exc:
            raise SourceError(f'{item.topic}: {exc}; is the bag whole?') from exc
        return data

    def _wait_until_due(
        self, t_ns: int, executor: SingleThreadedExecutor, told_to_stop: Callable[[], bool]
    ) -> bool:
        slice_s = _LOOK_UP_S if self._clock_publisher is None else _CLOCK_PERIOD_S
        while not told_to_stop():
            left_s = 0.0 if self.source.live else self._schedule.remaining_ns(t_ns) / _NSEC
            executor.spin_once(timeout_sec=min(max(left_s, 0.0), slice_s))
            self._publish_clock()
            if self.source.live or self._schedule.remaining_ns(t_ns) <= 0:
                return True
        return False

    def _publish_clock(self) -> None:
        if self._clock_publisher is not None:
            now_ns = self._clock_zero_ns + self._schedule.time_ns()
            self._clock_publisher.publish(Clock(clock=_time(now_ns)))

    def _wait_for_subscribers(
        self, executor: SingleThreadedExecutor, told_to_stop: Callable[[], bool]
    ) -> None:
        awaited = self._awaited or [each for each, _ in self._recorded.values()]
        names = ', '.join(each.topic_name for each in awaited)
        log = self.get_logger()
        log.info(f'{self.source.summary}; publishing {names}')
        end_s = time.monotonic() + self._config.wait_for_subscribers_s
        while not any(each.get_subscription_count() for each in awaited):
            if told_to_stop():
                return
            if time.monotonic() >= end_s:
                if self._config.wait_for_subscribers_s:
                    log.warning(f'nobody subscribes to {names}; playing all the same')
                return
            executor.spin_once(timeout_sec=_LOOK_UP_S)
        self._linger(_SETTLE_S, executor, told_to_stop)

    def _flush(self, executor: SingleThreadedExecutor, told_to_stop: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + _FLUSH_S
        for publisher in self.publishers:
            left_s = max(0.0, deadline_s - time.monotonic())
            publisher.wait_for_all_acked(Duration(seconds=left_s))
        # Best-effort subscribers acknowledge nothing.
        self._linger(_SETTLE_S, executor, told_to_stop)

    def _linger(
        self, duration_s: float, executor: SingleThreadedExecutor, told_to_stop: Callable[[], bool]
    ) -> None:
        end_s = time.monotonic() + duration_s
        while (left_s := end_s - time.monotonic()) > 0 and not told_to_stop():
            executor.spin_once(timeout_sec=min(left_s, _LOOK_UP_S))

    def _recorded_publishers(self, source: Source) -> Mapping[str, tuple[Publisher, bool]]:
        """Return for each topic of a bag its publisher, and whether its type has a header."""
        publishers = {}
        names = self._config.published_names(tuple(source.topics))
        for topic, kind in source.topics.items():
            message_class = _message_class(topic, kind)
            publisher = self._create(message_class, names[topic])
            first_field = next(iter(message_class.get_fields_and_field_types().values()), '')
            publishers[topic] = publisher, first_field == 'std_msgs/Header'
            if kind in IMAGE_TYPES:
                self._awaited.append(publisher)
        return publishers

    def _create(self, message_class: Any, topic: str) -> Publisher:
        try:
            return self.create_publisher(message_class, topic, self._quality)
        except NameValidationException as exc:
            raise ConfigError(f'{topic!r} cannot be the name of a topic: {exc}') from exc


def _message_class(topic: str, kind: str) -> Any:
    package, _, name = kind.partition('/msg/')
    try:
        return getattr(import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError, ValueError) as exc:
        raise SourceError(
            f'{topic} is of type {kind}, which is not installed here; source the workspace that '
            'has it, or name other topics in `topics`'
        ) from exc


def _time(t_ns: int) -> Time:
    seconds, nanoseconds = divmod(t_ns, _NSEC)
    return Time(sec=seconds, nanosec=nanoseconds)


def main(told_to_stop: Callable[[], bool], args: list[str] | None = None) -> int:
    """Play the source that the parameters name; return the exit status."""
    try:
        with starting_ros():
            rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = ReplayNode()
        published = node.run(told_to_stop)
        node.get_logger().info(f'{"stopped" if told_to_stop() else "done"}: {published} sent')
    except PerceptionError as exc:
        print(f'replay: {exc}', file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    return 0
