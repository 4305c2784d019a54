# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The kernels for decoding and NMS, run on the CPU, give the detections of the CPU path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trt_engine.card import Card
from trt_engine.card import Head
from trt_engine.card import ImageInput
from trt_engine.card import ModelSource
from trt_engine.card import Resize
from trt_engine.card import Thresholds
from trt_engine.cuda.detections import DetectionsPlan
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.memory import Pool
from trt_engine.cuda.runtime import Stream
from trt_engine.errors import DecodeError
from trt_engine.preprocess import Geometry
from trt_inference.camera.decoders import open_decoder
from trt_inference.camera.detections import Detections

pytestmark = pytest.mark.slow  # compiles kernels for the CPU

WIDTH, HEIGHT = 320, 192
CLASSES = ('cone', 'ball', 'box', 'cube', 'ring')
COUNT = len(CLASSES)
# the image is twice as large as the network input, which has a border of 8 rows above it
GEOMETRY = Geometry(640, 352, 0.5, 0.5, 0.0, 8.0)
THRESHOLDS = Thresholds(score=0.3, nms_iou=0.5)
CELLS = 40 * 24 + 20 * 12 + 10 * 6  # of the strides 8, 16 and 32


def card(type: str, outputs: dict, options: dict | None = None, **changes) -> Card:
    return Card(
        name='my_card',
        summary='A card for tests',
        model=ModelSource('my.onnx', 'Apache-2.0'),
        input=ImageInput('images', WIDTH, HEIGHT, 'rgb', Resize('stretch'), **changes),
        head=Head(type, {role: tuple(names.split()) for role, names in outputs.items()},
                  options or {}),
        classes=CLASSES,
        thresholds=THRESHOLDS,
        path=Path('folder/my_card.yaml'),
    )  # fmt: skip


def scores_of(rng, *shape):
    """Return scores of which many are equal, and some are no scores at all."""
    scores = np.round(rng.uniform(0, 1, shape) ** 3, 2)
    scores[rng.uniform(size=shape) < 0.002] = np.nan
    scores[rng.uniform(size=shape) < 0.002] = np.inf
    return scores


