# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What is asked of the boxes that a lidar network finds: classes, distances, how close is found."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
import math

import numpy as np

from trt_inference.lidar.boxes3d import Boxes3d
from trt_validation.lidar_precision import average_precision
from trt_validation.lidar_precision import Rule
from trt_validation.lidar_precision import Truth
from trt_validation.sweeps import Thing

LEAST_POINTS = 5
RANGES_M = (15.0, 30.0, 40.0)
IOU = 0.5
CENTRE_M = 1.0

Table = Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True)
class Question:
    """What is asked of the boxes.

    Attributes:
        classes: Names of the card's classes, in the order of the network.
        range_m: Lowest x, y, z, then highest: things whose middle is elsewhere are not counted.
        renamed: Label -> class, where they have different names.
        iou: Class -> least overlap; of the others `IOU`.
        centre_m: Most metres between the middles, in the second table.
        ranges_m: Where one range of distances ends and the next begins; the last is the end.
        least_points: Things with fewer points on them count neither way.
    """

    classes: Sequence[str]
    range_m: tuple[float, ...]
    renamed: Mapping[str, str]
    iou: Mapping[str, float]
    centre_m: float = CENTRE_M
    ranges_m: tuple[float, ...] = RANGES_M
    least_points: int = LEAST_POINTS

    def truth(self, things: Sequence[Thing]) -> Truth:
        """Return what one cloud holds, things of unknown classes left out."""
        known = [each for each in things if self.name(each) in self.classes]
        boxes = np.array([each.box for each in known], np.float64).reshape(-1, 7)
        low, high = np.array(self.range_m[:3]), np.array(self.range_m[3:])
        seen = [each.points is None or each.points >= self.least_points for each in known]
        inside = ((boxes[:, :3] >= low) & (boxes[:, :3] < high)).all(axis=1)
        labels = np.array([self.classes.index(self.name(each)) for each in known], np.int64)
        return Truth(boxes[:, [0, 1, 3, 4, 6]], labels, inside & np.array(seen, bool))

    def name(self, thing: Thing) -> str:
        """Return the class that a thing is of."""
        return self.renamed.get(thing.label, thing.label)

    def bins(self) -> Mapping[str, tuple[float, float]]:
        """Return the ranges of distances by name, all of them together first."""
        ends = (0.0, *self.ranges_m)
        parts = list(pairwise(ends))
        both = [(0.0, ends[-1]), *(parts if len(parts) > 1 else [])]
        return {f'{low:g} to {high:g} m': (low, high) for low, high in both}

    def answer(
        self, found: Sequence[Boxes3d], truth: Sequence[Truth], rules: Sequence[Rule]
    ) -> Table:
        """Return AP by class and range, None where there is nothing of the class.

        Args:
            found: What was seen in each cloud.
            truth: What was there.
            rules: When a box has found a thing, for each class.
        """

        def measured(kind: int, within_m: tuple[float, float]) -> float | None:
            ap = average_precision(found, truth, kind, rules[kind], within_m=within_m)
            return None if math.isnan(ap) else ap

        bins = self.bins()
        return {
            name: {where: measured(kind, within_m) for where, within_m in bins.items()}
            for kind, name in enumerate(self.classes)
        }

    def iou_rules(self) -> list[Rule]:
        """Return for each class which overlap is wanted."""
        return [Rule('iou', self.iou.get(name, IOU)) for name in self.classes]

    def centre_rules(self) -> list[Rule]:
        """Return for each class which distance is allowed."""
        return [Rule('centre', self.centre_m)] * len(self.classes)
