# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a DLA of Orin can compute: NVIDIA's layer restrictions as data, and the checks on them.

From TensorRT's documents and headers for 8.6 to 10.7, and from what its builder logs on boards.
TensorRT itself has the last word (`can_run_on_DLA`); where its documents contradict each other, a
verdict says so in `doubt`.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from math import prod
from typing import Any

from trt_engine.onnx_graph import Array
from trt_engine.onnx_graph import Graph
from trt_engine.onnx_graph import Node
from trt_engine.onnx_graph import Shape

MAX_LOADABLES = 16  # on one core at a time
MAX_BATCH = 4096
MAX_SIZE = 8192
MAX_TENSOR_BYTES = 1 << 30
BYTES = {'fp16': 2, 'int8': 1}
STATIC_QDQ_SINCE = (11, 4, 1)  # before, DLA took scales from a calibration cache alone

Range = tuple[int, int]

CONVOLUTION: Mapping[str, Range] = {
    'kernel': (1, 32),
    'stride': (1, 8),
    'padding': (0, 31),
    'dilation': (1, 32),
    'groups': (1, MAX_SIZE),
    'output channels': (1, MAX_SIZE),
}
DECONVOLUTION: Mapping[str, Range] = {
    'kernel': (1, 32),
    'stride': (1, 32),
    'padding': (0, 0),
    'dilation': (1, 1),
    'groups': (1, 1),
    'output channels': (1, MAX_SIZE),
}
DECONVOLUTION_LINES = (64, 96, 128)  # by 1, beyond the range
DECONVOLUTION_SLOW: Range = (23, 32)  # square: TensorRT turned them off, they compile for too long
POOLING: Mapping[str, Range] = {'window': (1, 8), 'stride': (1, 16), 'padding': (0, 7)}
CLIP_MAX: tuple[float, float] = (1, 127)
LRN_SIZES = (3, 5, 7, 9)
RESIZE_SCALES: Mapping[str, Range] = {'nearest': (1, 32), 'linear': (1, 4)}
RESIZE_NEAREST = (
    ('asymmetric', 'floor'),
    ('half_pixel', 'round_prefer_floor'),
    ('half_pixel', 'round_prefer_ceil'),
)
SOFTMAX_AXIS_ALONE = 8192
SOFTMAX_AXIS = 1024
CONVOLUTION_BANKS = 16  # of the buffer that holds weights and pixels of a convolution

_REBUILD = 'it can be rebuilt from layers that the DLA has'
NOT_ON_DLA: Mapping[str, str] = {
    **dict.fromkeys(('And', 'DepthToSpace', 'GRU', 'Neg', 'Not', 'Or', 'SpaceToDepth'), _REBUILD),
    **dict.fromkeys(('Gather', 'ScatterElements', 'Where', 'Xor'), _REBUILD),
    **dict.fromkeys(('HardSigmoid', 'HardSwish', 'Mish', 'Elu', 'Softplus'), 'use ReLU or SiLU'),
    'GlobalAveragePool': 'an AveragePool of at most 8x8 would run',
    'ReduceMean': 'over H and W, an AveragePool of at most 8x8 would run',
    'Pad': 'padding inside a Conv or pool would run',
    **dict.fromkeys(('Flatten', 'Squeeze', 'Unsqueeze'), 'a Reshape of 4 dimensions would run'),
    'Min': 'TensorRT does not expose it for DLA; Max of negated values would run',
}
_SINCE_8_6_12 = 'the documents list it from TensorRT 8.6.12 (DriveOS), the header of 10.3 does not'
DOUBTFUL: Mapping[str, str] = {
    'Div': f'{_SINCE_8_6_12}; 8.6 and 10.3 on Orin were seen to refuse it',
    'Pow': f'{_SINCE_8_6_12}; 8.6 on Orin was seen to refuse it',
    **dict.fromkeys(('Sin', 'Cos', 'Atanh', 'GlobalMaxPool'), _SINCE_8_6_12),
}


