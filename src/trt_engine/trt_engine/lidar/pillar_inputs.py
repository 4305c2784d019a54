# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""From clouds to the inputs of a network: the grid seen from above, pillars, voxels, or points."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from trt_engine.backend import Array
from trt_engine.backend import Backend
from trt_engine.backend import TensorInfo
from trt_engine.errors import ModelFileError
from trt_engine.lidar.model import PillarWeights
from trt_engine.lidar.pillars import BirdsEye
from trt_engine.lidar.pillars import PaddedPillars
from trt_engine.lidar.pillars import Pillarizer
from trt_engine.lidar.pillars import PillarNet
from trt_engine.lidar.pillars import Pillars
from trt_engine.lidar.whole_clouds import cloud_shapes
from trt_engine.lidar.whole_clouds import CloudInputs
from trt_engine.lidar.whole_clouds import WholeClouds
from trt_engine.lidar_card import PointsInput

Encoder = Callable[[Pillars], Array]


class NetworkInputs(Protocol):
    """What makes the inputs of one network of pillars."""

    def __call__(self, pillars: Pillars) -> Mapping[str, Array]:
        """Return the inputs by name; they are valid until the next call."""


def open_pillarizer(spec: PointsInput) -> Callable[[Array], Pillars]:
    """Return what sorts clouds into pillars; into one, where a network takes points themselves.

    It takes (N, point_size) float32, and raises PointsError for other arrays.
    """
    return WholeClouds(spec) if spec.features == 'points' else Pillarizer(spec)


def open_inputs(
    spec: PointsInput, weights: PillarWeights | None, network: Backend, encoder: Backend | None
) -> NetworkInputs:
    """Return what makes the inputs of a network.

    Args:
        spec: What the card says of the points.
        weights: The network inside a pillar where it is known, to run it here.
        network: Takes the grid seen from above, or the pillars where neither of the others is.
        encoder: Runs the network inside a pillar where `weights` does not hold it.

    Raises:
        ModelFileError: The network has other inputs than the card says, or is in two parts where
            there are no pillars between them.
    """
    inputs = [info for info in network.tensors if info.mode == 'input']
    if (weights or encoder) and (spec.features == 'points' or spec.layers > 1):
        raise ModelFileError(
            f'a network inside the pillars needs pillars as tall as the range, and input.features '
            f'is {spec.features}; remove `encoder` from the card, or set voxel_m and features'
        )
    if spec.features == 'points':
        return CloudInputs(spec, inputs)
    if encoder is not None:
        return GridInputs(spec, BackendEncoder(spec, encoder), inputs)
    if weights is None:
        return PillarInputs(spec, inputs)
    net = PillarNet(weights.weight, weights.bias, spec.max_points)
    return GridInputs(spec, net, inputs, channels=len(weights.bias))


