# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What of the lidar demo network needs no PyTorch: its ONNX form, its data, its evaluation."""

from __future__ import annotations

from dataclasses import replace
import math

import numpy as np
import onnxruntime
import pytest

from tools.lidar_network import form
from tools.lidar_network.dataset import example
from tools.lidar_network.dataset import examples
from tools.lidar_network.onnx_file import build
from tools.lidar_network.onnx_file import EPSILON
from tools.lidar_network.onnx_file import write
from tools.lidar_network.untrained import untrained
from trt_engine.lidar.pillar_file import split
from trt_engine.lidar.pillars import BirdsEye
from trt_engine.lidar.pillars import PaddedPillars
from trt_engine.lidar.pillars import Pillarizer
from trt_engine.lidar.pillars import PillarNet
from trt_inference.lidar.decoders3d import open_decoder3d

pytestmark = pytest.mark.slow  # seconds altogether

SMALL = replace(
    form.POINTS, range_m=(-1.6, -3.2, -3, 1.6, 3.2, 3), max_voxels=50, max_points=4
)  # fmt: skip


def normalised(x, layer):
    """Return batch normalisation and ReLU, of channels first."""
    parts = (layer.mean, layer.variance, layer.scale, layer.shift)
    mean, variance, scale, shift = (part.reshape(-1, *[1] * (x.ndim - 1)) for part in parts)
    return np.maximum((x - mean) / np.sqrt(variance + EPSILON) * scale + shift, 0)


def plain(learned, x):
    """Return what the network makes of the grid (C, rows, columns), in so many words."""
    parts = []
    for block, up in zip(learned.blocks, learned.ups, strict=True):
        for layer in block:
            padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
            windows = windows[:, :: layer.stride, :: layer.stride]
            x = normalised(np.einsum('oikl,ihwkl->ohw', layer.weight, windows), layer)
        spread = np.einsum('iokl,ihw->ohkwl', up.weight, x)
        channels, rows, step, columns, _ = spread.shape
        parts.append(normalised(spread.reshape(channels, rows * step, columns * step), up))
    joined = np.concatenate(parts)
    return {
        name: np.einsum('oi,ihw->hwo', weight[:, :, 0, 0], joined)[None] + bias
        for name, (weight, bias) in learned.heads.items()
    }


@pytest.fixture
def learned():
    return untrained(np.random.default_rng(1), {'cls_preds': 3, 'box_preds': 7})


@pytest.fixture
def cloud():
    chance = np.random.default_rng(2)
    low, high = (-1.6, -3.2, -2, 0), (1.6, 3.2, 2, 1)
    return chance.uniform(low, high, (60, 4)).astype(np.float32)


def test_the_file_has_nvidias_tensors_and_nodes(learned):
    model = build(learned, SMALL)
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        'voxels': [50, 4, 10], 'voxel_idxs': [50, 4], 'voxel_num': [1],
        'cls_preds': [1, 16, 8, 3], 'box_preds': [1, 16, 8, 7],
    }  # fmt: skip
    kinds = [node.op_type for node in model.graph.node][:8]
    assert kinds == [
        'Reshape', 'MatMul', 'BatchNormalization', 'Relu', 'Reshape', 'ReduceMax',
        'PPScatterPlugin', 'Conv',
    ]  # fmt: skip


def test_the_whole_path_is_that_of_plain_words(learned, cloud):
    pillars = Pillarizer(SMALL)(cloud)
    padded = PaddedPillars(SMALL)(pillars)[: len(pillars)].astype(np.float64)
    expected = normalised((padded @ learned.pillar.weight).transpose(2, 0, 1), learned.pillar)
    expected = expected.max(axis=2).T

    network = split(build(learned, SMALL), SMALL)
    features = PillarNet(network.weight, network.bias, SMALL.max_points)(pillars)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4)

    grid = BirdsEye(SMALL, 4)(features, pillars.cells)
    session = onnxruntime.InferenceSession(network.rest.SerializeToString())
    found = dict(
        zip(('cls_preds', 'box_preds'), session.run(None, {network.tensor: grid}), strict=True)
    )
    for name, output in plain(learned, grid[0].astype(np.float64)).items():
        assert output.std() > 0.1
        np.testing.assert_allclose(found[name], output, rtol=1e-3, atol=1e-3)


def test_the_file_is_small(tmp_path):
    anchors = 2 * len(form.CLASSES)
    chance = np.random.default_rng(1)
    small = untrained(chance, {}, channels=(48, 96, 128), up=64, pillar=32)
    depths = zip(small.blocks, (2, 3, 3), strict=True)
    blocks = tuple((first, *[other] * more) for (first, other), more in depths)
    heads = {
        name: (chance.normal(size=(anchors * count, 192, 1, 1)), np.zeros(anchors * count))
        for name, count in (('cls_preds', 4), ('box_preds', 7), ('dir_cls_preds', 2))
    }
    path = tmp_path / 'lidar.onnx'
    write(replace(small, blocks=blocks, heads=heads), form.POINTS, path)
    assert 1e6 < path.stat().st_size <= 6e6


def test_anchors_are_those_that_the_decoder_assumes():
    anchors = form.anchors()
    decode = open_decoder3d(form.card(), form.POINTS)
    rows, columns, count = *anchors.shape[1:3], 8
    for kind, row, column, turn in ((0, 0, 0, 0), (2, 199, 7, 1), (3, 31, 199, 0)):
        outputs = {
            'cls_preds': np.full((1, rows, columns, count * 4), -9, np.float32),
            'box_preds': np.zeros((1, rows, columns, count * 7), np.float32),
            'dir_cls_preds': np.zeros((1, rows, columns, count * 2), np.float32),
        }
        outputs['cls_preds'][0, row, column, (kind * 2 + turn) * 4 + kind] = 3
        boxes = decode(outputs, form.card().thresholds)
        expected = anchors[kind, row, column, turn]
        np.testing.assert_allclose(boxes.centers[0], expected[:3], atol=1e-4)
        np.testing.assert_allclose(boxes.sizes[0], expected[3:6], rtol=1e-5)
        assert math.sin(boxes.yaws[0] - expected[6]) == pytest.approx(0, abs=1e-5)
        assert boxes.classes.tolist() == [kind]


def test_examples_are_the_same_on_every_core():
    several = examples([3, 4], workers=2)
    for seed, one in zip((3, 4), several, strict=True):
        again = example(seed)
        for name in ('features', 'sizes', 'cells', 'boxes', 'classes', 'seen'):
            assert getattr(one, name).tobytes() == getattr(again, name).tobytes()
        assert one.features.shape == (one.sizes.sum(), 10)
        assert len(one.sizes) < form.POINTS.max_voxels
        assert len(one.boxes) == len(one.classes) == len(one.seen) > 5
        assert (one.seen > 0).all()
        assert (np.abs(one.boxes[:, :2]) <= 40).all()
