# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Accuracy counts what is right, says what it measured, and reproduces the reference figures."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from trt_builder.builder import EngineBuilder
from trt_engine.backend import TensorInfo
from trt_engine.backends import Choice
from trt_engine.backends.fake import FakeBackend
from trt_engine.card import load_card
from trt_engine.card import with_overrides
from trt_engine.errors import ConfigError
from trt_engine.store import Store
from trt_inference.camera.detections import Detections
from trt_validation import accuracy
from trt_validation.coco import Dataset

pytest.importorskip('pycocotools', reason='pycocotools is not installed')

CARD = """\
card: 1
name: tiny
summary: A card for tests
model: {source: tiny.onnx, licence: Apache-2.0, sha256: null}
input: {tensor: images, size: [64, 64], color: bgr, resize: {mode: stretch}}
head: {type: yolo, outputs: {predictions: output}, form: end_to_end}
classes: [Cone, unicorn, ball]
thresholds: {score: 0.5, nms_iou: null}
"""
# two pictures of 100x50; a cone in the first, a ball in the second, and a kind that no card has
INSTANCES = {
    'images': [{'id': 7, 'file_name': 'a.png'}, {'id': 9, 'file_name': 'b.png'}],
    'categories': [
        {'id': 31, 'name': 'ball'},
        {'id': 12, 'name': 'cone'},
        {'id': 5, 'name': 'kite'},
    ],
    'annotations': [
        {'id': 1, 'image_id': 7, 'category_id': 12, 'bbox': [10, 10, 40, 30]},
        {'id': 2, 'image_id': 9, 'category_id': 31, 'bbox': [50, 5, 20, 20]},
        {'id': 3, 'image_id': 9, 'category_id': 5, 'bbox': [0, 0, 20, 20]},
    ],
}
for annotation in INSTANCES['annotations']:
    annotation['area'] = annotation['bbox'][2] * annotation['bbox'][3]
    annotation['iscrowd'] = 0


def one(box, label: int, score: float = 0.9) -> Detections:
    return Detections(
        np.array([box], np.float32), np.array([score], np.float32), np.array([label], np.int32)
    )


CONE, BALL = (10, 10, 50, 40), (50, 5, 70, 25)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / 'tiny.yaml').write_text(CARD)
    (tmp_path / 'tiny.onnx').write_bytes(b'not read by a fake')
    (tmp_path / 'instances.json').write_text(json.dumps(INSTANCES))
    for name in ('a.png', 'b.png'):
        cv2.imwrite(str(tmp_path / name), np.zeros((50, 100, 3), np.uint8))
    return tmp_path


@pytest.fixture
def fake(monkeypatch) -> FakeBackend:
    """Sees the cone at its place in every picture, and a unicorn, which does not count."""
    rows = [[*np.multiply(CONE, 0.64) / (1, 0.5, 1, 0.5), 0.9, 0], [0, 0, 9, 9, 0.8, 1]]
    tensors = (
        TensorInfo('images', 'input', np.dtype(np.float32), (1, 3, 64, 64)),
        TensorInfo('output', 'output', np.dtype(np.float32), (1, 2, 6)),
    )
    backend = FakeBackend(tensors, {'output': np.array([rows], np.float32)})
    monkeypatch.setattr(accuracy, 'open_backend', lambda name, model, threads: backend)
    return backend


def arguments(folder: Path, *extra: str) -> list[str]:
    return [
        *('--card', str(folder / 'tiny.yaml'), '--coco', str(folder / 'instances.json')),
        *('--images', str(folder), *extra),
    ]


def test_names_decide_which_class_is_which_category(folder):
    classes = Dataset(folder / 'instances.json').match(('Cone', 'unicorn', 'ball'))
    assert classes.categories == {0: 12, 2: 31}
    assert classes.unknown_classes == ('unicorn',)
    assert classes.unknown_categories == ('kite',)


