# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The DLA report: operators one by one, small graphs, real models, boards, built engines."""

from __future__ import annotations

import json

import numpy as np
import onnx
from onnx import helper
from onnx import TensorProto
import pytest

from trt_builder.dla.report import explain_availability
from trt_builder.dla.report import report
from trt_builder.dla.report import report_graph
from trt_builder.layers import fallbacks
from trt_builder.layers import placement
from trt_engine.errors import BuildRefusedError
from trt_engine.errors import ModelFileError
from trt_engine.onnx_graph import fold_graph

pytestmark = pytest.mark.slow  # seconds altogether

FLOAT = TensorProto.FLOAT


def weights(*shape):
    return np.zeros(shape, np.float32)


def ints(*values):
    return np.array(values, np.int64)


def floats(*values):
    return np.array(values, np.float32)


def number(value):
    return np.array(value, np.float32)


def model_of(nodes, inputs, constants=(), outputs=('y',), opset=17):
    """Return a model: inputs is name -> shape, constants is name -> array."""
    graph = helper.make_graph(
        nodes,
        'graph',
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in dict(constants).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', opset)])


def judged(model, precision='fp16', tensorrt=(10, 3)):
    return report_graph(fold_graph(model, {}, 'model'), 'model', precision, tensorrt)


def one(op, shape, *operands, opset=17, precision='fp16', tensorrt=(10, 3), **attributes):
    """Return the verdict on one node: x, then constants, None for another x, '' for nothing."""
    names = ['x']
    constants = {}
    for place, operand in enumerate(operands):
        if isinstance(operand, np.ndarray):
            names.append(f'c{place}')
            constants[f'c{place}'] = operand
        else:
            names.append('x2' if operand is None else '')
    inputs = {name: shape for name in names if name.startswith('x')}
    node = helper.make_node(op, names, ['y'], name='node', **attributes)
    model = model_of([node], inputs, constants, opset=opset)
    return judged(model, precision, tensorrt).layers[0]


IMAGE = (1, 16, 32, 32)
LEFT_OUT = ''

# operator, shape of x, constants, options, what stands against it ('' if it runs)
CASES = [
    # convolution
    ('Conv', IMAGE, [weights(8, 16, 3, 3)], {'pads': [1] * 4}, ''),
    ('Conv', IMAGE, [weights(8, 16, 3, 3), floats(*[0] * 8)], {'strides': [8, 8]}, ''),
    ('Conv', IMAGE, [weights(8, 16, 32, 1)], {}, ''),
    ('Conv', (1, 16, 64, 64), [weights(8, 16, 33, 1)], {}, 'kernel 33x1: 1 to 32'),
    ('Conv', IMAGE, [weights(8, 16, 3, 3)], {'strides': [9, 1]}, 'stride 9x1: 1 to 8'),
    ('Conv', (1, 16, 80, 80), [weights(8, 16, 2, 2)], {'dilations': [33, 1]},
     'dilation 33x1: 1 to 32'),
    ('Conv', IMAGE, [weights(8, 16, 1, 1)], {'pads': [1] * 4}, 'less than the kernel'),
    ('Conv', IMAGE, [weights(8, 16, 3, 3)], {'pads': [4] * 4, 'dilations': [4, 4]},
     'padding 4x4 with kernel 3x3: less than the kernel'),
    ('Conv', IMAGE, [weights(16, 1, 3, 3)], {'group': 16}, ''),
    ('Conv', IMAGE, [weights(8193, 16, 1, 1)], {}, 'y is 1x8193x32x32: C, H, W at most 8192'),
    ('Conv', IMAGE, [weights(8, 16, 3, 3)], {'auto_pad': 'SAME_UPPER'}, ''),
    ('Conv', (1, 2048, 8, 1024), [weights(8, 2048, 3, 3)], {}, 'convolution buffer'),
    ('Conv', (1, 2048, 8, 32), [weights(8, 2048, 3, 3)], {}, ''),
    ('Conv', (1, 16, 32), [weights(8, 16, 3)], {}, '4 dimensions'),
    ('Conv', (5000, 16, 4, 4), [weights(8, 16, 3, 3)], {}, 'batch at most 4096'),
    ('Conv', (1, 1, 4, 8193), [weights(8, 1, 1, 1)], {}, 'C, H, W at most 8192'),
    ('Conv', (1, 512, 1024, 1024), [weights(512, 512, 1, 1)], {}, 'less than 1 GiB'),
    ('Conv', (None, 16, 32, 32), [weights(8, 16, 3, 3)], {}, 'no dynamic dimensions'),
    # deconvolution
    ('ConvTranspose', IMAGE, [weights(16, 8, 2, 2)], {'strides': [2, 2]}, ''),
    ('ConvTranspose', IMAGE, [weights(16, 8, 4, 4)], {'strides': [2, 2], 'pads': [1] * 4},
     'padding 1x1x1x1: 0 alone'),
    ('ConvTranspose', IMAGE, [weights(16, 1, 2, 2)], {'group': 16}, 'groups 16: 1 alone'),
    ('ConvTranspose', IMAGE, [weights(16, 8, 2, 2)], {'dilations': [2, 2]},
     'dilation 2x2: 1 alone'),
    ('ConvTranspose', IMAGE, [weights(16, 8, 64, 1)], {}, ''),
    ('ConvTranspose', IMAGE, [weights(16, 8, 65, 1)], {}, 'kernel 65x1: 1 to 32'),
    ('ConvTranspose', IMAGE, [weights(16, 8, 24, 24)], {}, 'turned off'),
    # matrices
    ('Gemm', (1, 256), [weights(256, 10), floats(*[0] * 10)], {}, ''),
    ('Gemm', (1, 256), [weights(10, 256)], {'transB': 1}, ''),
    ('Gemm', (256, 1), [weights(256, 10)], {'transA': 1}, 'transA'),
    ('MatMul', (1, 256), [weights(256, 9000)], {}, 'C, H, W at most 8192'),
    ('MatMul', (1, 16, 16), [weights(16, 8)], {}, 'a matrix alone'),
    ('MatMul', (16, 16), [None], {}, 'known at build time'),
    # pooling
    ('MaxPool', IMAGE, [], {'kernel_shape': [8, 8], 'strides': [16, 16]}, ''),
    ('MaxPool', IMAGE, [], {'kernel_shape': [9, 9], 'pads': [4] * 4}, 'window 9x9: 1 to 8'),
    ('MaxPool', IMAGE, [], {'kernel_shape': [2, 2], 'strides': [17, 17]}, 'stride 17x17: 1 to 16'),
    ('AveragePool', IMAGE, [], {'kernel_shape': [3, 3], 'pads': [1] * 4, 'count_include_pad': 1},
     ''),
    ('AveragePool', IMAGE, [], {'kernel_shape': [3, 3], 'pads': [1] * 4}, 'count_include_pad 0'),
    ('GlobalAveragePool', IMAGE, [], {}, 'not DLA work'),
    ('GlobalMaxPool', IMAGE, [], {}, 'not DLA work'),
    # activations
    ('Relu', IMAGE, [], {}, ''),
    ('Sigmoid', IMAGE, [], {}, ''),
    ('Tanh', IMAGE, [], {}, ''),
    ('LeakyRelu', IMAGE, [], {'alpha': 0.1}, ''),
    ('Relu', (1, 16), [], {}, '4 dimensions'),
    ('Clip', IMAGE, [number(0), number(6)], {}, ''),
    ('Clip', IMAGE, [number(0)], {}, ''),
    ('Clip', IMAGE, [number(-1), number(1)], {}, 'from -1: clipped ReLU'),
    ('Clip', IMAGE, [number(0), number(200)], {}, 'up to 200'),
    ('PRelu', IMAGE, [weights(16, 1, 1)], {}, ''),
    ('PRelu', IMAGE, [None], {}, 'computed at run time'),
    ('HardSwish', IMAGE, [], {}, 'not DLA work; use ReLU or SiLU'),
    ('Elu', IMAGE, [], {}, 'not DLA work'),
    ('Softplus', IMAGE, [], {}, 'not DLA work'),
    ('Erf', IMAGE, [], {}, 'not DLA work'),
    # elementwise and scale
    ('Add', IMAGE, [None], {}, ''),
    ('Sub', IMAGE, [None], {}, ''),
    ('Mul', IMAGE, [number(2)], {}, ''),
    ('Mul', IMAGE, [weights(16, 1, 1)], {}, ''),
    ('Add', IMAGE, [weights(1, 16, 32, 32)], {}, ''),
    ('Add', IMAGE, [weights(32, 32)], {}, 'a constant of 32x32'),
    ('Max', IMAGE, [None], {}, ''),
    ('Sum', IMAGE, [None], {}, ''),
    ('Min', IMAGE, [None], {}, 'not DLA work'),
    ('Div', IMAGE, [None], {}, 'not DLA work'),
    ('Pow', IMAGE, [number(2)], {}, 'not DLA work'),
    ('BatchNormalization', IMAGE, [weights(16)] * 4, {}, ''),
    ('LRN', IMAGE, [], {'size': 5}, ''),
    ('LRN', IMAGE, [], {'size': 4}, 'window 4: 3, 5, 7, 9 alone'),
    # shapes
    ('Concat', IMAGE, [None], {'axis': 1}, ''),
    ('Concat', IMAGE, [None], {'axis': -3}, ''),
    ('Concat', IMAGE, [None], {'axis': 2}, 'axis 2: channels (1) alone'),
    ('Concat', IMAGE, [], {'axis': 1}, 'one input: at least 2'),
    ('Reshape', IMAGE, [ints(1, 32, 16, 32)], {}, ''),
    ('Reshape', IMAGE, [ints(1, 16, -1)], {}, '4 dimensions'),
    ('Reshape', IMAGE, [ints(2, 8, 32, 32)], {}, 'the batch stays'),
    ('Transpose', IMAGE, [], {'perm': [0, 2, 3, 1]}, ''),
    ('Transpose', IMAGE, [], {'perm': [1, 0, 2, 3]}, 'the batch stays first'),
    ('Flatten', IMAGE, [], {}, 'not DLA work'),
    ('Squeeze', IMAGE, [ints(0)], {}, 'not DLA work'),
    ('Unsqueeze', IMAGE, [ints(0)], {}, 'not DLA work'),
    ('Slice', IMAGE, [ints(0), ints(8), ints(1)], {}, ''),
    ('Slice', IMAGE, [ints(0), ints(32), ints(2), ints(2)], {}, 'steps 2: 1 alone'),
    ('Slice', (2, 16, 8, 8), [ints(0), ints(1), ints(0)], {}, 'cuts the batch'),
    ('Slice', (16, 32), [ints(0), ints(8), ints(1)], {}, '4 dimensions'),
    ('Resize', IMAGE, [LEFT_OUT, floats(1, 1, 2, 2)],
     {'mode': 'nearest', 'coordinate_transformation_mode': 'asymmetric', 'nearest_mode': 'floor'},
     ''),
    ('Resize', IMAGE, [LEFT_OUT, floats(1, 1, 2, 2)], {'mode': 'nearest'}, ''),
    ('Resize', IMAGE, [LEFT_OUT, floats(1, 1, 4, 4)], {'mode': 'linear'}, ''),
    ('Resize', IMAGE, [LEFT_OUT, floats(1, 1, 5, 5)], {'mode': 'linear'}, 'numbers of 1 to 4'),
    ('Resize', IMAGE, [LEFT_OUT, floats(1, 1, 1.5, 1.5)], {'mode': 'nearest'}, 'whole numbers'),
    ('Resize', IMAGE, [LEFT_OUT, floats(1, 2, 2, 2)], {'mode': 'nearest'}, 'N and C are 1'),
    ('Resize', IMAGE, [LEFT_OUT, LEFT_OUT, ints(1, 16, 64, 64)], {'mode': 'nearest'},
     'form that gives sizes'),
    ('Resize', IMAGE, [LEFT_OUT, floats(1, 1, 2, 2)],
     {'mode': 'linear', 'coordinate_transformation_mode': 'align_corners'}, 'half_pixel alone'),
    ('Resize', IMAGE, [LEFT_OUT, floats(1, 1, 2, 2)], {'mode': 'cubic'}, 'mode cubic'),
    ('Upsample', IMAGE, [floats(1, 1, 2, 2)], {'mode': 'nearest', 'opset': 9}, ''),
    ('Upsample', IMAGE, [floats(1, 1, 2, 2)], {'mode': 'linear', 'opset': 9}, 'half_pixel alone'),
    # reductions and softmax
    ('ReduceMax', IMAGE, [], {'axes': [1, 2, 3]}, ''),
    ('ReduceMax', IMAGE, [], {'axes': [0]}, 'C, H and W alone'),
    ('ReduceMax', IMAGE, [], {'axes': [1], 'keepdims': 0}, 'keepdims 0'),
    ('ReduceMean', IMAGE, [], {'axes': [2, 3]}, 'not DLA work'),
    ('ReduceSum', IMAGE, [ints(1)], {}, 'not DLA work'),
    ('Softmax', IMAGE, [], {'axis': 1}, ''),
    ('Softmax', (1, 8000, 1, 1), [], {'axis': 1}, ''),
    ('Softmax', (1, 2000, 2, 1), [], {'axis': 1}, 'at most 1024'),
    ('Softmax', IMAGE, [], {'axis': 0}, 'axis 0'),
    ('Softmax', IMAGE, [], {'axis': 1, 'opset': 11}, 'before opset 13'),
    ('Softmax', (1, 10), [], {}, '4 dimensions'),
    # the rest
    ('Abs', IMAGE, [], {}, ''),
    ('Sin', IMAGE, [], {}, 'not DLA work'),
    ('Exp', IMAGE, [], {}, 'not DLA work'),
    ('Sqrt', IMAGE, [], {}, 'not DLA work'),
    ('Pad', IMAGE, [ints(0, 0, 1, 1, 0, 0, 1, 1)], {}, 'padding inside a Conv'),
    ('Gather', IMAGE, [ints(0)], {}, 'can be rebuilt'),
    ('Tile', IMAGE, [ints(1, 1, 2, 2)], {}, 'not DLA work'),
    ('DepthToSpace', IMAGE, [], {'blocksize': 2}, 'can be rebuilt'),
    ('InstanceNormalization', IMAGE, [weights(16), weights(16)], {}, 'not DLA work'),
    # precision
    ('Conv', IMAGE, [weights(8, 16, 3, 3)], {'precision': 'int8'}, ''),
    ('Conv', IMAGE, [weights(8, 16, 3, 3)], {'precision': 'fp32'}, 'not in fp32'),
    ('Conv', IMAGE, [weights(8, 16, 3, 3)], {'precision': 'fp8'}, 'not in fp8'),
    ('QuantizeLinear', IMAGE, [number(1), np.array(0, np.int8)], {'precision': 'int8'},
     'calibration cache'),
    ('QuantizeLinear', IMAGE, [number(1), np.array(0, np.int8)],
     {'precision': 'int8', 'tensorrt': (11, 4, 1)}, ''),
    ('Cast', IMAGE, [], {'to': TensorProto.INT64}, 'right behind a comparison'),
]  # fmt: skip


@pytest.mark.parametrize(('op', 'shape', 'constants', 'options', 'against'), CASES)
def test_operator(op, shape, constants, options, against):
    layer = one(op, shape, *constants, **options)

    if against:
        assert layer.device == 'gpu'
        assert any(against in reason for reason in layer.reasons), layer.reasons
    else:
        assert layer.reasons == ()
        assert layer.device == 'dla'


def test_what_the_sources_disagree_about_is_said():
    assert 'DriveOS' in one('Div', IMAGE, None).doubt
    assert 'operator list' in one('ReduceMax', IMAGE, axes=[1]).doubt
    assert one('Relu', IMAGE).doubt == ''


@pytest.mark.parametrize(
    ('precision', 'cast', 'device'),
    [('int8', FLOAT, 'dla'), ('int8', TensorProto.INT32, 'gpu'), ('fp16', FLOAT, 'gpu')],
)
def test_a_comparison_runs_in_int8_with_a_cast_behind_it(precision, cast, device):
    nodes = [
        helper.make_node('Greater', ['x', 'limit'], ['mask']),
        helper.make_node('Cast', ['mask'], ['y'], to=cast),
    ]
    layers = judged(model_of(nodes, {'x': IMAGE}, {'limit': number(1)}), precision).layers

    assert [layer.device for layer in layers] == [device, device]


def test_silu_is_judged_by_its_parts():
    nodes = [
        helper.make_node('Sigmoid', ['x'], ['s']),
        helper.make_node('Mul', ['x', 's'], ['y']),
    ]
    result = judged(model_of(nodes, {'x': IMAGE}))

    assert len(result.on_dla) == 2
    assert len(result.loadables) == 1


def test_constants_and_no_ops_vanish():
    nodes = [
        helper.make_node('Identity', ['x'], ['a']),
        helper.make_node('Dropout', ['a'], ['b']),
        helper.make_node('Mul', ['big', 'big'], ['squares']),  # too large to be computed
        helper.make_node('Add', ['b', 'squares'], ['c']),
        helper.make_node('Shape', ['c'], ['shape']),
        helper.make_node('Reshape', ['c', 'shape'], ['y']),
    ]
    result = judged(model_of(nodes, {'x': IMAGE}, {'big': weights(1, 16, 32, 32)}))

    assert [layer.op for layer in result.layers] == ['Add', 'Reshape']
    assert result.folded == 4
    assert len(result.on_dla) == 2
    assert result.crossings[0].tensor == 'x'


def test_shape_arithmetic_is_folded_before_layers_are_judged():
    nodes = [
        helper.make_node('Shape', ['x'], ['shape']),
        helper.make_node('Gather', ['shape', 'three'], ['width']),
        helper.make_node('Div', ['width', 'two'], ['half']),
        helper.make_node('Slice', ['x', 'zero', 'half', 'three'], ['y']),
    ]
    constants = {'zero': ints(0), 'two': ints(2), 'three': ints(3)}
    result = judged(model_of(nodes, {'x': IMAGE}, constants))

    assert [(layer.op, layer.device) for layer in result.layers] == [('Slice', 'dla')]


def test_a_reshape_that_touches_a_concat_is_refused():
    nodes = [
        helper.make_node('Concat', ['x', 'x'], ['wide'], axis=1, name='join'),
        helper.make_node('Reshape', ['wide', 'shape'], ['y']),
    ]
    result = judged(model_of(nodes, {'x': IMAGE}, {'shape': ints(1, 16, 64, 32)}))

    assert [layer.device for layer in result.layers] == ['dla', 'gpu']
    assert 'it touches Concat join' in result.layers[1].reasons[0]


def branches(count):
    """Return a chain in which a DLA layer and a GPU layer take turns."""
    nodes = []
    for n in range(count):
        nodes.append(helper.make_node('Relu', [f't{2 * n}'], [f't{2 * n + 1}'], name=f'relu{n}'))
        nodes.append(helper.make_node('Erf', [f't{2 * n + 1}'], [f't{2 * n + 2}'], name=f'erf{n}'))
    return model_of(nodes, {'t0': IMAGE}, outputs=(f't{2 * count}',))


def test_loadables_are_counted_against_the_limit():
    assert len(judged(branches(16)).loadables) == 16
    assert 'beyond 16' not in judged(branches(16)).summary
    assert len(judged(branches(17)).loadables) == 17
    assert 'beyond 16' in judged(branches(17)).summary


def test_a_loadable_never_waits_for_itself():
    # a and b are neighbours, but b also waits for the GPU, which waits for a
    nodes = [
        helper.make_node('Relu', ['x'], ['a'], name='a'),
        helper.make_node('Erf', ['a'], ['e'], name='e'),
        helper.make_node('Add', ['a', 'e'], ['y'], name='b'),
    ]
    first, _, last = judged(model_of(nodes, {'x': IMAGE})).layers

    assert (first.loadable, last.loadable) == (0, 1)


def test_other_batches_are_other_loadables():
    nodes = [
        helper.make_node('Relu', ['x'], ['y'], name='one'),
        helper.make_node('Relu', ['x2'], ['y2'], name='two'),
    ]
    model = model_of(nodes, {'x': IMAGE, 'x2': (2, 16, 32, 32)}, outputs=('y', 'y2'))

    assert len(judged(model).loadables) == 2


def test_tensors_that_change_device():
    crossings = judged(branches(1)).crossings

    assert [(c.tensor, c.direction, c.source, c.targets) for c in crossings] == [
        ('t0', 'to dla', None, ('relu0',)),
        ('t1', 'to gpu', 'relu0', ('erf0',)),
    ]
    assert [c.is_boundary for c in crossings] == [True, False]
    assert crossings[0].kib == 16 * 32 * 32 * 2 / 1024


def test_multiply_adds():
    nodes = [
        helper.make_node('Conv', ['x', 'w'], ['a'], pads=[1] * 4),
        helper.make_node('ConvTranspose', ['a', 'v'], ['b'], strides=[2, 2]),
        helper.make_node('Erf', ['b'], ['y']),
    ]
    result = judged(
        model_of(nodes, {'x': IMAGE}, {'w': weights(8, 16, 3, 3), 'v': weights(8, 4, 2, 2)})
    )

    assert [layer.multiply_adds for layer in result.layers] == [
        32 * 32 * 8 * 16 * 9, 32 * 32 * 8 * 4 * 4, 0,
    ]  # fmt: skip
    assert result.dla_share == 1


def test_text_and_json_say_the_same():
    result = judged(branches(2))
    text, plain = result.to_text(), json.loads(json.dumps(result.to_json()))

    assert 'erf1' in text
    assert 'Erf is not DLA work' in text
    assert plain['summary'] == {
        'layers': 4, 'dla': 2, 'gpu': 2, 'multiply_adds': 0, 'dla_share': 0.0, 'loadables': 2,
        'max_loadables': 16, 'reformats': 3,
    }  # fmt: skip
    assert plain['layers'][1]['reasons'] == ['Erf is not DLA work']


@pytest.mark.parametrize('content', [b'', b'not onnx at all', b'\x08\x07' * 3])
def test_a_file_that_is_no_model(tmp_path, content):
    path = tmp_path / 'bad.onnx'
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r'bad\.onnx'):
        report(path)


