# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Engines in the store, held against the board: manifests as trt_engine writes them."""

from __future__ import annotations

from dataclasses import replace
import json
import os
from pathlib import Path

import pytest

from jetson_monitor.board import Board
from jetson_monitor.board import read_board
from jetson_monitor.config import MonitorConfig
from jetson_monitor.engine_store import store_root
from jetson_monitor.engine_store import stored_engines
from jetson_monitor.errors import SourceError
from jetson_monitor.preflight import preflight
from jetson_monitor.rules import Level
from jetson_monitor.sample import Sample
from trt_engine.manifest import Ingredients
from trt_engine.manifest import Manifest
from trt_engine.platform import read_platform
from trt_engine.store import default_root

pytestmark = pytest.mark.slow

OK, WARN, _, _ = Level
GATED = """\
< POWER_MODEL ID=0 NAME=15W >
TPC_POWER_GATING TPC_PG_MASK 252
GPU_POWER_GATING GPU_PG_MASK 1
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
TPC_POWER_GATING TPC_PG_MASK 240
< PM_CONFIG DEFAULT=2 >
"""
DRIVER = 'NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build'


@pytest.fixture
def root(fake_board):
    board = fake_board('orin_nano')
    board.write('usr/local/cuda/version.json', '{"cuda": {"version": "12.6.68"}}')
    board.write('proc/driver/nvidia/version', DRIVER)
    board.write('var/lib/dpkg/status', 'Package: libnvinfer10\nStatus: install ok installed\n'
                                       'Version: 10.3.0.30-1+cuda12.5')  # fmt: skip
    board.write('etc/nvpmodel.conf', GATED)
    return board.root


@pytest.fixture
def store(tmp_path):
    return tmp_path / 'engines'


def ingredients(root, **changes):
    """Return what trt_builder would note of an engine that it builds on this board."""
    facts = replace(read_platform(root), tensorrt='10.3.0')  # of the Python package
    built = Ingredients(
        card='yolox_nano', onnx='0' * 64, external_data=(), settings={}, plugins=(), scales='model',
        calibration=None, flavour='tensorrt', tensorrt=facts.tensorrt, cuda=facts.cuda,
        driver=facts.driver, gpu=facts.gpu_name or facts.board, sm=facts.sm, l4t=facts.l4t,
        gpu_units=facts.gpu_masks or facts.power_mode,
    )  # fmt: skip
    return replace(built, **changes)


def put(store, built):
    text = Manifest(ingredients=built, created_utc='2026-01-31T12:00:00Z', seconds=1.0).to_json()
    folder = store / built.key
    folder.mkdir(parents=True)
    (folder / 'manifest.json').write_text(text)
    return built.key


def engines(store, root):
    return stored_engines(store, read_board(root), root)


def item(store, root, board=None):
    found = preflight(
        MonitorConfig(root=str(root)), board or read_board(root), Sample(0, 0), (), (),
        {'TRT_ENGINE_STORE': str(store)},
    )  # fmt: skip
    return next((each for each in found if each.name == 'engines'), None)


def test_the_store_is_where_trt_engine_has_it(monkeypatch):
    for name in ('TRT_ENGINE_STORE', 'XDG_DATA_HOME'):
        monkeypatch.delenv(name, raising=False)
    assert store_root(os.environ) == default_root()
    monkeypatch.setenv('XDG_DATA_HOME', '/data')
    assert store_root(os.environ) == default_root() == Path('/data/jetson_perception/engines')
    monkeypatch.setenv('TRT_ENGINE_STORE', '/mine')
    assert store_root(os.environ) == default_root() == Path('/mine')


def test_where_there_is_no_store_nothing_is_said(store, root):
    assert engines(store, root) is None
    assert item(store, root) is None


def test_an_empty_store_is_well(store, root):
    (store / 'quarantine').mkdir(parents=True)
    assert item(store, root).line() == f'ok    engines: none in {store} yet'


def test_an_engine_that_was_built_here_fits(store, root):
    put(store, ingredients(root))
    put(store, ingredients(root, onnx='1' * 64))
    assert item(store, root).line() == f'ok    engines: 2 in {store}, all fit this board'


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'tensorrt': '10.13.3'}, 'built by TensorRT 10.13.3, here is 10.3.0.30'),
        ({'tensorrt': '10.3.0.26'}, 'built by TensorRT 10.3.0.26, here is 10.3.0.30'),
        ({'cuda': '12.2.0'}, 'built with CUDA 12.2.0, here is 12.6.68'),
        ({'driver': '535.1'}, 'built with driver 535.1, here is 540.4.0'),
        ({'l4t': '36.3.0'}, 'built on L4T 36.3.0, here is 36.4.4'),
        ({'gpu': 'AGX'}, 'built for AGX, this is NVIDIA Jetson Orin Nano Engineering'),
        ({'gpu_units': 'TPC_PG_MASK=252'}, 'gated TPC_PG_MASK=252 of the GPU, now it gates '
                                           'TPC_PG_MASK=240'),
    ],
)  # fmt: skip
def test_an_engine_of_another_board_is_named_with_the_reason(store, root, change, words):
    put(store, ingredients(root))
    key = put(store, ingredients(root, card='other', onnx='2' * 64, **change))
    found = item(store, root)
    assert found.level is WARN
    assert f'2 in {store}, 1 for another board or release (other {key[:12]}: ' in found.fact
    assert words in found.fact
    assert 'ros2 run trt_builder trt_build other; drop' in found.fix


