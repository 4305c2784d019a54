# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Outputs of lidar networks to boxes on the GPU; only the final boxes come back.

They are those of `trt_inference.lidar.decoders3d`: boxes to the bit, but for the last one where the
CPU's mathematics library rounds another way; scores within 2 units of the last place.
"""

from __future__ import annotations

from collections.abc import Callable
import ctypes

import numpy as np

from trt_engine.backend import Array
from trt_engine.card import Thresholds
from trt_engine.cuda.kernel import Kernel
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Exchange
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.readouts3d import AnchorReadout
from trt_engine.cuda.readouts3d import CenterReadout
from trt_engine.cuda.readouts3d import logit
from trt_engine.cuda.readouts3d import Readout3d
from trt_engine.cuda.runtime import call
from trt_engine.cuda.runtime import Stream
from trt_engine.errors import DecodeError

# As in detections3d.cu and overlaps3d.cu.
_MOST = 4096
_WORDS = _MOST // 64
_THREADS = 1024

_ROWS_A_BLOCK = 128
# Numbers of a box that go back: centre, size, yaw, velocity, score; its class follows.
_RESULTS = (3, 3, 1, 2, 1, 1)
_BOX_BYTES = 48


class _Status(ctypes.Structure):
    """As in candidates3d.cu."""

    _fields_ = (
        ('found', ctypes.c_uint),
        ('kept', ctypes.c_uint),
        ('count', ctypes.c_uint),
        ('spare', ctypes.c_uint * 5),
    )


class _View(ctypes.Structure):
    """As in candidates3d.cu."""

    _fields_ = (
        ('data', ctypes.c_void_p),
        ('half', ctypes.c_int),
        ('cell', ctypes.c_int),
        ('channel', ctypes.c_int),
    )


class _Head(ctypes.Structure):
    """As in candidates3d.cu."""

    _fields_ = (
        ('scores', _View),
        ('parts', _View * 5),
        ('table', ctypes.c_void_p),
        ('yaw_norm', ctypes.c_void_p),
        ('keys', ctypes.c_void_p),
        ('ranked', ctypes.c_void_p),
        ('boxes', ctypes.c_void_p),
        ('status', ctypes.c_void_p),
        ('low', ctypes.c_double * 2),
        ('step', ctypes.c_double * 2),
        ('shift', ctypes.c_double),
        ('form', ctypes.c_int),
        ('rows', ctypes.c_int),
        ('anchors', ctypes.c_int),
        ('classes', ctypes.c_int),
        ('grid_columns', ctypes.c_int),
        ('grid_rows', ctypes.c_int),
        ('multi_label', ctypes.c_int),
        ('peaks', ctypes.c_int),
        ('least', ctypes.c_float),
    )


class _Detections(ctypes.Structure):
    """As in overlaps3d.cu."""

    _fields_ = (
        ('status', ctypes.c_void_p),
        ('keys', ctypes.c_void_p),
        ('ranked', ctypes.c_void_p),
        ('boxes', ctypes.c_void_p),
        ('rivals', ctypes.c_void_p),
        ('gone', ctypes.c_void_p),
        ('results', ctypes.c_void_p * 6),
        ('distance', ctypes.c_double),
        ('iou', ctypes.c_double),
        ('limit', ctypes.c_int),
        ('class_agnostic', ctypes.c_int),
    )


class DetectionsPlan3d:
    """From the outputs of one lidar network to boxes.

    Args:
        kernels: Where the kernels come from.
        memory: Where the memory comes from.
        stream: Used to bring tables to the GPU.
        readout: Where the candidates are.
        device: Gives the address on the GPU of what a view into the outputs begins with.
        classes: How many the card has.
        thresholds: What counts as a detection.

    Raises:
        DecodeError: An output has an element type that is not read.
        BackendError: A kernel cannot be had, or memory is short.
    """

    def __init__(
        self,
        kernels: Kernels,
        memory: Lease,
        stream: Stream,
        readout: Readout3d,
        device: Callable[[Array], int],
        *,
        classes: int,
        thresholds: Thresholds,
    ) -> None:
        rows = len(readout.scores) * readout.anchors
        self._limit = min(thresholds.max_detections, _MOST)
        status_bytes = ctypes.sizeof(_Status)
        sizes, scratch = plan_bytes(readout, classes=classes, thresholds=thresholds)
        self._result = Exchange(memory, sizes[0])
        self._status = _Status.from_address(self._result.host.ctypes.data)
        results, self._views = [], []
        begin = status_bytes
        for numbers in _RESULTS:
            results.append(self._result.pointer + begin)
            end = begin + self._limit * numbers * 4
            view = self._result.host[begin:end].view(np.float32)
            self._views.append(view if numbers == 1 else view.reshape(-1, numbers))
            begin = end
        self._views[-1] = self._views[-1].view(np.int32)

        keys, ranked, boxes, rivals, gone = (
            memory.take('device', nbytes).address for nbytes in scratch
        )
        self._head = _head(readout, device, thresholds, classes)
        self._head.keys, self._head.ranked, self._head.boxes = keys, ranked, boxes
        self._head.status = self._result.pointer
        table = _upload(readout.table(), memory, stream)
        if isinstance(readout, AnchorReadout):
            self._head.table = table
        else:
            self._head.yaw_norm = table
        circle_m = readout.circle_m if isinstance(readout, CenterReadout) else None
        self._given = _Detections(
            status=self._result.pointer,
            keys=keys,
            ranked=ranked,
            boxes=boxes,
            rivals=rivals,
            gone=gone,
            results=tuple(results),
            distance=circle_m or 0.0,
            iou=thresholds.nms_iou or 0.0,
            limit=self._limit,
            class_agnostic=thresholds.class_agnostic,
        )

        def load(name: str, file: str, blocks: tuple[int, int], threads: int) -> _Step:
            given = self._head if file == 'candidates3d' else self._given
            return kernels.load(name, source=file), (*blocks, 1), threads, given

        strike = load('strike', 'detections3d', (1, 1), _THREADS)
        self._steps = [
            load('candidates', 'candidates3d', (-(-rows // _ROWS_A_BLOCK), 1), _ROWS_A_BLOCK),
            load('strongest', 'detections3d', (1, 1), _THREADS),
            load('decode', 'candidates3d', (_WORDS, 1), 64),
        ]
        if circle_m is not None:
            self._steps += [load('near', 'overlaps3d', (_WORDS, _WORDS), 64), strike]
        if thresholds.nms_iou is not None:
            self._steps += [load('overlap', 'overlaps3d', (_WORDS, _WORDS), 64), strike]
        self._steps.append(load('finish', 'overlaps3d', (_WORDS, 1), 64))

    def enqueue(self, stream: Stream) -> None:
        """Put kernels and the copy back into a stream.

        Raises:
            InferenceError: CUDA refused them.
        """
        self.decode(stream)
        self.download(stream)

    def decode(self, stream: Stream) -> None:
        """Put the kernels into a stream; see `enqueue`."""
        status_bytes = ctypes.sizeof(_Status)
        call('cudaMemsetAsync', self._result.pointer, 0, status_bytes, stream.handle)
        for kernel, blocks, threads, given in self._steps:
            kernel.launch(stream, blocks, (threads, 1, 1), given)

    def download(self, stream: Stream) -> None:
        """Put the copy back into a stream; see `enqueue`."""
        self._result.download(stream)

    def read(self) -> tuple[Array, ...]:
        """Return what `trt_inference.lidar.boxes3d.Boxes3d` takes, once the stream is synchronised.

        These are copies: centers, sizes, yaws, velocities, scores, classes.
        """
        return tuple(view[: self._status.count].copy() for view in self._views)


def plan_bytes(
    readout: Readout3d, *, classes: int, thresholds: Thresholds
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the sizes of what a `DetectionsPlan3d` takes: on both sides, and of the GPU alone."""
    limit = min(thresholds.max_detections, _MOST)
    results = ctypes.sizeof(_Status) + limit * sum(_RESULTS) * 4
    rows = len(readout.scores) * readout.anchors
    keys = rows * (classes if thresholds.multi_label else 1) * 8
    shared = (results, readout.table().nbytes)
    return shared, (keys, _MOST * 8, _MOST * _BOX_BYTES, _MOST * _WORDS * 8, _WORDS * 8)


