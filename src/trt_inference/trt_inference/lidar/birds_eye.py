# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A cloud from above, as a picture: points by height, boxes with a line to their front."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from trt_engine.backend import Array
from trt_inference.detector.colors import class_color
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.point_view import PointView

REACH_M = 45.0
PIXELS = 900
_BACKGROUND = 18
_RING = 44
_RING_STEP_M = 10
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FRACTION_BITS = 3  # of places that OpenCV takes as whole numbers


def draw(
    points: Array,
    boxes: Boxes3d,
    classes: Sequence[str],
    *,
    reach_m: float = REACH_M,
    pixels: int = PIXELS,
) -> Array:
    """Return (pixels, pixels, 3) uint8, blue first; x goes up, y to the left.

    Points are the brighter the higher they are, from the lowest twentieth to the highest. Rings are
    10 m apart.

    Args:
        points: (N, at least 3), x, y, z in metres; those that are not finite are not drawn.
        boxes: In the frame of the points.
        classes: Names, in the order of the network.
        reach_m: From the middle, where the sensor is, to an edge.
        pixels: Of an edge.
    """
    picture = np.full((pixels, pixels, 3), _BACKGROUND, np.uint8)
    scale = pixels / 2 / reach_m
    _rings(picture, scale, reach_m)
    _points(picture, scale, points[np.isfinite(points[:, :3]).all(axis=1), :3])
    for footprint, label in zip(boxes.footprints(), boxes.classes.tolist(), strict=True):
        corners, front = _outline(footprint)
        color = class_color(label)
        for line, closed in ((corners, True), (front, False)):
            places = _to_pixels(line, scale, pixels) * 2**_FRACTION_BITS
            # far outside of the picture is far enough
            fixed = np.clip(np.nan_to_num(places), -(2**24), 2**24).round().astype(np.int32)
            cv2.polylines(picture, [fixed], closed, color, 1, cv2.LINE_AA, _FRACTION_BITS)
    counts = np.bincount(boxes.classes, minlength=len(classes))
    for place, name in enumerate(classes):
        text = f'{name} {counts[place]}'
        origin = (12, 24 + 22 * place)
        cv2.putText(picture, text, origin, _FONT, 0.55, class_color(place), 1, cv2.LINE_AA)
    return picture


def places(view: PointView) -> Array:
    """Return (N, 3) float32, x, y and z of a cloud; of one without them, no point."""
    columns = [view.columns.get(axis) for axis in 'xyz']
    found = [np.ravel(column) for column in columns if column is not None]
    if len(found) < len(columns):
        return np.zeros((0, 3), np.float32)
    with np.errstate(over='ignore', invalid='ignore'):  # what does not fit is not finite, then
        return np.stack(found, axis=1).astype(np.float32)


def _rings(picture: Array, scale: float, reach_m: float) -> None:
    middle = picture.shape[0] // 2
    for radius_m in range(_RING_STEP_M, int(reach_m * 1.5), _RING_STEP_M):
        radius = round(radius_m * scale)
        cv2.circle(picture, (middle, middle), radius, (_RING,) * 3, 1, cv2.LINE_AA)


def _points(picture: Array, scale: float, points: Array) -> None:
    spots = _to_pixels(points[:, :2], scale, len(picture))
    inside = ((spots >= 0) & (spots < len(picture))).all(axis=1)
    heights = points[inside, 2]
    if not len(heights):
        return
    low, high = np.percentile(heights, (5, 95))
    bright = np.clip((heights - low) / max(high - low, 1e-3), 0, 1)
    # the highest last: it is what one sees from above
    order = np.argsort(heights, kind='stable')
    column, row = spots[inside][order].astype(int).T
    picture[row, column] = (70 + 185 * np.sqrt(bright[order]))[:, None].astype(np.uint8)


def _outline(footprint: Array) -> tuple[Array, Array]:
    """Return the four corners, then the middle and the front of a box, in metres."""
    shape = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1], [0, 0], [1, 0]]) / 2 * footprint[2:4]
    cos, sin = np.cos(footprint[4]), np.sin(footprint[4])
    turned: Array = shape @ np.array([[cos, sin], [-sin, cos]]) + footprint[:2]
    return turned[:4], turned[4:]


def _to_pixels(spots: Array, scale: float, pixels: int) -> Array:
    flipped: Array = pixels / 2 - spots[:, ::-1] * scale
    return flipped