def test_damaged_weights_and_names_are_errors_of_the_file(tmp_path):
    model = model_of([helper.make_node('Clip', ['x', 'low'], ['y'])], {'x': IMAGE},
                     {'low': floats(0, 1)})  # fmt: skip
    model.graph.initializer[0].dims[0] = 3
    with pytest.raises(ModelFileError, match="'low' is damaged"):
        judged(model)

    path = tmp_path / 'bad.onnx'
    good = model_of([helper.make_node('Relu', ['x'], ['y'], name='namename')], {'x': IMAGE})
    path.write_bytes(good.SerializeToString().replace(b'namename', b'name\xffame'))
    with pytest.raises(ModelFileError, match='damaged'):
        report(path)


def test_shapes_must_fit_the_inputs(tmp_path):
    path = tmp_path / 'relu.onnx'
    nodes = [helper.make_node('Relu', ['x'], ['y'])]
    onnx.save(model_of(nodes, {'x': (None, 16, 32, 32)}), path)

    assert len(report(path, shapes={'x': (1, 16, 32, 32)}).on_dla) == 1
    with pytest.raises(ModelFileError, match="no input 'z'"):
        report(path, shapes={'z': (1,)})
    with pytest.raises(ModelFileError, match=r'\?x16x32x32'):
        report(path, shapes={'x': (1, 3, 32, 32)})


