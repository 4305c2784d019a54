# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Builds in child processes: a stand-in for TensorRT in several versions, and all ways to end."""

from __future__ import annotations

from dataclasses import replace
import json
import os
from pathlib import Path
import subprocess
import sys
import threading
import time

import onnx
from onnx import helper
from onnx import TensorProto
import pytest

from trt_builder.build_process import build_in_process
from trt_builder.build_process import CalibrationJob
from trt_builder.build_process import check_in_process
from trt_builder.build_process import LOCK
from trt_builder.build_process import probe_in_process
from trt_builder.settings import Resolved
from trt_engine.build_settings import LayerRule
from trt_engine.build_settings import ShapeRange
from trt_engine.build_settings import TensorFormat
from trt_engine.errors import BuildFailedError
from trt_engine.errors import BuildRefusedError

pytestmark = pytest.mark.slow  # seconds altogether

FP32 = Resolved('tensorrt', (10, 3, 0), 'fp32', strongly_typed=False)


@pytest.fixture
def fake(fake_gpu):
    """Have the child find the stand-in, of that version, that does that."""

    def choose(version: str, does: str = 'build') -> Resolved:
        fake_gpu(version, does)
        numbers = tuple(int(part) for part in version.split('.'))
        return replace(FP32, version=numbers, strongly_typed=numbers >= (11,))

    return choose


@pytest.fixture
def model(tmp_path) -> Path:
    graph = helper.make_graph(
        [helper.make_node('Relu', ['images'], ['output'], 'conv_0')], 'net',
        [helper.make_tensor_value_info('images', TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info('output', TensorProto.FLOAT, (1, 3, 8, 8))],
    )  # fmt: skip
    path = tmp_path / 'model.onnx'
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)]), path)
    return path


@pytest.fixture
def build(model, tmp_path):
    def run(resolved, **kwargs):
        kwargs = {'lock': tmp_path / 'lock', 'folder': tmp_path / 'work', **kwargs}
        return build_in_process(resolved, model, **kwargs)

    return run


def told(result) -> dict:
    return json.loads(result.output.plan)


def test_a_build_on_8_6(fake, build):
    """8.6 has no progress monitor: its log is read. All that a card can ask for is told."""
    steps = []
    shapes = ShapeRange((1, 3, 8, 8), (1, 3, 8, 8), (4, 3, 8, 8))
    resolved = replace(
        fake('8.6.0'),
        scales='calibrator',
        flags=('FP16', 'INT8', 'PREFER_PRECISION_CONSTRAINTS'),
        cleared=('TF32',),
        pools={'WORKSPACE': 256},
        tactic_sources=(),
        optimization_level=0,
        max_aux_streams=0,
        timing_iterations=2,
        layer_rules=(LayerRule('conv_1', 'fp32'), LayerRule('conv_*', 'int8')),
        io={'images': TensorFormat('fp16', 'chw4')},
        profiles=({'images': shapes},),
        hardware_compatibility='AMPERE_PLUS',
        verbosity='NONE',
        notes=('chosen so',),
    )
    table = Path(build.__closure__[0].cell_contents).parent / 'table.cache'
    table.write_text('TRT-8600-EntropyCalibration2\nimages: 3c000000\n')

    result = build(
        resolved, calibration=CalibrationJob(Path('card.yaml'), cache=str(table)),
        timing_cache=b'earlier', progress=steps.append,
    )  # fmt: skip

    plan = told(result)
    assert plan['network_flags'] == 1
    assert plan['flags'] == ['FP16', 'INT8', 'PREFER_PRECISION_CONSTRAINTS']
    assert plan['cleared'] == ['TF32']
    assert plan['pools'] == {'WORKSPACE': 256 << 20}
    assert plan['tactic_sources'] == 0
    assert plan['profiles'] == [{'images': [[1, 3, 8, 8], [1, 3, 8, 8], [4, 3, 8, 8]]}]
    assert plan['precisions'] == {'conv_0': 'INT8', 'conv_1': 'FLOAT'}
    assert plan['output_types'] == {'conv_1': {'0': 'FLOAT'}}
    assert plan['tensors'][0] == ['INPUT', 'images', 'HALF', 'CHW4', [1, 3, 8, 8]]
    assert plan['table'].startswith('TRT-8600')
    assert result.output.calibration_cache.startswith(b'TRT-8600')
    assert result.output.timing_cache == b'earlier+'
    assert json.loads(result.output.layers) == {'Layers': []}
    assert [(t.name, t.mode, t.dtype) for t in result.output.tensors] == [
        ('images', 'input', 'HALF'), ('output', 'output', 'FLOAT'),
    ]  # fmt: skip
    assert '[NOTE] chosen so' in result.log
    assert result.peak_mib > 0
    fractions = [each.fraction for each in steps]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert [*dict.fromkeys(each.phase for each in steps)] == [
        'load', 'parse', 'configure', 'build', 'inspect', 'done',
    ]  # fmt: skip


@pytest.mark.parametrize('version', [pytest.param('10.3.0', marks=pytest.mark.slow), '11.4.0'])
def test_a_build_on_later_versions(fake, build, version):
    steps = []
    result = build(fake(version), progress=steps.append, timing_cache=b'foreign times')
    assert told(result)['network_flags'] == (1 if version == '10.3.0' else 0)
    assert result.output.timing_cache == b'+'
    assert 'another TensorRT or GPU' in result.log
    assert any(each.message == 'Building engine' for each in steps)


