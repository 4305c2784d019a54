# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Heads of lidar networks against plain loops over every anchor and cell, and by hand."""

from __future__ import annotations

from dataclasses import replace
import math
from pathlib import Path
import warnings

import numpy as np
import pytest

from trt_engine.card import Card
from trt_engine.card import Head
from trt_engine.card import ModelSource
from trt_engine.card import Thresholds
from trt_engine.errors import CardError
from trt_engine.errors import DecodeError
from trt_engine.lidar_card import PointsInput
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.boxes3d import wrapped
from trt_inference.lidar.decoders3d import HEADS
from trt_inference.lidar.decoders3d import open_decoder3d

pytestmark = pytest.mark.slow

POINTS = PointsInput('voxels', (0, -4, -3, 12, 4, 1), (0.5, 0.5, 4), 32, 100, 'pillar10')
COLUMNS, ROWS = 12, 8  # cells at a stride of 2
CLASSES = ('car', 'pedestrian', 'cyclist')
ALL = Thresholds(score=0.3, nms_iou=None, max_detections=10_000)
SIZES = ((3.9, 1.6, 1.56), (0.8, 0.6, 1.73), (1.76, 0.6, 1.73))
BOTTOMS = (-1.78, -0.6, -0.6)
PILLAR_OUTPUTS = {'scores': ('cls',), 'boxes': ('box',), 'directions': ('dir',)}
CENTER_ROLES = {'heatmap': 3, 'offset': 2, 'height': 1, 'size': 3, 'rotation': 2, 'velocity': 2}
CENTER_OUTPUTS = {role: (role,) for role in CENTER_ROLES}


def card(type, outputs, **options):
    head = Head(type, outputs, options)
    source = ModelSource('lidar.onnx', 'Apache-2.0')
    return Card('lidar', 'A lidar network', source, POINTS, head, CLASSES, ALL, path=Path('c.yaml'))


def pillars(**options):
    options = {'anchor_sizes': SIZES, 'anchor_bottoms': BOTTOMS} | options
    return open_decoder3d(card('pointpillars', PILLAR_OUTPUTS, **options), POINTS)


def centers(outputs=CENTER_OUTPUTS, **options):
    return open_decoder3d(card('centerpoint', outputs, stride=2, **options), POINTS)


def pillar_outputs(seed=0):
    chance = np.random.default_rng(seed)
    return {
        'cls': chance.normal(-3, 2, (1, ROWS, COLUMNS, 18)).astype(np.float32),
        'box': chance.normal(0, 1, (1, ROWS, COLUMNS, 42)).astype(np.float32),
        'dir': chance.normal(0, 1, (1, ROWS, COLUMNS, 12)).astype(np.float32),
    }


