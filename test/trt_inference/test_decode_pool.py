# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures are decoded ahead: the newest of each camera, in order, several cameras at once."""

from __future__ import annotations

from collections.abc import Iterator
import threading
import weakref

import cv2
import numpy as np
import pytest

from trt_engine.errors import ImageError
from trt_engine.picture import decode_picture
from trt_inference.camera.decode_pool import DecodedFrame
from trt_inference.camera.decode_pool import DecodePool
from trt_inference.camera.image_view import CompressedView
from trt_inference.cdr import serialize_compressed_image
from trt_inference.detector.latest import Frame

TIMEOUT_S = 5.0


class Gate:
    """Stands in for decoding: holds each picture until it is let through."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._let = threading.Semaphore(0)
        self._seen = threading.Semaphore(0)

    def decode(self, view: CompressedView) -> np.ndarray:
        self.begun.append(view.frame_id)
        self._seen.release()
        assert self._let.acquire(timeout=TIMEOUT_S)
        return np.full((2, 2, 3), len(self.begun), np.uint8)

    def wait_until_begun(self, pictures: int = 1) -> None:
        for _ in range(pictures):
            assert self._seen.acquire(timeout=TIMEOUT_S)

    def let_through(self, pictures: int = 1) -> None:
        for _ in range(pictures):
            self._let.release()


@pytest.fixture
def gate(monkeypatch) -> Gate:
    gate = Gate()

    def decode(view: CompressedView) -> np.ndarray:  # the gate's method would not get the view
        return gate.decode(view)

    monkeypatch.setattr(CompressedView, 'decode', decode)
    return gate


@pytest.fixture
def pool() -> Iterator[DecodePool]:
    pool = DecodePool(2, threads=2)
    yield pool
    pool.close()
    assert threads() == []


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith('decode_')]


def message(data: bytes = b'', name: str = 'camera', format: str = 'jpeg') -> bytes:
    return serialize_compressed_image(1, name, format, data)


def frame(stream: int, name: str = 'camera', data: bytes = b'') -> Frame:
    return Frame(stream, message(data, name), 0.0)


def encoded(brightness: int, ending: str = '.jpg') -> bytes:
    return cv2.imencode(ending, np.full((8, 8, 3), brightness, np.uint8))[1].tobytes()


def take(pool: DecodePool) -> DecodedFrame:
    (taken,) = pool.take()
    assert isinstance(taken, DecodedFrame)
    return taken


def name_of(taken: DecodedFrame) -> str:
    return taken.open()[0].frame_id


@pytest.mark.parametrize('ending', ['.jpg', '.png'])
def test_a_picture_is_taken_decoded_with_its_message(pool, ending):
    data = encoded(200, ending)
    given = frame(1, 'rear', data)
    pool.put(given)
    taken = take(pool)

    assert (taken.stream, taken.serialized, taken.arrived_s) == (1, given.serialized, 0.0)
    view, pixels = taken.open()
    assert view.frame_id == 'rear'
    np.testing.assert_array_equal(pixels, decode_picture(data))
    assert taken.decode_ms > 0


def test_what_comes_while_a_picture_is_decoded_is_replaced_by_newer_ones(pool, gate):
    pool.put(frame(0, 'first'))
    gate.wait_until_begun()
    for number in range(100):
        pool.put(frame(0, f'{number}'))

    gate.let_through()
    assert name_of(take(pool)) == 'first'
    gate.let_through()
    assert name_of(take(pool)) == '99'
    assert gate.begun == ['first', '99'], 'nothing queues up'
    assert [pool.dropped(stream) for stream in (0, 1)] == [99, 0]


def test_what_was_decoded_and_not_taken_is_replaced_by_the_next(pool, gate):
    for name in ('a', 'b', 'c'):
        pool.put(frame(0, name))
        gate.wait_until_begun()  # once the one before is in its place
        gate.let_through()
    pool.put(frame(0, 'd'))
    gate.wait_until_begun()

    assert name_of(take(pool)) == 'c'
    assert pool.dropped(0) == 2
    gate.let_through()


def test_pictures_of_a_camera_are_decoded_one_at_a_time_and_of_cameras_at_once(pool, gate):
    pool.put(frame(0, 'front 1'))
    gate.wait_until_begun()
    pool.put(frame(0, 'front 2'))
    pool.put(frame(1, 'rear 1'))
    gate.wait_until_begun()
    assert gate.begun == ['front 1', 'rear 1']
    gate.let_through(3)
    gate.wait_until_begun()
    assert gate.begun[2] == 'front 2'


def test_the_order_of_a_camera_stays(pool):
    numbers = []
    for number in range(60):
        pool.put(frame(number % 2, f'{number}', encoded(number)))
        if number % 3 == 0:
            numbers.append(int(name_of(take(pool))))
    for stream in (0, 1):
        of_camera = [each for each in numbers if each % 2 == stream]
        assert of_camera == sorted(of_camera)
    assert len(numbers) == 20


def test_a_fast_camera_does_not_starve_the_others(gate):
    pool = DecodePool(3, threads=1)
    pool.put(frame(0, 'fast'))
    gate.wait_until_begun()
    for name, stream in (('slow', 1), ('slower', 2), ('fast', 0)):
        pool.put(frame(stream, name))
    for _ in range(3):
        gate.let_through()
        gate.wait_until_begun()
        pool.put(frame(0, 'fast'))
    gate.let_through(2)
    pool.close()
    assert gate.begun[:4] == ['fast', 'slow', 'slower', 'fast']


@pytest.mark.parametrize(
    ('serialized', 'text'),
    [
        (message(b'GIF89a'), 'neither a JPEG nor a PNG'),
        (message(encoded(1)[:-20]), 'it is cut short'),
        (message(encoded(1), format='16UC1; compressedDepth png'), 'is depth'),
        (message(encoded(1))[:-1], 'ends within'),
        (b'', 'message'),
    ],
)
def test_a_picture_that_cannot_be_decoded_is_an_error_of_its_camera_alone(pool, serialized, text):
    pool.put(Frame(1, serialized, 0.0))
    taken = take(pool)
    assert taken.stream == 1
    with pytest.raises(ImageError, match=text):
        taken.open()

    for stream in (0, 1):
        pool.put(frame(stream, 'next', encoded(7)))
        assert name_of(take(pool)) == 'next'


def test_a_defect_comes_out_where_the_frame_is_opened(pool, monkeypatch):
    defect = ValueError('our own mistake')

    def fail(view):
        raise defect

    monkeypatch.setattr(CompressedView, 'decode', fail)
    pool.put(frame(0))
    with pytest.raises(ValueError, match='our own mistake') as told:
        take(pool).open()
    assert told.value is defect
    monkeypatch.undo()
    pool.put(frame(0, 'next', encoded(7)))
    assert name_of(take(pool)) == 'next', 'the thread lives on'


def test_the_memory_of_a_picture_is_let_go_once_the_next_one_is_decoded():
    pool = DecodePool(1)
    pool.put(frame(0, data=encoded(1)))
    first = weakref.ref(take(pool).open()[1])
    assert first() is not None
    pool.put(frame(0, data=encoded(2)))
    second = weakref.ref(take(pool).open()[1])
    assert (first() is None, second() is None) == (True, False)
    pool.close()
    assert second() is None


@pytest.mark.parametrize(('streams', 'threads_wanted'), [(1, 1), (3, 3), (9, 4)])
def test_there_are_threads_for_as_many_cameras_as_the_board_can_serve(
    monkeypatch, streams, threads_wanted
):
    monkeypatch.setattr('os.cpu_count', lambda: 8)
    pool = DecodePool(streams)
    assert len(threads()) == threads_wanted
    pool.close()
    monkeypatch.setattr('os.cpu_count', lambda: None)
    pool = DecodePool(streams)
    assert len(threads()) == 1
    pool.close()


def test_close_waits_for_the_picture_in_hand_and_forgets_the_others(gate):
    pool = DecodePool(2, threads=2)
    pool.put(frame(0, 'in hand'))
    gate.wait_until_begun()
    pool.put(frame(0, 'waiting'))
    threading.Timer(0.02, gate.let_through).start()
    pool.close()

    assert threads() == []
    assert gate.begun == ['in hand']
    pool.put(frame(0, 'too late'))
    pool.close()
    assert pool.take() == []
    assert pool.dropped(0) == 0


def test_close_wakes_who_waits_with_nothing(pool):
    taken = []
    thread = threading.Thread(target=lambda: taken.append(pool.take()))
    thread.start()
    pool.close()
    thread.join(TIMEOUT_S)
    assert taken == [[]]


def test_no_damaged_picture_ends_a_thread():
    """2,000 JPEGs, each with some bytes changed, left out or put in, of four cameras at once."""
    rng = np.random.default_rng(4)
    pictures = [
        np.frombuffer(cv2.imencode('.jpg', rng.integers(0, 256, (h, w, 3)).astype(np.uint8),
                                   options)[1], np.uint8)
        for h, w, options in (
            (16, 16, []), (33, 17, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
            (48, 64, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]),
        )
    ]  # fmt: skip
    pool = DecodePool(4, threads=2)
    decoded = refused = 0
    for _ in range(500):
        for stream in range(4):
            pool.put(frame(stream, data=_mutated(pictures[rng.integers(3)], rng)))
        for taken in [take(pool) for _ in range(4)]:
            try:
                _, pixels = taken.open()
            except ImageError:
                refused += 1
            else:
                assert pixels.dtype == np.uint8
                assert pixels.shape[2:] == (3,)
                decoded += 1
    assert decoded + refused == 2000
    assert min(decoded, refused) > 200
    assert [pool.dropped(stream) for stream in range(4)] == [0] * 4
    assert len(threads()) == 2
    pool.close()


def _mutated(whole: np.ndarray, rng: np.random.Generator) -> bytes:
    data = bytearray(whole)
    for _ in range(rng.integers(1, 6)):
        at = int(rng.integers(len(data)))
        match rng.integers(4):
            case 0:
                data[at] = rng.integers(256)
            case 1:
                data[at] ^= 1 << int(rng.integers(8))
            case 2:
                del data[at : at + int(rng.integers(1, 20))]
            case _:
                data[at:at] = rng.bytes(int(rng.integers(1, 20)))
    return bytes(data)
