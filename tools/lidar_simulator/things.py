# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What stands in a street, at random sizes: things that are labelled, and clutter that is not."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tools.lidar_simulator.shapes import Part
from tools.lidar_simulator.shapes import Vector

Chance = np.random.Generator


@dataclass(frozen=True)
class Thing:
    """A thing around the origin, heading along x, standing on z = 0.

    Attributes:
        size: Length, width and height of the box around all parts, in metres.
        parts: What it is made of.
    """

    size: Vector
    parts: tuple[Part, ...]


def _block(
    x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], reflectivity: float
) -> Part:
    """Return a box from its ends along each axis."""
    center = (sum(x) / 2, sum(y) / 2, sum(z) / 2)
    half = ((x[1] - x[0]) / 2, (y[1] - y[0]) / 2, (z[1] - z[0]) / 2)
    return Part('box', center, half, reflectivity=reflectivity)


def _round(
    shape: Literal['cylinder', 'ellipsoid'],
    x: float,
    y: float,
    z: tuple[float, float],
    radii: tuple[float, float],
    reflectivity: float,
) -> Part:
    """Return an upright cylinder or an ellipsoid from its middle, height range and radii."""
    center = (x, y, sum(z) / 2)
    half = (*radii, (z[1] - z[0]) / 2)
    return Part(shape, center, half, reflectivity=reflectivity)


def _wheels(length: float, width: float, radius: float) -> list[Part]:
    thick = 0.2
    return [
        _block(
            (x - radius, x + radius), (side - thick / 2, side + thick / 2), (0, 2 * radius), 0.05
        )
        for x in (-0.3 * length, 0.3 * length)
        for side in (-(width - thick) / 2, (width - thick) / 2)
    ]


def car(chance: Chance) -> Thing:
    length, width, height = _size(chance, (3.6, 5.0), (1.6, 1.95), (1.35, 1.75))
    paint, belt = chance.uniform(0.06, 0.8), 0.58 * height
    front = chance.uniform(0.12, 0.25) * length
    rear = -chance.uniform(0.3, 0.48) * length
    return Thing(
        (length, width, height),
        (
            _block((-length / 2, length / 2), (-width / 2, width / 2), (0.22, belt), paint),
            _block((rear, front), (-0.44 * width, 0.44 * width), (belt, height), 0.12),
            # the roof is painted, the windows below it throw little back
            _block((rear, front), (-0.42 * width, 0.42 * width), (height - 0.08, height), paint),
            *_wheels(length, width, 0.31),
        ),
    )


def van(chance: Chance) -> Thing:
    length, width, height = _size(chance, (4.7, 6.4), (1.85, 2.1), (1.9, 2.7))
    paint, nose = chance.uniform(0.2, 0.8), chance.uniform(0.28, 0.36) * length
    return Thing(
        (length, width, height),
        (
            _block((-length / 2, nose), (-width / 2, width / 2), (0.3, height), paint),
            _block((nose, length / 2), (-width / 2, width / 2), (0.3, 0.5 * height), paint),
            *_wheels(length, width, 0.34),
        ),
    )


def truck(chance: Chance) -> Thing:
    length, width, height = _size(chance, (6.5, 12.0), (2.3, 2.55), (2.9, 3.9))
    cab, paint = chance.uniform(1.8, 2.4), chance.uniform(0.1, 0.7)
    end = length / 2 - cab
    return Thing(
        (length, width, height),
        (
            _block((end, length / 2), (-width / 2, width / 2), (0.5, 0.85 * height), paint),
            _block((-length / 2, end - 0.4), (-width / 2, width / 2), (1.0, height),
                   chance.uniform(0.2, 0.9)),
            _block((-length / 2, end), (-0.4 * width, 0.4 * width), (0.6, 1.0), 0.1),
            *_wheels(length, width, 0.5),
        ),
    )  # fmt: skip


def pedestrian(chance: Chance) -> Thing:
    length, width, height = _size(chance, (0.4, 0.85), (0.45, 0.7), (1.15, 1.95))
    cloth = chance.uniform(0.1, 0.6)
    hip, neck = 0.48 * height, 0.84 * height
    leg = min(0.09, width / 5)
    stride = length / 2 - leg
    return Thing(
        (length, width, height),
        (
            _round('cylinder', stride, leg * 1.3, (0, hip), (leg, leg), cloth),
            _round('cylinder', -stride, -leg * 1.3, (0, hip), (leg, leg), cloth),
            _round('ellipsoid', 0, 0, (hip - 0.1, neck + 0.05), (min(0.16, length / 2), width / 2),
                   cloth),
            _round('ellipsoid', 0.02, 0, (neck, height), (0.1, 0.09), 0.4),
        ),
    )  # fmt: skip