def one_anchor(row=3, column=5, anchor=0, delta=(0,) * 7, bins=(1, 0), logit=2.0):
    """Return outputs in which one anchor sees something."""
    outputs = {
        'cls': np.full((1, ROWS, COLUMNS, 6, 3), -9, np.float32),
        'box': np.zeros((1, ROWS, COLUMNS, 6, 7), np.float32),
        'dir': np.zeros((1, ROWS, COLUMNS, 6, 2), np.float32),
    }
    outputs['cls'][0, row, column, anchor, anchor // 2] = logit
    outputs['box'][0, row, column, anchor] = delta
    outputs['dir'][0, row, column, anchor] = bins
    return {name: output.reshape(1, ROWS, COLUMNS, -1) for name, output in outputs.items()}


def angle(first, second):
    """Return how far apart two angles are."""
    return np.abs(wrapped(np.asarray(first, np.float64) - second))


def rows_of(boxes):
    parts = (boxes.centers, boxes.sizes, boxes.yaws[:, None], boxes.scores[:, None])
    return np.concatenate(parts, axis=1)


def plain_pillars(outputs, openpcdet, least):
    """Return x y z l w h yaw score class for each anchor, by one loop and Python's own numbers."""
    found = []
    for row in range(ROWS):
        for column in range(COLUMNS):
            for anchor in range(6):
                logits = outputs['cls'][0, row, column, anchor * 3 : anchor * 3 + 3].tolist()
                delta = outputs['box'][0, row, column, anchor * 7 : anchor * 7 + 7].tolist()
                bins = outputs['dir'][0, row, column, anchor * 2 : anchor * 2 + 2].tolist()
                score = 1 / (1 + math.exp(-max(logits)))
                if score < least:
                    continue
                dxa, dya, dza = SIZES[anchor // 2]
                ra = (0, 1.57)[anchor % 2]
                if openpcdet:
                    xa, ya = column * 12 / (COLUMNS - 1), -4 + row * 8 / (ROWS - 1)
                else:
                    xa, ya = (column + 0.5) * 1.0, -4 + (row + 0.5) * 1.0
                za = BOTTOMS[anchor // 2] + dza / 2
                diagonal = math.sqrt(dxa**2 + dya**2)
                x, y, z = delta[0] * diagonal + xa, delta[1] * diagonal + ya, delta[2] * dza + za
                size = [math.exp(d) * s for d, s in zip(delta[3:6], (dxa, dya, dza), strict=True)]
                yaw = delta[6] + ra
                if openpcdet:
                    direction = 0 if bins[0] > bins[1] else 1
                    over = yaw - 0.78539
                    yaw = over - math.floor(over / math.pi) * math.pi + 0.78539
                    yaw += math.pi * direction
                else:
                    direction = 0 if bins[0] >= bins[1] else 1
                    yaw = yaw - math.floor(yaw / math.pi + 1) * math.pi + (1 - direction) * math.pi
                    yaw = -yaw - math.pi / 2
                    size = [size[1], size[0], size[2]]
                found.append([x, y, z, *size, yaw, score, logits.index(max(logits))])
    return np.array(sorted(found, key=lambda box: -box[7]))


@pytest.mark.parametrize('form', ['openpcdet', 'mmdet3d'])
def test_pointpillars_is_that_of_a_plain_loop(form):
    outputs = pillar_outputs()
    given = outputs
    if form == 'mmdet3d':
        given = {name: output.transpose(0, 3, 1, 2).copy() for name, output in outputs.items()}
    boxes = pillars(form=form)(given, ALL)
    expected = plain_pillars(outputs, form == 'openpcdet', ALL.score)
    assert 100 < len(boxes) < ROWS * COLUMNS * 6
    found = rows_of(boxes)
    np.testing.assert_allclose(found[:, :6], expected[:, :6], rtol=1e-5, atol=1e-5)
    assert angle(found[:, 6], expected[:, 6]).max() < 1e-5
    np.testing.assert_allclose(found[:, 7], expected[:, 7], rtol=1e-5)
    assert boxes.classes.tolist() == expected[:, 8].tolist()
    assert np.isnan(boxes.velocities).all()
    assert {a.dtype for a in (boxes.centers, boxes.yaws, boxes.scores)} == {np.dtype(np.float32)}
    assert boxes.classes.dtype == np.int32


def test_an_anchor_that_fits_is_the_box():
    boxes = pillars()(one_anchor(row=7, column=11), ALL)
    np.testing.assert_allclose(boxes.centers, [[12, 4, -1.0]], atol=1e-6)
    np.testing.assert_allclose(boxes.sizes, [[3.9, 1.6, 1.56]], rtol=1e-6)
    assert boxes.scores == pytest.approx([1 / (1 + math.exp(-2))])
    assert CLASSES[boxes.classes[0]] == 'car'


@pytest.mark.parametrize('yaw', np.deg2rad([0, 30, 44, 46, 60, 90, 120, 150, 179]))
@pytest.mark.parametrize('turned', [0, math.pi])
@pytest.mark.parametrize('anchor', [0, 1])
def test_yaw_points_into_the_right_quadrant(yaw, turned, anchor):
    # the network gives the axis of the box, and which of two ends is the front
    heading = wrapped(np.float64(yaw + turned))
    from_seam = np.mod(heading - 0.78539, 2 * math.pi)
    bins = (1, 0) if from_seam < math.pi else (0, 1)
    delta = (*(0,) * 6, yaw - (0, 1.57)[anchor])
    boxes = pillars()(one_anchor(anchor=anchor, delta=delta, bins=bins), ALL)
    assert angle(boxes.yaws, heading) < 1e-5
    assert -math.pi <= boxes.yaws[0] < math.pi


@pytest.mark.parametrize('side', [-1e-4, 1e-4])
@pytest.mark.parametrize('bins', [(1, 0), (0, 1), (0, 0)])
def test_at_the_seam_the_bin_decides_which_way_is_forward(side, bins):
    boxes = pillars()(one_anchor(delta=(*(0,) * 6, 0.78539 + side), bins=bins), ALL)
    direction = 0 if bins == (1, 0) else 1
    base = 0.78539 + (side if side > 0 else side + math.pi)
    assert angle(boxes.yaws, base + math.pi * direction) < 1e-5


@pytest.mark.parametrize('name', ['cls', 'box'])
@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_dropped_in_silence(name, bad):
    outputs = pillar_outputs()
    outputs[name][0, 2, :, 3] = bad
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        boxes = pillars()(outputs, ALL)
    assert np.isfinite(rows_of(boxes)).all()
    assert 0 < len(boxes) <= len(pillars()(pillar_outputs(), ALL))


def test_a_size_beyond_all_numbers_is_dropped_in_silence():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert len(pillars()(one_anchor(delta=(0, 0, 0, 5000, 0, 0, 0)), ALL)) == 0


def test_thresholds_decide():
    decode, outputs = pillars(), pillar_outputs()
    assert len(decode(outputs, replace(ALL, score=0.9))) < len(decode(outputs, ALL))
    assert decode(outputs, replace(ALL, score=0.9)).scores.min() >= 0.9
    assert len(decode(outputs, replace(ALL, max_detections=5))) == 5
    assert len(decode(outputs, replace(ALL, score=1.0))) == 0
    assert len(decode(outputs, replace(ALL, score=0.0))) == ROWS * COLUMNS * 6
    several = decode(outputs, replace(ALL, multi_label=True))
    assert len(several) == np.count_nonzero(outputs['cls'] >= math.log(0.3 / 0.7))
    few = decode(outputs, replace(ALL, nms_iou=0.01, class_agnostic=True))
    more = decode(outputs, replace(ALL, nms_iou=0.01))
    assert len(few) < len(more) < len(decode(outputs, ALL))


@pytest.mark.parametrize('make', [pillars, centers])
def test_nothing_seen_gives_no_boxes(make):
    outputs = {name: np.full_like(o, -50) for name, o in one_anchor().items()}
    outputs |= {
        role: np.full((1, count, ROWS, COLUMNS), -50, np.float32)
        for role, count in CENTER_ROLES.items()
    }
    boxes = make()(outputs, replace(ALL, nms_iou=0.1))
    assert len(boxes) == 0
    for name in ('centers', 'sizes', 'yaws', 'velocities', 'scores', 'classes'):
        got, none = getattr(boxes, name), getattr(Boxes3d.none(), name)
        assert (got.shape, got.dtype) == (none.shape, none.dtype)


def test_equal_outputs_give_equal_bits():
    thresholds = replace(ALL, nms_iou=0.1)
    first, second = (pillars()(pillar_outputs(), thresholds) for _ in range(2))
    assert rows_of(first).tobytes() == rows_of(second).tobytes()


def center_outputs(seed=0):
    chance = np.random.default_rng(seed)
    outputs = {
        role: chance.normal(0, 0.5, (1, count, ROWS, COLUMNS)).astype(np.float32)
        for role, count in CENTER_ROLES.items()
    }
    outputs['heatmap'] = outputs['heatmap'] * 4 - 3
    return outputs


def plain_centers(outputs, autoware, least, yaw_norm=(0, 0, 0), peaks=False):
    found = []
    heat = outputs['heatmap'][0]
    for row in range(ROWS):
        for column in range(COLUMNS):
            kind = int(heat[:, row, column].argmax())
            logit = float(heat[kind, row, column])
            score = 1 / (1 + math.exp(-logit))
            near = heat[kind, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            if score < least or (peaks and near.max() > logit):
                continue
            at = {role: output[0, :, row, column].tolist() for role, output in outputs.items()}
            x, y = column + at['offset'][0], row + at['offset'][1] - 4
            size = [math.exp(value) for value in at['size']]
            first, second = at['rotation']
            if math.hypot(first, second) < yaw_norm[kind]:
                continue
            if autoware:
                size = [size[1], size[0], size[2]]
                yaw = -math.atan2(first, second) - math.pi / 2
            else:
                yaw = math.atan2(second, first)
            found.append([x, y, *at['height'], *size, yaw, score, *at['velocity'], kind])
    return np.array(sorted(found, key=lambda box: -box[7]))


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'form': 'openpcdet'},
        {'peaks': True},
        {'yaw_norm': (0.3, 0.6, 0.0)},
    ],
)
def test_centerpoint_is_that_of_a_plain_loop(options):
    outputs = center_outputs()
    boxes = centers(**options)(outputs, ALL)
    expected = plain_centers(
        outputs, options.get('form') != 'openpcdet', ALL.score,
        options.get('yaw_norm', (0, 0, 0)), options.get('peaks', False),
    )  # fmt: skip
    assert 5 < len(boxes) < ROWS * COLUMNS
    found = rows_of(boxes)
    np.testing.assert_allclose(found[:, :6], expected[:, :6], rtol=1e-5, atol=1e-5)
    assert angle(found[:, 6], expected[:, 6]).max() < 1e-5
    np.testing.assert_allclose(found[:, 7], expected[:, 7], rtol=1e-5)
    np.testing.assert_allclose(boxes.velocities, expected[:, 8:10], rtol=1e-6)
    assert boxes.classes.tolist() == expected[:, 10].tolist()


@pytest.mark.parametrize('heading', np.deg2rad([0, 45, 90, 135, 180, -45, -90, -135]))
def test_autoware_angles_are_turned_to_rep_103(heading):
    # its angle runs clockwise from the left: (sine, cosine) of -heading - 90 degrees
    legacy = -heading - math.pi / 2
    outputs = {
        role: np.full((1, count, ROWS, COLUMNS), -9 if role == 'heatmap' else 0, np.float32)
        for role, count in CENTER_ROLES.items()
    }
    outputs['heatmap'][0, 1, 2, 6] = 3
    outputs['size'][0, :, 2, 6] = np.log([1.8, 4.5, 1.5])
    outputs['rotation'][0, :, 2, 6] = math.sin(legacy), math.cos(legacy)
    outputs['velocity'][0, :, 2, 6] = 5, -1
    boxes = centers()(outputs, ALL)
    np.testing.assert_allclose(boxes.centers, [[6, -2, 0]])
    np.testing.assert_allclose(boxes.sizes, [[4.5, 1.8, 1.5]], rtol=1e-6)
    assert angle(boxes.yaws, heading) < 1e-5
    assert boxes.velocities.tolist() == [[5, -1]]


def test_without_velocity_it_is_unknown():
    outputs = center_outputs()
    del outputs['velocity']
    names = {role: name for role, name in CENTER_OUTPUTS.items() if role != 'velocity'}
    assert np.isnan(centers(names)(outputs, ALL).velocities).all()


def test_circle_nms_keeps_what_is_apart():
    boxes = centers(circle_nms_m=2.0)(center_outputs(), ALL)
    apart = np.hypot(*(boxes.centers[:, None, :2] - boxes.centers[:, :2]).transpose(2, 0, 1))
    same = boxes.classes[:, None] == boxes.classes
    assert (apart[same & ~np.eye(len(boxes), dtype=bool)] > 2).all()
    assert len(boxes) < len(centers()(center_outputs(), ALL))


@pytest.mark.parametrize(
    ('make', 'text'),
    [
        (lambda: open_decoder3d(card('pointpillar', {}), POINTS), "did you mean 'pointpillars'"),
        (
            lambda: pillars(anchor_bottoms=(0.0,)),
            'anchor_bottoms lists 1 anchors; allowed: one for',
        ),
        (lambda: pillars(anchor_sizes=((1, 1, 0),) * 3), r'anchor_sizes\.0\.2 is 0'),
        (lambda: pillars(stride=5), 'stride is 5; allowed: a divisor of the grid of 24 . 16'),
        (lambda: pillars(form='other'), "form is 'other'"),
        (lambda: pillars(anchor=1), "unknown key 'anchor'"),
        (lambda: centers(yaw_norm=(0.3,)), 'yaw_norm lists 1 numbers'),
        (lambda: centers({'heatmap': ('heatmap',)}), "outputs lacks the role 'offset'"),
    ],
)
def test_cards_that_cannot_be_are_refused(make, text):
    with pytest.raises(CardError, match=text):
        make()


@pytest.mark.parametrize('name', ['cls', 'box', 'dir'])
def test_outputs_of_another_shape_are_refused(name):
    outputs = pillar_outputs()
    outputs[name] = outputs[name][:, :, :-1]
    with pytest.raises(DecodeError, match=f'output {name!r} has shape'):
        pillars()(outputs, ALL)
    del outputs[name]
    with pytest.raises(DecodeError, match=f'no output {name!r}'):
        pillars()(outputs, ALL)


def test_every_head_can_be_opened():
    assert set(HEADS) == {'boxes', 'centerpoint', 'pointpillars'}


@pytest.mark.parametrize(
    ('angle', 'expected'),
    [(0, 0), (math.pi, -math.pi), (-math.pi, -math.pi), (7, 7 - 2 * math.pi), (-1e-20, 0)],
)
def test_angles_are_wrapped(angle, expected):
    assert wrapped(np.array([angle]))[0] == pytest.approx(expected, abs=1e-12)