def test_yolox_nano(data):
    result = report(data / 'models' / 'yolox_nano_416.onnx')
    gpu = {layer.name: layer for layer in result.on_gpu}

    assert len(result.layers) == 369
    # the focus layer cuts every second pixel; pooling over 9 and 13 pixels; the flat head
    assert sum(layer.op == 'Slice' for layer in gpu.values()) == 8
    assert {layer.op for layer in gpu.values()} == {
        'Slice', 'MaxPool', 'Reshape', 'Concat', 'Transpose',
    }  # fmt: skip
    assert gpu['MaxPool_172'].reasons == ('window 9x9: 1 to 8',)
    assert gpu['MaxPool_173'].reasons == ('window 13x13: 1 to 8',)
    assert 'MaxPool_171' not in gpu  # 5x5
    assert len(gpu) == 15
    assert result.dla_share == 1
    assert len(result.loadables) == 2  # before and after the large pools


def test_nanodet(data):
    result = report(data / 'models' / 'nanodet_m_416.onnx')

    # 16 channel shuffles in 5 dimensions, each Reshape, Transpose, Reshape
    five = [each for each in result.on_gpu if any('x2x' in reason for reason in each.reasons)]
    assert len(five) == 48
    assert [each.name for each in result.on_gpu if each.op == 'Resize'] == [
        'Resize_380', 'Resize_383',
    ]  # by a half  # fmt: skip
    assert all(each.device == 'dla' for each in result.layers if each.op in ('Conv', 'LeakyRelu'))
    assert len(result.on_gpu) == 62
    assert len(result.loadables) == 21
    assert 'beyond 16' in result.summary


