# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""One turn of the lidar: every ray to what it hits first, and what the sensor makes of it."""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np

from tools.lidar_simulator.scenes import make_scene
from tools.lidar_simulator.scenes import Scene
from tools.lidar_simulator.sensor import Sensor
from tools.lidar_simulator.shapes import cast
from tools.lidar_simulator.things import KINDS
from trt_engine.backend import Array
from trt_inference.lidar.boxes3d import Boxes3d

_ASPHALT, _VERGE = 0.17, 0.35


@dataclass(frozen=True, eq=False)
class Sweep:
    """What the lidar saw, and what was there, in its frame.

    Attributes:
        points: (N, 4) float32, x, y, z in metres and intensity from 0 to 1.
        rings: (N,) uint16, the beam, from the lowest up.
        owners: (N,) int32, the box that a point is on, or -1.
        boxes: (M, 7) float32, x, y, z of the middle, length, width, height, yaw.
        kinds: (M,) int32, index into `KINDS`.
        seen: (M,) int32, how many points are on a box.
    """

    points: Array
    rings: Array
    owners: Array
    boxes: Array
    kinds: Array
    seen: Array

    def truth(self) -> Boxes3d:
        """Return the boxes that have a point on them, each with a score of 1."""
        boxes = self.boxes[self.seen > 0]
        none = np.full((len(boxes), 2), np.nan, np.float32)
        kinds = self.kinds[self.seen > 0]
        ones = np.ones(len(boxes), np.float32)
        return Boxes3d(boxes[:, :3], boxes[:, 3:6], boxes[:, 6], none, ones, kinds)


def simulate(seed: int, sensor: Sensor) -> Sweep:
    """Return the sweep of that seed: the same each time."""
    chance = np.random.default_rng(seed)
    return scan(make_scene(chance, sensor.height_m), sensor, chance)


def scan(scene: Scene, sensor: Sensor, chance: np.random.Generator) -> Sweep:
    """Return what the lidar sees of a scene."""
    directions = sensor.directions()
    image = _Image(scene, sensor, directions)
    labelled = [thing for thing in scene.things if thing.labelled]
    for thing in scene.things:
        owner = labelled.index(thing) if thing.labelled else -1
        for part in thing.parts:
            window = _window(part.center, part.reach, sensor)
            rays = directions[window]
            distance, squarely = cast(part, rays.reshape(-1, 3), chance)
            shape = rays.shape[:2]
            image.see(
                window, distance.reshape(shape), squarely.reshape(shape), part.reflectivity, owner
            )

    strength = image.reflectivity * np.sqrt(image.squarely)
    with np.errstate(divide='ignore', invalid='ignore'):
        light = strength / image.distance**2
        noise = np.exp(chance.normal(0, 0.25, light.shape))
        kept = light * noise > 0.1 / sensor.farthest_m**2
    kept &= (image.distance > sensor.nearest_m) & (chance.random(light.shape) >= sensor.dropout)
    rows, columns = np.nonzero(kept)
    distance = image.distance[kept] + chance.normal(0, sensor.noise_m, len(rows))
    intensity = np.clip(strength[kept] * chance.normal(1, 0.08, len(rows)), 0, 1)
    owners = image.owner[kept]
    places = directions[rows, columns] * distance[:, None]
    return Sweep(
        points=np.concatenate((places, intensity[:, None]), axis=1).astype(np.float32),
        rings=rows.astype(np.uint16),
        owners=owners,
        boxes=np.array([thing.box for thing in labelled], np.float32).reshape(-1, 7),
        kinds=np.array([KINDS.index(thing.kind) for thing in labelled], np.int32),
        seen=np.bincount(owners[owners >= 0], minlength=len(labelled)).astype(np.int32),
    )


class _Image:
    """What each ray has hit first so far; at the start, the ground or nothing."""

    def __init__(self, scene: Scene, sensor: Sensor, directions: Array) -> None:
        along_x, along_y = scene.slope
        tilt = math.sqrt(1 + along_x**2 + along_y**2)
        down = directions @ np.array([along_x, along_y, -1.0])
        with np.errstate(divide='ignore'):
            self.distance: Array = np.where(down > 0, sensor.height_m / down, np.inf)
        self.squarely: Array = np.clip(down / tilt, 0, 1)
        heading, middle = scene.street
        normal = np.array([-math.sin(heading), math.cos(heading)])
        with np.errstate(invalid='ignore'):
            across = (directions[..., :2] @ normal) * self.distance + middle
        on_road = np.abs(across) < scene.half_width_m
        self.reflectivity: Array = np.where(on_road, _ASPHALT, _VERGE)
        self.owner: Array = np.full(self.distance.shape, -1, np.int32)

    def see(
        self,
        window: tuple[Array, Array],
        distance: Array,
        squarely: Array,
        reflectivity: float,
        owner: int,
    ) -> None:
        nearer = distance < self.distance[window]
        rows, columns = np.nonzero(nearer)
        place = (window[0][rows, 0], window[1][0, columns])
        self.distance[place] = distance[nearer]
        self.squarely[place] = squarely[nearer]
        self.reflectivity[place] = reflectivity
        self.owner[place] = owner


def _window(
    center: tuple[float, float, float], reach: float, sensor: Sensor
) -> tuple[Array, Array]:
    """Return the beams (R, 1) and the columns (1, C) of the rays that may meet a ball."""
    x, y, z = center
    flat, away = math.hypot(x, y), math.hypot(x, y, z)
    beams, columns = np.arange(sensor.beams), np.arange(sensor.columns)
    if flat > reach:
        spread, middle = math.asin(reach / away), math.asin(z / away)
        low, high = np.searchsorted(sensor.elevations(), [middle - spread, middle + spread])
        step = 2 * math.pi / sensor.columns
        around, width = math.atan2(y, x), math.asin(reach / flat)
        first, last = math.ceil((around - width) / step), math.floor((around + width) / step)
        beams, columns = beams[low:high], np.arange(first, last + 1) % sensor.columns
    return beams[:, None], columns[None]
