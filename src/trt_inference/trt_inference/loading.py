# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Makes what looks at images out of a card and a network, on the GPU where it can."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Protocol
from typing import TypeVar

import numpy as np

from trt_engine.backend import Array
from trt_engine.backend import Backend
from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.card import Card
from trt_engine.card import Thresholds
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Pool
from trt_engine.errors import BackendError
from trt_engine.errors import ConfigError
from trt_engine.errors import StoreError
from trt_inference.detections import Detections
from trt_inference.gpu_pipeline import GpuDetector
from trt_inference.pipeline import Detector
from trt_inference.worker import DetectorLike


class CameraDetector(DetectorLike, Protocol):
    """What `pipeline.Detector` and `gpu_pipeline.GpuDetector` have in common."""

    card: Card
    thresholds: Thresholds
    class_filter: frozenset[int] | None

    def __call__(self, pixels: Array, encoding: str) -> Detections:
        """Return what is in one image."""


_Detector = TypeVar('_Detector', bound=CameraDetector)


class Loaded:
    """A network that is ready to look at images.

    Attributes:
        detector: What does so.
        pipeline: gpu or cpu, where images are prepared and outputs decoded.
        remark: What the user should know of that, once; '' for nothing.
    """

    def __init__(
        self,
        card: Card,
        backend: Backend,
        *,
        pipeline: str = 'auto',
        mapped: bool | None = None,
        spin: bool = False,
        batch: int = 1,
    ) -> None:
        """Load, and look at a black picture.

        The first run allocates; it also shows now rather than at the first frame whether the
        network's outputs are what the card's head promises.

        Args:
            card: The model card.
            backend: What runs the network; closed by `close`, and if this fails.
            pipeline: gpu or cpu, or auto for the GPU where it can.
            mapped: As for `cuda.memory.Pool`.
            spin: As for `GpuDetector`.
            batch: Likewise.

        Raises:
            PerceptionError: Of the many kinds that making and calling a detector have.
        """
        self.pipeline = 'cpu'
        self.remark = ''
        self._closing = ExitStack()
        self._closing.callback(backend.close)
        try:
            if pipeline == 'gpu' and not isinstance(backend, TensorRtBackend):
                raise ConfigError(
                    f'pipeline is gpu, and {backend.name} runs the network; wanted backend: '
                    'tensorrt, or pipeline: auto'
                )
            detector = None
            if pipeline != 'cpu' and isinstance(backend, TensorRtBackend):
                make = partial(GpuDetector, card, backend, spin=spin, batch=batch)
                detector = self._on_gpu(make, mapped, required=pipeline == 'gpu')
            self.detector: CameraDetector = detector or _tried(Detector(card, backend))
        except BaseException:
            self._closing.close()
            raise

    def __str__(self) -> str:
        copies = getattr(self.detector, 'copies_left_out', 0)
        what = f'{self.pipeline}, {copies} copies left out' if copies else self.pipeline
        return f'{what}: {self.remark}' if self.remark else what

    def close(self) -> None:
        """Free everything; a second call does nothing."""
        self._closing.close()

    def _on_gpu(
        self, make: Callable[..., GpuDetector], mapped: bool | None, *, required: bool
    ) -> CameraDetector | None:
        with ExitStack() as attempt:
            try:
                kernels = Kernels()
                attempt.callback(kernels.close)
                pool = Pool(mapped=mapped)
                attempt.callback(pool.close)
                detector = make(kernels=kernels, pool=pool)
                attempt.callback(detector.close)
                _tried(detector)
            except (BackendError, StoreError) as exc:
                if required:
                    raise
                self.remark = f'images are prepared and outputs decoded on the CPU: {exc}'
                return None
            self.pipeline, self.remark = 'gpu', detector.no_graph
            self._closing.push(attempt.pop_all())
            return detector


def _tried(detector: _Detector) -> _Detector:
    image = detector.card.input
    detector(np.zeros((image.height, image.width, 3), np.uint8), 'bgr8')
    return detector
