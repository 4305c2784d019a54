# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What was seen in one cloud, as a struct of arrays."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import fields
import math

import numpy as np

from trt_engine.backend import Array


@dataclass(frozen=True, slots=True, eq=False)
class Boxes3d:
    """What was seen in one cloud, the highest score first, in the frame of the cloud.

    Axes and angles are those of REP-103: x forward, y left, z up, yaw counter-clockwise about z.

    Attributes:
        centers: (N, 3) float32, the middle of each box in metres.
        sizes: (N, 3) float32, length (along the heading), width and height in metres.
        yaws: (N,) float32, the heading in radians, from -pi up to but without pi; 0 is along x.
        velocities: (N, 2) float32, along x and y in m/s; NaN where the network says none.
        scores: (N,) float32.
        classes: (N,) int32, index into the card's classes.
    """

    centers: Array
    sizes: Array
    yaws: Array
    velocities: Array
    scores: Array
    classes: Array

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def none(cls) -> Boxes3d:
        """Return the boxes of a cloud in which nothing was seen."""
        numbers = (np.zeros((0, n), np.float32) for n in (3, 3, 2))
        centers, sizes, velocities = numbers
        empty = np.zeros(0, np.float32)
        return cls(centers, sizes, empty, velocities, empty, empty.astype(np.int32))

    def select(self, which: Array) -> Boxes3d:
        """Return those that a mask or an array of indices selects."""
        return Boxes3d(*(getattr(self, field.name)[which] for field in fields(self)))

    def footprints(self) -> Array:
        """Return (N, 5) float64, seen from above: x, y, length, width, yaw."""
        parts = (self.centers[:, :2], self.sizes[:, :2], self.yaws[:, None])
        return np.concatenate(parts, axis=1, dtype=np.float64)


def wrapped(angles: Array) -> Array:
    """Return angles in radians, brought to -pi up to but without pi."""
    turned = angles - 2 * math.pi * np.floor((angles + math.pi) / (2 * math.pi))
    # a tiny negative sum may have been rounded up to the whole turn
    result: Array = np.where(turned >= math.pi, -math.pi, turned)
    return result
