# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Where a lidar's rays go, and how well it measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import math

import numpy as np

from trt_engine.backend import Array


@dataclass(frozen=True)
class Sensor:
    """A spinning lidar: `beams` rays one above the other, at each of `columns` headings.

    Attributes:
        lowest_deg: Elevation of the lowest beam; the others follow in equal steps.
        highest_deg: Elevation of the highest beam.
        height_m: Above the ground.
        nearest_m: Nearer returns are lost.
        farthest_m: Range at which a tenth of the light, thrown back squarely, is just seen.
        noise_m: Standard deviation of the range.
        dropout: Share of the returns that are lost for no reason.
    """

    beams: int
    columns: int
    lowest_deg: float
    highest_deg: float
    height_m: float = 1.8
    nearest_m: float = 0.8
    farthest_m: float = 80.0
    noise_m: float = 0.02
    dropout: float = 0.03

    def elevations(self) -> Array:
        """Return (beams,) float64 in radians, rising."""
        return np.radians(np.linspace(self.lowest_deg, self.highest_deg, self.beams))

    def azimuths(self) -> Array:
        """Return (columns,) float64 in radians, from 0 up."""
        return np.arange(self.columns) * (2 * math.pi / self.columns)

    def directions(self) -> Array:
        """Return (beams, columns, 3) float64, of length 1: x forward, y left, z up."""
        up, around = self.elevations()[:, None], self.azimuths()
        parts = np.broadcast_arrays(
            np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)
        )
        return np.stack(parts, axis=-1)


SENSORS: Mapping[int, Sensor] = {
    64: Sensor(beams=64, columns=2048, lowest_deg=-24.8, highest_deg=2.0),
    128: Sensor(beams=128, columns=1024, lowest_deg=-22.5, highest_deg=22.5),
}
