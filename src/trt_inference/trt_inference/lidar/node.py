# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The lidar node: what of `detector_node` is a lidar's."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from functools import partial
import sys
from typing import Any

from diagnostic_updater import DiagnosticStatusWrapper
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from trt_engine.backend import Backend
from trt_engine.card import Card
from trt_engine.conversions import fill
from trt_engine.entry import Entry
from trt_engine.memory.budget import Budget
from trt_engine.stop_signals import StopSignals
from trt_inference.detector.config import Stream
from trt_inference.detector.configured import Ready
from trt_inference.detector.engines import open_encoder
from trt_inference.detector.latest import Frame
from trt_inference.detector.latest import LatestFrames
from trt_inference.detector.node import DetectorNode
from trt_inference.detector.process_node import run
from trt_inference.detector.topics_node import NEWEST
from trt_inference.detector.topics_node import RESULTS
from trt_inference.detector.topics_node import Topics
from trt_inference.detector.worker import Open
from trt_inference.detector.worker import Result
from trt_inference.lidar import conversions
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.budget import engine_budget
from trt_inference.lidar.budget import LidarBudget
from trt_inference.lidar.config import LidarConfig
from trt_inference.lidar.gpu_pipeline import GpuLidarDetector
from trt_inference.lidar.health import CloudCounts
from trt_inference.lidar.health import points_health
from trt_inference.lidar.loading import LoadedLidar
from trt_inference.lidar.pipeline import CloudDetector
from trt_inference.lidar.pipeline import PlacedCloud
from trt_inference.lidar.point_view import high_intensity
from trt_inference.lidar.point_view import PointView
from trt_inference.lidar.point_view import view_points
from trt_inference.transforms_node import Transforms


class _LidarTopics(Topics):
    """The topics of the lidar."""

    def __init__(self, node: LifecycleNode, stream: Stream) -> None:
        super().__init__(node, stream)
        create = node.create_lifecycle_publisher
        self.detections = create(Detection3DArray, stream.topic('detections'), RESULTS)
        self.markers = create(MarkerArray, stream.topic('markers'), NEWEST)


class LidarNode(DetectorNode[LidarConfig]):
    """Turns the clouds of a lidar into boxes."""

    def __init__(self, name: str = 'lidar_inference', **kwargs: Any) -> None:
        """Declare parameters; nothing is loaded or subscribed before `configure`."""
        self._transforms: Transforms | None = None
        self._told = CloudCounts()
        self._last: PointView | None = None
        super().__init__(name, LidarConfig, 'lidar', **kwargs)

    def _configure(self) -> None:
        config = self._config
        self._close_transforms()  # of a configuration that failed
        if config.target_frame or config.fixed_frame:
            self._transforms = Transforms(self, config.tf_timeout_ms)
        super()._configure()

    def _free(self) -> None:
        super()._free()
        self._last = None
        self._close_transforms()

    def _close_transforms(self) -> None:
        if self._transforms is not None:
            self._transforms.close()
            self._transforms = None

    def _prepare(self, card: Card, backend: Backend) -> Ready:
        config = self._config
        return LoadedLidar(
            card,
            backend,
            config.options(),
            pipeline=config.pipeline,
            mapped=config.mapped,
            spin=config.spin_wait,
            threads=config.threads,
            open_encoder=partial(open_encoder, config, card),
        )

    def _engine_budget(self, card: Card, engine: Entry) -> Budget:
        config = self._config
        return engine_budget(card, engine, config.engine_store, config.weight_streaming_mib)

    def _budget(self, card: Card, network: Ready) -> Budget | None:
        detector = network.detector
        if not isinstance(detector, GpuLidarDetector):
            return None
        return LidarBudget(card, detector, self._memory.judge).budget

    def _make_topics(self, stream: Stream) -> Topics:
        return _LidarTopics(self, stream)

    def _incoming(self) -> tuple[type, LatestFrames, Open[PlacedCloud]]:
        # between two activations the vehicle may have been carried away
        self._detector.forget()
        self._told = CloudCounts()
        self._last = None
        return PointCloud2, LatestFrames(len(self._streams)), self._open

    @property
    def _detector(self) -> CloudDetector:
        network = self._network
        assert isinstance(network, LoadedLidar)
        return network.detector

    def _open(self, frame: Frame) -> tuple[PointView, Callable[[], PlacedCloud]]:
        view = view_points(frame.serialized)
        return view, lambda: self._placed(view)

    def _placed(self, view: PointView) -> PlacedCloud:
        if self._transforms is None:
            return PlacedCloud(view, still=view.frame_id)
        config = self._config
        stamp_ns = view.stamp_sec * 1_000_000_000 + view.stamp_nanosec
        frame = config.target_frame or view.frame_id
        transform = pose = None
        if frame != view.frame_id:
            transform = self._transforms.matrix(frame, view.frame_id, stamp_ns)
        if config.fixed_frame:
            pose = self._transforms.matrix(config.fixed_frame, frame, stamp_ns)
        return PlacedCloud(view, transform, pose, config.fixed_frame or frame)

    def _publish_seen(
        self, topics: _LidarTopics, header: Header, result: Result[PlacedCloud, Boxes3d]
    ) -> None:
        config, classes = self._config, self._classes
        self._last = result.taken.view
        placed = Header(stamp=header.stamp, frame_id=config.target_frame or header.frame_id)
        topics.detections.publish(conversions.detections_3d(placed, result.seen, classes))
        if topics.markers.get_subscription_count() > 0:
            topics.markers.publish(
                conversions.markers(placed, result.seen, classes, config.marker_lifetime_s)
            )

    def _tasks(self) -> Sequence[tuple[str, Callable[..., DiagnosticStatusWrapper]]]:
        return (('points', self._diagnose_points),)

    def _diagnose_points(self, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        detector, last = self._detector, self._last
        spec = detector.card.points
        now = CloudCounts(
            detector.clouds,
            detector.overflows,
            detector.dropped,
            detector.cropped,
            detector.counts,
            detector.sweeps,
            None if last is None else high_intensity(last, spec),
        )
        before, self._told = self._told, now
        health = points_health(now, before, self._config.sweeps, spec.intensity_max)
        return fill(status, health)


def main(told_to_stop: StopSignals, args: list[str] | None = None) -> int:
    """Run the node until it is told to stop; return the exit status."""
    words = sys.argv if args is None else args
    names = ['lidar_inference']
    return run(told_to_stop, LidarNode, names[0], names, words, LidarNode.autostart)


if __name__ == '__main__':
    sys.exit(main(StopSignals()))
