# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Makes what looks at images out of a card and a network, on the GPU where it can."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from trt_engine.backend import Array
from trt_engine.backend import Backend
from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.card import Card
from trt_engine.card import Thresholds
from trt_engine.cuda.nvjpeg import JpegDecoder
from trt_engine.errors import BackendUnavailableError
from trt_inference.camera.detections import Detections
from trt_inference.camera.gpu_pipeline import GpuDetector
from trt_inference.camera.pipeline import Detector
from trt_inference.camera.pipeline import Picture
from trt_inference.detector.loaded import LoadedNetwork
from trt_inference.detector.loaded import open_resources
from trt_inference.detector.worker import DetectorLike


class CameraDetector(DetectorLike[Picture, Detections], Protocol):
    """What `pipeline.Detector` and `gpu_pipeline.GpuDetector` have in common."""

    card: Card
    thresholds: Thresholds
    class_filter: frozenset[int] | None

    @property
    def takes_jpeg(self) -> bool:
        """Return whether pictures may be files."""

    def __call__(self, pixels: Array, encoding: str) -> Detections:
        """Return what is in one image."""


@dataclass(frozen=True)
class GpuOptions:
    """How frames get through the GPU.

    Attributes:
        mapped: As for `cuda.memory.Pool`.
        spin: As for `GpuDetector`.
        batch: Likewise.
        jpeg: What decodes pictures that come as JPEG files: nvjpeg, on the GPU; opencv, before they
            get there; or auto for nvJPEG where it is installed.
    """

    mapped: bool | None = None
    spin: bool = False
    batch: int = 1
    jpeg: str = 'opencv'


class Loaded(LoadedNetwork[CameraDetector]):
    """A network that is ready to look at images."""

    on_cpu = 'images are prepared and outputs decoded on the CPU'

    def __init__(
        self,
        card: Card,
        backend: Backend,
        *,
        pipeline: str = 'auto',
        options: GpuOptions = GpuOptions(),  # it cannot change
    ) -> None:
        """Load, and look at a black picture; see `LoadedNetwork`.

        Args:
            card: The model card.
            backend: What runs the network; closed by `close`, and if this fails.
            pipeline: gpu or cpu, or auto for the GPU where it can.
            options: For the GPU.

        Raises:
            PerceptionError: Of the many kinds that making and calling a detector have.
        """
        self._card = card
        self._options = options
        super().__init__(backend, pipeline, required=options.jpeg == 'nvjpeg')

    def _details(self) -> str:
        return ', JPEG by nvJPEG' if self.detector.takes_jpeg else ''

    def _open_gpu(
        self, backend: TensorRtBackend, closing: ExitStack
    ) -> tuple[CameraDetector, str]:  # fmt: skip
        options = self._options
        kernels, pool = open_resources(options.mapped, closing)
        detector = GpuDetector(
            self._card,
            backend,
            kernels=kernels,
            pool=pool,
            spin=options.spin,
            batch=options.batch,
            jpegs=_open_jpegs(options, closing),
        )
        closing.callback(detector.close)
        _try(detector)
        detector.trim()
        return detector, detector.no_graph

    def _open_cpu(self, backend: Backend) -> CameraDetector:
        detector = Detector(self._card, backend)
        _try(detector)
        return detector


def _open_jpegs(options: GpuOptions, closing: ExitStack) -> list[JpegDecoder]:
    decoders: list[JpegDecoder] = []
    try:
        for _ in range(options.batch if options.jpeg != 'opencv' else 0):
            decoders.append(JpegDecoder())
            closing.callback(decoders[-1].close)
    except BackendUnavailableError:
        if options.jpeg == 'nvjpeg':
            raise
        return []
    return decoders


def _try(detector: CameraDetector) -> None:
    image = detector.card.image
    detector(np.zeros((image.height, image.width, 3), np.uint8), 'bgr8')
