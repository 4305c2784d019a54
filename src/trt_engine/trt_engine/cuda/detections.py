# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Network outputs to detections on the GPU, for every head; only the detections come back."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import ctypes
from dataclasses import dataclass
from typing import Literal

import numpy as np

from trt_engine.backend import Array
from trt_engine.card import Thresholds
from trt_engine.cuda.kernel import Kernel
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Exchange
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.runtime import call
from trt_engine.cuda.runtime import Stream
from trt_engine.errors import DecodeError
from trt_engine.preprocess import Geometry

# As in detections.cu.
_MOST = 1000
_PLACES = 1024
_WORDS = _PLACES // 64

_ROWS_A_BLOCK = 128
_FORMS = ('corners', 'centres', 'cells', 'distances')
_NUMBERS = {'f4': 'float', 'f2': 'Half', 'i4': 'int', 'i8': 'long long'}


@dataclass(frozen=True, eq=False)
class Readout:
    """Where in the outputs of a network candidates are, and how a box is written there.

    Its arrays are views into the outputs; only where they lie counts, not what they hold.

    Attributes:
        scores: (N, columns) float.
        boxes: (N, 4) float, or (N, 4 * bins) for distances.
        form: corners, x1 y1 x2 y2; centres, cx cy w h; cells, the same relative to a cell, sizes
            as logarithms; distances, to each side from a cell's centre, as distributions.
        scale: To network pixels, or for `in_image` to those of the image, for corners and centres.
        anchors: (N, 3) float32 for cells and distances: x, y, and pixels from cell to cell.
        gate: (N,) float, a factor for all scores of a row.
        labels: (N,) numbers, the class of each row, where scores have one column only.
        labels_name: Their tensor, for errors.
        background: Column of the scores that is no class.
        bins: Distances that a side is spread over.
        logits: Whether the sigmoid of the scores is still to be done.
        in_image: Whether boxes are in pixels of the image already.
    """

    scores: Array
    boxes: Array
    form: Literal['corners', 'centres', 'cells', 'distances']
    scale: tuple[float, float] = (1.0, 1.0)
    anchors: Array | None = None
    gate: Array | None = None
    labels: Array | None = None
    labels_name: str = ''
    background: int | None = None
    bins: int = 0
    logits: bool = False
    in_image: bool = False


class _Status(ctypes.Structure):
    """As in candidates.cu."""

    _fields_ = (
        ('found', ctypes.c_uint),
        ('kept', ctypes.c_uint),
        ('count', ctypes.c_uint),
        ('unknown', ctypes.c_uint),
        ('label', ctypes.c_float),
        ('spare', ctypes.c_uint * 3),
    )


class _Outputs(ctypes.Structure):
    """As in candidates.cu."""

    _fields_ = (
        ('scores', ctypes.c_void_p),
        ('gate', ctypes.c_void_p),
        ('labels', ctypes.c_void_p),
        ('boxes', ctypes.c_void_p),
        ('anchors', ctypes.c_void_p),
        ('corners', ctypes.c_void_p),
        ('keys', ctypes.c_void_p),
        ('status', ctypes.c_void_p),
        ('rows', ctypes.c_int),
        ('first', ctypes.c_int),
        ('columns', ctypes.c_int),
        ('background', ctypes.c_int),
        ('classes', ctypes.c_int),
        ('score_row', ctypes.c_int),
        ('score_column', ctypes.c_int),
        ('gate_row', ctypes.c_int),
        ('label_row', ctypes.c_int),
        ('box_row', ctypes.c_int),
        ('box_column', ctypes.c_int),
        ('form', ctypes.c_int),
        ('bins', ctypes.c_int),
        ('logits', ctypes.c_int),
        ('multi_label', ctypes.c_int),
        ('least_gate', ctypes.c_float),
        ('least', ctypes.c_float),
        ('scale_x', ctypes.c_float),
        ('scale_y', ctypes.c_float),
    )


