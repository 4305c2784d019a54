# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The command plan, from its words to its exit status, with neither TensorRT nor a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trt_engine.card import load_card
from trt_engine.manifest import Ingredients
from trt_engine.manifest import Manifest
from trt_engine.model_file import resolve_model
from trt_engine.platform import Platform
from trt_engine.store import Store
from trt_inference.plan.command import main

NANO = ['--board', 'Orin Nano 8GB']
LOG = 'Total Activation Memory: 2457600 bytes\nTotal Weights Memory: 752640 bytes\n'


@pytest.fixture
def run(capsys, tmp_path):
    """Return a function that runs the command with an empty store, and gives what it said."""

    def run(*words: str, status: int = 0) -> str:
        assert main([*words, '--store', str(tmp_path / 'store')]) == status
        told = capsys.readouterr()
        return told.err if status == 2 else told.out

    return run


def keep_engine(store: Path, sm: str) -> str:
    card = load_card('demo')
    facts = Platform(sm=sm, tensorrt='10.3.0')
    ingredients = Ingredients.collect(card, resolve_model(card), flavour='tensorrt', facts=facts)
    manifest = Manifest(ingredients, '2026-01-31T12:00:00Z', 1.0)
    return Store(store).put(manifest, b'plan', log=LOG).key


def test_a_plan_for_a_board_ends_with_the_verdict(run):
    lines = run('--card', 'demo', *NANO).splitlines()
    assert lines[0].split() == ['MiB', 'of', 'how', 'what']
    assert any('estimate demo: weights (376345 numbers' in line for line in lines)
    assert lines[-2].endswith('on such a board, less 1536 for the system, assumed')
    assert lines[-1].startswith('memory of Orin Nano 8GB, which CPU and GPU share: ')
    assert lines[-1].endswith('6084 MiB are free: it fits')


def test_what_does_not_fit_ends_with_1_and_says_what_to_do(run):
    words = ['--card', 'demo:4', '--camera', '3840x2160:bgra8:12', '--board', 'Orin Nano 4GB']
    told = run(*words, status=1)
    assert 'MiB too few; the largest parts: ' in told
    assert 'take fewer networks or cameras' in told


def test_a_tight_fit_is_a_fit(run):
    told = run('--card', 'demo', *NANO, '--system-mib', '6500')
    assert 'less 6500 for the system, as told' in told
    assert 'MiB to spare, and below 512 it may swap' in told


def parts_of(text: str, what: str) -> list[dict]:
    return [part for part in json.loads(text)['parts'] if part['what'] == what]


def test_numbers_of_networks_and_cameras_multiply(run):
    one = run('--card', 'demo', '--camera', '640x480', *NANO, '--json')
    many = run('--card', 'demo:2', '--camera', '640x480:bgr8:3', *NANO, '--json')
    assert [part['owner'] for part in parts_of(many, 'weights')] == ['demo', 'demo 2']
    for what, times in (('messages', 3), ('images', 1)):
        (single,), several = parts_of(one, what), parts_of(many, what)
        assert [part['nbytes'] for part in several] == [times * single['nbytes']] * 2
    assert len(parts_of(many, 'process')) == 2
    assert len(parts_of(one, 'process')) == 1


def test_a_card_that_is_named_twice_is_two_networks(run):
    told = run('--card', 'demo', '--card', 'demo', '--arena', *NANO, '--json')
    assert [part['owner'] for part in parts_of(told, 'weights')] == ['demo', 'demo 2']
    assert parts_of(told, 'activations')[0]['owner'] == 'arena of 2 networks'


def test_a_board_whose_system_takes_all_has_no_room(run):
    told = run('--card', 'demo', *NANO, '--system-mib', '9999', status=1)
    assert ' 0 MiB are free' in told


def test_weights_that_are_streamed_are_planned_on_the_cpu(run, data):
    path = data / 'models' / 'yolox_nano_416.onnx'
    words = ['--card', 'yolox_nano', '--onnx', f'yolox_nano={path}', *NANO, '--json']
    (all_of_it,) = parts_of(run(*words), 'weights')
    device, host = parts_of(run(*words, '--weight-streaming-mib', '1'), 'weights')
    assert (device['nbytes'], device['side'], host['side']) == (1 << 20, 'device', 'host')
    assert device['nbytes'] + host['nbytes'] == all_of_it['nbytes']


def test_what_is_left_out_is_said(run):
    words = ['--card', 'demo', '--set', 'dla.core=0', '--board', 'Orin NX 8GB']
    told = run(*words, '--set', 'dla.fallback=true')
    assert 'not counted: what the DLA keeps for demo' in told


