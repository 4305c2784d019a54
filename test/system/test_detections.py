# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded images through replay, the launch file and a real network, over real DDS."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from trt_engine.backends import open_backend
from trt_engine.card import load_card
from trt_inference.camera.detections import Detections
from trt_inference.camera.image_view import view_compressed_image
from trt_inference.camera.image_view import view_image
from trt_inference.camera.pipeline import Detector

DETECTIONS = '/inference/detections'
# yolox_nano_416.onnx on dog.jpg, ONNX Runtime on the CPU: ../shared/data/README.md names the scores
DOG = {'dog': 0.86, 'bicycle': 0.80, 'car': 0.80}


@pytest.fixture(scope='module')
def golden(data: Path) -> Detector:
    """Return the same network outside ROS."""
    model = data / 'models' / 'yolox_nano_416.onnx'
    return Detector(load_card('yolox_nano', onnx=model), open_backend('onnxruntime', model))


def arguments(data: Path, **more: object) -> dict[str, object]:
    return {
        'card': 'yolox_nano',
        'onnx': data / 'models' / 'yolox_nano_416.onnx',
        'watch': 'false',
        **more,
    }


def boxes_of(message) -> dict[str, list[tuple[np.ndarray, float]]]:
    found: dict[str, list[tuple[np.ndarray, float]]] = {}
    for each in message.detections:
        box, hypothesis = each.bbox, each.results[0].hypothesis
        x, y = box.center.position.x, box.center.position.y
        corners = np.array([x - box.size_x / 2, y - box.size_y / 2,
                            x + box.size_x / 2, y + box.size_y / 2])  # fmt: skip
        found.setdefault(hypothesis.class_id, []).append((corners, hypothesis.score))
    return found


def iou(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    inner = np.prod(np.clip(high - low, 0, None))
    return float(inner / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inner))


def assert_same(message, expected: Detections, classes: tuple[str, ...]) -> None:
    found = boxes_of(message)
    assert sum(map(len, found.values())) == len(expected)
    for box, score, index in zip(expected.boxes, expected.scores, expected.classes, strict=True):
        candidates = found[classes[index]]
        overlaps = [iou(corners, box) for corners, _ in candidates]
        best = int(np.argmax(overlaps))
        assert overlaps[best] >= 0.9
        assert candidates[best][1] == pytest.approx(float(score), abs=0.02)


@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_dog_bicycle_and_car_are_found_in_a_real_picture(
    data, launch, listener, wait_until, golden, transport
):
    from vision_msgs.msg import Detection2DArray

    picture = data / 'images' / 'dog.jpg'
    received = listener.listen(Detection2DArray, DETECTIONS)
    running = launch('demo', **arguments(data, source=picture, transport=transport, loop='true'))
    wait_until(lambda: len(received) >= 3, 'three messages of detections', 30, running)

    image = cv2.imread(str(picture))
    expected = golden(image, 'bgr8')
    for message in received[:3]:
        assert_same(message, expected, golden.card.classes)
        found = boxes_of(message)
        for name, score in DOG.items():
            assert max(s for _, s in found[name]) == pytest.approx(score, abs=0.02)
        assert message.header.frame_id == 'camera'


@pytest.mark.parametrize(
    ('topic', 'transport', 'view'),
    [
        ('/camera/image_raw', 'raw', view_image),
        ('/camera/image_raw/compressed', 'compressed', view_compressed_image),
    ],
)
def test_every_frame_of_a_bag_is_answered_with_its_own_header(
    data, launch, listener, wait_until, golden, topic, transport, view
):
    from rosbags.highlevel import AnyReader
    from vision_msgs.msg import Detection2DArray

    bag = data / 'bags' / 'permissive_mix_db3'
    with AnyReader([bag]) as reader:
        connections = [each for each in reader.connections if each.topic == topic]
        recorded = [view(raw) for _, _, raw in reader.messages(connections=connections)]
    received = listener.listen(Detection2DArray, DETECTIONS)
    running = launch(
        'demo',
        **arguments(data, source=bag, image_topic='/camera/image_raw', transport=transport,
                    rate=0.15),
    )  # fmt: skip
    wait_until(lambda: len(received) >= len(recorded), f'{len(recorded)} messages', 40, running)

    assert len(received) == len(recorded)
    for message, image in zip(received, recorded, strict=True):
        assert message.header.stamp.sec == image.stamp_sec
        assert message.header.stamp.nanosec == image.stamp_nanosec
        assert message.header.frame_id == image.frame_id
        if transport == 'raw':
            expected = golden(image.pixels, image.encoding)
        else:
            expected = golden(image.decode(), 'bgr8')
        assert_same(message, expected, golden.card.classes)


def test_a_cut_message_of_a_bag_is_told_with_its_topic(start, wait_until, tmp_path):
    from rosbags.rosbag2 import Writer
    from rosbags.typesys import get_typestore
    from rosbags.typesys import Stores

    with Writer(tmp_path / 'bag', version=9) as writer:
        kind = 'sensor_msgs/msg/Image'
        image = writer.add_connection('/cam', kind, typestore=get_typestore(Stores.ROS2_JAZZY))
        writer.write(image, 1, b'\x00\x01\x00\x00\x05\x00')
    log = start('replay', source=tmp_path / 'bag', restamp='true', wait_for_subscribers_s=0.0)

    text = 'replay: /cam: a message of 6 bytes has no header; wanted at least 12; is the bag whole?'
    wait_until(lambda: text in log.read_text(), 'the reason', 20)