def test_deimv2(data):
    path = data / 'models' / 'deimv2_femto_coco.onnx'
    shapes = {'images': (1, 3, 416, 416), 'orig_target_sizes': (1, 2)}
    fixed, free = report(path, shapes=shapes), report(path)

    assert free.on_dla == ()  # dynamic batch
    assert any('no dynamic dimensions' in layer.reasons[0] for layer in free.on_gpu)
    on_dla = {layer.op for layer in fixed.on_dla}
    assert {'Conv', 'Sigmoid', 'Mul', 'Relu', 'AveragePool'} <= on_dla
    assert on_dla.isdisjoint({'GridSample', 'TopK', 'Gather', 'ReduceMean', 'Div', 'Squeeze'})
    # attention multiplies what it computed
    assert (
        sum('known at build time' in reason for layer in fixed.on_gpu for reason in layer.reasons)
        == 6
    )
    assert fixed.folded > 100


def test_deeplab(data):
    result = report(data / 'models' / 'deeplab_v3_mnv2_voc_257.onnx')
    gpu = {layer.name: layer.reasons for layer in result.on_gpu}

    # atrous convolution: dilation 4 pads 4 around a kernel of 3
    assert [name for name, reasons in gpu.items() if 'less than the kernel' in reasons[0]] == [
        f'MobilenetV2/expanded_conv_{n}/depthwise/Relu6' for n in (14, 15, 16)
    ]
    assert gpu['AvgPool2D/AvgPool'] == ('window 33x33: 1 to 8', 'stride 33x33: 1 to 16')
    assert len(gpu) == 6
    assert len(result.loadables) == 7