def network_shapes(
    spec: PointsInput, inputs: Mapping[str, Sequence[int]], *, fewest: bool = False
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a network's inputs, as many pillars as there may be.

    Args:
        spec: What the card says of the points.
        inputs: Name -> shape in the file, -1 where it is free.
        fewest: Whether one pillar, or point, is asked about, as far as the file leaves it free.

    Raises:
        ModelFileError: The network takes neither one grid nor the card's pillars or points.
    """
    if spec.features == 'points':
        return cloud_shapes(spec, inputs, points=1 if fewest else None)
    if spec.tensor in inputs:
        voxels = 1 if fewest and inputs[spec.tensor][0] < 0 else spec.max_voxels
        shapes: dict[str | None, tuple[int, ...]] = {
            spec.tensor: (voxels, spec.max_points, spec.feature_size),
            spec.places_tensor: (voxels, _place_size(spec, inputs)),
            spec.sizes_tensor: (voxels,),
            spec.count_tensor: (1,),
        }
        return {name: shape for name, shape in shapes.items() if name is not None}
    columns, rows = spec.grid
    listed = ', '.join(f'{name} {list(shape)}' for name, shape in inputs.items())
    if len(inputs) != 1 or any(len(shape) != 4 for shape in inputs.values()):
        raise ModelFileError(
            f'the network takes {listed}; wanted one grid [1, C, {rows}, {columns}], or '
            f'{spec.tensor!r}, as input.tensor of the card says'
        )
    return {name: (1, shape[1], rows, columns) for name, shape in inputs.items()}


class GridInputs:
    """For networks that take what an encoder makes of each pillar, laid out as seen from above."""

    def __init__(
        self,
        spec: PointsInput,
        encoder: Encoder,
        inputs: Sequence[TensorInfo],
        *,
        channels: int | None = None,
    ) -> None:
        """Reserve the grid.

        Args:
            spec: What the card says of the points.
            encoder: Gives (V, C) float32 for V pillars.
            inputs: Those of the network; there must be one.
            channels: What the encoder gives, where that is known.

        Raises:
            ModelFileError: The network has other inputs, or wants another grid.
        """
        columns, rows = spec.grid
        wanted = f'[1, {channels or "C"}, {rows}, {columns}]'
        shapes = ', '.join(f'{info.name} {list(info.shape)}' for info in inputs)
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise ModelFileError(f'the network takes {shapes}; wanted one grid {wanted}')
        (info,) = inputs
        batch, own, own_rows, own_columns = info.shape
        same_size = own_rows in (-1, rows) and own_columns in (-1, columns)
        if batch not in (-1, 1) or own < 1 or channels not in (None, own) or not same_size:
            raise ModelFileError(
                f'the network takes {shapes}; input.range_m and input.voxel_m of the card, and '
                f'the network inside a pillar, make {wanted}'
            )
        self._name = info.name
        self._encoder = encoder
        self._grid = BirdsEye(spec, own)

    def __call__(self, pillars: Pillars) -> Mapping[str, Array]:
        """Return the grid, by the name of the network's input."""
        return {self._name: self._grid(self._encoder(pillars), pillars.cells)}


class PillarInputs:
    """For networks that take the pillars themselves, with standard operators only."""

    def __init__(self, spec: PointsInput, inputs: Sequence[TensorInfo]) -> None:
        """Reserve the pillars.

        Raises:
            ModelFileError: The network has other inputs than the card names, or could not tell
                rows without a pillar from pillars, or layers from each other.
        """
        known = {info.name: info for info in inputs}
        names = (spec.tensor, spec.places_tensor, spec.sizes_tensor, spec.count_tensor)
        named = [name for name in names if name is not None]
        if set(named) != set(known):
            raise ModelFileError(
                f'the network takes {", ".join(known)}; input.tensor, places_tensor, sizes_tensor '
                f'and count_tensor of the card name {", ".join(named)}'
            )
        self._whole = known[spec.tensor].shape[0] > 0
        if self._whole and spec.count_tensor is None and spec.sizes_tensor is None:
            raise ModelFileError(
                f'the network always takes {known[spec.tensor].shape[0]} pillars, and nothing '
                'tells it how many are real; name input.count_tensor or input.sizes_tensor in '
                'the card, or export it with a free number of pillars'
            )
        self._spec = spec
        self._place_size = _place_size(spec, {name: info.shape for name, info in known.items()})
        self._padded = PaddedPillars(spec)
        self._types = {name: info.dtype for name, info in known.items()}

    def __call__(self, pillars: Pillars) -> Mapping[str, Array]:
        """Return the pillars, and what else of them the card names."""
        spec, count = self._spec, len(pillars)
        rows = spec.max_voxels if self._whole else count
        inputs = {spec.tensor: self._padded(pillars)[:rows]}
        if spec.places_tensor is not None:
            places = pillars.places(*spec.grid)[:, 4 - self._place_size :]
            inputs[spec.places_tensor] = _filled(places, rows)
        if spec.sizes_tensor is not None:
            inputs[spec.sizes_tensor] = _filled(pillars.sizes, rows)
        if spec.count_tensor is not None:
            inputs[spec.count_tensor] = np.array([count])
        types = self._types
        return {name: array.astype(types[name], copy=False) for name, array in inputs.items()}


class BackendEncoder:
    """Runs the network inside a pillar through a backend of its own: what no PillarNet can be."""

    def __init__(self, spec: PointsInput, backend: Backend) -> None:
        """Reserve the pillars.

        Raises:
            ModelFileError: The encoder has other inputs or outputs than the card says.
        """
        inputs = [info for info in backend.tensors if info.mode == 'input']
        outputs = [info for info in backend.tensors if info.mode == 'output']
        if [info.name for info in inputs] != [spec.tensor] or len(outputs) != 1:
            names = ', '.join(info.name for info in backend.tensors)
            raise ModelFileError(
                f'the encoder has {names}; wanted one input {spec.tensor!r} and one output'
            )
        self._backend = backend
        self._spec = spec
        self._output = outputs[0].name
        self._whole = inputs[0].shape[0] > 0
        self._padded = PaddedPillars(spec)

    def __call__(self, pillars: Pillars) -> Array:
        """Return (V, C) float32.

        Raises:
            InferenceError: The encoder failed.
        """
        count = len(pillars)
        rows = self._spec.max_voxels if self._whole else count
        output = self._backend.run({self._spec.tensor: self._padded(pillars)[:rows]})[self._output]
        return output[:count].reshape(count, -1)


def _place_size(spec: PointsInput, inputs: Mapping[str, Sequence[int]]) -> int:
    """Return how many numbers say where a pillar is: 3, or 4 with the batch."""
    if spec.places_tensor is None or spec.places_tensor not in inputs:
        return 4
    shape = inputs[spec.places_tensor]
    if len(shape) != 2 or shape[1] not in (-1, 3, 4):
        raise ModelFileError(
            f'the network takes {spec.places_tensor!r} as {list(shape)}; wanted [V, 4] for batch, '
            'z, row and column, or [V, 3] without the batch'
        )
    return 3 if shape[1] == 3 else 4


def _filled(values: Array, rows: int) -> Array:
    """Return as many rows, of zeros where there are no more values."""
    out = np.zeros((rows, *values.shape[1:]), values.dtype)
    out[: len(values)] = values
    return out
