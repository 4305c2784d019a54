# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Engines of lidar networks: what a plugin would do is ours, the rest is built and checked."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import onnx
from onnx import helper
from onnx import numpy_helper
from onnx import TensorProto
import pytest

from tools.lidar_network import form
from tools.lidar_network.generic import CENTER_CARD
from tools.lidar_network.generic import CENTER_ROLES
from tools.lidar_network.generic import point_weights
from tools.lidar_network.generic import voxel_weights
from tools.lidar_network.generic import write_points
from tools.lidar_network.generic import write_voxels
from tools.lidar_network.untrained import write_untrained
from trt_builder.builder import EngineBuilder
from trt_engine.backends import open_backend
from trt_engine.card import load_card
from trt_engine.card import Thresholds
from trt_engine.errors import CheckFailedError
from trt_engine.errors import ModelFileError
from trt_engine.lidar.model import network_file
from trt_engine.lidar.model import pillar_weights
from trt_engine.store import Store
from trt_inference.detector.engines import find_engine
from trt_inference.detector.engines import open_encoder
from trt_inference.detector.engines import open_engine
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.clouds import CloudOptions
from trt_inference.lidar.config import LidarConfig
from trt_inference.lidar.loading import LoadedLidar
from trt_inference.lidar.pipeline import CloudDetector
from trt_inference.lidar.pipeline import LidarDetector
from trt_inference.lidar.pipeline import PlacedCloud
from trt_inference.lidar.point_view import PointView

pytestmark = pytest.mark.slow

SMALL = replace(
    form.POINTS, range_m=(-8.0, -6.4, -3.0, 8.0, 6.4, 3.0), max_voxels=2000
)  # fmt: skip


