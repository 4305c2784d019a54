# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a network made of each pillar, laid out as seen from above, for the network after it."""

from __future__ import annotations

import ctypes

import numpy as np

from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.pillar_targets import Element
from trt_engine.cuda.pillar_targets import PillarRows
from trt_engine.cuda.runtime import call
from trt_engine.cuda.runtime import Stream
from trt_engine.lidar_card import PointsInput

_THREADS = 64
_ELEMENTS = {2: 'unsigned short', 4: 'unsigned int'}


class _Scatter(ctypes.Structure):
    """As in scatter.cu."""

    _fields_ = (
        ('count', ctypes.c_void_p),
        ('cells', ctypes.c_void_p),
        ('features', ctypes.c_void_p),
        ('grid', ctypes.c_void_p),
        ('filled', ctypes.c_void_p),
        ('filled_cells', ctypes.c_void_p),
        ('channels', ctypes.c_int),
        ('size', ctypes.c_int),
    )


class ScatterPlan:
    """From the outputs of an encoder of pillars to the bird's-eye grid.

    Args:
        kernels: Where the kernels come from.
        memory: Where the memory comes from.
        stream: Used to empty the grid.
        rows: What the encoder takes; it has been filled when this runs.
        features: Address on the GPU of what the encoder gives, [V, C], V at least the pillars.
        grid: Address on the GPU of [1, C, rows, columns]; nothing else may write there.
        channels: C.
        dtype: Of both.

    Raises:
        BackendError: A kernel cannot be had, or memory is short.
    """

    def __init__(
        self,
        kernels: Kernels,
        memory: Lease,
        stream: Stream,
        rows: PillarRows,
        features: int,
        grid: int,
        channels: int,
        dtype: Element = 'float32',
    ) -> None:
        spec = rows.spec
        columns, lines = spec.grid
        size = columns * lines
        width = np.dtype(dtype).itemsize
        filled_bytes, cells_bytes = scatter_bytes(spec)
        filled = memory.take('device', filled_bytes).address
        call('cudaMemsetAsync', filled, 0, filled_bytes, stream.handle)
        call('cudaMemsetAsync', grid, 0, size * channels * width, stream.handle)
        self._given = _Scatter(
            count=rows.given['filled'],  # begins with the count
            cells=rows.given['cells'],
            features=features,
            grid=grid,
            filled=filled,
            filled_cells=memory.take('device', cells_bytes).address,
            channels=channels,
            size=size,
        )
        self._blocks = -(-spec.max_voxels // _THREADS)
        self._kernels = [
            kernels.load(name, source='scatter', ELEMENT=_ELEMENTS[width])
            for name in ('clear', 'scatter')
        ]

    def enqueue(self, stream: Stream) -> None:
        """Put the kernels into a stream.

        Raises:
            InferenceError: CUDA refused them.
        """
        for kernel in self._kernels:
            kernel.launch(stream, (self._blocks, 1, 1), (_THREADS, 1, 1), self._given)


def scatter_bytes(spec: PointsInput) -> tuple[int, int]:
    """Return the sizes of what a `ScatterPlan` takes of the GPU."""
    return 4, spec.max_voxels * 4
