# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""NMS keeps what the plain greedy algorithm keeps, always in the same order."""

from __future__ import annotations

import numpy as np
import pytest

from trt_inference.camera.nms import nms

pytestmark = pytest.mark.slow


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)


def greedy(boxes, scores, classes, iou, class_agnostic):
    kept: list[int] = []
    for index in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        rivals = [k for k in kept if class_agnostic or classes[k] == classes[index]]
        if all(overlap(boxes[k], boxes[index]) <= iou for k in rivals):
            kept.append(index)
    return kept


def scene(count: int, kinds: int, seed: int):
    chance = np.random.default_rng(seed)
    objects = max(1, count // 5)
    centres = chance.uniform(0, 400, (objects, 2))[chance.integers(0, objects, count)]
    centres += chance.normal(0, 6, centres.shape)
    sizes = chance.uniform(20, 90, (count, 2))
    boxes = np.hstack((centres - sizes / 2, centres + sizes / 2)).astype(np.float32)
    scores = chance.integers(1, 60, count).astype(np.float32) / 60  # many are equal
    return boxes, scores, chance.integers(0, kinds, count).astype(np.int32)


@pytest.mark.parametrize('class_agnostic', [False, True])
@pytest.mark.parametrize('iou', [0.0, 0.3, 0.65, 1.0])
@pytest.mark.parametrize('count', [1, 2, 40, 128, 129, 300])
def test_the_plain_algorithm_agrees(count, iou, class_agnostic):
    boxes, scores, classes = scene(count, 4, count)
    kept = nms(boxes, scores, classes, iou, class_agnostic=class_agnostic)
    assert kept.tolist() == greedy(boxes, scores, classes, iou, class_agnostic)


@pytest.mark.parametrize('count', [0, 1])
def test_few_boxes_stay(count):
    boxes, scores, classes = scene(5, 1, 1)
    kept = nms(boxes[:count], scores[:count], classes[:count], 0.5)
    assert kept.tolist() == list(range(count))


def test_of_equals_the_first_stays():
    boxes = np.array([[0, 0, 10, 10]] * 3, np.float32)
    kept = nms(boxes, np.full(3, 0.5, np.float32), np.array([1, 0, 1]), 0.5)
    assert kept.tolist() == [0, 1]


def test_boxes_without_area_compete_with_nobody():
    boxes = np.array([[5, 5, 5, 5]] * 2, np.float32)
    assert len(nms(boxes, np.array([0.9, 0.8], np.float32), np.zeros(2), 0.5)) == 2
