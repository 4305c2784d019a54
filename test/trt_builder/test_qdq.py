# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Q/DQ goes where TensorRT wants it, with the scales of the data, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnx import numpy_helper
from onnx import TensorProto
import pytest

from trt_builder.int8 import qdq
from trt_builder.int8.calibration import open_calibration
from trt_builder.int8.qdq import FloatModel
from trt_builder.int8.qdq import Keep
from trt_builder.int8.ranges import Histogram
from trt_builder.int8.tensorrt_cache import CalibrationCache
from trt_engine.backends.onnxruntime import OnnxRuntimeBackend
from trt_engine.card import load_card
from trt_engine.errors import BuildRefusedError
from trt_engine.errors import CalibrationError

pytestmark = pytest.mark.slow  # seconds altogether

EVERYTHING = Keep(depthwise=False, last=False)


def weights(name: str, *shape: int) -> onnx.TensorProto:
    rng = np.random.default_rng(sum(map(ord, name)))
    return numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)


def tiny(opset: int = 13, batch: int | str = 1, named: bool = True) -> onnx.ModelProto:
    """Return a network with each kind of layer that INT8 can run."""
    nodes = [
        ('Conv', ['images', 'w1', 'b1'], 'stem', {'pads': [1, 1, 1, 1]}),
        ('Relu', ['stem'], 'stem_relu', {}),
        ('Conv', ['stem_relu', 'w2'], 'deep', {'pads': [1, 1, 1, 1], 'group': 4}),
        ('Sigmoid', ['deep'], 'gate', {}),
        ('Add', ['gate', 'stem_relu'], 'sum', {}),
        ('Add', ['sum', 'c1'], 'shifted', {}),
        ('MaxPool', ['shifted'], 'pooled', {'kernel_shape': [2, 2], 'strides': [2, 2]}),
        ('ConvTranspose', ['pooled', 'w3'], 'wide', {'strides': [2, 2], 'kernel_shape': [2, 2]}),
        ('GlobalAveragePool', ['wide'], 'mean', {}),
        ('Flatten', ['mean'], 'flat', {}),
        ('Gemm', ['flat', 'w4', 'b4'], 'dense', {'transB': 1}),
        ('MatMul', ['dense', 'w5'], 'scores', {}),
    ]
    graph = helper.make_graph(
        [
            helper.make_node(op, inputs, [out], f'{out}_node' if named else '', **attributes)
            for op, inputs, out, attributes in nodes
        ],
        'tiny',
        [helper.make_tensor_value_info('images', TensorProto.FLOAT, [batch, 3, 8, 8])],
        [
            helper.make_tensor_value_info('scores', TensorProto.FLOAT, [batch, 2]),
            helper.make_tensor_value_info('stem_relu', TensorProto.FLOAT, [batch, 4, 8, 8]),
        ],
        [
            weights('w1', 4, 3, 3, 3), weights('b1', 4), weights('w2', 4, 1, 3, 3),
            weights('c1', 1, 4, 1, 1), weights('w3', 4, 5, 2, 2), weights('w4', 6, 5),
            weights('b4', 6), weights('w5', 6, 2),
        ],
    )  # fmt: skip
    opsets = [helper.make_opsetid('', opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=7)


def samples(count: int = 4, scale: float = 1.0):
    rng = np.random.default_rng(3)
    for _ in range(count):
        yield {'images': (rng.normal(size=(1, 3, 8, 8)) * scale).astype(np.float32)}


@pytest.fixture
def model(tmp_path) -> Path:
    path = tmp_path / 'tiny.onnx'
    onnx.save(tiny(), path)
    return path


def run(path: Path, inputs):
    backend = OnnxRuntimeBackend(path, threads=1)
    return {name: array.copy() for name, array in backend.run(inputs).items()}


class Written:
    """The graph of a written file, as a test asks about it."""

    def __init__(self, path: Path) -> None:
        self.proto = onnx.load(path)
        graph = self.proto.graph
        self.nodes = {node.name: node for node in graph.node}
        self.made_by = {name: node for node in graph.node for name in node.output}
        self.constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}

    def pair_before(self, node: str, place: int):
        """Return tensor, scale and axis of the Q/DQ pair before an input, or None."""
        dequantize = self.made_by.get(self.nodes[node].input[place])
        if dequantize is None or dequantize.op_type != 'DequantizeLinear':
            return None
        quantize = self.made_by[dequantize.input[0]]
        assert quantize.op_type == 'QuantizeLinear'
        assert list(quantize.input[1:]) == list(dequantize.input[1:])
        zero = self.constants[quantize.input[2]]
        scale = self.constants[quantize.input[1]]
        assert zero.dtype == np.int8
        assert scale.dtype == np.float32
        assert not zero.any(), 'TensorRT takes symmetric quantisation only'
        assert zero.shape == scale.shape
        axes = [each.i for each in quantize.attribute if each.name == 'axis']
        assert axes == [each.i for each in dequantize.attribute if each.name == 'axis']
        return quantize.input[0], scale, axes[0] if axes else None


