# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Points as records of bytes, which a GPU takes as they come in a message."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trt_engine.backend import Array
from trt_engine.errors import PointsError


@dataclass(frozen=True)
class PointLayout:
    """Where the numbers of a point are: x, y, z, then the card's channels, all float32.

    Attributes:
        step: Bytes from one point to the next.
        offsets: Byte of each number, little-endian; None where records lack it.
        scales: Factor on each number.
        constants: What counts where records lack a number.
        measured: Whether points that are no measurement were left out already: then one that lies
            at the origin counts, as it was moved there.
    """

    step: int
    offsets: tuple[int | None, ...]
    scales: tuple[float, ...]
    constants: tuple[float, ...]
    measured: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers that do not lie in a record.

        Raises:
            PointsError: One begins before the record, or ends behind it.
        """
        for offset in self.offsets:
            if offset is not None and not 0 <= offset <= self.step - 4:
                raise PointsError(
                    f'a float32 at byte {offset} of a point; wanted one within its {self.step} '
                    'bytes (point_step)'
                )

    @property
    def span(self) -> int:
        """Return the bytes of a point up to the end of its last number."""
        return max(offset + 4 for offset in self.offsets if offset is not None)


@dataclass(frozen=True, eq=False)
class PointRecords:
    """Points of one cloud; they live as long as the memory that they are a view of.

    Attributes:
        layout: Where the numbers of a point are.
        rows: (H, B) uint8, `width` points in each row; the last may lack the bytes that follow
            its numbers. Bytes of a row follow each other.
        width: Points in each row.
    """

    layout: PointLayout
    rows: Array
    width: int

    def __post_init__(self) -> None:
        """Refuse rows that do not hold so many points.

        Raises:
            PointsError: They are shorter or longer, or not bytes.
        """
        rows, layout = self.rows, self.layout
        whole = self.width * layout.step
        least = 0 if self.width == 0 else whole - layout.step + layout.span
        if rows.dtype != np.uint8 or rows.ndim != 2 or not least <= rows.shape[1] <= whole:
            raise PointsError(
                f'{self.width} points of {layout.step} bytes in rows {rows.dtype} '
                f'{list(rows.shape)}; wanted uint8 [rows, {least} to {whole}]'
            )

    def __len__(self) -> int:
        return self.width * len(self.rows)

    @classmethod
    def of(cls, points: Array, *, measured: bool = False) -> PointRecords:
        """Return points that are numbers already as records.

        Args:
            points: (N, point_size) float32, as `pillars.Pillarizer` takes them; row by row in
                memory is not copied.
            measured: As of `PointLayout`.
        """
        rows = np.ascontiguousarray(points, '<f4')
        size = rows.shape[1]
        layout = PointLayout(
            size * 4, tuple(range(0, size * 4, 4)), (1.0,) * size, (0.0,) * size, measured
        )  # fmt: skip
        return cls(layout, rows.view(np.uint8).reshape(1, -1), len(rows))

    def copy_to(self, memory: Array) -> None:
        """Write the points one after the other.

        Args:
            memory: uint8, at least `len(self) * layout.step` long.
        """
        height, whole = len(self.rows), self.width * self.layout.step
        packed = memory[: height * whole].reshape(height, whole)
        np.copyto(packed[:, : self.rows.shape[1]], self.rows)
