# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Pixels to network input as the card says: one definition for inference, calibration, accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from typing import Literal

import cv2
import numpy as np

from trt_engine.backend import Array
from trt_engine.card import ImageInput
from trt_engine.card import Resize
from trt_engine.encodings import Encoding
from trt_engine.encodings import find_encoding
from trt_engine.errors import ImageError

# The cameras of a node may differ in size, but a folder of photographs has sizes without end.
_PLANS_KEPT = 8
_PIXEL_TYPES: Mapping[np.dtype[Any] | None, Literal['float32', 'float16', 'uint8']] = {
    np.dtype(np.float32): 'float32',
    np.dtype(np.float16): 'float16',
    np.dtype(np.uint8): 'uint8',
}


@dataclass(frozen=True)
class Geometry:
    """Where an image lies in the network input: network pixel = image pixel * scale + pad."""

    image_width: int
    image_height: int
    scale_x: float
    scale_y: float
    pad_x: float
    pad_y: float

    @classmethod
    def of(cls, width: int, height: int, place: tuple[int, int, int, int]) -> Geometry:
        """Return that of an image whose place `fit` gave."""
        fitted_width, fitted_height, left, top = place
        return cls(
            image_width=width,
            image_height=height,
            scale_x=fitted_width / width,
            scale_y=fitted_height / height,
            pad_x=float(left),
            pad_y=float(top),
        )

    def boxes_to_image(self, boxes: Array) -> Array:
        """Turn network pixels into image pixels, clipped to the image, in place.

        Args:
            boxes: (N, 4) float32, x1 y1 x2 y2.
        """
        boxes -= np.array([self.pad_x, self.pad_y] * 2, boxes.dtype)
        boxes /= np.array([self.scale_x, self.scale_y] * 2, boxes.dtype)
        return self.clip(boxes)

    def clip(self, boxes: Array) -> Array:
        """Clip boxes that are in image pixels already to the image, in place.

        Args:
            boxes: (N, 4) float32, x1 y1 x2 y2.
        """
        limits = np.array([self.image_width, self.image_height] * 2, boxes.dtype)
        np.maximum(boxes, 0, out=boxes)
        np.minimum(boxes, limits, out=boxes)
        return boxes


class Preprocessor:
    """Fills one network input again and again; an image of a known size costs no allocation.

    Images are resized first and normalised at network size: a frame of 1920x1080 is read once,
    in place, and the arithmetic is a table look-up on the little that is left of it.

    Args:
        spec: What the card says of the input.
        taken: Input -> element type that the backend takes where it is not the card's: an engine
            may have been built for float16 images, and TensorRT 8.6 makes int64 inputs int32.
    """

    def __init__(
        self, spec: ImageInput, taken: Mapping[str, np.dtype[Any]] = MappingProxyType({})
    ) -> None:
        spec = as_taken(spec, taken)
        size = (spec.height, spec.width)
        shape = (1, 3, *size) if spec.layout == 'nchw' else (1, *size, 3)
        self.tensor: Array = np.zeros(shape, spec.dtype)
        self.inputs: Mapping[str, Array] = {spec.tensor: self.tensor}
        self._size: Array = np.zeros((1, 2), taken.get(spec.size_tensor or '', np.int64))
        if spec.size_tensor is not None:
            self.inputs = {**self.inputs, spec.size_tensor: self._size}
        self._canvas = _Canvas(spec, self.tensor)
        self._plans: dict[tuple[str, tuple[int, ...], str], _Plan] = {}
        self._current: _Plan | None = None

    def __call__(self, pixels: Array, encoding: str) -> Geometry:
        """Fill `inputs` from one image.

        Args:
            pixels: The image as its encoding lays it out, with any distance between rows:
                (height, width, channels) uint8; (height, width) uint8 for mono8 and bayer_*;
                (height, width) uint16 of either byte order for mono16; for nv12 and nv21
                (height * 3/2, width) uint8.
            encoding: One of `trt_engine.encodings.ENCODINGS`.

        Raises:
            ImageError: The encoding is not supported, or the array is not laid out like that.
        """
        key = (encoding, pixels.shape, pixels.dtype.str)
        plan = self._plans.get(key)
        if plan is None:
            plan = _Plan(_Source(pixels, encoding), self._canvas)
            while len(self._plans) >= _PLANS_KEPT:
                del self._plans[next(iter(self._plans))]
            self._plans[key] = plan
        if plan is not self._current:
            self._canvas.clear()
            self._current = plan
        with _opencv_reads(pixels, encoding):
            plan.fill(pixels)
        self._size[0] = plan.geometry.image_width, plan.geometry.image_height
        return plan.geometry


