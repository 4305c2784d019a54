# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a lidar network takes, as the `input` of a model card of kind `points` says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Annotated
from typing import Literal

from trt_engine.fields import Allow
from trt_engine.fields import as_mapping
from trt_engine.fields import Key
from trt_engine.fields import read_section

MAX_CELLS = 1 << 24
MAX_PILLAR_POINTS = 1024
MAX_CLOUD_POINTS = 1 << 22
_FAR_M = 10_000.0

Channel = Literal['intensity', 'ring', 'time_lag']
Features = Literal['pillar10', 'pillar9', 'pillar9_relative', 'voxel', 'points']
Padding = Literal['zero', 'repeat']

# How many numbers a point brings beside itself.
_ADDED: Mapping[Features, int] = {
    'pillar10': 6, 'pillar9': 5, 'pillar9_relative': 5, 'voxel': 0, 'points': 0
}  # fmt: skip


@dataclass(frozen=True)
class PointsInput:
    """How a cloud becomes pillars, the columns of space that a lidar network sees, or stays one.

    A point is x, y, z in metres (x forward, y left, z up), then `channels`. Where `features` is
    points there are no pillars: `voxel_m` only says how large the cells of the head's grid are, and
    is the whole range where the card does not say it; `max_voxels` is 1.
    """

    tensor: Annotated[
        str,
        Allow(
            'Name of the input that takes the pillars, [V, points, features], or the points, '
            '[N, features] or [1, N, features]'
        ),
    ]
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
        Allow(
            'Size of a pillar along x, y and z; along z the whole range, or a part of it where '
            'features is voxel',
            above=0,
        ),
    ]
    max_points: Annotated[
        int,
        Allow(
            'Points that a pillar keeps, the first ones, at most 1024; where features is points, '
            'those that a cloud keeps, spread evenly over it',
            1,
            MAX_CLOUD_POINTS,
        ),
    ]
    max_voxels: Annotated[
        int, Allow('Pillars that a cloud may fill; not more than the ONNX file takes', 1, 1_000_000)
    ]
    features: Annotated[
        Features,
        Allow(
            'What a point brings beside itself: pillar10 its offsets from the mean and from the '
            'centre of its pillar; pillar9 the same without the centre in z; pillar9_relative '
            'as pillar9, with the offsets from the centre also in place of x and y; voxel nothing; '
            'points nothing, and there are no pillars: the network takes the points themselves'
        ),
    ]
    channels: Annotated[tuple[Channel, ...], Allow('What follows x, y and z, in order')] = (
        'intensity',
    )
    intensity_scale: Annotated[
        float, Allow('Factor on each intensity, such as 1/255', above=0, ratio=True)
    ] = 1.0
    intensity_max: Annotated[
        float | None,
        Allow(
            'Greatest intensity, after the scale, that the network was trained with: diagnostics '
            'warn of clouds beyond it; null: not known',
            above=0,
        ),
    ] = None
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
        Allow(
            'Input for batch, z, row and column of each pillar, [V, 4], or without the batch, '
            '[V, 3]; null: there is none'
        ),
    ] = None
    sizes_tensor: Annotated[
        str | None, Allow('Input for the points that each pillar has, [V]; null: there is none')
    ] = None
    count_tensor: Annotated[
        str | None,
        Allow('Input for the number of pillars, or of points, [1]; null: there is none'),
    ] = None
    mask_tensor: Annotated[
        str | None,
        Allow(
            'Where features is points, input for which rows are points, [N] or [1, N]; null: '
            'there is none'
        ),
    ] = None
    padding: Annotated[
        Padding,
        Allow(
            'Where features is points and their number is fixed: what fills the other rows, '
            'zeros, or the points once more'
        ),
    ] = 'zero'

    @property
    def grid(self) -> tuple[int, int]:
        """Return the number of pillars along x and along y."""
        low, high = self.range_m[:3], self.range_m[3:]
        columns, rows = (round((high[n] - low[n]) / self.voxel_m[n]) for n in range(2))
        return columns, rows

    @property
    def layers(self) -> int:
        """Return the number of voxels along z; pillars are one."""
        return round((self.range_m[5] - self.range_m[2]) / self.voxel_m[2])

    @property
    def point_size(self) -> int:
        """Return the numbers that a point has before it is decorated."""
        return 3 + len(self.channels)

    @property
    def feature_size(self) -> int:
        """Return the numbers that a point has after it is decorated."""
        return self.point_size + _ADDED[self.features]


def read_points_input(value: object, key: Key) -> PointsInput:
    """Return the `input` of a card whose `kind` is `points`.

    Args:
        value: The mapping, without `kind`.
        key: Where it stands.

    Raises:
        CardError: A key is unknown or missing, or a value is not allowed.
    """
    values = as_mapping(value, key)
    if values.get('features') == 'points':
        spec = _read_whole(values, key)
    else:
        spec = read_section(PointsInput, values, key)
        if spec.max_points > MAX_PILLAR_POINTS:
            raise (key / 'max_points').refuse(
                spec.max_points, f'at most {MAX_PILLAR_POINTS} in a pillar'
            )
        for name, unset in (('mask_tensor', None), ('padding', 'zero')):
            if getattr(spec, name) != unset:
                raise (key / name).error('is for input.features: points; remove it')
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


def _read_whole(values: Mapping[str, object], key: Key) -> PointsInput:
    """Return the input of a network that takes points, of which a card need not say pillars."""
    whole = {'voxel_m': [1.0, 1.0, 1.0], 'max_voxels': 1, **values}
    spec = read_section(PointsInput, whole, key)
    for name, unset in (('max_voxels', 1), ('places_tensor', None), ('sizes_tensor', None)):
        if getattr(spec, name) != unset:
            raise (key / name).error('is for pillars, and input.features is points; remove it')
    if 'voxel_m' not in values:
        low, high = spec.range_m[:3], spec.range_m[3:]
        x, y, z = (b - a for a, b in zip(low, high, strict=True))
        spec = replace(spec, voxel_m=(x, y, z))
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
        if name == 'z' and round(cells) != 1 and spec.features not in ('voxel', 'points'):
            raise (key / 'voxel_m').error(
                f'has {spec.voxel_m[2]:g} m in z, and the range {high - low:g} m; allowed: the '
                'same, since a pillar is as tall as the range, or input.features: voxel'
            )
    columns, rows = spec.grid
    if columns * rows * spec.layers > MAX_CELLS:
        tall = '' if spec.layers == 1 else f' * {spec.layers}'
        raise (key / 'voxel_m').error(
            f'makes {columns} * {rows}{tall} pillars; allowed: at most {MAX_CELLS}'
        )
