# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""One slot for each camera: the newest wins, nobody starves, closing wakes."""

from __future__ import annotations

import threading

import pytest

from trt_inference.detector.latest import Frame
from trt_inference.detector.latest import LatestFrames


def frame(stream: int, number: int = 0) -> Frame:
    return Frame(stream, bytes([number]), float(number))


def test_the_newest_wins_and_what_it_replaces_is_counted():
    latest = LatestFrames(1)
    for number in range(5):
        latest.put(frame(0, number))

    assert latest.take() == [frame(0, 4)]
    assert latest.dropped(0) == 4
    latest.put(frame(0, 5))
    assert latest.take() == [frame(0, 5)]
    assert latest.dropped(0) == 4, 'a frame that was taken is not dropped'


def test_each_camera_counts_its_own():
    latest = LatestFrames(2)
    latest.put(frame(0, 1))
    latest.put(frame(1, 1))
    latest.put(frame(1, 2))

    assert [latest.dropped(0), latest.dropped(1)] == [0, 1]


def test_a_fast_camera_does_not_starve_the_others():
    latest = LatestFrames(3)
    for stream in (1, 2):
        latest.put(frame(stream))
    taken = []
    for _ in range(6):
        latest.put(frame(0))  # before each turn
        taken.append(latest.take()[0].stream)
        if taken[-1]:
            latest.put(frame(taken[-1]))

    assert taken == [0, 1, 2, 0, 1, 2]


def test_a_camera_alone_gets_every_turn():
    latest = LatestFrames(3)
    for number in range(4):
        latest.put(frame(2, number))
        assert latest.take() == [frame(2, number)]


def test_a_waiting_taker_gets_the_frame_that_comes():
    latest = LatestFrames(1)
    taken = []
    thread = threading.Thread(target=lambda: taken.extend(latest.take()))
    thread.start()
    latest.put(frame(0, 7))
    thread.join(5)
    assert taken == [frame(0, 7)]


def test_close_wakes_a_waiting_taker_with_nothing():
    latest = LatestFrames(1)
    taken = []
    thread = threading.Thread(target=lambda: taken.append(latest.take()))
    thread.start()
    latest.close()
    thread.join(5)
    assert taken == [[]]


def test_once_closed_nothing_comes_out_and_nothing_is_counted():
    latest = LatestFrames(1)
    latest.put(frame(0, 1))
    latest.close()
    latest.put(frame(0, 2))

    assert latest.closed
    assert latest.take() == []
    assert latest.take(wait=False) == []
    assert latest.dropped(0) == 0


def test_who_does_not_wait_gets_what_is_there():
    latest = LatestFrames(2)
    assert latest.take(wait=False) == []
    latest.put(frame(1))
    assert latest.take(wait=False) == [frame(1)]


def test_several_cameras_at_once_in_their_turns():
    latest = LatestFrames(3)
    for stream in (0, 1, 2):
        latest.put(frame(stream))
    assert latest.take(2) == [frame(0), frame(1)]
    latest.put(frame(0, 1))
    assert latest.take(8) == [frame(2), frame(0, 1)]


@pytest.mark.parametrize(('now_s', 'limit'), [(11.0, 3), (10.0, 2)])
def test_frames_wait_for_others_until_the_first_has_waited_enough_or_all_are_there(now_s, limit):
    latest = LatestFrames(3, clock=lambda: now_s)
    latest.put(Frame(0, b'', 10.0))
    latest.put(Frame(2, b'', 10.9))
    assert [each.stream for each in latest.take(limit, linger_s=1.0)] == [0, 2]


def test_the_frame_that_was_waited_for_ends_the_wait():
    latest = LatestFrames(2, clock=lambda: 0.0)
    latest.put(Frame(0, b'', 0.0))
    taken = []
    thread = threading.Thread(target=lambda: taken.extend(latest.take(2, linger_s=3600)))
    thread.start()
    latest.put(Frame(1, b'', 0.0))
    thread.join(5)
    assert [each.stream for each in taken] == [0, 1]


def test_a_camera_that_never_rests_does_not_make_its_frames_wait_longer():
    """The wait counts from the first frame that was seen, not from those that replace it."""
    times = iter(range(100))
    latest = LatestFrames(2, clock=lambda: float(next(times)))
    latest.put(Frame(0, b'', 0.0))
    latest._changed.wait = lambda timeout: latest._slots.__setitem__(
        0, Frame(0, b'', float(next(times)))
    )
    ((taken),) = latest.take(2, linger_s=10.0)
    assert 0 < taken.arrived_s <= 10
