# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A camera that does not fit is refused before its first image gets to the GPU, again and again."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from trt_engine.card import load_card
from trt_engine.errors import ImageError
from trt_engine.errors import MemoryBudgetError
from trt_engine.memory.budget import Budget
from trt_engine.memory.budget import Room
from trt_engine.memory.network import onnx_memory
from trt_engine.model_file import resolve_model
from trt_inference.camera import budget as camera_budget
from trt_inference.camera.budget import CameraBudget
from trt_inference.camera.image_view import view_compressed_image
from trt_inference.camera.image_view import view_image
from trt_inference.cdr import serialize_compressed_image
from trt_inference.cdr import serialize_image


@pytest.fixture
def make(monkeypatch):
    """Return a function that makes the budget of two cameras, with so much memory free."""
    card = load_card('demo')
    network = onnx_memory('demo', card, resolve_model(card))
    monkeypatch.setattr(camera_budget, 'loaded_memory', lambda name, backend: network)
    detector = SimpleNamespace(
        backend=None, mapped=True, thresholds=card.thresholds, in_flight=2, batch=1,
        takes_jpeg=False,
    )  # fmt: skip

    def made(free_mib: int = 4000) -> CameraBudget:
        room = Room('this test', free_mib, None, 'the test')
        monkeypatch.setattr(camera_budget, 'room_here', lambda: room)
        return CameraBudget(card, detector, ('front', 'rear'))

    return made


def image(width: int, height: int):
    return view_image(serialize_image(1, 'camera', np.zeros((height, width, 3), np.uint8)))


def sources(budget: Budget) -> set[str]:
    return {part.source for part in budget.parts if part.what == 'images'}


def test_cameras_are_assumed_until_they_send(make):
    memory = make()
    assert sources(memory.budget) == {'2 x 1920x1080:bgr8, not seen yet'}
    judged = []
    for _ in range(3):
        memory.look_at('rear', image(640, 480), judged.append)
    assert len(judged) == 1
    assert judged == [memory.budget]
    assert sources(memory.budget) == {
        '2 x 1920x1080:bgr8, not seen yet', '2 x 640x480:bgr8',
    }  # fmt: skip
    memory.look_at('rear', image(320, 240), judged.append)
    assert len(judged) == 2, 'it sends others now'


def test_a_camera_that_is_refused_is_refused_again(make, monkeypatch):
    memory = make()
    monkeypatch.setattr(camera_budget, 'room_here', lambda: Room('this test', 1, None, 'the test'))
    for _ in range(2):
        with pytest.raises(MemoryBudgetError, match='too few'):
            memory.look_at('front', image(640, 480), Budget.require)
    make(4000)
    memory.look_at('front', image(640, 480), Budget.require)


def test_images_that_grow_are_refused_where_they_no_longer_fit(make, monkeypatch):
    memory = make()
    for camera in ('front', 'rear'):
        memory.look_at(camera, image(640, 480), Budget.require)
    room = Room('this test', 200, None, 'the test')
    monkeypatch.setattr(camera_budget, 'room_here', lambda: room)
    with pytest.raises(MemoryBudgetError, match='front images 2'):
        memory.look_at('front', image(7680, 7680), Budget.require)


def test_of_files_the_first_alone_is_looked_into(make):
    memory = make()
    judged = []
    for side in (480, 960):
        picture = cv2.imencode('.jpg', np.zeros((side, 640, 3), np.uint8))[1]
        message = serialize_compressed_image(1, 'camera', 'jpeg', picture.tobytes())
        memory.look_at('front', view_compressed_image(message), judged.append)
    assert len(judged) == 1
    assert '2 x 640x480:bgr8' in sources(memory.budget)


def test_a_file_that_is_none_is_the_same_error_as_without_a_budget(make):
    message = serialize_compressed_image(1, 'camera', 'jpeg', b'nothing')
    with pytest.raises(ImageError):
        make().look_at('front', view_compressed_image(message), Budget.require)
