# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""One cloud through all stages, with a made-up network: what is seen, counted and refused."""

from __future__ import annotations

from dataclasses import replace
import math

import numpy as np
import pytest

from trt_engine.backend import TensorInfo
from trt_engine.backends.fake import FakeBackend
from trt_engine.card import Card
from trt_engine.card import Head
from trt_engine.card import ImageInput
from trt_engine.card import ModelSource
from trt_engine.card import Resize
from trt_engine.card import Thresholds
from trt_engine.errors import CardError
from trt_engine.errors import InferenceError
from trt_engine.errors import PointsError
from trt_engine.lidar.model import PillarWeights
from trt_engine.lidar_card import PointsInput
from trt_inference.lidar.clouds import CloudOptions
from trt_inference.lidar.pipeline import LidarDetector
from trt_inference.lidar.pipeline import PlacedCloud
from trt_inference.lidar.point_view import PointView

POINTS = PointsInput('voxels', (0, -4, -2, 8, 4, 2), (1, 1, 4), 3, 5, 'pillar10')
OUTPUTS = {'scores': ('scores',), 'boxes': ('boxes',), 'directions': ('directions',)}
OPTIONS = {'anchor_sizes': ((4.0, 2.0, 1.5),), 'anchor_bottoms': (-1.0,), 'stride': 1}
CARD = Card(
    name='fake',
    summary='A card for tests',
    model=ModelSource('fake.onnx', 'Apache-2.0'),
    input=POINTS,
    head=Head('pointpillars', OUTPUTS, OPTIONS),
    classes=('car',),
    thresholds=Thresholds(score=0.5, nms_iou=0.1),
)
TWO = replace(
    CARD,
    classes=('car', 'truck'),
    head=Head(
        'pointpillars',
        OUTPUTS,
        {**OPTIONS, 'anchor_sizes': ((4, 2, 1.5), (8, 2, 3)), 'anchor_bottoms': (-1, -1)},
    ),
)
# the first number of a pillar is the greatest x of its points; a bias of 0 leaves it so
WEIGHTS = PillarWeights(np.eye(10, 2, dtype=np.float32), np.zeros(2, np.float32))


def network(card=CARD, heat=((4, 2, 3.0),), seen=None):
    """Return a fake that finds the first class at rows and columns with logits."""
    anchors = 2 * len(card.classes)
    scores = np.full((1, 8, 8, anchors * len(card.classes)), -9, np.float32)
    for row, column, logit in heat:
        scores[0, row, column, 0] = logit
    outputs = {
        'scores': scores,
        'boxes': np.zeros((1, 8, 8, anchors * 7), np.float32),
        'directions': np.zeros((1, 8, 8, anchors * 2), np.float32),
    }
    f32 = np.dtype(np.float32)
    tensors = [TensorInfo('grid', 'input', f32, (1, 2, 8, 8))]
    tensors += [TensorInfo(name, 'output', f32, array.shape) for name, array in outputs.items()]

    def run(inputs):
        if seen is not None:
            seen.append(inputs['grid'].copy())
        return outputs

    return FakeBackend(tensors, run)


def cloud(*rows, stamp_s=7, fields=('x', 'y', 'z', 'intensity'), **where):
    columns = np.array(rows, np.float32).reshape(len(rows), len(fields)).T
    held = {name: column[None] for name, column in zip(fields, columns, strict=True)}
    view = PointView(stamp_s, 0, 'lidar', len(rows), 1, 16, 16 * len(rows), held, True)
    return PlacedCloud(view, **where)


def test_a_cloud_becomes_boxes_in_its_own_frame():
    seen = []
    detector = LidarDetector(CARD, network(seen=seen), WEIGHTS)
    boxes = detector(cloud((2.5, 0.5, 0, 1), (2.75, 0.25, 0, 1), (7.5, -3.5, 1, 1)))
    expected = np.zeros((8, 8))
    expected[4, 2], expected[0, 7] = 2.75, 7.5
    assert seen[0][0, 0].tolist() == expected.tolist()
    # anchors stand from edge to edge of the range: 8 m in 7 steps
    np.testing.assert_allclose(boxes.centers, [[2 * 8 / 7, -4 + 4 * 8 / 7, -0.25]], atol=1e-5)
    np.testing.assert_allclose(boxes.sizes, [[4, 2, 1.5]])
    assert math.sin(boxes.yaws[0]) == pytest.approx(0, abs=1e-6)
    assert boxes.scores.tolist() == pytest.approx([1 / (1 + math.exp(-3))])


def test_the_grid_of_one_cloud_holds_nothing_of_the_one_before():
    seen = []
    detector = LidarDetector(CARD, network(seen=seen), WEIGHTS)
    detector(cloud((2.5, 0.5, 0, 1)))
    detector(cloud((5.5, 1.5, 0, 1)))
    assert np.argwhere(seen[1][0, 0]).tolist() == [[5, 5]]


def test_what_the_network_does_not_see_is_counted():
    detector = LidarDetector(CARD, network(), WEIGHTS)
    assert (detector.counts, detector.overflows) == (None, 0)
    detector(cloud((1, 0, 0, 1), (np.nan, 0, 0, 1), (0, 0, 0, 1), (9, 0, 0, 1)))
    assert (detector.dropped, detector.cropped, detector.overflows) == (2, 0, 0)
    assert (detector.counts.points, detector.counts.outside, detector.counts.kept) == (2, 1, 1)

    many = [(place + 0.5, 0.5, 0, 1) for place in range(7)] + [(0.5, 0.5, 0, 1)] * 4
    detector(cloud(*many))
    assert detector.overflows == 1
    text = '2 of 7 pillars with 2 of 11 points are beyond max_voxels'
    assert (detector.counts.overflow(), detector.counts.over_points) == (text, 2)


