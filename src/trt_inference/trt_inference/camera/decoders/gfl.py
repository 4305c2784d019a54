# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""NanoDet, NanoDet-Plus and PicoDet: each side of a box a distribution over distances."""

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
from trt_inference.camera.decoders.head import grid
from trt_inference.camera.decoders.head import labelled
from trt_inference.camera.decoders.head import MAX_CANDIDATES
from trt_inference.camera.decoders.head import read_strides
from trt_inference.camera.decoders.head import strongest
from trt_inference.camera.detections import Detections
from trt_inference.detector.head import read_options
from trt_inference.detector.head import read_outputs
from trt_inference.detector.head import take


@dataclass(frozen=True)
class GflOptions:
    """What the card says of the head beside its outputs."""

    strides: Annotated[
        tuple[int, ...], Allow('Pixels from cell to cell, per level', read=read_strides)
    ]
    bins: Annotated[int, Allow('Distances, in cells, that a side is spread over', 2, 64)] = 8
    center_offset: Annotated[
        float, Allow('Centre of a cell: 0.5 in NanoDet and PicoDet, 0 in NanoDet-Plus', 0, 1)
    ] = 0.5
    scores_are_logits: Annotated[bool, Allow('Whether the sigmoid is still to be done')] = False


class GflDecoder:
    """Decodes `scores` and `distances`, a tensor a stride, or `predictions` with both of all.

    Scores are [1, cells, classes], distances [1, cells, 4 * bins] as logits of left, top, right
    and bottom; predictions are [1, N, classes + 4 * bins].
    """

    def __init__(self, card: Card) -> None:
        options = read_options(card, GflOptions)
        strides = options.strides
        self._bins = options.bins
        self._logits = options.scores_are_logits
        self._classes = len(card.classes)
        if 'predictions' in card.head.outputs:
            (self._predictions,) = read_outputs(card, predictions=1)[0]
            self._levels: list[tuple[str, str]] = []
        else:
            count = len(strides)
            names = read_outputs(card, scores=count, distances=count)
            self._levels = list(zip(*names, strict=True))
        offset = options.center_offset
        cells = [grid(card.image.width, card.image.height, stride, offset) for stride in strides]
        self._centres = [level * stride for level, stride in zip(cells, strides, strict=True)]
        self._strides = [
            np.full((len(level), 1), stride, np.float32)
            for level, stride in zip(cells, strides, strict=True)
        ]
        if not self._levels:
            self._centres = [np.concatenate(self._centres)]
            self._strides = [np.concatenate(self._strides)]

    @np.errstate(over='ignore', invalid='ignore')  # `finish` drops what is not finite
    def __call__(
        self, outputs: Mapping[str, Array], thresholds: Thresholds, geometry: Geometry
    ) -> Detections:
        """Return what was seen; see `trt_inference.camera.decoders.Decoder`."""
        levels = [
            self._decode(scores, distances, centres, strides, thresholds)
            for (scores, distances), centres, strides in zip(
                self._tensors(outputs), self._centres, self._strides, strict=True
            )
        ]
        boxes, scores, classes = (np.concatenate(parts) for parts in zip(*levels, strict=True))
        return finish(boxes, scores, classes, thresholds, geometry)

    def readouts(self, outputs: Mapping[str, Array]) -> tuple[Readout, ...]:
        """Return where the candidates are; see `trt_inference.camera.decoders.Decoder`."""
        return tuple(
            Readout(
                scores,
                distances,
                'distances',
                anchors=np.concatenate((centres, strides), axis=1),
                bins=self._bins,
                logits=self._logits,
            )
            for (scores, distances), centres, strides in zip(
                self._tensors(outputs), self._centres, self._strides, strict=True
            )
        )

    def _tensors(self, outputs: Mapping[str, Array]) -> list[tuple[Array, Array]]:
        sides = 4 * self._bins
        if not self._levels:
            wanted = (len(self._centres[0]), self._classes + sides)
            predictions = take(outputs, self._predictions, wanted)
            return [(predictions[:, : self._classes], predictions[:, self._classes :])]
        return [
            (
                take(outputs, scores, (len(centres), self._classes)),
                take(outputs, distances, (len(centres), sides)),
            )
            for (scores, distances), centres in zip(self._levels, self._centres, strict=True)
        ]

    def _decode(
        self,
        scores: Array,
        distances: Array,
        centres: Array,
        strides: Array,
        thresholds: Thresholds,
    ) -> tuple[Array, Array, Array]:
        if self._logits:
            scores = 1 / (1 + np.exp(-scores.astype(np.float32)))
        rows, classes, chosen = labelled(scores, thresholds)
        if len(rows) > MAX_CANDIDATES:
            # those without a mean, which `finish` drops, take no place from others
            highest = distances.reshape(-1, 4, self._bins).max(axis=2)
            sound = np.isfinite(highest).all(axis=1)[rows]
            rows, classes, chosen = rows[sound], classes[sound], chosen[sound]
        # the distributions of the rest need not be summed
        best = strongest(chosen)
        rows, classes = rows[best], classes[best]

        bins = distances[rows].astype(np.float32).reshape(-1, 4, self._bins)
        weights = np.exp(bins - bins.max(axis=2, keepdims=True))
        cells = weights @ np.arange(self._bins, dtype=np.float32) / weights.sum(axis=2)
        reach = cells * strides[rows]
        middle = centres[rows]
        boxes = np.concatenate((middle - reach[:, :2], middle + reach[:, 2:]), axis=1)
        return boxes, chosen[best], classes
