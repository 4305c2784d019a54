# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the README shows is what the code does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

from trt_engine.card import Head
from trt_engine.card import load_card
from trt_engine.card import parse_card
from trt_engine.preprocess import Preprocessor
import trt_inference.camera.decoders
from trt_inference.camera.decoders import yolo
from trt_inference.lidar.decoders3d import open_decoder3d
import trt_inference.plan.command

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / 'README.md').read_text()


def code_blocks(language: str) -> list[str]:
    return re.findall(rf'```{language}\n(.*?)```', README, re.DOTALL)


def test_parameter_tables_are_those_of_the_code():
    sys.path.insert(0, str(REPOSITORY / 'tools'))
    from parameter_tables import filled

    assert filled(README) == README, 'run tools/parameter_tables.py'


def test_the_card_in_the_readme_is_a_card(tmp_path):
    text, points, whole = code_blocks('yaml')

    card = parse_card(text, tmp_path / 'my_yolo.yaml')

    assert card.classes == ('box', 'pallet')
    start = text.index('input:')
    head = 'head: {type: pointpillars, outputs: {scores: a, boxes: b, directions: c}}\n'
    thresholds = text.index('classes:')
    lidar = parse_card(text[:start] + points + head + text[thresholds:], tmp_path / 'lidar.yaml')
    assert lidar.points.grid == (432, 496)
    generic = parse_card(text[:start] + whole + text[thresholds:], tmp_path / 'points.yaml')
    assert generic.points.mask_tensor == 'mask'
    open_decoder3d(generic, generic.points)


def test_the_head_in_the_readme_decodes():
    names = {name: getattr(trt_inference.camera.decoders, name) for name in ('Geometry', 'Array')}
    names |= {name: getattr(yolo, name) for name in dir(yolo) if not name.startswith('__')}
    exec(code_blocks('python')[0], names)
    head = Head('efficient_nms', {'boxes': ('b',), 'scores': ('s',), 'classes': ('c',)}, {})
    card = replace(load_card('yolox_nano'), head=head)
    geometry = Preprocessor(card.input)(np.zeros((832, 832, 3), np.uint8), 'bgr8')
    outputs = {
        'b': np.array([[[10, 20, 30, 40], [0, 0, 9, 9]]], np.float32),
        's': np.array([[0.9, 0.1]], np.float32),
        'c': np.array([[2, 0]], np.int32),
    }

    found = names['EfficientNmsDecoder'](card)(outputs, card.thresholds, geometry)

    assert found.boxes.tolist() == [[20, 40, 60, 80]], 'twice as large in the image'
    assert found.classes.tolist() == [2]


def test_the_plan_in_the_readme_is_what_the_command_prints(tmp_path, capsys):
    (command, printed), *others = re.findall(
        r'\n\$ ros2 run trt_inference plan (.*)\n((?:.*\n)*?)```', README
    )
    assert not others

    status = trt_inference.plan.command.main([*shlex.split(command), '--store', str(tmp_path)])

    assert (status, capsys.readouterr().out) == (0, printed)


@pytest.mark.parametrize('target', sorted(set(re.findall(r'\]\(([^)#:]+)\)', README))))
def test_links_lead_somewhere(target):
    assert (REPOSITORY / target).exists()


def test_every_card_is_in_the_table():
    for path in (REPOSITORY / 'config' / 'models').glob('*.yaml'):
        assert f'`{path.stem}`' in README


def test_make_targets_exist():
    listing = subprocess.run(
        ['make', '-n', '-C', str(REPOSITORY), 'help'], capture_output=True, text=True, check=True
    )
    assert listing.returncode == 0
    makefile = (REPOSITORY / 'Makefile').read_text()
    names = {name for line in re.findall(r'(?m)^([a-z- ]+):', makefile) for name in line.split()}
    assert set(re.findall(r'make ([a-z-]+)', README)) <= names
