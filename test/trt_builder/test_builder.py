# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""From a card to an engine in the store: real builds by TensorRT-RTX, which need no GPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
import json
import os
from pathlib import Path
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from trt_builder import builder as builder_module
from trt_builder.builder import EngineBuilder
from trt_builder.builder import refusal
from trt_engine.card import load_card
from trt_engine.card import with_overrides
from trt_engine.errors import BuildFailedError
from trt_engine.errors import BuildRefusedError
from trt_engine.errors import CalibrationError
from trt_engine.errors import StoreError
from trt_engine.store import Store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec('tensorrt_rtx_bindings') is None or find_spec('tensorrt_rtx_libs') is None,
        reason='TensorRT-RTX is not installed: pip install tensorrt-rtx-cu13-libs '
        'tensorrt-rtx-cu13-bindings',
    ),
]

KILLS = 20
REQUESTS = 50
BUILD_IT = """
import sys
from pathlib import Path
from trt_builder.builder import EngineBuilder
from trt_engine.card import load_card
from trt_engine.store import Store
card, store, lock = sys.argv[1:]
print('begun', flush=True)
print(EngineBuilder(Store(store), 'tensorrt_rtx', lock=Path(lock)).build(load_card(card)).status)
"""


@pytest.fixture
def demo(repository):
    return load_card(repository / 'config/models/demo.yaml', onnx=repository / 'models/demo.onnx')


@pytest.fixture
def yolox(repository, data):
    card = repository / 'config/models/yolox_nano.yaml'
    return load_card(card, onnx=data / 'models/yolox_nano_416.onnx')


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / 'store')


@pytest.fixture
def builder(store, tmp_path):
    return EngineBuilder(store, 'tensorrt_rtx', lock=tmp_path / 'lock', timeout_s=300)


def test_an_engine_is_built_once_and_reused(builder, demo):
    steps = []
    built = builder.build(demo, progress=steps.append)
    assert built.status == 'built'
    assert 'holds no engine' in built.reason
    assert built.entry.plan.stat().st_size > 1_000_000
    assert built.entry.manifest.ingredients.flavour == 'tensorrt_rtx'
    assert built.entry.manifest.ingredients.tensorrt.startswith('1.')
    assert built.entry.manifest.tensors[0].name == 'images'
    assert built.phases['build'] > 0
    fractions = [each.fraction for each in steps]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    phases = [*dict.fromkeys(each.phase for each in steps)]
    assert phases[0] == 'prepare'
    assert phases[-3:] == ['built', 'check', 'done']
    assert len({each.message for each in steps if each.phase == 'build'}) > 3

    again = builder.build(demo)
    assert again.status == 'reused'
    assert again.entry.key == built.entry.key
    assert 'of exactly these ingredients' in again.reason
    assert again.seconds < built.seconds / 5


def test_what_cannot_be_checked_here_is_not_called_checked(builder, demo):
    built = builder.build(demo)
    assert built.checks['passed'] is None
    assert 'cannot run engines of TensorRT-RTX' in built.checks['skipped']
    assert any('was not checked' in text for text in built.warnings)
    assert built.to_json()['layers'] == {}  # unknown, and not none


def test_forced_it_is_built_anew(builder, demo):
    first = builder.build(demo)
    second = builder.build(demo, force=True)
    assert (second.status, second.reason) == ('built', 'built anew, as asked')
    assert second.entry.key == first.entry.key


def test_the_outcome_is_json(builder, demo):
    values = json.loads(json.dumps(builder.build(demo).to_json()))
    assert {'status', 'reason', 'engine', 'key', 'seconds', 'checks'} <= values.keys()
    assert Path(values['engine']).is_file()
    refused = json.loads(json.dumps(refusal(BuildRefusedError('too old'))))
    assert {'status', 'reason', 'engine', 'key', 'seconds', 'checks'} <= refused.keys()
    assert (refused['status'], refused['reason'], refused['engine']) == ('refused', 'too old', None)


def test_another_setting_is_another_engine_and_the_reason_says_which(builder, demo):
    builder.build(demo)
    other = builder.build(with_overrides(demo, ['precision=fp32']))
    assert other.status == 'built'
    assert 'built with precision "fp16", wanted is "fp32"' in other.reason
    assert len(builder.store.entries()) == 2


def test_a_plan_says_what_would_be_done_and_writes_nothing(builder, demo, store):
    plan = builder.plan(demo)
    assert plan.to_json()['status'] == 'would build'
    assert plan.resolved.strongly_typed
    assert plan.memory.verdict == 'ok'
    assert plan.model.facts.nodes > 10
    assert not store.root.exists()
    builder.build(demo)
    assert builder.plan(demo).to_json()['status'] == 'reused'


def test_a_plan_lists_what_stands_in_the_way(builder, demo):
    plan = builder.plan(with_overrides(demo, ['precision=int8']))
    assert plan.to_json()['status'] == 'refused'
    assert 'needs scales' in plan.to_json()['reason']
    with pytest.raises(BuildRefusedError, match='needs scales'):
        builder.build(with_overrides(demo, ['precision=int8']))


