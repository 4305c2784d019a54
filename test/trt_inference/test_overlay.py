# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Detections are drawn on a copy, in their colours, whatever the picture."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from trt_engine.errors import ImageError
from trt_inference.camera.detections import Detections
from trt_inference.camera.overlay import draw
from trt_inference.camera.pipeline import JPEG
from trt_inference.detector.colors import class_color

CLASSES = ('cone', 'ball', 'stop sign \u2014 rot')


def detections(*boxes) -> Detections:
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(count, 4),
        np.linspace(0.9, 0.5, count).astype(np.float32),
        (np.arange(count) % len(CLASSES)).astype(np.int32),
    )


def test_the_picture_itself_stays_as_it_is():
    frame = np.zeros((240, 320, 3), np.uint8)
    frame.flags.writeable = False
    drawn = draw(frame, 'bgr8', detections((40, 60, 200, 180)), CLASSES)
    assert not frame.any()
    assert (drawn.shape, drawn.dtype) == (frame.shape, np.uint8)
    assert drawn.flags.c_contiguous
    assert drawn[120, 40].tolist() == list(class_color(0))
    assert drawn[60, 120].tolist() == list(class_color(0))
    assert not drawn[100:160, 60:180].any()


def test_nothing_seen_changes_nothing():
    frame = np.arange(240 * 320, dtype=np.uint32).astype(np.uint8).reshape(240, 320)
    drawn = draw(frame, 'mono8', Detections.none(), CLASSES)
    np.testing.assert_array_equal(drawn, np.dstack((frame, frame, frame)))


def test_a_file_is_decoded_to_be_drawn_on():
    frame = np.arange(240 * 320, dtype=np.uint32).astype(np.uint8).reshape(240, 320)
    png = cv2.imencode('.png', frame)[1]
    drawn = draw(png, JPEG, Detections.none(), CLASSES)
    np.testing.assert_array_equal(drawn, np.dstack((frame, frame, frame)))


def test_labels_of_boxes_in_one_place_do_not_hide_each_other():
    frame = np.zeros((480, 640, 3), np.uint8)
    box = (100, 100, 400, 400)
    apart = draw(frame, 'bgr8', detections(box, box), CLASSES)
    for label in range(2):
        filled = (apart == class_color(label)).all(axis=2)
        assert filled.any(axis=1).sum() > 10


@pytest.mark.parametrize('size', [(1, 1), (3, 500), (500, 3), (48, 64), (1080, 1920)])
def test_any_picture_and_any_box_can_be_drawn(size):
    height, width = size
    boxes = detections(
        (0, 0, width, height), (0, 0, 1, 1), (width - 1, height - 1, width, height), (0, 0, 0, 0)
    )
    assert draw(np.zeros((*size, 3), np.uint8), 'rgb8', boxes, CLASSES).shape == (*size, 3)


def test_lines_grow_with_the_picture():
    def painted(side: int) -> int:
        box = detections((side * 0.2, side * 0.2, side * 0.8, side * 0.8))
        row = draw(np.zeros((side, side, 3), np.uint8), 'bgr8', box, CLASSES)[side // 2]
        return int(row.any(axis=1).sum())

    assert painted(240) < painted(1080) < painted(2160)


def test_classes_have_colours_of_their_own():
    colors = [class_color(label) for label in range(80)]
    assert len(set(colors)) == 80
    for one, other in itertools.pairwise(colors):
        assert np.abs(np.subtract(one, other)).max() > 60


def test_a_picture_that_cannot_be_read_is_refused():
    with pytest.raises(ImageError, match='wanted uint8 of shape'):
        draw(np.zeros((4, 4), np.uint8), 'bgr8', Detections.none(), CLASSES)
