# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The command `trt_build`: each verb, each way to end, what people read and what programs read."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
import io
import json
import os
from pathlib import Path
import shlex
import signal
import subprocess
import sys

import jsonschema
import onnx
from onnx import helper
from onnx import TensorProto
import pytest

from trt_builder.build_process import Progress
from trt_builder.cli import main
from trt_builder.cli import VERBS
from trt_builder.commands import arguments
from trt_builder.commands import show
from trt_builder.dla import report as dla_report
from trt_builder.dla.process import report_in_process
from trt_engine import platform
from trt_engine.card import load_card
from trt_engine.errors import ModelFileError
from trt_engine.manifest import Ingredients
from trt_engine.manifest import Manifest
from trt_engine.manifest import TensorRecord
from trt_engine.platform import Platform
from trt_engine.store import Store

pytestmark = pytest.mark.slow

needs_rtx = pytest.mark.skipif(
    find_spec('tensorrt_rtx_bindings') is None or find_spec('tensorrt_rtx_libs') is None,
    reason='TensorRT-RTX is not installed: pip install tensorrt-rtx-cu13-libs '
    'tensorrt-rtx-cu13-bindings',
)
COMMAND = [
    sys.executable,
    '-c',
    'import sys; from trt_builder.entry import trt_build; sys.exit(trt_build())',
]
LAYERS = {
    'Layers': [
        {
            'Name': 'conv_0 + relu_0',
            'LayerType': 'CaskConvolution',
            'Outputs': [{'Name': 'x', 'Format/Datatype': 'Channel major FP16 format'}],
            'TacticName': 'sm80_xmma_fprop',
        },
        {'Name': 'plain reformat', 'LayerType': 'Reformat', 'Outputs': []},
    ],
    'Bindings': ['images', 'output'],
}
TEXT = {'type': 'string', 'minLength': 1}
KEY = {'type': 'string', 'pattern': '^[0-9a-f]{64}$'}
TEXTS = {'type': 'array', 'items': TEXT}
ENGINE = {
    'type': 'object',
    'required': [
        'status', 'reason', 'engine', 'key', 'seconds', 'checks', 'layers', 'notes', 'warnings',
    ],
    'properties': {
        'status': {'enum': ['built', 'reused']},
        'reason': TEXT,
        'engine': {'type': 'string', 'pattern': 'engine.plan$'},
        'key': KEY,
        'seconds': {'type': 'number', 'minimum': 0},
        'checks': {'type': 'object', 'required': ['passed']},
        'layers': {'type': 'object'},
        'notes': TEXTS,
        'warnings': TEXTS,
    },
}  # fmt: skip
REFUSED = {
    'type': 'object',
    'required': ['status', 'reason', 'error', 'engine', 'key', 'seconds', 'checks'],
    'properties': {
        'status': {'const': 'refused'},
        'reason': TEXT,
        'error': TEXT,
        'engine': {'type': 'null'},
        'seconds': {'type': 'number'},
        'checks': {'type': 'object'},
    },
}
DRY_RUN = {
    'type': 'object',
    'required': [
        'status', 'reason', 'engine', 'key', 'ingredients', 'model', 'settings', 'memory', 'notes',
        'warnings', 'disk_free_mib', 'dla', 'trtexec',
    ],
    'properties': {
        'status': {'enum': ['would build', 'reused', 'refused']},
        'reason': TEXT,
        'engine': {'type': ['string', 'null']},
        'key': KEY,
        'model': {'type': 'object', 'required': ['path', 'facts', 'verdicts']},
        'settings': {'type': ['object', 'null']},
        'memory': {'type': ['object', 'null']},
        'disk_free_mib': {'type': 'integer'},
        'notes': TEXTS,
        'warnings': TEXTS,
        'dla': {'type': ['object', 'null']},
        'trtexec': {'type': ['object', 'null']},
    },
}  # fmt: skip
REAL = {
    'yolox_nano': 'yolox_nano_416',
    'nanodet_m': 'nanodet_m_416',
    'deimv2_femto': 'deimv2_femto_coco',
}


