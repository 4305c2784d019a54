# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""One frame through all stages: fakes for the unit pass, real networks where the data is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trt_engine.backend import TensorInfo
from trt_engine.backends.fake import FakeBackend
from trt_engine.card import Card
from trt_engine.card import Head
from trt_engine.card import ImageInput
from trt_engine.card import load_card
from trt_engine.card import ModelSource
from trt_engine.card import Resize
from trt_engine.card import Thresholds
from trt_engine.errors import CardError
from trt_engine.errors import DecodeError
from trt_engine.errors import ImageError
from trt_engine.errors import InferenceError
from trt_engine.picture import decode_picture
from trt_inference.camera.pipeline import Detector

CARD = Card(
    name='fake',
    summary='A card for tests',
    model=ModelSource('fake.onnx', 'Apache-2.0'),
    input=ImageInput('images', 64, 64, 'rgb', Resize('letterbox', 'top_left'), scale=1 / 255),
    head=Head('yolo', {'predictions': ('output',)}, {'form': 'end_to_end'}),
    classes=('cone', 'ball', 'box'),
    thresholds=Thresholds(score=0.5, nms_iou=None),
)
TENSORS = (
    TensorInfo('images', 'input', np.dtype(np.float32), (1, 3, 64, 64)),
    TensorInfo('output', 'output', np.dtype(np.float32), (1, 3, 6)),
)
ROWS = np.array(
    [[[0, 0, 32, 16, 0.9, 2], [8, 8, 16, 16, 0.7, 0], [1, 1, 9, 9, 0.3, 1]]], np.float32
)
FRAME = np.full((80, 160, 3), 51, np.uint8)


def fake(outputs=None) -> FakeBackend:
    return FakeBackend(TENSORS, outputs or {'output': ROWS})


def test_a_frame_becomes_detections_in_its_own_pixels():
    seen = []

    def run(inputs):
        seen.append(inputs['images'].copy())
        return {'output': ROWS}

    found = Detector(CARD, fake(run))(FRAME, 'bgr8')
    np.testing.assert_allclose(seen[0][0, :, :32], 51 / 255, rtol=1e-6)
    np.testing.assert_allclose(seen[0][0, :, 32:], 114 / 255, rtol=1e-6)
    assert found.classes.tolist() == [2, 0]
    np.testing.assert_allclose(found.boxes, [[0, 0, 80, 40], [20, 20, 40, 40]])


def test_thresholds_and_class_filter_change_from_the_next_frame_on():
    detector = Detector(CARD, fake())
    assert detector.thresholds == CARD.thresholds
    detector.thresholds = replace(CARD.thresholds, score=0.2)
    assert detector(FRAME, 'bgr8').classes.tolist() == [2, 0, 1]
    detector.class_filter = frozenset({1, 2})
    assert detector(FRAME, 'bgr8').classes.tolist() == [2, 1]
    detector.class_filter = frozenset()
    assert len(detector(FRAME, 'bgr8')) == 0
    detector.class_filter = None
    assert len(detector(FRAME, 'bgr8')) == 3


def test_stages_are_timed_with_the_given_clock():
    ticks = iter([1.0, 1.002, 1.010, 1.013])
    detector = Detector(CARD, fake(), clock=lambda: next(ticks))
    assert list(detector.stages_ms) == ['preprocess', 'inference', 'decode']
    detector(FRAME, 'bgr8')
    assert detector.stages_ms == pytest.approx({'preprocess': 2, 'inference': 8, 'decode': 3})


def test_a_bad_frame_does_not_spoil_the_next():
    backend = fake()
    detector = Detector(CARD, backend)
    with pytest.raises(ImageError, match='unsupported encoding'):
        detector(FRAME, 'hsv')
    backend.fail_with = 'out of memory'
    with pytest.raises(InferenceError, match='out of memory'):
        detector(FRAME, 'bgr8')
    backend.fail_with = None
    assert len(detector(FRAME, 'bgr8')) == 2


def test_outputs_of_another_form_are_refused():
    detector = Detector(CARD, fake({'output': ROWS[..., :5]}))
    with pytest.raises(DecodeError, match=r"'output' has shape \[1, 3, 5\].*promises \[1, N, 6\]"):
        detector(FRAME, 'bgr8')


def test_a_wrong_head_is_refused_before_the_first_frame():
    with pytest.raises(CardError, match=r'head\.type'):
        Detector(replace(CARD, head=replace(CARD.head, type='no')), fake())


def test_yolox_sees_dog_bicycle_and_car(data: Path):
    pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    from trt_engine.backends.onnxruntime import OnnxRuntimeBackend

    onnx = data / 'models' / 'yolox_nano_416.onnx'
    card = load_card('yolox_nano', onnx=onnx)
    backend = OnnxRuntimeBackend(onnx)
    pixels = decode_picture((data / 'images' / 'dog.jpg').read_bytes())
    found = Detector(card, backend)(pixels, 'bgr8')
    backend.close()
    best = {
        card.classes[c]: s for c, s in reversed([*zip(found.classes, found.scores, strict=True)])
    }
    assert best['dog'] == pytest.approx(0.86, abs=0.01)
    assert best['bicycle'] == pytest.approx(0.80, abs=0.01)
    assert best['car'] == pytest.approx(0.80, abs=0.01)
    golden = [
        [132.8, 206.6, 325.7, 543.1],
        [51.7, 137.2, 572.3, 423.6],
        [466.3, 78.4, 692.5, 171.3],
    ]
    np.testing.assert_allclose(found.boxes[:3], golden, atol=1)
