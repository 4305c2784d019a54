# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The inference node's configuration: refusals, topics of cameras, overrides of a card."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trt_engine.card import Card
from trt_engine.card import Head
from trt_engine.card import ImageInput
from trt_engine.card import ModelSource
from trt_engine.card import Resize
from trt_engine.card import Thresholds
from trt_engine.errors import ConfigError
from trt_engine.parameters import settings
from trt_inference.camera.config import InferenceConfig

CARD = Card(
    name='fake',
    summary='A card for tests',
    model=ModelSource('fake.onnx', 'Apache-2.0'),
    input=ImageInput('images', 64, 64, 'rgb', Resize('stretch')),
    head=Head('yolo', {}, {}),
    classes=('cone', 'ball', 'box'),
    thresholds=Thresholds(score=0.4, nms_iou=0.6, class_agnostic=True, max_detections=50),
)
CHANGEABLE = {
    'score_threshold', 'nms_iou', 'nms', 'max_detections', 'classes', 'max_age_ms',
    'expected_rate_hz', 'latency_limit_ms', 'max_batch_wait_ms',
}  # fmt: skip


def test_defaults_are_allowed_and_described():
    InferenceConfig()
    known = settings(InferenceConfig)
    assert len(known) == len(InferenceConfig.__dataclass_fields__)
    for name, meaning in known.items():
        assert meaning.description.endswith('.'), name


def test_only_what_needs_no_new_network_or_topic_changes_while_it_runs():
    known = settings(InferenceConfig)
    assert {name for name, meaning in known.items() if not meaning.read_only} == CHANGEABLE


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        ({'backend': 'fake'}, "backend is 'fake'; wanted one of auto, tensorrt, onnxruntime"),
        ({'threads': -1}, 'threads is -1; wanted 0 to 256'),
        ({'pipeline': 'dla'}, "pipeline is 'dla'; wanted one of auto, gpu, cpu"),
        ({'cpu_affinity': '7-4'}, "cpu_affinity is '7-4'; wanted cores and ranges of them"),
        ({'cpu_affinity': '4096'}, "cpu_affinity is '4096'; wanted cores"),
        ({'cpu_affinity': '4;5'}, "cpu_affinity is '4;5'; wanted cores"),
        ({'realtime_priority': 100}, 'realtime_priority is 100; wanted 0 to 99'),
        ({'weight_streaming_mib': -1}, 'weight_streaming_mib is -1; wanted 0 to 100000'),
        ({'threads': 257}, 'threads is 257; wanted 0 to 256'),
        ({'transport': 'theora'}, "transport is 'theora'; wanted one of raw, compressed"),
        ({'overlay_transport': 'png'}, "overlay_transport is 'png'; wanted one of raw, compr"),
        ({'reliability': 'maybe'}, "reliability is 'maybe'; wanted one of best_effort, reliable"),
        ({'depth': 0}, 'depth is 0; wanted 1 to 100'),
        ({'score_threshold': 1.01}, 'score_threshold is 1.01; wanted -1 to 1'),
        ({'score_threshold': -0.5}, "score_threshold is -0.5; wanted 0 to 1, or -1 for the card's"),
        ({'score_threshold': float('nan')}, 'score_threshold is nan; wanted a finite number'),
        ({'nms_iou': -1.5}, 'nms_iou is -1.5; wanted -1 to 1'),
        ({'nms_iou': -0.001}, "nms_iou is -0.001; wanted 0 to 1, or -1 for the card's own"),
        ({'nms': 'soft'}, "nms is 'soft'; wanted one of card, class_wise, class_agnostic"),
        ({'max_detections': -1}, 'max_detections is -1; wanted 0 to 10000'),
        ({'max_age_ms': -1.0}, 'max_age_ms is -1.0; wanted at least 0'),
        ({'expected_rate_hz': -1.0}, 'expected_rate_hz is -1.0; wanted at least 0'),
        ({'latency_limit_ms': -1.0}, 'latency_limit_ms is -1.0; wanted at least 0'),
        ({'cameras': ('a', 'b', 'a')}, "cameras is ['a', 'b', 'a']; wanted each name once"),
        ({'cameras': ('front cam',)}, "cameras has 'front cam'; wanted names that can stand in"),
        ({'cameras': ('1st',)}, "cameras has '1st'; wanted names that can stand in a topic"),
        ({'cameras': ('a/b',)}, "cameras has 'a/b'; wanted names that can stand in a topic"),
        ({'cameras': ('kamera_grün',)}, "cameras has 'kamera_grün'; wanted names that can stand"),
        (
            {'image_topics': ('/a', '/b')},
            'image_topics has 2 topics for 1 cameras; wanted one for each, in their order, or none',
        ),
        (
            {'cameras': ('a', 'b'), 'image_topics': ('/a',)},
            'image_topics has 1 topics for 2 cameras; wanted one for each',
        ),
        (
            {'require_tensorrt': True, 'backend': 'onnxruntime'},
            'require_tensorrt is true but backend is onnxruntime; set backend to auto or tensorrt',
        ),
        (
            {'weight_streaming_mib': 64, 'backend': 'onnxruntime'},
            'weight_streaming_mib is 64 but backend is onnxruntime, whose weights are on the CPU',
        ),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_what_is_wanted(given, words):
    with pytest.raises(ConfigError) as error:
        InferenceConfig(**given)
    assert words in str(error.value)


