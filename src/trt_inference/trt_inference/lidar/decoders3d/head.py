# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What all lidar heads share: the grid of cells, scores from logits, candidates made boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trt_engine.backend import Array
from trt_engine.card import Card
from trt_engine.card import Thresholds
from trt_engine.cuda.readouts3d import logit
from trt_engine.lidar_card import PointsInput
from trt_inference.detector.head import head_key
from trt_inference.detector.head import reaching
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.boxes3d import wrapped
from trt_inference.lidar.nms3d import circle_nms
from trt_inference.lidar.nms3d import rotated_nms

# As many as the networks' own evaluation looks at before NMS.
MAX_CANDIDATES = 4096


@dataclass(frozen=True)
class Cells:
    """The output grid: `stride` pillars to a cell along both axes."""

    columns: int
    rows: int
    low_m: tuple[float, float]
    size_m: tuple[float, float]


def read_cells(card: Card, points: PointsInput, stride: int) -> Cells:
    """Return the output grid of a network.

    Raises:
        CardError: The grid of pillars is not a multiple of the stride.
    """
    columns, rows = points.grid
    if columns % stride or rows % stride:
        raise (head_key(card) / 'stride').refuse(
            stride, f'a divisor of the grid of {columns} * {rows} pillars'
        )
    size_m = (points.voxel_m[0] * stride, points.voxel_m[1] * stride)
    return Cells(columns // stride, rows // stride, points.range_m[:2], size_m)


def scored(
    values: Array, thresholds: Thresholds, *, logits: bool = True
) -> tuple[Array, Array, Array]:
    """Return which rows of scores, (N, classes), are candidates, with their class and score.

    Of each row the best class, or with `thresholds.multi_label` every one, that reaches the score;
    rows with a number that is not finite among the candidates count for nothing.

    Args:
        values: The scores, or their logits.
        thresholds: Of these, the score, and whether a row may have several classes.
        logits: Which of the two they are.
    """
    # comparing logits saves a million exponentials
    least = logit(thresholds.score) if logits else thresholds.score
    flat = reaching(values.ravel(), least)
    rows, classes = np.divmod(flat, values.shape[1])
    if not thresholds.multi_label:
        rows = np.unique(rows)
        classes = values[rows].argmax(axis=1)
    chosen = values[rows, classes].astype(np.float32)
    finite = np.isfinite(chosen)
    rows, classes, chosen = rows[finite], classes[finite], chosen[finite]
    return rows, classes, sigmoid(chosen) if logits else chosen


def sigmoid(logits: Array) -> Array:
    """Return 1 / (1 + exp(-x)) without an overflow."""
    small = np.exp(-np.abs(logits))
    result: Array = np.where(logits >= 0, 1, small) / (1 + small)
    return result


def finish(boxes: Boxes3d, thresholds: Thresholds, *, circle_m: float | None = None) -> Boxes3d:
    """Return the boxes that stay of candidates that reach the score.

    Args:
        boxes: In any order; those that are not finite, or have no extent, are dropped.
        thresholds: Of these, NMS and the largest number.
        circle_m: Distance of centres up to which the lower score goes, before NMS.
    """
    numbers = np.concatenate((boxes.centers, boxes.sizes, boxes.yaws[:, None]), axis=1)
    good = np.flatnonzero(np.isfinite(numbers).all(axis=1) & (boxes.sizes > 0).all(axis=1))
    best = good[np.argsort(-boxes.scores[good], kind='stable')[:MAX_CANDIDATES]]
    boxes = boxes.select(best)
    agnostic, limit = thresholds.class_agnostic, thresholds.max_detections
    if circle_m is not None:
        # what overlap strikes out afterwards must not have taken a place
        most = limit if thresholds.nms_iou is None else MAX_CANDIDATES
        places = boxes.centers[:, :2].astype(np.float64)
        boxes = boxes.select(
            circle_nms(
                places, boxes.scores, boxes.classes, circle_m, class_agnostic=agnostic, limit=most
            )
        )
    if thresholds.nms_iou is not None:
        stay = rotated_nms(
            boxes.footprints(),
            boxes.scores,
            boxes.classes,
            thresholds.nms_iou,
            class_agnostic=agnostic,
            limit=limit,
        )
        boxes = boxes.select(stay)
    return boxes.select(np.arange(min(len(boxes), limit)))


def assembled(
    centers: Array,
    sizes: Array,
    yaws: Array,
    velocities: Array | None,
    scores: Array,
    classes: Array,
) -> Boxes3d:
    """Return candidates as boxes, of the types that `Boxes3d` promises; a yaw is wrapped."""
    if velocities is None:
        velocities = np.full((len(scores), 2), np.nan)
    return Boxes3d(
        centers.astype(np.float32),
        sizes.astype(np.float32),
        # float32 rounds the last numbers below pi up to it
        wrapped(wrapped(yaws.astype(np.float64)).astype(np.float32)).astype(np.float32),
        velocities.astype(np.float32),
        scores.astype(np.float32),
        classes.astype(np.int32),
    )
