# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Small networks that take points or voxels themselves, with standard operators; for tests.

They have learned nothing. They show what a file of one's own may look like.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from tools.lidar_network.onnx_file import Graph
from trt_engine.backend import Array
from trt_engine.lidar_card import PointsInput

POINT_SIZE = 4
_HIDDEN = 8
_FLOAT = onnx.TensorProto.FLOAT
_OPSET = 13
CENTER_ROLES = {'heatmap': 2, 'offset': 2, 'height': 1, 'size': 3, 'rotation': 2}
# of a CenterPoint in two files, head.onnx with CENTER_ROLES as outputs, and encoder.onnx
CENTER_CARD = """
card: 1
name: center
summary: Nothing learned
model: {source: head.onnx, licence: Apache-2.0}
encoder: {source: encoder.onnx, licence: Apache-2.0}
input:
  kind: points
  tensor: pillars
  range_m: [-8, -8, -2, 8, 8, 2]
  voxel_m: [1, 1, 4]
  max_points: 8
  max_voxels: 200
  features: pillar9
  channels: []
head:
  type: centerpoint
  outputs: {heatmap: heatmap, offset: offset, height: height, size: size, rotation: rotation}
  stride: 1
classes: [car, truck]
thresholds: {score: 0.6, nms_iou: 0.1}
"""


def point_weights(seed: int = 1) -> dict[str, Array]:
    """Return weights of chance for `write_points`, (inputs, outputs) float32 each."""
    chance = np.random.default_rng(seed)
    shapes = {'layer': (POINT_SIZE, _HIDDEN), 'shift': (_HIDDEN, 3), 'rest': (_HIDDEN, 4),
              'classes': (_HIDDEN, 2)}  # fmt: skip
    return {name: chance.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}


def write_points(weights: Mapping[str, Array], path: Path, *, rows: int | None = None) -> None:
    """Write a network from `points`, [1, N, 4], to a box for each of them.

    Each point goes through a layer of its own; the greatest of all points shifts all boxes. Outputs
    are `boxes` [1, N, 7] and `scores` [1, N, 2].

    Args:
        weights: As `point_weights` has them.
        path: The file.
        rows: How many points it always takes, with a `mask` [1, rows]; None for any number, without
            a mask.
    """
    graph = Graph()
    hidden = graph.add('Relu', graph.add('MatMul', 'points', weights['layer']))
    inputs: dict[str, tuple[int, Sequence[int | None]]] = {
        'points': (_FLOAT, [1, rows, POINT_SIZE])
    }
    mask = ''
    if rows is not None:
        inputs['mask'] = (onnx.TensorProto.BOOL, [1, rows])
        mask = graph.add('Unsqueeze', graph.add('Cast', 'mask', to=_FLOAT), np.array([2]))
        hidden = graph.add('Mul', hidden, mask)
    greatest = graph.add('ReduceMax', hidden, axes=[1], keepdims=1)
    shift = graph.add('MatMul', greatest, weights['shift'])
    places = graph.add('Slice', 'points', np.array([0]), np.array([3]), np.array([2]))
    centers = graph.add('Add', places, shift)
    rest = graph.add('Sigmoid', graph.add('MatMul', hidden, weights['rest']))
    graph.add('Concat', centers, graph.add('Add', rest, np.array(1.0)), axis=2, name='boxes')
    scores = graph.add('MatMul', hidden, weights['classes'])
    if mask:
        scores = graph.add('Mul', graph.add('Sigmoid', scores), mask, name='scores')
    else:
        graph.add('Sigmoid', scores, name='scores')
    outputs: dict[str, Sequence[int | None]] = {'boxes': [1, rows, 7], 'scores': [1, rows, 2]}
    _save(graph, inputs, outputs, path)


def voxel_weights(seed: int = 1) -> dict[str, Array]:
    """Return weights of chance for `write_voxels`: `layer` (4, 8), and (n, 8) for each output."""
    chance = np.random.default_rng(seed)
    heads = {role: (count, _HIDDEN) for role, count in CENTER_ROLES.items()}
    return {
        name: chance.normal(0, 0.3, shape).astype(np.float32)
        for name, shape in {'layer': (POINT_SIZE, _HIDDEN), **heads}.items()
    }


def write_voxels(weights: Mapping[str, Array], spec: PointsInput, path: Path) -> None:
    """Write a network from voxels of plain points to the outputs of a CenterPoint head.

    It takes `voxels` [V, P, 4], `places` [V, 3] int32 and `sizes` [V] float32. The mean of the
    points of each voxel goes through a layer, and into a grid with layers; of the layers the
    greatest counts.

    Args:
        weights: As `voxel_weights` has them.
        spec: Says how large the grid is.
        path: The file.
    """
    graph = Graph()
    columns, rows = spec.grid
    sums = graph.add('ReduceSum', 'voxels', np.array([1]), keepdims=0)
    means = graph.add('Div', sums, graph.add('Unsqueeze', 'sizes', np.array([1])))
    hidden = graph.add('Relu', graph.add('MatMul', means, weights['layer']))
    empty = np.zeros((spec.layers, rows, columns, _HIDDEN), np.float32)
    where = graph.add('Cast', 'places', to=onnx.TensorProto.INT64)
    grid = graph.add('ScatterND', empty, where, hidden)
    above = graph.add('ReduceMax', grid, axes=[0], keepdims=1)
    above = graph.add('Transpose', above, perm=[0, 3, 1, 2])
    for role in CENTER_ROLES:
        graph.add('Conv', above, weights[role][..., None, None], name=role)
    _save(
        graph,
        {
            'voxels': (_FLOAT, [None, spec.max_points, POINT_SIZE]),
            'places': (onnx.TensorProto.INT32, [None, 3]),
            'sizes': (_FLOAT, [None]),
        },
        {role: [1, count, rows, columns] for role, count in CENTER_ROLES.items()},
        path,
    )


def _save(
    graph: Graph,
    inputs: Mapping[str, tuple[int, Sequence[int | None]]],
    outputs: Mapping[str, Sequence[int | None]],
    path: Path,
) -> None:
    proto = helper.make_graph(
        graph.nodes,
        'generic',
        [helper.make_tensor_value_info(name, *form) for name, form in inputs.items()],
        [helper.make_tensor_value_info(name, _FLOAT, form) for name, form in outputs.items()],
        graph.constants,
    )
    model = helper.make_model(
        proto, opset_imports=[helper.make_opsetid('', _OPSET)], ir_version=8,
        producer_name='jetson_perception',
    )  # fmt: skip
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