def test_road_segmentation(data):
    result = report(data / 'models' / 'road_segmentation_adas_0001.onnx')

    assert {layer.op for layer in result.on_gpu} == {'Pad', 'Resize'}
    assert sum(layer.op == 'Pad' for layer in result.on_gpu) == 40
    assert all(
        'form that gives sizes' in layer.reasons[0]
        for layer in result.on_gpu
        if layer.op == 'Resize'
    )
    assert result.folded == 15  # the arithmetic behind these sizes
    assert len(result.loadables) > 16


def test_person_classifier(data):
    result = report(data / 'models' / 'mlperf_tiny_vww_mobilenetv1_025_96.onnx')

    assert [layer.op for layer in result.on_gpu] == ['Flatten', 'Softmax']
    assert len(result.loadables) == 2
    assert [len(part) for part in result.loadables] == [55, 1]


def test_the_demo_network_was_made_for_a_dla(repository):
    result = report(repository / 'models' / 'demo.onnx')

    assert len(result.loadables) == 1
    assert {layer.op for layer in result.on_gpu} == {'Reshape', 'Concat', 'Transpose'}


AGX = 'NVIDIA Jetson AGX Orin Developer Kit'
NX = 'NVIDIA Jetson Orin NX Engineering Reference Developer Kit'
NANO = 'NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super'
THOR = 'NVIDIA Jetson AGX Thor Developer Kit'