def test_one_process_and_one_arena(run):
    words = ['--card', 'demo:3', *NANO, '--json']
    assert len(parts_of(run(*words, '--one-process'), 'process')) == 1
    shared = run(*words, '--arena')
    assert len(parts_of(shared, 'process')) == 1
    (arena,) = parts_of(shared, 'activations')
    assert arena['owner'] == 'arena of 3 networks'


def test_assumptions_can_be_replaced(run):
    told = run('--card', 'demo', *NANO, '--json', '--cuda-mib', '300', '--scratch-mib', '1')
    assert json.loads(told)['parts'][0]['nbytes'] == 300 << 20
    assert parts_of(told, 'scratch of kernels')[0]['nbytes'] == 1 << 20


@pytest.mark.parametrize(('sm', 'exact'), [('8.7', True), ('11.0', False)])
def test_figures_come_from_an_engine_that_was_built_for_such_a_gpu(run, tmp_path, sm, exact):
    key = keep_engine(tmp_path / 'store', sm)
    (part,) = parts_of(run('--card', 'demo', *NANO, '--json'), 'activations')
    assert (part['basis'] == 'exact') == exact
    assert (key[:12] in part['source']) == exact


def test_an_engine_of_other_settings_is_not_taken(run, tmp_path):
    keep_engine(tmp_path / 'store', '8.7')
    told = run('--card', 'demo', '--set', 'precision=fp32', *NANO, '--json')
    assert parts_of(told, 'activations')[0]['basis'] == 'bound'


def test_on_this_machine_the_gpu_is_asked_what_is_free(run, fake_gpu):
    fake_gpu()
    budget = json.loads(run('--card', 'demo', '--json'))
    assert budget['room']['device_mib'] == 8192
    assert len(budget['pools']) == 2


def test_another_model_of_the_card(run, data):
    path = data / 'models' / 'yolox_nano_416.onnx'
    told = run('--card', 'yolox_nano', '--onnx', f'yolox_nano={path}', *NANO)
    assert 'yolox_nano: weights (904467 numbers of the ONNX file as fp16)' in told


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        (['--card', 'demo', '--board', 'Orin Nano 16GB'], "did you mean 'Orin Nano 8GB'"),
        (['--card', 'dmeo', *NANO], "did you mean 'demo'"),
        (['--card', 'nanodet_m', *NANO], 'nanodet_m'),
        (['--card', 'demo', '--onnx', 'demo', *NANO], 'wanted <card>=<path>'),
        (['--card', 'demo', '--onnx', 'dmeo=x', *NANO], 'with a card of demo'),
        (['--card', 'demo', '--system-mib', '9'], 'what is free is measured'),
        (['--card', 'demo', '--set', 'precision=fp12', *NANO], "is 'fp12'"),
        (
            ['--card', 'demo', '--set', 'dla.core=0', *NANO],
            'dla.core is 0, and Orin Nano 8GB has 0 DLA cores',
        ),
    ],
)
def test_what_cannot_be_planned_is_said_with_2(run, words, text):
    assert text in run(*words, status=2)


def test_without_a_gpu_this_machine_cannot_be_planned_for(run, fake_gpu):
    fake_gpu(gpu='none')
    told = run('--card', 'demo', status=2)
    assert 'there is no GPU to measure here' in told
    assert 'name a board with --board: Orin Nano 4GB, ' in told
    assert "no card 'demoo'" in run('--card', 'demoo', status=2), (
        'what is wrong with it comes first'
    )


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        (['--camera', '1920'], 'is no camera; wanted <width>x<height>'),
        (['--camera', '640x480:h264'], "unsupported encoding 'h264'"),
        (['--camera', '0x480'], 'an image of 0x480'),
        (['--camera', '640x480:bgr8:0'], 'is no camera'),
        (['--lidar', 'many'], "'many' is no lidar; wanted <points>[:<bytes"),
        (['--lidar', '0:16'], 'clouds of 0 points of 16 bytes; wanted 1 to'),
        (['--cuda-mib', '-5'], "'-5' is not a whole number of MiB"),
    ],
)
def test_words_that_are_not_understood_are_explained(capsys, words, text):
    with pytest.raises(SystemExit) as caught:
        main(['--card', 'demo', *words, *NANO])
    assert caught.value.code == 2
    assert text in capsys.readouterr().err


def test_help_names_the_boards_and_the_exit_status(capsys):
    with pytest.raises(SystemExit) as caught:
        main(['--help'])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    assert 'Orin NX 16GB' in told
    assert 'exit status: 0 it fits' in told
