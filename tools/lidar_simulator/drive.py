# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A drive along one street: sweep after sweep, while everything else stands still."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
import math

import numpy as np

from tools.lidar_simulator.scenes import make_scene
from tools.lidar_simulator.scenes import Scene
from tools.lidar_simulator.scenes import Standing
from tools.lidar_simulator.sensor import Sensor
from tools.lidar_simulator.sweep import scan
from tools.lidar_simulator.sweep import Sweep

_CLEAR_M = 1.6  # from the middle of the way to what may stand beside it


def drive(seed: int, sensor: Sensor, sweeps: int, step_m: float) -> Iterator[Sweep]:
    """Yield the sweeps of a drive that passes the middle of the street halfway.

    Args:
        seed: One seed, one street, one drive.
        sensor: What looks.
        sweeps: How many.
        step_m: How far it goes from one to the next.
    """
    chance = np.random.default_rng(seed)
    street = make_scene(chance, sensor.height_m)
    length_m = step_m * (sweeps - 1)
    clear = replace(
        street,
        things=tuple(each for each in street.things if not _in_the_way(each, street, length_m)),
    )
    for place in range(sweeps):
        yield scan(_from(clear, place * step_m - length_m / 2), sensor, chance)


def _in_the_way(thing: Standing, street: Scene, length_m: float) -> bool:
    heading = street.street[0]
    x, y = thing.box[:2]
    along = x * math.cos(heading) + y * math.sin(heading)
    across = y * math.cos(heading) - x * math.sin(heading)
    length, width, turn = thing.box[3], thing.box[4], thing.box[6] - heading
    reach = (abs(length * math.sin(turn)) + abs(width * math.cos(turn))) / 2
    ahead = (abs(length * math.cos(turn)) + abs(width * math.sin(turn))) / 2
    return abs(across) < reach + _CLEAR_M and abs(along) < length_m / 2 + ahead + 4


def _from(street: Scene, along_m: float) -> Scene:
    """Return a street as it lies around a sensor that has gone so far along it."""
    heading = street.street[0]
    x, y = -along_m * math.cos(heading), -along_m * math.sin(heading)
    z = street.slope[0] * x + street.slope[1] * y
    return replace(street, things=tuple(_moved(each, (x, y, z)) for each in street.things))


def _moved(thing: Standing, by: tuple[float, float, float]) -> Standing:
    box = (*(here + away for here, away in zip(thing.box, by, strict=False)), *thing.box[3:])
    return replace(thing, box=box, parts=tuple(part.placed(*by, 0.0) for part in thing.parts))
