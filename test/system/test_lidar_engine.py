# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The lidar node with TensorRT, for which stand-ins compute: clouds come over DDS."""

from __future__ import annotations

from dataclasses import replace
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tools.lidar_network import form
from tools.lidar_network.untrained import write_untrained
from trt_builder.settings import Resolved
from trt_builder.tensorrt_build import build
from trt_engine.backends import open_backend
from trt_engine.card import load_card
from trt_engine.card import Thresholds
from trt_engine.lidar.model import network_file
from trt_engine.lidar.model import pillar_weights
from trt_engine.manifest import Ingredients
from trt_engine.manifest import Manifest
from trt_engine.platform import read_platform
from trt_engine.store import Store
from trt_inference.cdr import serialize_points
from trt_inference.lidar.pipeline import LidarDetector
from trt_inference.lidar.pipeline import PlacedCloud
from trt_inference.lidar.point_view import view_points

pytestmark = pytest.mark.slow

AGAIN_S = 30.0  # sooner, and the node sees the same cloud again, slowly: no GPU is here

NODE = """
import os
import sys
import trt_engine.backends
trt_engine.backends.has_gpu = lambda: True
if 'FREE_MIB' in os.environ:
    from trt_engine.memory.budget import Room
    from trt_inference.lidar import budget
    budget.room_here = lambda: Room('this test', int(os.environ['FREE_MIB']), None, 'it')
from trt_inference.entry import lidar_inference
sys.exit(lidar_inference())
"""


@pytest.fixture
def card(fake_gpu, tmp_path, monkeypatch):
    """Return a card whose engine is in the store."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    fake_gpu('10.3.0')
    spec = replace(form.POINTS, range_m=(-16.0, -12.8, -3.0, 16.0, 12.8, 3.0), max_voxels=6000)
    thresholds = Thresholds(score=0.6, nms_iou=0.1)
    path = write_untrained(tmp_path, name='road', points=spec, bias=0, thresholds=thresholds)
    card = load_card(path)
    model = network_file(card)
    output = build(
        Resolved('tensorrt', (10, 3, 0), 'fp32', strongly_typed=False), model,
        report=lambda *_: None, log=lambda *_: None,
    )  # fmt: skip
    ingredients = Ingredients.collect(card, model, flavour='tensorrt', facts=read_platform())
    store = Store(tmp_path / 'engines')
    store.put(Manifest(ingredients, '2026-01-31T12:00:00Z', 1.0), output.plan)
    return card


@pytest.fixture
def start(tmp_path, card):
    """Return a function that starts a lidar node that believes in its GPU; gives its log."""
    (tmp_path / 'node.py').write_text(NODE)
    running = []

    def run(**parameters):
        given = {
            'card': card.path, 'backend': 'tensorrt', 'engine_store': tmp_path / 'engines',
            **parameters,
        }  # fmt: skip
        words = [word for name, value in given.items() for word in ('-p', f'{name}:={value}')]
        log = tmp_path / 'node.log'
        with log.open('w') as output:
            command = [sys.executable, str(tmp_path / 'node.py'), '--ros-args', *words]
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        running.append((process, log))
        return log

    yield run
    for process, log in running:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0, log.read_text(errors='replace')


def wanted_of(card, messages):
    """Return what ONNX Runtime and the CPU see: centre and score of each box of each cloud."""
    golden = open_backend('onnxruntime', network_file(card))
    detector = LidarDetector(card, golden, pillar_weights(card))
    found = [detector(PlacedCloud(view_points(message))) for message in messages]
    golden.close()
    return [np.column_stack((each.centers, each.scores)) for each in found]


def rows_of(message):
    return np.array([
        (
            each.bbox.center.position.x, each.bbox.center.position.y, each.bbox.center.position.z,
            each.results[0].hypothesis.score,
        )
        for each in message.detections
    ])  # fmt: skip


@pytest.mark.parametrize(
    ('memory', 'pipeline'), [('copied', 'gpu'), ('mapped', 'gpu, ')], ids=['copied', 'mapped']
)
def test_clouds_over_dds_become_the_boxes_of_the_cpu_path(
    start, card, listener, wait_until, data, memory, pipeline
):
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import PointCloud2
    from vision_msgs.msg import Detection3DArray

    messages = [
        serialize_points(
            second * 1_000_000_000, 'lidar', np.fromfile(path, np.float32).reshape(-1, 4)[::4],
            ('x', 'y', 'z', 'intensity'),
        )
        for second, path in enumerate(sorted((data / 'lidar').glob('*.bin')), 1)
    ]  # fmt: skip
    wanted = dict(enumerate(wanted_of(card, messages), 1))
    assert min(map(len, wanted.values())) > 0

    found = listener.listen(Detection3DArray, '/lidar_inference/detections')
    reports = listener.listen(DiagnosticArray, '/diagnostics')
    lidar = listener.node.create_publisher(PointCloud2, '/points', 10)
    log = start(pipeline='gpu', frame_memory=memory)

    sent = {}

    def every_cloud_came():
        # one at a time, as of several the newest wins
        came = {each.header.stamp.sec for each in list(found)}
        missing = sorted(set(wanted) - came)
        heard = lidar.get_subscription_count() > 0
        if missing and heard and time.monotonic() > sent.get(missing[0], -AGAIN_S) + AGAIN_S:
            lidar.publish(messages[missing[0] - 1])
            sent[missing[0]] = time.monotonic()
        return not missing

    wait_until(every_cloud_came, 'boxes of every cloud', 300)
    for each in list(found):
        np.testing.assert_allclose(
            rows_of(each), wanted[each.header.stamp.sec], rtol=1e-3, atol=1e-3
        )  # fmt: skip
    assert 'pipeline gpu' in log.read_text()

    def values(name):
        statuses = [status for report in list(reports) for status in report.status]
        return {
            value.key: value.value
            for status in statuses if status.name == f'lidar_inference: {name}'
            for value in status.values
        }  # fmt: skip

    wait_until(lambda: 'pillars' in values('points'), 'diagnostics', 10)
    assert values('backend')['pipeline'].startswith(pipeline)
    assert int(values('points')['points of the last cloud']) > 25_000
    assert int(values('points')['seen by the network']) > 5_000

    text = log.read_text()
    assert 'memory:' in text
    assert 'room for 32768 points, 32 bytes each, not seen yet' in text
    told = values('memory')
    assert 'held' in told['road: weights on device (MiB)']
    assert 'exact' in told['road: clouds on host (MiB)']


def test_an_engine_that_does_not_fit_is_not_loaded(start, monkeypatch, wait_until):
    monkeypatch.setenv('FREE_MIB', '100')
    log = start()
    wait_until(lambda: 'configure failed' in log.read_text(), 'the refusal', 30)
    assert '100 MiB are free' in log.read_text()
    assert 'MiB too few; the largest parts: ' in log.read_text()


def test_an_engine_that_streams_no_weights_says_so(start, wait_until):
    log = start(weight_streaming_mib=64)
    wait_until(lambda: 'configure failed' in log.read_text(), 'the refusal', 30)
    assert 'weight_streaming_mib is 64, and the engine has no weights' in log.read_text()
