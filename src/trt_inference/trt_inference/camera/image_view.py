# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Serialized sensor_msgs/Image and CompressedImage, read in place: no message object, no copy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trt_engine.backend import Array
from trt_engine.encodings import find_layout
from trt_engine.errors import ImageError
from trt_engine.picture import decode_picture
from trt_inference.cdr_reader import CdrReader
from trt_inference.cdr_reader import Serialized


@dataclass(frozen=True, slots=True)
class ImageView:
    """A sensor_msgs/Image; `pixels` lies in the message and lives as long as it.

    Attributes:
        pixels: As `trt_engine.preprocess.Preprocessor` takes them; rows are `step` bytes apart.
            Two-byte samples have the byte order that the message gives.
    """

    stamp_sec: int
    stamp_nanosec: int
    frame_id: str
    width: int
    height: int
    encoding: str
    step: int
    pixels: Array


@dataclass(frozen=True, slots=True)
class CompressedView:
    """A sensor_msgs/CompressedImage; `data` (uint8) lies in the message and lives as long as it."""

    stamp_sec: int
    stamp_nanosec: int
    frame_id: str
    format: str
    data: Array

    @property
    def picture(self) -> Array:
        """Return the data of a colour picture.

        Raises:
            ImageError: It is depth.
        """
        if 'compressedDepth' in self.format:
            raise ImageError(f'format {self.format[:60]!r} is depth; wanted a colour JPEG or PNG')
        return self.data

    def decode(self) -> Array:
        """Return the pixels, (height, width, 3) uint8, blue first.

        Raises:
            ImageError: The data is depth, no JPEG or PNG, cut short, damaged, or too large.
        """
        return decode_picture(self.picture)


def view_image(serialized: Serialized) -> ImageView:
    """Return what a serialized sensor_msgs/Image holds.

    Raises:
        ImageError: It is malformed or cut short, its numbers contradict each other, or the suite
            does not read its encoding.
    """
    cdr = CdrReader(serialized, ImageError)
    sec, nanosec = cdr.stamp()
    frame_id = cdr.string('header.frame_id')
    height = cdr.number('height')
    width = cdr.number('width')
    name = cdr.string('encoding')
    big_endian = cdr.byte('is_bigendian')
    step = cdr.number('step')
    size = cdr.number('length of data')
    layout = find_layout(
        name, width=width, height=height, step=step, size=size, big_endian=bool(big_endian)
    )
    pixels = layout.view(serialized, cdr.take(size, 'data'))
    cdr.end(f'the {size} bytes of data')
    return ImageView(sec, nanosec, frame_id, width, height, name, step, pixels)


def view_compressed_image(serialized: Serialized) -> CompressedView:
    """Return what a serialized sensor_msgs/CompressedImage holds, not yet decoded.

    Raises:
        ImageError: It is malformed or cut short.
    """
    cdr = CdrReader(serialized, ImageError)
    sec, nanosec = cdr.stamp()
    frame_id = cdr.string('header.frame_id')
    format = cdr.string('format')
    size = cdr.number('length of data')
    start = cdr.take(size, 'data')
    cdr.end(f'the {size} bytes of data')
    data: Array = np.frombuffer(serialized, np.uint8, size, start)
    return CompressedView(sec, nanosec, frame_id, format, data)
