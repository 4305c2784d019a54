# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What is said of the fusion, by what happened since it was said last."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from trt_engine.health import Level
from trt_inference.fusion.config import FusionConfig
from trt_inference.fusion.health import camera_health
from trt_inference.fusion.health import FusionCounts
from trt_inference.fusion.health import match_health
from trt_inference.fusion.health import rate_health
from trt_inference.fusion.health import sync_health
from trt_inference.fusion.health import transform_health
from trt_inference.fusion.sync import SyncCounts

BEFORE = FusionCounts(
    100.0, SyncCounts(50, 40, 30, 4, 3, 2, 1), fused=30, errors=5, visible=200, matched=100
)


def later(sync=None, **changes):
    """Return the counters two seconds after `BEFORE`, with these on top."""
    sync = {'images': 20, 'boxes': 20, **(sync or {})}
    old = {name: value or 0 for name, value in asdict(BEFORE.sync).items()}
    gap_ms = sync.pop('gap_ms', None)
    summed = {name: old[name] + sync.get(name, 0) for name in old if name != 'gap_ms'}
    text = changes.pop('last_error', '')
    numbers = {
        name: getattr(BEFORE, name) + changes.get(name, 0)
        for name in ('fused', 'errors', 'visible', 'matched')
    }
    return FusionCounts(102.0, SyncCounts(**summed, gap_ms=gap_ms), **numbers, last_error=text)


@pytest.mark.parametrize(
    ('now', 'limits', 'level', 'message'),
    [
        (later(fused=20), {}, Level.OK, '10.0 Hz'),
        (later(), {}, Level.OK, '0.0 Hz'),
        (later(fused=18), {'expected_rate_hz': 10.0}, Level.OK, '9.0 Hz'),
        (
            later(fused=17),
            {'expected_rate_hz': 10.0},
            Level.WARN,
            '8.5 Hz, below 90% of the expected 10 Hz',
        ),
        (
            later({'images': 0}),
            {},
            Level.WARN,
            'no message on inference/detections since the last report',
        ),
        (
            later({'images': 0, 'boxes': 0}),
            {},
            Level.WARN,
            'no message on inference/detections and lidar_inference/detections since the last '
            'report',
        ),
        (later(errors=3, last_error='no TF'), {}, Level.ERROR, 'nothing usable: no TF'),
        (
            later(errors=3, fused=1, last_error='no TF'),
            {},
            Level.WARN,
            '3 unusable messages: no TF',
        ),
    ],
)
def test_the_rate_is_judged(now, limits, level, message):
    judged = rate_health(FusionConfig(**limits), now, BEFORE)
    assert (judged.level, judged.message) == (level, message)
    assert judged.values['published'] == str(now.fused)


@pytest.mark.parametrize(
    ('now', 'limits', 'level', 'message'),
    [
        (later(), {}, Level.OK, 'no box of the lidar in view of the camera'),
        (
            later(visible=10, matched=2),
            {},
            Level.OK,
            '2 of 10 boxes in view have a partner in the image',
        ),
        (
            later(visible=10, matched=2),
            {'min_matched_percent': 20.0},
            Level.OK,
            '2 of 10 boxes in view have a partner in the image',
        ),
        (
            later(visible=10, matched=1),
            {'min_matched_percent': 20.0},
            Level.WARN,
            '1 of 10 boxes in view have a partner in the image, below 20 %; is the extrinsic '
            'right, and do label_groups name the labels?',
        ),
    ],
)
def test_the_share_of_matches_is_judged(now, limits, level, message):
    judged = match_health(FusionConfig(**limits), now, BEFORE)
    assert (judged.level, judged.message) == (level, message)
    assert judged.values['matched (%)'] == (
        'unknown' if now.visible == BEFORE.visible else f'{10 * (now.matched - 100):.1f}'
    )


@pytest.mark.parametrize(
    ('sync', 'level', 'message'),
    [
        ({'paired': 20}, Level.OK, '20 pairs since the last report'),
        (
            {'paired': 17, 'unsynchronised': 3, 'gap_ms': 75.0},
            Level.WARN,
            '3 of 20 clouds have no image within 50 ms; the nearest to the last one is 75.0 ms off',
        ),
        ({'unsynchronised': 3}, Level.ERROR, '3 of 3 clouds have no image within 50 ms'),
        (
            {'paired': 1, 'late': 19},
            Level.WARN,
            '19 clouds were no newer than one before; do they have stamps?',
        ),
    ],
)
def test_synchronisation_is_judged(sync, level, message):
    judged = sync_health(FusionConfig(), later(sync), BEFORE)
    assert (judged.level, judged.message) == (level, message)
    assert judged.values['last gap (ms)'] == ('75.0' if 'gap_ms' in sync else 'unknown')


@pytest.mark.parametrize(
    ('camera', 'problem', 'level', 'message'),
    [
        ('640x480, a pinhole', '', Level.OK, '640x480, a pinhole'),
        ('', '', Level.ERROR, 'no CameraInfo on info yet; is it published?'),
        ('', 'K is all zeros', Level.ERROR, 'info: K is all zeros'),
    ],
)
def test_a_missing_or_broken_calibration_is_an_error(camera, problem, level, message):
    judged = camera_health('info', camera, problem)
    assert (judged.level, judged.message) == (level, message)


def test_a_missing_transform_is_an_error():
    assert transform_health('TF', '').level == Level.OK
    judged = transform_health('TF', 'TF has no transform')
    assert (judged.level, judged.message) == (Level.ERROR, 'TF has no transform')
