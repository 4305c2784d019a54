# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The kernels for lidar heads and NMS, run on the CPU, give the boxes of the CPU path."""

from __future__ import annotations

from dataclasses import fields
from dataclasses import replace
import math
from pathlib import Path

import numpy as np
import pytest

from trt_engine.card import Card
from trt_engine.card import Head
from trt_engine.card import ModelSource
from trt_engine.card import Thresholds
from trt_engine.cuda.detections3d import DetectionsPlan3d
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Graph
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.memory import Pool
from trt_engine.cuda.runtime import Stream
from trt_engine.errors import DecodeError
from trt_engine.lidar_card import PointsInput
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.boxes3d import wrapped
from trt_inference.lidar.decoders3d import open_decoder3d
from trt_inference.lidar.nms3d import rotated_iou

pytestmark = pytest.mark.slow  # compiles kernels for the CPU

POINTS = PointsInput('voxels', (0, -4.8, -3, 9.6, 4.8, 1), (0.16, 0.16, 4), 32, 100, 'pillar10')
CELLS = 30  # columns and rows at a stride of 2
CLASSES = ('car', 'pedestrian', 'cyclist')
SIZES = ((3.9, 1.6, 1.56), (0.8, 0.6, 1.73), (1.76, 0.6, 1.73))
ROLES = {'heatmap': 3, 'offset': 2, 'height': 1, 'size': 3, 'rotation': 2, 'velocity': 2}
THRESHOLDS = Thresholds(score=0.3, nms_iou=0.1, max_detections=5000)


def card(type, outputs, points=POINTS, **options):
    head = Head(type, {role: (role,) for role in outputs}, {'stride': 2} | options)
    source = ModelSource('lidar.onnx', 'Apache-2.0')
    return Card(
        'lidar', 'A lidar network', source, points, head, CLASSES, THRESHOLDS, path=Path('c.yaml')
    )


def anchors(**options):
    options = {'anchor_sizes': SIZES, 'anchor_bottoms': (-1.78, -0.6, -0.6)} | options
    return open_decoder3d(card('pointpillars', ('scores', 'boxes', 'directions'), **options),
                          POINTS)  # fmt: skip


def centers(roles=ROLES, **options):
    return open_decoder3d(card('centerpoint', roles, **options), POINTS)


def logits_of(chance, shape):
    """Return logits of which many are equal, others far enough apart, and some no logits at all."""
    logits = np.round(chance.normal(-2.5, 2, shape) * 16) / 16
    for bad in (np.nan, np.inf, -np.inf):
        logits[chance.random(shape) < 0.0005] = bad
    return logits


def anchor_outputs(chance, form, cells=CELLS):
    channels = {'scores': 18, 'boxes': 42, 'directions': 12}
    outputs = {
        name: chance.normal(0, 0.3, (1, cells, cells, count)) for name, count in channels.items()
    }
    outputs['scores'] = logits_of(chance, outputs['scores'].shape)
    outputs['boxes'][0, 3, :, 3] = np.nan
    outputs['boxes'][0, 4, :, 5] = 5000  # the exponential of that is no number
    outputs['boxes'][0, 5, :, 4] = -5000  # nor is this a size
    outputs['directions'][0, 6] = 0
    if form == 'mmdet3d':
        outputs = {name: output.transpose(0, 3, 1, 2) for name, output in outputs.items()}
    return outputs


def center_outputs(chance, velocity=True):
    outputs = {
        role: chance.normal(0, 0.5, (1, count, CELLS, CELLS)) for role, count in ROLES.items()
    }
    outputs['heatmap'] = logits_of(chance, outputs['heatmap'].shape)
    outputs['rotation'][0, 0, 4] = np.nan
    outputs['height'][0, 0, 5] = np.inf
    outputs['velocity'][0, 1, 6] = np.nan
    if not velocity:
        del outputs['velocity']
    return outputs


