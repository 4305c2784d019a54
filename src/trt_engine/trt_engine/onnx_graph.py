# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""An ONNX graph as a builder sees it: shapes inferred, constants folded, no-ops gone."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
import numpy as np
import numpy.typing as npt
import onnx

from trt_engine.errors import ModelFileError

Array = npt.NDArray[Any]
Shape = tuple[int | None, ...]

MAX_FOLDED_ELEMENTS = 1024  # shape arithmetic is small; weights need names and shapes alone
MAX_PASSES = 8  # each pass can make further shapes known

_STANDARD_DOMAINS = ('', 'ai.onnx')
_NO_OPS = ('Identity', 'Dropout')
_RANDOM = (
    'RandomNormal', 'RandomNormalLike', 'RandomUniform', 'RandomUniformLike', 'Bernoulli',
    'Multinomial',
)  # fmt: skip
# arithmetic on shapes; nothing here can make much out of little
_FOLDABLE = (
    'Shape', 'Size', 'Constant', 'Gather', 'Concat', 'Slice', 'Squeeze', 'Unsqueeze', 'Reshape',
    'Cast', 'Identity', 'Add', 'Sub', 'Mul', 'Div', 'Neg', 'Floor', 'Ceil', 'Split', 'Transpose',
)  # fmt: skip


@dataclass(frozen=True)
class Node:
    """One node that does something at run time; `place` is its number in the graph."""

    place: int
    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    @property
    def present_inputs(self) -> tuple[str, ...]:
        """Return the inputs that are not left out."""
        return tuple(name for name in self.inputs if name)


@dataclass(frozen=True)
class Tensor:
    """Type and shape of a tensor; None is what nobody could infer."""

    dtype: str | None = None
    shape: Shape | None = None

    @property
    def fixed(self) -> tuple[int, ...] | None:
        """Return the shape where all of it is known."""
        if self.shape is None or None in self.shape:
            return None
        return tuple(size for size in self.shape if size is not None)

    def __str__(self) -> str:
        if self.shape is None:
            return 'unknown shape'
        return 'x'.join('?' if size is None else str(size) for size in self.shape) or 'scalar'


@dataclass(frozen=True)
class Graph:
    """What is left of an ONNX graph when everything known at build time is gone.

    Attributes:
        opset: Version of the standard operators.
        nodes: In the order of the file; operators of another domain are named domain::op.
        folded: Number of nodes that the builder computes or drops, so that none of them runs.
        inputs: Inputs, without weights.
        outputs: Outputs, by the name of the tensor that makes them when no-ops are gone.
        results: Outputs, by the names that the file gives them.
        tensors: Types and shapes by name.
        constants: Names of what is known at build time.
        values: The values of small constants.
        weights: Types and shapes of what the file holds, before anything is folded.
    """

    opset: int
    nodes: tuple[Node, ...]
    folded: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    results: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    constants: frozenset[str]
    values: Mapping[str, Array]
    weights: Mapping[str, Tensor]

    def tensor(self, name: str) -> Tensor:
        """Return what is known of a tensor."""
        return self.tensors.get(name, Tensor())


