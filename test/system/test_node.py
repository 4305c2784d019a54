# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The running inference node: life cycle, parameters, bad messages, cameras, diagnostics."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import yaml

from trt_inference.cdr import serialize_compressed_image
from trt_inference.cdr import serialize_image

SECOND_NS = 1_000_000_000
STAMP_NS = 1_700_000_000 * SECOND_NS + 42


@pytest.fixture(scope='module')
def scene(repository) -> np.ndarray:
    """Return a picture in which the demo network sees something."""
    return cv2.imread(str(repository / 'docs' / 'scene.jpg'))


@pytest.fixture
def camera(listener, wait_until):
    """Return a function that sends an image once somebody listens to its topic."""
    from sensor_msgs.msg import CompressedImage
    from sensor_msgs.msg import Image

    publishers = {}

    def send(message: bytes, topic: str = '/image') -> None:
        if topic not in publishers:
            kind = CompressedImage if topic.endswith('/compressed') else Image
            publishers[topic] = listener.node.create_publisher(kind, topic, 10)
        publisher = publishers[topic]
        wait_until(lambda: publisher.get_subscription_count() > 0, f'a subscriber of {topic}', 20)
        publisher.publish(message)

    return send


@pytest.fixture
def answer(listener, camera, wait_until):
    """Return a function that sends images until detections come, and gives the last of them."""
    from vision_msgs.msg import Detection2DArray

    received = {}

    def ask(message: bytes, image_topic: str = '/image', node: str = '/inference'):
        topic = f'{node}/detections'
        if topic not in received:
            received[topic] = listener.listen(Detection2DArray, topic)
        before = len(received[topic])

        def arrived() -> bool:
            camera(message, image_topic)
            return len(received[topic]) > before

        wait_until(arrived, f'detections on {topic}', 20)
        return received[topic][-1]

    return ask


def params_file(tmp_path, **parameters):
    path = tmp_path / 'params.yaml'
    path.write_text(yaml.safe_dump({'/**': {'ros__parameters': parameters}}))
    return path


def test_detections_carry_the_header_of_the_image_and_class_names(launch, answer, scene):
    launch('perception')

    message = answer(serialize_image(STAMP_NS, 'front_optical', scene))

    assert message.header.frame_id == 'front_optical'
    assert message.header.stamp.sec == STAMP_NS // SECOND_NS
    assert message.header.stamp.nanosec == 42
    assert len(message.detections) >= 1
    for each in message.detections:
        assert each.header == message.header
        assert each.results[0].hypothesis.class_id.isidentifier()
        assert 0 < each.bbox.size_x <= scene.shape[1]


def test_an_image_in_which_nothing_is_found_is_answered_with_an_empty_array(
    launch, answer, scene, tmp_path
):
    launch('perception', params_file=params_file(tmp_path, score_threshold=1.0))

    message = answer(serialize_image(STAMP_NS, 'camera', scene))

    assert message.header.stamp.nanosec == 42
    assert message.detections == []


def test_thresholds_and_classes_change_while_it_runs(launch, listener, answer, scene):
    launch('perception')
    image = serialize_image(STAMP_NS, 'camera', scene)
    names = {each.results[0].hypothesis.class_id for each in answer(image).detections}
    chosen = sorted(names)[0]

    assert listener.set_parameter('/inference', 'classes', [chosen]).successful
    answer(image)
    only = {each.results[0].hypothesis.class_id for each in answer(image).detections}
    assert only == {chosen}

    assert listener.set_parameter('/inference', 'score_threshold', 1.0).successful
    answer(image)
    assert answer(image).detections == []


@pytest.mark.parametrize(
    ('name', 'value', 'reason'),
    [
        ('score_threshold', 1.5, 'range'),
        ('score_threshold', -0.5, "score_threshold is -0.5; wanted 0 to 1, or -1 for the card's"),
        ('nms', 'sometimes', "nms is 'sometimes'; wanted one of card, class_wise, class_agnostic"),
        ('classes', ['unicorn'], "classes has 'unicorn', which the model card does not know"),
        ('card', 'yolox_s', 'deactivate and clean up first'),
    ],
)
def test_a_bad_value_is_refused_with_the_reason(launch, listener, name, value, reason):
    running = launch('perception')
    running.wait_for('active: looking at')

    outcome = listener.set_parameter('/inference', name, value)

    assert not outcome.successful
    assert reason in outcome.reason


def test_life_cycle_frees_and_comes_back(launch, listener, answer, wait_until, scene):
    running = launch('perception', autostart='false')
    running.wait_for('process started')
    assert listener.state('/inference') == 'unconfigured'

    assert listener.change_state('/inference', 'configure')
    assert listener.state('/inference') == 'inactive'
    assert not listener.node.get_subscriptions_info_by_topic('/image')

    assert listener.change_state('/inference', 'activate')
    assert answer(serialize_image(STAMP_NS, 'camera', scene)).detections

    assert listener.change_state('/inference', 'deactivate')
    wait_until(
        lambda: not listener.node.get_subscriptions_info_by_topic('/image'),
        'the subscription to go', 5,
    )  # fmt: skip
    assert listener.change_state('/inference', 'cleanup')
    assert listener.state('/inference') == 'unconfigured'
    assert listener.change_state('/inference', 'configure')
    assert listener.change_state('/inference', 'activate')
    assert answer(serialize_image(STAMP_NS, 'camera', scene)).detections


