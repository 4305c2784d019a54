# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What follows a build where engines can be run: here on a stand-in for TensorRT that computes."""

from __future__ import annotations

import json

import onnx
from onnx import helper
from onnx import TensorProto
import pytest

from trt_builder.builder import EngineBuilder
from trt_builder.cli import main
from trt_builder.settings import Resolved
from trt_builder.tensorrt_build import build
from trt_engine.card import load_card
from trt_engine.card import with_overrides
from trt_engine.errors import BuildRefusedError
from trt_engine.errors import CheckFailedError
from trt_engine.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture
def demo(repository):
    return load_card(repository / 'config/models/demo.yaml', onnx=repository / 'models/demo.onnx')


@pytest.fixture
def make_builder(tmp_path, fake_gpu):
    def make(version='10.3.0', does='build'):
        fake_gpu(version, does)
        return EngineBuilder(Store(tmp_path / 'store'), lock=tmp_path / 'lock')

    return make


def test_a_new_engine_is_compared_with_its_model(make_builder, demo):
    built = make_builder().build(demo)
    assert built.checks['passed'] is True
    assert built.checks['samples'] == 4
    assert all(each['cosine'] > 0.9999 for each in built.checks['tensors'])
    assert 'furthest off' in built.checks['summary']
    assert built.warnings == ()


def test_recorded_pictures_are_compared_where_there_are_some(make_builder, demo, data):
    card = with_overrides(
        demo,
        [
            'precision=int8', 'calibration.route=qdq', 'calibration.samples=4',
            f'calibration.data={data / "coco_val64"}', 'checks.cosine=0.5', 'checks.max_abs=100.0',
            'checks.mean_abs=100.0',
        ],
    )  # fmt: skip
    built = make_builder().build(card, allow_few=True)
    assert built.checks['passed'] is True
    # the stand-in runs the quantised model, as TensorRT would
    assert built.checks['tensors'][0]['max_abs'] > 0


def test_a_wrong_engine_goes_to_quarantine_and_is_never_handed_out(make_builder, demo, tmp_path):
    builder = make_builder(does='wrong')
    with pytest.raises(CheckFailedError) as caught:
        builder.build(demo)
    assert 'does not compute what the model computes' in str(caught.value)
    assert 'the engine is in quarantine' in str(caught.value)
    (place,) = (tmp_path / 'store/quarantine').iterdir()
    assert 'does not compute' in (place / 'reason.txt').read_text()
    assert {'engine.plan', 'manifest.json', 'layers.json', 'build.log'} <= {
        each.name for each in place.iterdir()
    }
    assert builder.store.entries() == []
    assert builder.plan(demo).found.entry is None


def test_an_engine_of_another_version_is_not_taken_and_the_reason_says_so(make_builder, demo):
    make_builder('10.3.0').build(demo)
    newer = make_builder('10.7.0').build(demo)
    assert newer.status == 'built'
    assert 'was built by TensorRT 10.3.0, here is 10.7.0' in newer.reason


def test_kernel_times_are_kept_for_each_version(make_builder, demo, tmp_path):
    builder = make_builder()
    builder.build(demo)
    builder.build(demo, force=True)
    (cache,) = (tmp_path / 'store/timing').iterdir()
    assert cache.name == 'timing-10.3.0-gpu-default.cache'
    assert cache.read_bytes() == b'++'  # the stand-in adds one for each build
    assert cache.stat().st_mode & 0o077 == 0
    make_builder('10.7.0').build(demo)
    assert len(list((tmp_path / 'store/timing').iterdir())) == 2

    builder = make_builder()
    builder.build(with_overrides(demo, ['timing_cache=false']))
    assert cache.read_bytes() == b'++'


def test_a_timing_cache_that_others_can_write_to_is_refused(make_builder, demo, tmp_path):
    builder = make_builder()
    builder.build(demo)
    (cache,) = (tmp_path / 'store/timing').iterdir()
    cache.chmod(0o666)
    with pytest.raises(Exception, match='other users can write to it'):
        builder.build(demo, force=True)


def test_tensorrts_own_verdict_stands_beside_the_report(fake_gpu, repository, capsys, tmp_path):
    path = tmp_path / 'two.onnx'
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8, 4, 4]) for name in 'xy'
    ]
    nodes = [
        helper.make_node('Relu', ['x'], ['h'], 'conv_0'),
        helper.make_node('Relu', ['h'], ['y'], 'conv_1'),
    ]
    graph = helper.make_graph(nodes, 'net', tensors[:1], tensors[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)]), path)
    fake_gpu('10.3.0', 'dla')

    assert main(['dla-report', str(path), '--ask-tensorrt']) == 0

    text = capsys.readouterr().out
    assert 'TensorRT would run 1 of its 2 layers on the DLA' in text
    assert 'conv_1  Relu      dla          gpu' in text
    fake_gpu('10.3.0')
    assert main(['dla-report', str(path), '--ask-tensorrt']) == 1
    assert 'TensorRT finds 0 DLA cores here' in capsys.readouterr().err


def test_layers_that_fell_back_from_a_dla_are_named_one_by_one(make_builder, demo):
    settings = ['dla.core=1', 'dla.fallback=true', 'io={}']
    built = make_builder(does='dla').build(with_overrides(demo, settings))
    (warning,) = built.warnings
    assert warning.startswith('1 of 2 layers fell back from the DLA to the GPU: conv_1')
    assert built.entry.manifest.layers == {
        'count': 2, 'precision': {'fp16': 2}, 'device': {'dla': 1, 'gpu': 1}, 'moves': 0,
    }  # fmt: skip


def test_a_dla_that_is_not_there_is_refused(make_builder, demo):
    with pytest.raises(BuildRefusedError, match='DLA'):
        make_builder().build(with_overrides(demo, ['dla.core=0']))


@pytest.mark.parametrize(('version', 'exposed'), [('8.6.0', True), ('10.3.0', False)])
def test_what_8_6_fuses_wrongly_becomes_an_output_there(fake_gpu, tmp_path, version, exposed):
    fake_gpu(version)
    shape = [1, 2, 4, 4]
    graph = helper.make_graph(
        [
            helper.make_node('GridSample', ['x', 'grid'], ['sampled'], 'sample'),
            helper.make_node('Relu', ['sampled'], ['y'], 'relu'),
        ],
        'net',
        [
            helper.make_tensor_value_info('x', TensorProto.FLOAT, shape),
            helper.make_tensor_value_info('grid', TensorProto.FLOAT, [1, 4, 4, 2]),
        ],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, shape)],
    )
    path = tmp_path / 'sample.onnx'
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 16)]), path)
    numbers = tuple(int(part) for part in version.split('.'))
    log = []

    output = build(
        Resolved('tensorrt', numbers, 'fp32', strongly_typed=False), path,
        report=lambda *_: None, log=lambda *said: log.append(said),
    )  # fmt: skip

    names = [each[1] for each in json.loads(output.plan)['tensors'] if each[0] == 'OUTPUT']
    assert names == (['y', 'sampled'] if exposed else ['y'])
    assert any('miscomputes it fused' in text for _, text in log) == exposed