_Step = tuple[Kernel, tuple[int, int, int], int, ctypes.Structure]


def _head(
    readout: Readout3d, device: Callable[[Array], int], thresholds: Thresholds, classes: int
) -> _Head:
    """Return what the kernel takes of the outputs; memory of ours is for the caller to fill in."""
    grid = readout.grid
    # NumPy compares numbers of half precision with a threshold that is rounded likewise
    with np.errstate(over='ignore'):
        least = readout.scores.dtype.type(logit(thresholds.score))
    return _Head(
        scores=_view(readout.scores, device),
        parts=tuple(_view(part, device) for part in readout.parts()),
        low=grid.low_m,
        step=grid.step_m,
        shift=grid.shift,
        form=readout.form,
        rows=len(readout.scores) * readout.anchors,
        anchors=readout.anchors,
        classes=classes,
        grid_columns=grid.columns,
        grid_rows=grid.rows,
        multi_label=thresholds.multi_label,
        peaks=isinstance(readout, CenterReadout) and readout.peaks,
        least=float(least),
    )


def _view(output: Array, device: Callable[[Array], int]) -> _View:
    if output.dtype not in (np.float32, np.float16):
        raise DecodeError(
            f'an output is {output.dtype}, which is not decoded on the GPU; wanted float32 or '
            'float16; set build.io.<output>.dtype in the card'
        )
    cell, channel = (stride // output.itemsize for stride in output.strides)
    return _View(device(output), output.dtype == np.float16, cell, channel)


def _upload(table: Array, memory: Lease, stream: Stream) -> int:
    """Return the address on the GPU of a table."""
    exchange = Exchange(memory, table.nbytes)
    exchange.host[:] = np.ascontiguousarray(table).reshape(-1).view(np.uint8)
    exchange.upload(stream)
    return exchange.pointer
