# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What is said of a camera, and of what runs the network."""

from __future__ import annotations

import math

import pytest

from trt_engine.health import Level
from trt_engine.health import number
from trt_inference.camera.config import InferenceConfig
from trt_inference.detector.config import Stream
from trt_inference.detector.health import backend_health
from trt_inference.detector.health import Counts
from trt_inference.detector.health import stream_health
from trt_inference.detector.worker import StreamStatistics

STREAM = Stream('front', '/front/image')
LIMITS = {'expected_rate_hz': 10.0, 'latency_limit_ms': 50.0}


def judge(frames=0, dropped=0, errors=0, *, latency_ms=(), before=(0, 0, 0), seconds=2.0, **config):
    """Judge what came in so many seconds on top of the counts before."""
    statistics = StreamStatistics(lambda: 0.0)
    statistics.last_error = 'step is too short' if errors else ''
    for each in latency_ms:
        statistics.total_ms.add(each)
    now = [old + new for old, new in zip(before, (frames, dropped, errors), strict=True)]
    return stream_health(
        InferenceConfig(**config),
        STREAM,
        statistics,
        Counts(100.0 + seconds, *now),
        Counts(100.0, *before),
    )


@pytest.mark.parametrize(
    ('situation', 'level', 'message'),
    [
        ({}, Level.WARN, 'no message on /front/image since the last report'),
        ({'before': (500, 9, 3)}, Level.WARN, 'no message on /front/image since the last report'),
        (
            {'errors': 4, 'before': (500, 0, 0)},
            Level.ERROR,
            'no usable message on /front/image: step is too short',
        ),
        (
            {'errors': 4, 'dropped': 30},
            Level.ERROR,
            'no usable message on /front/image: step is too short',
        ),
        ({'frames': 15, 'errors': 5}, Level.WARN, '5 of 20 messages were unusable'),
        ({'frames': 20, **LIMITS}, Level.OK, '10.0 Hz'),
        ({'frames': 18, **LIMITS}, Level.OK, '9.0 Hz'),
        ({'frames': 17, **LIMITS}, Level.WARN, '8.5 Hz, below 90% of the expected 10 Hz'),
        ({'frames': 17}, Level.OK, '8.5 Hz'),
        ({'frames': 20, 'latency_ms': [50.0] * 9, **LIMITS}, Level.OK, '10.0 Hz'),
        (
            {'frames': 20, 'latency_ms': [50.5] * 9, **LIMITS},
            Level.WARN,
            'p99 latency 50.5 ms, above the limit of 50 ms',
        ),
        ({'frames': 20, 'latency_ms': [5000.0] * 9}, Level.OK, '10.0 Hz'),
        ({'frames': 20, 'dropped': 20}, Level.OK, '10.0 Hz'),
        (
            {'frames': 20, 'dropped': 21},
            Level.WARN,
            '21 of 41 frames dropped: slower than the sensor',
        ),
        ({'dropped': 6}, Level.WARN, '6 of 6 frames dropped: slower than the sensor'),
        (
            {'dropped': 6, 'max_age_ms': 100.0},
            Level.WARN,
            '6 of 6 frames dropped: slower than the sensor, or older than max_age_ms (100 ms)',
        ),
        ({'dropped': 6, **LIMITS}, Level.WARN, '0.0 Hz, below 90% of the expected 10 Hz'),
        # Errors come before a low rate, that before latency, that before drops.
        (
            {'frames': 2, 'errors': 1, 'dropped': 9, 'latency_ms': [99.0], **LIMITS},
            Level.WARN,
            '1 of 3 messages were unusable',
        ),
        (
            {'frames': 2, 'dropped': 9, 'latency_ms': [99.0], **LIMITS},
            Level.WARN,
            '1.0 Hz, below 90% of the expected 10 Hz',
        ),
        (
            {'frames': 20, 'dropped': 90, 'latency_ms': [99.0], **LIMITS},
            Level.WARN,
            'p99 latency 99.0 ms, above the limit of 50 ms',
        ),
        ({'frames': 3, 'seconds': 0.0}, Level.OK, 'unknown Hz'),
    ],
)
def test_each_situation_has_its_level_and_message(situation, level, message):
    health = judge(**situation)
    assert (health.level, health.message) == (level, message)


def test_only_what_happened_since_the_last_report_counts():
    assert judge(20, before=(0, 1000, 1000)).level is Level.OK


def test_figures_stand_beside_the_message():
    values = judge(
        20, 3, 1, latency_ms=[10.0, 20.0], before=(100, 10, 1), expected_rate_hz=12.5
    ).values
    assert values == {
        'topic': '/front/image',
        'rate (Hz)': '10.0',
        'expected rate (Hz)': '12.5',
        'latency p50 (ms)': '15.0',
        'latency p99 (ms)': '19.9',
        'latency limit (ms)': 'unknown',
        'age of the last frame (ms)': 'unknown',
        'frames': '120',
        'dropped': '13',
        'errors': '2',
        'last error': 'step is too short',
    }


def test_what_is_not_known_is_not_shown_as_zero():
    values = judge(seconds=0.0).values
    unknown = {name for name, value in values.items() if value == 'unknown'}
    assert unknown == {name for name in values if '(' in name}
    assert [values[each] for each in ('frames', 'dropped', 'errors')] == ['0', '0', '0']


@pytest.mark.parametrize(
    ('value', 'shown'),
    [(None, 'unknown'), (math.nan, 'unknown'), (0.0, '0.0'), (9.96, '10.0'), (1e4, '10000.0')],
)
def test_a_number_for_a_person(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize(('fell_back', 'level'), [(True, Level.WARN), (False, Level.OK)])
def test_a_fall_back_is_a_warning_for_as_long_as_it_lasts(fell_back, level):
    health = backend_health('onnxruntime', 'no TensorRT', fell_back, 'ORT 1', 'demo', 'cpu')
    assert health.level is level
    assert health.message == 'onnxruntime: no TensorRT'
    assert health.values == {
        'backend': 'onnxruntime',
        'chosen because': 'no TensorRT',
        'engine': 'ORT 1',
        'model': 'demo',
        'pipeline': 'cpu',
    }


def test_levels_are_those_of_diagnostic_messages():
    assert [each.name for each in sorted(Level)] == ['OK', 'WARN', 'ERROR', 'STALE']
    assert [*Level] == [0, 1, 2, 3]