def test_a_laptop_without_tensorrt_can_plan_for_a_version(store, demo):
    plain = EngineBuilder(store)
    with pytest.raises(BuildRefusedError, match='TensorRT is not installed here; it comes with'):
        plain.plan(demo)
    with pytest.raises(BuildRefusedError, match='TensorRT is not installed here'):
        plain.build(demo)
    plan = EngineBuilder(store, assume='8.6.2').plan(demo)
    assert plan.resolved.version == (8, 6, 2)
    assert plan.resolved.flags == ('FP16',)


def test_a_card_whose_input_the_model_does_not_have_is_refused_before_the_build(builder, demo):
    wrong = replace(demo, input=replace(demo.input, tensor='pictures'))
    with pytest.raises(BuildRefusedError, match="inputs images, and the card names 'pictures'"):
        builder.build(wrong)


def test_many_requests_make_one_build(builder, demo, store, repository, tmp_path):
    def ask(number):
        if number % 10:
            return builder.build(demo).status
        command = [sys.executable, '-c', BUILD_IT, repository / 'config/models/demo.yaml']
        return subprocess.run(
            [*command, store.root, tmp_path / 'lock'], capture_output=True, text=True, check=True
        ).stdout.split()[-1]

    with ThreadPoolExecutor(REQUESTS) as pool:
        statuses = list(pool.map(ask, range(REQUESTS)))
    assert sorted(statuses) == ['built'] + ['reused'] * (REQUESTS - 1)
    assert len(store.entries()) == 1


def test_killed_at_any_moment_it_leaves_no_half_engine_and_no_lock(
    builder, demo, store, repository, tmp_path
):
    rng = random.Random(7)
    finished = 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            [
                sys.executable, '-c', BUILD_IT, repository / 'config/models/demo.yaml',
                store.root, tmp_path / 'lock',
            ],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout.readline() == 'begun\n'
        time.sleep(rng.uniform(0, 1.6))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert all(problem is None for problem in store.verify().values())
        for entry in store.entries():
            finished += 1
            store.remove(entry.key)
    start = time.monotonic()
    assert builder.build(demo).status == 'built'
    assert time.monotonic() - start < 30
    assert not list((store.root / 'partial').iterdir())
    assert finished < KILLS  # most were killed before their end, or this test shows nothing


def test_cancelled_in_the_middle_it_leaves_nothing(builder, demo, store):
    cancel = threading.Event()

    def on_progress(step):
        if step.phase == 'build':
            cancel.set()

    with pytest.raises(BuildFailedError, match='was cancelled'):
        builder.build(demo, progress=on_progress, cancel=cancel)
    assert store.entries() == []
    assert not list((store.root / 'partial').iterdir())


def test_cancelled_while_another_builds_it_stops_waiting(builder, demo, store):
    cancel = threading.Event()
    steps = []

    def on_progress(step):
        steps.append(step.phase)
        if step.phase == 'waiting':
            cancel.set()

    key = builder.plan(demo).ingredients.key
    with store.lock(key), pytest.raises(StoreError, match='was cancelled'):
        builder.build(demo, progress=on_progress, cancel=cancel)
    assert 'waiting' in steps


def test_too_little_memory_or_disk_is_said_before_the_build(builder, demo, store, monkeypatch):
    def full(folder, model_bytes):
        raise BuildRefusedError(f'{folder}: 1 MiB are free')

    monkeypatch.setattr(builder_module, 'check_disk', full)
    with pytest.raises(BuildRefusedError, match='1 MiB are free'):
        builder.build(demo)
    assert store.entries() == []


def test_int8_by_q_dq_depends_on_the_very_samples(builder, yolox, data, tmp_path):
    few = with_overrides(
        yolox,
        ['precision=int8', f'calibration.data={data / "coco_val64"}', 'calibration.samples=6'],
    )
    with pytest.raises(CalibrationError, match='6 samples are too few'):
        builder.build(few)
    built = builder.build(few, allow_few=True)
    assert built.status == 'built'
    log = built.entry.log.read_text()
    assert 'Q/DQ at' in log
    assert 'has no calibrators; Q/DQ nodes are put into the model' in log
    assert built.entry.manifest.ingredients.calibration is not None

    other = with_overrides(few, ['calibration.samples=5'])
    assert builder.plan(other, allow_few=True).ingredients.key != built.entry.key
    assert builder.build(few, allow_few=True).status == 'reused'


def test_mixed_keeps_the_worst_layers_and_says_which(builder, demo, data):
    card = with_overrides(
        demo,
        [
            'precision=mixed', 'mixed_layers=2', 'calibration.samples=4',
            f'calibration.data={data / "coco_val64"}',
        ],
    )  # fmt: skip
    log = builder.build(card, allow_few=True).entry.log.read_text()
    assert 'what each layer loses in INT8' in log
    assert 'Q/DQ at' in log


def test_a_simplified_copy_is_built_and_the_original_untouched(builder, demo, repository):
    before = (repository / 'models/demo.onnx').read_bytes()
    built = builder.build(with_overrides(demo, ['simplify=true']))
    assert 'onnxslim' in built.entry.log.read_text()
    assert (repository / 'models/demo.onnx').read_bytes() == before


def test_no_process_of_a_build_outlives_it(builder, demo):
    builder.build(demo)
    for status in Path('/proc').glob('[0-9]*/status'):
        try:
            parent = status.read_text().partition('PPid:')[2].split()[0]
            command = (status.parent / 'cmdline').read_bytes()
        except OSError:
            continue
        assert not (parent == str(os.getpid()) and b'trt_builder.build_child' in command)
