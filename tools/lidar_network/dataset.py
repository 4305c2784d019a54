# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Simulated sweeps as the network takes them, made on all cores."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from functools import partial
import multiprocessing

import numpy as np

from tools.lidar_network.form import CLASS_OF_KIND
from tools.lidar_network.form import POINTS
from tools.lidar_simulator.sensor import SENSORS
from tools.lidar_simulator.sweep import simulate
from tools.lidar_simulator.things import KINDS
from trt_engine.backend import Array
from trt_engine.lidar.pillars import Pillarizer
from trt_engine.lidar_card import PointsInput


@dataclass(frozen=True, eq=False)
class Example:
    """One sweep.

    Attributes:
        features: (K, 10) float32, as in `trt_engine.lidar.pillars.Pillars`; so are sizes and cells.
        sizes: (V,).
        cells: (V,).
        boxes: (M, 7) float32, x, y, z, length, width, height, yaw, of things with a point on them
            in the middle of the range.
        classes: (M,) int64.
        seen: (M,) int64, points on each thing.
    """

    features: Array
    sizes: Array
    cells: Array
    boxes: Array
    classes: Array
    seen: Array


def example(seed: int, points: PointsInput = POINTS) -> Example:
    """Return the example of that seed: either sensor, low on a robot or high on a car."""
    chance = np.random.default_rng([seed, 1])
    sensor = SENSORS[int(chance.choice(list(SENSORS)))]
    sweep = simulate(seed, replace(sensor, height_m=chance.uniform(1.5, 2.2)))
    pillars = Pillarizer(points)(sweep.points)
    centers = sweep.boxes[:, :3]
    low, high = np.array(points.range_m[:3]), np.array(points.range_m[3:])
    there = ((centers >= low) & (centers < high)).all(axis=1) & (sweep.seen > 0)
    classes = np.array([CLASS_OF_KIND[kind] for kind in KINDS])[sweep.kinds]
    return Example(
        features=np.ascontiguousarray(pillars.features),
        sizes=pillars.sizes,
        cells=pillars.cells,
        boxes=sweep.boxes[there],
        classes=classes[there],
        seen=sweep.seen[there].astype(np.int64),
    )


def examples(
    seeds: Sequence[int],
    workers: int,
    points: PointsInput = POINTS,
    *,
    more: Callable[[], bool] = lambda: True,
) -> list[Example]:
    """Return the examples of these seeds, in order.

    Call it before anything starts a GPU: the workers are forks of this process.

    Args:
        seeds: One example each.
        workers: Processes that make them.
        points: What the network sees.
        more: Asked after each example; where it says no, the rest is not made.
    """
    made = []
    with multiprocessing.get_context('fork').Pool(workers) as pool:
        for each in pool.imap(partial(example, points=points), seeds, chunksize=4):
            made.append(each)
            if not more():
                break
    return made
