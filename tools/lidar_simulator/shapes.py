# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What rays hit: boxes, upright cylinders and ellipsoids, and foliage that lets some through."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace
import math
from typing import Literal

import numpy as np

from trt_engine.backend import Array

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """One simple shape of a thing.

    Attributes:
        shape: What fills the extent given by `half`.
        center: In metres.
        half: Half of the extent along the part's own axes.
        yaw: Heading of the part, counter-clockwise about z.
        reflectivity: Share of the light that comes back, 0 to 1.
        opacity: Share of the rays that do not pass through; below 1 it is foliage, which throws
            light back from anywhere inside.
    """

    shape: Literal['box', 'cylinder', 'ellipsoid']
    center: Vector
    half: Vector
    yaw: float = 0.0
    reflectivity: float = 0.3
    opacity: float = 1.0

    @property
    def reach(self) -> float:
        """Return the radius of a ball around the part."""
        return math.hypot(*self.half)

    def placed(self, x: float, y: float, z: float, yaw: float) -> Part:
        """Return the part of a thing that stands at (x, y, z) with that heading."""
        cos, sin = math.cos(yaw), math.sin(yaw)
        along, across, up = self.center
        center = (x + along * cos - across * sin, y + along * sin + across * cos, z + up)
        return replace(self, center=center, yaw=self.yaw + yaw)


def cast(part: Part, directions: Array, chance: np.random.Generator) -> tuple[Array, Array]:
    """Return how far rays from the origin go until they hit, and how squarely.

    Args:
        part: What may be hit.
        directions: (N, 3) of length 1.
        chance: Decides which rays pass through foliage, and how deep the others get.

    Returns:
        Distance (N,), infinite for a miss, and |cosine| of the angle to the surface's normal (N,).
    """
    cos, sin = math.cos(part.yaw), math.sin(part.yaw)
    half = np.array(part.half)
    x, y, z = part.center
    # In units of the part the shape is that of half extent 1 around the origin.
    origin = -np.array([x * cos + y * sin, y * cos - x * sin, z]) / half
    turned = np.stack(
        (
            directions[:, 0] * cos + directions[:, 1] * sin,
            directions[:, 1] * cos - directions[:, 0] * sin,
            directions[:, 2],
        ),
        axis=1,
    )
    rays = turned / half
    with np.errstate(divide='ignore', invalid='ignore'):
        enter, leave, normals = _CROSSINGS[part.shape](origin, rays)
        hit = (enter > 0) & (enter < leave)
        normals /= half
        squarely = np.abs((normals * turned).sum(axis=1)) / np.linalg.norm(normals, axis=1)
    far = np.where(hit, enter, np.inf)
    if part.opacity < 1:
        deep = enter + (leave - enter) * chance.random(len(far)) ** 2
        stopped = chance.random(len(far)) < part.opacity
        far = np.where(hit & stopped, deep, np.inf)
        squarely = chance.uniform(0.2, 1, len(far))
    return far, np.where(hit, squarely, 0)


def _cross_box(origin: Array, rays: Array) -> tuple[Array, Array, Array]:
    first, second = (-1 - origin) / rays, (1 - origin) / rays
    enters = np.minimum(first, second)
    leave = np.maximum(first, second).min(axis=1)
    side = enters.argmax(axis=1)
    return enters.max(axis=1), leave, np.eye(3)[side]


def _cross_ellipsoid(origin: Array, rays: Array) -> tuple[Array, Array, Array]:
    enter, leave = _cross_ball(origin, rays)
    return enter, leave, origin + enter[:, None] * rays


def _cross_cylinder(origin: Array, rays: Array) -> tuple[Array, Array, Array]:
    side, beyond = _cross_ball(origin[:2], rays[:, :2])
    first, second = (-1 - origin[2]) / rays[:, 2], (1 - origin[2]) / rays[:, 2]
    cap = np.minimum(first, second)
    enter, leave = np.maximum(side, cap), np.minimum(beyond, np.maximum(first, second))
    normals = origin + enter[:, None] * rays
    normals[:, 2] = 0
    normals[cap > side] = 0, 0, 1
    return enter, leave, normals


def _cross_ball(origin: Array, rays: Array) -> tuple[Array, Array]:
    """Return where rays enter and leave the unit ball (or circle); NaN where they miss."""
    square = (rays * rays).sum(axis=1)
    half = rays @ origin
    root = np.sqrt(half * half - square * (origin @ origin - 1))
    return (-half - root) / square, (-half + root) / square


_CROSSINGS = {'box': _cross_box, 'cylinder': _cross_cylinder, 'ellipsoid': _cross_ellipsoid}