@pytest.mark.parametrize(
    ('does', 'wanted'),
    [
        ('crash', r'(?s)process crashed \(SIGSEGV\).*native code says goodbye'),
        pytest.param(
            'kill', r'was killed \(SIGKILL\), by hand or for want of memory',
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_whatever_ends_the_child_is_an_error_with_its_reason(fake, build, tmp_path, does, wanted):
    resolved = fake('10.3.0', does)
    with pytest.raises(BuildFailedError, match=wanted):
        build(resolved)
    assert list((tmp_path / 'work').iterdir()) == []


@pytest.mark.slow
def test_a_build_that_takes_too_long_is_ended(fake, build):
    start = time.monotonic()
    with pytest.raises(BuildFailedError, match=r'took longer than 0\.8 s and was ended'):
        build(fake('10.3.0', 'hang'), timeout_s=0.8)
    assert time.monotonic() - start < 10


def test_a_build_can_be_cancelled_and_the_next_one_runs(fake, build):
    cancel = threading.Event()

    def on_progress(step):
        if step.phase == 'build':
            cancel.set()

    with pytest.raises(BuildFailedError, match='was cancelled'):
        build(fake('10.3.0', 'hang'), progress=on_progress, cancel=cancel)
    assert told(build(fake('10.3.0')))


def test_a_listener_that_fails_ends_the_build(fake, build):
    def on_progress(step):
        if step.phase == 'build':
            raise KeyError('the listener')

    start = time.monotonic()
    with pytest.raises(KeyError, match='the listener') as caught:
        build(fake('10.3.0', 'hang'), progress=on_progress)
    # the exception, and with it every frame, is still there: the child is not
    assert caught.value is not None
    assert told(build(fake('10.3.0')))
    assert time.monotonic() - start < 10


def test_builds_run_one_after_the_other(fake, build, tmp_path):
    holder = subprocess.Popen(
        [sys.executable, '-c',
         'import fcntl, sys, time\nf = open(sys.argv[1], "w")\nfcntl.flock(f, fcntl.LOCK_EX)\n'
         'print("held", flush=True)\ntime.sleep(60)', str(tmp_path / 'lock')],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    holder.stdout.readline()
    seen = []

    def on_progress(step):
        seen.append(step.phase)
        holder.kill()  # a dead owner blocks nobody

    result = build(fake('10.3.0'), progress=on_progress)
    holder.wait()
    holder.stdout.close()
    assert seen[0] == 'waiting'
    assert told(result)


def test_waiting_for_a_turn_can_be_cancelled(fake, build, tmp_path):
    import fcntl

    cancel = threading.Event()
    cancel.set()
    with (tmp_path / 'lock').open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BuildFailedError, match='cancelled while it waited'):
            build(fake('10.3.0'), cancel=cancel)


def test_the_child_ends_with_its_parent(fake, model, tmp_path):
    resolved = fake('10.3.0', 'hang')
    script = (
        'import sys, json, pathlib\n'
        'from trt_builder.build_process import build_in_process\n'
        'from trt_builder.settings import Resolved\n'
        'r = Resolved.from_json(json.loads(sys.argv[1]))\n'
        'build_in_process(r, pathlib.Path(sys.argv[2]), folder=pathlib.Path(sys.argv[3]),\n'
        '    lock=pathlib.Path(sys.argv[4]), progress=lambda s: print(s.phase, flush=True))\n'
    )
    lock = tmp_path / 'lock'
    parent = subprocess.Popen(
        [sys.executable, '-c', script, json.dumps(resolved.to_json()), str(model),
         str(tmp_path / 'work'), str(lock)],
        stdout=subprocess.PIPE, text=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(path for path in sys.path if path)},
    )  # fmt: skip
    while parent.stdout.readline().strip() != 'build':
        pass
    parent.kill()
    parent.wait()
    parent.stdout.close()
    # the orphan held the turn: that it comes free shows that the orphan is gone
    start = time.monotonic()
    assert told(build_in_process(fake('10.3.0'), model, folder=tmp_path, lock=lock))
    assert time.monotonic() - start < 10


def test_what_the_child_refuses_is_refused_here(fake, build):
    resolved = replace(fake('10.3.0'), version=(10, 7, 0))
    with pytest.raises(
        BuildRefusedError, match=r'are for TensorRT 10\.7\.0, and TensorRT 10\.3\.0'
    ):
        build(resolved)


@pytest.mark.slow
def test_the_library_is_asked_who_it_is(fake):
    fake('8.6.0')
    assert probe_in_process('tensorrt').version == (8, 6, 0)


def test_a_file_that_crashes_the_check_is_refused_and_the_others_are_checked(
    monkeypatch, tmp_path, model
):
    """The checker of ONNX is native code, and has crashed on mutated files."""
    (tmp_path / 'sitecustomize.py').write_text(
        'import onnx.checker, os\n'
        'check = onnx.checker.check_model\n'
        'def crash(model):\n'
        '    if model.graph.name == "crash": os.abort()\n'
        '    check(model)\n'
        'onnx.checker.check_model = crash\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    broken = onnx.load(model)
    broken.graph.name = 'crash'
    onnx.save(broken, tmp_path / 'broken.onnx')
    files = [tmp_path / 'broken.onnx', model, tmp_path / 'none.onnx', tmp_path / 'broken.onnx']

    reports = list(check_in_process(files, 'tensorrt', (8, 6, 0)))

    assert [each.path for each in reports] == files
    crashed, good, missing, again = reports
    assert crashed.errors == (
        'its structure cannot be checked, so it is refused: the check process crashed (SIGABRT)',
    )
    assert good.require().ops == {'Relu': 1}
    assert 'cannot be read' in missing.errors[0]
    assert again.errors == crashed.errors


def test_the_lock_is_the_same_for_all_users_of_a_machine():
    assert LOCK.name == 'jetson_perception_build.lock'
