# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the GPU path sees what the CPU path sees, with the same engine."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from setting import head
from setting import row
from setting import Setting

from trt_engine.card import ImageInput
from trt_engine.card import Resize
from trt_engine.cuda.memory import Exchange
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.preprocess import FramePlan
from trt_engine.encodings import ENCODINGS
from trt_engine.preprocess import Preprocessor
from trt_inference.camera.detections import Detections
from trt_inference.camera.pipeline import Detector
from trt_validation.accuracy import measure
from trt_validation.accuracy import SCORE
from trt_validation.coco import Dataset

MATCHED = 0.3  # the score above which boxes are compared one by one
_SHARES = 10  # that the geometries are told in


def precision(setting: Setting, coco: Path) -> None:
    """Print AP both ways, and how far apart matched boxes are."""
    dataset = Dataset(coco / 'instances.json')
    classes = dataset.match(setting.card.classes)
    found: list[dict[int, Detections]] = []
    head('', 'AP', 'AP50', 'boxes')
    for name, detector in (
        ('CPU path', Detector(setting.card, setting.backend)),
        ('GPU path', setting.detector),
    ):
        detector.thresholds = replace(setting.card.thresholds, score=SCORE, multi_label=True)
        found.append(measure(detector, dataset, coco / 'images', classes, quiet=True))
        result = dataset.precision(found[-1], classes)
        row(name, result.AP, result.AP50, sum(map(len, found[-1].values())))
    unmatched, furthest, compared = 0, 0.0, 0
    for number, wanted in found[0].items():
        strong = wanted.select(wanted.scores > MATCHED)
        for box, label, score in zip(strong.boxes, strong.classes, strong.scores, strict=True):
            seen = found[1][number]
            like = (seen.classes == label) & (np.abs(seen.scores - score) < 0.01)
            distances = np.abs(seen.boxes[like] - box).max(1) if like.any() else np.array([np.inf])
            compared += 1
            if distances.min() > 10:
                unmatched += 1
            else:
                furthest = max(furthest, float(distances.min()))
    print()
    print(
        f'{compared} boxes above {MATCHED}: {unmatched} without a partner, the furthest '
        f'{furthest:.4f} px from its own\n'
    )


def geometries(setting: Setting, count: int) -> None:
    """Print how many of random geometries differ from the CPU's tensor in any bit."""
    rng = np.random.default_rng(0)
    modes = (Resize('stretch'), Resize('letterbox', 'center'), Resize('letterbox', 'top_left'))
    head('geometries', 'differ', 'reserved MiB')
    differ = 0
    for number in range(1, count + 1):
        encoding = str(rng.choice(list(ENCODINGS)))
        about = ENCODINGS[encoding]
        width, height = (int(each) for each in rng.integers(3, 1200, 2))
        shape = (about.rows(height), width, about.channels)[: 2 if about.channels == 1 else 3]
        pixels = rng.integers(0, 256**about.sample_bytes, shape).astype(f'u{about.sample_bytes}')
        spec = ImageInput(
            'images', int(rng.integers(1, 700)), int(rng.integers(1, 700)), 'rgb',
            modes[rng.integers(3)], scale=1 / 255,
        )  # fmt: skip
        wanted = Preprocessor(spec)
        geometry = wanted(pixels, encoding)
        if about.sample_bytes == 2 and geometry.scale_x == geometry.scale_y == 0.5:
            continue  # OpenCV rounds another way: cuda/preprocess.py says so
        differ += not np.array_equal(on_gpu(setting, spec, pixels, encoding), wanted.tensor)
        if number % max(1, count // _SHARES) == 0:
            row(number, differ, sum(setting.pool.reserved_bytes.values()) / (1 << 20))


def on_gpu(setting: Setting, spec: ImageInput, pixels: np.ndarray, encoding: str) -> np.ndarray:
    """Return the network input that the kernel makes."""
    memory = Lease(setting.pool)
    stream = setting.backend.stream
    shape = (1, 3, spec.height, spec.width)
    tensor = Exchange(memory, int(np.prod(shape)) * 4)
    plan = FramePlan(setting.kernels, memory, stream, spec, tensor.pointer, pixels, encoding)
    plan.stage(pixels)
    plan.upload(stream)
    plan.convert(stream)
    tensor.download(stream)
    stream.synchronize()
    made = tensor.host.view(np.float32).reshape(shape).copy()
    memory.close()
    return made


def report(setting: Setting, args: argparse.Namespace) -> None:
    """Print what was asked for."""
    if args.coco is not None:
        precision(setting, args.coco)
    if args.geometries:
        geometries(setting, args.geometries)
