# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""YOLO v5 to v12, v26, and their relatives: boxes decoded to network pixels by the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from typing import Literal

import numpy as np

from trt_engine.backend import Array
from trt_engine.card import Card
from trt_engine.card import Thresholds
from trt_engine.cuda.detections import Readout
from trt_engine.fields import Allow
from trt_engine.preprocess import Geometry
from trt_inference.camera.decoders.head import corners
from trt_inference.camera.decoders.head import finish
from trt_inference.camera.decoders.head import labelled
from trt_inference.camera.detections import Detections
from trt_inference.detector.head import class_indices
from trt_inference.detector.head import reaching
from trt_inference.detector.head import read_options
from trt_inference.detector.head import read_outputs
from trt_inference.detector.head import take


@dataclass(frozen=True)
class YoloOptions:
    """What the card says of the head beside its outputs."""

    form: Annotated[
        Literal['anchor_free', 'objectness', 'end_to_end'],
        Allow(
            'anchor_free: [1, 4 + classes, N], v8 v9 11 12; objectness: [1, N, 5 + classes], '
            'v5 v7; end_to_end: [1, N, 6] x1 y1 x2 y2 score class, v10 26'
        ),
    ]


class YoloDecoder:
    """Decodes `predictions` in one of three forms, all in network pixels and no logits."""

    def __init__(self, card: Card) -> None:
        self._form = read_options(card, YoloOptions).form
        self._decode = {
            'anchor_free': self._anchor_free,
            'objectness': self._objectness,
            'end_to_end': self._end_to_end,
        }[self._form]
        (self._name,) = read_outputs(card, predictions=1)[0]
        self._classes = len(card.classes)

    @np.errstate(over='ignore', invalid='ignore')  # `finish` drops what is not finite
    def __call__(
        self, outputs: Mapping[str, Array], thresholds: Thresholds, geometry: Geometry
    ) -> Detections:
        """Return what was seen; see `trt_inference.camera.decoders.Decoder`."""
        boxes, scores, classes = self._decode(outputs, thresholds)
        return finish(boxes, scores, classes, thresholds, geometry)

    def readouts(self, outputs: Mapping[str, Array]) -> tuple[Readout, ...]:
        """Return where the candidates are; see `trt_inference.camera.decoders.Decoder`."""
        if self._form == 'anchor_free':
            rows = take(outputs, self._name, (4 + self._classes, 'N')).T
            return (Readout(rows[:, 4:], rows[:, :4], 'centres'),)
        if self._form == 'objectness':
            rows = take(outputs, self._name, ('N', 5 + self._classes))
            return (Readout(rows[:, 5:], rows[:, :4], 'centres', gate=rows[:, 4]),)
        rows = take(outputs, self._name, ('N', 6))
        labels = rows[:, 5]
        return (
            Readout(rows[:, 4:5], rows[:, :4], 'corners', labels=labels, labels_name=self._name),
        )

    def _anchor_free(
        self, outputs: Mapping[str, Array], thresholds: Thresholds
    ) -> tuple[Array, Array, Array]:
        predictions = take(outputs, self._name, (4 + self._classes, 'N'))
        columns, classes, scores = labelled(predictions[4:].T, thresholds)
        boxes = predictions[:4, columns].astype(np.float32).T
        return corners(boxes[:, :2], boxes[:, 2:]), scores, classes

    def _objectness(
        self, outputs: Mapping[str, Array], thresholds: Thresholds
    ) -> tuple[Array, Array, Array]:
        predictions = take(outputs, self._name, ('N', 5 + self._classes))
        # a class score is at most 1, so that objectness alone rules most rows out
        candidates = predictions[reaching(predictions[:, 4], thresholds.score)].astype(np.float32)
        rows, classes, scores = labelled(candidates[:, 4:5] * candidates[:, 5:], thresholds)
        return corners(candidates[rows, :2], candidates[rows, 2:4]), scores, classes

    def _end_to_end(
        self, outputs: Mapping[str, Array], thresholds: Thresholds
    ) -> tuple[Array, Array, Array]:
        predictions = take(outputs, self._name, ('N', 6))
        rows = reaching(predictions[:, 4], thresholds.score)
        rows = rows[np.isfinite(predictions[rows, 5])]
        classes = class_indices(predictions[rows, 5], self._name, self._classes)
        return predictions[rows, :4], predictions[rows, 4], classes
