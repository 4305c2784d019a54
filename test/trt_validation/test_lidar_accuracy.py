# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The command lidar_accuracy, with the whole path from files to figures."""

from __future__ import annotations

from dataclasses import replace
import json
import re
import shutil

import numpy as np
import pytest

from tools.lidar_network.untrained import write_untrained
from tools.lidar_simulator import folder as simulated
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.pipeline import LidarDetector
from trt_validation import lidar_accuracy
from trt_validation.sweeps import read_sweeps
from trt_validation.sweeps import Thing
from trt_validation.sweeps import write_labels

pytestmark = pytest.mark.slow  # seconds altogether

CAR = (10.0, 4.0, -1.0, 4.4, 1.8, 1.5, 0.3)
MAN = (-20.0, 6.0, -1.0, 0.6, 0.6, 1.7, 2.0)


@pytest.fixture(scope='module')
def card(tmp_path_factory):
    return write_untrained(tmp_path_factory.mktemp('network'))


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


@pytest.fixture
def sweeps(tmp_path):
    """Return a folder with two clouds: a van and a man, then a car with few points, and a tree."""
    folder = tmp_path / 'sweeps'
    folder.mkdir()
    chance = np.random.default_rng(1)
    for name in ('one', 'two'):
        chance.uniform((-9, -9, -2, 0), (9, 9, 1, 1), (500, 4)).astype('<f4').tofile(
            folder / f'{name}.bin'
        )
    things = {
        'one': [Thing('van', CAR, 90), Thing('pedestrian', MAN, None)],
        'two': [Thing('car', CAR, 4), Thing('tree', CAR, 90)],
    }
    write_labels(folder, things)
    return folder


@pytest.fixture
def seen(monkeypatch):
    """Have the detector see these boxes, (box, score, class), in every cloud."""

    def see(*rows):
        table = np.array([[*box, score, label] for box, score, label in rows], np.float32)
        found = Boxes3d(
            table[:, :3], table[:, 3:6], table[:, 6], np.full((len(table), 2), np.nan),
            table[:, 7], table[:, 8].astype(np.int32),
        )  # fmt: skip
        monkeypatch.setattr(LidarDetector, '__call__', lambda self, cloud: found)

    return see


def measured(card, sweeps, tmp_path, *words):
    out = tmp_path / 'report.json'
    words = ['--card', card, '--sweeps', sweeps, '--backend', 'onnxruntime', '--json', out, *words]
    assert lidar_accuracy.main([str(each) for each in words]) == 0
    return json.loads(out.read_text())


def test_what_is_found_counts_by_class_and_range(card, sweeps, tmp_path, seen, capsys):
    seen((CAR, 0.9, 0), ((-20.0, 6.4, -1.0, 0.6, 0.6, 1.7, 2.0), 0.8, 2))
    report = measured(card, sweeps, tmp_path, '--rename', 'van=car', '--iou', 'car=0.7')

    assert (report['sweeps'], report['things'], report['boxes']) == (2, 2, 4)
    # of the second cloud, the car has too few points to count: its box counts neither way
    assert report['ap_by_iou']['car'] == {
        '0 to 40 m': 1.0, '0 to 15 m': 1.0, '15 to 30 m': None, '30 to 40 m': None,
    }  # fmt: skip
    # 0.4 m beside a man of 0.6 m is too far by overlap, and near enough by distance
    assert report['ap_by_iou']['pedestrian']['0 to 40 m'] == 0
    assert report['ap_by_centre']['pedestrian']['15 to 30 m'] == 1
    assert report['ap_by_iou']['truck']['0 to 40 m'] is None
    assert report['unknown_labels'] == ['tree']
    assert report['absent_classes'] == ['truck', 'cyclist']
    assert report['iou'] == {'car': 0.7, 'truck': 0.5, 'pedestrian': 0.5, 'cyclist': 0.5}
    text = capsys.readouterr().out
    assert '1 labels that are no class of the card, left out: tree' in text
    assert 'AP, rotated IoU from above of at least: car 0.7, truck 0.5' in text
    assert 'AP, centres at most 1 m apart' in text


def test_without_another_name_a_van_is_no_car(card, sweeps, tmp_path, seen):
    seen((CAR, 0.9, 0))
    report = measured(card, sweeps, tmp_path, '--least-points', '0', '--ranges-m', '50')
    # one true in the second cloud, one false in the first
    assert report['ap_by_iou']['car'] == {'0 to 50 m': pytest.approx(0.5)}
    assert report['unknown_labels'] == ['tree', 'van']


