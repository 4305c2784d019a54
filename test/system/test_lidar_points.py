# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The lidar node with a network that takes points themselves: clouds come over DDS."""

from __future__ import annotations

import numpy as np
import pytest

from tools.lidar_network.generic import point_weights
from tools.lidar_network.generic import write_points
from trt_engine.backends import open_backend
from trt_engine.card import load_card
from trt_inference.cdr import serialize_points
from trt_inference.lidar.pipeline import LidarDetector
from trt_inference.lidar.pipeline import PlacedCloud
from trt_inference.lidar.point_view import view_points

pytestmark = pytest.mark.slow

MOST = 2000
CARD = """
card: 1
name: points
summary: Nothing learned
model: {source: points.onnx, licence: Apache-2.0}
input:
  kind: points
  tensor: points
  mask_tensor: mask
  range_m: [-20, -20, -3, 20, 20, 3]
  max_points: 2000
  features: points
head: {type: boxes, outputs: {boxes: boxes, scores: scores}}
classes: [car, truck]
thresholds: {score: 0.6, nms_iou: 0.1, max_detections: 50}
"""


@pytest.fixture
def card(tmp_path):
    write_points(point_weights(), tmp_path / 'points.onnx', rows=MOST)
    (tmp_path / 'points.yaml').write_text(CARD)
    return load_card(tmp_path / 'points.yaml')


def cloud(second, count):
    chance = np.random.default_rng(second)
    points = chance.uniform((-15, -15, -2, 0), (15, 15, 2, 1), (count, 4)).astype(np.float32)
    points[:3, 0] = np.nan, np.inf, 30
    return serialize_points(second * 1_000_000_000, 'lidar', points, ('x', 'y', 'z', 'intensity'))


def rows_of(message):
    return [
        (
            each.bbox.center.position.x, each.bbox.center.position.y, each.bbox.size.x,
            each.results[0].hypothesis.score,
        )
        for each in message.detections
    ]  # fmt: skip


def test_points_become_boxes_and_too_many_of_them_a_warning(start, listener, wait_until, card):
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import PointCloud2
    from vision_msgs.msg import Detection3DArray

    backend = open_backend('onnxruntime', card.path.with_name('points.onnx'))
    detector = LidarDetector(card, backend, None)
    sizes = {1: 500, 2: 3, 3: 3 * MOST + 3}
    messages = {second: cloud(second, count) for second, count in sizes.items()}
    wanted = {
        second: detector(PlacedCloud(view_points(message))) for second, message in messages.items()
    }
    backend.close()
    assert [len(each) > 0 for each in wanted.values()] == [True, False, True]

    found = listener.listen(Detection3DArray, '/lidar_inference/detections')
    reports = listener.listen(DiagnosticArray, '/diagnostics')
    publisher = listener.node.create_publisher(PointCloud2, '/points', 10)
    log = start('lidar_inference', card=card.path, backend='onnxruntime')

    def every_cloud_came():
        # one at a time, as of several the newest wins
        missing = sorted(set(wanted) - {each.header.stamp.sec for each in list(found)})
        if missing:
            publisher.publish(messages[missing[0]])
        return not missing

    wait_until(every_cloud_came, 'boxes of every cloud', 60)
    for message in list(found):
        boxes = wanted[message.header.stamp.sec]
        rows = np.column_stack((boxes.centers[:, :2], boxes.sizes[:, 0], boxes.scores))
        np.testing.assert_allclose(np.reshape(rows_of(message), (-1, 4)), rows, atol=1e-4)

    warnings = []

    def told():
        publisher.publish(messages[3])
        statuses = [status for report in list(reports) for status in report.status]
        points = [each for each in statuses if each.name == 'lidar_inference: points']
        # that a later cloud overflowed is said too, but then without its numbers
        warnings[:] = [each for each in points if 'beyond max_points' in each.message]
        return warnings

    wait_until(told, 'a warning', 20)
    status = warnings[0]
    assert status.message.endswith('4000 of 6001 points are beyond max_points')
    values = {each.key: each.value for each in status.values}
    assert (values['beyond max_points'], values['seen by the network']) == ('4000', str(MOST))
    assert (values['no measurement'], values['outside of the range']) == ('2', '1')
    assert 'Traceback' not in log.read_text()
