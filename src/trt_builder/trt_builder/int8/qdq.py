# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Q/DQ: INT8 written into the ONNX file itself, in the form that every TensorRT reads.

QuantizeLinear and DequantizeLinear go in pairs, symmetric INT8: one scale for each activation, one
for each output channel of a weight; biases stay as they are. The values are those of ONNX Runtime's
static quantisation with the options that suit TensorRT; they are placed here because ONNX Runtime
hands a quantised tensor to all of its readers, also to layers that are to keep their precision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
import tempfile
from typing import Any
import warnings

import numpy as np
import onnx
from onnx import helper
from onnx import numpy_helper
from onnx import shape_inference
from onnx import TensorProto
from onnx import version_converter

from trt_builder.int8.ranges import INT8_MAX
from trt_builder.int8.ranges import measure_thresholds
from trt_builder.int8.ranges import PERCENTILE
from trt_builder.int8.tensorrt_cache import CalibrationCache
from trt_engine.backend import Array
from trt_engine.backend import Backend
from trt_engine.backends import open_backend
from trt_engine.errors import BuildFailedError
from trt_engine.errors import BuildRefusedError
from trt_engine.errors import CalibrationError

MIN_OPSET = 13  # the first whose QuantizeLinear has an axis
MAX_BYTES = (1 << 31) - 1  # of one protobuf message

Inputs = Mapping[str, Array]
Warn = Callable[[str], object]

_POOLS = ('MaxPool', 'AveragePool', 'GlobalAveragePool')
_FEATURE_MAP = 4  # dimensions


@dataclass(frozen=True)
class Layer:
    """A node that can run in INT8.

    Attributes:
        name: Of the node, in the written file too.
        op: Its ONNX operator.
        activations: The tensors that are quantised for it.
        weight: Its constant weight, or None.
        axis: Output channels of the weight.
        depthwise: It is a convolution in which no channel sees another.
        last: No other layer with a weight lies between it and the outputs of the network.
    """

    name: str
    op: str
    activations: tuple[str, ...]
    weight: str | None = None
    axis: int = 0
    depthwise: bool = False
    last: bool = False


@dataclass(frozen=True)
class Keep:
    """Which layers keep their precision.

    Attributes:
        patterns: Patterns (`*`, `?`, `[...]`) of names of nodes.
        names: Names of nodes.
        depthwise: Depthwise convolutions: their channels have ranges far apart and share one
            scale, and as memory bounds them there is little to win.
        last: The last layers before each output.
    """

    patterns: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    depthwise: bool = True
    last: bool = True

    def reason(self, layer: Layer) -> str | None:
        """Return why that layer keeps its precision, or None."""
        for pattern in self.patterns:
            if fnmatchcase(layer.name, pattern):
                return f'matches {pattern!r}'
        if layer.name in self.names:
            return 'chosen to keep its precision'
        if self.depthwise and layer.depthwise:
            return 'a depthwise convolution'
        if self.last and layer.last:
            return 'the last layer before an output'
        return None


SUGGESTED = Keep()


@dataclass(frozen=True)
class QdqReport:
    """What became INT8, and what did not.

    Attributes:
        layers: Names of the nodes in INT8.
        kept: Name of each other layer -> why it keeps its precision.
        scales: Activation -> scale.
        opset: Of the written file.
        source_opset: Of the model.
        cosine: Output -> cosine between model and written file on the first sample; empty where
            there was none.
    """

    layers: tuple[str, ...]
    kept: Mapping[str, str] = field(hash=False)
    scales: Mapping[str, float] = field(hash=False)
    opset: int
    source_opset: int
    cosine: Mapping[str, float] = field(hash=False)

    @property
    def summary(self) -> str:
        """Return one line for the log."""
        total = len(self.layers) + len(self.kept)
        raised = f', opset {self.source_opset} -> {self.opset}'
        return (
            f'Q/DQ at {len(self.layers)} of {total} layers, {len(self.scales)} activation scales'
            f'{raised if self.opset != self.source_opset else f", opset {self.opset}"}'
        )


