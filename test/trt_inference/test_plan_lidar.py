# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The command plan with networks of points: their lidar, and a network inside their pillars."""

from __future__ import annotations

from dataclasses import replace
import json

import numpy as np
import onnx
from onnx import helper
from onnx import numpy_helper
import pytest

from tools.lidar_network import form
from tools.lidar_network.generic import CENTER_CARD
from tools.lidar_network.generic import CENTER_ROLES
from tools.lidar_network.untrained import write_untrained
from trt_engine.card import load_card
from trt_engine.lidar.model import encoder_card
from trt_engine.manifest import Ingredients
from trt_engine.manifest import Manifest
from trt_engine.model_file import resolve_model
from trt_engine.platform import Platform
from trt_engine.store import Store
from trt_inference.plan.command import main

NANO = ['--board', 'Orin Nano 8GB', '--json']
CHANNELS = 4


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Return a function that runs the command with an empty store, and gives the parts."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))

    def run(*words: str) -> list[dict]:
        assert main([*words, *NANO, '--store', str(tmp_path / 'store')]) == 0
        return json.loads(capsys.readouterr().out)['parts']

    return run


@pytest.fixture
def road(tmp_path) -> str:
    spec = replace(form.POINTS, range_m=(-8.0, -6.4, -3.0, 8.0, 6.4, 3.0), max_voxels=2000)
    return str(write_untrained(tmp_path, name='road', points=spec))


@pytest.fixture
def center(tmp_path) -> str:
    """Write a CenterPoint whose encoder is none that our kernel knows."""
    bent = [
        helper.make_node('MatMul', ['pillars', 'weight'], ['layer']),
        helper.make_node('Tanh', ['layer'], ['bent']),
        helper.make_node('ReduceMax', ['bent'], ['features'], axes=[1]),
    ]
    weight = np.zeros((8, CHANNELS), np.float32)
    shapes = {'pillars': (None, 8, 8)}, {'features': (None, 1, CHANNELS)}
    save(tmp_path / 'encoder.onnx', bent, *shapes, {'weight': weight})
    layers = [helper.make_node('Conv', ['grid', f'{role}_k'], [role]) for role in CENTER_ROLES]
    kernels = {f'{r}_k': np.zeros((n, CHANNELS, 1, 1), np.float32) for r, n in CENTER_ROLES.items()}
    shapes = {'grid': (1, CHANNELS, 16, 16)}, {r: (1, n, 16, 16) for r, n in CENTER_ROLES.items()}
    save(tmp_path / 'head.onnx', layers, *shapes, kernels)
    (tmp_path / 'center.yaml').write_text(CENTER_CARD)
    return str(tmp_path / 'center.yaml')


def save(path, nodes, inputs, outputs, constants):
    def infos(shapes):
        return [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in shapes]

    graph = helper.make_graph(
        nodes, 'part', infos(inputs.items()), infos(outputs.items()),
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid('', 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))


def of(parts: list[dict], what: str) -> list[dict]:
    return [part for part in parts if part['what'] == what]


def owners(parts: list[dict], what: str) -> list[str]:
    return [part['owner'] for part in of(parts, what)]


def test_lidar_and_camera_are_planned_together(run, road):
    told = run('--card', 'demo', '--card', f'{road}:2', '--lidar', '120000:22')
    assert owners(told, 'process') == ['demo', 'road', 'road 2']
    assert owners(told, 'clouds') == ['road', 'road 2']
    assert owners(told, 'images') == ['demo, camera 1']
    assert 'room for 131072 points' in of(told, 'pillars')[0]['source']
    sizes = {part['owner']: part['nbytes'] for part in of(told, 'messages')}
    assert sizes['road'] == sizes['road 2'] == 3 * 120_000 * 22


def test_without_a_word_about_the_lidar_the_least_memory_is_assumed(run, road):
    (part,) = of(run('--card', road), 'clouds')
    assert part['basis'] == 'assumed'
    assert part['source'] == '2 x room for 32768 points, 32 bytes each, not seen yet'


def test_an_encoder_of_its_own_is_a_second_network_of_one_node(run, center):
    told = run('--card', f'{center}:2')
    assert owners(told, 'weights') == ['center', 'center encoder', 'center 2', 'center 2 encoder']
    assert owners(told, 'process') == owners(told, 'clouds') == ['center', 'center 2']
    sizes = {part['owner']: part['nbytes'] for part in of(told, 'inputs and outputs')}
    assert sizes['center'] == (CHANNELS + sum(CENTER_ROLES.values())) * 16 * 16 * 4
    # in two contexts: the pillars, and what becomes of each
    assert sizes['center encoder'] == 2 * 200 * (8 * 8 + CHANNELS) * 4


def test_the_engine_of_an_encoder_is_found_for_the_board(run, center, tmp_path):
    alone = encoder_card(load_card(center))
    facts = Platform(sm='8.7', tensorrt='10.3.0')
    ingredients = Ingredients.collect(alone, resolve_model(alone), flavour='tensorrt', facts=facts)
    manifest = Manifest(ingredients, '2026-01-31T12:00:00Z', 1.0)
    log = 'Total Activation Memory: 1000 bytes\nTotal Weights Memory: 300 bytes\n'
    Store(tmp_path / 'store').put(manifest, b'plan', log=log)
    (weights,) = [each for each in of(run('--card', center), 'weights') if 'enc' in each['owner']]
    assert (weights['nbytes'], weights['basis']) == (300, 'exact')
