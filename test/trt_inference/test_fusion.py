# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Which boxes belong together, and what comes of a pair."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from trt_engine.errors import ConfigError
from trt_engine.errors import FusionError
from trt_inference.fusion.association import fuse
from trt_inference.fusion.association import read_groups
from trt_inference.fusion.association import Rules
from trt_inference.fusion.association import SeenByLidar
from trt_inference.fusion.association import SeenInImage
from trt_inference.fusion.camera_model import Calibration
from trt_inference.fusion.camera_model import camera_model

K = (100.0, 0.0, 99.5, 0.0, 100.0, 49.5, 0.0, 0.0, 1.0)
CAMERA = camera_model(Calibration(200, 100, '', (), K, (0.0,) * 12))
# boxes are given in the optical frame here
STILL = np.eye(4)


def image(*found):
    """Return what is seen in an image of (x1, y1, x2, y2), label, score."""
    boxes, labels, scores = zip(*found, strict=True) if found else ((), (), ())
    return SeenInImage(np.array(boxes, float).reshape(-1, 4), labels, np.array(scores, float))


def lidar(*found):
    """Return flat boxes of 2 m x 2 m at x, y, z, label, score: 20 px wide at 10 m."""
    places, labels, scores = zip(*found, strict=True) if found else ((), (), ())
    count = len(places)
    return SeenByLidar(
        np.array(places, float).reshape(-1, 3),
        np.tile([2.0, 2.0, 1e-9], (count, 1)),
        np.tile([0.0, 0.0, 0.0, 1.0], (count, 1)),
        labels,
        np.array(scores, float),
    )


def at(x, y=49.5, half=10.0):
    return (x - half, y - half, x + half, y + half)


def outcome(seen, boxes, **rules):
    found = fuse(seen, boxes, CAMERA, STILL, Rules(**rules))
    return [
        (int(box), label, round(float(score), 6))
        for box, label, score in zip(found.boxes, found.labels, found.scores, strict=True)
    ]


AHEAD = lidar(((0, 0, 10), 'Car', 0.5))


@pytest.mark.parametrize(
    ('score', 'expected'),
    [('greater', 0.9), ('mean', 0.7), ('product', 0.45), ('image', 0.9), ('lidar', 0.5)],
)
def test_a_pair_has_the_label_of_the_image_and_the_score_of_the_rule(score, expected):
    assert outcome(image((at(99.5), 'car', 0.9)), AHEAD, score=score) == [(0, 'car', expected)]


@pytest.mark.parametrize(('unmatched', 'expected'), [(True, [(0, 'Car', 0.5)]), (False, [])])
@pytest.mark.parametrize(
    'seen', [image(), image((at(150), 'car', 0.9)), image((at(99.5), 'dog', 0.9))]
)
def test_boxes_without_a_partner_stay_as_they_are_or_go(unmatched, expected, seen):
    assert outcome(seen, AHEAD, unmatched=unmatched) == expected


@pytest.mark.parametrize(
    ('shift', 'matched'),
    [(0, True), (9, True), (10, True), (10.1, False), (15, False), (25, False)],
)
def test_an_overlap_of_the_limit_is_enough(shift, matched):
    # 20 px wide: 10 px aside a third of both together is shared
    found = fuse(
        image((at(99.5 + shift), 'car', 0.9)), AHEAD, CAMERA, STILL, Rules(min_iou=1 / 3 - 1e-12)
    )
    assert (found.matched == 1) == matched


@pytest.mark.parametrize(('shift', 'matched'), [(25, True), (28.284, True), (28.285, False)])
def test_centres_that_are_near_enough_make_a_pair_without_overlap(shift, matched):
    # the diagonal of the box in the image is 28.2843 px
    found = outcome(image((at(99.5 + shift), 'car', 0.9)), AHEAD, max_center_distance=1.0)
    assert found[0][1] == ('car' if matched else 'Car')


def test_overlap_counts_more_than_nearness():
    seen = image((at(99.5 + 12), 'bus', 0.9), (at(99.5, half=3), 'car', 0.8))
    near = {'groups': read_groups(['*=*']), 'max_center_distance': 1.0}
    # the first shares a quarter of both with the box, the second's centre is at its very place
    assert outcome(seen, AHEAD, min_iou=0.2, **near) == [(0, 'bus', 0.9)]
    assert outcome(seen, AHEAD, min_iou=0.3, **near) == [(0, 'car', 0.8)]


def test_the_best_pair_is_taken_first_and_nothing_twice():
    boxes = lidar(((0, 0, 10), 'car', 0.5), ((0.5, 0, 10), 'car', 0.4), ((9, 0, 10), 'car', 0.3))
    seen = image((at(103), 'car', 0.7), (at(100), 'car', 0.6))
    # box 0 is at 99.5 px, box 1 at 104.5 px
    found = fuse(seen, boxes, CAMERA, STILL, Rules())
    partners = dict(zip(found.boxes.tolist(), found.partners.tolist(), strict=True))
    assert partners == {0: 1, 1: 0, 2: -1}
    assert (found.visible, found.matched) == (3, 2)


def test_of_equal_pairs_the_first_in_the_messages_is_taken():
    boxes = lidar(((0, 0, 10), 'car', 0.5), ((0, 0, 10), 'car', 0.5))
    seen = image((at(99.5), 'car', 0.9), (at(99.5), 'car', 0.8))
    assert outcome(seen, boxes) == [(0, 'car', 0.9), (1, 'car', 0.8)]