@pytest.fixture
def card(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    thresholds = Thresholds(score=0.6, nms_iou=0.1)
    path = write_untrained(tmp_path, points=SMALL, bias=0, thresholds=thresholds)
    return load_card(path)


def boxes(detector: CloudDetector, count: int = 3000) -> Boxes3d:
    chance = np.random.default_rng(7)
    columns = {
        name: chance.uniform(-6, 6, (1, count)).astype(np.float32) / (1 if name in 'xy' else 4)
        for name in ('x', 'y', 'z', 'intensity')
    }
    view = PointView(0, 0, 'lidar', count, 1, 16, 16 * count, columns, True)
    return detector(PlacedCloud(view))


def test_an_engine_is_built_checked_found_and_sees_what_the_model_sees(card, fake_gpu, tmp_path):
    fake_gpu('10.3.0')
    store = Store(tmp_path / 'store')
    built = EngineBuilder(store, lock=tmp_path / 'lock').build(card)
    assert built.checks['passed'] is True
    assert built.checks['samples'] == 4
    assert all(each['cosine'] > 0.9999 for each in built.checks['tensors'])
    inputs = [each for each in built.entry.manifest.tensors if each.mode == 'input']
    assert [tuple(each.shape) for each in inputs] == [(1, 4, 64, 80)]

    found = find_engine(card, str(tmp_path / 'store'))
    assert found.entry is not None
    assert found.entry.key == built.entry.key
    loaded = LoadedLidar(card, open_engine(card, found.entry), CloudOptions())
    seen = boxes(loaded.detector)
    loaded.close()
    golden = open_backend('onnxruntime', network_file(card))
    wanted = boxes(LidarDetector(card, golden, pillar_weights(card)))
    golden.close()
    assert 0 < len(wanted) == len(seen)
    np.testing.assert_allclose(seen.centers, wanted.centers, atol=1e-4)


def test_another_file_than_the_cards_is_compared_with_itself(card, fake_gpu, tmp_path):
    fake_gpu('10.3.0')
    card.path.with_name('demo_lidar.onnx').rename(tmp_path / 'other.onnx')
    other = load_card(card.path, onnx=tmp_path / 'other.onnx')
    built = EngineBuilder(Store(tmp_path / 'store'), lock=tmp_path / 'lock').build(other)
    assert built.checks['passed'] is True


def test_a_wrong_engine_is_found_out(card, fake_gpu, tmp_path):
    fake_gpu('10.3.0', 'wrong')
    with pytest.raises(CheckFailedError, match='does not compute what the model computes'):
        EngineBuilder(Store(tmp_path / 'store'), lock=tmp_path / 'lock').build(card)


def write_encoder(path):
    """Write an encoder that our own kernel is not: it bends with tanh."""
    weight = np.random.default_rng(2).normal(size=(8, 4)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node('MatMul', ['pillars', 'weight'], ['layer']),
            helper.make_node('Tanh', ['layer'], ['bent']),
            helper.make_node('ReduceMax', ['bent'], ['features'], axes=[1]),
        ],
        'encoder',
        [helper.make_tensor_value_info('pillars', TensorProto.FLOAT, (None, 8, 8))],
        [helper.make_tensor_value_info('features', TensorProto.FLOAT, (None, 1, 4))],
        [numpy_helper.from_array(weight, 'weight')],
    )
    opset = [helper.make_opsetid('', 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def write_head(path):
    chance = np.random.default_rng(3)
    kernels = {
        role: chance.normal(0, 0.3, (count, 4, 1, 1)).astype(np.float32)
        for role, count in CENTER_ROLES.items()
    }
    graph = helper.make_graph(
        [helper.make_node('Conv', ['grid', f'{role}_k'], [role]) for role in kernels],
        'head',
        [helper.make_tensor_value_info('grid', TensorProto.FLOAT, (1, 4, 16, 16))],
        [
            helper.make_tensor_value_info(role, TensorProto.FLOAT, (1, len(kernel), 16, 16))
            for role, kernel in kernels.items()
        ],
        [numpy_helper.from_array(kernel, f'{role}_k') for role, kernel in kernels.items()],
    )
    opset = [helper.make_opsetid('', 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def test_what_stands_behind_an_encoder_of_its_own_is_checked_with_what_that_gives(
    fake_gpu, tmp_path
):
    fake_gpu('10.3.0')
    write_encoder(tmp_path / 'encoder.onnx')
    write_head(tmp_path / 'head.onnx')
    (tmp_path / 'center.yaml').write_text(CENTER_CARD)
    card = load_card(tmp_path / 'center.yaml')
    built = EngineBuilder(Store(tmp_path / 'store'), lock=tmp_path / 'lock').build(card)
    assert (built.checks['passed'], built.checks['samples']) == (True, 4)

    (tmp_path / 'encoder.onnx').unlink()
    store = Store(tmp_path / 'other')
    unchecked = EngineBuilder(store, lock=tmp_path / 'lock').build(card).checks
    assert unchecked['passed'] is None
    assert unchecked['skipped'].startswith('there is nothing to give the network: ')


def test_an_encoder_is_built_by_itself_checked_and_found(fake_gpu, tmp_path):
    fake_gpu('10.3.0')
    model = tmp_path / 'encoder.onnx'
    write_encoder(model)
    (tmp_path / 'center.yaml').write_text(CENTER_CARD)
    store = Store(tmp_path / 'store')
    encoder = load_card(tmp_path / 'center.yaml', onnx=model)
    built = EngineBuilder(store, lock=tmp_path / 'lock').build(encoder)
    assert built.checks['passed'] is True
    assert built.checks['samples'] == 4

    config = LidarConfig(engine_store=str(tmp_path / 'store'))
    opened = open_encoder(config, load_card(tmp_path / 'center.yaml'))
    assert [each.name for each in opened.tensors] == ['pillars', 'features']
    opened.close()


POINTS = """
card: 1
name: points
summary: Nothing learned
model: {source: points.onnx, licence: Apache-2.0}
input:
  kind: points
  tensor: points
  range_m: [-8, -8, -2, 8, 8, 2]
  max_points: 4000
  features: points
head: {type: boxes, outputs: {boxes: boxes, scores: scores}}
classes: [car, truck]
thresholds: {score: 0.51, nms_iou: null, max_detections: 4000}
"""
VOXELS = """
card: 1
name: voxels
summary: Nothing learned
model: {source: voxels.onnx, licence: Apache-2.0}
input:
  kind: points
  tensor: voxels
  places_tensor: places
  sizes_tensor: sizes
  range_m: [-8, -8, -2, 8, 8, 2]
  voxel_m: [1, 2, 1]
  max_points: 3
  max_voxels: 1000
  features: voxel
head:
  type: centerpoint
  outputs: {heatmap: heatmap, offset: offset, height: height, size: size, rotation: rotation}
  form: openpcdet
classes: [car, truck]
thresholds: {score: 0.51, nms_iou: null, max_detections: 4000}
"""


@pytest.fixture(params=['points', 'voxels'])
def generic(request, tmp_path):
    """Return the card of a network that takes any number of points, or of voxels."""
    path = tmp_path / f'{request.param}.yaml'
    path.write_text(POINTS if request.param == 'points' else VOXELS)
    card = load_card(path)
    if request.param == 'points':
        write_points(point_weights(), tmp_path / 'points.onnx')
    else:
        write_voxels(voxel_weights(), card.points, tmp_path / 'voxels.onnx')
    return card


def test_a_plan_knows_how_many_points_and_voxels_a_cloud_may_have(generic, tmp_path):
    builder = EngineBuilder(Store(tmp_path / 'store'), assume='10.3.0', lock=tmp_path / 'lock')
    plan = builder.plan(generic)
    (profile,) = plan.resolved.profiles
    wanted = {
        'points': {'points': ((1, 1, 4), (1, 4000, 4))},
        'voxels': {
            'voxels': ((1, 3, 4), (1000, 3, 4)), 'places': ((1, 3), (1000, 3)),
            'sizes': ((1,), (1000,)),
        },
    }[generic.name]  # fmt: skip
    assert {name: (each.min, each.max) for name, each in profile.items()} == wanted
    assert all(each.opt == each.max for each in profile.values())
    low, high = (list(each) for each in wanted[generic.points.tensor])
    assert f"profile: '{generic.points.tensor}' has shapes from {low} to {high}" in plan.notes


def test_networks_of_points_and_voxels_are_built_and_run_with_clouds_of_any_size(
    generic, fake_gpu, tmp_path
):
    fake_gpu('10.3.0')
    built = EngineBuilder(Store(tmp_path / 'store'), lock=tmp_path / 'lock').build(generic)
    assert built.checks['passed'] is True
    assert built.checks['samples'] == 4

    loaded = LoadedLidar(generic, open_engine(generic, built.entry), CloudOptions())
    golden = open_backend('onnxruntime', network_file(generic))
    detector = LidarDetector(generic, golden, None)
    for count in (3000, 20, 9000):
        seen, wanted = boxes(loaded.detector, count), boxes(detector, count)
        assert 0 < len(wanted) == len(seen)
        np.testing.assert_allclose(seen.centers, wanted.centers, atol=1e-4)
    assert loaded.pipeline == 'cpu'
    assert f'input.features is {generic.points.features}' in loaded.remark
    loaded.close()
    golden.close()


def test_a_network_that_takes_another_number_of_points_is_refused(fake_gpu, tmp_path):
    fake_gpu('10.3.0')
    write_points(point_weights(), tmp_path / 'points.onnx', rows=3000)
    (tmp_path / 'points.yaml').write_text(
        POINTS.replace('features: points', 'features: points\n  mask_tensor: mask')
    )
    builder = EngineBuilder(Store(tmp_path / 'store'), lock=tmp_path / 'lock')
    with pytest.raises(ModelFileError, match=r'as \[1, 3000, 4\], .* make \[4000, 4\]'):
        builder.build(load_card(tmp_path / 'points.yaml'))


@pytest.mark.skipif(
    find_spec('tensorrt_rtx_bindings') is None or find_spec('tensorrt_rtx_libs') is None,
    reason='TensorRT-RTX is not installed: pip install tensorrt-rtx-cu13-libs '
    'tensorrt-rtx-cu13-bindings',
)
def test_a_real_builder_takes_the_rest_without_a_plugin(card, tmp_path):
    store = Store(tmp_path / 'store')
    built = EngineBuilder(store, 'tensorrt_rtx', lock=tmp_path / 'lock', timeout_s=300).build(card)
    assert built.status == 'built'
    assert built.entry.plan.stat().st_size > 10_000
