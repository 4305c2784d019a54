# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the network as ONNX, node by node, in the form of NVIDIA's CUDA-PointPillars.

Pillar network, PPScatterPlugin, then plain convolutions with their normalisation folded in, and
three raw outputs with the channels last. Written from arrays, so that it needs no PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnx import numpy_helper

from trt_engine.backend import Array
from trt_engine.lidar_card import PointsInput

OPSET = 13
EPSILON = 1e-3


@dataclass(frozen=True, eq=False)
class Layer:
    """A linear layer or convolution without bias, its batch normalisation, then ReLU.

    Attributes:
        weight: (in, out) of the pillar network, (out, in, 3, 3) of a convolution, (in, out, s, s)
            of an upsampling by s.
        scale: (out,) of the normalisation, as the next three.
        shift: (out,).
        mean: (out,).
        variance: (out,).
        stride: Of a convolution, or of an upsampling.
    """

    weight: Array
    scale: Array
    shift: Array
    mean: Array
    variance: Array
    stride: int = 1

    def folded(self, axis: int) -> tuple[Array, Array]:
        """Return weight and bias that do the same; `axis` of the weight is that of the outputs."""
        factor = self.scale / np.sqrt(self.variance + EPSILON)
        shape = [1] * self.weight.ndim
        shape[axis] = -1
        return self.weight * factor.reshape(shape), self.shift - self.mean * factor


@dataclass(frozen=True, eq=False)
class Weights:
    """All that was learned.

    Attributes:
        pillar: The network inside a pillar.
        blocks: One after the other; the first layer of each has its stride.
        ups: Brings the output of each block to the size of the first one's.
        heads: Output -> weight (out, in, 1, 1) and bias (out,).
    """

    pillar: Layer
    blocks: tuple[tuple[Layer, ...], ...]
    ups: tuple[Layer, ...]
    heads: Mapping[str, tuple[Array, Array]]


def write(weights: Weights, points: PointsInput, path: Path) -> None:
    """Write the network to a file."""
    onnx.save(build(weights, points), str(path))


def build(weights: Weights, points: PointsInput) -> onnx.ModelProto:
    """Return the network as ONNX."""
    graph = Graph()
    columns, rows = points.grid
    voxels, per_voxel, size = points.max_voxels, points.max_points, points.feature_size
    channels = weights.pillar.weight.shape[1]

    flat = graph.add('Reshape', points.tensor, np.array([voxels * per_voxel, size]))
    layer = weights.pillar
    linear = graph.add('MatMul', flat, layer.weight)
    normal = graph.add('BatchNormalization', linear, layer.scale, layer.shift, layer.mean,
                       layer.variance, epsilon=EPSILON)  # fmt: skip
    shape = np.array([voxels, per_voxel, channels])
    pillars = graph.add('Reshape', graph.add('Relu', normal), shape)
    pillars = graph.add('ReduceMax', pillars, axes=[1], keepdims=0)
    x = graph.add(
        'PPScatterPlugin', pillars, 'voxel_idxs', 'voxel_num', dense_shape=[rows, columns]
    )

    parts = []
    for block, up in zip(weights.blocks, weights.ups, strict=True):
        for layer in block:
            steps = [layer.stride] * 2
            x = graph.add('Conv', x, *layer.folded(0), strides=steps, pads=[1] * 4,
                          kernel_shape=[3, 3])  # fmt: skip
            x = graph.add('Relu', x)
        steps = [up.stride] * 2
        part = graph.add('ConvTranspose', x, *up.folded(1), strides=steps, kernel_shape=steps)
        parts.append(graph.add('Relu', part))
    joined = graph.add('Concat', *parts, axis=1)
    stride = weights.blocks[0][0].stride
    outputs = []
    for name, (weight, bias) in weights.heads.items():
        head = graph.add('Conv', joined, weight, bias, kernel_shape=[1, 1])
        graph.add('Transpose', head, perm=[0, 2, 3, 1], name=name)
        form = [1, rows // stride, columns // stride, len(bias)]
        outputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, form))

    inputs = [
        helper.make_tensor_value_info(
            points.tensor, onnx.TensorProto.FLOAT, [voxels, per_voxel, size]
        ),
        helper.make_tensor_value_info('voxel_idxs', onnx.TensorProto.INT32, [voxels, 4]),
        helper.make_tensor_value_info('voxel_num', onnx.TensorProto.INT32, [1]),
    ]
    proto = helper.make_graph(graph.nodes, 'pointpillars', inputs, outputs, graph.constants)
    return helper.make_model(
        proto, opset_imports=[helper.make_opsetid('', OPSET)], ir_version=8,
        producer_name='jetson_perception',
    )  # fmt: skip


class Graph:
    """Nodes so far; each has one output, named after it unless told otherwise."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str | Array, name: str = '', **attributes: object) -> str:
        """Append a node whose inputs are names, or arrays to store; gives its output's name."""
        name = name or f'{kind}_{len(self.nodes)}'
        names = []
        for place, given in enumerate(inputs):
            if isinstance(given, str):
                names.append(given)
                continue
            names.append(f'{name}.{place}')
            kept = given.astype(np.int64 if given.dtype.kind == 'i' else np.float32)
            self.constants.append(numpy_helper.from_array(kept, names[-1]))
        self.nodes.append(helper.make_node(kind, names, [name], name=name, **attributes))
        return name
