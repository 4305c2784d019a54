# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Detections are arrays of one length, of fixed types."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from trt_inference.camera.detections import Detections


def three() -> Detections:
    boxes = np.arange(12, dtype=np.float32).reshape(3, 4)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    return Detections(boxes, scores, np.array([4, 5, 4], np.int32))


def test_none_is_empty_and_typed():
    none = Detections.none()
    assert len(none) == 0
    assert (none.boxes.shape, none.boxes.dtype) == ((0, 4), np.float32)
    assert (none.scores.dtype, none.classes.dtype) == (np.float32, np.int32)


@pytest.mark.parametrize('which', [np.array([True, False, True]), np.array([0, 2])])
def test_select_takes_masks_and_indices(which):
    chosen = three().select(which)
    assert len(chosen) == 2
    assert chosen.classes.tolist() == [4, 4]
    assert chosen.boxes.tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]


def test_fields_cannot_be_replaced():
    with pytest.raises(dataclasses.FrozenInstanceError):
        three().scores = np.zeros(3)
