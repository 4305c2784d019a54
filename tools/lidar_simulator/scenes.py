# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Streets at random: lanes, parked cars, pavements, house fronts, and a sensor in the middle."""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np

from tools.lidar_simulator.shapes import Part
from tools.lidar_simulator.things import CLUTTER
from tools.lidar_simulator.things import LABELLED
from trt_inference.lidar.nms3d import rotated_iou

FAR_M = 75.0
LANE_M = 3.5
_GAP_M = 0.4
_EGO = (0.0, 0.0, 5.0, 2.2)


@dataclass(frozen=True)
class Standing:
    """A thing where it stands, in the frame of the sensor.

    Attributes:
        kind: Its name in `LABELLED` or `CLUTTER`.
        box: x, y, z of the middle, length, width, height, yaw.
        parts: What rays can hit.
    """

    kind: str
    box: tuple[float, ...]
    parts: tuple[Part, ...]

    @property
    def labelled(self) -> bool:
        """Return whether a network is to find it."""
        return self.kind in LABELLED


@dataclass(frozen=True)
class Scene:
    """A street.

    Attributes:
        things: What stands in it, none of it in another.
        slope: Rise of the ground along x and along y.
        street: Heading of the street, and its sideways distance from the sensor.
        half_width_m: From the middle of the street to the kerb.
    """

    things: tuple[Standing, ...]
    slope: tuple[float, float]
    street: tuple[float, float]
    half_width_m: float


def make_scene(chance: np.random.Generator, height_m: float) -> Scene:
    """Return a street around a sensor at that height above the ground."""
    straight = chance.random() < 0.6
    heading = chance.normal(0, 0.15) if straight else chance.uniform(-math.pi, math.pi)
    lanes = int(chance.integers(1, 4))
    half = lanes * LANE_M / 2 + 2.2  # on both sides a line of parked cars
    middle = float(chance.uniform(-half + 2.5, half - 2.5))
    slope = tuple(chance.normal(0, 0.008, 2).tolist())
    builder = _Builder(chance, height_m, heading, middle, slope)
    builder.houses(half)
    builder.parked(half)
    builder.traffic(lanes)
    builder.people(half)
    builder.clutter(half)
    return Scene(tuple(builder.things), slope, (heading, middle), half)


class _Builder:
    """Puts things into a street, given along and across it, where there is room."""

    def __init__(
        self,
        chance: np.random.Generator,
        height_m: float,
        heading: float,
        middle: float,
        slope: tuple[float, float],
    ) -> None:
        self.things: list[Standing] = []
        self._chance = chance
        self._height_m = height_m
        self._heading = heading
        self._middle = middle
        self._slope = slope
        self._taken = [np.array([*_EGO, 0.0])]

    def houses(self, half: float) -> None:
        for side in (-1, 1):
            back = half + self._chance.uniform(3, 9)
            along = -FAR_M
            while along < FAR_M:
                along += self._chance.uniform(5, 30)
                if self._chance.random() < 0.7:
                    self._put('wall', along, side * (back + 4), 0)

    def parked(self, half: float) -> None:
        for side in (-1, 1):
            fullness = self._chance.random()
            for along in np.arange(-FAR_M, FAR_M, 6.5):
                if self._chance.random() < fullness:
                    kind = self._pick(car=0.8, van=0.15, truck=0.05)
                    turn = 0 if self._chance.random() < 0.8 else math.pi
                    self._put(kind, along + self._chance.uniform(-0.7, 0.7),
                              side * (half - 1.1), turn + self._chance.normal(0, 0.04))  # fmt: skip

    def traffic(self, lanes: int) -> None:
        for lane in range(lanes):
            across = (lane - (lanes - 1) / 2) * LANE_M
            turn = 0 if lane < (lanes + 1) // 2 else math.pi
            for along in np.arange(-FAR_M, FAR_M, 13):
                if self._chance.random() < 0.35:
                    kind = self._pick(car=0.65, van=0.12, truck=0.13, cyclist=0.1)
                    self._put(kind, along + self._chance.uniform(-4, 4),
                              across + self._chance.normal(0, 0.3),
                              turn + self._chance.normal(0, 0.05))  # fmt: skip
        for _ in range(self._chance.poisson(1.5)):  # crossing, turning, or just wherever
            kind = self._pick(car=0.7, van=0.15, truck=0.15)
            self._put(kind, self._anywhere(45), self._anywhere(45), self._any_way())

    def people(self, half: float) -> None:
        for _ in range(self._chance.poisson(14)):
            side = self._chance.choice([-1, 1])
            across = side * (half + self._chance.uniform(0.3, 3))
            self._put('pedestrian', self._chance.uniform(-50, 50), across, self._any_way())
        for _ in range(self._chance.poisson(3)):
            self._put('pedestrian', self._chance.uniform(-40, 40),
                      self._chance.uniform(-half, half), self._any_way())  # fmt: skip
        for _ in range(self._chance.poisson(4)):
            turn = self._chance.choice([0, math.pi]) + self._chance.normal(0, 0.2)
            side = self._chance.choice([-1, 1])
            across = side * (half + self._chance.uniform(-3.5, 1.5))
            self._put('cyclist', self._chance.uniform(-50, 50), across, turn)
        for _ in range(self._chance.poisson(1)):
            self._put('cyclist', self._anywhere(35), self._anywhere(35), self._any_way())

    def clutter(self, half: float) -> None:
        for _ in range(self._chance.poisson(30)):
            kind = self._pick(pole=0.3, post=0.2, crate=0.1, tree=0.2, bush=0.2)
            side = self._chance.choice([-1, 1])
            self._put(kind, self._chance.uniform(-60, 60),
                      side * (half + self._chance.uniform(0.2, 6)), self._any_way())  # fmt: skip

    def _pick(self, **shares: float) -> str:
        return str(self._chance.choice(list(shares), p=list(shares.values())))

    def _anywhere(self, reach_m: float) -> float:
        return float(self._chance.uniform(-reach_m, reach_m))

    def _any_way(self) -> float:
        return float(self._chance.uniform(-math.pi, math.pi))

    def _put(self, kind: str, along: float, across: float, turn: float) -> None:
        """Let a thing stand there, unless something else does."""
        thing = (LABELLED.get(kind) or CLUTTER[kind])(self._chance)
        across -= self._middle
        cos, sin = math.cos(self._heading), math.sin(self._heading)
        x, y = along * cos - across * sin, along * sin + across * cos
        yaw = self._heading + turn
        length, width, height = thing.size
        place = np.array([x, y, length + _GAP_M, width + _GAP_M, yaw])
        if (rotated_iou(np.array(self._taken), place) > 0).any():
            return
        self._taken.append(place)
        z = self._slope[0] * x + self._slope[1] * y - self._height_m
        parts = tuple(part.placed(x, y, z, yaw) for part in thing.parts)
        box = (x, y, z + height / 2, length, width, height, yaw)
        self.things.append(Standing(kind, box, parts))