class FloatModel:
    """An FP32 network, and which of its layers can run in INT8.

    Args:
        path: The ONNX file.

    Raises:
        BuildRefusedError: It cannot be read, is quantised already, or is too large.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        proto = _load(path)
        if _has_qdq(proto):
            raise BuildRefusedError(
                f'{path}: has QuantizeLinear nodes already; use it as it is, without calibration'
            )
        self.source_opset = _opset(proto)
        self.proto = _prepare(proto, path)
        self.opset = _opset(self.proto)
        graph = self.proto.graph
        self._constants = _constants(graph)
        self._types = {
            each.name: each.type.tensor_type
            for each in chain(graph.input, graph.value_info, graph.output)
        }
        self.layers = _mark_last(graph, tuple(self._find_layers()))

    def tensors(self) -> tuple[str, ...]:
        """Return the activations of all layers."""
        return tuple(dict.fromkeys(chain.from_iterable(each.activations for each in self.layers)))

    def with_outputs(self, tensors: Iterable[str]) -> onnx.ModelProto:
        """Return the network with more tensors among its outputs."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        _add_outputs(proto.graph, tensors)
        return proto

    def quantized(
        self,
        layers: Iterable[Layer],
        scales: Mapping[str, float],
        outputs: Iterable[str] = (),
    ) -> onnx.ModelProto:
        """Return the network with Q/DQ before some of its layers.

        Args:
            layers: Those that become INT8; every other reader of their tensors sees what it saw.
            scales: Activation -> scale, above 0; has all that the layers need.
            outputs: More tensors to have among the outputs, as they are before quantisation.
        """
        proto = self.with_outputs(outputs)
        graph = proto.graph
        chosen = {layer.name: layer for layer in layers}
        pairs = _Pairs(graph)
        nodes = []
        for node in graph.node:
            layer = chosen.get(node.name)
            if layer is not None:
                for place, name in enumerate(node.input):
                    if name in layer.activations:
                        node.input[place] = pairs.pair(name, np.float32(scales[name]), None)
                    elif name == layer.weight:
                        scale = _weight_scales(self._constants[name], layer.axis)
                        node.input[place] = pairs.pair(name, scale, layer.axis)
                nodes += pairs.take()
            nodes.append(node)
        pairs.finish()
        fresh = [_copy(node) for node in nodes]
        del graph.node[:]
        graph.node.extend(fresh)
        return proto

    def _find_layers(self) -> Iterator[Layer]:
        for node in self.proto.graph.node:
            if node.op_type in ('Conv', 'ConvTranspose', 'Gemm', 'MatMul'):
                layer = self._weighted(node)
            elif node.op_type in _POOLS and self._is_float(node.input[0]):
                layer = Layer(node.name, node.op_type, (node.input[0],))
            elif node.op_type == 'Add' and self._is_residual(node):
                layer = Layer(node.name, node.op_type, tuple(node.input))
            else:
                continue
            if layer is not None:
                yield layer

    def _weighted(self, node: onnx.NodeProto) -> Layer | None:
        weight = self._constants.get(node.input[1])
        if weight is None or weight.dtype != np.float32 or node.input[0] in self._constants:
            return None
        axis = {'Conv': 0, 'ConvTranspose': 1, 'Gemm': 1, 'MatMul': weight.ndim - 1}[node.op_type]
        if node.op_type == 'Gemm' and _attribute(node, 'transB', 0):
            axis = 0
        if node.op_type == 'MatMul' and weight.ndim != 2:
            return None
        depthwise = node.op_type == 'Conv' and 1 < _attribute(node, 'group', 1) == weight.shape[0]
        return Layer(node.name, node.op_type, (node.input[0],), node.input[1], axis, depthwise)

    def _is_residual(self, node: onnx.NodeProto) -> bool:
        if any(name in self._constants or not self._is_float(name) for name in node.input):
            return False
        one, other = (self._types[name].shape.dim for name in node.input)
        return len(one) == _FEATURE_MAP and list(one) == list(other)

    def _is_float(self, name: str) -> bool:
        tensor = self._types.get(name)
        return tensor is not None and tensor.elem_type == TensorProto.FLOAT


def has_qdq(model: Path) -> bool:
    """Return whether an ONNX file is quantised already.

    Raises:
        BuildRefusedError: It cannot be read.
    """
    return _has_qdq(_load(model, weights=False))


