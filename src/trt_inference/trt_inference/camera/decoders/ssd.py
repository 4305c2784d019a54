# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""SSD as jetson-inference exports it: boxes decoded, a score for each class and the background."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from trt_engine.backend import Array
from trt_engine.card import Card
from trt_engine.card import Thresholds
from trt_engine.cuda.detections import Readout
from trt_engine.fields import Allow
from trt_engine.preprocess import Geometry
from trt_inference.camera.decoders.head import finish
from trt_inference.camera.decoders.head import labelled
from trt_inference.camera.detections import Detections
from trt_inference.detector.head import head_key
from trt_inference.detector.head import read_options
from trt_inference.detector.head import read_outputs
from trt_inference.detector.head import take


@dataclass(frozen=True)
class SsdOptions:
    """What the card says of the head beside its outputs."""

    background: Annotated[
        int | None,
        Allow('Column of the background, which is no class of the card; null: there is none', 0),
    ] = 0


class SsdDecoder:
    """Decodes `scores` [1, N, classes and background] and `boxes` [1, N, 4], x1 y1 x2 y2 0..1."""

    def __init__(self, card: Card) -> None:
        background = read_options(card, SsdOptions).background
        (self._scores,), (self._boxes,) = read_outputs(card, scores=1, boxes=1)
        columns = len(card.classes) + (background is not None)
        if background is not None and background >= columns:
            allowed = f'a column from 0 up to {columns - 1}, the number of classes, or null'
            raise (head_key(card) / 'background').refuse(background, allowed)
        self._columns = columns
        self._background = background
        self._of_class = np.array([c for c in range(columns) if c != background])
        self._scale = np.array([card.image.width, card.image.height] * 2, np.float32)

    @np.errstate(over='ignore', invalid='ignore')  # `finish` drops what is not finite
    def __call__(
        self, outputs: Mapping[str, Array], thresholds: Thresholds, geometry: Geometry
    ) -> Detections:
        """Return what was seen; see `trt_inference.camera.decoders.Decoder`."""
        scores = take(outputs, self._scores, ('N', self._columns))
        boxes = take(outputs, self._boxes, (len(scores), 4))
        rows, classes, chosen = labelled(scores[:, self._of_class], thresholds)
        scaled = boxes[rows].astype(np.float32) * self._scale
        return finish(scaled, chosen, classes, thresholds, geometry)

    def readouts(self, outputs: Mapping[str, Array]) -> tuple[Readout, ...]:
        """Return where the candidates are; see `trt_inference.camera.decoders.Decoder`."""
        scores = take(outputs, self._scores, ('N', self._columns))
        boxes = take(outputs, self._boxes, (len(scores), 4))
        width, height = self._scale[:2]
        scale = (float(width), float(height))
        return (Readout(scores, boxes, 'corners', scale, background=self._background),)