@dataclass(frozen=True)
class Verdict:
    """Whether a node can run on a DLA.

    Attributes:
        broken: The limits that it breaks, each in words; none: it can run.
        doubt: Where the sources disagree.
    """

    broken: tuple[str, ...] = ()
    doubt: str = ''

    @property
    def runs(self) -> bool:
        """Return whether nothing known stands against it."""
        return not self.broken


@dataclass(frozen=True)
class Site:
    """A node and what surrounds it."""

    graph: Graph
    node: Node
    precision: str
    tensorrt: tuple[int, ...]
    producers: Mapping[str, Node]
    consumers: Mapping[str, tuple[Node, ...]]

    def attribute(self, name: str, default: Any) -> Any:
        """Return an attribute of the node."""
        value = self.node.attributes.get(name)
        return default if value is None else value

    def numbers(self, name: str, default: Iterable[int]) -> tuple[int, ...]:
        """Return an attribute that is a list of numbers."""
        return tuple(int(each) for each in self.attribute(name, default))

    def has_input(self, place: int) -> bool:
        """Return whether an optional input is there."""
        return place < len(self.node.inputs) and bool(self.node.inputs[place])

    def is_constant(self, place: int) -> bool:
        """Return whether an input is known at build time."""
        return self.node.inputs[place] in self.graph.constants

    def value(self, place: int) -> Array | None:
        """Return the value of a small constant input."""
        return self.graph.values.get(self.node.inputs[place]) if self.has_input(place) else None

    def shape(self, place: int) -> tuple[int, ...]:
        """Return the shape of an input; () where it is unknown."""
        known = self.graph.tensor(self.node.inputs[place]).fixed if self.has_input(place) else None
        return known or ()

    @cached_property
    def data_inputs(self) -> tuple[str, ...]:
        """Return the inputs that arrive at run time."""
        return tuple(n for n in self.node.present_inputs if n not in self.graph.constants)

    @cached_property
    def output(self) -> tuple[int, ...]:
        """Return the shape of the first output; () where it is unknown."""
        if not self.node.outputs:
            return ()
        return self.graph.tensor(self.node.outputs[0]).fixed or ()


Check = Callable[[Site], Iterator[str]]


def judge(site: Site) -> Verdict:
    """Return whether one node can run on a DLA, or all limits that it breaks."""
    op = site.node.op
    if site.precision not in BYTES:
        return Verdict((f'a DLA computes in FP16 and INT8, not in {site.precision}',))
    if op in DOUBTFUL:
        return Verdict((f'{op} is not DLA work',), DOUBTFUL[op])
    check = CHECKS.get(op)
    if check is None:
        hint = NOT_ON_DLA.get(op, '')
        return Verdict((f'{op} is not DLA work' + (f'; {hint}' if hint else ''),))
    tensors = tuple(_tensor_limits(site))
    if tensors:
        return Verdict(tensors)
    try:
        return Verdict(tuple(check(site)), DOUBTS[op](site) if op in DOUBTS else '')
    # such as a Conv without weights, or strides that are text
    except (IndexError, TypeError, ValueError) as exc:
        return Verdict((f'{op} is not well formed: {exc}',))


def batch_of(shape: Shape | None) -> int:
    """Return what DLA calls the batch: the product of all dimensions before C, H and W."""
    sizes = [1 if size is None else size for size in shape or ()]
    return prod(sizes[:-3]) if len(sizes) > 3 else (sizes or [1])[0]