# board, JetPack, TensorRT, cores, whether there is a DLA, why
BOARDS = [
    (AGX, '6.0', '8.6.2.3', 2, True, '2 DLA cores'),
    (AGX, '6.2.1', '10.3.0.30', 2, True, 'TensorRT 10.3.0.30 uses them'),
    (NX, '6.2', '10.3.0.30', 1, True, '1 with 8 GB'),
    (AGX, '6.2', '10.7.0.23', 2, True, '10.7'),
    (NANO, '6.2', '10.3.0.30', 0, False, 'Orin Nano has no DLA'),
    (NANO, '6.2', '10.3.0.30', None, False, 'Orin Nano has no DLA'),
    (THOR, '7.0', '10.13.3.9', 0, False, 'Thor has no DLA'),
    (THOR, '7.2.2', '11.4.1', None, False, 'Thor has no DLA'),
    (AGX, '7.2', '10.16.2.10', 2, False, '10.7 was the last'),
    (AGX, '6.2', '10.8.0', 2, False, '10.7 was the last'),
    (AGX, '7.2', None, 2, False, 'without the DLA compiler'),
    (AGX, '7.0', None, 2, False, 'for Thor'),
    (AGX, None, '11.3.0', 2, False, '11.4.1 brings it back'),
    (AGX, None, '11.4.0.106', 2, False, 'Windows alone'),
    (AGX, '7.2.1', '11.4.1', 2, False, 'from JetPack 7.2.2 on'),
    (AGX, '7.2.2', '11.4.1', 2, True, 'uses them'),
    (NX, '7.2.2', '11.4.1', 2, None, 'AGX Orin alone'),
    (AGX, '6.2', '10.3.0.30', 0, False, 'in a container'),
    (AGX, '6.2', None, 2, None, 'depends on its version'),
    (None, None, '10.3.0', None, False, 'no Jetson'),
    (None, None, None, 0, False, 'no DLA core'),
    ('NVIDIA Jetson AGX Xavier', '5.1.2', '8.5.2', None, None, 'no Jetson that is known'),
]


