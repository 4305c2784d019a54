# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Pixels to network input on the GPU, in one pass: what `trt_engine.preprocess` makes on the CPU.

The kernel does the integer arithmetic that OpenCV does, so that the tensors are the same bit by
bit; but a 16-bit image at exactly half its size, and an OpenCV that runs a vendor's code in place
of its own, may differ by one level.
"""

from __future__ import annotations

from collections.abc import Mapping
import ctypes
from itertools import pairwise

import numpy as np

from trt_engine.backend import Array
from trt_engine.card import ImageInput
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Exchange
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.runtime import Stream
from trt_engine.encodings import Encoding
from trt_engine.encodings import find_encoding
from trt_engine.errors import ImageError
from trt_engine.errors import InferenceError
from trt_engine.preprocess import fit
from trt_engine.preprocess import Geometry
from trt_engine.preprocess import level_table
from trt_engine.preprocess import measure

_BLOCK = (32, 8, 1)
_MOST_ROWS = 0.9  # of an image, of which a choice is worth while
_ONE = 2048  # weights are parts of this, as OpenCV's are
_TAP_BYTES = 16  # of each fitted row and column, as _taps makes them
_ELEMENTS = {1: 'unsigned char', 2: 'unsigned short', 4: 'unsigned int'}
_SIZES = {4: 'int', 8: 'long long'}

# For each conversion: the kernel's format, and where in it the colours are, as its `at` says.
_FORMATS: Mapping[str, tuple[str, tuple[int, int, int]]] = {
    'COLOR_YUV2BGR_UYVY': ('YUV422', (1, 0, 2)),
    'COLOR_YUV2BGR_YUY2': ('YUV422', (0, 1, 3)),
    'COLOR_YUV2BGR_NV12': ('YUV420', (0, 0, 1)),
    'COLOR_YUV2BGR_NV21': ('YUV420', (0, 1, 0)),
    'COLOR_BayerBG2BGR': ('BAYER', (0, 0, 0)),
    'COLOR_BayerGB2BGR': ('BAYER', (1, 0, 0)),
    'COLOR_BayerGR2BGR': ('BAYER', (0, 1, 0)),
    'COLOR_BayerRG2BGR': ('BAYER', (1, 1, 0)),
}


class _Frame(ctypes.Structure):
    """As in preprocess.cu."""

    _fields_ = (
        ('pixels', ctypes.c_void_p),
        ('columns', ctypes.c_void_p),
        ('rows', ctypes.c_void_p),
        ('levels', ctypes.c_void_p),
        ('tensor', ctypes.c_void_p),
        ('size', ctypes.c_void_p),
        ('step', ctypes.c_int),
        ('chroma', ctypes.c_int),
        ('width', ctypes.c_int),
        ('height', ctypes.c_int),
        ('pixel_bytes', ctypes.c_int),
        ('at', ctypes.c_int * 3),
        ('order', ctypes.c_int * 3),
        ('tensor_width', ctypes.c_int),
        ('tensor_height', ctypes.c_int),
        ('left', ctypes.c_int),
        ('top', ctypes.c_int),
        ('fitted_width', ctypes.c_int),
        ('fitted_height', ctypes.c_int),
        ('pixel_stride', ctypes.c_int),
        ('row_stride', ctypes.c_int),
        ('channel_stride', ctypes.c_int),
        ('border', ctypes.c_int),
    )


class FramePlan:
    """How images of one encoding and shape get into the network input.

    Attributes:
        geometry: Where they lie in the network input.
        pointer: Where on the GPU the image lies.
        staged_bytes: What of each image is brought to the GPU: the rows that the kernel reads.
    """

    def __init__(
        self,
        kernels: Kernels,
        memory: Lease,
        stream: Stream,
        spec: ImageInput,
        tensor: int,
        pixels: Array,
        encoding: str,
        *,
        size: int | None = None,
        size_bytes: int = 8,
        resident: bool = False,
    ) -> None:
        """Take the memory.

        Args:
            kernels: Where the kernel comes from.
            memory: Where the memory comes from.
            stream: Used to bring tables to the GPU.
            spec: What the card says of the input, with the element type of the engine.
            tensor: Address of the network input on the GPU.
            pixels: One of the images, as `trt_engine.preprocess.Preprocessor` takes them.
            encoding: One of `trt_engine.encodings.ENCODINGS`.
            size: Address on the GPU of the input that takes width and height of the image; None
                where the network has none.
            size_bytes: Of each of these two integers: TensorRT before 10 makes int32 of int64.
            resident: Images come to be on the GPU by other means, such as a decoder that runs
                there: whole, at `pointer`, rows without gaps. Nothing is staged or copied.

        Raises:
            ImageError: The image cannot be read as what it says it is.
            BackendError: The kernel cannot be had, or memory is short.
        """
        rows, width, height = measure(pixels, encoding)
        place = fit(width, height, spec)
        self.geometry = Geometry.of(width, height, place)
        described = find_encoding(encoding)
        form, at = _find_format(described, pixels)
        if form == 'BAYER' and min(width, height) < 3:
            raise ImageError(
                f'{encoding} of {width}x{height} is too small to have colours; wanted at least 3x3'
            )
        self._kernel = kernels.load(
            'preprocess', FORMAT=form, ELEMENT=_ELEMENTS[np.dtype(spec.dtype).itemsize],
            SIZE=_SIZES[size_bytes],
        )  # fmt: skip
        down = _taps(height, place[1], at_edges_alone=False)
        self._rows = _rows_read(down, rows, form, len(pixels))
        step = pixels.nbytes // pixels.shape[0]
        chroma = rows * step
        shape = pixels.shape
        if resident:
            self._rows = None
        if self._rows is not None:
            down[:, :2] = np.searchsorted(self._rows, down[:, :2])
            chroma = int(np.searchsorted(self._rows, rows)) * step
            shape = (len(self._rows), *shape[1:])
            self._runs = _runs(self._rows)
        self.staged_bytes = 0 if resident else shape[0] * step
        self._frame = None if resident else Exchange(memory, self.staged_bytes)
        self.pointer: int = (
            memory.take('device', pixels.nbytes).address
            if self._frame is None
            else self._frame.pointer
        )
        self._pixels: Array | None = (
            None if self._frame is None else self._frame.host.view(pixels.dtype).reshape(shape)
        )
        contents = [_taps(width, place[0], at_edges_alone=True), down, level_table(spec)]
        tables = Exchange(memory, sum(each.nbytes for each in contents))
        pointers = []
        begin = 0
        for each in contents:
            tables.host[begin : begin + each.nbytes] = each.reshape(-1).view(np.uint8)
            pointers.append(tables.pointer + begin)
            begin += each.nbytes
        tables.upload(stream)

        planar = spec.layout == 'nchw'
        self._given = _Frame(
            self.pointer,
            *pointers,
            tensor,
            size,
            step=step,
            chroma=chroma,
            width=width,
            height=height,
            pixel_bytes=described.channels * described.sample_bytes,
            at=at,
            order=(0, 1, 2) if spec.color == 'rgb' else (2, 1, 0),
            tensor_width=spec.width,
            tensor_height=spec.height,
            left=place[2],
            top=place[3],
            fitted_width=place[0],
            fitted_height=place[1],
            pixel_stride=1 if planar else 3,
            row_stride=spec.width if planar else spec.width * 3,
            channel_stride=spec.width * spec.height if planar else 1,
            border=spec.resize.pad,
        )
        self._grid = (-(-spec.width // _BLOCK[0]), -(-spec.height // _BLOCK[1]), 1)

    def stage(self, pixels: Array) -> None:
        """Bring an image to where the GPU takes it from; none that it took may be under way.

        Raises:
            InferenceError: Images of this plan come to be on the GPU by other means.
        """
        if self._pixels is None:
            raise InferenceError(
                'an image was staged for a plan whose images are put on the GPU by others; put it '
                "at the plan's pointer, or make the plan without resident"
            )
        # One thread: giving parts to others, or sending them while the rest is copied, took longer.
        if self._rows is None:
            np.copyto(self._pixels, pixels)
        elif pixels.flags.c_contiguous:
            np.take(pixels, self._rows, axis=0, out=self._pixels, mode='clip')
        else:
            # of rows with gaps between them, np.take would first make a copy of the whole image
            for place, rows in self._runs:
                self._pixels[place] = pixels[rows]

    def upload(self, stream: Stream) -> None:
        """Put the copy of what was staged into a stream.

        Raises:
            InferenceError: CUDA refused it.
        """
        if self._frame is not None:
            self._frame.upload(stream)

    def convert(self, stream: Stream) -> None:
        """Put the kernel into a stream, after the copy.

        Raises:
            InferenceError: CUDA refused it.
        """
        self._kernel.launch(stream, self._grid, _BLOCK, self._given)


def frame_bytes(
    spec: ImageInput, pixels: Array, encoding: str, *, resident: bool = False
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the sizes of what a `FramePlan` takes: on both sides, and of the GPU alone.

    Args:
        spec: As for `FramePlan`, likewise those that follow.
        pixels: Only its shape and type count.
        encoding: One of `trt_engine.encodings.ENCODINGS`.
        resident: Whether images come to be on the GPU by other means.

    Raises:
        ImageError: The image cannot be read as what it says it is.
    """
    rows, width, height = measure(pixels, encoding)
    fitted_width, fitted_height, _, _ = fit(width, height, spec)
    down = _taps(height, fitted_height, at_edges_alone=False)
    form, _ = _find_format(find_encoding(encoding), pixels)
    read = _rows_read(down, rows, form, len(pixels))
    staged = pixels.nbytes if read is None else len(read) * (pixels.nbytes // len(pixels))
    tables = _TAP_BYTES * fitted_width + down.nbytes + level_table(spec).nbytes
    return ((tables,), (pixels.nbytes,)) if resident else ((staged, tables), ())


def _find_format(encoding: Encoding, pixels: Array) -> tuple[str, tuple[int, int, int]]:
    if encoding.conversion is not None:
        return _FORMATS[encoding.conversion]
    if encoding.sample_bytes == 2:  # of which the high byte counts
        high = 1 if pixels.dtype.str[0] == '<' else 0
        return 'PACKED', (high, high, high)
    return 'PACKED', encoding.rgb


def _rows_read(down: Array, rows: int, form: str, of: int) -> Array | None:
    """Return which rows of the bytes the kernel reads, ascending; None for (nearly) all of them.

    Bilinear sampling reads two rows for each row of the network, which of a large image are few:
    the others need not be brought to the GPU.
    """
    if form == 'BAYER':  # the colours of a pixel are in the rows around it
        return None
    read: Array = np.unique(down[:, :2])
    if form == 'YUV420':
        pairs = np.unique(read // 2)  # whole, so that a row finds its colours at half its place
        whole = np.stack([pairs * 2, pairs * 2 + 1], axis=1).reshape(-1)
        read = np.concatenate([whole, rows + pairs])
    return read if len(read) <= _MOST_ROWS * of else None


def _runs(rows: Array) -> list[tuple[slice, slice]]:
    """Return rows that follow each other: where they are in the list, and in the image."""
    edges = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
    return [
        (slice(begin, end), slice(int(rows[begin]), int(rows[begin]) + end - begin))
        for begin, end in pairwise(edges)
    ]


def _taps(size: int, fitted: int, *, at_edges_alone: bool) -> Array:
    """Return what each fitted pixel is made of, (fitted, 4) int32: two pixels and their weights.

    At the edges one pixel counts twice. OpenCV gives it the whole weight along rows, and splits it
    down columns; that rounds differently, so the same is done here.
    """
    centres = ((np.arange(fitted) + 0.5) * (1.0 / (fitted / size)) - 0.5).astype(np.float32)
    low = np.floor(centres).astype(np.int32)
    part = centres - low.astype(np.float32)
    if at_edges_alone:
        part[(low < 0) | (low >= size - 1)] = 0
    one = np.float32(1)
    weights = [np.rint(each * np.float32(_ONE)).astype(np.int32) for each in (one - part, part)]
    ends = [np.clip(each, 0, size - 1) for each in (low, low + 1)]
    return np.stack([*ends, *weights], axis=1).astype(np.int32)
