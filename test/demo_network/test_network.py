# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The committed weights: what the card says of them, and how well they see rendered scenes."""

from contextlib import closing
from dataclasses import replace

from average_precision import average_precision
import numpy as np
import pytest
from scenes import render_scene
from things import CLASSES

from trt_engine.backends import open_backend
from trt_engine.card import load_card
from trt_inference.camera.pipeline import Detector

HELD_OUT_SEED = 2001  # neither the training set's nor the one that the card's numbers are from


def box(x, y, side):
    return [x, y, x + side, y + side]


@pytest.fixture(scope='module')
def card(repository):
    return load_card(repository / 'config' / 'models' / 'demo.yaml')


def test_card_and_generator_name_the_same_classes(card):
    assert card.classes == CLASSES


def test_weights_are_small(repository):
    assert (repository / 'models' / 'demo.onnx').stat().st_size <= 2e6


@pytest.mark.parametrize(
    ('found', 'expected'),
    [
        ([(box(10, 10, 20), 0.9), (box(50, 50, 20), 0.8)], 1.0),
        ([(box(10, 10, 20), 0.9)], 51 / 101),
        ([(box(90, 90, 9), 0.9), (box(10, 10, 20), 0.8), (box(50, 50, 20), 0.7)], 2 / 3),
        ([(box(10, 10, 20), 0.9), (box(10, 10, 20), 0.8)], 51 / 101),
        ([(box(90, 90, 9), 0.9)], 0.0),
    ],
    ids=['all', 'half', 'one false, first', 'one twice', 'none'],
)
def test_average_precision(found, expected):
    boxes = np.array([entry[0] for entry in found], float)
    scores = np.array([entry[1] for entry in found])
    truth = (np.array([box(10, 10, 20), box(50, 50, 20)], float), np.array([1, 1]))
    ap = average_precision([(boxes, scores, np.ones(len(found), int))], [truth], 3)
    assert np.isnan(ap[[0, 2]]).all()
    assert ap[1] == pytest.approx(np.full(10, expected))


@pytest.mark.slow
def test_network_sees_scenes_that_it_was_not_trained_on(card, repository):
    model = repository / 'models' / 'demo.onnx'
    with closing(open_backend('onnxruntime', model)) as backend:
        detector = Detector(card, backend)
        detector.thresholds = replace(card.thresholds, score=0.01, nms_iou=0.65)
        found, truth = [], []
        for index in range(60):
            rng = np.random.default_rng([HELD_OUT_SEED, index])
            picture, boxes, classes = render_scene(rng, 640, 480)
            seen = detector(picture, 'bgr8')
            found.append((seen.boxes, seen.scores, seen.classes))
            truth.append((boxes, classes))
    ap = average_precision(found, truth, len(CLASSES))
    assert np.nanmean(ap[:, 0]) > 0.9
    assert np.nanmean(ap) > 0.7
