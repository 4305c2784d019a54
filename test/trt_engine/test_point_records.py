# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Points as records: packed one after the other, or refused where they do not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trt_engine.errors import PointsError
from trt_engine.lidar.point_records import PointLayout
from trt_engine.lidar.point_records import PointRecords

LAYOUT = PointLayout(12, (4, None, 0), (1.0,) * 3, (0.0, 5.0, 0.0))


def test_points_that_are_numbers_become_records():
    for order in 'CF':
        points = np.array([[1, 2, 3], [4, 5, 6]], np.float32, order=order)
        records = PointRecords.of(points)
        assert records.layout == PointLayout(12, (0, 4, 8), (1.0,) * 3, (0.0,) * 3)
        memory = np.zeros(30, np.uint8)
        records.copy_to(memory)
        assert memory[:24].view('<f4').tolist() == [1, 2, 3, 4, 5, 6]
        assert not memory[24:].any()
    assert len(PointRecords.of(np.zeros((0, 4), np.float32))) == 0
    assert PointRecords.of(points, measured=True).layout == replace(records.layout, measured=True)


def test_rows_are_packed_without_what_lies_between_them():
    message = np.arange(2 * 40, dtype=np.uint8).reshape(2, 40)
    records = PointRecords(LAYOUT, message[:, :20], 2)
    assert len(records) == 4
    memory = np.zeros(48, np.uint8)
    records.copy_to(memory)
    expected = np.zeros((2, 24), np.uint8)
    expected[:, :20] = message[:, :20]
    assert memory.tolist() == expected.ravel().tolist()


@pytest.mark.parametrize('offset', [-1, 9, 12])
def test_a_number_that_is_not_in_the_record_is_refused(offset):
    with pytest.raises(PointsError, match=rf'float32 at byte {offset} .* within its 12 bytes'):
        PointLayout(12, (0, offset), (1.0,) * 2, (0.0,) * 2)


@pytest.mark.parametrize(
    ('rows', 'width'),
    [
        (np.zeros((2, 19), np.uint8), 2),
        (np.zeros((2, 25), np.uint8), 2),
        (np.zeros((2, 24), np.int8), 2),
        (np.zeros(24, np.uint8), 2),
        (np.zeros((1, 1), np.uint8), 0),
    ],
)
def test_rows_that_do_not_hold_the_points_are_refused(rows, width):
    with pytest.raises(PointsError, match=r'points of 12 bytes in rows .*; wanted uint8 \[rows'):
        PointRecords(LAYOUT, rows, width)
