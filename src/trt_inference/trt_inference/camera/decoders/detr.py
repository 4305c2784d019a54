# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""RT-DETR, D-FINE, DEIM and their relatives: a fixed number of queries, no NMS needed."""

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
from trt_inference.detector.head import head_key
from trt_inference.detector.head import reaching
from trt_inference.detector.head import read_options
from trt_inference.detector.head import read_outputs
from trt_inference.detector.head import take


@dataclass(frozen=True)
class DetrOptions:
    """What the card says of the head beside its outputs."""

    form: Annotated[
        Literal['decoded', 'normalized'],
        Allow(
            'decoded: labels, boxes and scores, boxes in pixels of the original image; '
            'normalized: predictions [1, N, 4 + classes], cx cy w h from 0 to 1 and scores'
        ),
    ]


class DetrDecoder:
    """Decodes `labels`, `boxes`, `scores` of the original image, or normalised `predictions`."""

    def __init__(self, card: Card) -> None:
        self._form = read_options(card, DetrOptions).form
        self._classes = len(card.classes)
        if self._form == 'decoded':
            names = read_outputs(card, labels=1, boxes=1, scores=1)
            self._labels, self._boxes, self._scores = (name for (name,) in names)
            if card.image.size_tensor is None or card.image.resize.mode != 'stretch':
                raise (head_key(card) / 'form').refuse(
                    'decoded', 'with input.size_tensor and input.resize.mode stretch'
                )
        else:
            (self._predictions,) = read_outputs(card, predictions=1)[0]
            self._scale = np.array([card.image.width, card.image.height], np.float32)

    @np.errstate(over='ignore', invalid='ignore')  # `finish` drops what is not finite
    def __call__(
        self, outputs: Mapping[str, Array], thresholds: Thresholds, geometry: Geometry
    ) -> Detections:
        """Return what was seen; see `trt_inference.camera.decoders.Decoder`."""
        if self._form == 'decoded':
            scores = take(outputs, self._scores, ('N',))
            labels = take(outputs, self._labels, (len(scores),))
            boxes = take(outputs, self._boxes, (len(scores), 4))
            rows = reaching(scores, thresholds.score)
            classes = class_indices(labels[rows], self._labels, self._classes)
            return finish(boxes[rows], scores[rows], classes, thresholds, geometry, in_image=True)
        predictions = take(outputs, self._predictions, ('N', 4 + self._classes))
        rows, classes, scores = labelled(predictions[:, 4:], thresholds)
        boxes = predictions[rows, :4].astype(np.float32)
        boxes = corners(boxes[:, :2] * self._scale, boxes[:, 2:] * self._scale)
        return finish(boxes, scores, classes, thresholds, geometry)

    def readouts(self, outputs: Mapping[str, Array]) -> tuple[Readout, ...]:
        """Return where the candidates are; see `trt_inference.camera.decoders.Decoder`."""
        if self._form == 'decoded':
            scores = take(outputs, self._scores, ('N',))
            labels = take(outputs, self._labels, (len(scores),))
            boxes = take(outputs, self._boxes, (len(scores), 4))
            return (
                Readout(
                    scores[:, None],
                    boxes,
                    'corners',
                    labels=labels,
                    labels_name=self._labels,
                    in_image=True,
                ),
            )
        predictions = take(outputs, self._predictions, ('N', 4 + self._classes))
        width, height = self._scale
        scale = (float(width), float(height))
        return (Readout(predictions[:, 4:], predictions[:, :4], 'centres', scale),)