def sensitive_layers(model: Path) -> tuple[str, ...]:
    """Return the nodes that a calibrator should leave alone, by the names that they have there.

    Those are the layers that SUGGESTED keeps, and all that follows the last of them: boxes and
    scores that share one tensor, and so one scale, would leave little of the scores.

    Raises:
        BuildRefusedError: The model cannot be read, or is quantised already.
    """
    source = FloatModel(model)
    kept = {each.name for each in source.layers if SUGGESTED.reason(each) is not None}
    last = {each.name for each in source.layers if each.last}
    beyond: set[str] = set()
    for node in source.proto.graph.node:
        if node.name in last or not beyond.isdisjoint(node.input):
            kept.add(node.name)
            beyond.update(node.output)
    names = Counter(node.name for node in _load(model, weights=False).graph.node)
    return tuple(name for name in names if name in kept and names[name] == 1)


def insert(
    model: Path,
    out: Path,
    samples: Iterable[Inputs],
    *,
    method: str = 'percentile',
    percentile: float = PERCENTILE,
    keep: Keep = SUGGESTED,
    progress: Callable[[int], object] | None = None,
    warn: Warn = warnings.warn,
) -> QdqReport:
    """Write a model with Q/DQ whose scales come from calibration data.

    Args:
        model: An FP32 ONNX file.
        out: The file to write.
        samples: Network inputs, batch 1; each is used before the next is asked for.
        method: How each range is cut: one of `trt_builder.int8.ranges.METHODS`.
        percentile: For that method.
        keep: Which layers keep their precision.
        progress: Told the number of samples done.
        warn: Told about tensors that say nothing.

    Raises:
        BuildRefusedError: The model cannot be quantised.
        BuildFailedError: The written file does not run, or not to finite outputs.
        CalibrationError: The samples or the method cannot be used.
    """
    source = FloatModel(model)
    scales, first = calibrate(
        source, samples, method=method, percentile=percentile, progress=progress
    )
    if silent := [name for name, scale in scales.items() if not scale]:
        warn(
            f'{len(silent)} tensors are zero in every calibration sample and stay as they are '
            f'(first: {silent[0]!r})'
        )
    return write(source, out, scales, keep=keep, sample=first)


def from_cache(
    model: Path,
    out: Path,
    cache: CalibrationCache,
    *,
    keep: Keep = SUGGESTED,
) -> QdqReport:
    """Write a model with Q/DQ whose scales come from a calibration cache of TensorRT.

    A layer whose tensors the cache does not have keeps its precision, as in TensorRT.

    Args:
        model: The FP32 ONNX file that the cache was made with.
        out: The file to write.
        cache: The scales.
        keep: Which layers keep their precision.

    Raises:
        BuildRefusedError: The model cannot be quantised.
        BuildFailedError: The written file does not load.
        CalibrationError: The cache has not one tensor of the model.
    """
    source = FloatModel(model)
    wanted = source.tensors()
    scales = {name: cache.scales[name] for name in wanted if name in cache.scales}
    if wanted and not scales:
        raise CalibrationError(
            f'the calibration cache ({len(cache.scales)} tensors) has none of the {len(wanted)} '
            f'that {model} needs (first: {wanted[0]!r}): it is of another model; calibrate again'
        )
    return write(source, out, scales, keep=keep)


def calibrate(
    source: FloatModel,
    samples: Iterable[Inputs],
    *,
    method: str,
    percentile: float = PERCENTILE,
    progress: Callable[[int], object] | None = None,
) -> tuple[dict[str, float], dict[str, Array]]:
    """Return the scale of each activation, 0 where all was zero, and a copy of the first sample.

    Raises:
        CalibrationError: The samples or the method cannot be used.
    """
    first: dict[str, Array] = {}

    def watched() -> Iterator[Inputs]:
        for inputs in samples:
            first.update({} if first else {name: each.copy() for name, each in inputs.items()})
            yield inputs

    tensors = source.tensors()
    with open_model(source.with_outputs(tensors)) as backend:
        thresholds = measure_thresholds(
            backend, tensors, watched(), method=method, percentile=percentile, progress=progress
        )
    return {name: each / INT8_MAX for name, each in thresholds.items()}, first


