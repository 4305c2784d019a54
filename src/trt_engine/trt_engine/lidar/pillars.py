# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Points to pillars, and pillars to the bird's-eye grid: what stands before a lidar network.

Everything here is deterministic: equal clouds give equal bits. Points are sorted by cell, those of
a cell stay in the order of the cloud, and the first of them are kept. All arithmetic that decides
where a point belongs is float32, as in the networks' training code and in a GPU kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trt_engine.backend import Array
from trt_engine.errors import PointsError
from trt_engine.lidar_card import PointsInput

MAX_POINTS = 1 << 24  # the kernels on the GPU give an index that many bits


@dataclass(frozen=True, slots=True)
class PillarCounts:
    """Where the points of a cloud went; `points` is the sum of the four below it.

    Attributes:
        points: Points of the cloud.
        outside: Outside of the card's range, or not a number.
        over_points: Beyond `max_points` in their pillar, or where there are none in their cloud.
        over_voxels: In pillars beyond `max_voxels`.
        kept: The rest, which the network sees.
        voxels: Pillars that hold a point; 0 where the network takes the points themselves.
        voxels_dropped: Of these, pillars beyond `max_voxels`: the last in the order of cells.
    """

    points: int
    outside: int
    over_points: int
    over_voxels: int
    kept: int
    voxels: int
    voxels_dropped: int

    def overflow(self) -> str | None:
        """Return what a diagnostic says of what goes unseen, or None.

        Points beyond `max_points` of their pillar do not count: all dense clouds have some, and
        the network was trained without them.
        """
        if self.voxels_dropped:
            return (
                f'{self.voxels_dropped} of {self.voxels} pillars with {self.over_voxels} of '
                f'{self.points} points are beyond max_voxels'
            )
        if self.over_points and not self.voxels:
            return f'{self.over_points} of {self.points} points are beyond max_points'
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Pillars:
    """The points that a network sees, sorted by pillar.

    Attributes:
        features: (K, feature_size) float32, the decorated points.
        starts: (V,) where the points of a pillar begin.
        sizes: (V,) how many points a pillar keeps, at least 1.
        cells: (V,) (layer * rows + row) * columns + column of each pillar, rising.
        counts: Where the points of the cloud went.
    """

    features: Array
    starts: Array
    sizes: Array
    cells: Array
    counts: PillarCounts

    def __len__(self) -> int:
        return len(self.cells)

    def places(self, columns: int, rows: int | None = None) -> Array:
        """Return (V, 4) int32: batch, z, row, column, as voxel-wise networks take them.

        Args:
            columns: Of the grid.
            rows: Of the grid, where it has several layers.
        """
        out = np.zeros((len(self), 4), np.int32)
        np.divmod(self.cells, columns, out=(out[:, 2], out[:, 3]), casting='unsafe')
        if rows is not None:
            np.divmod(out[:, 2], rows, out=(out[:, 1], out[:, 2]))
        return out


