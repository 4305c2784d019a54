# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Where in an image of a calibrated camera a point is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
import math

import cv2
import numpy as np

from trt_engine.backend import Array
from trt_engine.errors import FusionError

# Numbers of coefficients, in the order of OpenCV, that ROS drivers publish under each name.
_COEFFICIENTS = {'plumb_bob': (4, 5), 'rational_polynomial': (8, 12, 14)}
_MOST = 1e6  # of what a calibration may hold: far beyond any lens, and it does not overflow

# Beyond a slope of 10 (84 degrees from the axis) these models of a lens say nothing.
_SLOPES = np.linspace(0.0, 10.0, 4097)
_SIDES = 16
_TANGENTIAL = 1.05  # what the decentring of a lens may move a point outwards, and more


@dataclass(frozen=True)
class Calibration:
    """What a CameraInfo says, as it says it.

    Attributes:
        width: Of the full image, in pixels.
        height: Of the full image, in pixels.
        model: Name of the distortion model.
        d: Its coefficients; none for a lens without distortion.
        k: 9 numbers, the rows of the camera matrix of the raw image.
        p: 12 numbers, the rows of the projection matrix of the rectified image.
        binning: How many pixels, across and down, were made one; 0 is 1.
        roi: Left, top, width and height of the part that was read, before binning; zeros: all.
    """

    width: int
    height: int
    model: str
    d: tuple[float, ...]
    k: tuple[float, ...]
    p: tuple[float, ...]
    binning: tuple[int, int] = (0, 0)
    roi: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class CameraModel:
    """The camera of one image, in its optical frame: x right, y down, z ahead, in metres.

    Attributes:
        width: Of the image, in pixels.
        height: Of the image, in pixels.
        matrix: (3, 4) float64, from slopes (x/z, y/z, 1) and 1/z to pixels.
        distortion: Coefficients in the order of OpenCV; none for a pinhole.
        outline: (S, 2) float64, the corners, in slopes, of a convex area outside of which nothing
            is seen; of a pinhole none, as only the image bounds it.
    """

    width: int
    height: int
    matrix: Array
    distortion: Array
    outline: Array = field(repr=False)

    def __str__(self) -> str:
        lens = f'{len(self.distortion)} coefficients' if len(self.distortion) else 'a pinhole'
        return f'{self.width}x{self.height}, {lens}, focal length {self.matrix[0, 0]:.1f} px'

    def project(self, points: Array) -> Array:
        """Return the pixels where points are seen.

        Args:
            points: (..., 3) float64 in the optical frame, in metres, z above zero; with
                distortion within `outline`, as the model folds back what is far outside of it.

        Returns:
            (..., 2) float64, x and y; the middle of the first pixel is at zero.
        """
        depth = points[..., 2:]
        slopes = points[..., :2] / depth
        if len(self.distortion):
            slopes = self._distorted(slopes)
        pixels: Array = slopes @ self.matrix[:2, :2].T
        pixels += self.matrix[:2, 2] + self.matrix[:2, 3] / depth
        return pixels

    def _distorted(self, slopes: Array) -> Array:
        if not slopes.size:
            return slopes
        ahead = np.concatenate([slopes, np.ones_like(slopes[..., :1])], axis=-1).reshape(-1, 3)
        still = np.zeros(3)
        bent, _ = cv2.projectPoints(ahead, still, still, np.eye(3), self.distortion)
        result: Array = bent.reshape(slopes.shape)
        return result


def camera_model(calibration: Calibration, *, rectified: bool = False) -> CameraModel:
    """Return the camera of the image that a calibration is of.

    Args:
        calibration: What its CameraInfo says.
        rectified: Whether the image has been rectified: P holds for it then, as it is, so that
            points are to be given in the rectified frame; else K and the distortion do.

    Raises:
        FusionError: It is not calibrated, or says something that no lens does.
    """
    if calibration.width < 1 or calibration.height < 1:
        raise FusionError(
            f'CameraInfo has an image of {calibration.width}x{calibration.height} pixels; wanted '
            'its size; does the driver fill it in?'
        )
    matrix = _matrix('P', calibration.p, 4) if rectified else _matrix('K', calibration.k, 3)
    distortion = np.zeros(0) if rectified else _distortion(calibration)
    # pixels of the full image become those of the part that was read, then binned
    left, top, width, height = calibration.roi
    width, height = width or calibration.width, height or calibration.height
    across, down = (max(1, each) for each in calibration.binning)
    matrix[0, 2] -= left
    matrix[1, 2] -= top
    matrix[0] /= across
    matrix[1] /= down
    width, height = width // across, height // down
    if min(width, height) < 1:
        raise FusionError(
            f'CameraInfo has an image without pixels: roi {calibration.roi}, binning '
            f'{calibration.binning} of {calibration.width}x{calibration.height}'
        )
    outline = _outline(matrix, distortion, width, height) if len(distortion) else np.zeros((0, 2))
    return CameraModel(width, height, matrix, distortion, outline)