class _Detections(ctypes.Structure):
    """As in detections.cu."""

    _fields_ = (
        ('status', ctypes.c_void_p),
        ('keys', ctypes.c_void_p),
        ('corners', ctypes.c_void_p),
        ('strongest', ctypes.c_void_p),
        ('ranked', ctypes.c_void_p),
        ('rivals', ctypes.c_void_p),
        ('boxes', ctypes.c_void_p),
        ('scores', ctypes.c_void_p),
        ('classes', ctypes.c_void_p),
        ('number_of_classes', ctypes.c_int),
        ('limit', ctypes.c_int),
        ('suppress', ctypes.c_int),
        ('class_agnostic', ctypes.c_int),
        ('iou', ctypes.c_float),
        ('pad_x', ctypes.c_float),
        ('pad_y', ctypes.c_float),
        ('scale_x', ctypes.c_float),
        ('scale_y', ctypes.c_float),
        ('width', ctypes.c_float),
        ('height', ctypes.c_float),
    )


class DetectionsPlan:
    """From the outputs of one network to the detections in images of one shape.

    Args:
        kernels: Where the kernels come from.
        memory: Where the memory comes from.
        stream: Used to bring tables to the GPU.
        readouts: Where the candidates are, level by level.
        device: Gives the address on the GPU of what a view into the outputs begins with.
        classes: How many the card has.
        thresholds: What counts as a detection.
        geometry: Where the image lies in the network input.

    Raises:
        DecodeError: An output has an element type that is not read.
        BackendError: A kernel cannot be had, or memory is short.
    """

    def __init__(
        self,
        kernels: Kernels,
        memory: Lease,
        stream: Stream,
        readouts: Sequence[Readout],
        device: Callable[[Array], int],
        *,
        classes: int,
        thresholds: Thresholds,
        geometry: Geometry,
    ) -> None:
        self._memory = memory
        self._classes = classes
        self._labels_name = readouts[0].labels_name
        limit = min(thresholds.max_detections, _MOST)
        rows = sum(len(each.scores) for each in readouts)
        chances = classes if thresholds.multi_label and readouts[0].labels is None else 1

        self._result = Exchange(memory, ctypes.sizeof(_Status) + limit * 24)
        boxes = self._result.pointer + ctypes.sizeof(_Status)
        view = self._result.host[ctypes.sizeof(_Status) :]
        self._status = _Status.from_address(self._result.host.ctypes.data)
        self._boxes: Array = view[: limit * 16].view(np.float32).reshape(limit, 4)
        self._scores: Array = view[limit * 16 : limit * 20].view(np.float32)
        self._labels: Array = view[limit * 20 :].view(np.int32)
        keys = self._take(rows * chances * 8)
        corners = self._take(rows * 16)

        self._levels: list[tuple[Kernel, _Outputs]] = []
        first = 0
        for each in readouts:
            given = _outputs(each, device, thresholds, classes)
            given.first = first
            given.anchors = self._anchors(each, stream)
            given.corners, given.keys, given.status = corners, keys, self._result.pointer
            kernel = kernels.load(
                'candidates',
                SCORE=_number(each.scores),
                BOX=_number(each.boxes),
                LABEL='int' if each.labels is None else _number(each.labels),
            )
            self._levels.append((kernel, given))
            first += len(each.scores)

        in_image = readouts[0].in_image
        self._given = _Detections(
            status=self._result.pointer,
            keys=keys,
            corners=corners,
            strongest=self._take(_PLACES * 16),
            ranked=self._take(_PLACES * 8),
            rivals=self._take(_PLACES * _WORDS * 8),
            boxes=boxes,
            scores=boxes + limit * 16,
            classes=boxes + limit * 20,
            number_of_classes=classes,
            limit=limit,
            suppress=thresholds.nms_iou is not None,
            class_agnostic=thresholds.class_agnostic,
            iou=thresholds.nms_iou or 0.0,
            pad_x=0.0 if in_image else geometry.pad_x,
            pad_y=0.0 if in_image else geometry.pad_y,
            scale_x=1.0 if in_image else geometry.scale_x,
            scale_y=1.0 if in_image else geometry.scale_y,
            width=geometry.image_width,
            height=geometry.image_height,
        )
        self._strongest, self._overlaps, self._finish = (
            kernels.load(name, source='detections') for name in ('strongest', 'overlaps', 'finish')
        )

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
        for kernel, given in self._levels:
            blocks = -(-given.rows // _ROWS_A_BLOCK)
            kernel.launch(stream, (blocks, 1, 1), (_ROWS_A_BLOCK, 1, 1), given)
        self._strongest.launch(stream, (1, 1, 1), (_PLACES, 1, 1), self._given)
        if self._given.suppress:
            self._overlaps.launch(stream, (_WORDS, _WORDS, 1), (64, 1, 1), self._given)
        self._finish.launch(stream, (1, 1, 1), (_PLACES, 1, 1), self._given)

    def download(self, stream: Stream) -> None:
        """Put the copy back into a stream; see `enqueue`."""
        self._result.download(stream)

    def read(self) -> tuple[Array, Array, Array]:
        """Return boxes, scores and classes, once the stream is synchronised; copies of them.

        Raises:
            DecodeError: The network gave a class that the card does not have.
        """
        status = self._status
        if status.unknown:
            raise DecodeError(
                f'output {self._labels_name!r} has class {status.label:g}; the card has classes '
                f'0..{self._classes - 1}'
            )
        seen = slice(status.count)
        return self._boxes[seen].copy(), self._scores[seen].copy(), self._labels[seen].copy()

    def _take(self, nbytes: int) -> int:
        return self._memory.take('device', nbytes).address

    def _anchors(self, readout: Readout, stream: Stream) -> int | None:
        if readout.anchors is None:
            return None
        table = np.ascontiguousarray(readout.anchors, np.float32)
        exchange = Exchange(self._memory, table.nbytes)
        exchange.host[:] = table.reshape(-1).view(np.uint8)
        exchange.upload(stream)
        return exchange.pointer


def plan_bytes(
    readouts: Sequence[Readout], *, classes: int, thresholds: Thresholds
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the sizes of what a `DetectionsPlan` takes: on both sides, and of the GPU alone."""
    rows = sum(len(each.scores) for each in readouts)
    chances = classes if thresholds.multi_label and readouts[0].labels is None else 1
    result = ctypes.sizeof(_Status) + min(thresholds.max_detections, _MOST) * 24
    anchors = (len(each.anchors) * 12 for each in readouts if each.anchors is not None)
    ranking = (_PLACES * 16, _PLACES * 8, _PLACES * _WORDS * 8)
    return (result, *anchors), (rows * chances * 8, rows * 16, *ranking)


def _outputs(
    readout: Readout, device: Callable[[Array], int], thresholds: Thresholds, classes: int
) -> _Outputs:
    """Return what the kernel takes of the outputs; memory of ours is for the caller to fill in."""
    scores, boxes, gate, labels = readout.scores, readout.boxes, readout.gate, readout.labels
    computed = readout.logits or gate is not None
    # NumPy compares numbers of half precision with a threshold that is rounded likewise
    least = np.dtype(np.float32 if computed else scores.dtype).type(thresholds.score)
    least_gate = 0.0 if gate is None else gate.dtype.type(thresholds.score)
    (score_row, score_column), (box_row, box_column) = _strides(scores), _strides(boxes)
    return _Outputs(
        scores=device(scores),
        gate=None if gate is None else device(gate),
        labels=None if labels is None else device(labels),
        boxes=device(boxes),
        rows=len(scores),
        columns=scores.shape[1],
        background=-1 if readout.background is None else readout.background,
        classes=classes,
        score_row=score_row,
        score_column=score_column,
        gate_row=0 if gate is None else _strides(gate)[0],
        label_row=0 if labels is None else _strides(labels)[0],
        box_row=box_row,
        box_column=box_column,
        form=_FORMS.index(readout.form),
        bins=readout.bins,
        logits=readout.logits,
        multi_label=thresholds.multi_label and labels is None,
        least_gate=float(least_gate),
        least=float(least),
        scale_x=readout.scale[0],
        scale_y=readout.scale[1],
    )


def _strides(view: Array) -> tuple[int, ...]:
    return tuple(stride // view.itemsize for stride in view.strides)


def _number(view: Array) -> str:
    """Return what the kernel calls the element type of an output."""
    name = _NUMBERS.get(view.dtype.str[1:])
    if name is None:
        raise DecodeError(
            f'an output is {view.dtype}, which is not decoded on the GPU; wanted float32, float16, '
            'or for labels int32 or int64; set build.io.<output>.dtype in the card'
        )
    return name
