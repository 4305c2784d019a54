# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Makes docs/scene.jpg, a frame of the demo drive, and docs/overview.svg for the README.

PYTHONPATH=tools/demo_network:$PYTHONPATH python tools/picture.py
"""

from __future__ import annotations

import base64
from itertools import islice
from itertools import pairwise
from pathlib import Path

import cv2
from drive import SEED
from scenes import render_drive

from trt_engine.backend import Array
from trt_engine.backends import open_backend
from trt_engine.card import load_card
from trt_engine.model_file import resolve_model
from trt_inference.camera.overlay import draw
from trt_inference.camera.pipeline import Detector

DOCS = Path(__file__).resolve().parents[1] / 'docs'
FRAME = 25
WIDTH, HEIGHT = 1000, 430
INK, LINE, PAPER, OURS, OTHERS = '#1f2933', '#52606d', '#ffffff', '#e3f2e1', '#eef2f7'
FONT = "font-family='Helvetica, Arial, sans-serif'"

# x, y, width, fill, title, what it does
BOXES = (
    (20, 290, 150, OTHERS, 'camera or replay', ('sensor_msgs/Image', 'or CompressedImage')),
    (205, 290, 130, OURS, 'image_view', ('reads the message', 'in place, no copy')),
    (370, 290, 130, OURS, 'preprocess', ('resize, colour, scale', 'one definition for all')),
    (535, 290, 130, OURS, 'backend', ('ONNX Runtime now,', 'TensorRT next')),
    (700, 290, 130, OURS, 'decoders', ('boxes in the', "image's own pixels")),
    (865, 290, 115, OTHERS, 'your node', ('vision_msgs,', 'header kept')),
)


def text(
    x: float, y: float, words: str, size: int, anchor: str = 'middle', weight: int = 400
) -> str:
    return (
        f"<text x='{x}' y='{y}' {FONT} font-size='{size}' font-weight='{weight}' "
        f"fill='{INK}' text-anchor='{anchor}'>{words}</text>"
    )


def photo(x: int, picture: Array) -> str:
    _, data = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
    encoded = base64.b64encode(data.tobytes()).decode()
    return (
        f"<image x='{x}' y='40' width='300' height='225' href='data:image/jpeg;base64,{encoded}'/>"
    )


def overview(scene: Array, overlay: Array) -> str:
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' "
        "aria-label='A camera image goes through image_view, preprocess, backend and decoders of "
        "the inference node and comes out as detections'>",
        "<defs><marker id='tip' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' "
        f"markerHeight='7' orient='auto'><path d='M0 0L8 4L0 8z' fill='{LINE}'/></marker></defs>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='{PAPER}'/>",
        text(170, 28, 'what the camera sees', 15, weight=600),
        text(830, 28, '~/overlay of ~/detections', 15, weight=600),
        photo(20, scene),
        photo(680, overlay),
        text(500, 110, 'lifecycle node', 15, weight=600),
        text(500, 136, 'newest frame wins, one worker thread', 13),
        text(500, 158, '~/stats: ms of every stage of every frame', 13),
        text(500, 180, '/diagnostics: rate, p99, drops, backend', 13),
        text(500, 202, 'thresholds change while it runs', 13),
        f"<rect x='192' y='278' width='651' height='98' rx='8' fill='none' stroke='{LINE}' "
        "stroke-dasharray='5 4'/>",
        text(
            517,
            397,
            'trt_inference: plain Python modules, tested without ROS and without a GPU',
            13,
        ),
    ]
    for x, y, width, fill, title, lines in BOXES:
        parts.append(
            f"<rect x='{x}' y='{y}' width='{width}' height='74' rx='6' fill='{fill}' "
            f"stroke='{LINE}'/>"
        )
        parts.append(text(x + width / 2, y + 24, title, 15, weight=600))
        parts += [
            text(x + width / 2, y + 44 + 17 * row, line, 12) for row, line in enumerate(lines)
        ]
    for left, right in pairwise(BOXES):
        parts.append(
            f"<line x1='{left[0] + left[2] + 3}' y1='327' x2='{right[0] - 4}' y2='327' "
            f"stroke='{LINE}' stroke-width='2' marker-end='url(#tip)'/>"
        )
    return '\n'.join([*parts, '</svg>', ''])


def main() -> None:
    """Write both files."""
    DOCS.mkdir(exist_ok=True)
    scene, _, _ = next(islice(render_drive(SEED, 150, 640, 480), FRAME, None))
    cv2.imwrite(str(DOCS / 'scene.jpg'), scene, [cv2.IMWRITE_JPEG_QUALITY, 95])
    card = load_card('demo')
    backend = open_backend('onnxruntime', resolve_model(card))
    overlay = draw(scene, 'bgr8', Detector(card, backend)(scene, 'bgr8'), card.classes)
    (DOCS / 'overview.svg').write_text(overview(scene, overlay))


if __name__ == '__main__':
    main()