def test_pairs_are_where_tensorrt_wants_them(model, tmp_path):
    out = tmp_path / 'int8.onnx'
    report = qdq.insert(model, out, samples(), method='minmax', keep=EVERYTHING)
    written = Written(out)

    expected = {
        'stem_node': ['images', ('w1', 0), None],
        'deep_node': ['stem_relu', ('w2', 0)],
        'sum_node': ['gate', 'stem_relu'],
        'shifted_node': [None, None],
        'pooled_node': ['shifted'],
        'wide_node': ['pooled', ('w3', 1)],
        'mean_node': ['wide'],
        'dense_node': ['flat', ('w4', 0), None],
        'scores_node': ['dense', ('w5', 1)],
        'stem_relu_node': [None],
        'gate_node': [None],
    }
    for node, inputs in expected.items():
        for place, wanted in enumerate(inputs):
            pair = written.pair_before(node, place)
            found = None if pair is None else (pair[0] if pair[2] is None else (pair[0], pair[2]))
            assert found == wanted, f'{node}, input {place}'
    quantized = {node for node, inputs in expected.items() if any(inputs)}
    assert set(report.layers) == quantized
    assert set(report.scales) == {
        'images', 'stem_relu', 'gate', 'shifted', 'pooled', 'wide', 'flat', 'dense',
    }  # fmt: skip


def test_weights_have_a_scale_for_each_output_channel(model, tmp_path):
    out = tmp_path / 'int8.onnx'
    qdq.insert(model, out, samples(), keep=EVERYTHING)
    written = Written(out)

    for node, axis, channels in (('stem_node', 0, 4), ('wide_node', 1, 5), ('dense_node', 0, 6)):
        name, scale, _ = written.pair_before(node, 1)
        weight = np.moveaxis(written.constants[name], axis, 0).reshape(channels, -1)
        np.testing.assert_allclose(scale, np.abs(weight).max(axis=1) / 127, rtol=1e-6)


def test_a_tensor_is_quantised_once_for_all_its_layers(model, tmp_path):
    out = tmp_path / 'int8.onnx'
    qdq.insert(model, out, samples(), keep=EVERYTHING)
    written = Written(out)

    assert written.nodes['deep_node'].input[0] == written.nodes['sum_node'].input[1]


def test_kept_layers_and_outputs_see_what_they_saw(model, tmp_path):
    out = tmp_path / 'int8.onnx'
    report = qdq.insert(
        model, out, samples(), keep=Keep(('sum*', 'stem_node'), depthwise=False, last=False)
    )
    written = Written(out)
    inputs = next(samples())

    assert written.pair_before('deep_node', 0)[0] == 'stem_relu'
    assert list(written.nodes['sum_node'].input) == ['gate', 'stem_relu']
    assert report.kept == {'sum_node': "matches 'sum*'", 'stem_node': "matches 'stem_node'"}
    np.testing.assert_array_equal(run(out, inputs)['stem_relu'], run(model, inputs)['stem_relu'])


