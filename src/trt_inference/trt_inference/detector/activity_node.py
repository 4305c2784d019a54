# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a node does while it is active: hears sensors, looks at frames, publishes, counts."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from functools import partial
import time
from typing import Any

from diagnostic_updater import DiagnosticStatusWrapper
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.qos import QoSReliabilityPolicy
from rclpy.subscription import Subscription
from std_msgs.msg import Header

from trt_engine.conversions import fill
from trt_engine.errors import ConfigError
from trt_engine.errors import PerceptionError
from trt_inference.detector import conversions
from trt_inference.detector import health
from trt_inference.detector.config import DetectorConfig
from trt_inference.detector.config import Stream
from trt_inference.detector.configured import Configured
from trt_inference.detector.latest import LatestFrames
from trt_inference.detector.realtime import calm_collector
from trt_inference.detector.realtime import pin_thread
from trt_inference.detector.realtime import raise_priority
from trt_inference.detector.realtime import wake_collector
from trt_inference.detector.topics_node import Topics
from trt_inference.detector.worker import Open
from trt_inference.detector.worker import Result
from trt_inference.detector.worker import Worker


class Activity:
    """The subscriptions of a node and the thread that looks at what they bring.

    Attributes:
        config: What the node is told now.
        worker: The thread.
    """

    def __init__(
        self,
        node: LifecycleNode,
        config: DetectorConfig,
        network: Configured,
        streams: Sequence[Stream],
        topics: Sequence[Topics],
        *,
        latest: LatestFrames,
        open: Open[Any],
        publish_seen: Callable[[Any, Header, Result[Any, Any]], None],
        on_error: Callable[[int, PerceptionError], None],
        on_crash: Callable[[BaseException], None],
    ) -> None:
        """Prepare; nothing is heard before `start`.

        Args:
            node: Whose subscriptions they are.
            config: What it is told.
            network: What looks at frames.
            streams: The sensors.
            topics: Of each sensor; closed by who made them.
            latest: Where frames wait.
            open: Opens a frame; called in the worker's thread, as are the three that follow.
            publish_seen: Publishes what was seen on the topics of a sensor.
            on_error: Hears of each frame that could not be used, and of which sensor it was.
            on_crash: Hears of the defect that ends the thread.
        """
        self.config = config
        self.worker: Worker[Any, Any] = Worker(
            network.detector,
            streams,
            latest=latest,
            open=open,
            now_ns=lambda: int(node.get_clock().now().nanoseconds),
            publish=self._publish,
            on_error=on_error,
            on_crash=on_crash,
            on_start=self._prepare_thread,
        )
        self._node = node
        self._network = network
        self._streams = streams
        self._topics = topics
        self._publish_seen = publish_seen
        self._subscribed: list[Subscription] = []
        self._judged: list[health.Counts] = []

    def start(self, kind: type) -> None:
        """Say what the classes are, and begin to hear and to look.

        Args:
            kind: Of the messages.
        """
        for topics in self._topics:
            topics.label_info.publish(
                conversions.label_info(
                    self._node.get_clock().now().to_msg(),
                    self._network.card.classes,
                    self._network.detector.thresholds.score,
                )
            )
        self._judged = [health.Counts(time.monotonic()) for _ in self._streams]
        calm_collector()
        self.worker.start()
        quality = QoSProfile(
            depth=self.config.depth,
            reliability=QoSReliabilityPolicy[self.config.reliability.upper()],
        )
        for index, stream in enumerate(self._streams):
            self._subscribed.append(
                self._node.create_subscription(
                    kind, stream.source, partial(self.worker.put, index), quality, raw=True
                )
            )

    def stop(self) -> None:
        """Unsubscribe, and finish the frames in hand."""
        for subscription in self._subscribed:
            self._node.destroy_subscription(subscription)
        self._subscribed = []
        self.worker.stop()
        wake_collector()

    def diagnose(self, index: int, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        """Judge one sensor by what happened since it was judged last."""
        statistics = self.worker.statistics[index]
        now = health.Counts(
            time.monotonic(), statistics.frames, self.worker.dropped(index), statistics.errors
        )
        before, self._judged[index] = self._judged[index], now
        judged = health.stream_health(self.config, self._streams[index], statistics, now, before)
        return fill(status, judged)

    # --- these two run in the worker's thread --------------------------------------------------

    def _prepare_thread(self) -> None:
        for prepare in (
            partial(pin_thread, self.config.cores()),
            partial(raise_priority, self.config.realtime_priority),
        ):
            try:
                prepare()
            except ConfigError as exc:
                self._node.get_logger().warning(f'the inference thread runs without: {exc}')

    def _publish(self, result: Result[Any, Any]) -> None:
        topics = self._topics[result.stream]
        header = conversions.header(result.view)
        self._publish_seen(topics, header, result)
        topics.stats.publish(
            conversions.stats(
                header,
                self._streams[result.stream].name,
                result,
                self.worker.statistics[result.stream],
                self.worker.dropped(result.stream),
                self._network.label,
            )
        )