def _tensor_limits(site: Site) -> Iterator[str]:
    for name in (*site.data_inputs, *site.node.outputs):
        tensor = site.graph.tensor(name)
        if tensor.shape is None:
            yield f'the shape of {name} is unknown'
        elif tensor.fixed is None:
            yield f'{name} is {tensor}: no dynamic dimensions, fix them'
        else:
            wide = tensor.fixed[-3:] if len(tensor.fixed) > 3 else tensor.fixed[1:]
            if batch_of(tensor.fixed) > MAX_BATCH:
                yield f'{name} is {tensor}: batch at most {MAX_BATCH}'
            if max(wide, default=0) > MAX_SIZE:
                yield f'{name} is {tensor}: C, H, W at most {MAX_SIZE}'
            if prod(tensor.fixed) * BYTES[site.precision] >= MAX_TENSOR_BYTES:
                yield f'{name} is {tensor}: less than 1 GiB'
        other = tensor.dtype not in ('float', 'float16', None)
        if other and site.node.op not in _OTHER_TYPES:
            yield f'{name} is {tensor.dtype}: FP16 or INT8 alone'


def _four_dimensions(site: Site, *names: str) -> Iterator[str]:
    for name in names or (*site.data_inputs, site.node.outputs[0]):
        tensor = site.graph.tensor(name)
        if tensor.shape is not None and len(tensor.shape) != 4:
            yield f'{name} is {tensor}: 4 dimensions (N, C, H, W) alone'
            return


def _within(limits: Mapping[str, Range], **found: Iterable[int]) -> Iterator[str]:
    for key, values in found.items():
        name = key.replace('_', ' ')
        low, high = limits[name]
        listed = tuple(values)
        if listed and not low <= min(listed) <= max(listed) <= high:
            allowed = f'{low} to {high}' if low != high else f'{low} alone'
            yield f'{name} {"x".join(map(str, listed))}: {allowed}'


def _pads(site: Site, kernel: tuple[int, ...], dilations: tuple[int, ...]) -> tuple[int, ...]:
    """Return begin H, begin W, end H, end W."""
    mode = site.attribute('auto_pad', 'NOTSET')
    if mode in ('NOTSET', ''):
        return site.numbers('pads', (0,) * 4)
    if mode == 'VALID':
        return (0,) * 4
    strides = site.numbers('strides', (1, 1))
    begin, end = [], []
    for size, width, step, gap in zip(site.shape(0)[2:], kernel, strides, dilations, strict=True):
        total = max((ceil(size / step) - 1) * step + (width - 1) * gap + 1 - size, 0)
        small, large = total // 2, total - total // 2
        begin.append(small if mode == 'SAME_UPPER' else large)
        end.append(large if mode == 'SAME_UPPER' else small)
    return (*begin, *end)


def _convolution(site: Site) -> Iterator[str]:
    yield from _four_dimensions(site)
    if len(site.shape(0)) != 4:
        return
    if not site.is_constant(1):
        yield 'weights that are computed at run time'
        return
    weights = site.shape(1)
    kernel, dilations = weights[2:], site.numbers('dilations', (1, 1))
    pads = _pads(site, kernel, dilations)
    yield from _within(
        CONVOLUTION,
        kernel=kernel,
        stride=site.numbers('strides', (1, 1)),
        padding=pads,
        dilation=dilations,
        groups=(int(site.attribute('group', 1)),),
        output_channels=weights[:1],
    )
    if any(pad >= size for pad, size in zip(pads, (*kernel, *kernel), strict=True)):
        yield (
            f'padding {"x".join(map(str, pads[:2]))} with kernel {"x".join(map(str, kernel))}: '
            'less than the kernel'
        )
    channels, width = site.shape(0)[1], site.shape(0)[3]
    yield from _buffer(site.precision, channels, width, (kernel[0], kernel[1]), dilations[0])


def _buffer(
    precision: str, channels: int, width: int, kernel: tuple[int, int], dilation: int
) -> Iterator[str]:
    size = BYTES[precision]
    weights = ceil(ceil(channels * kernel[0] * kernel[1] * size / 128) * 128 / 32768)
    entries = ceil(ceil(channels * size / 32) * width / 4)
    pixels = ceil(entries * ((kernel[0] - 1) * dilation + 1) / 256)
    if weights + pixels > CONVOLUTION_BANKS:
        yield (
            f'convolution buffer: {weights + pixels} banks ({weights} for one kernel, {pixels} '
            f'for the rows under it): at most {CONVOLUTION_BANKS}'
        )


