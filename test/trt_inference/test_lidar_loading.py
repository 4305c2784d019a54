# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""CenterPoint in its two files: the network inside the pillars is ours, or a backend's."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import onnx
from onnx import helper
from onnx import numpy_helper
import pytest

from trt_builder.settings import Resolved
from trt_builder.tensorrt_build import build
from trt_engine.backends import open_backend
from trt_engine.build_settings import ShapeRange
from trt_engine.card import Card
from trt_engine.card import Head
from trt_engine.card import ModelSource
from trt_engine.card import Thresholds
from trt_engine.cuda import nvrtc
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import ConfigError
from trt_engine.errors import DecodeError
from trt_engine.errors import InferenceError
from trt_engine.errors import ModelFileError
from trt_engine.lidar.model import network_file
from trt_engine.lidar_card import PointsInput
from trt_inference.detector.engines import open_encoder
from trt_inference.lidar.clouds import CloudOptions
from trt_inference.lidar.config import LidarConfig
from trt_inference.lidar.gpu_pipeline import GpuLidarDetector
from trt_inference.lidar.loading import LoadedLidar
from trt_inference.lidar.pipeline import LidarDetector
from trt_inference.lidar.pipeline import PlacedCloud
from trt_inference.lidar.point_view import PointView

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


@pytest.mark.parametrize('options', [{}, {'far_m': 0.1}, {'ground_offset_m': 9.0}], ids=str)
def test_outputs_that_are_not_what_the_card_says_are_known_before_the_first_cloud(
    tmp_path, options
):
    given = replace(card(tmp_path), classes=('car', 'truck', 'bus'))
    backend = open_backend('onnxruntime', network_file(given))
    with pytest.raises(DecodeError, match="output 'heatmap' has shape"):
        LoadedLidar(given, backend, CloudOptions(**options))


def plan_of(model, profiles=()):
    resolved = Resolved('tensorrt', (10, 3, 0), 'fp32', strongly_typed=False, profiles=profiles)
    output = build(resolved, model, report=lambda *_: None, log=lambda *_: None)
    plan = model.with_suffix('.plan')
    plan.write_bytes(output.plan)
    return plan


@pytest.fixture
def load_engine(fake_cuda, tmp_path, monkeypatch):
    """Return a function that loads an engine of a card's network, made by the stand-in."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    loaded = []

    def load(given, does='build', **settings):
        monkeypatch.setenv('FAKE_TENSORRT', f'10.3.0 {does}')
        backend = open_backend('tensorrt', plan_of(network_file(given)))
        loaded.append(LoadedLidar(given, backend, CloudOptions(), **settings))
        return loaded[-1]

    yield load
    for each in loaded:
        each.close()


def test_an_engine_has_everything_on_the_gpu(load_engine, tmp_path):
    given = card(tmp_path)
    ours, theirs = load_engine(given), load(given)
    assert isinstance(ours.detector, GpuLidarDetector)
    assert str(ours) == ours.pipeline == 'gpu'
    assert (ours.detector.clouds, ours.detector.counts) == (0, None)
    found, same = ours.detector(cloud()), theirs.detector(cloud())
    theirs.close()
    assert 0 < len(found) == len(same)
    np.testing.assert_allclose(found.centers, same.centers, atol=1e-4)


def test_what_the_trial_took_is_free_again(load_engine, tmp_path):
    detector = load_engine(card(tmp_path)).detector
    assert detector.layouts == ()
    before = dict(detector._pool.reserved_bytes)
    assert detector(cloud()) is not None
    assert detector._pool.reserved_bytes['device'] > before['device']
    detector.trim()
    assert detector._pool.reserved_bytes == before


def test_the_user_may_have_it_on_the_cpu_or_without_copies(load_engine, tmp_path):
    given = card(tmp_path)
    loaded = load_engine(given, pipeline='cpu')
    assert isinstance(loaded.detector, LidarDetector)
    assert str(loaded) == 'cpu'
    assert str(load_engine(given, pipeline='gpu', mapped=True, spin=True)) == (
        'gpu, 3 copies left out'
    )


def test_a_network_that_cannot_be_recorded_is_said_too(load_engine, tmp_path):
    assert str(load_engine(card(tmp_path), 'loop')).startswith('gpu: no CUDA graph of this network')


def test_an_encoder_that_our_kernel_is_not_stays_on_the_cpu_and_all_with_it(load_engine, tmp_path):
    given = card(tmp_path, twice=True)
    loaded = load_engine(given)
    assert str(loaded).startswith(
        'cpu: clouds are prepared and outputs decoded on the CPU: the network inside the pillars '
        'is none that the GPU kernel knows: '
    )
    assert '; the network inside the pillars runs in ONNX Runtime on the CPU: ' in str(loaded)
    assert len(loaded.detector(cloud()))
    with pytest.raises(BackendUnavailableError, match='none that the GPU kernel knows'):
        load_engine(given, pipeline='gpu')


def test_an_engine_of_the_encoder_keeps_all_on_the_gpu(load_engine, tmp_path):
    given = card(tmp_path, twice=True)
    sizes = ShapeRange(*((count, 8, 9) for count in (1, 200, 200)))

    def open_its_engine():
        return open_backend(
            'tensorrt', plan_of(tmp_path / 'encoder.onnx', profiles=({'pillars': sizes},))
        )

    ours, theirs = load_engine(given, open_encoder=open_its_engine), load(given)
    assert str(ours) == 'gpu'
    found, same = ours.detector(cloud()), theirs.detector(cloud())
    theirs.close()
    assert 0 < len(found) == len(same)
    np.testing.assert_allclose(found.centers, same.centers, atol=1e-4)


def test_without_an_engine_of_the_encoder_the_remark_says_how_to_build_it(load_engine, tmp_path):
    given = card(tmp_path, twice=True)
    config = LidarConfig(card='x.yaml', engine_store=str(tmp_path / 'store'))
    loaded = load_engine(given, open_encoder=partial(open_encoder, config, given))
    assert loaded.pipeline == 'cpu'
    assert 'there is no engine of it: ' in loaded.remark
    command = f'--onnx {tmp_path}/encoder.onnx --store {tmp_path}/store'
    assert command in loaded.remark
    assert len(loaded.detector(cloud()))


def test_without_nvrtc_the_cpu_does_it_and_that_is_said(load_engine, tmp_path, monkeypatch):
    def missing():
        raise BackendUnavailableError('NVRTC, which compiles our kernels, is not found')

    monkeypatch.setattr(nvrtc, 'nvrtc_version', missing)
    loaded = load_engine(card(tmp_path))
    assert str(loaded) == (
        'cpu: clouds are prepared and outputs decoded on the CPU: NVRTC, which compiles our '
        'kernels, is not found'
    )
    assert len(loaded.detector(cloud()))
    with pytest.raises(BackendUnavailableError, match='NVRTC'):
        load_engine(card(tmp_path), pipeline='gpu')


def test_onnx_runtime_has_no_pipeline_on_the_gpu(tmp_path):
    given = card(tmp_path)
    backend = open_backend('onnxruntime', network_file(given))
    with pytest.raises(ConfigError, match='pipeline is gpu, and onnxruntime runs the network'):
        LoadedLidar(given, backend, CloudOptions(), pipeline='gpu')
