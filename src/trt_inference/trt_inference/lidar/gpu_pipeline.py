# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Clouds in, boxes out, all of it on the GPU: one copy in, one launch, one small copy back."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from functools import partial
import time

import numpy as np

from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.card import Card
from trt_engine.card import Thresholds
from trt_engine.cuda.detections3d import DetectionsPlan3d
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.memory import Pool
from trt_engine.cuda.pillars import PillarPlan
from trt_engine.cuda.readouts3d import Readout3d
from trt_engine.cuda.runtime import Stream
from trt_engine.lidar.model import PillarWeights
from trt_engine.lidar.pillar_inputs import network_shapes
from trt_engine.lidar.pillar_inputs import open_inputs
from trt_engine.lidar.point_records import PointLayout
from trt_engine.lidar.point_records import PointRecords
from trt_inference.detector.gpu_runs import device_address
from trt_inference.detector.gpu_runs import Plan
from trt_inference.detector.gpu_runs import Runs
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.clouds import CloudOptions
from trt_inference.lidar.gpu_pillars import open_route
from trt_inference.lidar.gpu_pillars import PillarRoute
from trt_inference.lidar.gpu_pillars import require_pillars
from trt_inference.lidar.pipeline import CloudDetector
from trt_inference.lidar.pipeline import PlacedCloud
from trt_inference.lidar.raw_points import raw_points

# A node has one lidar, whose clouds keep their layout; a replay may have several after each other.
_LAYOUTS_KEPT = 4
# What a lidar of 32 beams gives; memory for larger clouds is taken when one comes.
FIRST_CAPACITY = 1 << 15


def capacity_for(points: int) -> int:
    """Return for how many points memory is taken where a cloud has so many."""
    return max(FIRST_CAPACITY, 1 << (points - 1).bit_length())


class CloudPlan(Plan):
    """The work on a cloud of up to some number of points, from raw records to boxes.

    Attributes:
        pillars: What comes first.
        detections: What comes last.
    """

    fixed_upload = False  # clouds vary in size

    def __init__(
        self,
        pillars: PillarPlan,
        route: PillarRoute,
        network: TensorRtBackend,
        detections: DetectionsPlan3d,
        memory: Lease,
        *,
        spin: bool = False,
    ) -> None:
        """Take over what it consists of.

        Args:
            pillars: What comes first.
            route: From the pillars into the network.
            network: Runs the network.
            detections: What comes last.
            memory: What these took.
            spin: Whether to wait for it busily.
        """
        super().__init__(network.stream, memory, spin=spin)
        self.pillars = pillars
        self.detections = detections
        self._route = route
        self._network = network

    def upload(self, stream: Stream) -> None:
        """Put the copy of the cloud into a stream; see `Plan.upload`."""
        self.pillars.upload(stream)

    def compute(self) -> None:
        """Put the work on the cloud into the stream; see `Plan.compute`."""
        self.pillars.enqueue(self.stream)
        self._route.enqueue()
        self._network.enqueue()
        self.detections.enqueue(self.stream)

    def parts(self) -> dict[str, Callable[[], None]]:
        """Return what puts each part of the work into the stream."""
        parts: dict[str, Callable[[], None]] = {
            'upload': partial(self.pillars.upload, self.stream),
            'pillars': partial(self.pillars.convert, self.stream),
            **self._route.between,
            'network': self._network.enqueue,
            'decode': partial(self.detections.decode, self.stream),
            'download': self._download,
        }
        if self.graph_after_upload is not None:
            parts['graph'] = partial(self.graph_after_upload.launch, self.stream)
        return parts

    def _download(self) -> None:
        self.pillars.download(self.stream)
        self.detections.download(self.stream)


