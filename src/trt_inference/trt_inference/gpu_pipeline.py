# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""One image in, detections out, all of it on the GPU: one copy in, one launch, one copy back."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from contextlib import suppress
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
from trt_engine.errors import InferenceError
from trt_engine.preprocess import as_taken
from trt_inference.decoders import open_decoder
from trt_inference.detections import Detections

# The cameras of a node may differ in size, but a folder of photographs has sizes without end.
_PLANS_KEPT = 8

_Key = tuple[str, tuple[int, ...], str]


class GpuDetector:
    """An engine with what comes before and after it on the GPU; one thread at a time may call it.

    It has the face of `pipeline.Detector`, and gives the same detections. The work on images of
    one size is recorded once, as a CUDA graph, and launched for each.

    Attributes:
        card: The model card.
        backend: What runs the network; whoever opened it closes it, after this.
        thresholds: What counts as a detection, from the next call on; at first the card's.
        class_filter: Indices of the classes to report, from the next call on; None for all.
        stages_ms: What the last call spent in preprocess (bringing the image to where the GPU
            takes it from), inference (all that the GPU does) and decode (reading what came back).
        no_graph: Why the work is put into the stream piece by piece, and not as a graph; '' while
            it is not.
    """

    def __init__(
        self,
        card: Card,
        backend: TensorRtBackend,
        *,
        kernels: Kernels,
        pool: Pool,
        spin: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Check that the head fits the engine.

        Args:
            card: The model card.
            backend: The loaded engine.
            kernels: Where kernels come from; whoever made them closes them, after this.
            pool: Where memory comes from, likewise.
            spin: Whether to wait for the GPU busily, which takes a core and saves microseconds.
            clock: Seconds, for durations.

        Raises:
            CardError: The card's head is unknown, or its outputs or options are not what it takes.
            DecodeError: The outputs do not have the form that the card's head promises.
            InferenceError: The engine takes other inputs than the card says, or gives outputs whose
                size is known after a run only.
        """
        self.card = card
        self.backend = backend
        self.thresholds: Thresholds = card.thresholds
        self.class_filter: frozenset[int] | None = None
        self.stages_ms: Mapping[str, float] = {'preprocess': 0.0, 'inference': 0.0, 'decode': 0.0}
        self.no_graph = _without_graph(backend.no_graph) if backend.no_graph else ''
        self._kernels = kernels
        self._pool = pool
        self._clock = clock
        self._plans: dict[_Key, _Plan] = {}
        self._planned_for = self.thresholds
        self._current: _Plan | None = None
        self._spec = spec = as_taken(
            card.input, {info.name: info.dtype for info in backend.tensors}
        )
        size = (spec.height, spec.width)
        shape = (1, 3, *size) if spec.layout == 'nchw' else (1, *size, 3)
        shapes: dict[str, tuple[int, ...]] = {spec.tensor: shape}
        if spec.size_tensor is not None:
            shapes[spec.size_tensor] = (1, 2)
        self._check_inputs(shapes)
        backend.prepare(shapes)
        if backend.varying:
            raise InferenceError(
                f'{backend.identity}: the size of output {backend.varying[0]!r} depends on the '
                'values of the input, and is not decoded on the GPU; wanted outputs of fixed '
                'sizes: export the model without NonZero and NMS (the decoder does NMS)'
            )
        outputs = {name: each.host for name, each in backend.memory.items() if name not in shapes}
        self._readouts = open_decoder(card).readouts(outputs)
        self._done = Event(spin=spin)

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
        begun = self._clock()
        plan = self._plan(pixels, encoding)
        if plan is not self._current:
            self._tell_size(plan)
            self._current = plan
        plan.frame.stage(pixels)
        staged = self._clock()
        plan.launch()
        self._done.record(self.backend.stream)
        self._done.synchronize()
        done = self._clock()
        detections = Detections(*plan.detections.read())
        if self.class_filter is not None:
            wanted = np.array(sorted(self.class_filter), np.int32)
            detections = detections.select(np.isin(detections.classes, wanted))
        read = self._clock()
        self.stages_ms = {
            'preprocess': (staged - begun) * 1e3,
            'inference': (done - staged) * 1e3,
            'decode': (read - done) * 1e3,
        }
        return detections

    def close(self) -> None:
        """Give back everything but backend, kernels and pool; a second call does nothing."""
        self._drop_plans()
        self._done.close()

    def _drop_plans(self) -> None:
        self._current = None
        while self._plans:
            self._plans.popitem()[1].close()

    def _plan(self, pixels: Array, encoding: str) -> _Plan:
        if self.thresholds != self._planned_for:
            self._drop_plans()
            self._planned_for = self.thresholds
        key = (encoding, pixels.shape, pixels.dtype.str)
        plan = self._plans.get(key)
        if plan is None:
            while len(self._plans) >= _PLANS_KEPT:
                self._plans.pop(next(iter(self._plans))).close()
            plan = self._plans[key] = self._make_plan(pixels, encoding)
        return plan

    def _make_plan(self, pixels: Array, encoding: str) -> _Plan:
        stream = self.backend.stream
        memory = Lease(self._pool)
        try:
            frame = FramePlan(
                self._kernels,
                memory,
                stream,
                self._spec,
                self.backend.memory[self._spec.tensor].pointer,
                pixels,
                encoding,
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
            plan = _Plan(self.backend, frame, detections, memory)
            # TensorRT does once, outside of any graph, what it does in its first run only
            frame.stage(pixels)
            self._tell_size(plan)
            plan.launch()
            stream.synchronize()
            if not self.no_graph:
                try:
                    plan.graph = Graph(stream, plan.enqueue)
                except InferenceError as exc:
                    self.no_graph = _without_graph(str(exc))
        except BaseException:
            with suppress(InferenceError):  # the failure at hand says more
                stream.synchronize()  # nothing may be under way in memory that is given back
            memory.close()
            raise
        return plan

    def _tell_size(self, plan: _Plan) -> None:
        """Bring the size of the image to the networks that ask for it."""
        if self._spec.size_tensor is not None:
            memory = self.backend.memory[self._spec.size_tensor]
            memory.host[0] = plan.frame.geometry.image_width, plan.frame.geometry.image_height
            memory.upload(self.backend.stream)

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


def _without_graph(why: str) -> str:
    return f'no CUDA graph of this network, work goes in streams: {why}'


class _Plan:
    """All the work on the images of one camera, from raw bytes to detections."""

    def __init__(
        self,
        backend: TensorRtBackend,
        frame: FramePlan,
        detections: DetectionsPlan,
        memory: Lease,
    ) -> None:
        self.frame = frame
        self.detections = detections
        self.graph: Graph | None = None
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

    def close(self) -> None:
        if self.graph is not None:
            self.graph.close()
        self._memory.close()