def _deconvolution(site: Site) -> Iterator[str]:
    yield from _four_dimensions(site)
    if len(site.shape(0)) != 4:
        return
    if not site.is_constant(1):
        yield 'weights that are computed at run time'
        return
    weights = site.shape(1)
    kernel, strides = weights[2:], site.numbers('strides', (1, 1))
    groups = int(site.attribute('group', 1))
    broken = dict.fromkeys(
        _within(
            DECONVOLUTION,
            kernel=() if _is_line(kernel) else kernel,
            stride=() if _is_line(strides) else strides,
            padding=site.numbers('pads', (0,) * 4),
            dilation=site.numbers('dilations', (1, 1)),
            groups=(groups,),
            output_channels=(weights[1] * groups,),
        )
    )
    yield from broken
    if str(site.attribute('auto_pad', 'NOTSET')).startswith('SAME'):
        yield 'padding of SAME: 0 alone'
    if any(site.numbers('output_padding', (0, 0))):
        yield 'output padding: none'
    low, high = DECONVOLUTION_SLOW
    for name, (height, width) in (('kernel', kernel), ('stride', strides)):
        if height == width and low <= height <= high:
            yield f'{name} {height}x{width}: square ones of {low} to {high} are turned off'


def _is_line(sizes: tuple[int, ...]) -> bool:
    return len(sizes) == 2 and min(sizes) == 1 and max(sizes) in DECONVOLUTION_LINES


def _matrix(site: Site) -> Iterator[str]:
    if site.is_constant(0) or not site.is_constant(1):
        yield 'the second matrix, and no other, is known at build time'
        return
    if len(site.shape(1)) != 2:
        yield f'a second matrix of {len(site.shape(1))} dimensions: 2 alone'
        return
    if len(site.shape(0)) not in (2, 4):
        yield f'{site.node.inputs[0]} is {site.graph.tensor(site.node.inputs[0])}: a matrix alone'
    if site.attribute('transA', 0):
        yield 'transA: the first matrix as it is'
    depth, columns = site.shape(1)
    if site.attribute('transB', 0):
        depth, columns = columns, depth
    if max(depth, columns) > MAX_SIZE:
        yield f'a matrix of {depth}x{columns}: at most {MAX_SIZE} each, as of a 1x1 convolution'
    yield from _buffer(site.precision, depth, 1, (1, 1), 1)


def _pooling(site: Site) -> Iterator[str]:
    yield from _four_dimensions(site)
    window = site.numbers('kernel_shape', ())
    if len(window) != 2:
        yield f'window of {len(window)} dimensions: 2 alone'
        return
    dilations = site.numbers('dilations', (1, 1))
    if max(dilations) > 1:
        yield f'dilation {"x".join(map(str, dilations))}: 1 alone'
    pads = _pads(site, window, dilations) if len(site.shape(0)) == 4 else ()
    yield from _within(POOLING, window=window, stride=site.numbers('strides', (1, 1)), padding=pads)
    if site.node.op == 'AveragePool' and any(pads) and not site.attribute('count_include_pad', 0):
        yield 'an average that leaves the padding out (count_include_pad 0): it counts, or is 0'


def _activation(site: Site) -> Iterator[str]:
    yield from _four_dimensions(site)


def _clip(site: Site) -> Iterator[str]:
    yield from _four_dimensions(site)
    low, high = _bound(site, 'min', 1), _bound(site, 'max', 2)
    if isinstance(low, str) or isinstance(high, str):
        yield 'bounds that are computed at run time'
        return
    if low != 0:
        yield f'from {"-inf" if low is None else f"{low:g}"}: clipped ReLU alone, which is from 0'
    if high is not None and not CLIP_MAX[0] <= high <= CLIP_MAX[1]:
        yield f'up to {high:g}: clipped ReLU, up to {CLIP_MAX[0]:g} ... {CLIP_MAX[1]:g}'


