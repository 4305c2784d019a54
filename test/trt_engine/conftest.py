# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Models of one layer, and engines built of them with the stand-in for TensorRT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest


@pytest.fixture
def make_plan(fake_gpu, tmp_path) -> Callable[..., Path]:
    """Return a function that builds an engine with the stand-in, and gives its file."""
    from trt_builder.settings import Resolved
    from trt_builder.tensorrt_build import build

    def make(model: Path, version: str = '10.3.0', gpu: str = '8.7', **settings) -> Path:
        fake_gpu(version, gpu=gpu)
        numbers = tuple(int(part) for part in version.split('.'))
        resolved = replace(
            Resolved('tensorrt', numbers, 'fp32', strongly_typed=numbers >= (11,)), **settings
        )
        output = build(resolved, model, report=lambda *_: None, log=lambda *_: None)
        path = tmp_path / 'engine.plan'
        path.write_bytes(output.plan)
        return path

    return make


@pytest.fixture
def make_model(tmp_path) -> Callable[..., Path]:
    """Return a function that makes a model of whatever shapes and types.

    Add gives y = 2 x. NonZero gives as many columns as there are, Reshape the shape that the input
    `size` says. Scale gives y = k x, with a weight k of any size.
    """
    import numpy as np
    import onnx
    from onnx import helper
    from onnx import numpy_helper
    from onnx import TensorProto

    inputs = {'Add': ['x', 'x'], 'NonZero': ['x'], 'Reshape': ['x', 'size'], 'Scale': ['x', 'k']}

    def make(shape=(1, 3, 8, 8), op: str = 'Add', kind: int = TensorProto.FLOAT) -> Path:
        given = [helper.make_tensor_value_info('x', kind, shape)]
        if op == 'Reshape':
            given.append(helper.make_tensor_value_info('size', TensorProto.INT64, (2,)))
        outputs = {'NonZero': (len(shape), 'n'), 'Reshape': ('rows', 'n')}
        result = helper.make_tensor_value_info(
            'y', TensorProto.INT64 if op == 'NonZero' else kind, outputs.get(op, shape)
        )
        node = helper.make_node('Mul' if op == 'Scale' else op, inputs[op], ['y'])
        weights = []
        if op == 'Scale':
            weights.append(numpy_helper.from_array(np.full(shape, 3, np.float32), 'k'))
        graph = helper.make_graph([node], 'net', given, [result], weights)
        path = tmp_path / 'model.onnx'
        opset = [helper.make_opsetid('', 13)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
        return path

    return make
