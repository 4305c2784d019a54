# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Examples on the device that trains, joined to batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import fields

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tools.lidar_network.dataset import Example
from tools.lidar_network.form import POINTS


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

    def __init__(self, made: Sequence[Example], device: torch.device) -> None:
        names = [field.name for field in fields(Example)]
        self._made = [
            {name: torch.from_numpy(getattr(one, name)).to(device) for name in names}
            for one in made
        ]

    def __len__(self) -> int:
        return len(self._made)

    def join(self, chosen: Sequence[int]) -> Batch:
        """Return these examples as a batch."""
        made = [self._made[place] for place in chosen]
        columns, rows = POINTS.grid
        return Batch(
            features=torch.cat([one['features'] for one in made]),
            sizes=torch.cat([one['sizes'] for one in made]),
            cells=torch.cat(
                [one['cells'] + place * columns * rows for place, one in enumerate(made)]
            ),
            sweeps=len(made),
            boxes=pad_sequence([one['boxes'] for one in made], True),
            classes=pad_sequence([one['classes'] for one in made], True, -1),
            seen=pad_sequence([one['seen'] for one in made], True),
        )
