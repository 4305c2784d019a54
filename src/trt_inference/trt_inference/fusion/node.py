# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The fusion node: boxes of the lidar get the labels of what the camera sees at their place.

Messages come in the executor's thread; a thread of its own pairs them, waits for TF, and publishes.
"""

from __future__ import annotations

from functools import partial
import sys
import threading
import time
import traceback
from typing import Any

from diagnostic_updater import DiagnosticStatusWrapper
import rclpy
from rclpy.exceptions import NameValidationException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos import QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray
from vision_msgs.msg import Detection3DArray

from trt_engine.backend import Array
from trt_engine.conversions import declare
from trt_engine.conversions import fill
from trt_engine.conversions import RealTimeUpdater
from trt_engine.errors import ConfigError
from trt_engine.errors import FusionError
from trt_engine.errors import PerceptionError
from trt_engine.stop_signals import StopSignals
from trt_inference.detector.process_node import run
from trt_inference.fusion import conversions
from trt_inference.fusion import health
from trt_inference.fusion.association import fuse
from trt_inference.fusion.camera_model import Calibration
from trt_inference.fusion.camera_model import camera_model
from trt_inference.fusion.camera_model import CameraModel
from trt_inference.fusion.config import FusionConfig
from trt_inference.fusion.sync import StampPairs
from trt_inference.throttle import Throttle
from trt_inference.transforms_node import Transforms

_DEPTH = 10
_ERROR_PERIOD_S = 5.0


class FusionNode(Node):  # type: ignore[misc]
    """Brings the detections of one camera and one lidar together."""

    def __init__(self) -> None:
        """Declare parameters, and subscribe.

        Raises:
            ConfigError: A parameter has a value that is not allowed, or TF is needed and missing.
        """
        super().__init__('fusion')
        self.crash: Exception | None = None
        self._config = config = declare(self, FusionConfig, fixed=True)
        self._rules = config.rules()
        self._extrinsic = config.transform()
        self._transforms = None
        if self._extrinsic is None:
            self._transforms = Transforms(
                self, config.tf_timeout_ms, 'extrinsic is not set', 'set extrinsic'
            )
        self._calibration: Calibration | None = None
        self._camera: CameraModel | None = None
        self._camera_problem = self._transform_problem = self._last_error = ''
        self._fused = self._errors = self._visible = self._matched = 0
        self._throttle = Throttle(_ERROR_PERIOD_S)
        self._sync: StampPairs[Detection2DArray, Detection3DArray] = StampPairs(
            round(config.tolerance_ms * 1e6), config.wait_ms / 1e3, config.history, time.monotonic
        )
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name='fusion', daemon=True)
        self._detections = self.create_publisher(Detection3DArray, '~/detections', _DEPTH)
        self._subscribe(CameraInfo, 'camera_info_topic', self._on_camera_info)
        self._subscribe(Detection2DArray, 'image_detections_topic', self._on_image)
        self._subscribe(Detection3DArray, 'lidar_detections_topic', self._on_boxes)
        self._judged: dict[str, health.FusionCounts] = {}
        self._updater = RealTimeUpdater(self)
        for name, judge in (
            ('rate', health.rate_health),
            ('matches', health.match_health),
            ('synchronisation', health.sync_health),
        ):
            self._judged[name] = self._counts()
            self._updater.add(name, partial(self._diagnose_counts, name, judge))
        self._updater.add('camera', self._diagnose_camera)
        self._updater.add('transform', self._diagnose_transform)
        self._thread.start()
        self.get_logger().info(
            f'fusing {config.image_detections_topic} and {config.lidar_detections_topic}, the '
            f'transform from {self._transform_source}'
        )

    def destroy_node(self) -> None:
        """Stop the thread before the publisher that it uses is gone."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()
        super().destroy_node()

    def _subscribe(self, kind: type, parameter: str, take: Any) -> None:
        quality = QoSProfile(
            depth=_DEPTH, reliability=QoSReliabilityPolicy[self._config.reliability.upper()]
        )
        topic = getattr(self._config, parameter)
        try:
            self.create_subscription(kind, topic, take, quality)
        except NameValidationException as exc:
            raise ConfigError(f'{parameter} is {topic!r}, which names no topic: {exc}') from exc

    # --- messages, in the executor's thread ------------------------------------------------------

    def _on_camera_info(self, message: CameraInfo) -> None:
        calibration = conversions.calibration(message)
        if calibration == self._calibration:
            return
        self._calibration = calibration
        try:
            self._camera = camera_model(calibration, rectified=self._config.rectified)
            self._camera_problem = ''
        except FusionError as exc:
            self._camera, self._camera_problem = None, str(exc)
            self._report(exc)

    def _on_image(self, message: Detection2DArray) -> None:
        with self._changed:
            self._sync.put_image(_stamp_ns(message.header), message)
            self._changed.notify()

    def _on_boxes(self, message: Detection3DArray) -> None:
        with self._changed:
            self._sync.put_boxes(_stamp_ns(message.header), message)
            self._changed.notify()

    # --- pairs, in the thread --------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while (pair := self._next()) is not None:
                self._fuse(*pair)
        except Exception as exc:  # noqa: BLE001  # a node that fuses no more must not seem alive
            self.crash = exc
            self.get_logger().fatal(f'defect, please report it:\n{traceback.format_exc()}')
            rclpy.try_shutdown(context=self.context)

    def _next(self) -> tuple[Detection2DArray, Detection3DArray] | None:
        with self._changed:
            while not self._stopping:
                if (pair := self._sync.take()) is not None:
                    return pair
                self._changed.wait(self._sync.due_in_s())
        return None

    def _fuse(self, image: Detection2DArray, boxes: Detection3DArray) -> None:
        try:
            camera = self._camera
            if camera is None:
                raise FusionError(
                    self._camera_problem
                    or f'no CameraInfo on {self._config.camera_info_topic} yet; is it published?'
                )
            fused = fuse(
                conversions.seen_in_image(image),
                conversions.seen_by_lidar(boxes),
                camera,
                self._transform(image.header, boxes.header),
                self._rules,
            )
        except PerceptionError as exc:
            self._errors += 1
            self._last_error = str(exc)
            self._report(exc)
            return
        self._detections.publish(conversions.fused_detections(boxes, fused))
        self._fused += 1
        self._visible += fused.visible
        self._matched += fused.matched

    def _transform(self, image: Header, boxes: Header) -> Array:
        """Return what takes a point from the frame of the boxes to that of the image.

        Raises:
            PointsError: TF does not know it.
        """
        if self._transforms is None:
            assert self._extrinsic is not None
            return self._extrinsic
        matrix, fixed = self._transforms.matrix, self._config.fixed_frame
        try:
            if fixed:
                there = matrix(fixed, boxes.frame_id, _stamp_ns(boxes))
                transform: Array = matrix(image.frame_id, fixed, _stamp_ns(image)) @ there
            else:
                transform = matrix(image.frame_id, boxes.frame_id, _stamp_ns(boxes))
        except PerceptionError as exc:
            self._transform_problem = str(exc)
            raise
        self._transform_problem = ''
        return transform

    def _report(self, error: PerceptionError) -> None:
        # the text of some errors holds a time, and so would always be new
        held_back = self._throttle.admit(type(error).__name__)
        if held_back is not None:
            more = f' (and {held_back} more since the last report)' if held_back else ''
            self.get_logger().error(f'{error}{more}')

    # --- diagnostics -----------------------------------------------------------------------------

    @property
    def _transform_source(self) -> str:
        return 'the parameter extrinsic' if self._transforms is None else 'TF'

    def _counts(self) -> health.FusionCounts:
        with self._changed:
            sync = self._sync.counts
        return health.FusionCounts(
            time.monotonic(), sync, self._fused, self._errors, self._visible, self._matched,
            self._last_error,
        )  # fmt: skip

    def _diagnose_counts(
        self, name: str, judge: Any, status: DiagnosticStatusWrapper
    ) -> DiagnosticStatusWrapper:
        now = self._counts()
        before, self._judged[name] = self._judged[name], now
        return fill(status, judge(self._config, now, before))

    def _diagnose_camera(self, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        topic, camera = self._config.camera_info_topic, self._camera
        told = '' if camera is None else str(camera)
        return fill(status, health.camera_health(topic, told, self._camera_problem))

    def _diagnose_transform(self, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        return fill(
            status, health.transform_health(self._transform_source, self._transform_problem)
        )


def _stamp_ns(header: Header) -> int:
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def main(told_to_stop: StopSignals, args: list[str] | None = None) -> int:
    """Run the node until it is told to stop; return the exit status."""
    words = sys.argv if args is None else args
    return run(told_to_stop, lambda _: FusionNode(), 'fusion', ['fusion'], words)


if __name__ == '__main__':
    sys.exit(main(StopSignals()))
