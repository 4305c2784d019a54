# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""One point cloud in, boxes out: the path that node and evaluation share."""

from __future__ import annotations

from abc import ABC
from abc import abstractmethod
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
import time

import numpy as np

from trt_engine.backend import Array
from trt_engine.backend import Backend
from trt_engine.card import Card
from trt_engine.card import Thresholds
from trt_engine.lidar.model import PillarWeights
from trt_engine.lidar.pillar_inputs import open_inputs
from trt_engine.lidar.pillar_inputs import open_pillarizer
from trt_engine.lidar.pillars import PillarCounts
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.clouds import check_transform
from trt_inference.lidar.clouds import CloudOptions
from trt_inference.lidar.clouds import inside
from trt_inference.lidar.clouds import move
from trt_inference.lidar.clouds import Sweeps
from trt_inference.lidar.decoders3d import open_decoder3d
from trt_inference.lidar.point_view import PointReader
from trt_inference.lidar.point_view import PointView

_STANDING = np.eye(4)


@dataclass(frozen=True, eq=False)
class PlacedCloud:
    """A cloud, and where it was taken.

    Attributes:
        view: The cloud.
        transform: 4x4, from the frame of the cloud to that of the boxes; None where these are
            the same.
        pose: 4x4, from the frame of the boxes to one that does not move; matters where several
            sweeps are accumulated.
        still: Name of the frame that does not move: sweeps of another are not accumulated.
    """

    view: PointView
    transform: Array | None = None
    pose: Array | None = None
    still: str = ''


class CloudDetector(ABC):
    """A lidar network with what comes before and after it; one thread at a time may call it.

    It has the face of `pipeline.Detector`, for clouds.

    Attributes:
        card: The model card.
        backend: What runs the network; whoever opened it closes it.
        batch: Most clouds that `begin` takes at once.
        in_flight: Most runs that may be begun and not finished.
        clouds: Clouds so far that were looked at.
        thresholds: What counts as a detection, from the next call on; at first the card's.
        class_filter: Indices of the classes to report, from the next call on; None for all.
        stages_ms: What the cloud that was finished last spent in preprocess, inference and decode.
        counts: Where the points of that cloud went; None before the first.
        dropped: Points of that cloud that were no measurement.
        cropped: Points of that cloud that `options` cut away.
        overflows: Clouds so far that overflowed; see `PillarCounts.overflow`.
    """

    batch = 1
    in_flight = 1

    def __init__(
        self,
        card: Card,
        backend: Backend,
        options: CloudOptions | None,
        clock: Callable[[], float],
    ) -> None:
        """Prepare what reads clouds and outputs.

        Args:
            card: The model card.
            backend: Runs the network, from the grid on, or from the pillars.
            options: What is done to clouds first.
            clock: Seconds, for durations.

        Raises:
            CardError: The card is of no lidar network, or its head, outputs or options are not
                what the decoder takes.
        """
        spec = card.points
        self.card = card
        self.backend = backend
        self.thresholds: Thresholds = card.thresholds
        self.class_filter: frozenset[int] | None = None
        self._options = options or CloudOptions()
        self._read = PointReader(spec)
        lag = 3 + spec.channels.index('time_lag') if 'time_lag' in spec.channels else None
        self._sweeps = Sweeps(spec.point_size, lag, self._options)
        self._decode = open_decoder3d(card, spec)
        self._clock = clock
        self.stages_ms: Mapping[str, float] = {'preprocess': 0.0, 'inference': 0.0, 'decode': 0.0}
        self.forget()

    @property
    def sweeps(self) -> int:
        """Return how many clouds were laid over each other for the network the last time."""
        return self._sweeps.merged

    def __call__(self, cloud: PlacedCloud) -> Boxes3d:
        """Return what is in one cloud.

        Raises:
            PointsError: The cloud lacks a field that the network needs, or a transform is none.
            InferenceError: The network failed.
            DecodeError: The outputs do not have the form that the card's head promises.
        """
        return self.begin([cloud])()[0]

    @abstractmethod
    def begin(self, clouds: Sequence[PlacedCloud]) -> Callable[[], list[Boxes3d]]:
        """Begin to look at clouds; return what waits for what is in each.

        Args:
            clouds: At most `batch`.

        Raises:
            PerceptionError: As a call does, here or when it is waited for.
        """

    def forget(self) -> None:
        """Forget earlier sweeps and counts: what comes next has nothing to do with them."""
        self._sweeps.clear()
        self.counts: PillarCounts | None = None
        self.dropped = self.cropped = self.overflows = self.clouds = 0

    def _points(self, cloud: PlacedCloud) -> tuple[Array, int]:
        """Return the points that count, and how many were cut away.

        They are in the frame of the boxes, z from the trained height.
        """
        view = cloud.view
        points = self._read(view)
        if cloud.transform is not None:
            check_transform(cloud.transform, 'the transform of the cloud')
            move(points, cloud.transform)
        keep = inside(points, self._options)
        cropped = 0
        if keep is not None:
            cropped = len(keep) - int(np.count_nonzero(keep))
            points = points.T[:, keep].T
        stamp_ns = view.stamp_sec * 1_000_000_000 + view.stamp_nanosec
        pose = _STANDING if cloud.pose is None else cloud.pose
        points = self._sweeps(points, stamp_ns, pose, cloud.still)
        if self._options.ground_offset_m:
            points[:, 2] += np.float32(self._options.ground_offset_m)
        return points, cropped

    def _count(self, counts: PillarCounts, dropped: int, cropped: int) -> None:
        """Take note of where the points of a cloud went."""
        self.counts, self.dropped, self.cropped = counts, dropped, cropped
        self.overflows += counts.overflow() is not None

    def _asked_for(self, boxes: Boxes3d) -> Boxes3d:
        """Return the boxes of the classes to report, where they stand from the origin."""
        if self.class_filter is not None:
            wanted = np.array(sorted(self.class_filter), np.int32)
            boxes = boxes.select(np.isin(boxes.classes, wanted))
        if self._options.ground_offset_m:
            centers = boxes.centers.copy()
            centers[:, 2] -= self._options.ground_offset_m
            boxes = replace(boxes, centers=centers)
        return boxes

    def _timed(self, begun_s: float, prepared_s: float, inferred_s: float) -> None:
        """Take note of when the stages of a cloud ended, the last of them now."""
        self.stages_ms = {
            'preprocess': (prepared_s - begun_s) * 1e3,
            'inference': (inferred_s - prepared_s) * 1e3,
            'decode': (self._clock() - inferred_s) * 1e3,
        }
        self.clouds += 1


