# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Network inputs on the GPU that pillars go into, and what of them is filled."""

from __future__ import annotations

import ctypes
from typing import Literal

import numpy as np

from trt_engine.backend import Array
from trt_engine.cuda.memory import Exchange
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.runtime import call
from trt_engine.cuda.runtime import Stream
from trt_engine.lidar_card import PointsInput

Element = Literal['float32', 'float16']


class _Filled(ctypes.Structure):
    """As in pillars.cu."""

    _fields_ = (('count', ctypes.c_uint), ('before', ctypes.c_uint))


class PillarTarget:
    """A network input that pillars go into, and what of it is filled.

    Several plans may fill one, in turns; nothing else may write there.
    """

    kernel: str

    def __init__(
        self,
        memory: Lease,
        stream: Stream,
        spec: PointsInput,
        tensor: int,
        numbers: int,
        dtype: Element,
    ) -> None:
        self.spec = spec
        self.dtype = dtype
        filled_bytes, cells_bytes = target_bytes(spec)
        filled = memory.take('device', filled_bytes).address
        self.given: dict[str, int | None] = {
            'filled': filled,
            'cells': memory.take('device', cells_bytes).address,
            'tensor': tensor,
        }
        size = numbers * np.dtype(dtype).itemsize
        call('cudaMemsetAsync', filled, 0, filled_bytes, stream.handle)
        call('cudaMemsetAsync', tensor, 0, size, stream.handle)


class PillarGrid(PillarTarget):
    """The bird's-eye grid, filled by the pillar network; as `trt_engine.lidar.pillars.BirdsEye`."""

    kernel = 'encode'

    def __init__(
        self,
        memory: Lease,
        stream: Stream,
        spec: PointsInput,
        tensor: int,
        weight: Array,
        bias: Array,
        dtype: Element = 'float32',
    ) -> None:
        """Empty the grid.

        Args:
            memory: Where the memory comes from.
            stream: Used to bring the weights to the GPU.
            spec: What the card says of the points.
            tensor: Address on the GPU of the grid, [1, C, rows, columns].
            weight: (feature_size, C) float32 of the pillar network, normalisation folded in.
            bias: (C,) float32.
            dtype: Of the grid; the pillar network runs in float32 in any case.

        Raises:
            BackendError: Memory is short.
        """
        columns, rows = spec.grid
        super().__init__(memory, stream, spec, tensor, len(bias) * rows * columns, dtype)
        self.channels = len(bias)
        content = np.concatenate((weight.reshape(-1), bias)).astype(np.float32)
        exchange = Exchange(memory, content.nbytes)
        exchange.host[:] = content.view(np.uint8)
        exchange.upload(stream)
        self.given |= {'weight': exchange.pointer, 'bias': exchange.pointer + weight.size * 4}


class PillarRows(PillarTarget):
    """Pillars for a network that takes them itself; as `trt_engine.lidar.pillars.PaddedPillars`."""

    kernel = 'pad'
    channels = 0

    def __init__(
        self,
        memory: Lease,
        stream: Stream,
        spec: PointsInput,
        tensor: int,
        *,
        places: int | None = None,
        sizes: int | None = None,
        number: int | None = None,
        dtype: Element = 'float32',
    ) -> None:
        """Empty the tensors.

        Args:
            memory: Where the memory comes from.
            stream: Used to empty them.
            spec: What the card says of the points.
            tensor: Address on the GPU of [max_voxels, max_points, feature_size]; rows without a
                point are zero.
            places: Address of [max_voxels, 4] int32, where the network wants them: batch, z, row,
                column; zero beyond the last pillar.
            sizes: Address of [max_voxels] int32, where the network wants the number of points that
                each pillar keeps; zero beyond the last.
            number: Address of an int32, where the network wants the number of pillars.
            dtype: Of `tensor`.

        Raises:
            BackendError: Memory is short.
        """
        numbers = spec.max_voxels * spec.max_points * spec.feature_size
        super().__init__(memory, stream, spec, tensor, numbers, dtype)
        self.given |= {'places': places, 'kept': sizes, 'number': number}
        voxels = spec.max_voxels
        for address, size in ((places, voxels * 16), (sizes, voxels * 4), (number, 4)):
            if address is not None:
                call('cudaMemsetAsync', address, 0, size, stream.handle)


def target_bytes(spec: PointsInput) -> tuple[int, int]:
    """Return the sizes of what a target takes of the GPU, beside the weights of a `PillarGrid`."""
    return ctypes.sizeof(_Filled), spec.max_voxels * 4


def weights_bytes(weight: Array, bias: Array) -> int:
    """Return the size of what a `PillarGrid` takes for weights on both sides."""
    return (weight.size + bias.size) * 4
