# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Makes what looks at clouds out of a card and a network."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from functools import partial

import numpy as np

from trt_engine.backend import Array
from trt_engine.backend import Backend
from trt_engine.backends import open_backend
from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.card import Card
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import ModelFileError
from trt_engine.lidar.model import encoder_card
from trt_engine.lidar.model import inside_pillars
from trt_engine.lidar.model import PillarWeights
from trt_engine.model_file import resolve_model
from trt_inference.detector.loaded import LoadedNetwork
from trt_inference.detector.loaded import open_resources
from trt_inference.lidar.clouds import CloudOptions
from trt_inference.lidar.gpu_pipeline import GpuLidarDetector
from trt_inference.lidar.pipeline import CloudDetector
from trt_inference.lidar.pipeline import LidarDetector
from trt_inference.lidar.pipeline import PlacedCloud
from trt_inference.lidar.point_view import PointView


class LoadedLidar(LoadedNetwork[CloudDetector]):
    """A network that is ready to look at clouds."""

    on_cpu = 'clouds are prepared and outputs decoded on the CPU'

    def __init__(
        self,
        card: Card,
        backend: Backend,
        options: CloudOptions,
        *,
        pipeline: str = 'auto',
        mapped: bool | None = None,
        spin: bool = False,
        threads: int = 0,
        open_encoder: Callable[[], Backend] | None = None,
    ) -> None:
        """Load, and look at a cloud of one point; see `LoadedNetwork`.

        Args:
            card: The model card.
            backend: What runs the network; closed by `close`, and if this fails.
            options: What is done to clouds first.
            pipeline: gpu or cpu, or auto for the GPU where it can.
            mapped: As for `cuda.memory.Pool`, on the GPU.
            spin: As for `GpuLidarDetector`, likewise.
            threads: For a network inside the pillars that ONNX Runtime has to run.
            open_encoder: Opens an engine of the network inside the pillars, on the GPU; asked where
                that is none that our kernel knows, and raises BackendUnavailableError where there
                is no engine.

        Raises:
            PerceptionError: Of the many kinds that making and calling a detector have.
        """
        self._card = card
        self._options = options
        self._mapped = mapped
        self._spin = spin
        self._threads = threads
        self._open_encoder = open_encoder
        super().__init__(backend, pipeline)

    def _open_gpu(
        self, backend: TensorRtBackend, closing: ExitStack
    ) -> tuple[CloudDetector, str]:  # fmt: skip
        weights, encoder = self._weights, None
        if isinstance(weights, ModelFileError):
            encoder = self._encoder_engine(weights)
            closing.callback(encoder.close)
            weights = None
        kernels, pool = open_resources(self._mapped, closing)
        detector = GpuLidarDetector(
            self._card,
            backend,
            weights,
            kernels=kernels,
            pool=pool,
            encoder=encoder,
            options=self._options,
            spin=self._spin,
        )
        closing.callback(detector.close)
        _try(detector)
        detector.trim()
        return detector, detector.no_graph

    def _encoder_engine(self, reason: ModelFileError) -> TensorRtBackend:
        what = f'the network inside the pillars is none that the GPU kernel knows: {reason}'
        if self._open_encoder is None:
            raise BackendUnavailableError(what)
        try:
            encoder = self._open_encoder()
        except BackendUnavailableError as exc:
            raise BackendUnavailableError(f'{what}; {exc}') from exc
        assert isinstance(encoder, TensorRtBackend)
        return encoder

    def _open_cpu(self, backend: Backend) -> CloudDetector:
        card, weights, encoder = self._card, self._weights, None
        if isinstance(weights, ModelFileError):
            model = resolve_model(encoder_card(card))
            encoder = open_backend('onnxruntime', model, threads=self._threads)
            self._closing.callback(encoder.close)
            self._remark(
                f'the network inside the pillars runs in ONNX Runtime on the CPU: {weights}'
            )
            weights = None
        prepare = partial(LidarDetector, card, backend, weights, encoder=encoder)
        # with the options, which may cut its only point away, nothing might be tried at all
        _try(prepare())
        return prepare(options=self._options)

    @cached_property
    def _weights(self) -> PillarWeights | ModelFileError | None:
        return inside_pillars(self._card)


def _try(detector: CloudDetector) -> None:
    spec = detector.card.points
    names = ['x', 'y', 'z', *(spec.fields.get(each, each) for each in spec.channels)]
    middle = [(a + b) / 2 for a, b in zip(spec.range_m[:3], spec.range_m[3:], strict=True)]
    # a point at the origin would be no measurement
    numbers = [middle[0] or spec.range_m[3] / 2, *middle[1:], *(0.0 for _ in spec.channels)]
    record = np.array(numbers, '<f4')
    size = record.nbytes
    columns: dict[str, Array] = {
        name: np.ndarray((1, 1), '<f4', record, 4 * place, (size, size))
        for place, name in enumerate(names)
    }
    detector(PlacedCloud(PointView(0, 0, '', 1, 1, size, size, columns, True)))
    detector.forget()
