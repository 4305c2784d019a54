# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What needs PyTorch: targets decode to the truth, and the file says what the network says."""

from __future__ import annotations

from dataclasses import replace
import json
import time

import numpy as np
import onnxruntime
import pytest

from tools.lidar_network.dataset import Example
from tools.lidar_network.dataset import example
from tools.lidar_network.form import card
from tools.lidar_network.form import CLASSES
from tools.lidar_network.form import LEAST_POINTS
from tools.lidar_network.form import POINTS
from tools.lidar_network.form import points_input
from tools.lidar_network.onnx_file import build
from tools.lidar_simulator.sensor import SENSORS
from tools.lidar_simulator.sweep import simulate
from trt_engine.backends.onnxruntime import OnnxRuntimeBackend
from trt_engine.card import load_card
from trt_engine.lidar.model import network_file
from trt_engine.lidar.pillar_file import split
from trt_engine.lidar.pillars import BirdsEye
from trt_engine.lidar.pillars import PillarCounts
from trt_engine.lidar.pillars import Pillarizer
from trt_engine.lidar.pillars import PillarNet
from trt_engine.lidar.pillars import Pillars
from trt_inference.lidar.boxes3d import wrapped
from trt_inference.lidar.clouds import CloudOptions
from trt_inference.lidar.decoders3d import open_decoder3d
from trt_inference.lidar.loading import LoadedLidar
from trt_inference.lidar.nms3d import rotated_iou
from trt_inference.replay.cloud_files import BIN_FIELDS
from trt_inference.replay.cloud_files import Cloud
from trt_validation.lidar_accuracy import as_placed

pytestmark = pytest.mark.slow  # seconds altogether
torch = pytest.importorskip('torch', reason='PyTorch is not in this environment')


@pytest.fixture(scope='module')
def made():
    return [example(3), example(4)]


@pytest.fixture(scope='module')
def batch(made):
    from tools.lidar_network.batches import Batches

    return Batches(made, torch.device('cpu')).join([0, 1])


@pytest.fixture(scope='module')
def targets(batch):
    from tools.lidar_network.losses import Assigner

    return Assigner(torch.device('cpu'))(batch)


@pytest.fixture(scope='module')
def network():
    from tools.lidar_network.network import PointPillars

    torch.manual_seed(1)
    network = PointPillars().eval()
    for module in network.modules():
        if hasattr(module, 'running_var'):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.3)
    return network


