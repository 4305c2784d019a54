# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The layer that INT8 hurts most is found, and kept."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper
from onnx import numpy_helper
from onnx import TensorProto
import pytest

from trt_builder.int8 import qdq
from trt_builder.int8.calibration import open_calibration
from trt_builder.int8.qdq import FloatModel
from trt_builder.int8.qdq import Keep
from trt_builder.int8.sensitivity import choose_mixed
from trt_builder.int8.sensitivity import measure_sensitivity
from trt_builder.int8.sensitivity import to_text
from trt_engine.card import load_card
from trt_engine.errors import BuildRefusedError
from trt_engine.errors import CalibrationError

pytestmark = pytest.mark.slow  # seconds altogether

EVERYTHING = Keep(depthwise=False, last=False)
CHANNELS = 8


@pytest.fixture
def source(tmp_path) -> FloatModel:
    """Three convolutions; one channel before the second is a thousand times as large."""
    rng = np.random.default_rng(0)
    spread = np.ones((CHANNELS, 1, 1, 1), np.float32)
    spread[0] = 1000
    values = {
        name: rng.normal(size=(CHANNELS, CHANNELS, 1, 1)).astype(np.float32)
        for name in ('w1', 'w2', 'w3')
    }
    values['w1'] *= spread
    values['w2'] /= spread.reshape(1, -1, 1, 1)
    tensors = ['images', 'a', 'b', 'output']
    graph = helper.make_graph(
        [
            helper.make_node('Conv', [tensors[i], f'w{i + 1}'], [tensors[i + 1]], f'conv{i + 1}')
            for i in range(3)
        ],
        'uneven',
        [helper.make_tensor_value_info('images', TensorProto.FLOAT, [1, CHANNELS, 6, 6])],
        [helper.make_tensor_value_info('output', TensorProto.FLOAT, [1, CHANNELS, 6, 6])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    path = tmp_path / 'uneven.onnx'
    opsets = [helper.make_opsetid('', 13)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=7), path)
    return FloatModel(path)


def samples(count: int = 3):
    rng = np.random.default_rng(1)
    for _ in range(count):
        yield {'images': rng.normal(size=(1, CHANNELS, 6, 6)).astype(np.float32)}


@pytest.fixture
def scales(source):
    return qdq.calibrate(source, samples(), method='minmax')[0]


def test_the_layer_with_uneven_channels_is_the_worst(source, scales):
    seen = []
    report = measure_sensitivity(
        source, scales, samples(), keep=EVERYTHING, progress=lambda *each: seen.append(each)
    )

    assert report[0].layer == 'conv2'
    assert report[0].error > 10 * report[1].error
    assert sum(each.share for each in report) == pytest.approx(1)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_mixed_keeps_the_worst_and_says_more_of_the_same(source, scales, tmp_path):
    report = measure_sensitivity(source, scales, samples(), keep=EVERYTHING)
    inputs = next(samples())

    keep = choose_mixed(report, 1, EVERYTHING)
    plain = qdq.write(source, tmp_path / 'a.onnx', scales, keep=EVERYTHING, sample=inputs)
    mixed = qdq.write(source, tmp_path / 'b.onnx', scales, keep=keep, sample=inputs)

    assert mixed.kept == {'conv2': 'chosen to keep its precision'}
    assert 1 - mixed.cosine['output'] < (1 - plain.cosine['output']) / 10


def test_kept_layers_are_not_measured(source, scales):
    keep = Keep(('conv1',), depthwise=False)

    report = measure_sensitivity(source, scales, samples(), keep=keep)

    assert [each.layer for each in report] == ['conv2']
    assert choose_mixed(report, 5, keep) == Keep(('conv1',), frozenset({'conv2'}), False, True)


def test_a_tensor_within_can_be_compared(source, scales):
    report = measure_sensitivity(source, scales, samples(), keep=EVERYTHING, compare=['b'])

    errors = {each.layer: each.error for each in report}
    assert errors['conv3'] == 0, 'it comes after that tensor'
    assert errors['conv2'] > 0


def test_the_table_names_the_worst_and_sums_up_the_others(source, scales):
    lines = to_text(measure_sensitivity(source, scales, samples(), keep=EVERYTHING), 1).splitlines()

    assert len(lines) == 3
    assert lines[1].endswith('conv2')
    assert lines[2].endswith('the 2 others together')


def test_what_cannot_be_measured_is_refused(source, scales):
    with pytest.raises(CalibrationError, match='no sample to measure'):
        measure_sensitivity(source, scales, [], keep=EVERYTHING)
    with pytest.raises(BuildRefusedError, match='nothing is left to quantise'):
        measure_sensitivity(source, {}, samples(), keep=EVERYTHING)
    with pytest.raises(BuildRefusedError, match='has no tensor nowhere'):
        measure_sensitivity(source, scales, samples(), keep=EVERYTHING, compare=['nowhere'])


@pytest.mark.slow
def test_a_real_network_has_a_few_bad_layers(data):
    card = load_card('yolox_nano')
    images = data / 'coco_val64' / 'images'
    source = FloatModel(data / 'models' / 'yolox_nano_416.onnx')
    scales, _ = qdq.calibrate(
        source, open_calibration(card, images, samples=16, allow_few=True), method='minmax'
    )
    few = open_calibration(card, images, samples=2, allow_few=True)

    report = measure_sensitivity(source, scales, few, keep=EVERYTHING)

    assert report[0].layer == 'Conv_44', 'the first depthwise convolution'
    assert sum(each.share for each in report[:8]) > 0.7