@pytest.mark.parametrize(
    ('found', 'ap', 'per_class'),
    [
        ({7: one(CONE, 0), 9: one(BALL, 2)}, 1.0, {'ball': 1.0, 'cone': 1.0}),
        ({7: one(CONE, 0), 9: one(BALL, 0)}, 0.5, {'ball': 0.0, 'cone': 1.0}),
        ({7: one(CONE, 0), 9: Detections.none()}, 0.5, {'ball': 0.0, 'cone': 1.0}),
        ({7: Detections.none(), 9: Detections.none()}, 0.0, {'ball': 0.0, 'cone': 0.0}),
        ({7: one(CONE, 1), 9: one(BALL, 1)}, 0.0, {'ball': 0.0, 'cone': 0.0}),
    ],
)
def test_precision_counts_what_is_right(folder, found, ap, per_class):
    dataset = Dataset(folder / 'instances.json')
    precision = dataset.precision(found, dataset.match(('Cone', 'unicorn', 'ball')))
    assert pytest.approx(ap) == precision.AP
    assert pytest.approx(ap) == precision.AP50
    assert precision.per_class == pytest.approx(per_class)
    assert precision.AP_large is None


def test_command_measures_and_writes_the_report(folder, fake, capsys):
    out = folder / 'report.json'
    assert accuracy.main(arguments(folder, '--json', str(out), '--backend', 'onnxruntime')) == 0
    report = json.loads(out.read_text())
    assert report['AP'] == pytest.approx(0.5)
    assert report['AP50'] == pytest.approx(0.5)
    assert report['per_class'] == pytest.approx({'ball': 0.0, 'cone': 1.0})
    assert report['card'] == 'tiny'
    assert len(report['onnx_sha256']) == 64
    assert report['backend'] == f'{fake.identity}, pipeline cpu'
    assert (report['images'], report['detections']) == (2, 2)
    assert report['thresholds']['score'] == 0.01
    assert report['classes_not_in_dataset'] == ['unicorn']
    assert report['categories_not_in_card'] == ['kite']
    text = capsys.readouterr().out
    assert 'tiny on 2 images: 2 detections' in text
    assert '1 classes of the card not in the dataset, not counted: unicorn' in text
    assert '1 categories of the dataset not in the card, left out: kite' in text


def test_flags_go_before_the_card(folder, fake):
    out = folder / 'report.json'
    flags = ('--score', '0.95', '--nms-iou', '0.6', '--max-detections', '7', '--json', str(out))
    assert accuracy.main(arguments(folder, *flags)) == 0
    report = json.loads(out.read_text())
    assert report['thresholds'] == {
        'score': 0.95,
        'nms_iou': 0.6,
        'class_agnostic': False,
        'max_detections': 7,
        'multi_label': True,
    }
    assert (report['AP'], report['detections']) == (0.0, 0)


