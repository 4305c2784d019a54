# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Images in, detections out, all of it on the GPU: one copy in, one launch, one copy back."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
import time

import numpy as np

from trt_engine.backend import Array
from trt_engine.backends.checks import check_inputs
from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.card import Card
from trt_engine.card import Thresholds
from trt_engine.cuda.detections import DetectionsPlan
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Event
from trt_engine.cuda.memory import Graph
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.memory import Pool
from trt_engine.cuda.preprocess import FramePlan
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import InferenceError
from trt_engine.preprocess import as_taken
from trt_inference.decoders import GpuDecoder
from trt_inference.decoders import open_decoder
from trt_inference.detections import Detections
from trt_inference.pipeline import Picture

# The cameras of a node may differ in size, but a folder of photographs has sizes without end.
_PLANS_KEPT = 8

_Key = tuple[str, tuple[int, ...], str]


class GpuDetector:
    """An engine with what comes before and after it on the GPU; one thread at a time may call it.

    It has the face of `pipeline.Detector`, and gives the same detections. The work on images of
    one size is recorded once, as a CUDA graph, and launched for each. While the GPU works on an
    image, the next one can be brought to where the GPU will take it from.

    Attributes:
        card: The model card.
        backend: What runs the network; whoever opened it closes it, after this.
        batch: Most pictures that `begin` takes at once.
        in_flight: Most runs that may be begun and not finished.
        thresholds: What counts as a detection, from the next call on; at first the card's.
        class_filter: Indices of the classes to report, from the next call on; None for all.
        stages_ms: What the run that was finished last spent in preprocess (bringing images to where
            the GPU takes them from), inference (from then on until all was back from the GPU, other
            runs' turns included) and decode (reading what came back).
        no_graph: Why the work is put into the stream piece by piece, and not as a graph; '' while
            it is not.
    """

    batch = 1

    def __init__(
        self,
        card: Card,
        backend: TensorRtBackend,
        *,
        kernels: Kernels,
        pool: Pool,
        spin: bool = False,
        in_flight: int = 2,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Check that the head fits the engine.

        Args:
            card: The model card.
            backend: The loaded engine.
            kernels: Where kernels come from; whoever made them closes them, after this.
            pool: Where memory comes from, likewise.
            spin: Whether to wait for the GPU busily, which takes a core and saves microseconds.
            in_flight: As the attribute; each has memory of its own for its images.
            clock: Seconds, for durations.

        Raises:
            BackendUnavailableError: The head has no decoder for the GPU.
            CardError: The card's head is unknown, or its outputs or options are not what it takes.
            DecodeError: The outputs do not have the form that the card's head promises.
            InferenceError: The engine takes other inputs than the card says.
        """
        decoder = open_decoder(card)
        if not isinstance(decoder, GpuDecoder):
            raise BackendUnavailableError(
                f'the decoder of head.type {card.head.type} has no readouts, which say how the GPU '
                'does its work; it runs on the CPU'
            )
        self.card = card
        self.backend = backend
        self.in_flight = in_flight
        self.thresholds: Thresholds = card.thresholds
        self.class_filter: frozenset[int] | None = None
        self.stages_ms: Mapping[str, float] = {'preprocess': 0.0, 'inference': 0.0, 'decode': 0.0}
        self.no_graph = ''
        self._kernels = kernels
        self._pool = pool
        self._spin = spin
        self._clock = clock
        self._plans: dict[_Key, list[_Plan]] = {}
        self._under_way: list[_Plan] = []
        self._planned_for = self.thresholds
        self._spec = spec = as_taken(
            card.image, {info.name: info.dtype for info in backend.tensors}
        )
        size = (spec.height, spec.width)
        shape = (1, 3, *size) if spec.layout == 'nchw' else (1, *size, 3)
        shapes: dict[str, tuple[int, ...]] = {spec.tensor: shape}
        if spec.size_tensor is not None:
            shapes[spec.size_tensor] = (1, 2)
        self._check_inputs(shapes)
        backend.prepare(shapes)
        outputs = {name: each.host for name, each in backend.memory.items() if name not in shapes}
        self._readouts = decoder.readouts(outputs)

    def __call__(self, pixels: Array, encoding: str) -> Detections:
        """Return what is in one image, in its own pixels.

        Args:
            pixels: As `trt_engine.preprocess.Preprocessor` takes them.
            encoding: One of `trt_engine.encodings.ENCODINGS`.

        Raises:
            ImageError: The image cannot be read.
            InferenceError: The network failed.
            DecodeError: The outputs do not have the form that the card's head promises.
        """
        return self.begin([(pixels, encoding)])()[0]

    def begin(self, pictures: Sequence[Picture]) -> Callable[[], list[Detections]]:
        """Put all the work on pictures into the GPU's queue; return what waits for it.

        Once this returns, the pictures have been read.

        Args:
            pictures: At most `batch`, each as for a call.

        Returns:
            A function that returns what is in each picture; it raises as a call does.

        Raises:
            ImageError: A picture cannot be read.
            InferenceError: The GPU refused the work, or lacks memory for it; or `in_flight` runs
                have not been finished.
        """
        begun = self._clock()
        if len(self._under_way) >= self.in_flight:
            raise InferenceError(
                f'{self.card.name}: a run was begun with {len(self._under_way)} not finished; '
                f'allowed: {self.in_flight}'
            )
        ((pixels, encoding),) = pictures
        plan = self._free_plan(pixels, encoding)
        plan.frame.stage(pixels)
        staged = self._clock()
        plan.launch()
        self._under_way.append(plan)

        def finish() -> list[Detections]:
            try:
                plan.done.synchronize()
                done = self._clock()
                detections = self._filtered(Detections(*plan.detections.read()))
            finally:
                self._under_way.remove(plan)
                if plan.retired:
                    plan.close()
            self.stages_ms = {
                'preprocess': (staged - begun) * 1e3,
                'inference': (done - staged) * 1e3,
                'decode': (self._clock() - done) * 1e3,
            }
            return [detections]

        return finish

    def parts(self, pixels: Array, encoding: str) -> Mapping[str, Callable[[], None]]:
        """Return what a frame consists of, for who measures: each puts its part into the stream.

        The image has been staged. The parts are upload, preprocess, network, decode and download;
        `graph` is all of them at once, where they could be recorded.

        Args:
            pixels: As for a call.
            encoding: As for a call.

        Raises:
            ImageError: As for a call.
            InferenceError: As for a call.
        """
        self(pixels, encoding)
        return self._free_plan(pixels, encoding).parts()

    def close(self) -> None:
        """Give back everything but backend, kernels and pool; a second call does nothing."""
        if self._under_way:
            self._settle()
        self._drop_plans()
        while self._under_way:
            self._under_way.pop().close()

    def _filtered(self, detections: Detections) -> Detections:
        if self.class_filter is None:
            return detections
        wanted = np.array(sorted(self.class_filter), np.int32)
        return detections.select(np.isin(detections.classes, wanted))

    def _drop_plans(self) -> None:
        while self._plans:
            self._retire(self._plans.popitem()[1])

    def _retire(self, plans: Sequence[_Plan]) -> None:
        for plan in plans:
            plan.retired = True
            if plan not in self._under_way:
                plan.close()

    def _free_plan(self, pixels: Array, encoding: str) -> _Plan:
        """Return a plan for such images that no run under way has."""
        if self.thresholds != self._planned_for:
            self._drop_plans()
            self._planned_for = self.thresholds
        key = (encoding, pixels.shape, pixels.dtype.str)
        if key not in self._plans:
            while len(self._plans) >= _PLANS_KEPT:
                self._retire(self._plans.pop(next(iter(self._plans))))
            self._plans[key] = []
        plans = self._plans[key]
        for plan in plans:
            if plan not in self._under_way:
                return plan
        plans.append(self._make_plan(pixels, encoding))
        return plans[-1]

    def _make_plan(self, pixels: Array, encoding: str) -> _Plan:
        stream = self.backend.stream
        memory = Lease(self._pool)
        try:
            inputs = self.backend.memory
            size = self._spec.size_tensor
            frame = FramePlan(
                self._kernels,
                memory,
                stream,
                self._spec,
                inputs[self._spec.tensor].pointer,
                pixels,
                encoding,
                size=None if size is None else inputs[size].pointer,
            )
            detections = DetectionsPlan(
                self._kernels,
                memory,
                stream,
                self._readouts,
                self._address,
                classes=len(self.card.classes),
                thresholds=self.thresholds,
                geometry=frame.geometry,
            )
            plan = _Plan(self.backend, frame, detections, memory, spin=self._spin)
        except BaseException:
            self._settle()
            memory.close()
            raise
        try:
            # TensorRT does once, outside of any graph, what it does in its first run only
            frame.stage(pixels)
            plan.launch()
            stream.synchronize()
            if not self.no_graph:
                try:
                    plan.graph = Graph(stream, plan.enqueue)
                except InferenceError as exc:
                    self.no_graph = f'no CUDA graph of this network, work goes in streams: {exc}'
        except BaseException:
            self._settle()
            plan.close()
            raise
        return plan

    def _settle(self) -> None:
        """Wait until nothing is under way in memory that is to be given back."""
        with suppress(InferenceError):  # the failure at hand says more
            self.backend.stream.synchronize()

    def _address(self, view: Array) -> int:
        """Return where on the GPU that lies which an output's view begins with."""
        place = view.ctypes.data
        for memory in self.backend.memory.values():
            begin = memory.host.ctypes.data
            if begin <= place < begin + max(1, memory.host.nbytes):
                return memory.pointer + place - begin
        raise InferenceError(f'{self.card.name}: the decoder reads what is no output')

    def _check_inputs(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuse an engine that takes other inputs than the card says."""
        arrays = {
            info.name: np.empty(shapes[info.name], info.dtype)
            for info in self.backend.tensors if info.name in shapes
        }  # fmt: skip
        check_inputs(self.backend.tensors, arrays, self.backend.identity)


class _Plan:
    """All the work on the images of one camera, from raw bytes to detections.

    Attributes:
        retired: Whether it is of no more use once the run under way is finished.
        graph: The work, recorded; None where it is not.
        done: Reached when the last launch is done.
    """

    def __init__(
        self,
        backend: TensorRtBackend,
        frame: FramePlan,
        detections: DetectionsPlan,
        memory: Lease,
        *,
        spin: bool,
    ) -> None:
        self.frame = frame
        self.detections = detections
        self.graph: Graph | None = None
        self.retired = False
        self.done = Event(spin=spin)
        self._backend = backend
        self._memory = memory

    def enqueue(self) -> None:
        stream = self._backend.stream
        self.frame.enqueue(stream)
        self._backend.enqueue()
        self.detections.enqueue(stream)

    def launch(self) -> None:
        if self.graph is not None:
            self.graph.launch(self._backend.stream)
        else:
            self.enqueue()
        self.done.record(self._backend.stream)

    def parts(self) -> dict[str, Callable[[], None]]:
        stream = self._backend.stream
        parts: dict[str, Callable[[], None]] = {
            'upload': partial(self.frame.upload, stream),
            'preprocess': partial(self.frame.convert, stream),
            'network': self._backend.enqueue,
            'decode': partial(self.detections.decode, stream),
            'download': partial(self.detections.download, stream),
        }
        if self.graph is not None:
            parts['graph'] = partial(self.graph.launch, stream)
        return parts

    def close(self) -> None:
        if self.graph is not None:
            self.graph.close()
        self.done.close()
        self._memory.close()
