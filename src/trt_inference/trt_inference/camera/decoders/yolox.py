# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""YOLOX: one row a cell, centre and size relative to it, objectness, a score for each class."""

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
from trt_inference.camera.decoders.head import corners
from trt_inference.camera.decoders.head import finish
from trt_inference.camera.decoders.head import grid
from trt_inference.camera.decoders.head import labelled
from trt_inference.camera.decoders.head import read_strides
from trt_inference.camera.detections import Detections
from trt_inference.detector.head import reaching
from trt_inference.detector.head import read_options
from trt_inference.detector.head import read_outputs
from trt_inference.detector.head import take


@dataclass(frozen=True)
class YoloxOptions:
    """What the card says of the head beside its outputs."""

    strides: Annotated[
        tuple[int, ...], Allow('Pixels from cell to cell, per level', read=read_strides)
    ] = (8, 16, 32)
    decoded: Annotated[
        bool, Allow('Whether the boxes are in pixels already (--decode_in_inference)')
    ] = False


class YoloxDecoder:
    """Decodes `predictions` [1, N, 5 + classes]: cx cy w h objectness scores, no logits."""

    def __init__(self, card: Card) -> None:
        options = read_options(card, YoloxOptions)
        (self._name,) = read_outputs(card, predictions=1)[0]
        cells = [grid(card.image.width, card.image.height, s, 0) for s in options.strides]
        scales = [
            np.full((len(level), 1), stride, np.float32)
            for level, stride in zip(cells, options.strides, strict=True)
        ]
        self._cells = np.concatenate(cells)
        self._scales = np.concatenate(scales)
        self._decoded = options.decoded
        self._wanted = (len(self._cells), 5 + len(card.classes))

    @np.errstate(over='ignore', invalid='ignore')  # `finish` drops what is not finite
    def __call__(
        self, outputs: Mapping[str, Array], thresholds: Thresholds, geometry: Geometry
    ) -> Detections:
        """Return what was seen; see `trt_inference.camera.decoders.Decoder`."""
        predictions = take(outputs, self._name, self._wanted)
        # a class score is at most 1, so that objectness alone rules most rows out
        rows = reaching(predictions[:, 4], thresholds.score)
        candidates = predictions[rows].astype(np.float32)
        good, classes, scores = labelled(candidates[:, 4:5] * candidates[:, 5:], thresholds)
        rows, centres, sizes = rows[good], candidates[good, :2], candidates[good, 2:4]
        if not self._decoded:
            scales = self._scales[rows]
            centres = (centres + self._cells[rows]) * scales
            sizes = np.exp(sizes) * scales
        return finish(corners(centres, sizes), scores, classes, thresholds, geometry)

    def readouts(self, outputs: Mapping[str, Array]) -> tuple[Readout, ...]:
        """Return where the candidates are; see `trt_inference.camera.decoders.Decoder`."""
        predictions = take(outputs, self._name, self._wanted)
        gate, scores, boxes = predictions[:, 4], predictions[:, 5:], predictions[:, :4]
        if self._decoded:
            return (Readout(scores, boxes, 'centres', gate=gate),)
        anchors = np.concatenate((self._cells, self._scales), axis=1)
        return (Readout(scores, boxes, 'cells', anchors=anchors, gate=gate),)