def boxes_of(rng, rows):
    """Return boxes in clusters, as x1 y1 x2 y2 in pixels of the network; some are empty or NaN."""
    centres = rng.uniform(0, [WIDTH, HEIGHT], (rows // 20 + 1, 2))[
        rng.integers(rows // 20 + 1, size=rows)
    ]
    centres = centres + rng.normal(0, 6, (rows, 2))
    sizes = rng.uniform(-2, 60, (rows, 2))
    boxes = np.concatenate((centres - sizes / 2, centres + sizes / 2), axis=1)
    boxes[rng.uniform(size=rows) < 0.01, 2] = np.nan
    boxes[rng.uniform(size=rows) < 0.01, 0] = -np.inf
    return boxes


def centred(boxes):
    return np.concatenate(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), axis=1)


def yolox(rng, rows, decoded=False):
    if decoded:
        boxes = centred(boxes_of(rng, CELLS))
    else:
        boxes = rng.normal(0, 1, (CELLS, 4))
        boxes[:, 2:] += 1
    predictions = np.concatenate((boxes, scores_of(rng, CELLS, 1 + COUNT) ** 0.5), axis=1)
    return card('yolox', {'predictions': 'out'}, {'decoded': decoded}), {'out': predictions[None]}


def yolo(rng, rows, form):
    boxes = boxes_of(rng, rows)
    if form == 'anchor_free':
        predictions = np.concatenate((centred(boxes), scores_of(rng, rows, COUNT)), axis=1).T
    elif form == 'objectness':
        scores = scores_of(rng, rows, 1 + COUNT) ** 0.5
        predictions = np.concatenate((centred(boxes), scores), axis=1)
    else:
        labels = rng.integers(0, COUNT, (rows, 1)).astype(float)
        labels[0] = np.nan
        predictions = np.concatenate((boxes, scores_of(rng, rows, 1), labels), axis=1)
    return card('yolo', {'predictions': 'out'}, {'form': form}), {'out': predictions[None]}


def gfl(rng, rows, together=False, logits=False):
    cells = (40 * 24, 20 * 12, 10 * 6)
    options = {'strides': (8, 16, 32), 'bins': 8, 'scores_are_logits': logits}
    levels = [
        (rng.normal(-2, 2, (n, COUNT)) if logits else scores_of(rng, n, COUNT),
         rng.normal(0, 2, (n, 32)))
        for n in cells
    ]  # fmt: skip
    if together:
        whole = np.concatenate([np.concatenate(level, axis=1) for level in levels])
        return card('gfl', {'predictions': 'out'}, options), {'out': whole[None]}
    outputs = {f's{i}': level[0][None] for i, level in enumerate(levels)}
    outputs |= {f'd{i}': level[1][None] for i, level in enumerate(levels)}
    return card('gfl', {'scores': 's0 s1 s2', 'distances': 'd0 d1 d2'}, options), outputs


def ssd(rng, rows, background=0):
    boxes = boxes_of(rng, rows) / ([WIDTH, HEIGHT] * 2)
    scores = scores_of(rng, rows, COUNT + (background is not None))
    options = {'background': background}
    return card('ssd', {'scores': 's', 'boxes': 'b'}, options), {
        's': scores[None],
        'b': boxes[None],
    }


def detr(rng, rows, form):
    boxes = boxes_of(rng, rows)
    if form == 'normalized':
        boxes = centred(boxes) / ([WIDTH, HEIGHT] * 2)
        predictions = np.concatenate((boxes, scores_of(rng, rows, COUNT)), axis=1)
        return card('detr', {'predictions': 'out'}, {'form': form}), {'out': predictions[None]}
    outputs = {
        'labels': rng.integers(0, COUNT, (1, rows)),
        'boxes': boxes[None] * 2,
        'scores': scores_of(rng, 1, rows),
    }
    names = {role: role for role in outputs}
    return card('detr', names, {'form': form}, size_tensor='size'), outputs


HEADS = {
    'yolox': yolox,
    'yolox decoded': lambda *a: yolox(*a, decoded=True),
    'yolo anchor_free': lambda *a: yolo(*a, 'anchor_free'),
    'yolo objectness': lambda *a: yolo(*a, 'objectness'),
    'yolo end_to_end': lambda *a: yolo(*a, 'end_to_end'),
    'gfl': gfl,
    'gfl in one tensor': lambda *a: gfl(*a, together=True),
    'gfl logits': lambda *a: gfl(*a, logits=True),
    'ssd': ssd,
    'ssd background last': lambda *a: ssd(*a, background=COUNT),
    'ssd no background': lambda *a: ssd(*a, background=None),
    'detr normalized': lambda *a: detr(*a, 'normalized'),
    'detr decoded': lambda *a: detr(*a, 'decoded'),
}
# Where no exponential is taken, all arithmetic is the same, and so is every bit.
EXACT = {name for name in HEADS if name != 'yolox' and not name.startswith('gfl')}


@pytest.fixture
def decode(device, tmp_path):
    """Return a function that decodes outputs with the kernels."""
    kernels, pool, stream = Kernels(tmp_path / 'cubins'), Pool(), Stream()

    def run(card, outputs, thresholds) -> Detections:
        memory = Lease(pool)
        begins = {}
        for name, array in outputs.items():
            pointer = memory.take('device', array.nbytes).address
            device.write(pointer, array)
            begins[name] = pointer

        def address(view) -> int:
            for name, array in outputs.items():
                offset = view.ctypes.data - array.ctypes.data
                if 0 <= offset < array.nbytes:
                    return begins[name] + offset
            raise AssertionError

        try:
            plan = DetectionsPlan(
                kernels, memory, stream, open_decoder(card).readouts(outputs), address,
                classes=len(card.classes), thresholds=thresholds, geometry=GEOMETRY,
            )  # fmt: skip
            for _ in range(2):  # what one frame leaves behind must not be in the next
                plan.enqueue(stream)
                stream.synchronize()
            return Detections(*plan.read())
        finally:
            memory.close()

    yield run
    kernels.close()
    pool.close()
    stream.close()


def same(found: Detections, wanted: Detections, exact: bool) -> None:
    assert len(found) == len(wanted)
    np.testing.assert_array_equal(found.classes, wanted.classes)
    if exact:
        np.testing.assert_array_equal(found.scores, wanted.scores)
        np.testing.assert_array_equal(found.boxes, wanted.boxes)
    else:
        np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-6)
        np.testing.assert_allclose(found.boxes, wanted.boxes, atol=2e-3)


def typed(outputs, dtype):
    with np.errstate(over='ignore'):
        return {
            name: np.ascontiguousarray(array, dtype if array.dtype.kind == 'f' else array.dtype)
            for name, array in outputs.items()
        }


