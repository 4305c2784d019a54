# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Greedy non-maximum suppression, class-wise unless told otherwise."""

from __future__ import annotations

import numpy as np

from trt_engine.backend import Array

# Up to here one matrix of all pairs is faster than one for each class (measured).
_ONE_MATRIX = 128


def nms(
    boxes: Array, scores: Array, classes: Array, iou: float, *, class_agnostic: bool = False
) -> Array:
    """Return the indices of the boxes that stay, the highest score first.

    A box goes when it overlaps one that stays, of its own class, by more than `iou`. Of equal
    scores the earlier box goes first, so that equal inputs give equal outputs everywhere.

    Args:
        boxes: (N, 4) float32, x1 y1 x2 y2, finite.
        scores: (N,) float32, finite.
        classes: (N,) integers.
        iou: Overlap, intersection over union, above which the lower score goes.
        class_agnostic: Whether boxes of different classes compete.
    """
    order = np.argsort(-scores, kind='stable')
    boxes = boxes[order]
    classes = classes[order]
    if class_agnostic:
        return order[_survivors(boxes, None, iou)]
    if len(order) <= _ONE_MATRIX:
        return order[_survivors(boxes, classes, iou)]
    by_class = np.argsort(classes, kind='stable')
    cuts = np.flatnonzero(np.diff(classes[by_class])) + 1
    groups = np.split(by_class, cuts)
    stay = np.concatenate([group[_survivors(boxes[group], None, iou)] for group in groups])
    kept: Array = order[np.sort(stay)]
    return kept


def _survivors(boxes: Array, classes: Array | None, iou: float) -> Array:
    """Return the indices that stay of boxes sorted by falling score."""
    x1, y1, x2, y2 = np.ascontiguousarray(boxes.T)
    areas = (x2 - x1) * (y2 - y1)
    shared = np.minimum(x2[:, None], x2)
    shared -= np.maximum(x1[:, None], x1)
    np.maximum(shared, 0, out=shared)
    tall = np.minimum(y2[:, None], y2)
    tall -= np.maximum(y1[:, None], y1)
    shared *= np.maximum(tall, 0, out=tall)
    either = areas[:, None] + areas
    either -= shared
    either *= iou
    rivals = shared > either
    if classes is not None:
        rivals &= classes[:, None] == classes

    # One step a box, not a pair: a box that stays strikes out its row at once.
    undecided = np.ones(len(boxes), bool)
    stay = []
    for index in range(len(boxes)):
        if undecided[index]:
            stay.append(index)
            undecided &= ~rivals[index]
    return np.array(stay, np.intp)
