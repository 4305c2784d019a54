# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The lidar node over real DDS, with a network that has learned nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tools.lidar_network import form
from tools.lidar_network.untrained import write_untrained
from trt_inference.cdr import serialize_points

STAMP_NS = 1_700_000_000_000_000_042
FIELDS = ('x', 'y', 'z', 'intensity')


@pytest.fixture(scope='module')
def card(tmp_path_factory):
    """Return a card whose network finds things wherever there are points."""
    return write_untrained(tmp_path_factory.mktemp('lidar'))


@pytest.fixture
def lidar(listener, wait_until):
    """Return a function that sends clouds until boxes come, and gives the last of them."""
    from sensor_msgs.msg import PointCloud2
    from vision_msgs.msg import Detection3DArray

    publisher = listener.node.create_publisher(PointCloud2, '/points', 10)
    received = listener.listen(Detection3DArray, '/lidar_inference/detections')

    def ask(message):
        wait_until(lambda: publisher.get_subscription_count() > 0, 'the lidar node', 30)
        before = len(received)

        def arrived():
            publisher.publish(message)
            return len(received) > before

        wait_until(arrived, 'boxes', 20)
        return received[-1]

    return ask


def cloud(count=5000, fields=FIELDS, stamp_ns=STAMP_NS, intensity=1):
    chance = np.random.default_rng(4)
    most = (20, 20, 1, intensity)
    points = chance.uniform((-20, -20, -2, 0), most, (count, 4)).astype(np.float32)
    return serialize_points(stamp_ns, 'top_lidar', points[:, : len(fields)], fields)


def values_of(reports, name):
    found = [status for report in list(reports) for status in report.status if status.name == name]
    return found[-1] if found else None


def test_real_sweeps_from_files_come_out_as_boxes(
    start, listener, wait_until, card, data, tmp_path
):
    from diagnostic_msgs.msg import DiagnosticArray
    from vision_msgs.msg import Detection3DArray
    from visualization_msgs.msg import MarkerArray

    from trt_interfaces.msg import InferenceStats

    sweeps = tmp_path / 'sweeps'
    sweeps.mkdir()
    for path in (data / 'lidar').glob('*.bin'):
        (sweeps / path.name).symlink_to(path)
    found = listener.listen(Detection3DArray, '/lidar_inference/detections')
    markers = listener.listen(MarkerArray, '/lidar_inference/markers')
    stats = listener.listen(InferenceStats, '/lidar_inference/stats')
    reports = listener.listen(DiagnosticArray, '/diagnostics')
    start('lidar_inference', card=card, backend='onnxruntime')
    start('replay', source=sweeps, frame_rate=5.0, loop='true', wait_for_subscribers_s=60.0)
    wait_until(lambda: len(found) > 4 and len(markers) > 4 and stats, 'boxes of real sweeps', 60)

    assert {each.header.frame_id for each in found} == {'lidar'}
    stamps = [each.header.stamp.sec + each.header.stamp.nanosec / 1e9 for each in found]
    assert stamps == sorted(set(stamps))
    boxes = [box for each in found for box in each.detections]
    assert boxes
    for box in boxes:
        assert box.results[0].hypothesis.class_id in form.CLASSES
        assert 0.35 <= box.results[0].hypothesis.score <= 1
        assert min(box.bbox.size.x, box.bbox.size.y, box.bbox.size.z) > 0
        turn = box.bbox.center.orientation
        assert (turn.x, turn.y) == (0, 0)
        assert math.hypot(turn.z, turn.w) == pytest.approx(1)
        assert box.results[0].pose.pose == box.bbox.center
    shown = markers[-1].markers
    assert (shown[0].action, len(shown) % 3) == (shown[0].DELETEALL, 1)
    assert {each.ns for each in shown[1:]} <= {'boxes', 'headings', 'labels'}
    assert (stats[-1].backend, stats[-1].errors) == ('onnxruntime', 0)
    assert stats[-1].preprocess_ms > 0
    wait_until(lambda: values_of(reports, 'lidar_inference: points'), 'diagnostics', 10)
    values = {each.key: each.value for each in values_of(reports, 'lidar_inference: points').values}
    assert int(values['points of the last cloud']) > 100_000
    assert int(values['seen by the network']) > 50_000


def test_the_header_is_the_clouds_and_thresholds_change_while_it_runs(start, listener, lidar, card):
    start('lidar_inference', card=card, backend='onnxruntime')
    message = lidar(cloud())
    assert message.header.frame_id == 'top_lidar'
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (1_700_000_000, 42)
    assert message.detections
    again = lidar(cloud())
    assert again == message

    assert listener.set_parameter('/lidar_inference', 'score_threshold', 1.0).successful
    lidar(cloud())
    assert lidar(cloud()).detections == []
    outcome = listener.set_parameter('/lidar_inference', 'sweeps', 3)
    assert not outcome.successful
    assert 'sweeps takes effect when the node is configured' in outcome.reason


def test_intensities_that_the_network_was_not_trained_with_are_in_the_diagnostics(
    start, listener, lidar, wait_until, card
):
    from diagnostic_msgs.msg import DiagnosticArray

    reports = listener.listen(DiagnosticArray, '/diagnostics')
    start('lidar_inference', card=card, backend='onnxruntime')

    def told():
        lidar(cloud(intensity=255))
        status = values_of(reports, 'lidar_inference: points')
        return status and 'the network was trained with up to 1: it sees what' in status.message

    wait_until(told, 'a warning', 20)


def test_bad_clouds_are_reported_and_the_life_cycle_goes_round(
    start, listener, lidar, wait_until, card
):
    from diagnostic_msgs.msg import DiagnosticArray

    reports = listener.listen(DiagnosticArray, '/diagnostics')
    log = start('lidar_inference', card=card, backend='onnxruntime', sweeps=2)
    first = lidar(cloud())
    assert first.detections

    from sensor_msgs.msg import PointCloud2

    publisher = listener.node.create_publisher(PointCloud2, '/points', 10)

    def told() -> bool:
        publisher.publish(cloud(fields=FIELDS[:3]))  # the first may come before we are known
        return "the cloud has no field 'intensity'" in log.read_text()

    wait_until(told, 'an error', 10)
    assert lidar(cloud()).detections

    assert listener.change_state('/lidar_inference', 'deactivate')
    assert listener.change_state('/lidar_inference', 'cleanup')
    assert listener.state('/lidar_inference') == 'unconfigured'
    assert listener.change_state('/lidar_inference', 'configure')
    assert listener.change_state('/lidar_inference', 'activate')
    # nothing of earlier sweeps is left
    assert lidar(cloud(stamp_ns=STAMP_NS)).detections == first.detections
    wait_until(lambda: values_of(reports, 'lidar_inference: lidar'), 'diagnostics of the lidar', 10)


def test_an_image_card_is_refused_with_the_reason(start, wait_until):
    log = start('lidar_inference', card='demo', backend='onnxruntime')
    wait_until(lambda: 'configure failed' in log.read_text(), 'a refusal', 30)
    assert 'input.kind is image, a network for pictures; wanted points here' in log.read_text()
