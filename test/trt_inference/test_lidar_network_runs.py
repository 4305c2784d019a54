# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A whole PointPillars file, though untrained, on real and simulated clouds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tools.lidar_network import form
from tools.lidar_network.onnx_file import write
from tools.lidar_network.untrained import untrained
from tools.lidar_simulator.sensor import SENSORS
from tools.lidar_simulator.sweep import simulate
from trt_engine.backends.onnxruntime import OnnxRuntimeBackend
from trt_engine.card import ModelSource
from trt_engine.lidar.model import network_file
from trt_engine.lidar.model import pillar_weights
from trt_inference.lidar.pipeline import LidarDetector
from trt_inference.lidar.pipeline import PlacedCloud
from trt_inference.lidar.point_view import PointView

pytestmark = pytest.mark.slow

HEADS = {'cls_preds': 8 * len(form.CLASSES), 'box_preds': 8 * 7, 'dir_cls_preds': 8 * 2}


@pytest.fixture(scope='module')
def card(tmp_path_factory):
    folder = tmp_path_factory.mktemp('lidar')
    path = folder / 'demo_lidar.onnx'
    learned = untrained(np.random.default_rng(1), HEADS)
    bias = learned.heads['cls_preds'][1]
    bias -= 6  # nearly nothing is a thing
    write(learned, form.POINTS, path)
    return replace(form.card(), model=ModelSource(str(path), 'Apache-2.0'))


@pytest.fixture
def detector(card, monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    backend = OnnxRuntimeBackend(network_file(card))
    yield LidarDetector(card, backend, pillar_weights(card))
    backend.close()


def cloud(points):
    columns = dict(zip(('x', 'y', 'z', 'intensity'), points.T[:, None], strict=True))
    view = PointView(1, 0, 'lidar', len(points), 1, 16, 16 * len(points), columns, True)
    return PlacedCloud(view)


def as_bytes(boxes):
    return [
        getattr(boxes, name).tobytes() for name in ('centers', 'sizes', 'yaws', 'scores', 'classes')
    ]


def test_equal_clouds_give_equal_bits(detector):
    points = simulate(5, SENSORS[128]).points
    first = detector(cloud(points))
    assert 0 < len(first) <= form.card().thresholds.max_detections
    detector(cloud(points[::7].copy()))
    assert as_bytes(detector(cloud(points))) == as_bytes(first)


def test_real_sweeps_pass_without_error(detector, data):
    for path in sorted((data / 'lidar').glob('*.bin')):
        points = np.fromfile(path, np.float32).reshape(-1, 4)
        boxes = detector(cloud(points))
        counts = detector.counts
        assert counts.points + detector.dropped == len(points) > 100_000
        assert counts.kept > 50_000
        for values in (boxes.centers, boxes.sizes, boxes.yaws, boxes.scores):
            assert np.isfinite(values).all()
        assert (boxes.sizes > 0).all()