def write(
    source: FloatModel,
    out: Path,
    scales: Mapping[str, float],
    *,
    keep: Keep = SUGGESTED,
    sample: Inputs | None = None,
) -> QdqReport:
    """Write a model with Q/DQ of known scales, and see that it runs.

    Raises:
        BuildRefusedError: Nothing is left to quantise, or `keep` names what is not there.
        BuildFailedError: The written file does not load, or gives numbers that are not finite.
    """
    layers, kept = choose_layers(source, scales, keep)
    used = set(chain.from_iterable(each.activations for each in layers))
    scales = {name: scale for name, scale in scales.items() if name in used}
    proto = source.quantized(layers, scales)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as exc:
        raise BuildFailedError(f'{source.path}: with Q/DQ it is no valid ONNX: {exc}') from exc
    with open_model(proto) as backend:
        cosine = {} if not sample else _compare(source, backend, sample)
    try:
        onnx.save(proto, out)
    except OSError as exc:
        raise BuildFailedError(f'{out}: cannot be written: {exc.strerror or exc}') from exc
    names = tuple(each.name for each in layers)
    return QdqReport(names, kept, scales, source.opset, source.source_opset, cosine)


@contextmanager
def open_model(proto: onnx.ModelProto, *, threads: int = 0) -> Iterator[Backend]:
    """Run an ONNX model that is in memory, on the CPU."""
    with tempfile.TemporaryDirectory(prefix='trt_builder_') as folder:
        path = Path(folder, 'model.onnx')
        onnx.save(proto, path)
        backend = open_backend('onnxruntime', path, threads=threads)
    try:
        yield backend
    finally:
        backend.close()


def choose_layers(
    source: FloatModel, scales: Mapping[str, float], keep: Keep
) -> tuple[list[Layer], dict[str, str]]:
    """Return the layers that become INT8, and each other one with the reason why it does not.

    Raises:
        BuildRefusedError: No layer is left, or `keep` names what is not there.
    """
    nodes = [node.name for node in source.proto.graph.node]
    unknown = [each for each in keep.patterns if not any(fnmatchcase(name, each) for name in nodes)]
    unknown += sorted(keep.names - set(nodes))
    if unknown:
        raise BuildRefusedError(
            f'{source.path}: no node is called {", ".join(unknown)}; '
            f'its layers: {", ".join(each.name for each in source.layers[:8])}, ...'
        )
    layers, kept = [], {}
    for layer in source.layers:
        reason = keep.reason(layer)
        for tensor in layer.activations:
            if reason is None and not scales.get(tensor):
                what = 'is always zero' if tensor in scales else 'has no scale'
                reason = f'its input {tensor!r} {what}'
        if reason is None:
            layers.append(layer)
        else:
            kept[layer.name] = reason
    if not layers:
        reasons = ', '.join(sorted(set(kept.values()))[:5]) or 'no FP32 layer has constant weights'
        raise BuildRefusedError(f'{source.path}: nothing is left to quantise: {reasons}')
    return layers, kept


def _compare(source: FloatModel, backend: Backend, sample: Inputs) -> dict[str, float]:
    with open_model(source.proto) as reference:
        expected = reference.run(sample)
        found = backend.run(sample)
        cosine = {}
        for name, wanted in expected.items():
            if not np.isfinite(found[name]).all() and np.isfinite(wanted).all():
                raise BuildFailedError(
                    f'{source.path}: with Q/DQ output {name!r} is not finite any more; calibrate '
                    'with data like that of the real use'
                )
            a, b = wanted.ravel().astype(np.float64), found[name].ravel().astype(np.float64)
            length = float(np.linalg.norm(a) * np.linalg.norm(b))
            cosine[name] = float(a @ b) / length if length else float(np.array_equal(a, b))
        return cosine