def as_taken(spec: ImageInput, taken: Mapping[str, np.dtype[Any]]) -> ImageInput:
    """Return what the card says of the input, with the element type that the backend takes."""
    dtype = taken.get(spec.tensor)
    return replace(spec, dtype=_PIXEL_TYPES[dtype]) if dtype in _PIXEL_TYPES else spec


def level_table(spec: ImageInput) -> Array:
    """Return what the network takes for each value of each of its channels, (3, 256)."""
    levels = np.arange(256, dtype=np.float64)
    mean = np.array(spec.mean)[:, None]
    std = np.array(spec.std)[:, None]
    table: Array = ((levels * spec.scale - mean) / std).astype(spec.dtype)
    return table


def to_bgr(pixels: Array, encoding: str) -> Array:
    """Return the whole image as (height, width, 3) uint8, blue first; bgr8 as it is.

    Args:
        pixels: As `Preprocessor` takes them.
        encoding: One of `trt_engine.encodings.ENCODINGS`.

    Raises:
        ImageError: The encoding is not supported, or the array is not laid out like that.
    """
    source = _Source(pixels, encoding)
    with _opencv_reads(pixels, encoding):
        image = source(pixels)
        if source.channels == 3 and source.rgb == (2, 1, 0):
            return image
        planes = cv2.split(image) if source.channels > 1 else [image]
        bgr: Array = cv2.merge([planes[channel] for channel in reversed(source.rgb)])
    return bgr


@contextmanager
def _opencv_reads(pixels: Array, encoding: str) -> Iterator[None]:
    try:
        yield
    except cv2.error as exc:
        shape = 'x'.join(map(str, pixels.shape))
        raise ImageError(f'OpenCV cannot read {encoding} pixels of {shape}: {exc.err}') from exc


