# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Overlap of turned rectangles seen from above, and suppression by overlap or by distance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trt_engine.backend import Array

# Unit square, counter-clockwise.
_CORNERS = np.array([[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]])
# An area below this share of the product of both extents comes of rounding: CPU and GPU, which
# round differently, must agree on who overlaps at all.
_ROUNDING = 1e-12


def rotated_iou(first: Array, second: Array) -> Array:
    """Return intersection over union of rectangles, pair by pair, exact but for rounding.

    Args:
        first: (..., 5): x, y, length, width, yaw.
        second: The same; both are broadcast against each other.
    """
    shared = _shared_area(np.asarray(first, np.float64), np.asarray(second, np.float64))
    areas = [boxes[..., 2] * boxes[..., 3] for boxes in (first, second)]
    union = areas[0] + areas[1] - shared
    # two boxes without an area have nothing in common
    iou: Array = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return iou


def rotated_nms(
    boxes: Array, scores: Array, classes: Array, iou: float, *, class_agnostic: bool, limit: int
) -> Array:
    """Return the indices of the boxes that stay, the highest score first.

    A box goes when it overlaps one that stays, of its own class, by more than `iou`. Of equal
    scores the earlier box goes first, so that equal inputs give equal outputs everywhere.

    Args:
        boxes: (N, 5) float64, x, y, length, width, yaw, finite.
        scores: (N,), finite.
        classes: (N,) integers.
        iou: Overlap above which the lower score goes.
        class_agnostic: Whether boxes of different classes compete.
        limit: The most boxes that may stay.
    """
    reach = np.hypot(boxes[:, 2], boxes[:, 3]) / 2

    def rivals(best: int, others: Array) -> Array:
        apart = np.hypot(*(boxes[others, :2] - boxes[best, :2]).T)
        near: Array = apart < reach[others] + reach[best]
        # most boxes are far from each other, and a distance is quickly reckoned
        near[near] = rotated_iou(boxes[others[near]], boxes[best]) > iou
        return near

    return _survivors(rivals, scores, None if class_agnostic else classes, limit)


def circle_nms(
    centers: Array,
    scores: Array,
    classes: Array,
    distance_m: float,
    *,
    class_agnostic: bool,
    limit: int,
) -> Array:
    """Return the indices of the boxes that stay; as `rotated_nms`, by distance of the centres.

    Args:
        centers: (N, 2), x and y, finite.
        scores: (N,), finite.
        classes: (N,) integers.
        distance_m: A box goes that is as near as this, or nearer, to one that stays.
        class_agnostic: Whether boxes of different classes compete.
        limit: The most boxes that may stay.
    """

    def rivals(best: int, others: Array) -> Array:
        near: Array = np.hypot(*(centers[others] - centers[best]).T) <= distance_m
        return near

    return _survivors(rivals, scores, None if class_agnostic else classes, limit)


def _survivors(
    rivals: Callable[[int, Array], Array], scores: Array, classes: Array | None, limit: int
) -> Array:
    left = np.argsort(-scores, kind='stable')
    stay: list[int] = []
    while len(left) and len(stay) < limit:
        best, left = int(left[0]), left[1:]
        stay.append(best)
        beaten = rivals(best, left)
        if classes is not None:
            beaten &= classes[left] == classes[best]
        left = left[~beaten]
    return np.array(stay, np.intp)


def _shared_area(first: Array, second: Array) -> Array:
    """Return the area that two rectangles share.

    In the frame of the second one it is the integral, along the outline of the first, of y clamped
    to the second's width, x clamped to its length: no corners to sort, and no special cases for
    edges that coincide or are parallel.
    """
    cos, sin = np.cos(second[..., 4]), np.sin(second[..., 4])
    away = first[..., :2] - second[..., :2]
    turn = first[..., 4] - second[..., 4]
    middle_x = away[..., 0] * cos + away[..., 1] * sin
    middle_y = away[..., 1] * cos - away[..., 0] * sin
    along = _CORNERS[:, 0] * first[..., 2, None]
    across = _CORNERS[:, 1] * first[..., 3, None]
    cos, sin = np.cos(turn)[..., None], np.sin(turn)[..., None]
    x0 = middle_x[..., None] + along * cos - across * sin
    y0 = middle_y[..., None] + along * sin + across * cos
    x1, y1 = np.roll(x0, -1, axis=-1), np.roll(y0, -1, axis=-1)

    half_x, half_y = second[..., 2, None] / 2, second[..., 3, None] / 2
    left, right = np.clip(x0, -half_x, half_x), np.clip(x1, -half_x, half_x)
    start, end = _height(left, x0, y0, x1, y1), _height(right, x0, y0, x1, y1)
    mean = _clamped_mean(start, end, half_y)
    # the outline runs counter-clockwise, so that what lies below it counts negative
    area: Array = ((left - right) * mean).sum(axis=-1)
    least = _ROUNDING * first[..., 2:4].sum(-1) * second[..., 2:4].sum(-1)
    return np.where(area > least, area, 0)


def _height(x: Array, x0: Array, y0: Array, x1: Array, y1: Array) -> Array:
    """Return y at x on the line from (x0, y0) to (x1, y1); at x0 where it is upright."""
    run = x1 - x0
    part = np.divide(x - x0, run, out=np.zeros_like(run), where=run != 0)
    height: Array = y0 + np.clip(part, 0, 1) * (y1 - y0)
    return height


def _clamped_mean(start: Array, end: Array, half: Array) -> Array:
    """Return the mean of values from start to end, each clamped to -half..half."""
    rise = end - start
    steps = []
    for limit in (-half, half):
        step = np.divide(limit - start, rise, out=np.zeros_like(rise), where=rise != 0)
        steps.append(np.clip(step, 0, 1))
    low, high = np.minimum(*steps), np.maximum(*steps)
    # between these steps the clamped value is linear
    at = [np.clip(start + step * rise, -half, half) for step in (np.zeros_like(low), low, high)]
    at.append(np.clip(end, -half, half))
    mean: Array = (
        low * (at[0] + at[1]) + (high - low) * (at[1] + at[2]) + (1 - high) * (at[2] + at[3])
    ) / 2
    return mean