def test_depthwise_and_last_layers_keep_their_precision_unless_told(model, tmp_path):
    report = qdq.insert(model, tmp_path / 'int8.onnx', samples())

    assert report.kept == {
        'deep_node': 'a depthwise convolution',
        'scores_node': 'the last layer before an output',
    }


def test_a_calibrator_leaves_sensitive_layers_and_all_behind_the_last_alone(model, tmp_path):
    proto = onnx.load(model)
    proto.graph.output[0].name = 'softened'
    proto.graph.node.append(helper.make_node('Softmax', ['scores'], ['softened'], 'softmax_node'))
    onnx.save(proto, tmp_path / 'longer.onnx')
    assert qdq.sensitive_layers(tmp_path / 'longer.onnx') == (
        'deep_node', 'scores_node', 'softmax_node',
    )  # fmt: skip
    # TensorRT has names of its own for nodes without one: no rule can be made for them
    onnx.save(tiny(named=False), model)
    assert qdq.sensitive_layers(model) == ()


@pytest.mark.parametrize(
    ('method', 'cosine'),
    [('minmax', 0.99), ('percentile', 0.99), ('entropy', 0.8)],  # entropy wants more data than this
)
def test_the_network_still_says_the_same(model, tmp_path, method, cosine):
    out = tmp_path / 'int8.onnx'
    report = qdq.insert(model, out, samples(), method=method, keep=EVERYTHING)
    inputs = next(samples())
    found, wanted = run(out, inputs), run(model, inputs)

    assert list(found) == list(wanted)
    assert report.cosine['scores'] > cosine
    assert not np.array_equal(found['scores'], wanted['scores'])


def test_minmax_scales_are_those_of_the_data(model, tmp_path):
    report = qdq.insert(model, tmp_path / 'int8.onnx', samples(), method='minmax')
    largest = max(np.abs(inputs['images']).max() for inputs in samples())

    assert report.scales['images'] == pytest.approx(largest / 127)


def test_scales_and_pairs_give_what_onnx_runtime_gives(model, tmp_path):
    """The same network by ONNX Runtime's static quantisation with the options for TensorRT."""
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization import quantize_static
    from onnxruntime.quantization import QuantType

    class Reader:
        def __init__(self):
            self.left = samples()

        def get_next(self):
            return next(self.left, None)

    # the tensor that is also an output is what ONNX Runtime would quantise for that output too
    ops = ['Conv', 'ConvTranspose', 'Gemm', 'MatMul', 'MaxPool']
    theirs = tmp_path / 'theirs.onnx'
    quantize_static(
        model, theirs, Reader(), op_types_to_quantize=ops, per_channel=True,
        activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        nodes_to_exclude=['deep_node'],
        extra_options={
            'ActivationSymmetric': True, 'WeightSymmetric': True, 'AddQDQPairToWeight': True,
            'QuantizeBias': False, 'DedicatedQDQPair': False, 'ForceQuantizeNoInputCheck': True,
            'OpTypesToExcludeOutputQuantization': ops,
            'QDQOpTypePerChannelSupportToAxis': {'MatMul': 1},
            'QDQDisableWeightAdjustForInt32Bias': True,
        },
    )  # fmt: skip
    ours = tmp_path / 'ours.onnx'
    keep = Keep(('deep_node', 'sum_node', 'mean_node'), last=False)
    qdq.insert(model, ours, samples(), method='minmax', keep=keep)
    inputs = next(samples())

    np.testing.assert_allclose(
        run(ours, inputs)['scores'], run(theirs, inputs)['scores'], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(('opset', 'written'), [(11, 13), (13, 13), (17, 17)])
def test_the_opset_is_kept_or_raised_to_the_first_that_can(tmp_path, opset, written):
    model, out = tmp_path / 'tiny.onnx', tmp_path / 'int8.onnx'
    onnx.save(tiny(opset), model)

    report = qdq.insert(model, out, samples())

    assert (report.source_opset, report.opset) == (opset, written)
    assert [each.version for each in onnx.load(out).opset_import] == [written]
    assert report.cosine['scores'] > 0.99


def test_a_changing_batch_stays(tmp_path):
    model, out = tmp_path / 'tiny.onnx', tmp_path / 'int8.onnx'
    onnx.save(tiny(batch='batch'), model)

    qdq.insert(model, out, samples())

    assert onnx.load(out).graph.input[0].type.tensor_type.shape.dim[0].dim_param == 'batch'


def test_nodes_without_names_get_some(tmp_path):
    model, out = tmp_path / 'tiny.onnx', tmp_path / 'int8.onnx'
    onnx.save(tiny(named=False), model)

    report = qdq.insert(model, out, samples(), keep=Keep(('Conv_stem',)))

    assert report.kept['Conv_stem'] == "matches 'Conv_stem'"
    assert 'Gemm_dense' in report.layers


def test_weights_that_are_inputs_too_are_weights(tmp_path):
    proto = tiny()
    for each in proto.graph.initializer:
        proto.graph.input.append(
            helper.make_tensor_value_info(each.name, each.data_type, list(each.dims))
        )
    model, out = tmp_path / 'tiny.onnx', tmp_path / 'int8.onnx'
    onnx.save(proto, model)

    report = qdq.insert(model, out, samples())

    assert 'stem_node' in report.layers
    assert [each.name for each in onnx.load(out).graph.input] == ['images']


def test_a_channel_without_weights_is_no_division_by_zero(tmp_path):
    proto = tiny()
    weight = numpy_helper.to_array(proto.graph.initializer[0]).copy()
    weight[2] = 0
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, 'w1'))
    model, out = tmp_path / 'tiny.onnx', tmp_path / 'int8.onnx'
    onnx.save(proto, model)

    report = qdq.insert(model, out, samples())

    assert report.cosine['scores'] > 0.99
    assert Written(out).pair_before('stem_node', 1)[1][2] == 1


