# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Calls to TensorRT, with a stand-in that has what each version has and no more."""

from __future__ import annotations

from dataclasses import replace
import importlib
import json
from pathlib import Path
import sys

import numpy as np
import onnx
from onnx import helper
from onnx import TensorProto
import pytest

from trt_builder.settings import Resolved
from trt_builder.tensorrt_build import build
from trt_builder.tensorrt_build import CalibrationData
from trt_builder.tensorrt_build import probe
from trt_engine.build_settings import Dla
from trt_engine.build_settings import LayerRule
from trt_engine.errors import BuildFailedError
from trt_engine.errors import BuildRefusedError
from trt_engine.errors import CalibrationError

VERSIONS = [
    '8.6.0', '8.6.2.3', '10.0.1', '10.3.0.30', '10.8.0', '10.13.3.9', '10.16.2.10', '11.0.0',
    '11.4.1',
]  # fmt: skip


@pytest.fixture
def fake(fake_gpu):
    def choose(version: str, does: str = 'build') -> Resolved:
        fake_gpu(version, does)
        numbers = tuple(int(part) for part in version.split('.'))
        return Resolved('tensorrt', numbers, 'fp32', strongly_typed=numbers >= (11,))

    return choose


@pytest.fixture
def model(tmp_path) -> Path:
    nodes = [helper.make_node('Mystery', ['images'], ['a']), helper.make_node('Relu', ['a'], ['b'])]
    graph = helper.make_graph(
        nodes, 'net',
        [helper.make_tensor_value_info('images', TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info('b', TensorProto.FLOAT, (1, 3, 8, 8))],
    )  # fmt: skip
    path = tmp_path / 'model.onnx'
    onnx.save(helper.make_model(graph), path)
    return path


def run(resolved, model, **kwargs):
    said, steps = [], []
    output = build(
        resolved, model,
        report=lambda *step: steps.append(step), log=lambda *line: said.append(line), **kwargs,
    )  # fmt: skip
    return output, json.loads(output.plan), steps, said


@pytest.mark.parametrize('version', VERSIONS)
def test_a_build_on_every_version(fake, model, version):
    output, plan, steps, _ = run(fake(version), model)
    assert plan['network_flags'] == (0 if version >= '11' and version[1] == '1' else 1)
    assert plan['verbosity'] == 'DETAILED'
    assert json.loads(output.layers) == {'Layers': []}
    assert output.timing_cache == b'+'
    fractions = [fraction for _, fraction, _ in steps]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert sum(phase == 'build' for phase, _, _ in steps) >= 4
    assert set(output.seconds) == {'load', 'parse', 'configure', 'build', 'inspect'}


def test_the_stand_in_lacks_what_a_version_lacks(fake):
    fake('8.6.0')
    module = importlib.import_module('tensorrt')
    assert not hasattr(module, 'IProgressMonitor')
    assert not hasattr(module.BuilderFlag, 'BF16')
    with pytest.raises(AttributeError):
        module.IBuilderConfig().progress_monitor = None
    fake('11.4.0')
    module = importlib.import_module('tensorrt')
    assert not hasattr(module, 'IInt8EntropyCalibrator2')
    with pytest.raises(AttributeError):
        module.ILayer('a').precision = None


def test_the_parser_says_what_is_wrong_and_every_operator_that_it_does_not_know(fake, model):
    with pytest.raises(BuildFailedError) as caught:
        run(fake('10.3.0', 'refuse'), model)
    text = str(caught.value)
    assert "Conv 'conv_1': Assertion failed: weights must be an initializer" in text
    assert 'operators that this parser does not know: Mystery' in text
    assert 'fold constants' in text
    assert 'In node 1 (parseGraph): INVALID_NODE' in text


def test_8_6_has_no_names_of_nodes_in_parser_errors(fake, model):
    with pytest.raises(BuildFailedError, match='refuses it: Assertion failed: weights'):
        run(fake('8.6.0', 'refuse'), model)


def test_a_build_that_tensorrt_gives_up(fake, model):
    with pytest.raises(BuildFailedError) as caught:
        run(fake('8.6.0', 'fail'), model)
    assert 'TensorRT built no engine' in str(caught.value)
    assert 'Could not find any implementation for node conv_1.' in str(caught.value)
    assert 'memory_mib.workspace' in str(caught.value)


def test_an_option_that_slipped_through_is_refused_by_name(fake, model):
    resolved = replace(fake('11.4.0'), flags=('FP16',))
    with pytest.raises(BuildRefusedError, match=r'TensorRT 11\.4\.0 has no BuilderFlag\.FP16'):
        run(resolved, model)
    resolved = replace(fake('11.4.0'), scales='calibrator')
    with pytest.raises(BuildRefusedError, match='has no IInt8EntropyCalibrator2'):
        run(resolved, model, calibration=CalibrationData(cache=b'table'))


def test_a_dla_that_is_not_there_is_refused_by_tensorrts_own_word(fake, model):
    with pytest.raises(BuildRefusedError, match='finds 0 DLA cores here; Orin Nano'):
        run(replace(fake('8.6.0'), dla=Dla(core=0)), model)


def test_a_layer_rule_that_fits_no_layer_is_refused(fake, model):
    with pytest.raises(
        BuildRefusedError, match=r"'cnov\*' fits none of the 2 layers, such as 'conv"
    ):
        run(replace(fake('8.6.0'), layer_rules=(LayerRule('cnov*', 'fp32'),)), model)


def test_a_calibrator_without_samples_is_an_error(fake, model):
    with pytest.raises(CalibrationError, match='there are no samples'):
        run(replace(fake('8.6.0'), scales='calibrator'), model)


class Device:
    """Stands in for device memory."""

    def __init__(self, shape, dtype):
        self.host, self.pointer = np.zeros(shape, dtype), 1234

    def upload(self, stream):
        pass


class Stream:
    handle = 0

    def synchronize(self):
        pass


def calibrate(fake, model, monkeypatch, samples):
    """Run a build whose builder takes all batches from the calibrator."""
    from trt_engine.cuda import runtime

    monkeypatch.setattr(runtime, 'DeviceArray', Device)
    monkeypatch.setattr(runtime, 'Stream', Stream)
    resolved = replace(fake('8.6.0'), scales='calibrator')
    module = importlib.import_module('tensorrt')
    batches = []

    def take(self, network, config):
        calibrator = config.int8_calibrator
        assert calibrator.read_calibration_cache() is None
        while (pointers := calibrator.get_batch(['images'])) is not None:
            batches.append((pointers, calibrator.memory['images'].host.copy()))
        calibrator.write_calibration_cache(memoryview(b'table'))
        return b'{}'

    monkeypatch.setattr(module.Builder, 'build_serialized_network', take)
    steps = []
    output = build(
        resolved, model, calibration=CalibrationData(samples, 3),
        report=lambda *step: steps.append(step), log=lambda *_: None,
    )  # fmt: skip
    return output, batches, steps


def test_the_calibrator_hands_out_each_sample_once(fake, model, monkeypatch):
    shared = np.zeros((1, 3, 8, 8), np.float32)

    def samples():
        for value in range(3):
            shared[:] = value
            yield {'images': shared}

    output, batches, steps = calibrate(fake, model, monkeypatch, samples())

    assert [pointers for pointers, _ in batches] == [[1234]] * 3
    assert [array.mean() for _, array in batches] == [0, 1, 2]
    assert output.calibration_cache == b'table'
    assert ('calibrate', 0.1, 'calibration sample 3 of 3') in steps


def test_a_sample_that_cannot_be_read_is_no_end_of_samples(fake, model, monkeypatch):
    """TensorRT would build from those before it, and say nothing."""

    def samples():
        yield {'images': np.zeros((1, 3, 8, 8), np.float32)}
        raise CalibrationError('b.jpg: cannot be read')

    with pytest.raises(CalibrationError, match=r'b\.jpg: cannot be read'):
        calibrate(fake, model, monkeypatch, samples())


def test_a_sample_of_another_kind_is_named(fake, model, monkeypatch):
    samples = iter([{'other': np.zeros(1)}])
    with pytest.raises(CalibrationError, match="calibration sample 1 cannot be used: 'images'"):
        calibrate(fake, model, monkeypatch, samples)


def test_the_library_says_what_it_is(fake):
    fake('10.3.0.30')
    found = probe('tensorrt')
    assert (found.version, found.dla_cores) == ((10, 3, 0, 30), 0)


def test_a_version_that_is_too_old_is_refused(fake):
    fake('8.5.2')
    with pytest.raises(BuildRefusedError, match=r'8\.5\.2 is too old: wanted 8\.6'):
        probe('tensorrt')


def test_a_library_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    with pytest.raises(BuildRefusedError, match=r'TensorRT cannot be imported .*; it comes with J'):
        probe('tensorrt')