def test_a_failed_configure_says_why_and_can_be_mended(launch, listener, wait_until):
    running = launch('perception', card='yolox_nanno')
    running.wait_for('configure failed')
    assert 'yolox_nano' in running.output, 'the nearest card is suggested'
    assert listener.state('/inference') == 'unconfigured'

    assert listener.set_parameter('/inference', 'card', 'demo').successful
    assert listener.change_state('/inference', 'configure')
    assert listener.change_state('/inference', 'activate')
    assert listener.state('/inference') == 'active'


def test_require_tensorrt_fails_configure_with_what_to_install(launch, listener, tmp_path):
    running = launch('perception', params_file=params_file(tmp_path, require_tensorrt=True))
    running.wait_for('configure failed')

    assert 'TensorRT cannot run here' in running.output
    assert listener.state('/inference') == 'unconfigured'


def test_bad_messages_give_one_error_and_the_node_lives_on(launch, camera, answer, scene):
    running = launch('perception')
    good = serialize_image(STAMP_NS, 'camera', scene)
    answer(good)
    lying = bytearray(serialize_image(STAMP_NS, 'camera', np.zeros((20, 30, 3), np.uint8)))
    height = lying.index((20).to_bytes(4, 'little'), 12)
    lying[height : height + 4] = (21).to_bytes(4, 'little')

    for _ in range(20):
        camera(bytes(lying))
    running.wait_for('step 90 * height 21 = 1890 bytes, got 1800')

    assert '/image: ' in running.output
    assert running.output.count('got 1800') == 1, 'errors are rate-limited'
    assert answer(good).detections


def test_several_cameras_have_topics_of_their_own(launch, answer, scene, tmp_path):
    launch('perception', params_file=params_file(tmp_path, cameras=['front', 'rear']))

    for name in ('front', 'rear'):
        message = answer(
            serialize_image(STAMP_NS, name, scene), f'/{name}/image', f'/inference/{name}'
        )
        assert message.header.frame_id == name
        assert message.detections


def test_compressed_images_are_taken_where_the_parameter_says_so(launch, answer, scene):
    launch('perception', transport='compressed', image_topic='/cam/image_raw')
    _, jpeg = cv2.imencode('.jpg', scene)
    image = serialize_compressed_image(STAMP_NS, 'camera', 'bgr8; jpeg compressed bgr8',
                                       jpeg.tobytes())  # fmt: skip

    assert answer(image, '/cam/image_raw/compressed').detections


def test_frames_older_than_max_age_are_dropped(launch, listener, camera, wait_until, scene,
                                               tmp_path):  # fmt: skip
    from diagnostic_msgs.msg import DiagnosticArray
    from vision_msgs.msg import Detection2DArray

    launch('perception', params_file=params_file(tmp_path, max_age_ms=500.0))
    reports = listener.listen(DiagnosticArray, '/diagnostics')
    detections = listener.listen(Detection2DArray, '/inference/detections')

    def dropped() -> int:
        camera(serialize_image(STAMP_NS, 'camera', scene))  # of 2023
        return max((int(values['dropped']) for values in camera_values(reports)), default=0)

    wait_until(dropped, 'a dropped frame in diagnostics', 20)
    assert detections == []


def camera_values(reports) -> list[dict[str, str]]:
    return [
        {pair.key: pair.value for pair in status.values}
        for report in list(reports)
        for status in report.status
        if status.name == 'inference: camera' and status.values
    ]


def test_overlay_stats_labels_and_diagnostics(launch, listener, answer, wait_until, scene):
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.qos import QoSDurabilityPolicy
    from sensor_msgs.msg import Image
    from vision_msgs.msg import LabelInfo

    from trt_interfaces.msg import InferenceStats

    launch('perception')
    image = serialize_image(STAMP_NS, 'camera', scene)
    reports = listener.listen(DiagnosticArray, '/diagnostics')
    stats = listener.listen(InferenceStats, '/inference/stats')
    overlays = listener.listen(Image, '/inference/overlay', depth=1)
    labels = listener.listen(
        LabelInfo, '/inference/label_info', depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL
    )

    found = answer(image)
    wait_until(
        lambda: answer(image) and overlays and stats and labels, 'overlay, stats, labels', 20
    )

    assert overlays[-1].header == found.header
    drawn = np.frombuffer(overlays[-1].data, np.uint8).reshape(scene.shape)
    assert (drawn != scene).any()
    assert stats[-1].header == found.header
    assert stats[-1].backend == 'onnxruntime'
    assert stats[-1].detections == len(found.detections)
    assert stats[-1].inference_ms > 0
    assert stats[-1].total_ms >= stats[-1].inference_ms
    assert stats[-1].age_ms > 1e9, 'the stamp is of 2023'
    names = [each.class_name for each in labels[-1].class_map]
    assert {each.results[0].hypothesis.class_id for each in found.detections} <= set(names)
    wait_until(lambda: camera_values(reports), 'diagnostics of the camera', 10)
    backend = next(
        status for report in reversed(reports) for status in report.status
        if status.name == 'inference: backend' and status.values
    )  # fmt: skip
    assert backend.level == b'\x01', 'a fall-back to the CPU is a warning'
    assert 'ONNX Runtime' in backend.message


def test_diagnostics_come_also_while_the_clock_of_a_simulation_stands_still(
    launch, listener, answer, wait_until, scene
):
    from diagnostic_msgs.msg import DiagnosticArray

    reports = listener.listen(DiagnosticArray, '/diagnostics')
    running = launch('perception', use_sim_time='true')
    assert answer(serialize_image(STAMP_NS, 'camera', scene)).detections
    before = len(reports)
    wait_until(lambda: len(reports) > before + 1, 'diagnostics', 10, running)
