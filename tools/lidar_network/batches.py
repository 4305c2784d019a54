# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Examples on the device that trains, joined to batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import fields
import math

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tools.lidar_network.dataset import Example
from tools.lidar_network.form import POINTS
from trt_engine.lidar_card import PointsInput


@dataclass(frozen=True)
class Batch:
    """Pillars of several sweeps, one sweep after the other.

    Attributes:
        features: (K, 10).
        sizes: (V,) points of each pillar.
        cells: (V,) sweep * rows * columns + row * columns + column.
        sweeps: How many.
        boxes: (sweeps, M, 7), padded; as in `dataset.Example`, and so are the next two.
        classes: (sweeps, M), -1 where padded.
        seen: (sweeps, M).
    """

    features: Tensor
    sizes: Tensor
    cells: Tensor
    sweeps: int
    boxes: Tensor
    classes: Tensor
    seen: Tensor


class Batches:
    """All examples, in the memory of a device."""

    def __init__(
        self, made: Sequence[Example], device: torch.device, points: PointsInput = POINTS
    ) -> None:
        names = [field.name for field in fields(Example)]
        self._columns, self._rows = points.grid
        self._made = [
            {name: torch.from_numpy(getattr(one, name)).to(device) for name in names}
            for one in made
        ]

    def __len__(self) -> int:
        return len(self._made)

    def join(self, chosen: Sequence[int], mirrored: Sequence[tuple[bool, bool]] = ()) -> Batch:
        """Return these examples as a batch.

        Args:
            chosen: Their places.
            mirrored: For each of them, whether x and whether y change their sign; empty: none.
        """
        made = [
            self._mirrored(self._made[place], *axes)
            for place, axes in zip(chosen, mirrored or [(False, False)] * len(chosen), strict=True)
        ]
        size = self._columns * self._rows
        return Batch(
            features=torch.cat([one['features'] for one in made]),
            sizes=torch.cat([one['sizes'] for one in made]),
            cells=torch.cat([one['cells'] + place * size for place, one in enumerate(made)]),
            sweeps=len(made),
            boxes=pad_sequence([one['boxes'] for one in made], True),
            classes=pad_sequence([one['classes'] for one in made], True, -1),
            seen=pad_sequence([one['seen'] for one in made], True),
        )

    def _mirrored(self, one: dict[str, Tensor], x: bool, y: bool) -> dict[str, Tensor]:
        """Return an example as a mirror shows it; the range is the same on both sides."""
        if not (x or y):
            return one
        features, boxes, cells = one['features'].clone(), one['boxes'].clone(), one['cells']
        row, column = cells // self._columns, cells % self._columns
        for axis, wanted in enumerate((x, y)):
            if wanted:
                features[:, [axis, axis + 4, axis + 7]] *= -1  # itself, from mean, from centre
                boxes[:, axis] *= -1
        if x:
            boxes[:, 6] = math.pi - boxes[:, 6]
            column = self._columns - 1 - column
        if y:
            boxes[:, 6] *= -1
            row = self._rows - 1 - row
        cells = row * self._columns + column
        return one | {'features': features, 'boxes': boxes, 'cells': cells}