def test_a_network_that_says_the_targets_sees_the_truth(made, targets):
    decode = open_decoder3d(card(), POINTS)
    columns, rows = (cells // 2 for cells in POINTS.grid)
    for place, one in enumerate(made):
        classes = targets.classes[place].numpy()
        answers = np.flatnonzero((classes >= 0) & (classes < len(CLASSES)))
        logits = np.full((len(classes), len(CLASSES)), -9, np.float32)
        logits[answers, classes[answers]] = 5
        outputs = {
            'cls_preds': logits,
            'box_preds': targets.boxes[place].numpy(),
            'dir_cls_preds': np.eye(2, dtype=np.float32)[targets.directions[place].numpy()],
        }
        outputs = {name: o.reshape(1, rows, columns, -1) for name, o in outputs.items()}
        boxes = decode(outputs, card().thresholds)
        counted = one.seen >= LEAST_POINTS
        truth, kinds = one.boxes[counted], one.classes[counted]
        assert len(boxes) == len(truth) > 5
        ious = rotated_iou(boxes.footprints()[:, None], truth[:, [0, 1, 3, 4, 6]].astype(float))
        mine = ious.argmax(axis=1)
        assert ious.max(axis=1).min() > 0.9999
        assert sorted(mine) == list(range(len(truth)))
        assert np.abs(wrapped(boxes.yaws - truth[mine, 6].astype(float))).max() < 1e-4
        np.testing.assert_allclose(boxes.centers, truth[mine, :3], atol=1e-4)
        assert boxes.classes.tolist() == kinds[mine].tolist()


@pytest.mark.parametrize('axes', [(True, False), (False, True), (True, True)])
def test_a_mirrored_example_is_that_of_the_mirrored_cloud(axes):
    from tools.lidar_network.batches import Batches

    points = points_input(3.2)
    chance = np.random.default_rng(5)
    places = chance.integers(-16, 16, (200, 2)) * 0.2 + chance.uniform(0.02, 0.18, (200, 2))
    rest = chance.uniform((-2, 0), (2, 1), (200, 2))
    cloud = np.concatenate((places, rest), axis=1).astype(np.float32)
    signs = np.where(axes, -1, 1).astype(np.float32)
    boxes = np.array([[2, 1, 0, 4, 2, 1.5, 0.5]], np.float32)

    def joined(given, mirrored):
        pillars = Pillarizer(points)(np.ascontiguousarray(given))
        one = Example(
            np.ascontiguousarray(pillars.features), pillars.sizes, pillars.cells, boxes,
            np.zeros(1, np.int64), np.full(1, 9, np.int64),
        )  # fmt: skip
        return Batches([one], torch.device('cpu'), points).join([0], [mirrored])

    batch = joined(cloud, axes)
    expected = joined(cloud * np.append(signs, [1, 1]).astype(np.float32), (False, False))
    ends = expected.sizes.cumsum(0).tolist()
    table = {
        cell: expected.features[end - size : end]
        for cell, size, end in zip(
            expected.cells.tolist(), expected.sizes.tolist(), ends, strict=True
        )
    }
    assert set(batch.cells.tolist()) == set(table)
    end = 0
    for cell, size in zip(batch.cells.tolist(), batch.sizes.tolist(), strict=True):
        mine, end = batch.features[end : end + size], end + size
        torch.testing.assert_close(mine, table[cell], atol=2e-6, rtol=0)
    x, y, *_, yaw = batch.boxes[0, 0].tolist()
    assert (x, y) == pytest.approx((2 * signs[0], signs[1]))
    heading = (np.cos(0.5) * signs[0], np.sin(0.5) * signs[1])
    assert (np.cos(yaw), np.sin(yaw)) == pytest.approx(heading, abs=1e-6)


def test_it_learns_and_leaves_what_the_suite_runs(tmp_path, monkeypatch):
    from tools.lidar_network import train

    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(train, 'SAVE_EVERY_S', 0.0)
    words = ['--sweeps', '4', '--held-out', '2', '--epochs', '6', '--batch', '2', '--workers', '2',
             '--reach-m', '8', '--minutes', '2']  # fmt: skip
    train.main(['--out', str(tmp_path), *words])
    report = json.loads((tmp_path / 'training.json').read_text())
    assert (report['sweeps'], report['held_out_sweeps'], report['epochs']) == (4, 2, 6)
    assert sum(report['losses'][-1]) < 0.8 * sum(report['losses'][0])
    assert report['onnx_bytes'] < 6e6

    learned = load_card(tmp_path / 'demo_lidar.yaml', onnx=tmp_path / 'demo_lidar.onnx')
    assert load_card(tmp_path / 'demo_lidar.yaml').model.sha256 is not None
    assert learned.training.ap_by_range == report['ap_by_range']
    backend = OnnxRuntimeBackend(network_file(learned))
    loaded = LoadedLidar(learned, backend, CloudOptions())
    loaded.detector.thresholds = replace(learned.thresholds, score=0.0)
    assert len(loaded.detector(as_placed(Cloud(BIN_FIELDS, simulate(1, SENSORS[64]).points)))) > 0
    loaded.close()

    again = tmp_path / 'again'
    weights = ['--weights', str(tmp_path / 'weights.pt')]
    train.main(['--out', str(again), *words, '--epochs', '1', *weights])
    report_again = json.loads((again / 'training.json').read_text())
    assert sum(report_again['losses'][0]) < sum(report['losses'][0])


def test_a_run_ends_with_its_time(tmp_path):
    from tools.lidar_network import train

    began_s = time.perf_counter()
    words = ['--sweeps', '4', '--held-out', '2', '--epochs', '10000', '--batch', '2',
             '--workers', '2', '--reach-m', '8', '--minutes', '0.1']  # fmt: skip
    train.main(['--out', str(tmp_path), *words])
    assert time.perf_counter() - began_s < 25
    report = json.loads((tmp_path / 'training.json').read_text())
    assert 0 < report['epochs'] < 10000
    assert report['held_out_sweeps'] >= 1


def test_the_file_says_what_the_network_says(made, batch, network):
    with torch.no_grad():
        expected = {name: output[:1].numpy() for name, output in network(batch).items()}
    one = made[0]
    starts = np.cumsum(one.sizes) - one.sizes
    counts = PillarCounts(*[0] * 7)
    pillars = Pillars(one.features, starts, one.sizes, one.cells, counts)
    parts = split(build(network.weights(), POINTS), POINTS)
    features = PillarNet(parts.weight, parts.bias, POINTS.max_points)(pillars)
    grid = BirdsEye(POINTS, len(parts.bias))(features, pillars.cells)
    session = onnxruntime.InferenceSession(parts.rest.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, {parts.tensor: grid}), strict=True))
    assert set(found) == set(expected)
    for name, output in found.items():
        assert output.std() > 0.05
        np.testing.assert_allclose(output, expected[name], atol=1e-4)


def test_the_loss_is_least_for_the_targets(targets):
    from tools.lidar_network.losses import loss

    answers = (targets.classes >= 0) & (targets.classes < len(CLASSES))
    told = torch.nn.functional.one_hot(targets.classes.clamp(min=0), len(CLASSES) + 1)[..., :-1]
    right = {
        'cls_preds': (told * answers[..., None] * 20.0 - 10).flatten(1),
        'box_preds': targets.boxes.flatten(1),
        'dir_cls_preds': (torch.nn.functional.one_hot(targets.directions, 2) * 20.0).flatten(1),
    }
    assert sum(loss(right, targets)) < 1e-3
    for name, output in right.items():
        assert sum(loss(right | {name: -output}, targets)) > 0.1