def _bound(site: Site, name: str, place: int) -> float | str | None:
    """Return a bound of Clip, None where there is none, a text where it cannot be known."""
    if site.has_input(place):
        value = site.value(place)
        return float(value.reshape(-1)[0]) if value is not None and value.size else 'unknown'
    given = site.node.attributes.get(name)
    return None if given is None or abs(given) > 1e30 else float(given)


def _prelu(site: Site) -> Iterator[str]:
    yield from _four_dimensions(site)
    if not site.is_constant(1):
        yield 'a slope that is computed at run time'


def _elementwise(site: Site) -> Iterator[str]:
    yield from _four_dimensions(site)
    if len(site.output) != 4:
        return
    for place, name in enumerate(site.node.inputs):
        shape = site.graph.tensor(name).fixed
        if shape is None:
            yield f'{name} is {site.graph.tensor(name)}: no dynamic dimensions, fix them'
            continue
        full = (1,) * (4 - len(shape)) + shape
        per_channel = full[0] in (1, site.output[0]) and full[1] in (1, site.output[1])
        if full == site.output or (per_channel and full[2:] == (1, 1)):
            continue
        kind = 'a constant' if site.is_constant(place) else 'an operand'
        yield (
            f'{kind} of {site.graph.tensor(name)} for {"x".join(map(str, site.output))}: the '
            'whole, one number, or one a channel'
        )


def _normalisation(site: Site) -> Iterator[str]:
    yield from _four_dimensions(site)
    if not all(site.is_constant(place) for place in range(1, len(site.node.inputs))):
        yield 'statistics that are computed at run time'


def _lrn(site: Site) -> Iterator[str]:
    yield from _four_dimensions(site)
    size = site.attribute('size', 0)
    if size not in LRN_SIZES:
        yield f'window {size}: {", ".join(map(str, LRN_SIZES))} alone'


def _concat(site: Site) -> Iterator[str]:
    yield from _four_dimensions(site)
    if len(site.node.present_inputs) < 2:
        yield 'one input: at least 2'
    axis = int(site.attribute('axis', 1))
    if len(site.output) == 4 and axis % 4 != 1:
        yield f'axis {axis}: channels (1) alone'


def _reduce_max(site: Site) -> Iterator[str]:
    yield from _four_dimensions(site, *site.data_inputs)
    if site.has_input(1):
        value = site.value(1)
        if value is None:
            yield 'axes that are computed at run time'
            return
        axes = tuple(int(each) for each in value.reshape(-1))
    else:
        axes = site.numbers('axes', ())
    rank = len(site.shape(0)) or 4
    if not axes or any(axis % rank == 0 for axis in axes):
        yield f'axes {", ".join(map(str, axes)) or "all"}: C, H and W alone'
    if not site.attribute('keepdims', 1):
        yield 'keepdims 0: a result of 4 dimensions alone'


def _resize(site: Site) -> Iterator[str]:
    yield from _four_dimensions(site)
    if len(site.shape(0)) != 4:
        return
    op = site.node.op
    place = 1 if op == 'Upsample' or site.graph.opset < 11 else 2
    mode = str(site.attribute('mode', 'nearest'))
    scales = site.value(place)
    if site.has_input(place) and scales is None:
        yield 'scales that are computed at run time'
    elif scales is None and 'scales' in site.node.attributes:
        yield from _scales(mode, tuple(map(float, site.attribute('scales', ()))))
    elif scales is None or not scales.size:
        yield 'the form that gives sizes: the one that gives 4 scales alone'
    else:
        yield from _scales(mode, tuple(float(each) for each in scales.reshape(-1)))
    if mode not in RESIZE_SCALES:
        yield f'mode {mode}: nearest or linear'
        return
    old = op == 'Upsample' or site.graph.opset < 11
    position = (
        'asymmetric' if old else site.attribute('coordinate_transformation_mode', 'half_pixel')
    )
    if position == 'pytorch_half_pixel' and min(site.output[2:], default=1) > 1:
        position = 'half_pixel'  # they differ where the result is one pixel wide
    rounding = 'floor' if old else site.attribute('nearest_mode', 'round_prefer_floor')
    if mode == 'linear' and position != 'half_pixel':
        yield f'linear with {position}: half_pixel alone'
    if mode == 'nearest' and (position, rounding) not in RESIZE_NEAREST:
        yield f'nearest with {position} and {rounding}: asymmetric and floor, or half_pixel rounded'


