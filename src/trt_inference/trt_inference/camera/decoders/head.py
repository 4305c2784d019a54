# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What all heads share: options and outputs checked, candidates turned into detections."""

from __future__ import annotations

import numpy as np

from trt_engine.backend import Array
from trt_engine.card import Thresholds
from trt_engine.fields import Key
from trt_engine.preprocess import Geometry
from trt_inference.camera.detections import Detections
from trt_inference.camera.nms import nms
from trt_inference.detector.head import reaching

# NMS looks at all pairs, so a threshold near 0 must not let thousands through.
MAX_CANDIDATES = 1000

# Far outside of any image; areas of boxes within are far from overflowing float32.
_FAR = 1e6

STRIDES = (4, 8, 16, 32, 64, 128)


def read_strides(value: object, key: Key) -> tuple[int, ...]:
    """Return strides as the card lists them.

    Raises:
        CardError: They are not a rising list of powers of two.
    """
    strides = tuple(value) if isinstance(value, (tuple, list)) else ()
    known = all(type(stride) is int and stride in STRIDES for stride in strides)
    if not strides or not known or list(strides) != sorted(set(strides)):
        raise key.refuse(value, f'a rising list of strides out of {", ".join(map(str, STRIDES))}')
    return strides


def labelled(scores: Array, thresholds: Thresholds) -> tuple[Array, Array, Array]:
    """Return which rows of scores, (N, classes), are candidates, with their class and score.

    Of each row the best class, or with `thresholds.multi_label` every one, that reaches the score.
    """
    if thresholds.multi_label:
        rows, classes = np.divmod(reaching(scores.ravel(), thresholds.score), scores.shape[1])
        return rows, classes, scores[rows, classes]
    rows = reaching(scores.max(axis=1), thresholds.score)
    classes = scores[rows].argmax(axis=1)
    return rows, classes, scores[rows, classes]


def strongest(scores: Array) -> Array:
    """Return the indices of the MAX_CANDIDATES highest scores, falling; the first of equals."""
    return np.argsort(-scores, kind='stable')[:MAX_CANDIDATES]


def grid(width: int, height: int, stride: int, offset: float) -> Array:
    """Return the cell centres of a feature map, row by row, (cells, 2) float32, x y in cells."""
    columns = -(-width // stride)
    rows = -(-height // stride)
    y, x = np.mgrid[:rows, :columns]
    centres: Array = np.stack((x.ravel(), y.ravel()), axis=1).astype(np.float32)
    centres += offset
    return centres


def corners(centres: Array, sizes: Array) -> Array:
    """Return x1 y1 x2 y2 of boxes given by their centres and sizes, each (N, 2)."""
    halves = sizes / 2
    return np.concatenate((centres - halves, centres + halves), axis=1)


def finish(
    boxes: Array,
    scores: Array,
    classes: Array,
    thresholds: Thresholds,
    geometry: Geometry,
    *,
    in_image: bool = False,
) -> Detections:
    """Return detections from the candidates that reach the score threshold.

    Args:
        boxes: (N, 4) x1 y1 x2 y2; rows that are not finite, or empty in the image, are dropped.
        scores: (N,), finite.
        classes: (N,) integers.
        thresholds: Of these, NMS and the largest number.
        geometry: Where the image lies in the network input.
        in_image: Whether the boxes are in pixels of the image, and not of the network, already.
    """
    candidates = np.flatnonzero(np.isfinite(boxes).all(axis=1))
    candidates = candidates[strongest(scores[candidates])]
    boxes = boxes[candidates].astype(np.float32)
    scores = scores[candidates].astype(np.float32)
    classes = classes[candidates].astype(np.int32)
    np.clip(boxes, -_FAR, _FAR, out=boxes)

    if thresholds.nms_iou is not None:
        agnostic = thresholds.class_agnostic
        stay = nms(boxes, scores, classes, thresholds.nms_iou, class_agnostic=agnostic)
        boxes, scores, classes = boxes[stay], scores[stay], classes[stay]
    if in_image:
        geometry.clip(boxes)
    else:
        geometry.boxes_to_image(boxes)
    seen = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    chosen = np.flatnonzero(seen)[: thresholds.max_detections]
    return Detections(boxes, scores, classes).select(chosen)