class Pillarizer:
    """Sorts clouds into pillars as the card's input says, and decorates their points."""

    def __init__(self, spec: PointsInput) -> None:
        self.spec = spec
        self._columns, self._rows = spec.grid
        self._low = np.array(spec.range_m[:3], np.float32)
        self._size = np.array(spec.voxel_m, np.float32)

    def __call__(self, points: Array) -> Pillars:
        """Return the pillars of one cloud.

        Args:
            points: (N, point_size) float32; column by column in memory is fastest.

        Raises:
            PointsError: The array has another shape or type.
        """
        check_points(points, self.spec)
        order, cells = self._sorted(points)
        firsts = np.flatnonzero(np.diff(cells, prepend=-1))
        occupied = len(firsts)
        sizes = np.diff(firsts, append=len(cells))

        firsts, shown = firsts[: self.spec.max_voxels], sizes[: self.spec.max_voxels]
        sizes = np.minimum(shown, self.spec.max_points)
        starts = np.cumsum(sizes) - sizes
        kept, inside = int(sizes.sum()), int(shown.sum())
        rows = np.repeat(firsts - starts, sizes) + np.arange(kept)
        chosen = np.take(points.T, order[rows], axis=1)
        counts = PillarCounts(
            points=len(points),
            outside=len(points) - len(order),
            over_points=inside - kept,
            over_voxels=len(order) - inside,
            kept=kept,
            voxels=occupied,
            voxels_dropped=occupied - len(firsts),
        )
        cells = cells[firsts]
        return Pillars(self._decorated(chosen, cells, sizes), starts, sizes, cells, counts)

    def _sorted(self, points: Array) -> tuple[Array, Array]:
        """Return the indices of the points in range, sorted by cell and index, and their cells."""
        index = in_range(points, self.spec)
        column = self._cell(points[index, 0], 0, self._columns)
        row = self._cell(points[index, 1], 1, self._rows)
        cells = row
        if self.spec.layers > 1:
            cells += self._cell(points[index, 2], 2, self.spec.layers) * self._rows
        cells *= self._columns
        cells += column
        order = _stable_order(cells)
        return index[order], cells[order]

    def _cell(self, values: Array, axis: int, count: int) -> Array:
        values = values - self._low[axis]
        values /= self._size[axis]
        cells: Array = values.astype(np.int32)
        # a point just below the upper edge may be rounded onto it
        np.minimum(cells, count - 1, out=cells)
        return cells

    def _decorated(self, chosen: Array, cells: Array, sizes: Array) -> Array:
        """Return the features of points, (point_size, K), that are sorted by pillar."""
        spec = self.spec
        form = spec.features
        if form == 'voxel':
            plain: Array = chosen.T
            return plain
        features: Array = np.empty((spec.feature_size, chosen.shape[1]), np.float32)
        features[: spec.point_size] = chosen
        offsets = features[spec.point_size :]
        pillar = np.repeat(np.arange(len(sizes)), sizes)
        for axis in range(3):
            sums = np.bincount(pillar, chosen[axis], len(sizes))
            means = (sums / sizes).astype(np.float32)
            np.subtract(chosen[axis], means[pillar], out=offsets[axis])
        places = (cells % self._columns, cells // self._columns, np.zeros_like(cells))
        for axis in range(3 if form == 'pillar10' else 2):
            middle = places[axis].astype(np.float32) * self._size[axis]
            middle += self._size[axis] / 2 + self._low[axis]
            np.subtract(chosen[axis], middle[pillar], out=offsets[3 + axis])
        if form == 'pillar9_relative':
            features[:2] = offsets[3:5]
        rows: Array = features.T
        return rows


def _stable_order(cells: Array) -> Array:
    """Return what sorts cells, of at most MAX_CELLS; those that are equal stay in their order.

    NumPy sorts 16 bits by radix: two such passes take less than half the time of one stable
    argsort, or of one sort of cell and index in one number (measured).
    """
    order: Array = np.argsort(cells.astype(np.uint16), kind='stable')
    higher = (cells[order] >> 16).astype(np.uint8)
    return order[np.argsort(higher, kind='stable')]


def check_points(points: Array, spec: PointsInput) -> None:
    """Refuse what is no cloud of a network.

    Raises:
        PointsError: The array has another shape or type than (N, point_size) float32.
    """
    wanted = spec.point_size
    good = points.ndim == 2 and points.shape[1] == wanted and points.dtype == np.float32
    if not good or len(points) > MAX_POINTS:
        raise PointsError(
            f'a cloud of {points.dtype} {list(points.shape)}; wanted float32 [N, {wanted}], '
            f'N at most {MAX_POINTS}'
        )


def in_range(points: Array, spec: PointsInput) -> Array:
    """Return the indices of the points, (N, at least 3) float32, in the card's range, rising."""
    low, high = (np.array(ends, np.float32) for ends in (spec.range_m[:3], spec.range_m[3:]))
    inside = np.ones(len(points), bool)
    for axis in range(3):
        values = points[:, axis]
        inside &= values >= low[axis]
        inside &= values < high[axis]
    return np.flatnonzero(inside)


class PaddedPillars:
    """Lays pillars out as [V, max_points, feature_size], for networks that take them so.

    Attributes:
        tensor: (max_voxels, max_points, feature_size) float32; rows without a point are zero.
    """

    def __init__(self, spec: PointsInput) -> None:
        shape = (spec.max_voxels, spec.max_points, spec.feature_size)
        self.tensor: Array = np.zeros(shape, np.float32)
        self._rows: Array = self.tensor.reshape(-1, spec.feature_size)
        self._filled: Array = np.zeros(0, np.intp)

    def __call__(self, pillars: Pillars) -> Array:
        """Return `tensor`, filled from these pillars; it is valid until the next call."""
        self._rows[self._filled] = 0
        first = np.arange(len(pillars)) * self.tensor.shape[1] - pillars.starts
        self._filled = np.repeat(first, pillars.sizes) + np.arange(len(pillars.features))
        self._rows[self._filled] = pillars.features
        return self.tensor


class PillarNet:
    """The network inside a pillar: one linear layer, ReLU, and the greatest of all its points.

    Args:
        weight: (feature_size, C) float32, with the batch normalisation folded in.
        bias: (C,) float32.
        max_points: Rows that the network was trained with; those without a point are zero, and
            what the layer makes of a zero counts too.
    """

    def __init__(self, weight: Array, bias: Array, max_points: int) -> None:
        self._weight = weight
        self._bias = bias
        self._max_points = max_points

    def __call__(self, pillars: Pillars) -> Array:
        """Return (V, C) float32."""
        layer = pillars.features @ self._weight
        # Round by round, the next point of each pillar that has one: several times faster than
        # np.maximum.reduceat, which goes through the pillars one by one (measured).
        order = np.argsort(-pillars.sizes, kind='stable')
        starts, sizes = pillars.starts[order], pillars.sizes[order]
        greatest = layer[starts]
        for rank in range(1, int(sizes.max(initial=0))):
            left = int(np.searchsorted(-sizes, -rank))
            np.maximum(greatest[:left], layer[starts[:left] + rank], out=greatest[:left])
        padded = int(np.searchsorted(-sizes, -self._max_points, side='right'))
        np.maximum(greatest[padded:], 0, out=greatest[padded:])
        greatest += self._bias
        result = np.empty_like(greatest)
        result[order] = np.maximum(greatest, 0, out=greatest)
        return result


class BirdsEye:
    """The grid seen from above that the rest of the network takes.

    Attributes:
        tensor: (1, C, rows, columns) float32; cells without a pillar are zero.
    """

    def __init__(self, spec: PointsInput, channels: int) -> None:
        columns, rows = spec.grid
        self.tensor: Array = np.zeros((1, channels, rows, columns), np.float32)
        self._flat: Array = self.tensor.reshape(channels, -1)
        self._filled: Array = np.zeros(0, np.intp)

    def __call__(self, features: Array, cells: Array) -> Array:
        """Return `tensor`, filled from these pillars; it is valid until the next call.

        Args:
            features: (V, C) float32.
            cells: (V,) as in `Pillars`.
        """
        # clearing what was filled costs a fraction of clearing the whole grid
        self._flat[:, self._filled] = 0
        self._flat[:, cells] = features.T
        self._filled = cells
        return self.tensor