def _scales(mode: str, scales: tuple[float, ...]) -> Iterator[str]:
    shown = 'x'.join(f'{each:g}' for each in scales)
    if len(scales) != 4 or scales[:2] != (1, 1):
        yield f'scales {shown}: 4, of which N and C are 1'
        return
    low, high = RESIZE_SCALES.get(mode, (1, 32))
    if any(each != int(each) or not low <= each <= high for each in scales[2:]):
        yield f'scales {shown}: whole numbers of {low} to {high} for {mode}'


def _reshape(site: Site) -> Iterator[str]:
    yield from _four_dimensions(site)
    before, after = site.shape(0), site.output
    if before and after and before[0] != after[0]:
        yield f'batch {before[0]} becomes {after[0]}: the batch stays'
    source = site.producers.get(site.node.inputs[0])
    beside = [*site.consumers.get(site.node.outputs[0], ()), *([source] if source else [])]
    for other in beside:
        if other.op in ('Slice', 'Split', 'Concat'):
            yield f'it touches {other.op} {other.name}, which DLA validation refuses'
            return


def _transpose(site: Site) -> Iterator[str]:
    yield from _four_dimensions(site)
    order = site.numbers('perm', range(len(site.shape(0)))[::-1])
    if len(order) == 4 and order[0] != 0:
        yield f'order {", ".join(map(str, order))}: the batch stays first'


def _slice(site: Site) -> Iterator[str]:
    yield from _four_dimensions(site)
    rank = len(site.shape(0))
    if rank != 4:
        return
    if site.has_input(1):
        parts = [site.value(place) for place in range(1, 5)]
        if any(site.has_input(place) and parts[place - 1] is None for place in range(1, 5)):
            yield 'limits that are computed at run time'
            return
        starts, _, axes, steps = (
            None if part is None else tuple(int(each) for each in part.reshape(-1))
            for part in parts
        )
    else:
        starts = site.numbers('starts', ())
        axes = site.numbers('axes', range(len(starts)))
        steps = None
    axes = axes or tuple(range(len(starts or ())))
    if steps and any(step != 1 for step in steps):
        yield f'steps {", ".join(map(str, steps))}: 1 alone'
    if any(axis % rank == 0 for axis in axes) and site.shape(0)[0] != site.output[0]:
        yield 'it cuts the batch: C, H or W alone'


def _split(site: Site) -> Iterator[str]:
    yield from _four_dimensions(site)
    axis = int(site.attribute('axis', 0))
    if len(site.shape(0)) == 4 and axis % 4 == 0:
        yield 'it cuts the batch: C, H or W alone'


def _softmax(site: Site) -> Iterator[str]:
    yield from _four_dimensions(site)
    shape = site.shape(0)
    if len(shape) != 4:
        return
    newer = site.graph.opset >= 13
    axis = int(site.attribute('axis', -1 if newer else 1)) % 4
    if not newer and prod(shape[axis + 1 :]) > 1:
        yield f'before opset 13, over all from axis {axis}: over one axis alone'
        return
    if axis == 0:
        yield 'axis 0: C, H or W alone'
        return
    others = [size for place, size in enumerate(shape) if place not in (0, axis)]
    most = SOFTMAX_AXIS_ALONE if max(others) == 1 else SOFTMAX_AXIS
    if shape[axis] > most:
        yield f'{shape[axis]} along the axis: at most {most} where the other sides are not 1'