@pytest.mark.parametrize(
    ('flags', 'text'),
    [
        (('--card', 'none'), "no card 'none'"),
        (('--card', 'demo_lidar'), 'wanted image here'),
        (('--threads', '-1'), '--threads is -1; allowed: 0 or more'),
        (('--json', '/'), '--json /: is a folder; name a file'),
        (('--coco', 'missing.json'), 'missing.json: cannot be read'),
        (('--images', 'nowhere'), 'a.png: cannot be read'),
        (('--score', '2'), '--score is 2.0; allowed: a number from 0 up to 1'),
        (('--nms-iou', 'nan'), '--nms-iou is nan'),
        (('--max-detections', '0'), '--max-detections is 0; allowed: 1 or more'),
        (('--json', 'nowhere/report.json'), 'there is no folder'),
        (('--onnx', 'missing.onnx'), 'missing.onnx'),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(folder, fake, capsys, flags, text):
    assert accuracy.main(arguments(folder, *flags)) == 1
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert error.count('\n') == 1
    assert text in error


def test_a_damaged_picture_is_named(folder, fake, capsys):
    (folder / 'b.png').write_bytes(b'GIF89a')
    assert accuracy.main(arguments(folder)) == 1
    assert 'b.png: 6 bytes that begin with' in capsys.readouterr().err


def test_interrupting_is_no_error(folder, fake, monkeypatch, capsys):
    def interrupt(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(accuracy, 'decode_picture', interrupt)
    assert accuracy.main(arguments(folder)) == 130
    assert capsys.readouterr().err == 'stopped\n'


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        ('{', 'is not JSON'),
        ('[]', 'has no list of images'),
        ('{"images": []}', 'has no list of images'),
        ('{"images": [{"id": 1}]}', r'images\[0\] has no file_name'),
        (json.dumps(INSTANCES | {'categories': [{'id': 'a', 'name': 'b'}]}), 'has no id'),
        (
            json.dumps(INSTANCES | {'annotations': [INSTANCES['annotations'][0] | {'bbox': [1]}]}),
            r'annotations\[0\] has no bbox',
        ),
    ],
)
def test_other_files_are_refused(tmp_path, content, text):
    path = tmp_path / 'file.json'
    path.write_text(content)
    with pytest.raises(ConfigError, match=text):
        Dataset(path)


def test_a_dataset_of_other_things_is_refused(folder):
    with pytest.raises(ConfigError, match=r'none of the 1 classes of the card \(zebra\) is a cat'):
        Dataset(folder / 'instances.json').match(('zebra',))


@pytest.mark.slow
@pytest.mark.parametrize(
    ('card', 'onnx', 'ap', 'ap50'),
    [
        ('yolox_nano', 'yolox_nano_416', 0.3416, 0.5147),
        ('deimv2_femto', 'deimv2_femto_coco', 0.4026, 0.5380),
        ('nanodet_m', 'nanodet_m_416', 0.2919, 0.4878),
    ],
)
def test_reference_figures_are_reproduced(data, tmp_path, card, onnx, ap, ap50):
    out = tmp_path / 'report.json'
    coco = data / 'coco_val64'
    status = accuracy.main(
        [
            *('--card', card, '--onnx', str(data / 'models' / f'{onnx}.onnx')),
            *('--coco', str(coco / 'instances.json'), '--images', str(coco / 'images')),
            *('--backend', 'onnxruntime', '--json', str(out)),
        ]
    )
    assert status == 0
    report = json.loads(out.read_text())
    assert report['AP'] == pytest.approx(ap, abs=0.003)
    assert report['AP50'] == pytest.approx(ap50, abs=0.003)
    assert report['images'] == 64


def test_where_tensorrt_runs_but_has_no_engine_the_way_to_one_is_said(folder, monkeypatch, capsys):
    monkeypatch.setattr(accuracy, 'choose_backend', lambda preference: Choice('tensorrt', ''))
    monkeypatch.setenv('TRT_ENGINE_STORE', str(folder / 'engines'))
    (folder / 'tiny.onnx').write_bytes(b'')  # no weights in other files
    assert accuracy.main(arguments(folder)) == 1
    assert 'holds no engine yet; build it (ros2 run trt_builder trt_build)' in (
        capsys.readouterr().err.replace('\n', ' ')
    )


@pytest.mark.slow
def test_the_engine_of_a_store_is_measured(
    fake_gpu, repository, data, tmp_path, monkeypatch, capsys
):
    fake_gpu('10.3.0')
    monkeypatch.setattr(accuracy, 'choose_backend', lambda preference: Choice('tensorrt', ''))
    card = repository / 'config/models/demo.yaml'
    onnx = repository / 'models/demo.onnx'
    store = tmp_path / 'engines'
    built = EngineBuilder(Store(store), lock=tmp_path / 'lock').build(
        with_overrides(load_card(card, onnx=onnx), ['precision=fp32'])
    )
    coco = tmp_path / 'instances.json'
    image = next((data / 'coco_val64/images').iterdir())
    coco.write_text(
        json.dumps(
            {
                'images': [{'id': 1, 'file_name': image.name, 'width': 640, 'height': 480}],
                'categories': [{'id': 1, 'name': load_card(card).classes[0]}],
                'annotations': [
                    {
                        'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [0, 0, 9, 9],
                        'area': 81, 'iscrowd': 0,
                    },
                ],
            }
        )
    )  # fmt: skip
    words = [
        '--card', card, '--onnx', onnx, '--coco', coco, '--images', image.parent, '--store', store,
    ]  # fmt: skip
    assert accuracy.main([*map(str, words), '--set', 'precision=fp32']) == 0
    assert f'engine {built.entry.key[:12]}' in capsys.readouterr().out
    assert accuracy.main([*map(str, words), '--set', 'precision=fp16']) == 1
    assert 'built with precision "fp32", wanted is "fp16"' in capsys.readouterr().err
