# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""When items are due: at any rate, late, and over several laps."""

from __future__ import annotations

from itertools import islice

import pytest

from trt_inference.replay.schedule import play
from trt_inference.replay.schedule import Schedule
from trt_inference.replay.schedule import StampShift
from trt_inference.replay.sources import Recorded

MS = 1_000_000


class Clock:
    def __init__(self):
        self.now_ns = 5_000 * MS

    def __call__(self):
        return self.now_ns


class Recording:
    live = False
    summary = 'a recording'
    topics = {'/t': 'x/msg/X'}
    period_ns = 10 * MS

    def __init__(self, *times_ms):
        self.times_ms = times_ms

    def __iter__(self):
        return (Recorded(each * MS, '/t', 'x/msg/X', b'') for each in self.times_ms)


@pytest.mark.parametrize(('rate', 'due_ms'), [(1.0, 100), (2.0, 50), (0.25, 400)])
def test_distance_is_scaled_by_rate(rate, due_ms):
    clock = Clock()
    schedule = Schedule(rate, clock)
    assert schedule.remaining_ns(7_000 * MS) == 0
    assert schedule.remaining_ns(7_100 * MS) == due_ms * MS
    clock.now_ns += due_ms * MS
    assert schedule.remaining_ns(7_100 * MS) == 0
    assert schedule.time_ns() == 7_100 * MS


def test_delays_do_not_add_up():
    clock = Clock()
    schedule = Schedule(1.0, clock)
    left = []
    for index in range(1_000):
        left.append(schedule.remaining_ns(index * 33 * MS))
        clock.now_ns += max(0, left[-1]) + 3 * MS  # each publication is 3 ms late
    assert left[1:] == [30 * MS] * 999


def test_a_late_item_is_due_at_once():
    clock = Clock()
    schedule = Schedule(1.0, clock)
    schedule.remaining_ns(0)
    clock.now_ns += 80 * MS
    assert schedule.remaining_ns(50 * MS) == -30 * MS


def test_before_the_first_item_there_is_no_time():
    assert Schedule(1.0, Clock()).time_ns() == 0


def test_one_lap_is_the_recording():
    played = list(play(Recording(100, 110, 125), loop=False))
    assert [each.t_ns for each in played] == [100 * MS, 110 * MS, 125 * MS]
    assert {each.shift_ns for each in played} == {0}


def test_laps_follow_each_other_after_one_period():
    played = list(islice(play(Recording(100, 110, 125), loop=True), 7))
    assert [each.t_ns // MS for each in played] == [100, 110, 125, 135, 145, 160, 170]
    assert [each.item.t_ns // MS for each in played] == [100, 110, 125, 100, 110, 125, 100]
    assert [each.shift_ns // MS for each in played] == [0, 0, 0, 35, 35, 35, 70]


def test_a_single_item_repeats_each_period():
    played = list(islice(play(Recording(0), loop=True), 3))
    assert [each.t_ns // MS for each in played] == [0, 10, 20]


def test_nothing_is_not_repeated_for_ever():
    assert list(play(Recording(), loop=True)) == []


def test_stamps_keep_their_distance():
    shift = StampShift(2.0)
    assert shift(1_000 * MS, 9_000 * MS) == 9_000 * MS
    assert shift(1_000 * MS, 9_001 * MS) == 9_000 * MS  # the CameraInfo of the same frame
    assert shift(1_100 * MS, 9_049 * MS) == 9_050 * MS
    assert shift(990 * MS, 9_060 * MS) == 8_995 * MS
