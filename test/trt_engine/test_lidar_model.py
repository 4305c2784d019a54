# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The files of lidar networks become what backends can load, and make the same of a cloud."""

from __future__ import annotations

from dataclasses import replace
import os

import numpy as np
import onnx
from onnx import helper
from onnx import numpy_helper
import pytest

from tools.lidar_network.onnx_file import write
from tools.lidar_network.untrained import untrained
from trt_engine.backends.onnxruntime import OnnxRuntimeBackend
from trt_engine.card import Card
from trt_engine.card import Head
from trt_engine.card import ImageInput
from trt_engine.card import ModelSource
from trt_engine.card import Resize
from trt_engine.card import Thresholds
from trt_engine.errors import ModelFileError
from trt_engine.lidar.model import network_file
from trt_engine.lidar.model import pillar_weights
from trt_engine.lidar.pillar_inputs import GridInputs
from trt_engine.lidar.pillar_inputs import network_shapes
from trt_engine.lidar.pillar_inputs import open_inputs
from trt_engine.lidar.pillars import Pillarizer
from trt_engine.lidar.pillars import PillarNet
from trt_engine.lidar_card import PointsInput

pytestmark = pytest.mark.slow

POINTS = PointsInput('voxels', (0, 0, -2, 8, 16, 2), (1, 1, 4), 4, 20, 'pillar9')
CHANCE = np.random.default_rng(3)
CLOUD = CHANCE.uniform((0, 0, -2, 0), (8, 16, 2, 1), (60, 4)).astype(np.float32)
FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def card(path, points=POINTS, **changes):
    card = Card(
        name='lidar',
        summary='A card for tests',
        model=ModelSource(str(path), 'Apache-2.0'),
        input=points,
        head=Head('pointpillars', {}, {}),
        classes=('car',),
        thresholds=Thresholds(0.1, 0.1),
    )
    return replace(card, **changes)


def pointpillars(tmp_path):
    path = tmp_path / 'pillars.onnx'
    learned = untrained(np.random.default_rng(1), {'cls': 3}, features=9)
    write(learned, POINTS, path)
    return path, learned


