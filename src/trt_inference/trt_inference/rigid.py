# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Turns and shifts: quaternions as matrices, corners of boxes, points in another frame."""

from __future__ import annotations

import numpy as np

from trt_engine.backend import Array

# One face then the opposite one, as `FACES` counts them.
_CORNERS = np.array(
    [
        [-0.5, -0.5, -0.5], [0.5, -0.5, -0.5], [0.5, 0.5, -0.5], [-0.5, 0.5, -0.5],
        [-0.5, -0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, 0.5], [-0.5, 0.5, 0.5],
    ]
)  # fmt: skip
# Which corners bound each face, in their order around it.
FACES = np.array(
    [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 5, 4], [3, 2, 6, 7], [0, 3, 7, 4], [1, 2, 6, 5]]
)


def rotations(quaternions: Array) -> Array:
    """Return (..., 3, 3) float64, the turns that quaternions (..., 4) in x y z w stand for.

    Their length should be 1; what it is off is made up for.
    """
    x, y, z, w = np.moveaxis(np.asarray(quaternions, np.float64), -1, 0)
    lengths = x * x + y * y + z * z + w * w
    rows = [
        [y * y + z * z, w * z - x * y, -w * y - x * z],
        [-w * z - x * y, x * x + z * z, w * x - y * z],
        [w * y - x * z, -w * x - y * z, x * x + y * y],
    ]
    off = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    turned: Array = np.eye(3) - 2 / lengths[..., None, None] * off
    return turned


def is_turn(quaternion: Array) -> Array:
    """Return whether quaternions (..., 4) have a length near 1, as those of rotations have."""
    lengths = (np.asarray(quaternion, np.float64) ** 2).sum(axis=-1)
    near: Array = (lengths > 0.5) & (lengths < 2.0)
    return near


def transform(shift: Array, quaternion: Array) -> Array:
    """Return 4x4 float64: a turn by a quaternion x y z w, then a shift x y z."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotations(quaternion)
    matrix[:3, 3] = shift
    return matrix


def box_corners(centers: Array, sizes: Array, quaternions: Array) -> Array:
    """Return (N, 8, 3) float64, the corners of boxes, in the order that `FACES` knows.

    Args:
        centers: (N, 3), in metres.
        sizes: (N, 3), along the axes of each box, in metres.
        quaternions: (N, 4), x y z w, from the axes of each box to those of the frame.
    """
    corners: Array = np.einsum('nij,nkj->nki', rotations(quaternions), _CORNERS * sizes[:, None])
    corners += centers[:, None]
    return corners


def moved(points: Array, matrix: Array) -> Array:
    """Return points (..., 3) in the frame to which a 4x4 transform leads."""
    result: Array = points @ matrix[:3, :3].T + matrix[:3, 3]
    return result