def test_the_units_that_are_gated_follow_the_power_mode(store, root):
    put(store, ingredients(root))
    (root / 'var/lib/nvpmodel/status').write_text('pmode:0000\n')
    (engine,) = engines(store, root)
    assert engine.misfits == (
        'built while the power mode gated TPC_PG_MASK=240 of the GPU, now it gates '
        'GPU_PG_MASK=1 TPC_PG_MASK=252',
    )
    put(store, ingredients(root, onnx='3' * 64))
    assert sorted(bool(each.misfits) for each in engines(store, root)) == [False, True]


@pytest.mark.parametrize(
    ('change', 'missing', 'words'),
    [
        ({}, 'var/lib/dpkg/status', 'built by TensorRT 10.3.0, here is unknown'),
        ({}, 'usr/local/cuda/version.json', 'built with CUDA 12.6.68, here is unknown'),
        ({}, 'proc/device-tree/model', 'this is unknown'),
        ({'l4t': None}, None, 'built on L4T unknown, here is 36.4.4'),
        ({'gpu': None}, 'proc/device-tree/model', 'built for unknown, this is unknown'),
        ({'flavour': 'tensorrt_rtx'}, None, 'here is unknown'),
    ],
)
def test_what_is_not_known_is_never_taken_for_well(store, root, change, missing, words):
    put(store, ingredients(root, **change))
    if missing:
        (root / missing).unlink()
    found = item(store, root)
    assert found.level is WARN
    assert '1 of which it cannot be told whether they fit' in found.fact
    assert words in found.fact


def test_what_neither_board_nor_engine_has_is_no_doubt(store, root):
    (root / 'proc/driver/nvidia/version').unlink()
    put(store, ingredients(root))
    assert item(store, root).level is OK


@pytest.mark.parametrize(
    'text',
    [
        None, '', '{', '[]', '3', 'null', '{"format": 1}', '{"format": 1, "ingredients": 7}',
        '{"format": 1, "ingredients": {"card": "a"}}', '[' * 100_000, '\xff',
    ],
)  # fmt: skip
def test_a_damaged_manifest_is_warned_of(store, root, text):
    folder = store / ('a' * 64)
    folder.mkdir(parents=True)
    if text is not None:
        (folder / 'manifest.json').write_text(text, encoding='latin-1')
    found = item(store, root)
    assert found.level is WARN
    assert 'aaaaaaaaaaaa: its manifest is absent, unreadable or damaged' in found.fact
    assert 'trt_build <card>' in found.fix


def test_numbers_in_place_of_texts_are_damage(store, root):
    key = put(store, ingredients(root))
    path = store / key / 'manifest.json'
    values = json.loads(path.read_text())
    values['ingredients']['cuda'] = 12.6
    path.write_text(json.dumps(values))
    assert 'damaged' in item(store, root).fact


def test_a_manifest_of_a_later_format_is_not_guessed_at(store, root):
    folder = store / ('b' * 64)
    folder.mkdir(parents=True)
    (folder / 'manifest.json').write_text('{"format": 2}')
    assert 'its manifest has format 2, this monitor reads 1' in item(store, root).fact


def test_a_store_that_cannot_be_listed_is_warned_of(tmp_path, root):
    store = tmp_path / 'engines'
    store.write_text('a file')
    with pytest.raises(SourceError, match='cannot be listed: Not a directory'):
        engines(store, root)
    assert item(store, root).level is WARN
    assert 'cannot be listed' in item(store, root).fact


def test_of_many_the_first_three_are_named(store, root):
    for number in range(5):
        put(store, ingredients(root, card=f'card{number}', onnx=f'{number}' * 64, l4t='36.3.0'))
    found = item(store, root)
    assert '5 for another board or release' in found.fact
    assert found.fact.count('built on L4T 36.3.0') == 3
    assert '; and 2 more)' in found.fact


def test_a_discrete_gpu_is_known_by_its_name(store, tmp_path):
    root = tmp_path / 'pc'
    for name, text in (
        ('proc/driver/nvidia/gpus/0000:01:00.0/information', 'Model: \t\t NVIDIA H200\nIRQ: 1\n'),
        ('proc/driver/nvidia/version', 'NVRM: UNIX x86_64 Kernel Module  550.54.15  Release\n'),
        ('var/lib/dpkg/status', 'Package: libnvinfer10\nStatus: install ok installed\n'
                                'Version: 10.3.0.30-1\n'),
    ):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    put(store, ingredients(root))
    assert item(store, root).level is OK
    assert item(store, root, Board(tensorrt='10.3.0.30', driver='550.54.15')).level is WARN
