# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Makes what looks at images out of a card and a network, on the GPU where it can."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Protocol

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
from trt_inference.config import InferenceConfig
from trt_inference.detections import Detections
from trt_inference.gpu_pipeline import GpuDetector
from trt_inference.pipeline import Detector
from trt_inference.worker import DetectorLike

_MAPPED = {'auto': None, 'mapped': True, 'copied': False}


class CameraDetector(DetectorLike, Protocol):
    """What `pipeline.Detector` and `gpu_pipeline.GpuDetector` have in common."""

    thresholds: Thresholds
    class_filter: frozenset[int] | None

    def __call__(self, pixels: Array, encoding: str) -> Detections:
        """Return what is in one image."""


class Loaded:
    """A network that is ready to look at images.

    Attributes:
        detector: What does so.
        pipeline: gpu or cpu, where images are prepared and outputs decoded.
        remark: What the user should know of that, once; '' for nothing.
    """

    def __init__(self, card: Card, backend: Backend, config: InferenceConfig) -> None:
        """Load, and look at a black picture.

        The first run allocates; it also shows now rather than at the first frame whether the
        network's outputs are what the card's head promises.

        Args:
            card: The model card.
            backend: What runs the network; closed by `close`, and if this fails.
            config: What the user wants.

        Raises:
            PerceptionError: Of the many kinds that making and calling a detector have.
        """
        self.pipeline = 'cpu'
        self.remark = ''
        self._closing = ExitStack()
        self._closing.callback(backend.close)
        try:
            self.detector = self._make(card, backend, config)
        except BaseException:
            self._closing.close()
            raise

    def __str__(self) -> str:
        return f'{self.pipeline}: {self.remark}' if self.remark else self.pipeline

    def close(self) -> None:
        """Free everything; a second call does nothing."""
        self._closing.close()

    def _make(self, card: Card, backend: Backend, config: InferenceConfig) -> CameraDetector:
        if config.pipeline != 'cpu' and isinstance(backend, TensorRtBackend):
            with ExitStack() as attempt:
                try:
                    detector = _on_gpu(card, backend, config, attempt)
                    _try_out(detector, card, config)
                except (BackendError, StoreError) as exc:
                    if config.pipeline == 'gpu':
                        raise
                    self.remark = f'images are prepared and outputs decoded on the CPU: {exc}'
                else:
                    self.pipeline = 'gpu'
                    self.remark = detector.no_graph
                    self._closing.push(attempt.pop_all())
                    return detector
        elif config.pipeline == 'gpu':
            raise ConfigError(
                f'pipeline is gpu, and {backend.name} runs the network; wanted backend: tensorrt, '
                'or pipeline: auto'
            )
        on_cpu = Detector(card, backend)
        _try_out(on_cpu, card, config)
        return on_cpu


def _try_out(detector: CameraDetector, card: Card, config: InferenceConfig) -> None:
    detector.thresholds = config.thresholds(card)
    detector.class_filter = config.class_filter(card)
    detector(np.zeros((card.image.height, card.image.width, 3), np.uint8), 'bgr8')


def _on_gpu(
    card: Card, backend: TensorRtBackend, config: InferenceConfig, closing: ExitStack
) -> GpuDetector:
    kernels = Kernels()
    closing.callback(kernels.close)
    pool = Pool(mapped=_MAPPED[config.frame_memory])
    closing.callback(pool.close)
    detector = GpuDetector(card, backend, kernels=kernels, pool=pool, spin=config.spin_wait)
    closing.callback(detector.close)
    return detector
