# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The same frame through the same engine, as other Python nodes do it: baselines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trt_engine.backend import Array
from trt_engine.card import Card

Infer = Callable[[Array], Array]  # network input -> the one output


def usual(card: Card, frame: Array, infer: Infer) -> Callable[[], Any]:
    """Return a YOLOX frame in the usual manner: cv2 letterbox, float NumPy, NumPy NMS."""
    spec = card.image
    strides = (8, 16, 32)
    cells = [np.mgrid[: spec.height // each, : spec.width // each] for each in strides]
    grid = np.concatenate([np.stack([x.ravel(), y.ravel()], 1) for y, x in cells])
    scale = np.repeat(strides, [x.size for _, x in cells])[:, None]

    def run() -> list[int]:
        ratio = min(spec.width / frame.shape[1], spec.height / frame.shape[0])
        small = cv2.resize(frame, (int(frame.shape[1] * ratio), int(frame.shape[0] * ratio)))
        padded = np.full((spec.height, spec.width, 3), 114, np.uint8)
        padded[: small.shape[0], : small.shape[1]] = small
        rows = infer(np.ascontiguousarray(padded.transpose(2, 0, 1)[None], np.float32))[0].copy()
        rows[:, :2] = (rows[:, :2] + grid) * scale
        rows[:, 2:4] = np.exp(rows[:, 2:4]) * scale
        scores = rows[:, 4:5] * rows[:, 5:]
        labels, best = scores.argmax(1), scores.max(1)
        seen = best > card.thresholds.score
        centres, sizes = rows[seen, :2], rows[seen, 2:4]
        boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], 1) / ratio
        return suppress(boxes, best[seen], labels[seen], card.thresholds.nms_iou or 1.0)

    return run


def suppress(boxes: Array, scores: Array, labels: Array, iou: float) -> list[int]:
    """Return which boxes stay: NumPy's NMS as it is found everywhere, of each class by itself."""
    apart = boxes + labels[:, None] * 4096.0
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = scores.argsort()[::-1]
    kept = []
    while order.size:
        first, others = order[0], order[1:]
        kept.append(int(first))
        low = np.maximum(apart[first, :2], apart[others, :2])
        high = np.minimum(apart[first, 2:], apart[others, 2:])
        common = np.clip(high - low, 0, None).prod(1)
        order = others[common / (areas[first] + areas[others] - common) <= iou]
    return kept


def polygraphy(plan: Path, tensor: str) -> Infer:
    """Return inference by Polygraphy's runner; raises whatever keeps it from running."""
    from polygraphy.backend.common import BytesFromPath
    from polygraphy.backend.trt import EngineFromBytes
    from polygraphy.backend.trt import TrtRunner

    runner = TrtRunner(EngineFromBytes(BytesFromPath(str(plan))))
    runner.activate()
    return lambda array: next(iter(runner.infer({tensor: array}).values()))


def trtutils(plan: Path, tensor: str) -> Infer:
    """Return inference by trtutils' engine; raises whatever keeps it from running."""
    import trtutils as library

    engine = library.TRTEngine(plan)
    return lambda array: engine.execute([array])[0]