@pytest.mark.parametrize('rows', [(), ((np.nan, 0, 0, 0),), ((100, 0, 0, 0),)])
def test_a_cloud_without_a_point_in_range_shows_nothing(rows):
    backend = network()
    detector = LidarDetector(CARD, backend, WEIGHTS)
    assert len(detector(cloud(*rows))) == 0
    assert backend.runs == 0
    assert len(detector(cloud((1, 1, 1, 1)))) == 1


def test_thresholds_and_class_filter_change_from_the_next_cloud_on():
    detector = LidarDetector(TWO, network(TWO, ((4, 2, 3.0), (1, 7, -0.5))), WEIGHTS)
    something = cloud((1, 1, 1, 1))
    assert detector.thresholds == CARD.thresholds
    assert detector(something).classes.tolist() == [0]
    detector.thresholds = replace(CARD.thresholds, score=0.3)
    assert detector(something).classes.tolist() == [0, 0]
    detector.class_filter = frozenset({1})
    assert detector(something).classes.tolist() == []
    detector.class_filter = None
    assert detector(something).classes.tolist() == [0, 0]


def test_stages_are_timed_with_the_given_clock():
    ticks = iter([1.0, 1.002, 1.010, 1.013])
    detector = LidarDetector(CARD, network(), WEIGHTS, clock=lambda: next(ticks))
    assert list(detector.stages_ms) == ['preprocess', 'inference', 'decode']
    detector(cloud((1, 1, 1, 1)))
    assert detector.stages_ms == pytest.approx({'preprocess': 2, 'inference': 8, 'decode': 3})


def test_a_cloud_is_moved_before_it_is_cropped_and_the_ground_raised_after():
    seen = []
    options = CloudOptions(self_box_m=(2, 0, -9, 3, 1, 9), ground_offset_m=0.5)
    weights = PillarWeights(np.eye(10, 2, -1, np.float32), np.zeros(2, np.float32))
    weights.weight[:] = 0
    weights.weight[2, 0] = 1  # z
    detector = LidarDetector(CARD, network(seen=seen), weights, options=options)
    ahead = np.eye(4)
    ahead[0, 3], ahead[2, 3] = 2, 0.25
    boxes = detector(cloud((0.5, 0.5, 0, 1), (2.5, 0.5, 0.5, 1), transform=ahead))
    assert detector.cropped == 1  # the first: it is within the box only when moved
    assert np.argwhere(seen[0][0, 0]).tolist() == [[4, 4]]
    assert seen[0][0, 0, 4, 4] == 0.5 + 0.25 + 0.5
    assert boxes.centers[0, 2] == pytest.approx(-0.25 - 0.5)


def test_earlier_sweeps_are_seen_where_they_are_now():
    lagging = replace(POINTS, channels=('intensity', 'time_lag'), features='pillar9')
    weights = PillarWeights(np.zeros((10, 2), np.float32), np.zeros(2, np.float32))
    weights.weight[0, 0] = weights.weight[4, 1] = 1  # x, lag
    seen = []
    detector = LidarDetector(
        replace(CARD, input=lagging), network(seen=seen), weights,
        options=CloudOptions(sweeps=2, sweep_age_s=2),
    )  # fmt: skip
    detector(cloud((5.5, 0.5, 0, 1), stamp_s=7))
    driven = np.eye(4)
    driven[0, 3] = 3
    detector(cloud((6.5, -1.5, 0, 1), stamp_s=8, pose=driven))
    assert np.argwhere(seen[1][0, 0]).tolist() == [[2, 6], [4, 2]]
    assert seen[1][0, 1, 4, 2] == 1
    assert detector.sweeps == 2
    detector.forget()
    detector(cloud((6.5, -1.5, 0, 1), stamp_s=9, pose=driven))
    assert detector.sweeps == 1
    assert np.argwhere(seen[2][0, 0]).tolist() == [[2, 6]]


def test_a_bad_cloud_does_not_spoil_the_next():
    backend = network()
    detector = LidarDetector(CARD, backend, WEIGHTS)
    with pytest.raises(PointsError, match="no field 'intensity'"):
        detector(cloud((1, 1, 1), fields=('x', 'y', 'z')))
    with pytest.raises(PointsError, match='the transform of the cloud is'):
        detector(cloud((1, 1, 1, 1), transform=np.zeros((4, 4))))
    backend.fail_with = 'out of memory'
    with pytest.raises(InferenceError, match='out of memory'):
        detector(cloud((1, 1, 1, 1)))
    backend.fail_with = None
    assert len(detector(cloud((1, 1, 1, 1)))) == 1


def test_a_card_for_pictures_is_refused():
    camera = ImageInput('images', 8, 8, 'rgb', Resize('stretch'))
    with pytest.raises(CardError, match=r'fake: input\.kind is image, .*; wanted points'):
        LidarDetector(replace(CARD, input=camera), network(), WEIGHTS)


def test_begun_is_seen_when_it_is_waited_for():
    backend = network()
    detector = LidarDetector(CARD, backend, WEIGHTS)
    finish = detector.begin([cloud((1, 1, 1, 1)), cloud((2, 2, 1, 1))])
    assert backend.runs == 0
    assert [len(boxes) for boxes in finish()] == [1, 1]
    assert (backend.runs, detector.clouds) == (2, 2)
    detector.forget()
    assert (detector.clouds, detector.counts) == (0, None)
