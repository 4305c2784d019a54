# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The schema for editors says what the parser says."""

from __future__ import annotations

import json
from pathlib import Path
import subprocess
import sys
from typing import Any

import pytest
import yaml

from trt_engine.card import parse_card
from trt_engine.errors import CardError

HEADER = '# yaml-language-server: $schema=card.schema.json\n'

# (what is replaced in yolox_nano.yaml, by what)
BAD = [
    ('card: 1', 'card: 2'),
    ('name: yolox_nano', 'name: a b'),
    ('name: yolox_nano', 'name: 3'),
    ('summary:', 'sumary:'),
    ('licence: Apache-2.0', 'licence: ""'),
    ('sha256: null', 'sha256: z'),
    ('tensor: images', 'tensor: null'),
    ('size: [416, 416]', 'size: [416]'),
    ('size: [416, 416]', 'size: [416, -1]'),
    ('size: [416, 416]', 'size: [416, 99999]'),
    ('size: [416, 416]', 'size: [416, 1.5]'),
    ('tensor: images', 'tensor: images\n  kind: points'),
    ('tensor: images', 'tensor: images\n  kind: sound'),
    ('color: bgr', 'colour: bgr'),
    ('color: bgr', 'color: grey'),
    ('color: bgr', 'color: bgr\n  std: [1, 0, 1]'),
    ('color: bgr', 'color: bgr\n  mean: [1, 1]'),
    ('color: bgr', 'color: bgr\n  scale: 0'),
    ('color: bgr', 'color: bgr\n  scale: one'),
    ('mode: letterbox', 'mode: crop'),
    ('pad: 114', 'pad: 300'),
    ('type: yolox', 'kind: yolox'),
    ('{predictions: output}', '{predictions: []}'),
    ('{predictions: output}', 'output'),
    ('decoded: false', 'decoded: {a: 1}'),
    ('coco80', '[]'),
    ('coco80', '[a, a]'),
    ('coco80', '7'),
    ('score: 0.3', 'score: 1.3'),
    ('score: 0.3', 'score: "0.3"'),
    ('nms_iou: 0.65', 'max_detections: 10'),
    ('nms_iou: 0.65', 'nms_iou: 0.65, max_detections: 0'),
    ('nms_iou: 0.65', 'nms_iou: 0.65, class_agnostic: maybe'),
]


LIDAR = """
card: 1
name: lidar
summary: Cars in clouds
model: {source: lidar.onnx, licence: Apache-2.0}
input:
  kind: points
  tensor: voxels
  range_m: [0, -39.68, -3, 69.12, 39.68, 1]
  voxel_m: [0.16, 0.16, 4]
  max_points: 32
  max_voxels: 10000
  features: pillar10
  missing: {intensity: 0}
head: {type: pointpillars, outputs: {scores: cls, boxes: box, directions: dir}}
classes: [car]
thresholds: {score: 0.1, nms_iou: 0.01}
"""
WHOLE = (
    LIDAR.replace('features: pillar10', 'features: points\n  mask_tensor: mask')
    .replace('  voxel_m: [0.16, 0.16, 4]\n', '')
    .replace('  max_voxels: 10000\n', '')
    .replace('max_points: 32', 'max_points: 60000')
)
BAD_LIDAR = [
    ('kind: points', 'kind: image'),
    ('  kind: points\n', ''),
    ('kind: points', 'kind: points\n  color: rgb'),
    ('max_points: 32', 'max_points: 0'),
    ('features: pillar10', 'features: pillar11'),
    ('missing: {intensity: 0}', 'missing: {colour: 0}'),
    ('max_points: 32', 'max_points: 1025'),
    ('  max_voxels: 10000\n', ''),
    ('  voxel_m: [0.16, 0.16, 4]\n', ''),
    ('features: pillar10', 'features: pillar10\n  mask_tensor: mask'),
    ('features: pillar10', 'features: pillar10\n  padding: repeat'),
]
BAD_WHOLE = [
    ('mask_tensor: mask', 'max_voxels: 2'),
    ('mask_tensor: mask', 'sizes_tensor: sizes'),
    ('mask_tensor: mask', 'padding: ones'),
    ('max_points: 60000', 'max_points: 5000000'),
    ('  max_points: 60000\n', ''),
]


@pytest.fixture(scope='module')
def folder(repository: Path) -> Path:
    return repository / 'config' / 'models'


@pytest.fixture(scope='module')
def validator(folder: Path) -> Any:
    jsonschema = pytest.importorskip('jsonschema')
    schema = json.loads((folder / 'card.schema.json').read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_committed_file_is_what_the_script_prints(folder: Path, repository: Path) -> None:
    command = [sys.executable, str(repository / 'tools' / 'card_schema.py')]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert (folder / 'card.schema.json').read_text() == printed


def test_every_card_names_and_obeys_the_schema(folder: Path, validator: Any) -> None:
    for path in folder.glob('*.yaml'):
        text = path.read_text()
        assert text.startswith(HEADER), path
        problems = [
            f'{e.json_path}: {e.message}' for e in validator.iter_errors(yaml.safe_load(text))
        ]
        assert problems == [], path


@pytest.mark.parametrize(('old', 'new'), BAD)
def test_parser_and_schema_refuse_the_same(
    old: str, new: str, folder: Path, validator: Any
) -> None:
    path = folder / 'yolox_nano.yaml'
    text = path.read_text()
    assert text.count(old) >= 1
    bad = text.replace(old, new, 1)
    assert not validator.is_valid(yaml.safe_load(bad))
    with pytest.raises(CardError):
        parse_card(bad, path)


def test_parser_and_schema_take_a_lidar_card(validator: Any) -> None:
    assert validator.is_valid(yaml.safe_load(LIDAR))
    assert parse_card(LIDAR, Path('lidar.yaml')).points.max_voxels == 10000


def test_parser_and_schema_take_a_card_of_a_network_of_points(validator: Any) -> None:
    assert validator.is_valid(yaml.safe_load(WHOLE))
    assert parse_card(WHOLE, Path('lidar.yaml')).points.mask_tensor == 'mask'


@pytest.mark.parametrize(
    ('good', 'old', 'new'),
    [(LIDAR, *each) for each in BAD_LIDAR] + [(WHOLE, *each) for each in BAD_WHOLE],
)
def test_parser_and_schema_refuse_the_same_of_a_lidar_card(
    good: str, old: str, new: str, validator: Any
) -> None:
    bad = good.replace(old, new)
    assert bad != good
    assert not validator.is_valid(yaml.safe_load(bad))
    with pytest.raises(CardError):
        parse_card(bad, Path('lidar.yaml'))


def test_a_card_says_what_it_is_where_the_other_kind_is_wanted(folder: Path) -> None:
    lidar = parse_card(LIDAR, Path('lidar.yaml'))
    with pytest.raises(CardError, match=r'lidar\.yaml: input\.kind is points, .*; wanted image'):
        _ = lidar.image
    path = folder / 'yolox_nano.yaml'
    camera = parse_card(path.read_text(), path)
    assert (camera.image.width, camera.image.height) == (416, 416)
    with pytest.raises(CardError, match=r'input\.kind is image, .*; wanted points'):
        _ = camera.points