@pytest.mark.parametrize(('board', 'jetpack', 'tensorrt', 'cores', 'available', 'why'), BOARDS)
def test_whether_there_is_a_dla(board, jetpack, tensorrt, cores, available, why):
    found = explain_availability(board, jetpack, tensorrt, cores)

    assert found.available is available
    assert why in found.reason


LAYERS_10 = {
    'Layers': [
        {'Name': 'images to nvm', 'LayerType': 'Reformat', 'Outputs': [
            {'Name': 'a', 'Format/Datatype': 'Sixteen wide channel vectorized row major FP16'}]},
        {'Name': '{ForeignNode[Conv_0...Relu_9]}', 'LayerType': 'DLA', 'Outputs': [
            {'Name': 'b', 'Format/Datatype': 'Sixteen wide channel vectorized row major FP16'}]},
        {'Name': 'Resize_10', 'LayerType': 'Resize', 'Outputs': [
            {'Name': 'c', 'Format/Datatype': 'Row major linear FP32'}]},
        {'Name': '{ForeignNode[MatMul_11...Softmax_12]}', 'LayerType': 'Myelin', 'Outputs': []},
    ],
    'Bindings': ['images', 'c'],
}  # fmt: skip
LAYERS_11 = {
    'Layers': [
        {'Name': '{ForeignNode[Conv_0]}', 'LayerType': 'DLA',
         'Outputs': [{'Name': 'b', 'Format': 'Row major linear', 'Datatype': 'Half'}]},
        {'Name': 'Conv_1', 'LayerType': 'CaskConvolution',
         'Outputs': [{'Name': 'c', 'Format': 'Row major linear', 'Datatype': 'Int8'}]},
        {'Name': 'Conv_2', 'LayerType': 'CaskConvolution',
         'Outputs': [{'Name': 'd', 'Format': 'Row major linear', 'Datatype': 'Float'}]},
    ],
    'I/O Tensors': [{'Name': 'images', 'IOMode': 'Input', 'DataType': 'Float'}],
}  # fmt: skip


