# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Clouds for networks that take points themselves: cut to the range, thinned, padded."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from trt_engine.backend import Array
from trt_engine.backend import TensorInfo
from trt_engine.errors import ModelFileError
from trt_engine.lidar.pillars import check_points
from trt_engine.lidar.pillars import in_range
from trt_engine.lidar.pillars import PillarCounts
from trt_engine.lidar.pillars import Pillars
from trt_engine.lidar_card import PointsInput


class WholeClouds:
    """Takes from clouds the points that a network sees, as if they all were of one pillar.

    They stay in the order of the cloud. Of more than `max_points`, evenly spaced ones are kept: the
    first ones would be of one side of a lidar that turns.
    """

    def __init__(self, spec: PointsInput) -> None:
        self._spec = spec

    def __call__(self, points: Array) -> Pillars:
        """Return the points that are kept, as one pillar; no pillar if there are none.

        Args:
            points: (N, point_size) float32; column by column in memory is fastest.

        Raises:
            PointsError: The array has another shape or type.
        """
        spec = self._spec
        check_points(points, spec)
        index = in_range(points, spec)
        inside = len(index)
        if inside > spec.max_points:
            index = index[np.arange(spec.max_points) * inside // spec.max_points]
        kept = len(index)
        counts = PillarCounts(
            points=len(points),
            outside=len(points) - inside,
            over_points=inside - kept,
            over_voxels=0,
            kept=kept,
            voxels=0,
            voxels_dropped=0,
        )
        one = np.zeros(min(kept, 1), np.intp)
        return Pillars(points.T[:, index].T, one, one + kept, one, counts)


class CloudInputs:
    """The inputs of a network that takes points, with their number or a mask where it has them."""

    def __init__(self, spec: PointsInput, inputs: Sequence[TensorInfo]) -> None:
        """Reserve the points.

        Raises:
            ModelFileError: The network has other inputs than the card names, of other shapes than
                it makes, or could not tell padding from points.
        """
        known = {info.name: info for info in inputs}
        names = (spec.tensor, spec.count_tensor, spec.mask_tensor)
        named = [name for name in names if name is not None]
        if set(named) != set(known):
            raise ModelFileError(
                f'the network takes {", ".join(known)}; input.tensor, count_tensor and '
                f'mask_tensor of the card name {", ".join(named)}'
            )
        self._shapes = {name: info.shape for name, info in known.items()}
        cloud_shapes(spec, self._shapes)
        free = self._shapes[spec.tensor][-2] < 0
        told = spec.count_tensor is not None or spec.mask_tensor is not None
        if not free and not told and spec.padding == 'zero':
            raise ModelFileError(
                f'the network always takes {spec.max_points} points, and nothing tells it how '
                'many are real; name input.count_tensor or input.mask_tensor in the card, set '
                'input.padding: repeat if it does not matter that a point comes twice, or export '
                'it with a free number of points'
            )
        self._spec = spec
        self._free = free
        self._types = {name: info.dtype for name, info in known.items()}
        self._rows: Array = np.zeros((spec.max_points, spec.point_size), np.float32)
        self._filled = 0

    def __call__(self, pillars: Pillars) -> Mapping[str, Array]:
        """Return the inputs by name, of at least one point; they are valid until the next call."""
        spec, count = self._spec, len(pillars.features)
        self._rows[:count] = pillars.features
        rows = count if self._free else spec.max_points
        if spec.padding == 'repeat':
            self._rows[count:rows] = self._rows[np.arange(rows - count) % count]
        else:
            self._rows[count : max(count, self._filled)] = 0
        self._filled = count
        inputs: dict[str | None, Array] = {
            spec.tensor: self._rows[:rows],
            spec.count_tensor: np.array(count),
            spec.mask_tensor: np.arange(rows) < count,
        }
        return {
            name: inputs[name].astype(self._types[name], copy=False).reshape(shape)
            for name, shape in cloud_shapes(spec, self._shapes, points=rows).items()
        }


def cloud_shapes(
    spec: PointsInput, inputs: Mapping[str, Sequence[int]], *, points: int | None = None
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the inputs of a network that takes points.

    Args:
        spec: What the card says of the points.
        inputs: Name -> shape in the file, -1 where it is free.
        points: How many there are where their number is free; None for as many as there may be.

    Raises:
        ModelFileError: The network lacks an input that the card names, or wants another shape.
    """
    if spec.tensor not in inputs:
        raise ModelFileError(
            f'the network takes {", ".join(inputs)}; input.tensor of the card names {spec.tensor!r}'
        )
    shape = inputs[spec.tensor]
    free = len(shape) > 1 and shape[-2] < 0
    largest = _forms(spec, spec.max_points)
    here = _forms(spec, points) if free and points is not None else largest
    shapes = {}
    for name, forms in largest.items():
        if name is None or name not in inputs:
            continue
        fit = [place for place, form in enumerate(forms) if _fits(inputs[name], form)]
        if not fit or (name == spec.mask_tensor and (inputs[name][-1] < 0) != free):
            wanted = ' or '.join(str(list(form)) for form in forms)
            raise ModelFileError(
                f'the network takes {name!r} as {list(inputs[name])}, where -1 is free; '
                f'input.max_points and input.channels of the card make {wanted}'
            )
        shapes[name] = here[name][fit[0]]
    return shapes


def _forms(spec: PointsInput, rows: int) -> dict[str | None, tuple[tuple[int, ...], ...]]:
    """Return the shapes that each input may have with so many points."""
    size = spec.point_size
    return {
        spec.tensor: ((rows, size), (1, rows, size)),
        spec.count_tensor: ((1,), ()),
        spec.mask_tensor: ((rows,), (1, rows)),
    }


def _fits(shape: Sequence[int], form: tuple[int, ...]) -> bool:
    return len(shape) == len(form) and all(
        own in (-1, size) for own, size in zip(shape, form, strict=True)
    )