def _comparison(site: Site) -> Iterator[str]:
    yield from _elementwise(site)
    if site.precision != 'int8':
        yield f'a comparison in {site.precision}: INT8 alone'
    readers = site.consumers.get(site.node.outputs[0], ())
    if not readers or any(
        reader.op != 'Cast' or reader.attributes.get('to') not in _CASTS for reader in readers
    ):
        yield 'its result is not cast to FP16 or INT8 at once'


def _cast(site: Site) -> Iterator[str]:
    source = site.producers.get(site.node.inputs[0])
    if source is None or source.op not in _COMPARISONS:
        yield 'Cast is DLA work right behind a comparison alone'
    elif site.attribute('to', 0) not in _CASTS:
        yield 'it does not cast to FP16 or INT8'
    elif site.precision != 'int8':
        yield f'a comparison in {site.precision}: INT8 alone'


def _quantisation(site: Site) -> Iterator[str]:
    if site.tensorrt < STATIC_QDQ_SINCE:
        yield (
            'explicit Q/DQ: before TensorRT 11.4.1 a DLA takes INT8 scales from a calibration '
            'cache alone'
        )


_CASTS = (1, 3, 10)  # float, int8 and float16 of TensorProto.DataType
_COMPARISONS = ('Equal', 'Greater', 'Less')
_OTHER_TYPES = (*_COMPARISONS, 'Cast', 'QuantizeLinear', 'DequantizeLinear')

CHECKS: Mapping[str, Check] = {
    'Conv': _convolution,
    'ConvTranspose': _deconvolution,
    **dict.fromkeys(('Gemm', 'MatMul'), _matrix),
    **dict.fromkeys(('MaxPool', 'AveragePool'), _pooling),
    **dict.fromkeys(('Relu', 'LeakyRelu', 'Sigmoid', 'Tanh', 'Abs'), _activation),
    'Clip': _clip,
    'PRelu': _prelu,
    **dict.fromkeys(('Add', 'Sub', 'Mul', 'Max', 'Sum'), _elementwise),
    **dict.fromkeys(_COMPARISONS, _comparison),
    'Cast': _cast,
    'BatchNormalization': _normalisation,
    'LRN': _lrn,
    'Concat': _concat,
    'ReduceMax': _reduce_max,
    **dict.fromkeys(('Resize', 'Upsample'), _resize),
    'Reshape': _reshape,
    'Transpose': _transpose,
    'Slice': _slice,
    'Split': _split,
    'Softmax': _softmax,
    **dict.fromkeys(('QuantizeLinear', 'DequantizeLinear'), _quantisation),
}


def _matmul_doubt(site: Site) -> str:
    if site.node.op == 'MatMul' and len(site.shape(0)) > 2:
        return (
            'the documents name MatMul with a constant second matrix, without numbers of dimensions'
        )
    return ''


DOUBTS: Mapping[str, Callable[[Site], str]] = {
    'MatMul': _matmul_doubt,
    'ReduceMax': lambda _: (
        "NVIDIA's operator list of 8.6 has it as not exposed, later documents do"
    ),
}


def multiply_adds(site: Site) -> int:
    """Return the multiply-adds of a node: those of its matrix products, 0 for all else."""
    made = prod(site.output)
    if site.node.op == 'Conv':
        return made * prod(site.shape(1)[1:])
    if site.node.op == 'ConvTranspose':
        return prod(site.shape(0)) * prod(site.shape(1)[1:])
    if site.node.op == 'Gemm':
        depth = site.shape(1)[1 if site.attribute('transB', 0) else 0] if site.shape(1) else 0
        return made * depth
    if site.node.op == 'MatMul':
        return made * (site.shape(0)[-1] if site.shape(0) else 0)
    return 0
