# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Networks that end with finished boxes: read as the card says, by hand."""

from __future__ import annotations

from dataclasses import replace
import math
from pathlib import Path

import numpy as np
import pytest

from trt_engine.card import Card
from trt_engine.card import Head
from trt_engine.card import ModelSource
from trt_engine.card import Thresholds
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import CardError
from trt_engine.errors import DecodeError
from trt_engine.lidar_card import PointsInput
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.decoders3d import open_decoder3d

POINTS = PointsInput('points', (-8, -8, -2, 8, 8, 2), (16, 16, 4), 100, 1, 'points')
LABELLED = {'boxes': ('boxes',), 'scores': ('scores',), 'labels': ('labels',)}
PLAIN = {'boxes': ('boxes',), 'scores': ('scores',)}
ALL = Thresholds(score=0.3, nms_iou=None)
# x, y, z, three sizes, yaw
NEAR = (1, 2, 0.5, 4, 2, 1.5, 0.25)
SHIFTED = (1.5, 2, 0.5, 4, 2, 1.5, 0.25)
FAR = (-6, 0, 0, 1, 1, 2, -3)


def decoder(outputs=LABELLED, **options):
    source = ModelSource('lidar.onnx', 'Apache-2.0')
    card = Card('lidar', 'For tests', source, POINTS, Head('boxes', outputs, options),
                ('car', 'truck'), ALL, path=Path('c.yaml'))  # fmt: skip
    return open_decoder3d(card, POINTS)


def found(rows=(NEAR, FAR), scores=(0.5, 0.9), labels=(0, 1), **more):
    arrays = {'boxes': rows, 'scores': scores, 'labels': labels}
    return {name: np.array(values, np.float32) for name, values in (arrays | more).items()}


@pytest.mark.parametrize('batched', [False, True])
def test_rows_are_boxes_the_highest_score_first(batched):
    outputs = {name: each[None] if batched else each for name, each in found().items()}
    boxes = decoder()(outputs, ALL)
    np.testing.assert_allclose(boxes.centers, [FAR[:3], NEAR[:3]])
    np.testing.assert_allclose(boxes.sizes, [FAR[3:6], NEAR[3:6]])
    np.testing.assert_allclose(boxes.yaws, [FAR[6], NEAR[6]])
    np.testing.assert_allclose(boxes.scores, [0.9, 0.5])
    assert boxes.classes.tolist() == [1, 0]
    assert np.isnan(boxes.velocities).all()


def test_nine_numbers_are_with_the_velocity():
    boxes = decoder()(found([(*NEAR, 3, -1)], [0.5], [0]), ALL)
    assert boxes.velocities.tolist() == [[3, -1]]


def test_old_boxes_are_turned_and_stand_on_their_z():
    boxes = decoder(form='mmdet3d', z='bottom')(found([NEAR], [0.5], [0]), ALL)
    np.testing.assert_allclose(boxes.centers, [(1, 2, 0.5 + 1.5 / 2)])
    np.testing.assert_allclose(boxes.sizes, [(2, 4, 1.5)])
    np.testing.assert_allclose(boxes.yaws, [-0.25 - math.pi / 2], rtol=1e-6)


@pytest.mark.parametrize('yaw', np.deg2rad([0, 45, 90, 135, 180, -45, -90, -135]))
def test_yaw_stays_in_its_quadrant(yaw):
    boxes = decoder()(found([(*NEAR[:6], yaw + 4 * math.pi)], [0.5], [0]), ALL)
    turn = boxes.yaws[0]
    assert (math.cos(turn), math.sin(turn)) == pytest.approx(
        (math.cos(yaw), math.sin(yaw)), abs=1e-5
    )


def test_without_labels_the_best_class_counts():
    outputs = found(scores=[(0.2, 0.4), (0.8, 0.6)])
    boxes = decoder(PLAIN)(outputs, ALL)
    assert boxes.classes.tolist() == [0, 1]
    np.testing.assert_allclose(boxes.scores, [0.8, 0.4])
    several = decoder(PLAIN)(outputs, replace(ALL, multi_label=True))
    np.testing.assert_allclose(several.scores, [0.8, 0.6, 0.4])