def test_a_tensor_that_is_always_zero_is_left_alone_and_said(model, tmp_path):
    said: list[str] = []
    blank = [{'images': np.zeros((1, 3, 8, 8), np.float32)}]
    report = qdq.insert(model, tmp_path / 'int8.onnx', blank, warn=said.append)

    assert report.kept['stem_node'] == "its input 'images' is always zero"
    assert '1 tensors are zero in every calibration sample' in said[0]


def test_a_cache_gives_its_scales(model, tmp_path):
    out = tmp_path / 'int8.onnx'
    tensors = FloatModel(model).tensors()
    scales = {name: 0.01 * place for place, name in enumerate(tensors, 1)}
    cache = CalibrationCache('8602', 'EntropyCalibration2', {**scales, 'other': 1.0})

    report = qdq.from_cache(model, out, cache, keep=EVERYTHING)

    assert report.scales == scales
    assert Written(out).pair_before('stem_node', 0)[1] == np.float32(scales['images'])


def test_a_layer_that_a_cache_lacks_keeps_its_precision(model, tmp_path):
    cache = CalibrationCache('8602', 'EntropyCalibration2', {'images': 0.02, 'gate': 0.0})

    report = qdq.from_cache(model, tmp_path / 'int8.onnx', cache, keep=EVERYTHING)

    assert report.layers == ('stem_node',)
    assert report.kept['sum_node'] == "its input 'gate' is always zero"
    assert report.kept['deep_node'] == "its input 'stem_relu' has no scale"


def test_the_cache_of_another_model_is_refused(model, tmp_path):
    cache = CalibrationCache('8602', 'EntropyCalibration2', {'data': 0.02})
    with pytest.raises(CalibrationError, match=r'has none of the 8 .* of another model'):
        qdq.from_cache(model, tmp_path / 'int8.onnx', cache)


def refused(tmp_path, proto, text, **options):
    model = tmp_path / 'model.onnx'
    onnx.save(proto, model)
    with pytest.raises(BuildRefusedError, match=text):
        qdq.insert(model, tmp_path / 'int8.onnx', samples(), **options)
    assert not (tmp_path / 'int8.onnx').exists()


def test_a_pattern_that_matches_nothing_is_refused(tmp_path):
    refused(
        tmp_path, tiny(), r'no node is called head\*; its layers: stem_node', keep=Keep(('head*',))
    )