def read_graph(path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Graph:
    """Return the graph of an ONNX file; weights beside the file are not read.

    Args:
        path: The file.
        shapes: Shapes of inputs, in place of what the file says of them.

    Raises:
        ModelFileError: It cannot be read, or `shapes` does not fit it.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except OSError as exc:
        raise ModelFileError(f'{path}: cannot be read: {exc.strerror or exc}') from exc
    except (DecodeError, ValueError, RuntimeError) as exc:
        raise ModelFileError(f'{path}: is not an ONNX file: {exc}') from exc
    if not model.graph.node:
        raise ModelFileError(f'{path}: holds no nodes; it is empty, or no ONNX file')
    return fold_graph(model, shapes or {}, str(path))


def fold_graph(model: Any, shapes: Mapping[str, tuple[int, ...]], name: str) -> Graph:
    """Return the graph of a model in memory, which stays as it is.

    Args:
        model: An onnx.ModelProto.
        shapes: Shapes of inputs, in place of what the model says of them.
        name: What errors call the model.

    Raises:
        ModelFileError: Shapes cannot be inferred, or `shapes` does not fit the inputs.
    """
    _check_names(model.graph, name)
    light = _without_weights(model)
    weights = {each.name for each in model.graph.initializer}
    inputs = tuple(each.name for each in model.graph.input if each.name not in weights)
    _set_shapes(light.graph, shapes, inputs, name)
    values = {each.name: _values(each, name) for each in light.graph.initializer}
    tensors: dict[str, Tensor] = {}
    for _ in range(MAX_PASSES):
        tensors = _infer(light, name)
        if not _fold(light, values, tensors):
            break
    opset = _opset(model)
    constants, nodes = _split(light.graph.node, weights | set(values))
    aliases: dict[str, str] = {}
    for node in nodes:
        if node.op_type in _NO_OPS and node.input:
            aliases[node.output[0]] = aliases.get(node.input[0], node.input[0])
    kept = [node for node in nodes if not (node.op_type in _NO_OPS and node.input)]
    return Graph(
        opset,
        tuple(_node(node, aliases, place) for place, node in enumerate(kept)),
        len(model.graph.node) - len(kept),
        inputs,
        tuple(aliases.get(each.name, each.name) for each in model.graph.output),
        tuple(each.name for each in model.graph.output),
        tensors,
        frozenset(constants),
        values,
        {name: Tensor(_type_name(w.data_type), tuple(w.dims)) for name, w in _weights(model.graph)},
    )


def _check_names(graph: Any, name: str) -> None:
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    names = [each.name for each in values]
    for node in graph.node:
        names += (node.name, node.op_type, node.domain, *node.input, *node.output)
        names += (each.name for each in node.attribute)
    # protobuf gives bytes where a text is not UTF-8
    bad = next((each for each in names if not isinstance(each, str)), None)
    if bad is not None:
        raise ModelFileError(f'{name}: is damaged: the name {bad!r} is no text')


def _values(weight: Any, name: str) -> Array:
    try:
        return np.asarray(onnx.numpy_helper.to_array(weight))
    except (KeyError, TypeError, ValueError) as exc:
        raise ModelFileError(f'{name}: the weight {weight.name!r} is damaged: {exc}') from exc


def _weights(graph: Any) -> Iterator[tuple[str, Any]]:
    for weight in graph.initializer:
        yield weight.name, weight
    for node in graph.node:
        if node.op_type == 'Constant':
            yield from ((node.output[0], each.t) for each in node.attribute if each.HasField('t'))


def _opset(model: Any) -> int:
    versions = [each.version for each in model.opset_import if each.domain in _STANDARD_DOMAINS]
    return max(versions, default=1)


def _without_weights(model: Any) -> Any:
    """Return a copy in which large weights are inputs: shape inference then copies no weights."""
    light = onnx.ModelProto()
    light.ir_version = model.ir_version
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph = model.graph
    light.graph.name = graph.name or 'graph'
    light.graph.node.extend(graph.node)
    light.graph.output.extend(graph.output)
    light.graph.value_info.extend(graph.value_info)
    weights = {each.name for each in graph.initializer}
    light.graph.input.extend(each for each in graph.input if each.name not in weights)
    for weight in graph.initializer:
        small = 0 <= _elements(weight.dims) <= MAX_FOLDED_ELEMENTS
        if small and weight.data_location != onnx.TensorProto.EXTERNAL:
            light.graph.initializer.append(weight)
        else:
            light.graph.input.append(
                onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
            )
    return light


def _elements(dims: Any) -> int:
    count = 1
    for size in dims:
        count *= size
    return count


def _set_shapes(
    graph: Any, shapes: Mapping[str, tuple[int, ...]], inputs: tuple[str, ...], name: str
) -> None:
    if not shapes:
        return
    for tensor, shape in shapes.items():
        if tensor not in inputs:
            raise ModelFileError(
                f'{name}: has no input {tensor!r} that could be {list(shape)}; its inputs: '
                f'{", ".join(inputs)}'
            )
    for value in graph.input:
        if value.name not in shapes:
            continue
        dims = value.type.tensor_type.shape.dim
        wanted = shapes[value.name]
        known = [each.dim_value for each in dims]
        if len(known) != len(wanted) or any(a not in (0, b) for a, b in zip(known, wanted)):  # noqa: B905
            found = 'x'.join(str(size) if size else '?' for size in known)
            raise ModelFileError(
                f'{name}: the input {value.name!r} is {found}, and cannot be {list(wanted)}'
            )
        for dim, size in zip(dims, wanted, strict=True):
            dim.dim_value = size
    # what the exporter knew of the old shapes is no longer so
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField('shape')


def _infer(model: Any, name: str) -> dict[str, Tensor]:
    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    # a damaged dimension can make the library ask for more memory than there is
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError, MemoryError) as exc:
        raise ModelFileError(f'{name}: shapes cannot be inferred: {exc}') from exc
    tensors = {
        each.name: Tensor(_type_name(each.data_type), tuple(each.dims))
        for each in graph.initializer
    }
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        shape = None
        if kind.HasField('shape'):
            shape = tuple(
                each.dim_value if each.HasField('dim_value') else None for each in kind.shape.dim
            )
        tensors[value.name] = Tensor(_type_name(kind.elem_type), shape)
    return tensors


def _type_name(number: int) -> str | None:
    known = onnx.TensorProto.DataType
    return str(known.Name(number)).lower() if number in known.values() and number else None


def _fold(model: Any, values: dict[str, Array], tensors: dict[str, Tensor]) -> bool:
    """Turn nodes whose values follow into initializers; return whether there were any."""
    graph = model.graph
    kept = []
    opsets = {each.domain: each.version for each in model.opset_import}
    for node in graph.node:
        results = _evaluate(node, values, tensors, opsets)
        if results is None:
            kept.append(node)
            continue
        for name, result in zip(node.output, results, strict=False):
            values[name] = result
            graph.initializer.append(onnx.numpy_helper.from_array(result, name))
    folded = len(kept) < len(graph.node)
    del graph.node[:]
    graph.node.extend(kept)
    return folded


def _evaluate(
    node: Any, values: dict[str, Array], tensors: dict[str, Tensor], opsets: dict[str, int]
) -> list[Array] | None:
    if node.domain not in _STANDARD_DOMAINS or node.op_type not in _FOLDABLE:
        return None
    if node.op_type in ('Shape', 'Size') and node.input and node.input[0] not in values:
        shape = tensors.get(node.input[0], Tensor()).fixed
        if shape is None:
            return None
        if node.op_type == 'Size':
            return [np.array(_elements(shape), np.int64)]
        cut = {each.name: each.i for each in node.attribute}
        return [np.array(shape[cut.get('start', 0) : cut.get('end')], np.int64)]
    if not all(name in values for name in node.input if name):
        return None
    if sum(values[name].size for name in node.input if name) > MAX_FOLDED_ELEMENTS:
        return None
    # only graphs with shape arithmetic need it
    from onnx.reference import ReferenceEvaluator

    try:
        with np.errstate(all='ignore'):
            feeds = {name: values[name] for name in node.input if name}
            results = ReferenceEvaluator(node, opsets=opsets).run(None, feeds)
    # whatever is wrong with a node, it then is a node that is not folded, and judged as such
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return None
    arrays = [each for each in results if isinstance(each, np.ndarray)]
    if len(arrays) != len(node.output) or any(a.size > MAX_FOLDED_ELEMENTS for a in arrays):
        return None
    return arrays


def _split(nodes: Any, constants: set[str]) -> tuple[set[str], list[Any]]:
    """Return all names known at build time, and the nodes that are not."""
    running = []
    for node in nodes:
        known = all(name in constants for name in node.input if name)
        nested = any(each.HasField('g') or each.graphs for each in node.attribute)
        if known and not nested and node.op_type not in _RANDOM:
            constants.update(node.output)
        else:
            running.append(node)
    return constants, running


def _node(node: Any, aliases: Mapping[str, str], place: int) -> Node:
    standard = node.domain in _STANDARD_DOMAINS
    return Node(
        place,
        node.name or f'{node.op_type}_{place}',
        node.op_type if standard else f'{node.domain}::{node.op_type}',
        tuple(aliases.get(name, name) for name in node.input),
        tuple(name for name in node.output if name),
        {each.name: _attribute(each) for each in node.attribute},
    )


def _attribute(attribute: Any) -> Any:
    try:
        value = onnx.helper.get_attribute_value(attribute)
    except ValueError:
        return None
    return value.decode(errors='replace') if isinstance(value, bytes) else value