HEADS = {
    'openpcdet anchors': (anchors, lambda c: anchor_outputs(c, 'openpcdet')),
    'mmdet3d anchors': (
        lambda: anchors(form='mmdet3d'),
        lambda c: anchor_outputs(c, 'mmdet3d'),
    ),
    'autoware centres': (centers, center_outputs),
    'openpcdet centres': (lambda: centers(form='openpcdet', peaks=True), center_outputs),
    'peaks and rotations of a length': (
        lambda: centers(peaks=True, yaw_norm=(0.3, 0.6, 0.0)),
        center_outputs,
    ),
    'circles and overlap': (lambda: centers(circle_nms_m=0.7), center_outputs),
    'without velocity': (
        lambda: centers({role: 1 for role in ROLES if role != 'velocity'}),
        lambda c: center_outputs(c, velocity=False),
    ),
}


def typed(outputs, dtype=np.float32):
    with np.errstate(over='ignore'):
        return {name: np.ascontiguousarray(array, dtype) for name, array in outputs.items()}


class Machine:
    """Kernels, memory and a stream; decodes outputs with the kernels."""

    def __init__(self, device, folder):
        self.device = device
        self.kernels, self.pool, self.stream = Kernels(folder), Pool(), Stream()

    def place(self, memory, outputs):
        """Bring outputs to the GPU; return what gives the address of a view into them."""
        begins = {}
        for name, array in outputs.items():
            begins[name] = memory.take('device', array.nbytes).address
            self.device.write(begins[name], array)

        def address(view):
            for name, array in outputs.items():
                offset = view.ctypes.data - array.ctypes.data
                if 0 <= offset < array.nbytes:
                    return begins[name] + offset
            raise AssertionError

        return address

    def plan(self, memory, decoder, outputs, thresholds):
        return DetectionsPlan3d(
            self.kernels, memory, self.stream, decoder.readout(outputs),
            self.place(memory, outputs), classes=len(CLASSES), thresholds=thresholds,
        )  # fmt: skip

    def __call__(self, decoder, outputs, thresholds):
        memory = Lease(self.pool)
        try:
            plan = self.plan(memory, decoder, outputs, thresholds)
            for _ in range(2):  # what one frame leaves behind must not be in the next
                plan.enqueue(self.stream)
                self.stream.synchronize()
            return Boxes3d(*plan.read())
        finally:
            memory.close()

    def close(self):
        self.pool.close()
        self.kernels.close()
        self.stream.close()


@pytest.fixture
def decode(device, tmp_path):
    machine = Machine(device, tmp_path / 'cubins')
    yield machine
    machine.close()


def same(found, wanted):
    assert len(found) == len(wanted)
    np.testing.assert_array_equal(found.classes, wanted.classes)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=3e-7)
    # both reckon in double and round once, so that a bit may differ only at a tie of roundings
    for name in ('centers', 'sizes', 'velocities'):
        np.testing.assert_array_max_ulp(getattr(found, name), getattr(wanted, name), 1)
    turned = wrapped(found.yaws.astype(np.float64) - wanted.yaws)
    assert np.abs(turned).max(initial=0) < 3e-7
    for each in fields(Boxes3d):
        mine, its = getattr(found, each.name), getattr(wanted, each.name)
        assert (mine.shape, mine.dtype) == (its.shape, its.dtype)


def bits(boxes):
    return [getattr(boxes, each.name).tobytes() for each in fields(Boxes3d)]


@pytest.mark.parametrize('dtype', [np.float32, np.float16])
@pytest.mark.parametrize('head', HEADS)
def test_every_head_gives_the_boxes_of_the_cpu_path(decode, head, dtype):
    make, outputs_of = HEADS[head]
    for seed, thresholds in enumerate((
        THRESHOLDS,
        replace(THRESHOLDS, multi_label=True, score=0.55, nms_iou=0.01),
        replace(THRESHOLDS, class_agnostic=True, score=0.5),
        replace(THRESHOLDS, nms_iou=None, max_detections=7),
        replace(THRESHOLDS, nms_iou=0.0, score=0.6),
        replace(THRESHOLDS, nms_iou=1.0, score=0.7),
        replace(THRESHOLDS, score=1.0),
        replace(THRESHOLDS, nms_iou=None, score=0.0, max_detections=100_000),
    )):  # fmt: skip
        outputs = typed(outputs_of(np.random.default_rng(seed)), dtype)
        wanted = make()(outputs, thresholds)
        assert (len(wanted) > 0) == (thresholds.score < 1)
        same(decode(make(), outputs, thresholds), wanted)


