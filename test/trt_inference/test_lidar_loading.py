# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""CenterPoint in its two files: the network inside the pillars is ours, or a backend's."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper
from onnx import numpy_helper
import pytest

from trt_engine.backends import open_backend
from trt_engine.card import Card
from trt_engine.card import Head
from trt_engine.card import ModelSource
from trt_engine.card import Thresholds
from trt_engine.errors import InferenceError
from trt_engine.errors import ModelFileError
from trt_engine.lidar_card import PointsInput
from trt_engine.lidar_model import network_file
from trt_inference.clouds import CloudOptions
from trt_inference.lidar_loading import LoadedLidar
from trt_inference.lidar_pipeline import PlacedCloud
from trt_inference.point_view import PointView

pytestmark = pytest.mark.slow

POINTS = PointsInput(
    'pillars', (-8, -8, -2, 8, 8, 2), (1, 1, 4), 8, 200, 'pillar9', channels=('time_lag',)
)
ROLES = {'heatmap': 2, 'offset': 2, 'height': 1, 'size': 3, 'rotation': 2, 'velocity': 2}
CHANNELS = 6
FLOAT = onnx.TensorProto.FLOAT


def save(path, nodes, inputs, outputs, constants):
    graph = helper.make_graph(
        nodes,
        'part',
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value.astype(np.float32), n) for n, value in constants.items()],
    )
    opset = [helper.make_opsetid('', 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))


def card(folder, *, twice=False, encoder=True):
    """Write both files and return their card; `twice` makes the same encoder of two layers."""
    chance = np.random.default_rng(3)
    constants = {'weight': chance.normal(size=(9, CHANNELS)), 'same': np.eye(CHANNELS)}
    layers = [('MatMul', ['pillars', 'weight']), ('Relu', ['t0'])]
    if twice:
        layers += [('MatMul', ['t1', 'same']), ('Relu', ['t2'])]
    nodes = [
        helper.make_node(kind, names, [f't{place}']) for place, (kind, names) in enumerate(layers)
    ]
    last = nodes[-1].output[0]
    nodes.append(helper.make_node('ReduceMax', [last], ['features'], axes=[1], keepdims=1))
    shapes = {'pillars': [None, 8, 9]}, {'features': [None, 1, CHANNELS]}
    save(folder / 'encoder.onnx', nodes, *shapes, constants)

    kernels = {f'{role}_k': chance.normal(0, 0.3, (n, CHANNELS, 1, 1)) for role, n in ROLES.items()}
    save(
        folder / 'head.onnx',
        [helper.make_node('Conv', ['grid', f'{role}_k'], [role]) for role in ROLES],
        {'grid': [1, CHANNELS, 16, 16]},
        {role: [1, count, 16, 16] for role, count in ROLES.items()},
        kernels,
    )
    return Card(
        name='centerpoint',
        summary='A card for tests',
        model=ModelSource(str(folder / 'head.onnx'), 'Apache-2.0'),
        encoder=ModelSource(str(folder / 'encoder.onnx'), 'Apache-2.0') if encoder else None,
        input=POINTS,
        head=Head('centerpoint', {role: (role,) for role in ROLES}, {'stride': 1}),
        classes=('car', 'truck'),
        thresholds=Thresholds(0.6, 0.1),
    )


def load(given):
    return LoadedLidar(given, open_backend('onnxruntime', network_file(given)), CloudOptions())


def cloud():
    chance = np.random.default_rng(5)
    columns = {
        name: chance.uniform(-reach, reach, (1, 400)).astype(np.float32)
        for name, reach in (('x', 8), ('y', 8), ('z', 2))
    }
    return PlacedCloud(PointView(0, 0, 'lidar', 400, 1, 12, 4800, columns, True))


def test_both_ways_see_the_same(tmp_path):
    (tmp_path / 'once').mkdir()
    ours, theirs = load(card(tmp_path / 'once')), load(card(tmp_path, twice=True))
    assert (str(ours), ours.remark) == ('cpu', '')
    assert theirs.remark.startswith('the network inside the pillars runs in ONNX Runtime on the')
    assert str(theirs) == f'cpu: {theirs.remark}'
    found, same = ours.detector(cloud()), theirs.detector(cloud())
    assert 0 < len(found) == len(same)
    np.testing.assert_allclose(found.centers, same.centers, atol=1e-4)
    assert np.isfinite(found.velocities).all()
    ours.close()
    theirs.close()
    for each in (ours, theirs):
        with pytest.raises(InferenceError, match='run after close'):
            each.detector(cloud())


def test_the_first_cloud_is_not_counted(tmp_path):
    loaded = load(card(tmp_path))
    assert (loaded.detector.clouds, loaded.detector.counts) == (0, None)
    loaded.close()


def test_without_its_encoder_the_network_is_refused_and_closed(tmp_path):
    given = card(tmp_path, encoder=False)
    backend = open_backend('onnxruntime', network_file(given))
    with pytest.raises(ModelFileError, match=r'the network takes grid; input\.tensor'):
        LoadedLidar(given, backend, CloudOptions())
    with pytest.raises(InferenceError, match='run after close'):
        backend.run({})
