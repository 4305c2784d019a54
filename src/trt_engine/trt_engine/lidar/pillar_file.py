# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Splits a PointPillars file as NVIDIA exports it: the pillar network, and a plain rest.

What stands between the two in the file is a TensorRT plugin. Without it the first part runs in
`pillars` or in a kernel, and the rest builds as any other network. CenterPoint has the pillar
network in a file of its own, which is read here likewise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper
from onnx import numpy_helper

from trt_engine.backend import Array
from trt_engine.errors import ModelFileError
from trt_engine.lidar_card import PointsInput

SCATTERS = ('PPScatterPlugin', 'ScatterBEV')
_SHAPES = ('Reshape', 'Squeeze', 'Transpose', 'Unsqueeze')


@dataclass(frozen=True, eq=False)
class PillarNetwork:
    """A network in two parts.

    Attributes:
        weight: (feature_size, C) float32 of the pillar network, normalisation folded in.
        bias: (C,) float32.
        tensor: The input of the rest, the grid [1, C, rows, columns].
        rest: From the grid to the network's outputs; standard operators only.
    """

    weight: Array
    bias: Array
    tensor: str
    rest: onnx.ModelProto


def has_scatter(model: onnx.ModelProto) -> bool:
    """Return whether a network has a scatter plugin, and so is for `split`."""
    return any(node.op_type in SCATTERS for node in model.graph.node)


def read_encoder(model: onnx.ModelProto, points: PointsInput) -> tuple[Array, Array]:
    """Return weight (feature_size, C) and bias (C,), float32, of a pillar network in its own file.

    Raises:
        ModelFileError: It is more than one linear layer with its normalisation, ReLU and maximum,
            or does not have the sizes that the card says.
    """
    graph = model.graph
    if len(graph.output) != 1:
        raise ModelFileError(f'the pillar network has {len(graph.output)} outputs; wanted one')
    _check_input(graph, points)
    constants = _constants(graph)
    chain = _chain(graph, graph.output[0].name, points.tensor, constants)
    return _linear(chain, constants, points)


def split(model: onnx.ModelProto, points: PointsInput) -> PillarNetwork:
    """Return the two parts of a network.

    Raises:
        ModelFileError: It does not have this form, or not the sizes that the card says.
    """
    graph = model.graph
    scatters = [node for node in graph.node if node.op_type in SCATTERS]
    if len(scatters) != 1:
        raise ModelFileError(
            f'the network has {len(scatters)} nodes {" or ".join(SCATTERS)}; wanted one, as in '
            "the files of NVIDIA's CUDA-PointPillars"
        )
    (scatter,) = scatters
    _check_sizes(graph, scatter, points)
    constants = _constants(graph)
    before = _chain(graph, scatter.input[0], points.tensor, constants)
    weight, bias = _linear(before, constants, points)
    rest = _rest(model, scatter, len(bias), points)
    return PillarNetwork(weight, bias, scatter.output[0], rest)


def _check_sizes(graph: onnx.GraphProto, scatter: onnx.NodeProto, points: PointsInput) -> None:
    columns, rows = points.grid
    for attribute in scatter.attribute:
        if attribute.name == 'dense_shape' and list(attribute.ints) != [rows, columns]:
            raise ModelFileError(
                f'the network scatters to {list(attribute.ints)} rows and columns; input.range_m '
                f'and input.voxel_m of the card make {[rows, columns]}'
            )
    _check_input(graph, points)


def _check_input(graph: onnx.GraphProto, points: PointsInput) -> None:
    for value in graph.input:
        if value.name != points.tensor:
            continue
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        # what a padded row adds to the maximum depends on there being one
        if len(shape) == 3 and shape[1] not in (0, points.max_points):
            raise ModelFileError(
                f'input {value.name!r} takes {shape[1]} points a pillar; input.max_points of '
                f'the card is {points.max_points}'
            )
        return
    names = ', '.join(value.name for value in graph.input)
    raise ModelFileError(f'the network has no input {points.tensor!r}; it has: {names}')


def _constants(graph: onnx.GraphProto) -> dict[str, Array]:
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == 'Constant' and node.attribute[0].name == 'value':
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return constants