@pytest.mark.parametrize('count', [0, 1, 63, 64, 65, 128, 1025, 4095, 4096, 4097, 5400])
def test_any_number_of_candidates_is_cut_to_the_same_4096(decode, count):
    chance = np.random.default_rng(count)
    outputs = typed(anchor_outputs(chance, 'openpcdet'))
    for name in ('boxes', 'directions'):
        outputs[name] = chance.normal(0, 0.1, outputs[name].shape).astype(np.float32)
    scores = np.full((CELLS * CELLS * 6, 3), -9, np.float32)
    chosen = chance.permutation(len(scores))[:count]
    # eleven logits for all: what is kept depends on the order of equals
    scores[chosen, chance.integers(0, 3, count)] = chance.integers(0, 11, count) / 8
    outputs['scores'] = scores.reshape(outputs['scores'].shape)
    thresholds = replace(THRESHOLDS, nms_iou=None, max_detections=100_000)
    wanted = anchors()(outputs, thresholds)
    assert len(wanted) == min(count, 4096)
    same(decode(anchors(), outputs, thresholds), wanted)


def test_as_many_as_there_may_be_are_suppressed_as_on_the_cpu(decode):
    chance = np.random.default_rng(9)
    outputs = typed(anchor_outputs(chance, 'openpcdet'))
    outputs['scores'] = (chance.integers(0, 60, outputs['scores'].shape) / 16).astype(np.float32)
    thresholds = replace(THRESHOLDS, nms_iou=0.3)
    wanted = anchors()(outputs, thresholds)
    assert 50 < len(wanted) < 4000
    same(decode(anchors(), outputs, thresholds), wanted)


