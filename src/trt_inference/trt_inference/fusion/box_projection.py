# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What of a box in space is seen in an image, as the rectangle that encloses it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trt_engine.backend import Array
from trt_inference.fusion.camera_model import CameraModel
from trt_inference.rigid import FACES

_SIDES_OF_FACES = np.stack([FACES, np.roll(FACES, -1, axis=1)], axis=-1).reshape(-1, 2)
_EDGES = np.unique(np.sort(_SIDES_OF_FACES, axis=1), axis=0)  # an edge bounds two faces

# With distortion the edges of a box are curves: each is followed in so many steps.
_STEPS = 8


def enclosing_boxes(corners: Array, camera: CameraModel, near_m: float) -> Array:
    """Return the rectangles that enclose what of boxes is seen in an image.

    What is nearer to the plane of the camera than `near_m`, or behind it, is cut away before
    anything is projected; then what is outside of the image. So a rectangle is that of the visible
    part, as a detector in the image sees it, though nothing is taken to hide anything else.

    Args:
        corners: (N, 8, 3) float64 in the optical frame, in metres, in the order of
            `rigid.box_corners`.
        camera: The camera of the image.
        near_m: Least distance along the axis of the camera, above zero.

    Returns:
        (N, 4) float64, x1 y1 x2 y2 in pixels; NaN for a box of which nothing is seen.
    """
    boxes = np.full((len(corners), 4), np.nan)
    planes = _planes(camera)
    # the distance of each corner from each plane, above zero where something may be seen
    inside = corners @ planes.T - np.eye(1, len(planes))[0] * near_m
    undecided = (inside > 0).any(axis=1).all(axis=-1)
    ahead = np.flatnonzero(undecided & (inside >= 0).all(axis=(1, 2)))
    outlines = camera.project(_edges(corners[ahead], camera))
    low, high = outlines.min(axis=1), outlines.max(axis=1)
    first, last = _limits(camera)
    whole = ((low >= first) & (high <= last)).all(axis=1)
    boxes[ahead] = np.concatenate([low, high], axis=1)
    beside = ((high <= first) | (low >= last)).any(axis=1)
    boxes[ahead[beside]] = np.nan
    undecided[ahead[whole | beside]] = False
    for index in np.flatnonzero(undecided):
        boxes[index] = _visible(corners[index], inside[index], planes, camera, near_m)
    boxes[~(boxes[:, :2] < boxes[:, 2:]).all(axis=1)] = np.nan  # seen from its very edge
    return boxes


def _planes(camera: CameraModel) -> Array:
    """Return (1 + S, 3), the normals of the near plane and of the sides of the camera's outline."""
    outline = camera.outline
    if not len(outline):
        return np.array([[0.0, 0.0, 1.0]])
    following = np.roll(outline, -1, axis=0)
    # the outline runs from x to y, so that its inside is on this side of each line
    normals = np.stack(
        [
            outline[:, 1] - following[:, 1],
            following[:, 0] - outline[:, 0],
            outline[:, 0] * following[:, 1] - following[:, 0] * outline[:, 1],
        ],
        axis=-1,
    )
    return np.concatenate([[[0.0, 0.0, 1.0]], normals])


def _limits(camera: CameraModel) -> tuple[Array, Array]:
    # the middle of the first pixel is at zero, so that the image begins half a pixel before
    return np.array([-0.5, -0.5]), np.array([camera.width - 0.5, camera.height - 0.5])


def _edges(corners: Array, camera: CameraModel) -> Array:
    """Return (N, M, 3), points whose enclosing rectangle is that of the boxes."""
    if not len(camera.distortion):
        return corners
    starts, ends = corners[:, _EDGES[:, 0]], corners[:, _EDGES[:, 1]]
    parts = np.linspace(0, 1, _STEPS + 1)[:, None, None]
    along: Array = starts[:, None] + parts * (ends - starts)[:, None]
    return along.reshape(len(corners), len(parts) * len(_EDGES), 3)


def _visible(
    corners: Array, inside: Array, planes: Array, camera: CameraModel, near_m: float
) -> Array:
    """Return the rectangle of one box that is partly seen; NaN where it is not seen at all."""
    crossed = np.flatnonzero((inside < 0).any(axis=0))
    first, last = _limits(camera)
    seen = []
    for face in FACES:
        polygon = corners[face]
        for plane in crossed:
            polygon = _cut(polygon, polygon @ planes[plane] - (near_m if plane == 0 else 0.0))
        if len(camera.distortion):
            polygon = _followed(polygon)
        polygon = camera.project(polygon)
        for axis in (0, 1):
            polygon = _cut(polygon, polygon[:, axis] - first[axis])
            polygon = _cut(polygon, last[axis] - polygon[:, axis])
        seen.append(polygon)
    points = np.clip(np.concatenate(seen), first, last)  # what was cut there is off by rounding
    if not len(points):
        return np.full(4, np.nan)
    box: Array = np.concatenate([points.min(axis=0), points.max(axis=0)])
    return box


def _followed(polygon: Array) -> Array:
    """Return the corners of a polygon with points between them."""
    parts = np.arange(_STEPS)[:, None] / _STEPS
    between = polygon[:, None] + parts * (np.roll(polygon, -1, axis=0) - polygon)[:, None]
    followed: Array = between.reshape(-1, polygon.shape[1])
    return followed


def _cut(polygon: Array, inside: Array) -> Array:
    """Return what of a polygon is on the good side of a line or plane.

    Args:
        polygon: (M, D), its corners in their order.
        inside: (M,), distance of each from the line, zero or more on the good side.
    """
    good = inside >= 0
    if good.all():
        return polygon
    kept: list[Sequence[float]] = []
    for here in range(len(polygon)):
        before = here - 1
        if good[here] != good[before]:
            part = inside[before] / (inside[before] - inside[here])
            kept.append(polygon[before] + part * (polygon[here] - polygon[before]))
        if good[here]:
            kept.append(polygon[here])
    return np.array(kept).reshape(-1, polygon.shape[1])