def test_a_real_run_on_simulated_sweeps(card, tmp_path, capsys):
    folder = tmp_path / 'streets'
    simulated.main(['--out', str(folder), '--sweeps', '2', '--seed', '5'])
    assert {'car', 'pedestrian'} <= set(read_sweeps(folder).labels())
    report = measured(card, folder, tmp_path, '--rename', 'van=car', '--score', '0.3')
    assert report['sweeps'] == 2
    assert report['things'] > 10
    assert report['boxes'] > 0
    figures = [each for row in report['ap_by_centre'].values() for each in row.values()]
    assert all(each is None or 0 <= each <= 1 for each in figures)
    assert report['backend'].startswith('ONNX Runtime')
    assert report['thresholds']['score'] == 0.3


def test_a_sensor_at_another_height_is_measured_as_if_at_that_of_the_training(card, tmp_path):
    simulated.main(['--out', str(tmp_path / 'as_trained'), '--sweeps', '2', '--seed', '5'])
    shutil.copytree(tmp_path / 'as_trained', tmp_path / 'higher')
    low = read_sweeps(tmp_path / 'as_trained')
    for name, path in low.clouds.items():
        points = np.fromfile(path, '<f4').reshape(-1, 4)
        points[:, 2] = np.round(points[:, 2] * 64) / 64  # which float32 raises and lowers exactly
        points.tofile(path)
        points[:, 2] -= 2
        points.tofile(tmp_path / 'higher' / f'{name}.bin')
    lowered = {
        name: [replace(each, box=(*each.box[:2], each.box[2] - 2, *each.box[3:])) for each in here]
        for name, here in low.things.items()
    }
    write_labels(tmp_path / 'higher', lowered)

    expected = measured(card, tmp_path / 'as_trained', tmp_path)
    report = measured(card, tmp_path / 'higher', tmp_path, '--ground-offset-m', '2')

    assert (expected.pop('ground_offset_m'), report.pop('ground_offset_m')) == (0, 2)
    assert report == expected
    assert min(report['boxes'], report['things']) > 0


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--iou', 'car'], '--iou car: wanted two words with = between them, the first a class'),
        (['--iou', 'bus=0.5'], '--iou bus=0.5: wanted .* car, truck, pedestrian, cyclist'),
        (['--iou', 'car=2'], '--iou car=2; allowed: a number above 0, up to 1'),
        (['--iou', 'car=x'], '--iou car=x; allowed'),
        (['--rename', 'van=bus'], '--rename van=bus: wanted .* the second a class'),
        (['--ranges-m', '30', '15'], r'--ranges-m is \(30.0, 15.0\); allowed: distances'),
        (['--ground-offset-m', 'inf'], '--ground-offset-m is inf; allowed: finite metres'),
        (['--score', '2'], r'--score 2.0, .*; allowed: 0 to 1'),
        (['--centre-m', 'nan'], '--centre-m nan, .*; allowed: .* above 0'),
        (['--least-points', '1000'], 'nothing that counts is in it; its labels are car, ped'),
        (['--json', '/no/such/report'], 'there is no folder /no/such'),
        (['--backend', 'tensorrt'], 'TensorRT cannot run here'),
    ],
)
def test_what_cannot_be_measured_is_said(card, sweeps, capsys, words, message):
    # the man, of whose points nobody counted any, is not there
    things = read_sweeps(sweeps).things
    write_labels(sweeps, {name: [e for e in all_ if e.points] for name, all_ in things.items()})
    with (sweeps / 'labels.csv').open('a') as file:
        file.write('two,pedestrian,1,1,1,1,1,1,1,7\n')
    status = lidar_accuracy.main(['--card', str(card), '--sweeps', str(sweeps), *words])
    assert status == 1
    assert re.search(message, capsys.readouterr().err)


def test_a_cloud_that_is_cut_short_is_named(card, sweeps, capsys):
    (sweeps / 'two.bin').write_bytes(b'123')
    words = ['--card', str(card), '--sweeps', str(sweeps), '--rename', 'van=car']
    assert lidar_accuracy.main([*words, '--backend', 'onnxruntime']) == 1
    assert 'two.bin: cannot be measured on' in capsys.readouterr().err