class _Pairs:
    """Makes one Q/DQ pair for each tensor."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._names = {
            name for node in graph.node for name in chain(node.input, node.output, [node.name])
        } | {each.name for each in chain(graph.initializer, graph.input)}
        self._made: dict[str, str] = {}
        self._pending: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def pair(self, tensor: str, scale: Array | np.float32, axis: int | None) -> str:
        """Return the name of the tensor after quantisation."""
        if tensor not in self._made:
            zero = np.zeros(np.shape(scale), np.int8)
            by = [self._constant(f'{tensor}_scale', np.asarray(scale, np.float32))]
            by.append(self._constant(f'{tensor}_zero_point', zero))
            quantized = self._fresh(f'{tensor}_quantized')
            result = self._made[tensor] = self._fresh(f'{tensor}_dequantized')
            attributes = {} if axis is None else {'axis': axis}
            for op, source, target in (
                ('QuantizeLinear', tensor, quantized),
                ('DequantizeLinear', quantized, result),
            ):
                name = self._fresh(f'{tensor}_{op}')
                self._pending.append(
                    helper.make_node(op, [source, *by], [target], name, **attributes)
                )
        return self._made[tensor]

    def take(self) -> list[onnx.NodeProto]:
        """Return the nodes made since the last call."""
        nodes, self._pending = self._pending, []
        return nodes

    def finish(self) -> None:
        """Give the graph the scales and zero points."""
        self._graph.initializer.extend(self._constants)

    def _constant(self, name: str, value: Array) -> str:
        name = self._fresh(name)
        self._constants.append(numpy_helper.from_array(value, name))
        return name

    def _fresh(self, name: str) -> str:
        while name in self._names:
            name += '_'
        self._names.add(name)
        return name


def _weight_scales(weight: Array, axis: int) -> Array:
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scales: Array = (np.abs(weight).max(axis=others) / INT8_MAX).astype(np.float32)
    # a channel without weights is exact with any scale, but a scale must be above 0
    scales[scales < np.finfo(np.float32).tiny] = 1
    return scales


def _load(path: Path, *, weights: bool = True) -> onnx.ModelProto:
    try:
        proto = onnx.load(path, load_external_data=weights)
    except OSError as exc:
        raise BuildRefusedError(f'{path}: cannot be read: {exc.strerror or exc}') from exc
    except Exception as exc:  # whatever the protobuf library of the day raises
        raise BuildRefusedError(f'{path}: not an ONNX file: {exc}') from exc
    if not proto.graph.node:
        raise BuildRefusedError(f'{path}: not an ONNX file, or a network without a node')
    return proto


def _prepare(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    if proto.ByteSize() > MAX_BYTES:
        raise BuildRefusedError(
            f'{path}: {proto.ByteSize()} bytes with its weights; Q/DQ goes into one file of at '
            f'most {MAX_BYTES} bytes; quantise it where it is exported'
        )
    constants = {each.name for each in proto.graph.initializer}
    inputs = [each for each in proto.graph.input if each.name not in constants]
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    proto.ir_version = max(proto.ir_version, 4)  # before, constants had to be inputs as well
    try:
        if _opset(proto) < MIN_OPSET:
            proto = version_converter.convert_version(proto, MIN_OPSET)
        proto = shape_inference.infer_shapes(proto, data_prop=True)
    except Exception as exc:  # the converter's C++ raises what it likes
        raise BuildRefusedError(
            f'{path}: opset {_opset(proto)} cannot be raised to {MIN_OPSET}, which Q/DQ needs: '
            f'{exc}; export the model again with opset {MIN_OPSET} to 17'
        ) from exc
    names = [node.name for node in proto.graph.node]
    taken = {name for name in names if names.count(name) == 1}
    for node in proto.graph.node:
        if node.name not in taken:
            node.name = f'{node.op_type}_{next(filter(None, node.output))}'
    return proto


def _constants(graph: onnx.GraphProto) -> dict[str, Array]:
    found = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    for node in graph.node:
        if node.op_type == 'Constant' and (value := _attribute(node, 'value', None)) is not None:
            found[node.output[0]] = numpy_helper.to_array(value)
    return found


def _add_outputs(graph: onnx.GraphProto, tensors: Iterable[str]) -> None:
    there = {each.name for each in chain(graph.output, graph.input)}
    graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in dict.fromkeys(tensors)
        if name not in there
    )


def _mark_last(graph: onnx.GraphProto, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    weighted = {each.name for each in layers if each.weight is not None}
    followed: set[str] = set()  # tensors from which a layer with a weight can be reached
    last = set()
    for node in reversed(graph.node):
        reaches = any(name in followed for name in node.output)
        if node.name in weighted and not reaches:
            last.add(node.name)
        if reaches or node.name in weighted:
            followed.update(node.input)
    return tuple(replace(each, last=each.name in last) for each in layers)


def _has_qdq(proto: onnx.ModelProto) -> bool:
    return any(node.op_type == 'QuantizeLinear' for node in proto.graph.node)


def _opset(proto: onnx.ModelProto) -> int:
    versions = [each.version for each in proto.opset_import if each.domain in ('', 'ai.onnx')]
    return int(max(versions, default=1))


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    for each in node.attribute:
        if each.name == name:
            return helper.get_attribute_value(each)
    return default


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    fresh = onnx.NodeProto()
    fresh.CopyFrom(node)
    return fresh