class Told:
    """What one call gave."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    def json(self, schema: dict | None = None) -> dict:
        values = json.loads(self.out)
        jsonschema.validate(values, schema or {'type': 'object'})
        return values


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv('TRT_ENGINE_STORE', str(tmp_path / 'store'))
    return tmp_path / 'store'


@pytest.fixture
def trt_build(root, capsys) -> Callable[..., Told]:
    def call(*words: str | Path) -> Told:
        status = main([str(word) for word in words])
        return Told(status, *capsys.readouterr())

    return call


@pytest.fixture
def usage(trt_build, capsys) -> Callable[..., str]:
    """Call it with words that the parser itself refuses, or answers."""

    def call(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            trt_build(*words)
        out, err = capsys.readouterr()
        return ended.value.code, out + err

    return call


@pytest.fixture
def demo(repository) -> list[str]:
    """Return the card that lies in this repository; its own ONNX path needs an installation."""
    return ['demo', '--onnx', str(repository / 'models' / 'demo.onnx')]


@pytest.fixture
def laptop(monkeypatch) -> None:
    """Be a machine without TensorRT."""
    for module in (platform, arguments):
        monkeypatch.setattr(module, 'tensorrt_version', lambda flavour='tensorrt': None)


@pytest.fixture
def keep(root, repository) -> Callable[..., str]:
    """Put an engine into the store, and return its key."""

    def put(layers: dict | None = None, **facts: str) -> str:
        card = load_card('demo', onnx=repository / 'models' / 'demo.onnx')
        ingredients = Ingredients.collect(
            card, Path(card.model.source), flavour='tensorrt', facts=Platform(**facts)
        )
        manifest = Manifest(
            ingredients,
            '2026-01-31T12:00:00Z',
            12.5,
            tensors=(TensorRecord('images', 'input', 'FLOAT', (1, 3, 256, 320)),),
            checks={'passed': True, 'summary': '4 samples, 1 outputs'},
            layers={'count': 2, 'precision': {'fp16': 1}, 'device': {'gpu': 1}, 'moves': 1},
        )
        return Store(root).put(manifest, b'a plan', json.dumps(layers or LAYERS), 'log\n').key

    return put


# -- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('verb', ['', *VERBS])
def test_help_of_each_verb_has_an_example(usage, verb):
    status, text = usage(*([verb] if verb else []), '--help')
    assert status == 0
    assert f'trt_build {verb}'.strip() in text
    assert 'example' in text


@pytest.mark.parametrize(
    'action', ['list', 'verify', 'remove', 'prune', 'import', 'export', 'path']
)
def test_help_of_each_action_of_the_store_has_an_example(usage, action):
    status, text = usage('store', action, '--help')
    assert status == 0
    assert f'example: trt_build store {action}' in text


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        ((), 'card'),
        (('demo', '--flavour', 'rtx'), "invalid choice: 'rtx'"),
        (('demo', '--precision', 'fp64'), "invalid choice: 'fp64'"),
        (('demo', 'store'), 'unrecognized arguments: store'),
        (('store',), 'ACTION'),
        (('store', 'prune', '--limit-mib', '-1'), 'not a whole number from 0 up'),
        (('dla-report', 'a.onnx', '--shape', 'images=1x0'), "'images=1x0' is not <input>=<size>x"),
        (('dla-report', 'a.onnx', '--precision', 'fp32'), "invalid choice: 'fp32'"),
    ],
)
def test_wrong_words_are_usage(usage, words, said):
    status, text = usage(*words)
    assert status == 2
    assert said in text


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (('demo', '--tensorrt', '10.3.0'), 'give --dry-run too'),
        (('store', 'import', 'a.plan', '--note', 'mine'), 'name the --card'),
        (('store', 'import', '.', '--note', 'mine', '--card', 'demo'), 'leave out --card'),
    ],
)
def test_words_that_do_not_go_together_are_usage(trt_build, words, said):
    told = trt_build(*words)
    assert told.status == 2
    assert said in told.err


def test_a_word_that_is_a_verb_is_no_card(trt_build):
    assert 'no card' in trt_build('shop').err
    assert '0 engines' in trt_build('store', 'list').out


# -- building ------------------------------------------------------------------------------------


def test_an_engine_is_built_then_reused_then_forced(trt_build, fake_gpu, demo, root):
    fake_gpu('10.3.0')
    built = trt_build(*demo, '--json')
    assert built.status == 0, built.err
    first = built.json(ENGINE)
    assert first['status'] == 'built'
    assert first['checks']['passed'] is True
    assert Path(first['engine']).is_file()
    assert first['engine'].startswith(str(root))

    second = trt_build(*demo, '--json').json(ENGINE)
    assert (second['status'], second['key']) == ('reused', first['key'])
    dry = trt_build(*demo, '--dry-run', '--json').json(DRY_RUN)
    assert (dry['status'], dry['engine']) == ('reused', first['engine'])
    assert trt_build(*demo, '--dry-run', '--force').out.startswith('would build demo: to be built')
    forced = trt_build(*demo, '--force', '--json').json(ENGINE)
    assert (forced['status'], forced['key']) == ('built', first['key'])


def test_people_get_phases_on_one_side_and_the_result_on_the_other(trt_build, fake_gpu, demo):
    fake_gpu('10.3.0')
    told = trt_build(*demo)
    assert told.status == 0, told.err
    for word in ('prepare: ', 'build: ', 'check: ', 'done: '):
        assert word in told.err
    assert told.out.startswith('built demo: ')
    for word in ('engine', 'key', 'took', 'checks    passed: ', 'layers'):
        assert f'\n  {word}' in told.out
    assert 'prepare' not in told.out


def test_settings_are_replaced_and_the_last_one_counts(trt_build, fake_gpu, demo):
    fake_gpu('10.3.0')
    words = ['--precision', 'fp32', '--set', 'optimization_level=1', '--set', 'precision=bf16']
    settings = trt_build(*demo, *words, '--dry-run', '--json').json(DRY_RUN)['settings']
    assert (settings['precision'], settings['optimization_level']) == ('bf16', 1)


def test_the_store_can_be_named(trt_build, fake_gpu, demo, tmp_path, root):
    fake_gpu('10.3.0')
    assert trt_build(*demo, '--store', tmp_path / 'other').status == 0
    assert len(Store(tmp_path / 'other').entries()) == 1
    assert not root.exists()


def test_without_tensorrt_a_build_is_refused(trt_build, laptop, demo):
    told = trt_build(*demo, '--json')
    assert told.status == 1
    assert 'TensorRT is not installed here' in told.json(REFUSED)['reason']
    assert 'error: TensorRT is not installed here' in told.err
    assert 'Traceback' not in told.err


def test_a_crash_of_tensorrt_is_a_refusal_with_its_reason(trt_build, fake_gpu, demo):
    fake_gpu('10.3.0', 'crash')
    told = trt_build(*demo, '--json')
    assert told.status == 1
    refused = told.json(REFUSED)
    assert refused['error'] == 'BuildFailedError'
    assert 'process crashed (SIGSEGV)' in refused['reason']


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['nope'], "no card 'nope'"),
        (['demo', '--onnx', 'missing.onnx'], 'missing.onnx'),
        (['demo', '--set', 'precison=int8'], 'precison'),
        (['demo', '--set', 'precision'], '<key>=<value>'),
        (['demo', '--dry-run', '--tensorrt', 'ten'], "'ten' is no version"),
        (['demo', '--dry-run', '--tensorrt', '8.2.1'], 'too old'),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(trt_build, laptop, words, said):
    told = trt_build(*words, '--json')
    assert told.status == 1
    assert said in told.json(REFUSED)['reason']
    assert told.err.splitlines()[-1].startswith('error: ')
    assert told.err.count('error: ') == 1
    assert trt_build(*words).out == ''


def test_a_model_that_was_not_fetched_names_fetch_model(trt_build, laptop, tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert 'ros2 run trt_engine fetch_model' in trt_build('yolox_nano', '--dry-run').err


@pytest.mark.parametrize('place', ['/dev/null/engines', '/proc/engines'])
def test_a_store_that_cannot_be_is_refused(trt_build, fake_gpu, demo, place):
    fake_gpu('10.3.0')
    told = trt_build(*demo, '--store', place)
    assert told.status == 1
    assert told.err.splitlines()[-1].startswith('error: ')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_child_and_leaves_nothing_half(fake_gpu, demo, root, number):
    fake_gpu('10.3.0', 'hang')
    command = subprocess.Popen(
        [*COMMAND, *demo], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        while 'build: ' not in (line := command.stderr.readline()):
            assert line, 'it ended before it built'
        assert children_in(root)
        command.send_signal(number)
        out, err = command.communicate(timeout=20)
    finally:
        command.kill()
    assert command.returncode == 130
    assert out == ''
    assert err.splitlines()[-1] == 'stopped'
    assert not children_in(root)
    assert Store(root).entries() == []
    assert list((root / 'partial').iterdir()) == []


def environment() -> dict[str, str]:
    return {**os.environ, 'PYTHONPATH': os.pathsep.join(path for path in sys.path if path)}


def children_in(root: Path) -> list[str]:
    """Return the processes that work in a store."""
    found = []
    for process in Path('/proc').glob('[0-9]*/cmdline'):
        try:
            words = process.read_bytes().decode(errors='replace').split('\0')
        except OSError:
            continue
        if 'trt_builder.build_child' in words and str(root) in ' '.join(words):
            found.append(words)
    return found


def test_whoever_stops_reading_gets_no_traceback(keep, root):
    keep(tensorrt='10.3.0')
    read, write = os.pipe()
    os.close(read)
    try:
        told = subprocess.run(
            [*COMMAND, 'store', 'list'], env=environment(), stdout=write, stderr=subprocess.PIPE,
            text=True, check=False,
        )  # fmt: skip
    finally:
        os.close(write)
    assert (told.returncode, told.stderr) == (0, '')


def test_progress_is_one_line_a_phase_or_ten_seconds(capsys, monkeypatch):
    with show.show_progress() as tell:
        for second in range(25):
            tell(Progress('build', second / 25, f'layer [{second}]', float(second)))
        tell(Progress('done', 1.0, 'there', 25.0))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split('%  ')[1] for line in lines] == [
        'build: layer [0]', 'build: layer [10]', 'build: layer [20]', 'done: there',
    ]  # fmt: skip


def test_progress_on_a_terminal_is_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', '120')
    monkeypatch.setattr(sys, 'stderr', Terminal())
    with show.show_progress() as tell:
        tell(Progress('build', 0.4, 'layer [bold]', 3.0))
    shown = sys.stderr.getvalue()
    assert '40%' in shown
    assert 'build: layer [bold]' in shown  # and not taken for markup


@needs_rtx
def test_a_real_engine_is_built_listed_inspected_and_verified(trt_build, demo):
    built = trt_build(*demo, '--flavour', 'tensorrt_rtx', '--json').json(ENGINE)
    assert built['status'] == 'built'
    assert Path(built['engine']).stat().st_size > 500_000
    again = trt_build(*demo, '--flavour', 'tensorrt_rtx', '--json').json(ENGINE)
    assert (again['status'], again['key']) == ('reused', built['key'])
    assert 'TensorRT-RTX' in trt_build('store', 'list').out
    inspected = trt_build('inspect', built['key'][:8], '--json').json()
    assert inspected['manifest']['tensors'][0]['name'] == 'images'
    assert trt_build('store', 'verify').status == 0
    dry = trt_build(*demo, '--flavour', 'tensorrt_rtx', '--dry-run', '--force')
    assert dry.status == 0
    assert 'has no trtexec' in dry.out


# -- dry runs ------------------------------------------------------------------------------------


@pytest.mark.parametrize('card', sorted(REAL))
@pytest.mark.parametrize('version', ['8.6.2', '10.3.0', '11.4.1'])
def test_a_laptop_says_what_each_version_would_be_told(trt_build, laptop, data, card, version):
    path = data / 'models' / f'{REAL[card]}.onnx'
    told = trt_build(card, '--onnx', path, '--dry-run', '--tensorrt', version, '--json')
    assert told.status == 0, told.err
    plan = told.json(DRY_RUN)
    assert plan['status'] == 'would build'
    assert plan['settings']['version'] == [int(part) for part in version.split('.')]
    assert plan['trtexec']['words'][:2] == ['trtexec', f'--onnx={path}']
    assert plan['memory']['expected_mib'] > 0


def test_a_dry_run_tells_people_everything(trt_build, laptop, demo, root):
    told = trt_build(*demo, '--dry-run')
    assert told.status == 0
    assert told.err == ''
    assert told.out.startswith('would build demo: ')
    for text in (
        'images  float 1x3x256x320',
        'follows the rules of ONNX',
        'Told to TensorRT 10.3.0',
        'TensorRT is not installed here: this is what 10.3.0 would be told',
        'the build will take about',
        'MiB are free',
        '--saveEngine=demo.engine',
    ):
        assert text in told.out
    assert not root.exists()


def test_a_refused_dry_run_says_why_and_what_the_dla_could_run(trt_build, laptop, data):
    words = ['yolox_nano', '--onnx', data / 'models' / 'yolox_nano_416.onnx', '--dry-run']
    refused = ['--set', 'dla.core=0', '--tensorrt', '10.13.0']
    told = trt_build(*words, *refused)
    assert told.status == 1
    assert told.out.startswith('refused yolox_nano: TensorRT 10.13.0 has no DLA')
    assert 'MaxPool_172' in told.out
    assert 'Is there a DLA: ' in told.out
    plan = trt_build(*words, *refused, '--json').json(DRY_RUN)
    assert plan['status'] == 'refused'
    assert plan['dla']['summary']['dla'] > 300
    assert plan['dla']['availability']['available'] is False
    assert plan['trtexec'] is None


def test_a_model_that_no_parser_takes_is_refused_with_all_reasons(trt_build, laptop, tmp_path):
    path = one_node(tmp_path, 'Det', 'Unique')
    told = trt_build('demo', '--onnx', path, '--dry-run')
    assert told.status == 1
    assert 'Det: no TensorRT parser knows it' in told.out
    assert 'Unique: no TensorRT parser knows it' in told.out


def test_a_disk_that_is_full_refuses(trt_build, laptop, demo, monkeypatch):
    usage = type('Usage', (), {'free': 5 << 20})
    monkeypatch.setattr('shutil.disk_usage', lambda path: usage)
    told = trt_build(*demo, '--dry-run')
    assert told.status == 1
    assert '5 MiB are free, and a build may write' in told.out


def one_node(folder: Path, *ops: str) -> Path:
    value = helper.make_tensor_value_info
    nodes = [helper.make_node(op, ['x'], [f'y{n}'], f'node_{n}') for n, op in enumerate(ops)]
    graph = helper.make_graph(
        nodes, 'net', [value('x', TensorProto.FLOAT, (1, 3, 8, 8))],
        [value(f'y{n}', TensorProto.FLOAT, None) for n in range(len(ops))],
    )  # fmt: skip
    path = folder / 'model.onnx'
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)]), path)
    return path


# -- trtexec -------------------------------------------------------------------------------------


def test_the_trtexec_line_is_alone_on_the_standard_output(trt_build, laptop, demo):
    told = trt_build('trtexec', *demo, '--tensorrt', '11.4.1')
    assert told.status == 0
    words = shlex.split(told.out)
    assert words[0] == 'trtexec'
    assert f'--onnx={demo[2]}' in words
    assert '--saveEngine=demo.engine' in words
    assert '--fp16' not in words
    assert told.err.startswith('# first: make the floats of the ONNX file fp16')


def test_a_trtexec_line_comes_back_as_the_same_settings(trt_build, laptop, demo):
    settings = ['--set', 'optimization_level=4', '--set', 'memory_mib.workspace=512']
    line = trt_build('trtexec', *demo, *settings).out
    told = trt_build('demo', '--dry-run', '--json', '--from-trtexec', line)
    assert told.status == 0, told.err
    plan = told.json(DRY_RUN)
    assert plan['model']['path'] == demo[2]  # from the line
    assert plan['settings']['optimization_level'] == 4
    assert plan['settings']['pools'] == {'WORKSPACE': 512}
    assert plan['settings']['flags'] == ['FP16']
    assert 'precision="fp16"' in plan['from_trtexec']['settings']
    assert 'trtexec: --set optimization_level=4' in told.err
    assert 'trtexec: --saveEngine=demo.engine: the engine goes into the store' in told.err


def test_what_is_set_replaces_what_a_trtexec_line_says(trt_build, laptop, demo):
    line = 'trtexec --onnx=elsewhere.onnx --fp16 --builderOptimizationLevel=4'
    words = [*demo, '--dry-run', '--json', '--from-trtexec', line, '--set', 'optimization_level=2']
    plan = trt_build(*words).json(DRY_RUN)
    assert plan['settings']['optimization_level'] == 2
    assert plan['model']['path'] == demo[2]


@pytest.mark.parametrize(
    ('line', 'said'),
    [
        ('trtexec --fp17', '--fp17 is unknown'),
        ("trtexec '--fp16", 'cannot be read'),
        ('trtexec --onnx=nowhere.onnx', 'nowhere.onnx'),
    ],
)
def test_a_trtexec_line_that_says_something_else_is_refused(trt_build, laptop, demo, line, said):
    words = demo[:1] if 'nowhere' in line else demo
    told = trt_build(*words, '--dry-run', '--json', '--from-trtexec', line)
    assert told.status == 1
    assert said in told.json(REFUSED)['reason']


def test_an_engine_is_built_from_a_trtexec_line(trt_build, fake_gpu, demo):
    fake_gpu('10.3.0')
    told = trt_build(*demo, '--json', '--from-trtexec', 'trtexec --fp16 --avgTiming=2')
    assert told.status == 0, told.err
    built = told.json(ENGINE)
    inspected = trt_build('inspect', built['key'], '--json').json()
    assert inspected['manifest']['ingredients']['settings']['timing_iterations'] == 2


# -- inspect -------------------------------------------------------------------------------------


def test_a_model_is_inspected(trt_build, data):
    path = data / 'models' / 'nanodet_m_416.onnx'
    told = trt_build('inspect', path, '--tensorrt', '8.6.2')
    assert told.status == 0
    assert 'input.1  float 1x3x416x416' in told.out
    assert 'opset 11, TensorRT 8.6.2 takes 7 to 17' in told.out
    report = trt_build('inspect', path, '--json').json()
    assert report['facts']['opset'] == 11
    assert {each['level'] for each in report['verdicts']} == {'ok'}


@pytest.mark.parametrize('content', [b'', b'GIF89a', None])
def test_what_is_no_model_has_a_verdict_and_status_1(trt_build, tmp_path, content):
    path = tmp_path / 'model.onnx'
    if content is not None:
        path.write_bytes(content)
    told = trt_build('inspect', path)
    assert told.status == 1
    assert 'error' in told.out
    assert trt_build('inspect', path, '--json').json()['facts'] is None


def test_an_engine_is_inspected_by_key_beginning_folder_and_plan(trt_build, keep, root):
    key = keep(tensorrt='10.3.0', gpu_name='NVIDIA H200')
    by_key = trt_build('inspect', key)
    assert by_key.status == 0
    for text in (
        f'key       {key}',
        'by        TensorRT 10.3.0',
        'for       NVIDIA H200',
        'input images  FLOAT 1x3x256x320',
        'checks    passed: 4 samples, 1 outputs',
        'layers    2: 1 fp16; on 1 gpu; 1 more only move data',
        'CaskConvolution  fp16       gpu     conv_0 + relu_0  sm80_xmma_fprop',
        'Reformat         -          gpu     plain reformat   -',
    ):
        assert text in by_key.out
    for other in (key[:6], root / key, root / key / 'engine.plan'):
        assert trt_build('inspect', other).out == by_key.out
    values = trt_build('inspect', key[:6], '--json').json()
    assert values['manifest']['key'] == key
    assert values['layers'][0] == {
        'name': 'conv_0 + relu_0', 'device': 'gpu', 'kind': 'CaskConvolution', 'precision': 'fp16',
        'tactic': 'sm80_xmma_fprop',
    }  # fmt: skip


def test_a_plan_alone_is_found_in_the_store_if_it_is_there(trt_build, keep, tmp_path):
    key = keep(tensorrt='10.3.0')
    (tmp_path / 'same.plan').write_bytes(b'a plan')
    (tmp_path / 'other.plan').write_bytes(b'another plan')
    assert trt_build('inspect', tmp_path / 'same.plan', '--json').json()['key'] == key
    assert f'trt_build inspect {key[:12]}' in trt_build('inspect', tmp_path / 'same.plan').out
    assert 'no manifest lies beside it' in trt_build('inspect', tmp_path / 'other.plan').out


def test_an_empty_file_is_no_engine(trt_build, tmp_path):
    (tmp_path / 'engine.plan').touch()
    told = trt_build('inspect', tmp_path / 'engine.plan')
    assert told.status == 1
    assert 'engine.plan: is empty, and no engine' in told.err


@pytest.mark.parametrize(
    ('what', 'said'),
    [
        ('none.engine', 'there is no such file'),
        ('xyz', 'xyz: there is no such file or folder, and it is no key of an engine'),
        ('abcd', 'no engine whose key begins with abcd'),
        ('/', 'cannot be read'),
    ],
)
def test_what_is_not_there_cannot_be_inspected(trt_build, what, said):
    told = trt_build('inspect', what)
    assert told.status == 1
    assert said in told.err


def test_a_misspelt_verb_is_told_the_nearest(trt_build):
    told = trt_build('inspct', 'demo.onnx')
    assert told.status == 2
    assert "'inspct' is neither a verb nor a card; did you mean 'inspect'? verbs: " in told.err


def test_a_damaged_engine_is_said_to_be_one(trt_build, keep, root):
    key = keep(tensorrt='10.3.0')
    (root / key / 'engine.plan').write_bytes(b'a plam')
    told = trt_build('inspect', key)
    assert told.status == 1
    assert 'damaged' in told.err


# -- the store -----------------------------------------------------------------------------------


def test_engines_are_listed(trt_build, keep, root):
    assert trt_build('store', 'list', '--json').json() == {'store': str(root), 'engines': []}
    keys = {keep(tensorrt='10.3.0'), keep(tensorrt='8.6.2')}
    told = trt_build('store', 'list')
    assert f'{root}: 2 engines' in told.out
    assert all(key[:12] in told.out for key in keys)
    listed = trt_build('store', 'list', '--json').json()['engines']
    assert {each['key'] for each in listed} == keys
    assert {each['tensorrt'] for each in listed} == {'10.3.0', '8.6.2'}
    assert all(each['precision'] == 'fp16' and each['gpu'] is None for each in listed)


def test_damaged_engines_are_found_and_that_is_status_1(trt_build, keep, root):
    good, bad = keep(tensorrt='10.3.0'), keep(tensorrt='8.6.2')
    assert trt_build('store', 'verify').status == 0
    (root / bad / 'build.log').write_text('something else')
    told = trt_build('store', 'verify')
    assert told.status == 1
    assert f'{good[:12]}  whole' in told.out
    assert '2 engines, 1 damaged' in told.out
    assert trt_build('store', 'verify', '--json').json() == {'verified': 1, 'damaged': {}}


def test_engines_are_removed_by_the_beginning_of_their_key(trt_build, keep, root):
    one, two = keep(tensorrt='10.3.0'), keep(tensorrt='8.6.2')
    assert trt_build('store', 'remove', one[:8], two, '--json').json() == {'removed': [one, two]}
    assert Store(root).entries() == []
    assert trt_build('store', 'remove', one).status == 1


def test_a_beginning_that_two_keys_have_is_refused(monkeypatch, tmp_path):
    entries = [type('Entry', (), {'key': f'abcd{digit * 60}'}) for digit in '12']
    monkeypatch.setattr(Store, 'entries', lambda self: entries)
    with pytest.raises(arguments.StoreError, match='2 keys begin with abcd'):
        arguments.full_key(Store(tmp_path), 'abcd')
    assert arguments.full_key(Store(tmp_path), 'abcd1') == entries[0].key


def test_pruning_keeps_the_limit(trt_build, keep, root):
    key = keep(tensorrt='10.3.0')
    assert trt_build('store', 'prune').out == 'nothing had to go\n'
    assert trt_build('store', 'prune', '--limit-mib', '0').out == f'removed {key}\n'
    assert Store(root).entries() == []


def test_an_exported_engine_is_imported_elsewhere(trt_build, keep, tmp_path):
    key = keep(tensorrt='10.3.0')
    folder = trt_build('store', 'export', key[:8], tmp_path).out.strip()
    other = ['--store', tmp_path / 'other', '--json']
    taken = trt_build('store', 'import', folder, '--note', 'from the robot', *other).json()
    assert (taken['key'], taken['provenance'], taken['note']) == (
        key, 'imported', 'from the robot',
    )  # fmt: skip
    again = trt_build('store', 'export', key[:8], tmp_path)
    assert again.status == 1
    assert 'exists' in again.err


@pytest.mark.parametrize('prefix', ['', 'ultralytics'])
def test_a_foreign_engine_is_taken_in_and_then_found(trt_build, fake_gpu, demo, tmp_path, prefix):
    fake_gpu('10.3.0')
    path = tmp_path / 'model.engine'
    said = json.dumps({'task': 'detect'}).encode() if prefix else b''
    path.write_bytes((len(said).to_bytes(4, 'little') + said if prefix else b'') + b'a plan')
    words = ['--card', 'demo', '--onnx', demo[2], '--note', 'exported by hand', '--json']
    taken = trt_build('store', 'import', path, *words)
    assert taken.status == 0, taken.err
    key = taken.json()['key']
    found = trt_build(*demo, '--json').json()
    assert (found['status'], found['key']) == ('reused', key)


def test_the_path_of_the_store_and_of_an_engine(trt_build, keep, root):
    assert trt_build('store', 'path').out == f'{root}\n'
    key = keep(tensorrt='10.3.0')
    assert trt_build('store', 'path', key[:8]).out == f'{root / key / "engine.plan"}\n'
    assert trt_build('store', 'path', '--json').json() == {'path': str(root)}
    assert trt_build('store', 'path', 'f' * 64).status == 1


# -- the DLA -------------------------------------------------------------------------------------


@pytest.mark.parametrize('precision', ['fp16', 'int8'])
def test_the_report_of_the_child_is_that_of_the_library(data, precision):
    for path in sorted((data / 'models').glob('*.onnx')):
        assert report_in_process(path, precision) == dla_report.report(path, precision)


def test_the_report_says_whether_a_board_has_a_dla(trt_build, data):
    path = data / 'models' / 'yolox_nano_416.onnx'
    board = ['--board', 'NVIDIA Jetson AGX Orin', '--tensorrt', '10.3.0']
    told = trt_build('dla-report', path, *board)
    assert told.status == 0
    assert '354 of 369 layers can run on a DLA' in told.out
    assert 'Is there a DLA: yes; AGX Orin has 2 DLA cores' in told.out
    nano = trt_build('dla-report', path, '--board', 'Jetson Orin Nano', '--json').json()
    assert nano['summary']['layers'] == 369
    assert nano['availability']['available'] is False


def test_shapes_that_a_file_leaves_open_can_be_given(trt_build, tmp_path):
    path = tmp_path / 'open.onnx'
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node('Relu', ['x=1'], ['y'], 'relu')], 'net',
        [value('x=1', TensorProto.FLOAT, ('batch', 3, 8, 8))],
        [value('y', TensorProto.FLOAT, ('batch', 3, 8, 8))],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)]), path)
    report = trt_build('dla-report', path, '--shape', 'x=1=2x3x8x8', '--json').json()
    assert report['summary']['dla'] == 1
    assert report['crossings'][0]['shape'] == '2x3x8x8'
    told = trt_build('dla-report', path, '--shape', 'nothing=1x3')
    assert told.status == 1
    assert 'nothing' in told.err


def test_a_file_that_crashes_the_report_is_refused(trt_build, tmp_path, monkeypatch):
    (tmp_path / 'sitecustomize.py').write_text(
        'import os, sys\n'
        'if "trt_builder.dla.process" in sys.orig_argv:\n'
        '    import onnx\n'
        '    onnx.load = lambda *args, **kwargs: os.abort()\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    told = trt_build('dla-report', one_node(tmp_path, 'Relu'))
    assert told.status == 1
    assert 'so it is refused: the process of the DLA report ended with status -6' in told.err


def test_a_report_that_takes_too_long_is_ended(tmp_path):
    with pytest.raises(ModelFileError, match=r'took longer than 0\.01 s and was ended'):
        report_in_process(one_node(tmp_path, 'Relu'), timeout_s=0.01)


@pytest.mark.parametrize('content', [b'', b'GIF89a', None])
def test_the_report_refuses_what_is_no_model(trt_build, tmp_path, content):
    path = tmp_path / 'model.onnx'
    if content is not None:
        path.write_bytes(content)
    told = trt_build('dla-report', path)
    assert told.status == 1
    assert told.err.startswith(f'error: {path}: ')
    assert told.err.count('\n') == 1


# -- sensitivity ---------------------------------------------------------------------------------


def test_the_layers_that_lose_most_are_shown(trt_build, demo, data):
    pictures = f'calibration.data={data / "coco_val64" / "images"}'
    words = [*demo, '--set', pictures, '--samples', '1', '--top', '3']
    few = trt_build('sensitivity', *words)
    assert few.status == 1
    assert '64 samples are too few' in few.err
    told = trt_build('sensitivity', *words, '--set', 'calibration.samples=4', '--allow-few')
    assert told.status == 0, told.err
    assert 'others together' in told.out
    assert len(told.out.splitlines()) == 5


def test_sensitivity_needs_pictures(trt_build, demo):
    told = trt_build('sensitivity', *demo)
    assert told.status == 1
    assert '--set calibration.data=' in told.err
