# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Points to pillars on the GPU: what `trt_engine.lidar.pillars` makes on the CPU, from raw records.

Cells, counts, and which points are kept are the same, and so is every bit of the features. What the
pillar network makes of them differs by rounding, since the CPU path leaves sums to a library.
"""

from __future__ import annotations

from collections.abc import Iterable
import ctypes

import numpy as np

from trt_engine.backend import Array
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Exchange
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.pillar_targets import PillarGrid
from trt_engine.cuda.pillar_targets import PillarRows
from trt_engine.cuda.runtime import call
from trt_engine.cuda.runtime import Stream
from trt_engine.errors import PointsError
from trt_engine.lidar.pillars import MAX_POINTS
from trt_engine.lidar.pillars import PillarCounts
from trt_engine.lidar.point_records import PointLayout
from trt_engine.lidar.point_records import PointRecords
from trt_engine.lidar_card import PointsInput

# As in pillars.cu.
_THREADS = 256
_CELLS_A_BLOCK = _THREADS * 8

_PILLAR_THREADS = 64
_MOST_BLOCKS = 4096  # each goes on to further pillars where there are more
_COUNT_BYTES = 16  # before the records, and a multiple of four, so that these stay aligned


class _Status(ctypes.Structure):
    """As in pillars.cu."""

    _fields_ = (
        ('dropped', ctypes.c_uint),
        ('inside', ctypes.c_uint),
        ('shown', ctypes.c_uint),
        ('kept', ctypes.c_uint),
        ('voxels', ctypes.c_uint),
        ('spare', ctypes.c_uint * 3),
    )


class _Cloud(ctypes.Structure):
    """As in pillars.cu."""

    _fields_ = (
        ('records', ctypes.c_void_p),
        ('points', ctypes.c_void_p),
        ('cell_of', ctypes.c_void_p),
        ('list', ctypes.c_void_p),
        ('table', ctypes.c_void_p),
        ('totals', ctypes.c_void_p),
        ('begins', ctypes.c_void_p),
        ('sizes', ctypes.c_void_p),
        ('ends', ctypes.c_void_p),
        ('status', ctypes.c_void_p),
        ('filled', ctypes.c_void_p),
        ('cells', ctypes.c_void_p),
        ('tensor', ctypes.c_void_p),
        ('weight', ctypes.c_void_p),
        ('bias', ctypes.c_void_p),
        ('places', ctypes.c_void_p),
        ('kept', ctypes.c_void_p),
        ('number', ctypes.c_void_p),
        ('step', ctypes.c_int),
        ('at', ctypes.c_int * 6),
        ('scale', ctypes.c_float * 6),
        ('constant', ctypes.c_float * 6),
        ('low', ctypes.c_float * 3),
        ('high', ctypes.c_float * 3),
        ('size', ctypes.c_float * 3),
        ('middle', ctypes.c_float * 3),
        ('columns', ctypes.c_int),
        ('rows', ctypes.c_int),
        ('max_voxels', ctypes.c_int),
        ('channels', ctypes.c_int),
        ('half', ctypes.c_int),
        ('measured', ctypes.c_int),
    )


class PillarPlan:
    """How clouds of one layout become pillars: `stage`, `upload`, `enqueue`, and later `read`.

    Args:
        kernels: Where the kernels come from.
        memory: Where the memory comes from.
        target: Where the pillars go.
        layout: Where the numbers of a point are.
        capacity: Points that a cloud has at most.

    Raises:
        PointsError: The layout has more or fewer numbers than the card, or the capacity is out
            of range.
        BackendError: A kernel cannot be had, or memory is short.
    """

    def __init__(
        self,
        kernels: Kernels,
        memory: Lease,
        target: PillarGrid | PillarRows,
        layout: PointLayout,
        capacity: int,
    ) -> None:
        spec = target.spec
        if len(layout.offsets) != spec.point_size or not 1 <= capacity <= MAX_POINTS:
            raise PointsError(
                f'points of {len(layout.offsets)} numbers, at most {capacity} of them; wanted '
                f'{spec.point_size} numbers, and 1 to {MAX_POINTS} points'
            )
        self.capacity = capacity
        self.layout = layout
        columns, rows = spec.grid
        cells = columns * rows
        records_bytes, counts_bytes = _shared(layout.step, capacity)
        self._records = Exchange(memory, records_bytes)
        self._count: Array = self._records.host[:4].view(np.uint32)
        self._count[0] = 0
        self._counts = Exchange(memory, counts_bytes)
        self._status = _Status.from_address(self._counts.host.ctypes.data)
        self._table_bytes = cells * 4
        scanned = -(-cells // _CELLS_A_BLOCK)

        low, size = (np.array(each, np.float32) for each in (spec.range_m[:3], spec.voxel_m))
        self._given = _Cloud(
            records=self._records.pointer + _COUNT_BYTES,
            points=self._records.pointer,
            **{
                name: memory.take('device', nbytes).address
                for name, nbytes in _scratch(spec, capacity).items()
            },
            **target.given,
            status=self._counts.pointer,
            step=layout.step,
            at=_six(-1 if offset is None else offset for offset in layout.offsets),
            scale=_six(layout.scales),
            constant=_six(layout.constants),
            low=tuple(low),
            high=spec.range_m[3:],
            size=tuple(size),
            middle=tuple(size / np.float32(2) + low),
            columns=columns,
            rows=rows,
            max_voxels=spec.max_voxels,
            channels=target.channels,
            half=target.dtype == 'float16',
            measured=layout.measured,
        )
        points = (-(-capacity // _THREADS), _THREADS)
        work = [
            ('locate', *points),
            ('totals', scanned, _THREADS),
            ('rank', scanned, _THREADS),
            ('place', *points),
            (target.kernel, min(spec.max_voxels, _MOST_BLOCKS), _PILLAR_THREADS),
        ]
        if isinstance(target, PillarGrid):
            blocks = -(-spec.max_voxels // _PILLAR_THREADS)
            work.insert(0, ('clear', blocks, _PILLAR_THREADS))
        defines = {
            'NUMBERS': str(spec.point_size),
            'MAX_POINTS': str(spec.max_points),
            'FORM': spec.features.upper(),
        }
        self._work = [
            (kernels.load(name, source='pillars', **defines), blocks, threads)
            for name, blocks, threads in work
        ]

    def stage(self, records: PointRecords) -> None:
        """Bring a cloud to where the GPU takes it from; none that it took may be under way.

        Raises:
            PointsError: It has points of another layout than the plan, or too many.
        """
        if len(records) and records.layout != self.layout:
            raise PointsError(f'points of {records.layout}; wanted those of {self.layout}')
        if len(records) > self.capacity:
            raise PointsError(
                f'a cloud of {len(records)} points; wanted at most {self.capacity}, what memory '
                'was taken for'
            )
        records.copy_to(self._records.host[_COUNT_BYTES:])
        self._count[0] = len(records)

    def upload(self, stream: Stream) -> None:
        """Put the copy of the staged cloud into a stream; its size follows the cloud.

        That is why it does not belong into a graph, and `enqueue` does.

        Raises:
            InferenceError: CUDA refused it.
        """
        self._records.upload(stream, _COUNT_BYTES + int(self._count[0]) * self.layout.step)

    def enqueue(self, stream: Stream) -> None:
        """Put the kernels, and the copy of the counts back, into a stream.

        Raises:
            InferenceError: CUDA refused them.
        """
        self.convert(stream)
        self.download(stream)

    def convert(self, stream: Stream) -> None:
        """Put the kernels into a stream; see `enqueue`."""
        given = self._given
        call('cudaMemsetAsync', given.status, 0, ctypes.sizeof(_Status), stream.handle)
        call('cudaMemsetAsync', given.table, 0, self._table_bytes, stream.handle)
        for kernel, blocks, threads in self._work:
            kernel.launch(stream, (blocks, 1, 1), (threads, 1, 1), given)

    def download(self, stream: Stream) -> None:
        """Put the copy of the counts back into a stream; see `enqueue`."""
        self._counts.download(stream)

    def read(self) -> tuple[PillarCounts, int]:
        """Return where the points went, once the stream is synchronised.

        Beside them the number of points that were no measurement, which the counts leave out: a
        number was NaN or infinite, or they lay at the origin; none where the layout says that such
        points were left out before.
        """
        status = self._status
        points = int(self._count[0]) - status.dropped
        shown = min(status.voxels, self._given.max_voxels)
        counts = PillarCounts(
            points=points,
            outside=points - status.inside,
            over_points=status.shown - status.kept,
            over_voxels=status.inside - status.shown,
            kept=status.kept,
            voxels=status.voxels,
            voxels_dropped=status.voxels - shown,
        )
        return counts, status.dropped


def plan_bytes(
    spec: PointsInput, step: int, capacity: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the sizes of what a `PillarPlan` takes: on both sides, and of the GPU alone.

    Args:
        spec: What the card says of the points.
        step: Bytes from one point to the next.
        capacity: Points that a cloud has at most.
    """
    return _shared(step, capacity), tuple(_scratch(spec, capacity).values())


def _shared(step: int, capacity: int) -> tuple[int, int]:
    """Return the sizes of the records with their number, and of the counts that come back."""
    return _COUNT_BYTES + capacity * step, ctypes.sizeof(_Status)


def _scratch(spec: PointsInput, capacity: int) -> dict[str, int]:
    columns, rows = spec.grid
    cells, voxels = columns * rows, spec.max_voxels
    scanned = -(-cells // _CELLS_A_BLOCK)
    return {
        'cell_of': capacity * 4,
        'list': capacity * 4,
        'table': cells * 4,
        'totals': scanned * 8,
        'begins': voxels * 4,
        'sizes': voxels * 4,
        'ends': voxels * 4,
    }


def _six(numbers: Iterable[float]) -> tuple[float, ...]:
    """Return numbers as the structure takes them; those that a point does not have are 0."""
    return (*numbers, 0, 0, 0)[:6]
