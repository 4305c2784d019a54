# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Draws detections on a picture, for people to look at."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from trt_engine.backend import Array
from trt_engine.picture import decode_picture
from trt_engine.preprocess import to_bgr
from trt_inference.camera.detections import Detections
from trt_inference.camera.pipeline import JPEG
from trt_inference.detector.colors import class_color
from trt_inference.detector.colors import Color

Box = tuple[int, int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BLACK: Color = (0, 0, 0)
_WHITE: Color = (255, 255, 255)


@dataclass(frozen=True)
class _Pen:
    """Sizes that are readable on a picture of this size."""

    line: int
    stroke: int
    font_scale: float
    margin: int


def draw(pixels: Array, encoding: str, detections: Detections, classes: Sequence[str]) -> Array:
    """Return a new picture with the detections on it, (height, width, 3) uint8, blue first.

    Args:
        pixels: As `trt_engine.preprocess.Preprocessor` takes them; or a file, (N,) uint8. They are
            left as they are.
        encoding: One of `trt_engine.encodings.ENCODINGS`; or `pipeline.JPEG`.
        detections: In pixels of the picture.
        classes: Names, in the order of the network.

    Raises:
        ImageError: The picture cannot be read.
    """
    picture: Array = (
        decode_picture(pixels)
        if encoding == JPEG
        else np.array(to_bgr(pixels, encoding), order='C')
    )
    side = min(picture.shape[:2])
    scale = max(0.4, side / 1000)
    pen = _Pen(
        line=max(1, round(side / 240)),
        stroke=max(1, round(scale * 1.6)),
        font_scale=scale,
        margin=round(4 * scale) + 1,
    )
    boxes: list[Box] = [tuple(box) for box in detections.boxes.round().astype(int).tolist()]
    texts = [
        _plain(f'{classes[label]} {score:.2f}')
        for label, score in zip(detections.classes, detections.scores, strict=True)
    ]
    # the best scores choose the place of their labels first, and are drawn last, on top
    bars: list[Box] = []
    for box, text in zip(boxes, texts, strict=True):
        places = list(_places(box, text, pen, picture))
        free = (bar for bar in places if not any(_overlap(bar, other) for other in bars))
        bars.append(next(free, places[0]))
    drawn = list(zip(boxes, bars, texts, detections.classes.tolist(), strict=True))[::-1]
    for (x1, y1, x2, y2), _, _, label in drawn:
        cv2.rectangle(picture, (x1, y1), (x2, y2), class_color(label), pen.line)
    for _, bar, text, label in drawn:
        _write(picture, text, bar, class_color(label), pen)
    return picture


def _places(box: Box, text: str, pen: _Pen, picture: Array) -> Iterator[Box]:
    """Yield where a label may stand: above its box, inside, below, at the right end of each."""
    height, width = picture.shape[:2]
    (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, pen.font_scale, pen.stroke)
    bar_width = text_width + 2 * pen.margin
    bar_height = text_height + baseline + pen.margin
    x1, y1, x2, y2 = box
    half = pen.line // 2
    tops = [y1 - bar_height] if y1 >= bar_height else []
    tops += [y1, y2 - bar_height, y2]
    for left in (x1 - half, x2 + half + 1 - bar_width):
        inside = max(0, min(left, width - bar_width))
        for top in tops:
            shown = max(0, min(top, height - bar_height))
            yield inside, shown, inside + bar_width, shown + bar_height


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _write(picture: Array, text: str, bar: Box, color: Color, pen: _Pen) -> None:
    """Write a label on a bar of the box's colour."""
    left, top, right, bottom = bar
    cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), color, cv2.FILLED)
    (_, text_height), _ = cv2.getTextSize(text, _FONT, pen.font_scale, pen.stroke)
    origin = (left + pen.margin, top + pen.margin // 2 + text_height + 1)
    ink = _ink(color)
    cv2.putText(picture, text, origin, _FONT, pen.font_scale, ink, pen.stroke, cv2.LINE_AA)


def _ink(color: Color) -> Color:
    """Return black or white, whichever reads better on the colour."""
    blue, green, red = color
    return _BLACK if 0.114 * blue + 0.587 * green + 0.299 * red > 128 else _WHITE


def _plain(text: str) -> str:
    """Return the text with what OpenCV's font does not have replaced."""
    return text.encode('ascii', 'replace').decode()