def test_a_model_of_which_nothing_is_left_is_refused(tmp_path):
    refused(tmp_path, tiny(), "nothing is left to quantise: matches '\\*'", keep=Keep(('*',)))


def test_a_quantised_model_is_refused(model, tmp_path):
    out = tmp_path / 'quantised.onnx'
    qdq.insert(model, out, samples())

    assert (qdq.has_qdq(model), qdq.has_qdq(out)) == (False, True)
    refused(tmp_path, onnx.load(out), 'has QuantizeLinear nodes already', keep=EVERYTHING)


@pytest.mark.parametrize('content', [None, b'', b'no onnx at all', bytes(100)])
def test_a_file_that_is_no_network_is_refused(tmp_path, content):
    model = tmp_path / 'model.onnx'
    if content is not None:
        model.write_bytes(content)
    with pytest.raises(BuildRefusedError, match=r'cannot be read|not an ONNX file'):
        qdq.has_qdq(model)


@pytest.mark.parametrize(
    ('data', 'options', 'text'),
    [
        ([], {}, 'there is no calibration sample'),
        (samples(1), {'method': 'random'}, "method 'random' is not known here; allowed: entropy"),
        (samples(1), {'percentile': 0.0, 'method': 'percentile'}, 'percentile is 0.0; allowed'),
        (samples(1, scale=np.inf), {}, "tensor 'images' is not finite in sample 1"),
    ],
)
def test_data_or_settings_that_cannot_be_used_are_refused(model, tmp_path, data, options, text):
    with pytest.raises(CalibrationError, match=text):
        qdq.insert(model, tmp_path / 'int8.onnx', data, **options)


def histogram(*arrays) -> Histogram:
    made = Histogram()
    for each in arrays:
        made.add(np.abs(each))
    return made


def test_thresholds_of_one_distribution():
    values = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
    values[0] = 60.0
    seen = histogram(values)

    assert seen.threshold('minmax') == 60
    assert 3.6 < seen.threshold('percentile', 99.99) < 4.3
    assert 2.5 < seen.threshold('entropy') < 8, 'one outlier in 200,000 must not take all levels'
    assert seen.threshold('percentile', 100) == 60


def test_a_histogram_that_grows_counts_what_one_of_full_size_counts():
    rng = np.random.default_rng(0)
    small, large = rng.random(5000).astype(np.float32), 20 * rng.random(5000).astype(np.float32)
    grown, whole = histogram(small, large), histogram(large, small)

    for percentile in (50, 90, 99):
        one, other = (each.threshold('percentile', percentile) for each in (grown, whole))
        assert one == pytest.approx(other, rel=0.03)


def test_a_tensor_of_few_values_can_be_cut():
    assert histogram(np.full(9, 2.0)).threshold('entropy') == 2
    assert histogram(np.zeros(9)).threshold('entropy') == 0
    assert histogram(np.zeros(0)).threshold('percentile') == 0


REAL = [
    ('yolox_nano', 'yolox_nano_416.onnx', 0.3437, 0.02),
    ('nanodet_m', 'nanodet_m_416.onnx', None, None),
    ('deimv2_femto', 'deimv2_femto_coco.onnx', None, None),
]


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'file', 'reference', 'loss'), REAL)
def test_real_networks_quantise_and_run(data, tmp_path, name, file, reference, loss):
    from trt_validation import accuracy

    out = tmp_path / 'int8.onnx'
    images = data / 'coco_val64' / 'images'
    calibration = open_calibration(load_card(name), images, allow_few=True)
    report = qdq.insert(data / 'models' / file, out, calibration)

    assert report.opset <= 17, 'TensorRT 8.6 must read it'
    if reference is not None:
        result = tmp_path / 'report.json'
        annotations = data / 'coco_val64' / 'instances.json'
        arguments = ['--card', name, '--onnx', out, '--coco', annotations, '--images', images]
        arguments += ['--json', result, '--backend', 'onnxruntime']
        assert accuracy.main([str(each) for each in arguments]) == 0
        assert json.loads(result.read_text())['AP'] > reference - loss
