# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The inference thread, with a detector that only remembers and a clock that only it moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import math
import threading

import cv2
import numpy as np
import pytest

from trt_engine.errors import DecodeError
from trt_engine.errors import ImageError
from trt_engine.errors import InferenceError
from trt_inference.camera.detections import Detections
from trt_inference.camera.frames import camera_frames
from trt_inference.camera.image_view import CompressedView
from trt_inference.cdr import serialize_compressed_image
from trt_inference.cdr import serialize_image
from trt_inference.detector.config import Stream
from trt_inference.detector.worker import Worker

NOW_NS = 1_700_000_000_000_000_000
MS = 1_000_000
STREAMS = (Stream('front', '/front/image'), Stream('rear', '/rear/image'))
TIMEOUT_S = 5.0
SPOILT = 66  # a brightness that no detector begins with


class Clock:
    """Goes on by a millisecond whenever it is read, and as far as it is told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        self.now_s += 0.001
        return self.now_s


class FakeDetector:
    """Remembers the brightness of each picture; a brightness in `failures` raises."""

    stages_ms = {'preprocess': 2.0, 'inference': 8.0, 'decode': 3.0}
    batch = in_flight = 1

    def __init__(self, clock: Clock) -> None:
        self.seen: list[int] = []
        self.begun: list[list[int]] = []
        self.encodings: list[str] = []
        self.failures: dict[int, Exception] = {}
        self.clock = clock

    def __call__(self, pixels: np.ndarray, encoding: str) -> Detections:
        self.clock.now_s += 0.013
        self.seen.append(int(pixels[0, 0, 0]))
        self.encodings.append(encoding)
        if error := self.failures.get(self.seen[-1]):
            raise error
        return Detections.none()

    def begin(self, pictures):
        self.begun.append([int(pixels[0, 0, 0]) for pixels, _ in pictures])
        if SPOILT in self.begun[-1]:
            raise ImageError('spoilt')
        return lambda: [self(*each) for each in pictures]


class Running:
    """A worker, and what it told."""

    def __init__(
        self, compressed: bool = False, batch: int = 1, in_flight: int = 1, takes_jpeg: bool = False
    ) -> None:
        self.clock = Clock()
        self.detector = FakeDetector(self.clock)
        self.detector.batch, self.detector.in_flight = batch, in_flight
        self.results = []
        self.errors = []
        self.crashes = []
        latest, open_frame = camera_frames(
            len(STREAMS), compressed=compressed, takes_jpeg=takes_jpeg, clock=self.clock
        )
        self.worker = Worker(
            self.detector,
            STREAMS,
            latest=latest,
            open=open_frame,
            now_ns=lambda: NOW_NS,
            publish=self._publish,
            on_error=lambda stream, error: self.errors.append((stream, error)),
            on_crash=self.crashes.append,
            clock=self.clock,
        )
        self._idle = threading.Semaphore(0)
        self._take = self.worker.latest.take
        self.worker.latest.take = self._announce_and_take

    def _publish(self, result) -> None:
        self.results.append(result)
        self.clock.now_s += 0.004

    def _announce_and_take(self, *arguments, wait, **options):
        if wait:
            self._idle.release()
        return self._take(*arguments, wait=wait, **options)

    def wait_until_idle(self) -> None:
        """Wait until the worker has done all with a frame, and asks for the next."""
        assert self._idle.acquire(timeout=TIMEOUT_S)

    def put(self, message: bytes, stream: int = 0) -> None:
        """Hand over a message, and wait until the worker is done with it."""
        self.worker.put(stream, message)
        self.wait_until_idle()

    def look_at_together(self, *messages: bytes) -> None:
        """Have a message of each stream looked at, all in one run; then stop."""
        for stream, message in enumerate(messages):
            self.worker.put(stream, message)
        self.worker.start()
        for _ in ('before the frames', 'after them'):
            self.wait_until_idle()
        self.worker.stop()

    def look_at(self, message: bytes, stream: int = 0):
        """Hand over a message; return what was published of it."""
        before = len(self.results)
        self.put(message, stream)
        assert len(self.results) == before + 1
        return self.results[-1]


@contextmanager
def started(compressed: bool = False) -> Iterator[Running]:
    running = Running(compressed)
    running.worker.start()
    running.wait_until_idle()
    yield running
    running.worker.stop()


@pytest.fixture
def running() -> Iterator[Running]:
    with started() as each:
        yield each


def image(brightness: int = 0, stamp_ns: int = NOW_NS, frame_id: str = 'camera') -> bytes:
    return serialize_image(stamp_ns, frame_id, np.full((4, 6, 3), brightness, np.uint8))


def test_frames_are_looked_at_one_by_one_in_their_order(running):
    for number in range(5):
        result = running.look_at(image(number, frame_id=f'frame{number}'))
        assert result.stream == 0
        assert result.view.frame_id == f'frame{number}'
        pixels, encoding = result.taken
        assert encoding == 'bgr8'
        assert pixels.shape == (4, 6, 3)

    assert running.detector.seen == [0, 1, 2, 3, 4]


def test_a_result_belongs_to_the_camera_of_its_frame(running):
    assert running.look_at(image(1), stream=1).stream == 1
    assert running.look_at(image(2), stream=0).stream == 0
    assert [each.frames for each in running.worker.statistics] == [1, 1]


def test_what_waits_while_a_frame_is_in_hand_is_replaced_by_newer_ones():
    running = Running()
    for number in range(4):  # nobody takes them yet
        running.worker.put(0, image(number))
    running.worker.start()
    for _ in ('before the frame', 'after it'):
        running.wait_until_idle()
    running.worker.stop()

    assert running.detector.seen == [3]
    assert running.worker.dropped(0) == 3
    assert running.worker.dropped(1) == 0


def test_stage_times_say_where_the_time_of_a_frame_went(running):
    first = running.look_at(image())
    second = running.look_at(image())

    # The clock goes on by 1 ms each time it is read: when a message arrives, before and after
    # reading it, after the detector, which takes 13 ms, by the rate, and once it is published.
    assert first.stages_ms == pytest.approx(
        {'preprocess': 2 + 1, 'inference': 8, 'decode': 3, 'publish': 0, 'total': 16}
    )
    assert second.stages_ms['publish'] == pytest.approx(6), 'of the frame before'
    assert second.stages_ms['total'] == pytest.approx(16)
    assert running.detector.stages_ms == {'preprocess': 2.0, 'inference': 8.0, 'decode': 3.0}


def test_reading_a_message_counts_as_preprocessing(monkeypatch):
    def slow(self):
        clock.now_s += 0.040
        return np.zeros((4, 6, 3), np.uint8)

    with started(compressed=True) as running:
        clock = running.clock
        monkeypatch.setattr(CompressedView, 'decode', slow)
        result = running.look_at(serialize_compressed_image(NOW_NS, 'camera', 'jpeg', b'x'))

    # the clock is read once more around decoding, and once around taking it over
    assert result.stages_ms['preprocess'] == pytest.approx(2 + (40 + 1) + 1)


def test_latency_runs_from_arrival_until_published(running):
    running.look_at(image())
    running.worker.stop()

    assert running.worker.statistics[0].total_ms.summary().p50_ms == pytest.approx(16 + 6)
    assert running.worker.statistics[1].total_ms.summary().p50_ms is None


@pytest.mark.parametrize(
    ('stamp_ns', 'age_ms'),
    [
        (NOW_NS, 0.0),
        (NOW_NS - 40 * MS, 40.0),
        (NOW_NS - 3_600_000 * MS, 3_600_000.0),
        (0, math.nan),  # the driver sets no stamps
        (NOW_NS + 1000, math.nan),  # another clock
        (-1_000_000_000, math.nan),
    ],
)
def test_age_is_known_only_where_the_stamp_can_be_of_our_clock(running, stamp_ns, age_ms):
    result = running.look_at(image(stamp_ns=stamp_ns))

    assert result.age_ms == pytest.approx(age_ms, nan_ok=True)
    assert running.worker.statistics[0].age_ms == pytest.approx(age_ms, nan_ok=True)


def test_frames_older_than_max_age_are_dropped_but_not_those_of_unknown_age(running):
    running.worker.max_age_ms = 100.0
    for brightness, stamp_ns in enumerate(
        (NOW_NS - 100 * MS, NOW_NS - 100 * MS - 1, NOW_NS - 5000 * MS, 0, NOW_NS + MS)
    ):
        running.put(image(brightness, stamp_ns))

    assert running.detector.seen == [0, 3, 4]
    assert [running.worker.dropped(each) for each in (0, 1)] == [2, 0]
    assert running.worker.statistics[0].frames == len(running.results) == 3
    assert running.errors == []


def test_max_age_may_change_while_it_runs(running):
    old = image(stamp_ns=NOW_NS - 200 * MS)
    running.look_at(old)
    running.worker.max_age_ms = 300.0
    running.look_at(old)

    assert running.worker.statistics[0].too_old == 0


@pytest.mark.parametrize('error', [ImageError('odd encoding'), InferenceError('out of memory')])
def test_a_frame_that_cannot_be_used_is_counted_reported_and_followed_by_the_next(running, error):
    running.detector.failures[13] = error

    running.put(image(13), stream=1)
    assert running.errors == [(1, error)]
    assert running.look_at(image(14), stream=1).stream == 1

    statistics = running.worker.statistics[1]
    assert (statistics.frames, statistics.errors) == (1, 1)
    assert statistics.last_error == str(error)
    assert running.worker.statistics[0].errors == 0
    assert running.crashes == []


def test_a_message_cut_short_is_such_a_frame(running):
    running.put(image()[:30])

    ((stream, error),) = running.errors
    assert stream == 0
    assert isinstance(error, ImageError)
    assert 'the message of 30 bytes ends within' in running.worker.statistics[0].last_error
    running.look_at(image())


@pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning')
def test_a_defect_ends_the_thread_and_is_handed_on(running):
    defect = ValueError('our own mistake')
    running.detector.failures[13] = defect
    crashed = threading.Event()
    running.worker._on_crash = lambda exc: (running.crashes.append(exc), crashed.set())

    running.worker.put(0, image(13))
    assert crashed.wait(TIMEOUT_S)
    running.worker.stop()

    assert running.crashes == [defect]
    assert running.errors == []
    assert running.worker.statistics[0].errors == 0
    assert threads() == []


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == 'inference']


def test_stop_waits_for_the_frame_in_hand_and_forgets_the_others(running):
    in_hand, go_on = threading.Event(), threading.Event()

    def slow(pixels, encoding):
        in_hand.set()
        go_on.wait(TIMEOUT_S)
        return Detections.none()

    running.detector.begin = lambda pictures: lambda: [slow(*each) for each in pictures]
    running.worker.put(0, image(1))
    assert in_hand.wait(TIMEOUT_S)
    running.worker.put(0, image(2))
    threading.Timer(0.02, go_on.set).start()
    running.worker.stop()

    assert len(running.results) == 1
    assert threads() == []
    running.worker.put(0, image(3))
    running.worker.stop()
    assert len(running.results) == 1


def test_stop_before_start_and_from_within_the_thread_does_not_hang(running):
    Running().worker.stop()

    running.worker._publish = lambda result: running.worker.stop()
    running.worker.put(0, image())
    running.worker._thread.join(TIMEOUT_S)
    running.worker.stop()
    assert threads() == []


def test_statistics_of_a_camera(running):
    running.detector.failures[13] = ImageError('odd')
    for _ in range(3):
        running.look_at(image(stamp_ns=NOW_NS - 40 * MS))
    running.put(image(13))
    running.worker.stop()

    statistics = running.worker.statistics[0]
    assert (statistics.frames, statistics.errors, statistics.too_old) == (3, 1, 0)
    assert statistics.age_ms == pytest.approx(40.0)
    assert statistics.publish_ms == pytest.approx(6.0)
    assert statistics.total_ms.summary().count == 3
    assert statistics.rate.per_second() is None, 'not before the window of the rate has passed'
    running.clock.now_s = 102.01
    assert statistics.rate.per_second() == pytest.approx(1.5)


def test_before_the_first_frame_nothing_is_known(running):
    statistics = running.worker.statistics[0]
    assert math.isnan(statistics.age_ms)
    assert statistics.total_ms.summary().p99_ms is None
    assert statistics.last_error == ''


def test_compressed_images_are_decoded_to_bgr():
    _, png = cv2.imencode('.png', np.full((4, 6, 3), (200, 100, 50), np.uint8))
    with started(compressed=True) as running:
        result = running.look_at(
            serialize_compressed_image(NOW_NS - 40 * MS, 'camera', 'png', png.tobytes())
        )

    assert isinstance(result.view, CompressedView)
    assert result.taken[0][0, 0].tolist() == [200, 100, 50]
    assert result.age_ms == pytest.approx(40.0)
    assert running.detector.encodings == ['bgr8']


def numbers(results) -> list[int]:
    return [int(result.taken[0][0, 0, 0]) for result in results]


def test_the_next_frame_is_begun_before_the_one_in_hand_is_finished():
    running = Running(in_flight=2)
    events = []
    begin = running.detector.begin

    def noting(pictures):
        finish = begin(pictures)
        number = running.detector.begun[-1][0]
        events.append(f'begin {number}')
        if number < 3:  # while the detector works on this one
            running.worker.put(0, image(number + 1))
        return lambda: (events.append(f'finish {number}'), finish())[1]

    running.detector.begin = noting
    running.worker.put(0, image(1))
    running.worker.start()
    for _ in ('before the frames', 'after them'):
        running.wait_until_idle()
    running.worker.stop()

    assert events == ['begin 1', 'begin 2', 'finish 1', 'begin 3', 'finish 2', 'finish 3']
    assert numbers(running.results) == [1, 2, 3]


def test_a_detector_that_takes_one_frame_is_given_none_early():
    running = Running()
    running.detector.begin = lambda pictures, begin=running.detector.begin: (
        running.worker.put(0, image(2)) if int(pictures[0][0][0, 0, 0]) == 1 else None,
        running.worker.put(0, image(3)) if int(pictures[0][0][0, 0, 0]) == 1 else None,
        begin(pictures),
    )[2]
    running.worker.put(0, image(1))
    running.worker.start()
    for _ in ('before the frames', 'after them'):
        running.wait_until_idle()
    running.worker.stop()

    assert running.detector.seen == [1, 3], 'the newest, when its turn comes'


def test_frames_of_several_cameras_go_together():
    running = Running(batch=2)
    running.look_at_together(image(1), image(2))

    assert running.detector.begun == [[1, 2]]
    assert [(each.stream, *numbers([each])) for each in running.results] == [(0, 1), (1, 2)]
    assert all(each.stages_ms['inference'] == 8 for each in running.results)


@pytest.mark.parametrize(
    ('wait_ms', 'streams', 'begun'),
    [(60_000.0, (0, 1), [[1, 2]]), (1.0, (0,), [[1]])],  # a minute, however slow this machine is
)
def test_a_frame_waits_for_those_of_other_cameras_no_longer_than_it_may(wait_ms, streams, begun):
    running = Running(batch=2)
    running.worker.max_batch_wait_ms = wait_ms
    running.worker.start()
    for stream in streams:
        running.worker.put(stream, image(stream + 1))
    for _ in ('before the frames', 'after them'):
        running.wait_until_idle()
    running.worker.stop()

    assert running.detector.begun == begun


def test_a_picture_that_spoils_a_batch_costs_the_others_nothing():
    running = Running(batch=2)
    running.look_at_together(image(SPOILT), image(2))

    assert numbers(running.results) == [2]
    ((stream, error),) = running.errors
    assert (stream, str(error)) == (0, 'spoilt')


def test_outputs_that_cannot_be_decoded_cost_the_other_cameras_of_the_run_nothing():
    running = Running(batch=2, in_flight=2)
    running.detector.failures[1] = DecodeError('a class that the card does not have')
    running.look_at_together(image(1), image(2))

    assert numbers(running.results) == [2]
    assert [stream for stream, _ in running.errors] == [0]
    assert running.detector.begun == [[1, 2], [1], [2]]


def test_a_run_that_fails_is_reported_for_each_of_its_cameras():
    running = Running(batch=2)
    running.detector.failures[2] = InferenceError('the GPU is gone')
    running.look_at_together(image(1), image(2))

    assert [stream for stream, _ in running.errors] == [0, 1]
    assert running.results == []


def test_stop_finishes_what_was_begun():
    running = Running(in_flight=2)
    begin, begun, go_on = running.detector.begin, threading.Event(), threading.Event()

    def slow(pictures):
        finish = begin(pictures)
        begun.set()
        return lambda: (go_on.wait(TIMEOUT_S), finish())[1]

    running.detector.begin = slow
    running.worker.put(0, image(1))
    running.worker.start()
    assert begun.wait(TIMEOUT_S)
    threading.Timer(0.02, go_on.set).start()
    running.worker.stop()

    assert numbers(running.results) == [1]


def test_a_detector_that_takes_files_gets_the_message_s_own():
    running = Running(takes_jpeg=True, compressed=True)
    given = []
    running.detector.begin = lambda pictures: (
        given.extend(pictures),
        lambda: [Detections.none() for _ in pictures],
    )[1]
    running.worker.put(0, serialize_compressed_image(NOW_NS, 'camera', 'jpeg', b'a file'))
    running.worker.put(1, serialize_compressed_image(NOW_NS, 'camera', 'compressedDepth', b'x'))
    running.worker.start()
    for _ in ('before the frames', 'between them', 'after them'):
        running.wait_until_idle()
    running.worker.stop()

    ((data, encoding),) = given
    assert (data.tobytes(), encoding) == (b'a file', 'jpeg')
    assert [each.taken[1] for each in running.results] == ['jpeg']
    ((stream, error),) = running.errors
    assert stream == 1
    assert 'is depth' in str(error)