class LidarDetector(CloudDetector):
    """A lidar network, of which everything but the network itself runs on the CPU.

    In `stages_ms`, preprocess goes up to the inputs of the network, the part inside the pillars
    included.
    """

    def __init__(
        self,
        card: Card,
        backend: Backend,
        weights: PillarWeights | None,
        *,
        encoder: Backend | None = None,
        options: CloudOptions | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Prepare the buffers.

        Args:
            card: The model card.
            backend: Runs the network, from the grid on, or from the pillars.
            weights: The network inside a pillar, as `trt_engine.lidar.model` reads it.
            encoder: Runs the network inside a pillar instead, where `weights` does not hold it.
            options: What is done to clouds first.
            clock: Seconds, for durations.

        Raises:
            CardError: The card is of no lidar network, or its head, outputs or options are not
                what the decoder takes.
            ModelFileError: The network has other inputs than the card says.
        """
        super().__init__(card, backend, options, clock)
        self._pillarize = open_pillarizer(card.points)
        self._inputs = open_inputs(card.points, weights, backend, encoder)

    def begin(self, clouds: Sequence[PlacedCloud]) -> Callable[[], list[Boxes3d]]:
        """Return what looks at the clouds, as `GpuLidarDetector.begin` does; nothing is begun."""
        return lambda: [self._look_at(each) for each in clouds]

    def _look_at(self, cloud: PlacedCloud) -> Boxes3d:
        begun = self._clock()
        points, cropped = self._points(cloud)
        pillars = self._pillarize(points)
        self._count(pillars.counts, self._read.dropped, cropped)
        # a network for any number of pillars need not bear none at all
        inputs = self._inputs(pillars) if len(pillars) else None
        prepared = self._clock()
        outputs = None if inputs is None else self.backend.run(inputs)
        inferred = self._clock()
        boxes = Boxes3d.none() if outputs is None else self._decode(outputs, self.thresholds)
        boxes = self._asked_for(boxes)
        self._timed(begun, prepared, inferred)
        return boxes
