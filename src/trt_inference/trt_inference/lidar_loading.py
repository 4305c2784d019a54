# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Makes what looks at clouds out of a card and a network."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from trt_engine.backend import Backend
from trt_engine.backends import open_backend
from trt_engine.card import Card
from trt_engine.errors import ModelFileError
from trt_engine.lidar_card import PointsInput
from trt_engine.lidar_model import pillar_weights
from trt_engine.lidar_model import PillarWeights
from trt_engine.model_file import resolve_model
from trt_inference.clouds import CloudOptions
from trt_inference.lidar_pipeline import LidarDetector
from trt_inference.lidar_pipeline import PlacedCloud
from trt_inference.point_view import PointView


class LoadedLidar:
    """A network that is ready to look at clouds.

    Attributes:
        detector: What does so.
        pipeline: cpu, where clouds are prepared and outputs decoded.
        remark: What the user should know of that, once; '' for nothing.
    """

    pipeline = 'cpu'

    def __init__(
        self, card: Card, backend: Backend, options: CloudOptions, *, threads: int = 0
    ) -> None:
        """Load, and look at a cloud of one point.

        The first run allocates; it also shows now rather than at the first cloud whether the
        network's outputs are what the card's head promises.

        Args:
            card: The model card.
            backend: What runs the network; closed by `close`, and if this fails.
            options: What is done to clouds first.
            threads: For a network inside the pillars that ONNX Runtime has to run.

        Raises:
            PerceptionError: Of the many kinds that making and calling a detector have.
        """
        self.remark = ''
        self._closing = ExitStack()
        self._closing.callback(backend.close)
        try:
            weights, encoder = self._inside(card, threads)
            self.detector = LidarDetector(
                card, backend, weights, encoder=encoder, options=options
            )  # fmt: skip
            self._try(card.points)
        except BaseException:
            self._closing.close()
            raise

    def __str__(self) -> str:
        return f'{self.pipeline}: {self.remark}' if self.remark else self.pipeline

    def close(self) -> None:
        """Free everything; a second call does nothing."""
        self._closing.close()

    def _inside(self, card: Card, threads: int) -> tuple[PillarWeights | None, Backend | None]:
        """Return the network inside a pillar: its weights, or what runs it; or neither."""
        try:
            return pillar_weights(card), None
        except ModelFileError as exc:
            if card.encoder is None:
                raise
            encoder = open_backend(
                'onnxruntime', resolve_model(replace(card, model=card.encoder)), threads=threads
            )
            self._closing.callback(encoder.close)
            self.remark = f'the network inside the pillars runs in ONNX Runtime on the CPU: {exc}'
            return None, encoder

    def _try(self, spec: PointsInput) -> None:
        names = ['x', 'y', 'z', *(spec.fields.get(each, each) for each in spec.channels)]
        middle = [(a + b) / 2 for a, b in zip(spec.range_m[:3], spec.range_m[3:], strict=True)]
        # a point at the origin would be no measurement
        numbers = [middle[0] or spec.voxel_m[0] / 2, *middle[1:], *(0.0 for _ in spec.channels)]
        columns = {
            name: np.full((1, 1), number, np.float32)
            for name, number in zip(names, numbers, strict=True)
        }
        size = 4 * len(names)
        self.detector(PlacedCloud(PointView(0, 0, '', 1, 1, size, size, columns, True)))
        self.detector.forget()
