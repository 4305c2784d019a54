# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Sizes of small networks, worked by hand, and of real ones."""

from __future__ import annotations

import random

import numpy as np
import onnx
from onnx import helper
from onnx import numpy_helper
from onnx import TensorProto
import pytest

from trt_engine.errors import ModelFileError
from trt_engine.memory.onnx_sizes import read_onnx_memory

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a network, and gives its file."""

    def make(nodes, inputs, outputs, weights=()):
        graph = helper.make_graph(
            nodes,
            'net',
            [helper.make_tensor_value_info(*each) for each in inputs],
            [helper.make_tensor_value_info(*each) for each in outputs],
            [numpy_helper.from_array(array, name) for name, array in weights],
        )
        path = tmp_path / 'net.onnx'
        opset = [helper.make_opsetid('', 13)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
        return path

    return make


@pytest.fixture
def fork(write):
    """Return a network: a and b of 100 floats each live together, c comes when a has died."""
    return write(
        [
            helper.make_node('Relu', ['x'], ['a']),
            helper.make_node('Relu', ['a'], ['b']),
            helper.make_node('Add', ['a', 'b'], ['s']),
            helper.make_node('Concat', ['s', 's'], ['c'], axis=1),
            helper.make_node('Relu', ['c'], ['y']),
        ],
        [('x', FLOAT, ('n', 100))],
        [('y', FLOAT, ('n', 200))],
    )


@pytest.mark.parametrize(('images', 'floats'), [(1, 300), (4, 1200)])
def test_tensors_count_while_something_still_needs_them(fork, images, floats):
    # a, b and s live at the Add; then s and c, 300 again; x and y are inputs and outputs
    sizes = read_onnx_memory(fork, {'x': (images, 100)})
    assert sizes.live_bytes == floats * 4
    assert sizes.unknown == 0
    assert [(each.name, each.mode, each.shape) for each in sizes.tensors] == [
        ('x', 'input', (images, 100)),
        ('y', 'output', (images, 200)),
    ]


def test_weights_are_counted_by_kind(write):
    path = write(
        [
            helper.make_node('Constant', [], ['k'], value=numpy_helper.from_array(
                np.ones((1, 8), np.float32))),
            helper.make_node('MatMul', ['x', 'w'], ['m']),
            helper.make_node('Add', ['m', 'k'], ['s']),
            helper.make_node('Reshape', ['s', 'shape'], ['y']),
        ],
        [('x', FLOAT, (1, 16))],
        [('y', FLOAT, (8,))],
        [('w', np.ones((16, 8), np.float16).astype(np.float32)), ('shape', np.array([8]))],
    )  # fmt: skip
    sizes = read_onnx_memory(path, {})
    assert sizes.floats == 16 * 8 + 8
    assert sizes.other_bytes == 8


def test_an_output_that_a_no_op_makes_keeps_its_name(write):
    path = write(
        [helper.make_node('Relu', ['x'], ['a']), helper.make_node('Identity', ['a'], ['y'])],
        [('x', FLOAT, (1, 4))],
        [('y', FLOAT, (1, 4))],
    )
    assert read_onnx_memory(path, {}).tensors[1].name == 'y'


def test_what_does_not_follow_from_the_inputs_is_counted_or_refused(write):
    nodes = [
        helper.make_node('NonZero', ['x'], ['rows']),
        helper.make_node('ReduceSum', ['rows'], ['y'], keepdims=0),
    ]
    path = write(nodes, [('x', FLOAT, (1, 4))], [('y', INT64, ())])
    assert read_onnx_memory(path, {}).unknown == 1
    path = write(nodes[:1], [('x', FLOAT, (1, 4))], [('rows', INT64, (2, 'n'))])
    with pytest.raises(ModelFileError, match=r"output 'rows' is 2x\? of int64, and its size does"):
        read_onnx_memory(path, {})


def test_a_shape_that_the_network_does_not_take_is_refused(fork):
    with pytest.raises(ModelFileError, match="input 'x' is"):
        read_onnx_memory(fork, {'x': (1, 99)})


def test_a_real_detector_leaves_nothing_unknown(data):
    path = data / 'models' / 'deimv2_femto_coco.onnx'
    shapes = {'images': (1, 3, 416, 416), 'orig_target_sizes': (1, 2)}
    sizes = read_onnx_memory(path, shapes)
    assert sizes.unknown == 0
    assert {each.name: each.shape for each in sizes.tensors if each.mode == 'output'} == {
        'labels': (1, 300), 'boxes': (1, 300, 4), 'scores': (1, 300),
    }  # fmt: skip
    assert sizes.floats * 4 < path.stat().st_size


def test_damaged_files_are_refused_in_words_or_read(repository, tmp_path):
    rng = random.Random(7)
    whole = (repository / 'models' / 'demo.onnx').read_bytes()
    path = tmp_path / 'damaged.onnx'
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(rng.choice((1, 3, 20))):
            damaged[rng.randrange(30_000)] = rng.randrange(256)  # where the nodes are
        path.write_bytes(damaged)
        try:
            sizes = read_onnx_memory(path, {})
        except ModelFileError:
            refused += 1
        else:
            assert min(sizes.floats, sizes.other_bytes, sizes.live_bytes) >= 0
    assert 10 < refused < 60
