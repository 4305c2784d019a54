# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Images in, detections out, all of it on the GPU: one copy in, one launch, one copy back."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from functools import partial
import time

import numpy as np

from trt_engine.backend import Array
from trt_engine.backends.checks import check_inputs
from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.backends.tensorrt_context import EngineContext
from trt_engine.card import Card
from trt_engine.card import Thresholds
from trt_engine.cuda.detections import DetectionsPlan
from trt_engine.cuda.detections import Readout
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.memory import Pool
from trt_engine.cuda.nvjpeg import JpegDecoder
from trt_engine.cuda.preprocess import FramePlan
from trt_engine.errors import BackendUnavailableError
from trt_engine.picture import decode_picture
from trt_engine.preprocess import as_taken
from trt_inference.camera.decoders import GpuDecoder
from trt_inference.camera.decoders import open_decoder
from trt_inference.camera.detections import Detections
from trt_inference.camera.gpu_plan import BatchPlan
from trt_inference.camera.gpu_plan import ImagePlan
from trt_inference.camera.gpu_plan import Incoming
from trt_inference.camera.pipeline import JPEG
from trt_inference.camera.pipeline import Picture
from trt_inference.detector.gpu_runs import device_address
from trt_inference.detector.gpu_runs import Runs

# The cameras of a node may differ in size, but a folder of photographs has sizes without end.
PLANS_KEPT = 8

_Key = tuple[str, tuple[int, ...], str, bool]  # as `Incoming` has it