def encoder(path, *, rows=None, layers=1):
    """Write the network inside a pillar as CenterPoint has it: normalised channels first."""
    chance = np.random.default_rng(5)
    nodes, constants, name = [], {}, 'voxels'
    for place in range(layers):
        size = 9 if place == 0 else 6
        constants |= {
            f'weight{place}': chance.normal(size=(size, 6)),
            f'scale{place}': chance.uniform(0.5, 2, 6),
            f'shift{place}': chance.normal(size=6),
            f'mean{place}': chance.normal(size=6),
            f'variance{place}': chance.uniform(0.5, 2, 6),
        }
        normal = [f'{kind}{place}' for kind in ('scale', 'shift', 'mean', 'variance')]
        steps = (
            ('MatMul', [f'weight{place}'], {}),
            ('Transpose', [], {'perm': [0, 2, 1]}),
            ('BatchNormalization', normal, {'epsilon': 1e-3}),
            ('Transpose', [], {'perm': [0, 2, 1]}),
            ('Relu', [], {}),
        )
        for kind, more, attributes in steps:
            new = f'{kind}{len(nodes)}'
            nodes.append(helper.make_node(kind, [name, *more], [new], **attributes))
            name = new
    nodes.append(helper.make_node('ReduceMax', [name], ['features'], axes=[1], keepdims=1))
    graph = helper.make_graph(
        nodes,
        'encoder',
        [helper.make_tensor_value_info('voxels', FLOAT, [rows, 4, 9])],
        [helper.make_tensor_value_info('features', FLOAT, [rows, 1, 6])],
        [numpy_helper.from_array(value.astype(np.float32), n) for n, value in constants.items()],
    )
    opset = [helper.make_opsetid('', 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    return path


def from_grid(path, channels=6):
    """Write a network from the grid to its sum over the channels."""
    node = helper.make_node('ReduceSum', ['grid', 'axes'], ['sums'], keepdims=1)
    graph = helper.make_graph(
        [node],
        'head',
        [helper.make_tensor_value_info('grid', FLOAT, [1, channels, 16, 8])],
        [helper.make_tensor_value_info('sums', FLOAT, [1, 1, 16, 8])],
        [numpy_helper.from_array(np.array([1]), 'axes')],
    )
    opset = [helper.make_opsetid('', 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    return path


def from_pillars(path, rows=None, others=('places', 'sizes', 'count')):
    """Write a network that takes pillars itself, and gives back what it got."""
    kinds = {'places': ('places', INT64, [rows, 4]), 'sizes': ('sizes', FLOAT, [rows])}
    kinds['count'] = ('count', INT64, [1])
    taken = [('voxels', FLOAT, [rows, 4, 9]), *(kinds[name] for name in others)]
    graph = helper.make_graph(
        [helper.make_node('Identity', [name], [f'{name}_out']) for name, _, _ in taken],
        'generic',
        [helper.make_tensor_value_info(*each) for each in taken],
        [helper.make_tensor_value_info(f'{name}_out', *more) for name, *more in taken],
    )
    opset = [helper.make_opsetid('', 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    return path


def test_a_file_with_a_plugin_is_split_once(tmp_path):
    path, _ = pointpillars(tmp_path)
    rest = network_file(card(path))
    assert rest.is_relative_to(tmp_path / 'cache' / 'jetson_perception')
    assert rest.name == 'pillars_rest.onnx'
    assert [each.name for each in rest.parent.iterdir()] == [rest.name]
    before = os.stat(rest).st_mtime_ns, rest.read_bytes()
    assert network_file(card(path)) == rest
    assert (os.stat(rest).st_mtime_ns, rest.read_bytes()) == before
    backend = OnnxRuntimeBackend(rest)
    assert [(i.mode, i.shape) for i in backend.tensors] == [
        ('input', (1, 4, 16, 8)), ('output', (1, 8, 4, 3)),
    ]  # fmt: skip
    backend.close()


def test_another_file_under_the_same_name_is_split_anew(tmp_path):
    path, _ = pointpillars(tmp_path)
    first = network_file(card(path))
    write(untrained(np.random.default_rng(2), {'cls': 3}, features=9), POINTS, path)
    assert network_file(card(path)) != first


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    path, _ = pointpillars(tmp_path)
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    with pytest.raises(ModelFileError, match=r'cannot be kept: Not a directory; .*XDG_CACHE_HOME'):
        network_file(card(path))


def test_plain_files_stay_what_they_are(tmp_path):
    path = from_grid(tmp_path / 'net.onnx')
    assert network_file(card(path)) == path
    assert pillar_weights(card(path)) is None
    camera = ImageInput('images', 8, 8, 'rgb', Resize('stretch'))
    (tmp_path / 'no.onnx').write_text('not looked into')
    assert network_file(card(tmp_path / 'no.onnx', camera)) == tmp_path / 'no.onnx'


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / 'no.onnx').write_bytes(b'\x08\xff' * 20)
    for look in (network_file, pillar_weights):
        with pytest.raises(ModelFileError, match=r'no\.onnx: cannot be read as ONNX'):
            look(card(tmp_path / 'no.onnx'))


def test_an_encoder_of_one_layer_runs_here_as_in_its_backend(tmp_path):
    whole = card(
        from_grid(tmp_path / 'net.onnx'),
        encoder=ModelSource(str(encoder(tmp_path / 'encoder.onnx')), 'Apache-2.0'),
    )
    backend = OnnxRuntimeBackend(network_file(whole))
    pillars = Pillarizer(POINTS)(CLOUD)
    ours = open_inputs(POINTS, pillar_weights(whole), backend, None)(pillars)['grid'].copy()
    for rows in (None, 20):
        other = OnnxRuntimeBackend(encoder(tmp_path / 'other.onnx', rows=rows))
        theirs = open_inputs(POINTS, None, backend, other)(pillars)['grid']
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
        other.close()
    filled = np.zeros(16 * 8, bool)
    filled[pillars.cells] = True
    assert (ours.any(axis=1).ravel() == filled).all()
    np.testing.assert_allclose(
        backend.run({'grid': ours})['sums'], ours.sum(1, keepdims=True), rtol=1e-5
    )


def test_an_encoder_of_two_layers_is_for_a_backend(tmp_path):
    path = encoder(tmp_path / 'encoder.onnx', layers=2)
    whole = card(
        from_grid(tmp_path / 'net.onnx'), encoder=ModelSource(str(path), 'Apache-2.0')
    )  # fmt: skip
    with pytest.raises(ModelFileError, match=r'the pillar network is MatMul, .*; wanted MatMul'):
        pillar_weights(whole)
    backend = OnnxRuntimeBackend(network_file(whole))
    grid = open_inputs(POINTS, None, backend, OnnxRuntimeBackend(path))(Pillarizer(POINTS)(CLOUD))
    assert grid['grid'].any()


@pytest.mark.parametrize('rows', [None, 20])
def test_a_network_may_take_pillars_itself(tmp_path, rows):
    points = replace(
        POINTS, places_tensor='places', sizes_tensor='sizes', count_tensor='count'
    )  # fmt: skip
    backend = OnnxRuntimeBackend(from_pillars(tmp_path / 'net.onnx', rows))
    inputs = open_inputs(points, None, backend, None)
    for cloud in (CLOUD, CLOUD[:5]):
        pillars = Pillarizer(points)(cloud)
        count = len(pillars)
        got = backend.run(inputs(pillars))
        assert all(len(got[f'{name}_out']) == (rows or count) for name in ('places', 'sizes'))
        assert got['places_out'][:count].tolist() == pillars.places(8).tolist()
        assert got['sizes_out'][:count].tolist() == pillars.sizes.tolist()
        assert not got['sizes_out'][count:].any()
        assert got['count_out'].tolist() == [count]
        real = got['voxels_out'][np.arange(4) < got['sizes_out'][:, None]]
        assert real.tobytes() == np.ascontiguousarray(pillars.features).tobytes()


@pytest.mark.parametrize(
    ('rows', 'others', 'names', 'text'),
    [
        (None, ('places',), {}, 'takes voxels, places; .* of the card name voxels$'),
        (None, (), {'count_tensor': 'count'}, 'takes voxels; .* of the card name voxels, count'),
        (20, ('places',), {'places_tensor': 'places'}, 'takes 20 pillars, and nothing tells it'),
    ],
)  # fmt: skip
def test_inputs_that_the_card_does_not_explain_are_refused(tmp_path, rows, others, names, text):
    backend = OnnxRuntimeBackend(from_pillars(tmp_path / 'net.onnx', rows, others))
    with pytest.raises(ModelFileError, match=text):
        open_inputs(replace(POINTS, **names), None, backend, None)


def test_a_grid_of_another_size_is_refused(tmp_path):
    path, _ = pointpillars(tmp_path)
    weights = pillar_weights(card(path))
    backend = OnnxRuntimeBackend(network_file(card(path)))
    with pytest.raises(ModelFileError, match=r'\[1, 4, 16, 8\]; .* make \[1, 4, 8, 8\]'):
        open_inputs(replace(POINTS, range_m=(0, 0, -2, 8, 8, 2)), weights, backend, None)
    net = PillarNet(np.zeros((9, 3), np.float32), np.zeros(3, np.float32), 4)
    inputs = [info for info in backend.tensors if info.mode == 'input']
    with pytest.raises(ModelFileError, match=r'make \[1, 3, 16, 8\]'):
        GridInputs(POINTS, net, inputs, channels=3)


def test_the_shapes_that_an_engine_is_built_for():
    assert network_shapes(POINTS, {'grid': (-1, 6, -1, 8)}) == {'grid': (1, 6, 16, 8)}
    named = replace(POINTS, places_tensor='places', count_tensor='count')
    taken = {'voxels': (-1, 4, 9), 'places': (-1, 4), 'count': (1,)}
    assert network_shapes(named, taken) == {
        'voxels': (20, 4, 9), 'places': (20, 4), 'count': (1,),
    }  # fmt: skip
    for inputs in ({'grid': (1, 6, 16)}, {'a': (1, 6, 16, 8), 'b': (1, 6, 16, 8)}):
        with pytest.raises(ModelFileError, match=r"wanted one grid \[1, C, 16, 8\], or 'voxels'"):
            network_shapes(POINTS, inputs)
