# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What an ONNX file says of the memory that its engine will take: weights, tensors, a bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import math
from pathlib import Path
from typing import Any
from typing import Literal

import numpy as np

from trt_engine.backend import TensorInfo
from trt_engine.errors import ModelFileError
from trt_engine.onnx_graph import Graph
from trt_engine.onnx_graph import read_graph
from trt_engine.onnx_graph import Tensor

# whatever the precision: TensorRT may leave any layer in FP32
_FLOATS = ('float', 'float16', 'bfloat16', 'double')
_FLOAT_BYTES = 4
_DTYPES = {'float': 'float32', 'double': 'float32'}  # TensorRT has no doubles


@dataclass(frozen=True)
class OnnxMemory:
    """Sizes of a network, for inputs of given shapes.

    Attributes:
        tensors: Inputs and outputs.
        floats: How many weights are floating-point numbers, and so take what the precision says.
        other_bytes: Size of all other weights.
        live_bytes: The most that intermediate tensors take at one time, in the order of the file,
            with floats in FP32.
        unknown: How many intermediate tensors have a size that does not follow from the inputs,
            and are left out of that.
    """

    tensors: tuple[TensorInfo, ...]
    floats: int
    other_bytes: int
    live_bytes: int
    unknown: int


def read_onnx_memory(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> OnnxMemory:
    """Return the sizes of a network.

    Args:
        path: The ONNX file; files beside it that hold its weights need not be there.
        shapes: Input -> shape, for inputs whose shape the file leaves open.

    Raises:
        ModelFileError: The file cannot be read, does not take these shapes, or has an input or
            output whose size does not follow from them.
    """
    graph = read_graph(path, shapes)
    live, unknown = _most_alive(graph)
    modes: tuple[tuple[Literal['input', 'output'], tuple[str, ...]], ...] = (
        ('input', graph.inputs),
        ('output', graph.results),
    )
    weights = graph.weights.values()
    return OnnxMemory(
        tensors=tuple(
            _info(name, mode, graph.tensor(name), path) for mode, names in modes for name in names
        ),
        floats=sum(
            math.prod(w.fixed) for w in weights if w.fixed is not None and w.dtype in _FLOATS
        ),
        other_bytes=sum(_bytes(w) or 0 for w in weights if w.dtype not in _FLOATS),
        live_bytes=live,
        unknown=unknown,
    )


def read_input_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a network's inputs by name, -1 where a size is free.

    Raises:
        ModelFileError: The file cannot be read.
    """
    graph = read_graph(path)
    shapes = {name: graph.tensor(name).shape or () for name in graph.inputs}
    return {
        name: tuple(-1 if size is None else size for size in shape)
        for name, shape in shapes.items()
    }


def _most_alive(graph: Graph) -> tuple[int, int]:
    """Return the most bytes of intermediate tensors at one time, and how many have no size."""
    last_use = {name: place for place, node in enumerate(graph.nodes) for name in node.inputs}
    dying: dict[int, int] = {}
    alive = most = unknown = 0
    for place, node in enumerate(graph.nodes):
        for name in node.outputs:
            if name in graph.outputs:
                continue
            nbytes = _bytes(graph.tensor(name))
            if nbytes is None:
                unknown += 1
                continue
            alive += nbytes
            end = last_use.get(name, place)
            dying[end] = dying.get(end, 0) + nbytes
        most = max(most, alive)
        alive -= dying.get(place, 0)
    return most, unknown


def _info(name: str, mode: Literal['input', 'output'], tensor: Tensor, path: Path) -> TensorInfo:
    dtype = _dtype(tensor)
    if tensor.fixed is None or dtype is None:
        raise ModelFileError(
            f'{path}: the {mode} {name!r} is {tensor} of {tensor.dtype}, and its size does not '
            'follow from the inputs; export the model with fixed shapes'
        )
    return TensorInfo(name, mode, dtype, tensor.fixed)


def _bytes(tensor: Tensor) -> int | None:
    dtype = _dtype(tensor)
    if tensor.fixed is None or tensor.dtype is None:
        return None
    small = 1 if dtype is None else dtype.itemsize
    return math.prod(tensor.fixed) * (_FLOAT_BYTES if tensor.dtype in _FLOATS else small)


def _dtype(tensor: Tensor) -> np.dtype[Any] | None:
    """Return the element type; None for those that NumPy does not have, none above one byte."""
    try:
        return np.dtype(_DTYPES.get(tensor.dtype or '', tensor.dtype))
    except TypeError:
        return None