class GpuDetector:
    """An engine with what comes before and after it on the GPU; one thread at a time may call it.

    It has the face of `pipeline.Detector`, and gives the same detections. The work on images of
    one size is recorded once, as a CUDA graph, and launched for each. While the GPU works on an
    image, the next one can be brought to where the GPU will take it from. Images of several
    cameras go through the network together, where the engine takes any number of them.

    Attributes:
        card: The model card.
        backend: What runs the network; whoever opened it closes it, after this.
        batch: Most pictures that `begin` takes at once.
        in_flight: Most runs that may be begun and not finished.
        takes_jpeg: Whether pictures may be files, of the encoding `pipeline.JPEG`.
        thresholds: What counts as a detection, from the next call on; at first the card's.
        class_filter: Indices of the classes to report, from the next call on; None for all.
        stages_ms: What the run that was finished last spent in preprocess (bringing images to where
            the GPU takes them from), inference (from then on until all was back from the GPU, other
            runs' turns included) and decode (reading what came back).
        copies_left_out: Copies of images and detections that were not made, as the GPU reads and
            writes the memory of the CPU in place.
    """

    def __init__(
        self,
        card: Card,
        backend: TensorRtBackend,
        *,
        kernels: Kernels,
        pool: Pool,
        spin: bool = False,
        batch: int = 1,
        jpegs: Sequence[JpegDecoder] = (),
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
            batch: Most pictures at once that there will be; the engine may take fewer.
            jpegs: What decodes JPEG on the GPU, one for each picture of a batch, for pictures that
                are files; whoever made them closes them, after this.
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
        self.takes_jpeg = bool(jpegs)
        self.thresholds: Thresholds = card.thresholds
        self.class_filter: frozenset[int] | None = None
        self.stages_ms: Mapping[str, float] = {'preprocess': 0.0, 'inference': 0.0, 'decode': 0.0}
        self.copies_left_out = 0
        self._kernels = kernels
        self._pool = pool
        self._spin = spin
        self._clock = clock
        self._decoder = decoder
        self._jpegs = jpegs
        self._runs: Runs[tuple[_Key, ...], BatchPlan] = Runs(
            card.name, backend, pool, kept=PLANS_KEPT, in_flight=in_flight
        )
        self._spec = as_taken(card.image, {info.name: info.dtype for info in backend.tensors})
        self._contexts: dict[int, TensorRtBackend | EngineContext] = {1: backend}
        self._check_inputs()
        backend.prepare(self._shapes(1))
        self._readouts(1, 0)  # to know now whether the outputs are what the head promises
        try:
            self.batch = self._reserve_batches(batch)
        except BaseException:
            self.close()
            raise
        self._runs.kept = PLANS_KEPT * self.batch

    @property
    def no_graph(self) -> str:
        """Return why work goes into the stream piece by piece, not as a graph; '' if it does."""
        return self._runs.no_graph

    def __call__(self, pixels: Array, encoding: str) -> Detections:
        """Return what is in one image, in its own pixels.

        Args:
            pixels: As `trt_engine.preprocess.Preprocessor` takes them; or a file, (N,) uint8.
            encoding: One of `trt_engine.encodings.ENCODINGS`; or `pipeline.JPEG`.

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
        self._runs.require_room()
        incoming = [self._look_at(*each) for each in pictures]
        # few plans serve all orders
        order = sorted(range(len(incoming)), key=lambda each: incoming[each].key)
        plan = self._bring([incoming[each] for each in order])
        staged = self._clock()
        self._runs.begin(plan)
        if self._pool.mapped:
            self.copies_left_out += 2 * len(pictures)

        def finish() -> list[Detections]:
            with self._runs.finished(plan):
                done = self._clock()
                found = [self._filtered(image.detections) for image in plan.images]
            self.stages_ms = {
                'preprocess': (staged - begun) * 1e3,
                'inference': (done - staged) * 1e3,
                'decode': (self._clock() - done) * 1e3,
            }
            return [found[order.index(each)] for each in range(len(order))]

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
        return self._free_plan([self._look_at(pixels, encoding)]).parts()

    @property
    def mapped(self) -> bool:
        """Return whether the GPU reads and writes the memory of the CPU in place."""
        return self._pool.mapped

    def trim(self) -> None:
        """Free what was taken for images; the next ones take it anew."""
        self._runs.trim()

    def close(self) -> None:
        """Give back everything but backend, kernels and pool; a second call does nothing."""
        self._runs.close()
        while len(self._contexts) > 1:
            self._contexts.popitem()[1].close()

    def _filtered(self, plan: DetectionsPlan) -> Detections:
        detections = Detections(*plan.read())
        if self.class_filter is None:
            return detections
        wanted = np.array(sorted(self.class_filter), np.int32)
        return detections.select(np.isin(detections.classes, wanted))

    # --- the way to the GPU --------------------------------------------------------------------

    def _look_at(self, pixels: Array, encoding: str) -> Incoming:
        if encoding != JPEG or not self.takes_jpeg:
            return Incoming(pixels, encoding)
        jpeg = self._jpegs[0].read(pixels)
        if jpeg is None:
            return Incoming(decode_picture(pixels), 'bgr8')
        return Incoming(np.broadcast_to(np.uint8(0), jpeg.shape), 'bgr8', jpeg)

    def _bring(self, pictures: list[Incoming]) -> BatchPlan:
        """Return a plan for the pictures that has them, or the GPU is about to."""
        plan = self._free_plan(pictures)
        for index, picture in enumerate(pictures):
            frame = plan.images[index].frame
            if picture.jpeg is None:
                frame.stage(picture.pixels)
            elif not self._jpegs[index].decode(picture.jpeg, frame.pointer, self.backend.stream):
                # OpenCV reads it, or says what is wrong with it
                pixels = decode_picture(picture.jpeg.data)
                pictures[index] = Incoming(pixels, 'bgr8')
                return self._bring(pictures)
        return plan

    # --- the work, recorded --------------------------------------------------------------------

    def _free_plan(self, pictures: Sequence[Incoming]) -> BatchPlan:
        """Return a plan for such pictures that no run under way has."""
        key = tuple(each.key for each in pictures)
        thresholds = self.thresholds  # others may set it at any time
        return self._runs.plan(key, thresholds, partial(self._make_plan, pictures, thresholds))

    def _make_plan(
        self, pictures: Sequence[Incoming], thresholds: Thresholds, memory: Lease
    ) -> BatchPlan:
        count = len(pictures)
        images = [
            self._plan_image(memory, each, thresholds, n, count) for n, each in enumerate(pictures)
        ]
        for image, picture in zip(images, pictures, strict=True):
            if picture.jpeg is None:
                image.frame.stage(picture.pixels)
        return BatchPlan(self._contexts[count], images, memory, spin=self._spin)

    def _plan_image(
        self, memory: Lease, picture: Incoming, thresholds: Thresholds, index: int, count: int
    ) -> ImagePlan:
        """Plan the work on one picture of several: what comes before the network, and after it."""
        spec, stream, inputs = self._spec, self.backend.stream, self._contexts[count].memory
        tensor = inputs[spec.tensor]
        size = None if spec.size_tensor is None else inputs[spec.size_tensor]
        frame = FramePlan(
            self._kernels,
            memory,
            stream,
            spec,
            tensor.pointer + index * (tensor.host.nbytes // count),
            picture.pixels,
            picture.encoding,
            size=None if size is None else size.pointer + index * (size.host.nbytes // count),
            size_bytes=8 if size is None else size.host.itemsize,
            resident=picture.jpeg is not None,
        )
        detections = DetectionsPlan(
            self._kernels,
            memory,
            stream,
            self._readouts(count, index),
            partial(device_address, memories=self._contexts[count].memory, name=self.card.name),
            classes=len(self.card.classes),
            thresholds=thresholds,
            geometry=frame.geometry,
        )
        return ImagePlan(frame, detections)

    # --- the network ---------------------------------------------------------------------------

    def _shapes(self, count: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the inputs for so many pictures."""
        spec = self._spec
        size = (spec.height, spec.width)
        shape = (count, 3, *size) if spec.layout == 'nchw' else (count, *size, 3)
        shapes: dict[str, tuple[int, ...]] = {spec.tensor: shape}
        if spec.size_tensor is not None:
            shapes[spec.size_tensor] = (count, 2)
        return shapes

    def _check_inputs(self) -> None:
        """Refuse an engine that takes other inputs than the card says."""
        shapes = self._shapes(1)
        arrays = {
            info.name: np.empty(shapes[info.name], info.dtype)
            for info in self.backend.tensors if info.name in shapes
        }  # fmt: skip
        check_inputs(self.backend.tensors, arrays, self.backend.identity)

    def _reserve_batches(self, wanted: int) -> int:
        """Have a context for each number of pictures; return the largest that there can be."""
        name = self._spec.tensor
        most = max((each[name].max[0] for each in self.backend.profiles if name in each), default=1)
        for count in range(2, min(wanted, most) + 1):
            context = self.backend.context(self._shapes(count), stream=self.backend.stream)
            self._contexts[count] = context
            if any(len(each.host) != count for each in context.memory.values()):
                # of some output the pictures cannot be told apart
                self._contexts.pop(count).close()
                return count - 1
        return len(self._contexts)

    def _readouts(self, count: int, index: int) -> tuple[Readout, ...]:
        """Return where the candidates of one picture of several are."""
        inputs = self._shapes(count)
        outputs = {
            name: each.host if count == 1 else each.host[index : index + 1]
            for name, each in self._contexts[count].memory.items() if name not in inputs
        }  # fmt: skip
        return self._decoder.readouts(outputs)
