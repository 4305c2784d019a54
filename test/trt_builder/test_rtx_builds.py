# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The real thing: TensorRT-RTX builds engines here, with no GPU."""

from __future__ import annotations

from collections import Counter
from importlib.util import find_spec
import json
import os
from pathlib import Path
import random
import signal
import subprocess
import sys
import threading

import onnx
import pytest

from trt_builder.build_process import build_in_process
from trt_builder.build_process import CalibrationJob
from trt_builder.build_process import check_in_process
from trt_builder.build_process import child_environment
from trt_builder.build_process import probe_in_process
from trt_builder.compat import FEATURES
from trt_builder.settings import GpuFacts
from trt_builder.settings import resolve
from trt_engine.build_settings import Build
from trt_engine.build_settings import Calibration
from trt_engine.build_settings import LayerRule
from trt_engine.errors import BuildError
from trt_engine.errors import BuildFailedError
from trt_engine.errors import BuildRefusedError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec('tensorrt_rtx_bindings') is None or find_spec('tensorrt_rtx_libs') is None,
        reason='TensorRT-RTX is not installed: pip install tensorrt-rtx-cu13-libs '
        'tensorrt-rtx-cu13-bindings',
    ),
]

MODELS = {
    'deeplab_v3_mnv2_voc_257': 'sub_7',
    'deimv2_femto_coco': 'images',
    'mlperf_tiny_vww_mobilenetv1_025_96': 'input_1',
    'nanodet_m_416': 'input.1',
    'road_segmentation_adas_0001': 'data',
    'yolox_nano_416': 'images',
    'demo': 'images',
}
MUTATED, BUILT = 2000, 60
NAMES = """
import json, sys
import tensorrt_rtx_bindings as library
from trt_builder.compat import find
print(json.dumps({name: find(library, name) is not None for name in json.loads(sys.argv[1])}))
"""


@pytest.fixture(scope='module')
def version() -> tuple[int, ...]:
    return probe_in_process('tensorrt_rtx').version


@pytest.fixture
def find_model(data, repository):
    def find(name: str) -> Path:
        return (repository / 'models' if name == 'demo' else data / 'models') / f'{name}.onnx'

    return find


def resolved(path, version, build):
    (report,) = check_in_process([path], 'tensorrt_rtx', version)
    facts = report.require()
    return resolve(build, flavour='tensorrt_rtx', version=version, gpu=GpuFacts(), model=facts)


def build(path, version, tmp_path, settings=None, **kwargs):
    settings = resolved(path, version, settings or Build())
    return build_in_process(
        settings, path, folder=tmp_path, lock=tmp_path / 'lock', timeout_s=300, **kwargs
    )


