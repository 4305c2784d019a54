# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Boxes find the image that is nearest in time; what cannot is counted, and memory is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import pytest

from trt_inference.fusion.sync import StampPairs
from trt_inference.fusion.sync import SyncCounts

MS = 1_000_000


class Sync:
    """Pairs of stamps in milliseconds, and a clock that stands until it is moved."""

    def __init__(self, tolerance=50, wait_s=0.05, depth=10):
        self.now_s = 100.0
        self.pairs = StampPairs(tolerance * MS, wait_s, depth, lambda: self.now_s)
        self.found = []

    def take(self):
        while (pair := self.pairs.take()) is not None:
            self.found.append(pair)
        return self.found

    def feed(self, *messages):
        """Put messages, written i10 for an image and b10 for boxes at 10 ms, taking after each."""
        for message in messages:
            stamp = int(message[1:])
            put = self.pairs.put_image if message[0] == 'i' else self.pairs.put_boxes
            put(stamp * MS, stamp)
            self.take()
        return self.found

    @property
    def counts(self):
        return self.pairs.counts


@pytest.mark.parametrize(
    ('messages', 'expected'),
    [
        ('i10 b10', [(10, 10)]),
        ('b10 i10', [(10, 10)]),
        ('i0 i33 b40 i66', [(33, 40)]),
        ('i0 i33 i66 b40', [(33, 40)]),
        ('b40 i0 i33 i66', [(33, 40)]),
        ('i0 b40 i33 i66', [(33, 40)]),
        ('i33 b40', []),  # a nearer one may come
        ('i33 b40 i41', [(41, 40)]),
        ('i0 i20 b10', [(20, 10)]),  # equally near: the newer
        ('i66 i0 i33 b40', [(33, 40)]),  # images out of order
        ('i0 i100 b50', [(100, 50)]),  # the tolerance itself is near enough
        ('i0 i101 b50', [(0, 50)]),
        ('i0 i102 b51', []),
        ('i0 b0 i100 b100 i200 b200', [(0, 0), (100, 100), (200, 200)]),
        ('i100 b80 b120 i200', [(100, 80), (100, 120)]),  # an image may serve twice
        ('i0 b0 b0', [(0, 0)]),
    ],
)
def test_boxes_have_the_nearest_image(messages, expected):
    assert Sync().feed(*messages.split()) == expected


def test_boxes_wait_no_longer_than_they_may_for_a_nearer_image():
    sync = Sync(wait_s=0.05)
    assert sync.feed('i33', 'b40') == []
    assert sync.pairs.due_in_s() == pytest.approx(0.05)
    sync.now_s += 0.049
    assert sync.take() == []
    sync.now_s += 0.001
    assert sync.pairs.due_in_s() == pytest.approx(0)
    assert sync.take() == [(33, 40)]
    assert sync.pairs.due_in_s() is None


def test_boxes_without_an_image_wait_for_messages_and_not_for_the_clock():
    sync = Sync()
    sync.feed('i0', 'b90')
    assert sync.pairs.due_in_s() is None
    sync.now_s += 1000
    assert sync.take() == []
    assert sync.feed('i95') == [(95, 90)]


def test_boxes_that_no_image_can_be_near_to_are_counted_with_the_gap():
    sync = Sync()
    sync.feed('i0', 'b100', 'i200')
    assert sync.counts == SyncCounts(images=2, boxes=1, unsynchronised=1, gap_ms=100)


def test_what_is_no_newer_than_what_was_given_out_is_late():
    sync = Sync()
    assert sync.feed('i100', 'b100', 'b90', 'b100', 'i110', 'b110') == [(100, 100), (110, 110)]
    assert (sync.counts.late, sync.counts.paired) == (2, 2)


def test_when_several_have_their_image_the_newest_is_given_out():
    sync = Sync()
    for stamp in (100, 200, 300):
        sync.pairs.put_boxes(stamp * MS, stamp)
    for stamp in (101, 201, 301):
        sync.pairs.put_image(stamp * MS, stamp)
    assert sync.take() == [(301, 300)]
    assert (sync.counts.paired, sync.counts.skipped) == (1, 2)


def test_memory_is_bounded_and_what_is_pushed_out_is_counted():
    sync = Sync(depth=3)
    sync.feed('b1', 'b2', 'b3', 'b4', 'b5')
    assert sync.counts == SyncCounts(boxes=5, unsynchronised=2)
    assert sync.feed('i6') == [(6, 5)]
    sync = Sync(depth=3)
    assert sync.feed('i0', 'i100', 'i200', 'i300', 'b10') == []
    assert sync.counts == SyncCounts(images=4, boxes=1, unsynchronised=1, gap_ms=90)


@pytest.mark.parametrize('first', ['i0', 'b0'])
def test_a_recording_that_begins_again_is_followed(first):
    sync = Sync()
    sync.feed('i5000', 'b5000', 'i5100')
    second = 'b0' if first == 'i0' else 'i0'
    assert sync.feed(first, second, 'i100', 'b100')[-1] == (100, 100)
    assert sync.counts.restarts in {1, 2}


def test_a_stamp_from_the_future_does_no_lasting_harm():
    sync = Sync()
    sync.feed('i0', 'b0', 'i90000', 'i100', 'b100', 'b90000', 'i200', 'b200', 'i300', 'b300')
    assert sync.found[-1] == (300, 300)


STREAM = st.lists(st.integers(0, 900), max_size=12, unique=True).map(sorted)


@given(images=STREAM, boxes=STREAM, chance=st.randoms(use_true_random=False))
def test_pairs_do_not_depend_on_which_topic_is_faster(images, boxes, chance):
    """With time to wait, and an image after all else, each boxes has the nearest image or none."""
    messages = [('i', each) for each in images] + [('b', each) for each in boxes]
    chance.shuffle(messages)
    queues = {'i': iter([*images]), 'b': iter([*boxes])}
    sync = Sync(wait_s=1e9, depth=100)
    sync.feed(*(f'{kind}{next(queues[kind])}' for kind, _ in messages), 'i901')

    everything = [*images, 901]
    expected = []
    for each in boxes:
        nearest = min(everything, key=lambda image: (abs(image - each), -image))
        if abs(nearest - each) <= 50:
            expected.append((nearest, each))
    counts = sync.counts
    assert set(sync.found) <= set(expected)
    assert len(expected) == counts.paired + counts.skipped
    assert counts.boxes == counts.paired + counts.skipped + counts.unsynchronised
    assert counts.late == 0


@given(
    messages=st.lists(st.tuples(st.sampled_from('ib'), st.integers(-5000, 5000)), max_size=60),
    wait_s=st.sampled_from([0.0, 1.0]),
)
def test_whatever_comes_is_bounded_counted_and_near_enough(messages, wait_s):
    sync = Sync(depth=3, wait_s=wait_s)
    sync.feed(*(f'{kind}{stamp}' for kind, stamp in messages))
    assert all(abs(image - boxes) <= 50 for image, boxes in sync.found)
    assert max(len(sync.pairs._images), len(sync.pairs._waiting)) <= 3
    counts = sync.counts
    waiting = len(sync.pairs._waiting)
    assert counts.boxes == (
        counts.paired + counts.skipped + counts.unsynchronised + counts.late + waiting
    )
    assert len(sync.found) == counts.paired
