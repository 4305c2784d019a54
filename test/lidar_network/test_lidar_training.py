# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What needs PyTorch: targets decode to the truth, and the file says what the network says."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from tools.lidar_network.dataset import example
from tools.lidar_network.form import card
from tools.lidar_network.form import CLASSES
from tools.lidar_network.form import LEAST_POINTS
from tools.lidar_network.form import POINTS
from tools.lidar_network.onnx_file import build
from trt_engine.pillar_file import split
from trt_engine.pillars import BirdsEye
from trt_engine.pillars import PillarCounts
from trt_engine.pillars import PillarNet
from trt_engine.pillars import Pillars
from trt_inference.boxes3d import wrapped
from trt_inference.decoders3d import open_decoder3d
from trt_inference.nms3d import rotated_iou

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
