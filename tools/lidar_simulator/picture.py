# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A sweep from above, as a picture: points by intensity, boxes with a line to their front."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from trt_engine.backend import Array

# blue, green, red
_COLOURS = ((80, 180, 255), (60, 220, 220), (90, 110, 255), (120, 255, 120), (255, 190, 80))


def birds_eye(
    points: Array,
    boxes: Array,
    kinds: Array,
    names: Sequence[str],
    *,
    reach_m: float = 50.0,
    pixels: int = 1000,
) -> Array:
    """Return (pixels, pixels, 3) uint8, blue first; x goes up, y to the left.

    Args:
        points: (N, 4), x, y, z, intensity from 0 to 1.
        boxes: (M, 7), x, y, z, length, width, height, yaw.
        kinds: (M,) index into `names`.
        names: For the key in the corner.
        reach_m: From the middle, where the sensor is, to an edge.
        pixels: Of an edge.
    """
    picture = np.full((pixels, pixels, 3), 18, np.uint8)
    scale = pixels / 2 / reach_m
    places = _to_pixels(points[:, :2], scale, pixels)
    inside = ((places >= 0) & (places < pixels)).all(axis=1)
    column, row = places[inside].astype(int).T
    grey = 70 + 185 * np.sqrt(np.clip(points[inside, 3], 0, 1))
    picture[row, column] = grey[:, None].astype(np.uint8)
    for box, kind in zip(boxes, kinds, strict=True):
        colour = _COLOURS[kind % len(_COLOURS)]
        outline = _to_pixels(_outline(box), scale, pixels)
        corners, front = outline[:4], outline[4:]
        for line, closed in ((corners, True), (front, False)):
            fixed = np.round(line * 8).astype(np.int32)
            cv2.polylines(picture, [fixed], closed, colour, 1, cv2.LINE_AA, 3)
    for place, name in enumerate(names):
        origin = (12, 24 + 22 * place)
        colour = _COLOURS[place % len(_COLOURS)]
        cv2.putText(picture, name, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.55, colour, 1, cv2.LINE_AA)
    return picture


def _outline(box: Array) -> Array:
    """Return the four corners, then the middle and the front of a box, (6, 2) in metres."""
    shape = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1], [0, 0], [1, 0]]) / 2 * box[3:5]
    cos, sin = np.cos(box[6]), np.sin(box[6])
    turned: Array = shape @ np.array([[cos, sin], [-sin, cos]]) + box[:2]
    return turned


def _to_pixels(places: Array, scale: float, pixels: int) -> Array:
    flipped: Array = pixels / 2 - places[:, ::-1] * scale
    return flipped