@pytest.mark.parametrize('backend', ['auto', 'tensorrt'])
def test_tensorrt_may_be_required_of_what_can_be_tensorrt(backend):
    assert InferenceConfig(require_tensorrt=True, backend=backend).require_tensorrt


@pytest.mark.parametrize(
    ('given', 'cameras', 'topics'),
    [
        ({}, [''], ['image']),
        ({'transport': 'compressed'}, [''], ['image/compressed']),
        ({'image_topics': ('/cam/image_raw',)}, [''], ['/cam/image_raw']),
        (
            {'image_topics': ('/cam/image_raw',), 'transport': 'compressed'},
            [''],
            ['/cam/image_raw/compressed'],
        ),
        (
            {'image_topics': ('/cam/image_raw/compressed',), 'transport': 'compressed'},
            [''],
            ['/cam/image_raw/compressed'],
        ),
        ({'cameras': ('front',)}, ['front'], ['front/image']),
        ({'cameras': ('front', 'rear')}, ['front', 'rear'], ['front/image', 'rear/image']),
        (
            {'cameras': ('front', 'rear'), 'transport': 'compressed'},
            ['front', 'rear'],
            ['front/image/compressed', 'rear/image/compressed'],
        ),
        (
            {'cameras': ('front', 'rear'), 'image_topics': ('/b', '/a')},
            ['front', 'rear'],
            ['/b', '/a'],
        ),
    ],
)
def test_each_camera_has_its_image_topic(given, cameras, topics):
    streams = InferenceConfig(**given).streams()
    assert [each.name for each in streams] == cameras
    assert [each.source for each in streams] == topics


def test_results_of_several_cameras_have_topics_of_their_own():
    (single,) = InferenceConfig().streams()
    assert single.topic('detections') == '~/detections'
    _, rear = InferenceConfig(cameras=('front', 'rear')).streams()
    assert rear.topic('detections') == '~/rear/detections'


@pytest.mark.parametrize(
    ('given', 'changed'),
    [
        ({}, {}),
        ({'score_threshold': 0.0}, {'score': 0.0}),
        ({'score_threshold': 1.0}, {'score': 1.0}),
        ({'nms_iou': 0.0}, {'nms_iou': 0.0}),
        ({'nms': 'class_wise'}, {'class_agnostic': False}),
        ({'nms': 'class_agnostic'}, {'class_agnostic': True}),
        ({'max_detections': 7}, {'max_detections': 7}),
        (
            {'score_threshold': 0.1, 'nms_iou': 0.2, 'nms': 'class_wise', 'max_detections': 1},
            {'score': 0.1, 'nms_iou': 0.2, 'class_agnostic': False, 'max_detections': 1},
        ),
    ],
)
def test_thresholds_are_the_cards_but_for_what_is_set(given, changed):
    assert InferenceConfig(**given).thresholds(CARD) == replace(CARD.thresholds, **changed)


def test_a_network_without_nms_gets_it_when_asked_for():
    card = replace(CARD, thresholds=replace(CARD.thresholds, nms_iou=None))
    assert InferenceConfig().thresholds(card).nms_iou is None
    assert InferenceConfig(nms_iou=0.5).thresholds(card).nms_iou == 0.5


def test_class_filter_holds_the_cards_numbers():
    assert InferenceConfig().class_filter(CARD) is None
    assert InferenceConfig(classes=('box', 'cone')).class_filter(CARD) == {0, 2}


def test_an_unknown_class_is_refused_with_some_that_are_known():
    with pytest.raises(ConfigError) as error:
        InferenceConfig(classes=('cone', 'bal')).class_filter(CARD)
    assert str(error.value) == (
        "classes has 'bal', which the model card does not know; it knows cone, ball, box"
    )
    many = replace(CARD, classes=tuple(f'class{i}' for i in range(80)))
    with pytest.raises(ConfigError, match=r'class7, \.\.\.$'):
        InferenceConfig(classes=('bal',)).class_filter(many)


@pytest.mark.parametrize(
    ('text', 'cores'),
    [('', ()), ('3', (3,)), ('4-7', (4, 5, 6, 7)), ('5, 0-2,1', (0, 1, 2, 5))],
)
def test_cores_are_named_as_taskset_names_them(text, cores):
    assert InferenceConfig(cpu_affinity=text).cores() == cores