@pytest.mark.parametrize('dtype', [np.float32, np.float16])
@pytest.mark.parametrize('head', HEADS)
def test_every_head_gives_the_detections_of_the_cpu_path(decode, head, dtype):
    for seed, thresholds in enumerate((
        THRESHOLDS,
        replace(THRESHOLDS, multi_label=True),
        replace(THRESHOLDS, class_agnostic=True, score=0.55),
        replace(THRESHOLDS, nms_iou=None, max_detections=7),
        replace(THRESHOLDS, nms_iou=0.0, score=0.0),
        replace(THRESHOLDS, nms_iou=1.0, score=0.01, multi_label=True, max_detections=100_000),
        replace(THRESHOLDS, score=1.0),
    )):  # fmt: skip
        rng = np.random.default_rng(seed)
        about, outputs = HEADS[head](rng, 300 if seed % 2 else 2000)
        outputs = typed(outputs, dtype)
        wanted = open_decoder(about)(outputs, thresholds, GEOMETRY)
        same(decode(about, outputs, thresholds), wanted, head in EXACT)


@pytest.mark.parametrize('rows', [1, 63, 64, 65, 999, 1000, 1001, 1024, 1025, 5000])
def test_any_number_of_candidates_is_cut_to_the_same_thousand(decode, rows):
    rng = np.random.default_rng(rows)
    about = card('ssd', {'scores': 's', 'boxes': 'b'}, {'background': None})
    outputs = {
        # eleven scores for all: what is kept depends on the order of equals
        's': rng.integers(5, 16, (1, rows, COUNT)).astype(np.float32) / 16,
        'b': (boxes_of(rng, rows)[None] / ([WIDTH, HEIGHT] * 2)).astype(np.float32),
    }
    for thresholds in (
        replace(THRESHOLDS, nms_iou=0.9, max_detections=1000),
        replace(THRESHOLDS, nms_iou=None, max_detections=1000, multi_label=True),
    ):
        wanted = open_decoder(about)(outputs, thresholds, GEOMETRY)
        same(decode(about, outputs, thresholds), wanted, exact=True)


def test_the_order_of_threads_changes_nothing(decode, monkeypatch):
    about, outputs = HEADS['yolo anchor_free'](np.random.default_rng(5), 2000)
    outputs = typed(outputs, np.float32)
    wanted = decode(about, outputs, THRESHOLDS)
    assert len(wanted) > 100
    monkeypatch.setenv('FAKE_GPU_ORDER', 'reversed')
    kernels_anew = replace(THRESHOLDS, max_detections=299)
    same(decode(about, outputs, kernels_anew), wanted.select(slice(299)), exact=True)


@pytest.mark.parametrize('score', [0.0, -0.0])
def test_a_score_of_nothing_counts_where_the_threshold_is_nothing(decode, score):
    about = card('ssd', {'scores': 's', 'boxes': 'b'}, {'background': None})
    outputs = {
        's': np.array([[[score] * COUNT, [0.5] * COUNT, [0] * COUNT]], np.float32),
        'b': np.array([[[0, 0, 0.1, 0.1], [0.2, 0, 0.3, 0.1], [0.4, 0.1, 0.5, 0.2]]], np.float32),
    }
    thresholds = replace(THRESHOLDS, score=0.0)
    wanted = open_decoder(about)(outputs, thresholds, GEOMETRY)
    assert len(wanted) == 3
    same(decode(about, outputs, thresholds), wanted, exact=True)


def test_no_candidates_are_no_detections(decode):
    about = card('ssd', {'scores': 's', 'boxes': 'b'}, {'background': None})
    outputs = {'s': np.zeros((1, 70, COUNT), np.float32), 'b': np.zeros((1, 70, 4), np.float32)}
    assert len(decode(about, outputs, THRESHOLDS)) == 0


@pytest.mark.parametrize('label', [-1, 5, 93])
@pytest.mark.parametrize('kind', [np.int32, np.int64, np.float32])
def test_a_class_that_the_card_does_not_have_is_an_error(decode, label, kind):
    about, outputs = HEADS['detr decoded'](np.random.default_rng(0), 4)
    outputs = typed(outputs, np.float32)
    outputs['scores'] = np.array([[0.9, 0.1, 0.9, 0.9]], np.float32)
    outputs['labels'] = np.array([[0, -7, label, 2]], kind)
    with pytest.raises(
        DecodeError, match=rf"'labels' has class {label}; the card has classes 0..4"
    ):
        decode(about, outputs, THRESHOLDS)


def test_numbers_that_are_not_decoded_are_refused(decode):
    about, outputs = HEADS['ssd'](np.random.default_rng(0), 4)
    outputs = typed(outputs, np.float64)
    with pytest.raises(DecodeError, match='float64, which is not decoded on the GPU'):
        decode(about, outputs, THRESHOLDS)
