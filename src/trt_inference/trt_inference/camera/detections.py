# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What was seen in one image, as a struct of arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trt_engine.backend import Array


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What was seen in one image, the highest score first.

    Attributes:
        boxes: (N, 4) float32, x1 y1 x2 y2 in pixels of the image.
        scores: (N,) float32.
        classes: (N,) int32, index into the card's classes.
    """

    boxes: Array
    scores: Array
    classes: Array

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def none(cls) -> Detections:
        """Return the detections of an image in which nothing was seen."""
        return cls(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32)
        )  # fmt: skip

    def select(self, which: Array) -> Detections:
        """Return those that a mask or an array of indices selects."""
        return Detections(self.boxes[which], self.scores[which], self.classes[which])