def cyclist(chance: Chance) -> Thing:
    length, width, height = _size(chance, (1.6, 1.9), (0.5, 0.75), (1.55, 1.9))
    cloth, wheel = chance.uniform(0.1, 0.7), 0.33
    axle = length / 2 - wheel
    return Thing(
        (length, width, height),
        (
            *(_block((x - wheel, x + wheel), (-0.03, 0.03), (0, 2 * wheel), 0.08)
              for x in (-axle, axle)),
            _block((-axle, axle), (-0.04, 0.04), (0.45, 0.7), 0.3),
            _block((axle - 0.1, axle), (-width / 2, width / 2), (0.95, 1.05), 0.2),
            _round('cylinder', 0.05, 0.12, (0.3, 0.95), (0.08, 0.08), cloth),
            _round('cylinder', 0.05, -0.12, (0.3, 0.95), (0.08, 0.08), cloth),
            _round('ellipsoid', 0.02, 0, (0.85, height - 0.2), (0.28, 0.22), cloth),
            _round('ellipsoid', 0.22, 0, (height - 0.27, height), (0.12, 0.1), 0.4),
        ),
    )  # fmt: skip


def pole(chance: Chance) -> Thing:
    radius, height = chance.uniform(0.04, 0.18), chance.uniform(2.2, 8)
    part = _round('cylinder', 0, 0, (0, height), (radius, radius), chance.uniform(0.2, 0.7))
    parts = [part]
    if chance.random() < 0.4:  # a sign, which throws nearly all light back
        parts.append(_block((-0.03, 0.03), (-0.35, 0.35), (height - 0.7, height), 1.0))
    return Thing((2 * radius, 2 * radius, height), tuple(parts))


def post(chance: Chance) -> Thing:
    """Return a bollard, bin or hydrant: about as big as a child."""
    radius, height = chance.uniform(0.1, 0.35), chance.uniform(0.6, 1.4)
    part = _round('cylinder', 0, 0, (0, height), (radius, radius), chance.uniform(0.1, 0.7))
    return Thing((2 * radius, 2 * radius, height), (part,))


def crate(chance: Chance) -> Thing:
    """Return a container, kiosk or electricity cabinet."""
    size = _size(chance, (0.5, 3.0), (0.4, 1.6), (0.8, 2.2))
    length, width, height = size
    part = _block(
        (-length / 2, length / 2),
        (-width / 2, width / 2),
        (0, height),
        chance.uniform(0.1, 0.7),
    )
    return Thing(size, (part,))


def wall(chance: Chance) -> Thing:
    size = _size(chance, (4, 35), (0.2, 8), (0.8, 9))
    length, width, height = size
    light = chance.uniform(0.15, 0.6)
    part = _block((-length / 2, length / 2), (-width / 2, width / 2), (0, height), light)
    return Thing(size, (part,))


def tree(chance: Chance) -> Thing:
    trunk, radius = chance.uniform(0.08, 0.3), chance.uniform(1.0, 3.0)
    low, high = chance.uniform(1.6, 2.6), chance.uniform(4, 9)
    crown = Part(
        'ellipsoid', (0, 0, (low + high) / 2), (radius, radius, (high - low) / 2),
        reflectivity=chance.uniform(0.3, 0.6), opacity=chance.uniform(0.3, 0.8),
    )  # fmt: skip
    stem = _round('cylinder', 0, 0, (0, low + 0.5), (trunk, trunk), 0.25)
    return Thing((2 * trunk, 2 * trunk, high), (stem, crown))


def bush(chance: Chance) -> Thing:
    length, width, height = _size(chance, (0.6, 5.0), (0.5, 1.5), (0.5, 2.0))
    leaves = Part(
        'ellipsoid', (0, 0, 0.45 * height), (length / 2, width / 2, 0.55 * height),
        reflectivity=chance.uniform(0.3, 0.6), opacity=chance.uniform(0.5, 0.95),
    )  # fmt: skip
    return Thing((length, width, height), (leaves,))


Maker = Callable[[Chance], Thing]
LABELLED: Mapping[str, Maker] = {
    'car': car, 'van': van, 'truck': truck, 'pedestrian': pedestrian, 'cyclist': cyclist,
}  # fmt: skip
CLUTTER: Mapping[str, Maker] = {
    'pole': pole, 'post': post, 'crate': crate, 'wall': wall, 'tree': tree, 'bush': bush,
}  # fmt: skip
KINDS = tuple(LABELLED)


def _size(chance: Chance, *ranges: tuple[float, float]) -> Vector:
    length, width, height = (float(chance.uniform(*ends)) for ends in ranges)
    return length, width, height