def _matrix(name: str, values: Sequence[float], columns: int) -> Array:
    matrix = np.zeros((3, 4))
    if len(values) != 3 * columns:
        raise FusionError(f'{name} of CameraInfo has {len(values)} numbers; wanted {3 * columns}')
    given = np.array(values, np.float64).reshape(3, columns)
    if not given.any():
        raise FusionError(
            f'{name} of CameraInfo is all zeros, so the camera is not calibrated; calibrate it '
            '(camera_calibration), and have its driver load the result'
        )
    lens = bool(np.isfinite(given).all() and np.abs(given).max() <= _MOST)
    if lens:
        plain = (given[1, 0], given[2, 0], given[2, 1], given[2, 2] - 1, *given[2, 3:])
        lens = bool(min(given[0, 0], given[1, 1]) > 0 and not np.any(plain))
    if not lens:
        raise FusionError(
            f'{name} of CameraInfo is {list(values)}; wanted focal lengths above zero, and 0 0 1 '
            'in the last row'
        )
    matrix[:, :columns] = given
    return matrix


def _distortion(calibration: Calibration) -> Array:
    d = calibration.d
    if not any(d):
        return np.zeros(0)
    counts = _COEFFICIENTS.get(calibration.model)
    if counts is None:
        raise FusionError(
            f'CameraInfo has the distortion model {calibration.model!r}; known are '
            f'{", ".join(_COEFFICIENTS)}; with a rectified image set the parameter rectified'
        )
    if len(d) not in counts:
        wanted = ' or '.join(map(str, counts))
        raise FusionError(
            f'CameraInfo has {len(d)} coefficients of {calibration.model}; wanted {wanted}'
        )
    if not all(abs(each) <= _MOST for each in d):
        raise FusionError(f'D of CameraInfo is {list(d)}; wanted coefficients of a lens')
    return np.array(d, np.float64)


def _outline(matrix: Array, distortion: Array, width: int, height: int) -> Array:
    """Return the corners of a polygon that holds what the image shows, as far as the model goes.

    Far from the axis the polynomials of a lens turn back, and would show things that are beside
    the camera in the middle of the image.
    """
    radial = np.zeros(8)
    radial[: len(distortion)] = distortion[:8]
    k1, k2, _, _, k3, k4, k5, k6 = radial.tolist()
    squares = _SLOPES**2
    below = 1 + squares * (k4 + squares * (k5 + squares * k6))
    above = 1 + squares * (k1 + squares * (k2 + squares * k3))
    with np.errstate(all='ignore'):
        bent = _SLOPES * above / below
        turns = ~(np.diff(bent) > 0) | (below[1:] <= 0)
    good = int(turns.argmax()) if turns.any() else len(turns)
    x, y = np.meshgrid([-0.5, width - 0.5], [-0.5, height - 0.5])
    corners = np.stack([x.ravel(), y.ravel()], axis=-1) - matrix[:2, 2]
    farthest = np.hypot(*np.linalg.solve(matrix[:2, :2], corners.T)).max() * _TANGENTIAL
    needed = int(np.searchsorted(bent[: good + 1], farthest))
    radius = _SLOPES[good]
    if needed <= good:
        # so that the sides of the polygon, not its corners, are where the image ends
        radius = min(radius, _SLOPES[needed] / math.cos(math.pi / _SIDES))
    if radius == 0:
        raise FusionError(
            f'D of CameraInfo is {distortion.tolist()}, which turns back in the very middle of '
            'the image; wanted coefficients of a lens; calibrate the camera again'
        )
    angles = np.arange(_SIDES) * 2 * math.pi / _SIDES
    outline: Array = radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return outline
