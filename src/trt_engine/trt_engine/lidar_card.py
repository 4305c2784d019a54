# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a lidar network takes, as the `input` of a model card of kind `points` says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Annotated
from typing import Literal

from trt_engine.fields import Allow
from trt_engine.fields import as_mapping
from trt_engine.fields import Key
from trt_engine.fields import read_section

MAX_CELLS = 1 << 24
_FAR_M = 10_000.0

Channel = Literal['intensity', 'ring', 'time_lag']
PillarForm = Literal['pillar10', 'pillar9', 'pillar9_relative']


@dataclass(frozen=True)
class PointsInput:
    """How a cloud becomes pillars, the columns of space that a lidar network sees.

    A point is x, y, z in metres (x forward, y left, z up), then `channels`.
    """

    tensor: Annotated[str, Allow('Name of the input that takes the pillars, [V, points, features]')]
    range_m: Annotated[
        tuple[float, float, float, float, float, float],
        Allow(
            'Where points count: lowest x, y, z, then highest x, y, z, which are outside',
            -_FAR_M,
            _FAR_M,
        ),
    ]
    voxel_m: Annotated[
        tuple[float, float, float],
        Allow('Size of a pillar along x, y and z; along z the whole range', above=0),
    ]
    max_points: Annotated[int, Allow('Points that a pillar keeps, the first ones', 1, 1024)]
    max_voxels: Annotated[
        int, Allow('Pillars that a cloud may fill; not more than the ONNX file takes', 1, 1_000_000)
    ]
    features: Annotated[
        PillarForm,
        Allow(
            'What a point brings beside itself: pillar10 its offsets from the mean and from the '
            'centre of its pillar; pillar9 the same without the centre in z; pillar9_relative '
            'as pillar9, with the offsets from the centre also in place of x and y'
        ),
    ]
    channels: Annotated[tuple[Channel, ...], Allow('What follows x, y and z, in order')] = (
        'intensity',
    )
    intensity_scale: Annotated[
        float, Allow('Factor on each intensity, such as 1/255', above=0, ratio=True)
    ] = 1.0
    fields: Annotated[
        Mapping[Channel, str],
        Allow('Channel -> field of the cloud that holds it, where that has another name'),
    ] = field(default_factory=dict, hash=False)
    missing: Annotated[
        Mapping[Channel, float],
        Allow('Channel -> value where a cloud lacks it; without one, such a cloud is refused'),
    ] = field(default_factory=dict, hash=False)

    places_tensor: Annotated[
        str | None,
        Allow('Input for batch, z, row and column of each pillar, [V, 4]; null: there is none'),
    ] = None
    sizes_tensor: Annotated[
        str | None, Allow('Input for the points that each pillar has, [V]; null: there is none')
    ] = None
    count_tensor: Annotated[
        str | None, Allow('Input for the number of pillars, [1]; null: there is none')
    ] = None

    @property
    def grid(self) -> tuple[int, int]:
        """Return the number of pillars along x and along y."""
        low, high = self.range_m[:3], self.range_m[3:]
        columns, rows = (round((high[n] - low[n]) / self.voxel_m[n]) for n in range(2))
        return columns, rows

    @property
    def point_size(self) -> int:
        """Return the numbers that a point has before it is decorated."""
        return 3 + len(self.channels)

    @property
    def feature_size(self) -> int:
        """Return the numbers that a point has after it is decorated."""
        return self.point_size + (6 if self.features == 'pillar10' else 5)


def read_points_input(value: object, key: Key) -> PointsInput:
    """Return the `input` of a card whose `kind` is `points`.

    Args:
        value: The mapping, without `kind`.
        key: Where it stands.

    Raises:
        CardError: A key is unknown or missing, or a value is not allowed.
    """
    spec = read_section(PointsInput, as_mapping(value, key), key)
    _check_grid(spec, key)
    if len(set(spec.channels)) < len(spec.channels):
        raise (key / 'channels').refuse(spec.channels, 'each channel once')
    for name in ('fields', 'missing'):
        for channel in getattr(spec, name):
            if channel not in spec.channels:
                named = ', '.join(spec.channels) or 'none'
                raise (key / name).error(f'names {channel!r}; input.channels has: {named}')
    # how old a sweep is comes with the sweep; no field of a cloud says it
    if 'time_lag' in spec.fields:
        raise (key / 'fields').error("names 'time_lag', which no field of a cloud holds")
    return spec


def _check_grid(spec: PointsInput, key: Key) -> None:
    for axis, name in enumerate('xyz'):
        low, high = spec.range_m[axis], spec.range_m[axis + 3]
        if not high > low:
            raise (key / 'range_m').error(f'ends in {name} at {high:g}, which is not above {low:g}')
        cells = (high - low) / spec.voxel_m[axis]
        # float32 is what both the kernel and NumPy reckon with
        if round(cells) < 1 or abs(cells - round(cells)) > 1e-3:
            raise (key / 'voxel_m').error(
                f'does not divide the range in {name}: {high - low:g} m in steps of '
                f'{spec.voxel_m[axis]:g} m are {cells:.4g} pillars; allowed: a whole number'
            )
        if name == 'z' and round(cells) != 1:
            raise (key / 'voxel_m').error(
                f'has {spec.voxel_m[2]:g} m in z, and the range {high - low:g} m; allowed: the '
                'same, since a pillar is as tall as the range (voxels need sparse convolutions)'
            )
    columns, rows = spec.grid
    if columns * rows > MAX_CELLS:
        raise (key / 'voxel_m').error(
            f'makes {columns} * {rows} pillars; allowed: at most {MAX_CELLS}'
        )