class _Source:
    """Makes images of one encoding and shape into something that OpenCV can resize."""

    def __init__(self, pixels: Array, name: str) -> None:
        encoding = find_encoding(name)
        self._rows, self.width, self.height = measure(pixels, name)
        self._encoding = encoding
        self.channels = encoding.channels * encoding.sample_bytes
        self.rgb = encoding.rgb
        if encoding.sample_bytes == 2:
            high = 1 if pixels.dtype.str[0] == '<' else 0
            self.rgb = (high, high, high)
        if encoding.conversion is not None:
            self.channels = 3
            self._code: int = getattr(cv2, encoding.conversion)
            self._bgr: Array = np.empty((self.height, self.width, 3), np.uint8)

    def __call__(self, pixels: Array) -> Array:
        if self._encoding.sample_bytes == 2:
            # NumPy before 1.23 views strided rows only as items of the same size
            return pixels.view(np.dtype((np.uint8, 2)))
        if self._encoding.conversion is None:
            return pixels
        if not self._encoding.chroma_rows:
            cv2.cvtColor(pixels[:, : self.width], self._code, self._bgr)
            return self._bgr
        luma = pixels[: self.height, : self.width]
        chroma = pixels[self._rows : self._rows + self.height // 2, : self.width]
        pairs = chroma.reshape(self.height // 2, self.width // 2, 2)
        cv2.cvtColorTwoPlane(luma, pairs, self._code, self._bgr)
        return self._bgr


class _Canvas:
    """The network input as the place that resized 8-bit planes are looked up into."""

    def __init__(self, spec: ImageInput, tensor: Array) -> None:
        table = level_table(spec)
        # OpenCV's look-up copies elements but does not know float16: only their bits are copied
        bits = np.uint16 if spec.dtype == 'float16' else table.dtype
        self.spec = spec
        self.pixels: Array = tensor[0].view(bits)
        self.table: Array = table.view(bits)
        self._border = self.table[:, spec.resize.pad]

    def clear(self) -> None:
        """Give every pixel the value of the border."""
        border = self._border
        self.pixels[:] = border[:, None, None] if self.spec.layout == 'nchw' else border


class _Plan:
    """How images of one shape get into the network input, with the buffers on the way."""

    def __init__(self, source: _Source, canvas: _Canvas) -> None:
        spec = canvas.spec
        width, height, left, top = place = fit(source.width, source.height, spec)
        self.geometry = Geometry.of(source.width, source.height, place)
        self._source = source
        self._size = (width, height)
        small = (height, width)
        self._small: Array = np.empty(
            small if source.channels == 1 else (*small, source.channels), np.uint8
        )
        self._split: list[Array] = [np.empty(small, np.uint8) for _ in range(source.channels)]
        if source.channels == 1:
            self._split = [self._small]
        order = source.rgb if spec.color == 'rgb' else source.rgb[::-1]
        self._planes = [self._split[channel] for channel in order]
        rows = slice(top, top + height)
        columns = slice(left, left + width)
        if spec.layout == 'nchw':
            self._lookups = [
                (plane, canvas.table[channel : channel + 1], canvas.pixels[channel, rows, columns])
                for channel, plane in enumerate(self._planes)
            ]
            self._merged: Array | None = None
        else:
            self._merged = np.empty((*small, 3), np.uint8)
            table = np.ascontiguousarray(canvas.table.T)[None]
            self._lookups = [(self._merged, table, canvas.pixels[rows, columns])]

    def fill(self, pixels: Array) -> None:
        image = self._source(pixels)
        cv2.resize(image, self._size, dst=self._small, interpolation=cv2.INTER_LINEAR)
        if self._source.channels > 1:
            cv2.split(self._small, self._split)
        if self._merged is not None:
            cv2.merge(self._planes, self._merged)
        for plane, table, target in self._lookups:
            cv2.LUT(plane, table, target)


def _check_layout(pixels: Array, name: str, encoding: Encoding) -> tuple[int, int]:
    """Return height and width of the image."""
    dims = 2 if encoding.channels == 1 else 3
    kind = 'u1' if encoding.sample_bytes == 1 else 'u2'
    good = (
        pixels.ndim == dims
        and pixels.dtype.str[1:] == kind
        and pixels.size > 0
        and (dims == 2 or pixels.shape[2] == encoding.channels)
    )
    height = pixels.shape[0] if pixels.ndim else 0
    if good and encoding.chroma_rows:
        height = height * 2 // 3
        good = pixels.shape[0] == encoding.rows(height)
    if not good:
        rows = 'height * 3/2' if encoding.chroma_rows else 'height'
        shape = f'({rows}, width)' if dims == 2 else f'({rows}, width, {encoding.channels})'
        raise ImageError(
            f'{name} pixels are {pixels.dtype} of shape {pixels.shape}; '
            f'wanted {"uint8" if kind == "u1" else "uint16"} of shape {shape}, not empty'
        )
    return height, pixels.shape[1]


def measure(pixels: Array, name: str) -> tuple[int, int, int]:
    """Return the rows of an image, and the width and height that have their colour.

    Raises:
        ImageError: The encoding is not supported, or the array is not laid out like that.
    """
    encoding = find_encoding(name)
    rows, columns = _check_layout(pixels, name, encoding)
    height = rows - rows % 2 if encoding.chroma_rows else rows
    width = columns - columns % 2 if encoding.pair_columns else columns
    if not (width and height):
        raise ImageError(f'{name} of {columns}x{rows} has no whole colour sample')
    return rows, width, height


def fit(width: int, height: int, spec: ImageInput) -> tuple[int, int, int, int]:
    """Return width, height, left and top of the resized image in the network input."""
    resize: Resize = spec.resize
    if resize.mode == 'stretch':
        return spec.width, spec.height, 0, 0
    ratio = min(spec.width / width, spec.height / height)
    if resize.anchor == 'top_left':  # as YOLOX does
        return _side(int(width * ratio), spec.width), _side(int(height * ratio), spec.height), 0, 0
    fitted_width = _side(round(width * ratio), spec.width)  # as Ultralytics does
    fitted_height = _side(round(height * ratio), spec.height)
    left = round((spec.width - fitted_width) / 2 - 0.1)
    top = round((spec.height - fitted_height) / 2 - 0.1)
    return fitted_width, fitted_height, left, top


def _side(fitted: int, limit: int) -> int:
    """Return a side that has at least one pixel, however long and thin the image is."""
    return min(max(fitted, 1), limit)