def test_placement_up_to_tensorrt_10():
    layers = placement(json.dumps(LAYERS_10))

    assert [(each.device, each.kind, each.precision) for each in layers] == [
        ('gpu', 'Reformat', 'fp16'),
        ('dla', 'DLA', 'fp16'),
        ('gpu', 'Resize', 'fp32'),
        ('gpu', 'Myelin', None),
    ]
    assert [each.name for each in fallbacks(layers)] == [
        'Resize_10', '{ForeignNode[MatMul_11...Softmax_12]}',
    ]  # fmt: skip


def test_placement_from_tensorrt_11_on():
    layers = placement(LAYERS_11)

    assert [each.precision for each in layers] == ['fp16', 'int8', 'fp32']
    assert [each.name for each in fallbacks(layers)] == ['Conv_1', 'Conv_2']


@pytest.mark.parametrize(
    ('names', 'devices'),
    [
        (['x to nvm', '{ForeignNode[a...b]}', 'y from nvm'], ['gpu', 'dla', 'gpu']),
        (['{ForeignNode[a...b]}', 'Conv_3'], ['unknown', 'gpu']),
    ],
)
def test_placement_by_names_alone(names, devices):
    layers = placement({'Layers': names, 'Bindings': []})

    assert [each.device for each in layers] == devices
    # what nobody can tell is not passed over in silence
    assert ('unknown' in devices) == any(each.device == 'unknown' for each in fallbacks(layers))


@pytest.mark.parametrize('text', ['', '[]', '{}', '{"Layers": 3}', 'null'])
def test_other_json_is_no_placement(text):
    with pytest.raises(BuildRefusedError, match='engine inspector'):
        placement(text)