def test_logits_become_scores():
    boxes = decoder(logits=True)(found(scores=(0, -2)), ALL)
    np.testing.assert_allclose(boxes.scores, [0.5])


def test_labels_may_begin_at_one():
    assert decoder(first_label=1)(found(labels=(1, 2)), ALL).classes.tolist() == [1, 0]
    with pytest.raises(DecodeError, match=r"'labels' has class 0; the card has classes 1\.\.2"):
        decoder(first_label=1)(found(labels=(1, 0)), ALL)


def test_overlap_is_struck_out_only_where_the_card_asks():
    outputs = found([NEAR, SHIFTED, FAR], [0.5, 0.6, 0.9], [0, 0, 1])
    assert len(decoder()(outputs, ALL)) == 3
    boxes = decoder()(outputs, replace(ALL, nms_iou=0.2))
    np.testing.assert_allclose(boxes.scores, [0.9, 0.6])
    assert len(decoder()(outputs, replace(ALL, max_detections=1))) == 1


def test_rows_beyond_the_count_are_no_boxes():
    counted = decoder({**LABELLED, 'count': ('count',)})
    outputs = found(labels=(0, -1))
    for count, scores in ((0, []), (1, [0.5])):
        seen = counted({**outputs, 'count': np.array([count], np.int32)}, ALL)
        assert seen.scores.tolist() == scores
    with pytest.raises(DecodeError, match="'count' is -1; wanted the number of boxes"):
        counted({**outputs, 'count': np.array([-1])}, ALL)


def test_padding_below_the_score_may_have_any_label():
    boxes = decoder()(found(scores=(0.5, 0), labels=(0, -1)), ALL)
    assert boxes.classes.tolist() == [0]


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('place', range(7))
def test_what_is_not_finite_is_dropped(bad, place):
    row = [*NEAR]
    row[place] = bad
    boxes = decoder()(found([row, FAR]), ALL)
    np.testing.assert_allclose(boxes.scores, [0.9])
    assert len(decoder()(found(scores=(bad, 0.9)), ALL)) == 1


def test_no_row_is_no_box():
    boxes = decoder()(found(np.zeros((0, 7)), [], []), ALL)
    assert boxes.centers.shape == (0, 3)
    assert isinstance(boxes, Boxes3d)


@pytest.mark.parametrize(
    ('outputs', 'text'),
    [
        (found([NEAR[:6]], [1], [0]), "'boxes' has 6 numbers a box; wanted 7, or 9"),
        (found(scores=(0.5,)), r"'scores' has shape \[1\]; the card promises \[1, 2\]"),
        (found(labels=(0,)), r"'labels' has shape \[1\]"),
        ({'boxes': np.zeros((1, 7))}, "no output 'labels'"),
    ],
)
def test_outputs_of_another_shape_are_refused(outputs, text):
    with pytest.raises(DecodeError, match=text):
        decoder()(outputs, ALL)


@pytest.mark.parametrize(
    ('outputs', 'options', 'text'),
    [
        (
            PLAIN,
            {'first_label': 1},
            'first_label is the label of the first class, and head.outputs',
        ),
        (LABELLED, {'first_label': 2}, 'first_label is 2'),
        (LABELLED, {'form': 'kitti'}, "form is 'kitti'"),
        ({'scores': ('scores',)}, {}, "lacks the role 'boxes'"),
        ({**LABELLED, 'rows': ('rows',)}, {}, "unknown role 'rows'"),
    ],
)
def test_cards_that_cannot_be_are_refused(outputs, options, text):
    with pytest.raises(CardError, match=text):
        decoder(outputs, **options)


def test_no_kernel_reads_them():
    with pytest.raises(BackendUnavailableError, match='boxes, which are decoded on the CPU'):
        decoder().readout(found())