def test_the_table_says_what_the_library_holds():
    output = subprocess.run(
        [sys.executable, '-c', NAMES, json.dumps([*FEATURES])],
        env=child_environment('tensorrt_rtx'), capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert json.loads(output) == {name: each.rtx for name, each in FEATURES.items()}


@pytest.mark.parametrize('name', sorted(MODELS))
def test_every_model_builds_and_says_how_far_it_is(find_model, version, tmp_path, name):
    steps = []
    result = build(find_model(name), version, tmp_path, progress=steps.append)
    assert len(result.output.plan) > 100_000
    assert result.output.tensors[0].name == MODELS[name]
    assert result.output.tensors[0].dtype == 'FLOAT'
    assert 'fp16: ' in result.log
    assert 'Engine generation completed' in result.log
    fractions = [each.fraction for each in steps]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    phases = [*dict.fromkeys(each.phase for each in steps)]
    assert phases == ['convert', 'load', 'parse', 'configure', 'build', 'inspect', 'done']
    # TensorRT's own phases, and not ours alone
    assert len({each.message for each in steps if each.phase == 'build'}) > 3


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_other_precisions(find_model, version, tmp_path, precision):
    settings = Build(precision=precision)
    assert build(find_model('demo'), version, tmp_path, settings).output.plan


def test_layers_that_stay_in_fp32(find_model, version, tmp_path):
    rules = (LayerRule('/head*', 'fp32'), LayerRule('*', 'fp16'))
    node = onnx.load(find_model('yolox_nano_416')).graph.node[5].name
    settings = Build(precision='fp32', layer_precision=(LayerRule(node, 'fp16'),))
    result = build(find_model('yolox_nano_416'), version, tmp_path, settings)
    assert 'fp32: 1 nodes converted' in result.log
    with pytest.raises(BuildRefusedError, match='fits none of the'):
        build(find_model('yolox_nano_416'), version, tmp_path, Build(layer_precision=rules))


def test_int8_through_q_dq_nodes(find_model, version, data, tmp_path, repository):
    pictures = data / 'coco_val64'
    settings = Build(precision='int8', calibration=Calibration(data=str(pictures)))
    calibration = CalibrationJob(
        repository / 'config/models/yolox_nano.yaml', str(pictures), samples=8, allow_few=True
    )
    path = find_model('yolox_nano_416')
    result = build(path, version, tmp_path, settings, calibration=calibration)
    assert 'Q/DQ at' in result.log
    assert result.output.plan


def test_a_build_is_cancelled_in_the_middle(find_model, version, tmp_path):
    cancel = threading.Event()

    def on_progress(step):
        if step.phase == 'build' and step.fraction > 0.1:
            cancel.set()

    path = find_model('deimv2_femto_coco')
    with pytest.raises(BuildFailedError, match='was cancelled'):
        build(path, version, tmp_path, progress=on_progress, cancel=cancel)


def test_a_killed_build_is_an_error_and_the_next_one_runs(find_model, version, tmp_path):
    def on_progress(step):
        if step.phase == 'build':
            for child in children():
                os.kill(child, signal.SIGKILL)

    path = find_model('deimv2_femto_coco')
    with pytest.raises(BuildFailedError, match='SIGKILL'):
        build(path, version, tmp_path, progress=on_progress)
    assert build(find_model('demo'), version, tmp_path).output.plan


def children() -> list[int]:
    """Return our build processes."""
    found = []
    for status in Path('/proc').glob('[0-9]*/status'):
        try:
            parent = status.read_text().partition('PPid:')[2].split()[0]
            command = (status.parent / 'cmdline').read_bytes()
        except OSError:
            continue  # it has ended
        if parent == str(os.getpid()) and b'trt_builder.build_child' in command:
            found.append(int(status.parent.name))
    return found


def flip_bytes(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 4, 64])):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def flip_bits_of_the_graph(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(8):
        changed[rng.randrange(min(len(changed), 8000))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def edit_graph(rng: random.Random, data: bytes) -> bytes:
    model = onnx.load_model_from_string(data)
    for _ in range(rng.randint(1, 3)):
        rng.choice(EDITS)(rng, model)
    return model.SerializeToString()


def rename_operator(rng, model):
    names = [
        'Conv',
        'Foo',
        'If',
        'Loop',
        '',
        'Resize',
        'TopK',
        'Reshape',
        'Einsum',
        'Gather',
        'Pad',
    ]
    rng.choice(model.graph.node).op_type = rng.choice(names)


def rewire(rng, model):
    node = rng.choice(model.graph.node)
    if node.input:
        other = rng.choice(model.graph.node).output[:1] or ['']
        node.input[rng.randrange(len(node.input))] = rng.choice(['', 'nowhere', other[0]])


def drop_node(rng, model):
    model.graph.node.remove(rng.choice(model.graph.node))


def repeat_node(rng, model):
    model.graph.node.append(rng.choice(model.graph.node))


def change_attribute(rng, model):
    node = rng.choice(model.graph.node)
    if node.attribute:
        attribute = rng.choice(node.attribute)
        if attribute.ints:
            place = rng.randrange(len(attribute.ints))
            attribute.ints[place] = rng.choice([0, -1, 1 << 40, 7])
        else:
            attribute.i = rng.choice([-1, 1 << 62, 99])


def change_weight(rng, model):
    weight = rng.choice(model.graph.initializer)
    how = rng.randrange(3)
    if how == 0:
        weight.dims[:] = [rng.choice([0, -1, 1 << 40, 3]) for _ in range(rng.randint(0, 9))]
    elif how == 1:
        weight.data_type = rng.randrange(40)
    else:
        weight.raw_data = weight.raw_data[: rng.randrange(len(weight.raw_data) + 1)]


def change_input(rng, model):
    tensor = rng.choice(model.graph.input).type.tensor_type
    if rng.random() < 0.5:
        tensor.elem_type = rng.randrange(30)
    for size in tensor.shape.dim:
        size.dim_value = rng.choice([0, -5, 1 << 50, 1, 416])


def change_opset(rng, model):
    model.opset_import[0].version = rng.choice([0, 1, 6, 9, 18, 25, 999])


def change_domain(rng, model):
    rng.choice(model.graph.node).domain = rng.choice(['com.other', 'ai.onnx.ml'])


EDITS = (
    rename_operator, rewire, drop_node, repeat_node, change_attribute, change_weight, change_input,
    change_opset, change_domain,
)  # fmt: skip
MUTATIONS = (flip_bytes, flip_bits_of_the_graph, cut, edit_graph, edit_graph)


def test_mutated_files_are_refused_with_a_reason_and_crash_nobody(find_model, version, tmp_path):
    names = ('demo', 'mlperf_tiny_vww_mobilenetv1_025_96', 'yolox_nano_416', 'deimv2_femto_coco')
    originals = [find_model(name).read_bytes() for name in names]
    outcome: Counter[str] = Counter()
    accepted = []
    for start in range(0, MUTATED, 200):
        paths = []
        for seed in range(start, start + 200):
            rng = random.Random(seed)
            path = tmp_path / f'{seed}.onnx'
            path.write_bytes(rng.choice(MUTATIONS)(rng, rng.choice(originals)))
            paths.append(path)
        reports = list(check_in_process(paths, 'tensorrt_rtx', version))
        assert [each.path for each in reports] == paths
        for report in reports:
            if report.facts is None or report.errors:
                assert report.errors
                assert all(len(text) > 10 for text in report.errors)
                outcome['refused by the check'] += 1
                report.path.unlink()
            elif len(accepted) < BUILT:
                accepted.append(report)
            else:
                outcome['accepted'] += 1
                report.path.unlink()
    assert len(accepted) == BUILT
    for report in accepted:
        try:
            settings = resolve(
                Build(precision='fp32'), flavour='tensorrt_rtx', version=version, gpu=GpuFacts(),
                model=report.require(),
            )  # fmt: skip
            build_in_process(
                settings, report.path, folder=tmp_path, lock=tmp_path / 'lock', timeout_s=120
            )
        except BuildError as exc:
            explained = isinstance(exc, BuildRefusedError) or 'What to do' in str(exc)
            outcome['explained' if explained else f'raw words: {exc}'] += 1
        else:
            outcome['built'] += 1
    assert outcome['refused by the check'] > MUTATED / 4
    assert outcome['built'] > BUILT / 10
    assert outcome.keys() <= {'refused by the check', 'accepted', 'built', 'explained'}, outcome
