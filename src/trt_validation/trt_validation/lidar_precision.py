# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Average precision of boxes seen from above, by class and by distance from the sensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from trt_engine.backend import Array
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.nms3d import rotated_iou

RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True, eq=False)
class Truth:
    """What was there in one cloud.

    Attributes:
        footprints: (M, 5) float64, x, y, length, width, yaw.
        classes: (M,) integers.
        counted: (M,) bool; what finds one of the others counts neither for nor against.
    """

    footprints: Array
    classes: Array
    counted: Array


@dataclass(frozen=True)
class Rule:
    """When a box has found a thing of its class; heights do not matter.

    Attributes:
        by: `iou`: their rectangles, turned as they are, overlap by at least `limit` of what both
            cover. `centre`: their middles are at most `limit` metres apart.
        limit: From which, or up to which.
    """

    by: Literal['iou', 'centre']
    limit: float

    def __str__(self) -> str:
        if self.by == 'iou':
            return f'rotated IoU from above of at least {self.limit:g}'
        return f'centres at most {self.limit:g} m apart'

    def closeness(self, found: Array, there: Array) -> Array:
        """Return (N, M), the greater the closer; see `least`."""
        closeness: Array
        if self.by == 'iou':
            closeness = rotated_iou(found[:, None], there)
        else:
            apart = found[:, None, :2] - there[:, :2]
            closeness = -np.hypot(apart[..., 0], apart[..., 1])
        return closeness

    @property
    def least(self) -> float:
        """Return the closeness from which a thing is found."""
        return self.limit if self.by == 'iou' else -self.limit


def average_precision(
    found: Sequence[Boxes3d],
    truth: Sequence[Truth],
    kind: int,
    rule: Rule,
    *,
    within_m: tuple[float, float] = (0.0, np.inf),
) -> float:
    """Return the mean precision at 101 recalls; NaN where nothing of the class is there.

    In each cloud the box with the highest score chooses first: the closest thing that no box has
    found yet. Precision at a recall is the best one at that recall or above.

    Args:
        found: What was seen in each cloud.
        truth: What was there.
        kind: The class.
        rule: When a box has found a thing.
        within_m: Distances from the sensor to look at, the upper one excluded.
    """
    scores, hits, total = [], [], 0
    for boxes, there in zip(found, truth, strict=True):
        mine = boxes.select(boxes.classes == kind)
        wanted = there.classes == kind
        places, counted = there.footprints[wanted], there.counted[wanted].copy()
        counted &= _within(places, within_m)
        total += int(counted.sum())
        footprints = mine.footprints()
        outcome = _outcomes(rule.closeness(footprints, places), counted, rule.least)
        # what lies elsewhere and finds nothing that counts is of no concern here
        concerned = (outcome == 1) | ((outcome == 0) & _within(footprints, within_m))
        scores.append(mine.scores[concerned])
        hits.append(outcome[concerned])
    if total == 0:
        return float('nan')
    order = np.argsort(-np.concatenate(scores), kind='stable')
    right = np.cumsum(np.concatenate(hits)[order])
    precision = right / np.arange(1, len(order) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(right / total, RECALLS - 1e-12)
    return float(np.append(best_from_here, 0.0)[np.minimum(at, len(order))].mean())


def _within(places: Array, within_m: tuple[float, float]) -> Array:
    away = np.hypot(places[:, 0], places[:, 1])
    inside: Array = (away >= within_m[0]) & (away < within_m[1])
    return inside


def _outcomes(closeness: Array, counted: Array, least: float) -> Array:
    """Return 1 for each row that finds a thing of its own, 0 for a false one, -1 for neither."""
    outcome = np.zeros(len(closeness), np.int64)
    if not closeness.shape[1]:
        return outcome
    free = counted.copy()
    for row, values in enumerate(closeness):
        best = int(np.argmax(np.where(free, values, -np.inf)))
        if free[best] and values[best] >= least:
            outcome[row] = 1
            free[best] = False
        elif (values[~counted] >= least).any():
            outcome[row] = -1
    return outcome
