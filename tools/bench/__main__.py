# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What `make bench` runs; prints Markdown for docs/performance.md."""

from __future__ import annotations

import argparse
from datetime import date
import os
from pathlib import Path
import platform
import sys

import compressed
import cv2
import discovery
import frames
import numpy as np
import onnxruntime
import transport

from trt_engine.backends import open_backend
from trt_engine.card import load_card
from trt_engine.errors import PerceptionError
from trt_engine.model_file import resolve_model

SIZES = ((640, 480), (1920, 1080))


def machine() -> str:
    """Return the machine in one line."""
    model = next(
        (line.split(':', 1)[1].strip() for line in Path('/proc/cpuinfo').read_text().splitlines()
         if line.startswith('model name')), platform.processor(),
    )  # fmt: skip
    return (
        f'{model}, {os.cpu_count()} cores, Linux {platform.release()}, '
        f'CPython {platform.python_version()}, OpenCV {cv2.__version__}, NumPy {np.__version__}, '
        f'ONNX Runtime {onnxruntime.__version__}'
    )


def row(*cells: object) -> None:
    words = (f'{cell:.2f}' if isinstance(cell, float) else str(cell) for cell in cells)
    print(f'| {" | ".join(words)} |')


def report(results: list[frames.Comparison]) -> None:
    """Print both paths side by side."""
    row('from message to published, median ms', *(f'{r.width}x{r.height}' for r in results))
    row('---', *('---:' for _ in results))
    for label, name in (
        ('read the message', 'read_ms'),
        ('preprocess', 'preprocess_ms'),
        ('network', 'inference_ms'),
        ('decode, NMS', 'decode_ms'),
        ('build and publish', 'publish_ms'),
        ('**ours, whole**', 'ours_ms'),
        ('**baseline, whole**', 'baseline_ms'),
        ("baseline's network", 'baseline_inference_ms'),
    ):
        row(label, *(getattr(r, name) for r in results))
    row('ours less network / baseline less network', *(f'**{r.ratio:.3f}**' for r in results))
    row('allocated for a frame after warm-up, KiB: ours', *(r.allocated_kib for r in results))
    row('the same, baseline', *(r.baseline_allocated_kib for r in results))


def main() -> int:
    """Run everything; the exit status says only whether it ran."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--card', default='demo', help='a card with a yolox head')
    parser.add_argument('--onnx', default='', help="ONNX file to run instead of the card's")
    parser.add_argument('--picture', help='what to look at; default: the generated demo picture')
    parser.add_argument('--rounds', type=int, default=200)
    parser.add_argument('--images', type=int, default=150, help='images of the transport runs')
    arguments = parser.parse_args()
    try:
        card = load_card(arguments.card, onnx=arguments.onnx or None)
        backend = open_backend('onnxruntime', resolve_model(card))
    except PerceptionError as exc:
        print(f'bench: {exc}', file=sys.stderr)
        return 1
    default = Path(__file__).resolve().parents[2] / 'docs' / 'scene.jpg'
    picture = cv2.imread(arguments.picture or str(default))
    if picture is None:
        parser.error(f'--picture {arguments.picture}: no picture that OpenCV can read')
    print(f'{date.today()}: {machine()}; {card.name}\n')
    report([frames.compare(card, backend, picture, size, arguments.rounds) for size in SIZES])
    print()
    row('1920x1080 bgr8 at 15 Hz, best effort, two processes', 'arrived', 'p50 ms', 'p99 ms')
    row('---', '---:', '---:', '---:')
    for name, seen in transport.compare(arguments.images).items():
        row(name, f'{seen.arrived} of {seen.sent}', seen.p50_ms, seen.p99_ms)
    print()
    row("from a process's start to its first message heard, s", 'median', 'longest', 'starts')
    row('---', '---:', '---:', '---:')
    for name, firsts in discovery.compare().items():
        row(name, float(np.median(firsts)), max(firsts), len(firsts))
    print()
    compressed.report()
    return 0


if __name__ == '__main__':
    sys.exit(main())