def _chain(
    graph: onnx.GraphProto, end: str, start: str, constants: Mapping[str, Array]
) -> list[onnx.NodeProto]:
    """Return the nodes from one tensor to another, each fed by the one before it."""
    makers = {name: node for node in graph.node for name in node.output}
    nodes: list[onnx.NodeProto] = []
    while end != start:
        if end not in makers or len(nodes) > len(graph.node):
            raise ModelFileError(
                f'the way back from the scattered pillars ends at {end!r}; wanted {start!r}'
            )
        node = makers[end]
        # the shape that a Reshape takes may be reckoned from its input, and matters to nobody here
        feeds = node.input[:1] if node.op_type in _SHAPES else node.input
        fed = [name for name in feeds if name not in constants]
        if len(fed) != 1:
            raise ModelFileError(
                f'{node.op_type} {node.name!r} takes {" and ".join(fed) or "constants alone"}; '
                'wanted one tensor, and constants'
            )
        nodes.insert(0, node)
        end = fed[0]
    return nodes


def _linear(
    nodes: list[onnx.NodeProto], constants: Mapping[str, Array], points: PointsInput
) -> tuple[Array, Array]:
    weight, bias = _folded(nodes, constants)
    if weight.shape != (points.feature_size, len(bias)):
        raise ModelFileError(
            f'the pillar network takes {weight.shape[0]} numbers a point; input.features and '
            f'input.channels of the card make {points.feature_size}'
        )
    return weight, bias


def _folded(nodes: list[onnx.NodeProto], constants: Mapping[str, Array]) -> tuple[Array, Array]:
    """Return weight and bias of linear layer and normalisation; ReLU and maximum must follow."""
    kinds = [node.op_type for node in nodes if node.op_type not in _SHAPES]
    linear, tail = kinds[:-2], kinds[-2:]
    form = ['MatMul', *(kind for kind in linear[1:] if kind in ('Add', 'BatchNormalization'))]
    if linear != form or tail != ['Relu', 'ReduceMax']:
        raise ModelFileError(
            f'the pillar network is {", ".join(kinds) or "nothing"}; wanted MatMul, then Add or '
            'BatchNormalization, then Relu, ReduceMax'
        )
    weight: Array = np.zeros(0)
    bias: Array = np.zeros(0)
    for node in nodes:
        if node.op_type not in form:
            continue
        values = [constants[name].astype(np.float64) for name in node.input if name in constants]
        if node.op_type == 'MatMul':
            weight = values[0]
            bias = np.zeros(weight.shape[-1])
        elif node.op_type == 'Add':
            bias = bias + values[0]
        else:
            scale, shift, mean, variance = values
            epsilon = {a.name: a.f for a in node.attribute}.get('epsilon', 1e-5)
            factor = scale / np.sqrt(variance + epsilon)
            weight, bias = weight * factor, (bias - mean) * factor + shift
    return weight.astype(np.float32), bias.astype(np.float32)


def _rest(
    model: onnx.ModelProto, scatter: onnx.NodeProto, channels: int, points: PointsInput
) -> onnx.ModelProto:
    graph = model.graph
    known = {scatter.output[0], *(tensor.name for tensor in graph.initializer)}
    nodes = []
    for node in graph.node:  # in an order in which each comes after what feeds it
        if node is not scatter and all(name in known or not name for name in node.input):
            nodes.append(node)
            known.update(node.output)
    missing = [value.name for value in graph.output if value.name not in known]
    if missing:
        raise ModelFileError(
            f'output {missing[0]!r} also depends on other inputs than the scattered pillars'
        )
    used = {name for node in nodes for name in node.input}
    columns, rows = points.grid
    grid = helper.make_tensor_value_info(
        scatter.output[0], onnx.TensorProto.FLOAT, [1, channels, rows, columns]
    )
    weights = [tensor for tensor in graph.initializer if tensor.name in used]
    rest = helper.make_graph(nodes, graph.name, [grid], graph.output, weights)
    return helper.make_model(
        rest, opset_imports=model.opset_import, ir_version=model.ir_version,
        producer_name=model.producer_name,
    )  # fmt: skip