def test_the_highest_score_comes_first():
    boxes = lidar(((0, 0, 10), 'car', 0.2), ((5, 0, 10), 'car', 0.6), ((-5, 0, 10), 'car', 0.6))
    assert outcome(image((at(99.5), 'car', 0.9)), boxes) == [
        (0, 'car', 0.9), (1, 'car', 0.6), (2, 'car', 0.6),
    ]  # fmt: skip


def test_what_the_camera_cannot_see_has_no_partner_and_does_not_count():
    boxes = lidar(((0, 0, -10), 'car', 0.5), ((0, 0, 10), 'car', 0.4))
    found = fuse(image((at(99.5), 'car', 0.9)), boxes, CAMERA, STILL, Rules())
    assert (found.visible, found.matched) == (1, 1)
    assert found.partners.tolist() == [0, -1]
    assert found.boxes.tolist() == [1, 0]


def test_the_transform_takes_boxes_into_the_frame_of_the_camera():
    there = np.eye(4)
    there[2, 3] = 15.0
    boxes = lidar(((0, 0, -5), 'car', 0.5))
    assert fuse(image(), boxes, CAMERA, STILL, Rules()).visible == 0
    found = fuse(image((at(99.5), 'car', 0.9)), boxes, CAMERA, there, Rules())
    assert found.matched == 1


@pytest.mark.parametrize(
    ('groups', 'image_label', 'lidar_label', 'compatible'),
    [
        ([], 'car', 'Car', True),
        ([], 'car', 'Van', False),
        (['car=Car,Van'], 'car', 'Van', True),
        (['car=Van'], 'CAR', 'van', True),
        (['car=Van'], 'car', 'Car', True),
        (['car = Van , truck'], 'car', 'truck', True),
        (['car=Van', 'car=truck'], 'car', 'truck', True),
        (['car=Van'], 'van', 'car', False),
        (['car=*'], 'car', 'unknown', True),
        (['car=*'], 'dog', 'unknown', False),
        (['*=unknown'], 'dog', 'unknown', True),
        (['*=unknown'], 'dog', 'Car', False),
        (['*=*'], 'dog', 'Car', True),
    ],
)
def test_labels_go_together_as_the_groups_say(groups, image_label, lidar_label, compatible):
    table = Rules(groups=read_groups(groups)).compatible([image_label], [lidar_label])
    assert table.tolist() == [[compatible]]


@pytest.mark.parametrize('entry', ['car', '=van', 'car=', 'car=van,', ' = '])
def test_a_group_that_is_none_is_refused(entry):
    with pytest.raises(ConfigError, match=r'label_groups has .*; wanted the label of the image'):
        read_groups([entry])


@pytest.mark.parametrize(
    ('field', 'value', 'words'),
    [
        ('centers', [[np.nan, 0, 1]], 'box 0 of the lidar has center \\[nan'),
        ('centers', [[np.inf, 0, 1]], 'wanted metres'),
        ('centers', [[1e30, 0, 1]], 'wanted metres'),
        ('sizes', [[1, -1, 1]], 'sizes of zero or more'),
        ('quaternions', [[0, 0, 0, 0]], 'a quaternion of length 1'),
        ('quaternions', [[0, 0, 0, 3]], 'a quaternion of length 1'),
        ('scores', [np.nan], 'score nan'),
    ],
)
def test_boxes_of_the_lidar_that_are_none_are_refused(field, value, words):
    with pytest.raises(FusionError, match=words):
        replace(AHEAD, **{field: np.array(value, float)})


@pytest.mark.parametrize(
    ('box', 'score'),
    [((np.nan, 0, 1, 1), 0.5), ((5, 0, 1, 1), 0.5), ((0, 0, 1, np.inf), 0.5), (at(9), np.inf)],
)
def test_boxes_of_the_image_that_are_none_are_refused(box, score):
    with pytest.raises(FusionError, match=r'box 1 of the image is .*; wanted pixels x1 y1 x2 y2'):
        image((at(9), 'car', 0.5), (box, 'car', score))


def test_a_transform_that_is_none_is_refused():
    for broken in (np.eye(3), np.full((4, 4), np.nan)):
        with pytest.raises(FusionError, match='the transform from lidar to camera is'):
            fuse(image(), AHEAD, CAMERA, broken, Rules())


SPOTS = st.lists(st.tuples(st.floats(0, 199), st.floats(2, 30)), max_size=8)
PLACES = st.lists(st.tuples(st.floats(-12, 12), st.floats(-20, 20)), max_size=8)


@given(spots=SPOTS, places=PLACES, distance=st.sampled_from([0.0, 0.5, 2.0]))
def test_pairs_are_one_to_one_and_the_same_for_any_order_of_the_rest(spots, places, distance):
    seen = image(*((at(x, half=half), 'car', 0.9) for x, half in spots))
    boxes = lidar(*(((x, 0, z), 'car', 0.1 + 0.01 * i) for i, (x, z) in enumerate(places)))
    rules = Rules(max_center_distance=distance)
    found = fuse(seen, boxes, CAMERA, STILL, rules)
    partners = found.partners[found.partners >= 0]
    assert len(set(partners.tolist())) == len(partners) == found.matched <= found.visible
    assert sorted(found.boxes.tolist()) == list(range(len(places)))
    assert (np.diff(found.scores) <= 0).all()
    # no two that are free would have been a pair
    free = sorted(set(range(len(spots))) - set(partners.tolist()))
    alone = found.boxes[found.partners < 0].tolist()
    left = image(*((at(spots[i][0], half=spots[i][1]), 'car', 0.9) for i in free))
    rest = lidar(*(((places[i][0], 0, places[i][1]), 'car', 0.5) for i in alone))
    assert fuse(left, rest, CAMERA, STILL, rules).matched == 0