class GpuLidarDetector(CloudDetector):
    """A lidar engine with what comes before and after it on the GPU.

    It gives the boxes of `lidar_pipeline.LidarDetector`. The records of a cloud are brought to the
    GPU as they lie in the message; there is a CUDA graph of all that follows, which takes clouds of
    any size up to what memory was taken for. A larger one doubles that, once. While the GPU works
    on a cloud, the next one can be brought to where the GPU will take it from.

    What is to be moved, cropped or accumulated, and numbers that are no float32, are converted on
    the CPU first.

    In `stages_ms`, preprocess is bringing the cloud to where the GPU takes it from, inference all
    from then on until everything was back, other runs' turns included, and decode reading it.

    Attributes:
        copies_left_out: Copies of clouds, counts and boxes that were not made, as the GPU reads and
            writes the memory of the CPU in place.
        encoder: An engine of the network inside a pillar, where there is one.
        before_plan: Told layout and capacity before memory is taken for such clouds; what it raises
            refuses the cloud, and the next may be taken again.
    """

    backend: TensorRtBackend

    def __init__(
        self,
        card: Card,
        backend: TensorRtBackend,
        weights: PillarWeights | None,
        *,
        kernels: Kernels,
        pool: Pool,
        encoder: TensorRtBackend | None = None,
        options: CloudOptions | None = None,
        spin: bool = False,
        in_flight: int = 2,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Check that card and engine fit each other, and take the memory that all clouds share.

        Args:
            card: The model card.
            backend: The loaded engine, from the grid on, or from the pillars.
            weights: The network inside a pillar, as `trt_engine.lidar.model` reads it.
            kernels: Where kernels come from; whoever made them closes them, after this.
            pool: Where memory comes from, likewise.
            encoder: An engine of the network inside a pillar, where `weights` does not hold it;
                whoever opened it closes it, after this.
            options: What is done to clouds first.
            spin: Whether to wait for the GPU busily, which takes a core and saves microseconds.
            in_flight: Most runs that may be begun and not finished; each has memory of its own.
            clock: Seconds, for durations.

        Raises:
            BackendUnavailableError: A tensor of an engine is not of a form that the GPU fills or
                reads here.
            CardError: The card is of no lidar network, or its head, outputs or options are not
                what the decoder takes.
            DecodeError: The outputs do not have the form that the card's head promises.
            InferenceError: An engine takes other shapes than the card says, or memory is short.
            ModelFileError: The network has other inputs than the card says.
        """
        super().__init__(card, backend, options, clock)
        spec = card.points
        open_inputs(spec, weights, backend, encoder)  # refuses what the CPU path refuses
        self.in_flight = in_flight
        self.copies_left_out = 0
        self.encoder = encoder
        self.before_plan: Callable[[PointLayout, int], None] | None = None
        self._engine = backend
        self._kernels = kernels
        self._pool = pool
        self._spin = spin
        self._layout = PointRecords.of(np.empty((0, spec.point_size), np.float32)).layout
        self._capacity = FIRST_CAPACITY
        self._runs: Runs[PointLayout, CloudPlan] = Runs(
            card.name, backend, pool, kept=_LAYOUTS_KEPT, in_flight=in_flight
        )
        self._inputs = {info.name: info.shape for info in backend.tensors if info.mode == 'input'}
        require_pillars(spec, self._inputs)
        backend.prepare(network_shapes(spec, self._inputs))
        self._readout()  # to know now whether the outputs are what the head promises
        self._memory = Lease(pool)
        self._route = open_route(kernels, self._memory, spec, backend, weights, encoder)
        self._runs.forbid_graph(self._route.no_graph)

    @property
    def no_graph(self) -> str:
        """Return why work goes into the stream piece by piece, not as a graph; '' if it does."""
        return self._runs.no_graph

    @property
    def mapped(self) -> bool:
        """Return whether the GPU reads and writes the memory of the CPU in place."""
        return self._pool.mapped

    @property
    def capacity(self) -> int:
        """Return how many points a cloud may have before more memory is taken."""
        return self._capacity

    @property
    def layouts(self) -> tuple[PointLayout, ...]:
        """Return the layouts of clouds that memory is taken for."""
        return self._runs.keys

    def begin(self, clouds: Sequence[PlacedCloud]) -> Callable[[], list[Boxes3d]]:
        """Put all the work on a cloud into the GPU's queue; return what waits for it.

        Once this returns, the cloud has been read.

        Args:
            clouds: One.

        Returns:
            A function that returns what is in it; it raises as a call does.

        Raises:
            PointsError: The cloud lacks a field that the network needs, or a transform is none.
            InferenceError: The GPU refused the work, or lacks memory for it; or `in_flight` runs
                have not been finished.
        """
        begun = self._clock()
        self._runs.require_room()
        (cloud,) = clouds
        records, dropped, cropped = self._records(cloud)
        plan = self._bring(records)
        staged = self._clock()
        self._runs.begin(plan)
        if self._pool.mapped:
            self.copies_left_out += 3

        def finish() -> list[Boxes3d]:
            with self._runs.finished(plan):
                done = self._clock()
                counts, no_measurement = plan.pillars.read()
                # of an empty grid the network may make something
                boxes = Boxes3d(*plan.detections.read()) if counts.voxels else Boxes3d.none()
            self._count(counts, dropped + no_measurement, cropped)
            boxes = self._asked_for(boxes)
            self._timed(begun, staged, done)
            return [boxes]

        return finish

    def parts(self, cloud: PlacedCloud) -> Mapping[str, Callable[[], None]]:
        """Return what a cloud consists of, for who measures: each puts its part into the stream.

        The cloud has been staged. The parts are upload, pillars, encoder and scatter where an
        engine encodes, network, decode and download; `graph` is all but the upload at once, where
        it could be recorded.

        Raises:
            PointsError: As for `begin`.
            InferenceError: As for `begin`.
        """
        plan = self._bring(self._records(cloud)[0])
        return plan.parts()

    def trim(self) -> None:
        """Free what was taken for clouds; the next ones take it anew."""
        self._runs.trim()

    def close(self) -> None:
        """Give back everything but engines, kernels and pool; a second call does nothing."""
        self._runs.close()
        self._route.close()
        self._memory.close()

    # --- the way to the GPU --------------------------------------------------------------------

    def _records(self, cloud: PlacedCloud) -> tuple[PointRecords, int, int]:
        """Return the points, and how many have been left out: no measurements, and cut away."""
        if self._options.idle and cloud.transform is None:
            records = raw_points(cloud.view, self.card.points)
            if records is not None:
                return records, 0, 0
        points, cropped = self._points(cloud)
        return PointRecords.of(points, measured=True), self._read.dropped, cropped

    def _bring(self, records: PointRecords) -> CloudPlan:
        """Return a plan that has the points where the GPU takes them from."""
        count, capacity = len(records), self._capacity
        if count > capacity:
            self._runs.trim()
            capacity = capacity_for(count)
        # a cloud without a point has any layout
        layout = records.layout if count else self._layout
        thresholds = self.thresholds  # others may set it at any time
        plan = self._runs.plan(
            layout, thresholds, partial(self._make_plan, layout, capacity, thresholds)
        )  # fmt: skip
        self._capacity, self._layout = capacity, layout
        plan.pillars.stage(records)
        return plan

    # --- the work, recorded --------------------------------------------------------------------

    def _make_plan(
        self, layout: PointLayout, capacity: int, thresholds: Thresholds, memory: Lease
    ) -> CloudPlan:
        if self.before_plan is not None:
            self.before_plan(layout, capacity)
        pillars = PillarPlan(self._kernels, memory, self._route.target, layout, capacity)
        detections = DetectionsPlan3d(
            self._kernels,
            memory,
            self._engine.stream,
            self._readout(),
            partial(device_address, memories=self._engine.memory, name=self.card.name),
            classes=len(self.card.classes),
            thresholds=thresholds,
        )
        return CloudPlan(
            pillars, self._route, self._engine, detections, memory, spin=self._spin
        )  # fmt: skip

    def _readout(self) -> Readout3d:
        """Return where the candidates are."""
        memories = self._engine.memory
        return self._decode.readout(
            {name: each.host for name, each in memories.items() if name not in self._inputs}
        )