def one_anchor(anchor=0, delta=(0,) * 7, pair=(1, 0)):
    outputs = {
        'scores': np.full((1, CELLS, CELLS, 6, 3), -9, np.float32),
        'boxes': np.zeros((1, CELLS, CELLS, 6, 7), np.float32),
        'directions': np.zeros((1, CELLS, CELLS, 6, 2), np.float32),
    }
    outputs['scores'][0, 29, 29, anchor, anchor // 2] = 2
    outputs['boxes'][0, 29, 29, anchor] = delta
    outputs['directions'][0, 29, 29, anchor] = pair
    return {name: array.reshape(1, CELLS, CELLS, -1) for name, array in outputs.items()}


def test_an_anchor_that_fits_is_the_box(decode):
    boxes = decode(anchors(), one_anchor(), THRESHOLDS)
    np.testing.assert_allclose(boxes.centers, [[9.6, 4.8, -1.0]], rtol=1e-6)
    np.testing.assert_allclose(boxes.sizes, [[3.9, 1.6, 1.56]], rtol=1e-6)
    assert np.isnan(boxes.velocities).all()


@pytest.mark.parametrize('anchor', [0, 1])
def test_yaws_of_every_quadrant_and_at_the_seam_are_those_of_the_cpu_path(decode, anchor):
    degrees = [*range(-180, 181, 45), 30, 44, 46, 179.9]
    around = [0.78539 + side for side in (-1e-4, 0, 1e-4)]
    for yaw in [*np.deg2rad(degrees), *around]:
        for pair in ((1, 0), (0, 1), (0, 0)):
            delta = (*(0,) * 6, yaw - (0, 1.57)[anchor])
            outputs = one_anchor(anchor, delta, pair)
            (found,) = decode(anchors(), outputs, THRESHOLDS).yaws
            (wanted,) = anchors()(outputs, THRESHOLDS).yaws
            assert -math.pi <= found < math.pi
            assert abs(wrapped(np.float64(found) - wanted)) < 3e-7, (yaw, pair)


@pytest.mark.parametrize('heading', np.deg2rad([0, 45, 90, 135, 180, -45, -90, -135]))
def test_autoware_angles_are_turned_to_rep_103(decode, heading):
    legacy = -heading - math.pi / 2
    outputs = {
        role: np.full((1, count, CELLS, CELLS), -9 if role == 'heatmap' else 0, np.float32)
        for role, count in ROLES.items()
    }
    outputs['heatmap'][0, 1, 2, 6] = 3
    outputs['size'][0, :, 2, 6] = np.log([1.8, 4.5, 1.5])
    outputs['rotation'][0, :, 2, 6] = math.sin(legacy), math.cos(legacy)
    outputs['velocity'][0, :, 2, 6] = 5, -1
    boxes = decode(centers(), outputs, THRESHOLDS)
    np.testing.assert_allclose(boxes.sizes, [[4.5, 1.8, 1.5]], rtol=1e-6)
    assert abs(wrapped(np.float64(boxes.yaws[0]) - heading)) < 1e-6
    assert boxes.velocities.tolist() == [[5, -1]]
    assert boxes.classes.tolist() == [1]


def pair_outputs(chance, threshold):
    """Return two boxes that overlap by nearly the threshold, from less to more, and by anything."""
    size = np.exp(chance.uniform(-2, 2, 2))
    turn = chance.uniform(-math.pi, math.pi, 2)
    close = chance.random() < 0.7
    turn[1] = turn[0] if close else turn[1]
    # of equal rectangles moved along themselves by part of the length, this part decides
    part = (1 - threshold) / (1 + threshold) + chance.choice([0, 1e-7, -1e-7, 1e-5, -1e-5, 0.1])
    outputs = {role: np.zeros((1, n, CELLS, CELLS), np.float32) for role, n in ROLES.items()}
    outputs['heatmap'][:] = -9
    for place, (column, row) in enumerate(((14, 14), (15, 14))):
        outputs['heatmap'][0, 0, row, column] = 3 - place
        outputs['size'][0, :2, row, column] = np.log(size)
        outputs['rotation'][0, :, row, column] = np.cos(turn[place]), np.sin(turn[place])
    away = size[0] * part * np.array([np.cos(turn[0]), np.sin(turn[0])]) / 0.32
    outputs['offset'][0, :, 14, 15] = away - [1, 0]
    return outputs


@pytest.mark.parametrize('threshold', [0.01, 0.2, 0.7])
def test_where_rounding_could_decide_about_overlap_it_is_as_on_the_cpu(decode, threshold):
    decoder = centers(form='openpcdet')
    thresholds = replace(THRESHOLDS, nms_iou=threshold)
    chance = np.random.default_rng(1)
    doubts, kept = 0, set()
    for _ in range(120):
        outputs = pair_outputs(chance, threshold)
        found = decode(decoder, outputs, thresholds)
        same(found, decoder(outputs, thresholds))
        both = decoder(outputs, replace(thresholds, nms_iou=None)).footprints()
        doubts += abs(rotated_iou(*both) - threshold) < 1e-6
        kept.add(len(found))
    assert kept == {1, 2}
    assert doubts > 20


@pytest.mark.parametrize('order', ['forward', 'reversed'])
@pytest.mark.parametrize('head', ['openpcdet anchors', 'circles and overlap'])
def test_the_order_of_threads_changes_nothing(decode, monkeypatch, order, head):
    monkeypatch.setenv('FAKE_GPU_ORDER', order)
    make, outputs_of = HEADS[head]
    outputs = typed(outputs_of(np.random.default_rng(5)))
    first, second = (decode(make(), outputs, THRESHOLDS) for _ in range(2))
    same(first, make()(outputs, THRESHOLDS))
    assert bits(first) == bits(second)
    assert len(first) > 50


def test_a_graph_of_it_gives_the_same_boxes(decode):
    memory = Lease(decode.pool)
    outputs = typed(anchor_outputs(np.random.default_rng(6), 'openpcdet'))
    wanted = decode(anchors(), outputs, THRESHOLDS)
    plan = decode.plan(memory, anchors(), outputs, THRESHOLDS)
    graph = Graph(decode.stream, lambda: plan.enqueue(decode.stream))
    for _ in range(2):
        graph.launch(decode.stream)
        decode.stream.synchronize()
        assert bits(Boxes3d(*plan.read())) == bits(wanted)
    graph.close()
    memory.close()


def test_numbers_that_are_not_decoded_are_refused(decode):
    outputs = typed(anchor_outputs(np.random.default_rng(0), 'openpcdet'), np.float64)
    with pytest.raises(DecodeError, match='float64, which is not decoded on the GPU'):
        decode(anchors(), outputs, THRESHOLDS)


def test_outputs_of_another_shape_are_refused():
    outputs = typed(anchor_outputs(np.random.default_rng(0), 'openpcdet'))
    outputs['boxes'] = outputs['boxes'][:, :, :-1]
    with pytest.raises(DecodeError, match="output 'boxes' has shape"):
        anchors().readout(outputs)
