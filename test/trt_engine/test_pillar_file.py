# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""PointPillars files are split where NVIDIA's plugin stands, or refused with the reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import helper
from onnx import numpy_helper
import pytest

from trt_engine.errors import ModelFileError
from trt_engine.lidar.pillar_file import split
from trt_engine.lidar_card import PointsInput

POINTS = PointsInput('voxels', (0, 0, 0, 4, 2, 1), (1, 1, 1), 3, 7, 'pillar10')
FLOAT, INT32 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32
CHANCE = np.random.default_rng(1)
CONSTANTS = {
    'flat': np.array([21, 10]),
    'weight': CHANCE.normal(size=(10, 5)).astype(np.float32),
    'add': CHANCE.normal(size=5).astype(np.float32),
    'scale': CHANCE.uniform(0.5, 2, 5).astype(np.float32),
    'shift': CHANCE.normal(size=5).astype(np.float32),
    'mean': CHANCE.normal(size=5).astype(np.float32),
    'variance': CHANCE.uniform(0.5, 2, 5).astype(np.float32),
    'back': np.array([7, 3, 5]),
    'kernel': CHANCE.normal(size=(2, 5, 1, 1)).astype(np.float32),
}
NORMAL = ['scale', 'shift', 'mean', 'variance']
CHAIN = (
    ('Reshape', ['flat'], {}),
    ('MatMul', ['weight'], {}),
    ('Add', ['add'], {}),
    ('BatchNormalization', NORMAL, {'epsilon': 0.25}),
    ('Relu', [], {}),
    ('Reshape', ['back'], {}),
    ('ReduceMax', [], {'axes': [1], 'keepdims': 0}),
)


def network(chain=CHAIN, *, scatter='PPScatterPlugin', shape=(2, 4), points=3, head=('Conv',)):
    nodes, name = [], 'voxels'
    for place, (kind, constants, attributes) in enumerate(chain):
        nodes.append(helper.make_node(kind, [name, *constants], [f't{place}'], **attributes))
        name = f't{place}'
    inputs = [name, 'voxel_idxs', 'voxel_num']
    nodes.append(helper.make_node(scatter, inputs, ['grid'], dense_shape=list(shape)))
    name = 'grid'
    for place, kind in enumerate(head):
        other = {'Conv': 'kernel', 'Mul': 'voxel_num'}[kind]
        nodes.append(helper.make_node(kind, [name, other], [f'h{place}']))
        name = f'h{place}'
    graph = helper.make_graph(
        nodes,
        'lidar',
        [
            helper.make_tensor_value_info('voxels', FLOAT, [7, points, 10]),
            helper.make_tensor_value_info('voxel_idxs', INT32, [7, 4]),
            helper.make_tensor_value_info('voxel_num', INT32, [1]),
        ],
        [helper.make_tensor_value_info(name, FLOAT, [1, 2, 2, 4])],
        [numpy_helper.from_array(array, name) for name, array in CONSTANTS.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)], ir_version=8)


@pytest.mark.parametrize('scatter', ['PPScatterPlugin', 'ScatterBEV'])
def test_the_pillar_network_is_folded_and_the_rest_is_plain(scatter):
    parts = split(network(scatter=scatter), POINTS)
    assert parts.tensor == 'grid'
    onnx.checker.check_model(parts.rest, full_check=True)
    assert [node.op_type for node in parts.rest.graph.node] == ['Conv']
    assert [tensor.name for tensor in parts.rest.graph.initializer] == ['kernel']
    (grid,) = parts.rest.graph.input
    assert [dim.dim_value for dim in grid.type.tensor_type.shape.dim] == [1, 5, 2, 4]

    x = CHANCE.normal(size=(9, 10))
    scale, shift, mean, variance = (CONSTANTS[name] for name in NORMAL)
    expected = x @ CONSTANTS['weight'] + CONSTANTS['add']
    expected = (expected - mean) / np.sqrt(variance + 0.25) * scale + shift
    np.testing.assert_allclose(x @ parts.weight + parts.bias, expected, rtol=1e-5, atol=1e-5)
    assert parts.weight.dtype == parts.bias.dtype == np.float32


def test_the_constant_of_an_addition_may_come_first():
    model = network()
    add = next(node for node in model.graph.node if node.op_type == 'Add')
    add.input[:] = add.input[::-1]
    np.testing.assert_array_equal(split(model, POINTS).bias, split(network(), POINTS).bias)


def test_constants_may_be_nodes():
    model = network()
    tensor = next(t for t in model.graph.initializer if t.name == 'weight')
    model.graph.initializer.remove(tensor)
    model.graph.node.insert(0, helper.make_node('Constant', [], ['weight'], value=tensor))
    np.testing.assert_array_equal(
        split(model, POINTS).weight, split(network(), POINTS).weight
    )  # fmt: skip


@pytest.mark.parametrize(
    ('model', 'points', 'text'),
    [
        (network(scatter='Identity'), POINTS, 'has 0 nodes PPScatterPlugin or ScatterBEV'),
        (network(shape=(4, 2)), POINTS, r'scatters to \[4, 2\] rows and columns; .* \[2, 4\]'),
        (network(points=9), POINTS, "'voxels' takes 9 points a pillar; input.max_points .* is 3"),
        (network(), replace(POINTS, tensor='points'), "no input 'points'; it has: voxels, voxel"),
        (network(), replace(POINTS, tensor='voxel_num'), "ends at 'voxels'; wanted 'voxel_num'"),
        (network(), replace(POINTS, features='pillar9'), 'takes 10 numbers a point; .* make 9'),
        (network(CHAIN[1:4]), POINTS, 'is MatMul, Add, BatchNormalization; wanted MatMul, then'),
        (network([*CHAIN[:5], CHAIN[1], *CHAIN[4:]]), POINTS, 'MatMul, Relu, ReduceMax; wanted'),
        (
            network([('MatMul', ['voxel_idxs'], {}), *CHAIN[4:]]),
            POINTS,
            'takes voxels and voxel_idxs; wanted',
        ),
        (network(head=('Conv', 'Mul')), POINTS, "output 'h1' also depends on other inputs"),
    ],
)
def test_other_forms_are_refused(model, points, text):
    with pytest.raises(ModelFileError, match=text):
        split(model, points)
