# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Where in the outputs of a lidar network boxes are, and how they are written there."""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np

from trt_engine.backend import Array


@dataclass(frozen=True, eq=False)
class CellGrid:
    """The output grid seen from above: x of a column is low + (column + shift) * step, y likewise.

    Attributes:
        columns: Cells along x.
        rows: Cells along y.
        low_m: x and y.
        step_m: Along x and y.
        shift: 0 or 0.5 for anchors; centres say themselves where in the cell they are.
    """

    columns: int
    rows: int
    low_m: tuple[float, float]
    step_m: tuple[float, float]
    shift: float = 0.0


@dataclass(frozen=True, eq=False)
class AnchorReadout:
    """Anchors in each cell, as PointPillars has them.

    Its first three arrays are views into the outputs, cell by cell; only where they lie counts, not
    what they hold. An anchor's numbers follow each other.

    Attributes:
        scores: (cells, anchors * classes) float, logits.
        boxes: (cells, anchors * 7) float: x, y, z, three sizes and yaw, relative to the anchor.
        directions: (cells, anchors * 2) float.
        grid: Where the cells are.
        sizes: (anchors, 3) float64, along x, y and z at rotation 0, in metres.
        heights: (anchors,) float64, of their centres.
        yaws: (anchors,) float64.
        clockwise: Whether yaws run clockwise from the side, and sizes have the width first, as in
            mmdetection3d before 1.0; else all is by REP-103.
    """

    scores: Array
    boxes: Array
    directions: Array
    grid: CellGrid
    sizes: Array
    heights: Array
    yaws: Array
    clockwise: bool

    @property
    def anchors(self) -> int:
        """Return how many there are in a cell."""
        return len(self.yaws)

    @property
    def form(self) -> int:
        """Return what candidates3d.cu calls it."""
        return int(self.clockwise)

    def parts(self) -> tuple[Array, ...]:
        """Return the outputs beside the scores."""
        return self.boxes, self.directions

    def table(self) -> Array:
        """Return what the kernel takes of each anchor, (anchors, 6) float64."""
        across = np.hypot(self.sizes[:, 0], self.sizes[:, 1])
        return np.column_stack((self.sizes, across, self.heights, self.yaws))


@dataclass(frozen=True, eq=False)
class CenterReadout:
    """A heat map and what belongs to each of its cells, as CenterPoint has them.

    All arrays are views into the outputs, cell by cell; only where they lie counts.

    Attributes:
        scores: (cells, classes) float, logits.
        offset: (cells, 2) float, of the centre in its cell.
        height: (cells, 1) float.
        size: (cells, 3) float, logarithms.
        rotation: (cells, 2) float.
        velocity: (cells, 2) float, or None.
        grid: Where the cells are.
        clockwise: Whether the size is width, length, height and the rotation the sine and cosine of
            a clockwise angle; else length, width, height, and the cosine and sine of the yaw.
        peaks: Whether only cells count that no neighbour exceeds in their class.
        yaw_norm: (classes,) float64, the least length of the rotation of a box that counts.
        circle_m: Distance of centres up to which the lower score goes, before NMS by overlap.
    """

    scores: Array
    offset: Array
    height: Array
    size: Array
    rotation: Array
    velocity: Array | None
    grid: CellGrid
    clockwise: bool
    peaks: bool
    yaw_norm: Array
    circle_m: float | None

    anchors = 1

    @property
    def form(self) -> int:
        """Return what candidates3d.cu calls it."""
        return 2 if self.clockwise else 3

    def parts(self) -> tuple[Array, ...]:
        """Return the outputs beside the scores."""
        known = (self.offset, self.height, self.size, self.rotation)
        return known if self.velocity is None else (*known, self.velocity)

    def table(self) -> Array:
        """Return what the kernel takes of each class, (classes,) float64."""
        return np.asarray(self.yaw_norm, np.float64)


Readout3d = AnchorReadout | CenterReadout


def logit(score: float) -> float:
    """Return the number that a score is the sigmoid of; infinite for 0 and 1."""
    if score <= 0:
        return -math.inf
    return math.inf if score >= 1 else math.log(score) - math.log1p(-score)
