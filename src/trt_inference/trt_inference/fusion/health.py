# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Says from the counters of the fusion node whether camera and lidar are brought together."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field

from trt_engine.health import Health
from trt_engine.health import Level
from trt_engine.health import number
from trt_inference.detector.health import RATE_TOLERANCE
from trt_inference.fusion.config import FusionConfig
from trt_inference.fusion.sync import SyncCounts


@dataclass(frozen=True)
class FusionCounts:
    """The counters of the node at one moment, in seconds of a clock that never goes back.

    Attributes:
        at_s: When.
        sync: Of the messages.
        fused: Pairs that were published.
        errors: Messages and pairs that were not usable.
        visible: Boxes of the lidar that the camera could see.
        matched: Of these, boxes with a partner in the image.
        last_error: What was wrong with the last that was not usable.
    """

    at_s: float
    sync: SyncCounts = field(default_factory=SyncCounts)
    fused: int = 0
    errors: int = 0
    visible: int = 0
    matched: int = 0
    last_error: str = ''


def rate_health(config: FusionConfig, now: FusionCounts, before: FusionCounts) -> Health:
    """Judge how many pairs were published between two moments."""
    elapsed_s = now.at_s - before.at_s
    fused, errors = now.fused - before.fused, now.errors - before.errors
    rate_hz = fused / elapsed_s if elapsed_s > 0 else None
    values = {
        'rate (Hz)': number(rate_hz),
        'expected rate (Hz)': number(config.expected_rate_hz or None),
        'published': str(now.fused),
        'errors': str(now.errors),
        'last error': now.last_error,
        'skipped for newer ones': str(now.sync.skipped),
    }
    if errors and not fused:
        return Health(Level.ERROR, f'nothing usable: {now.last_error}', values)
    silent = [
        topic
        for topic, came in (
            (config.image_detections_topic, now.sync.images - before.sync.images),
            (config.lidar_detections_topic, now.sync.boxes - before.sync.boxes),
        )
        if not came
    ]
    if silent:
        topics = ' and '.join(silent)
        return Health(Level.WARN, f'no message on {topics} since the last report', values)
    if errors:
        return Health(Level.WARN, f'{errors} unusable messages: {now.last_error}', values)
    if config.expected_rate_hz and (rate_hz or 0.0) < RATE_TOLERANCE * config.expected_rate_hz:
        return Health(
            Level.WARN,
            f'{number(rate_hz)} Hz, below {RATE_TOLERANCE:.0%} of the expected '
            f'{config.expected_rate_hz:g} Hz',
            values,
        )
    return Health(Level.OK, f'{number(rate_hz)} Hz', values)


def match_health(config: FusionConfig, now: FusionCounts, before: FusionCounts) -> Health:
    """Judge how many of the boxes that the camera could see had a partner in the image."""
    visible, matched = now.visible - before.visible, now.matched - before.matched
    percent = 100 * matched / visible if visible else None
    values = {
        'matched (%)': number(percent),
        'wanted at least (%)': number(config.min_matched_percent or None),
        'boxes in view': str(now.visible),
        'matched': str(now.matched),
    }
    if percent is None:
        return Health(Level.OK, 'no box of the lidar in view of the camera', values)
    message = f'{matched} of {visible} boxes in view have a partner in the image'
    if percent < config.min_matched_percent:
        return Health(
            Level.WARN,
            f'{message}, below {config.min_matched_percent:g} %; is the extrinsic right, and do '
            'label_groups name the labels?',
            values,
        )
    return Health(Level.OK, message, values)


def sync_health(config: FusionConfig, now: FusionCounts, before: FusionCounts) -> Health:
    """Judge how many messages of the lidar had no image near enough in time."""
    new, old = now.sync, before.sync
    lost, late = new.unsynchronised - old.unsynchronised, new.late - old.late
    paired = new.paired - old.paired
    values = {
        'tolerance (ms)': f'{config.tolerance_ms:g}',
        'paired': str(new.paired),
        'without an image in time': str(new.unsynchronised),
        'last gap (ms)': number(new.gap_ms),
        'not newer than one before': str(new.late),
        'stamps jumped back': str(new.restarts),
    }
    if lost:
        share, limit_ms = f'{lost} of {lost + paired}', config.tolerance_ms
        message = f'{share} clouds have no image within {limit_ms:g} ms'
        if new.gap_ms is not None:
            message += f'; the nearest to the last one is {new.gap_ms:.1f} ms off'
        return Health(Level.WARN if paired else Level.ERROR, message, values)
    if late:
        return Health(
            Level.WARN, f'{late} clouds were no newer than one before; do they have stamps?', values
        )
    return Health(Level.OK, f'{paired} pairs since the last report', values)


def camera_health(topic: str, camera: str, problem: str) -> Health:
    """Say whether there is a calibration.

    Args:
        topic: Where it is to come from.
        camera: What came, in words; '' for nothing yet, or nothing usable.
        problem: Why what came last cannot be used; '' where it can.
    """
    values = {'topic': topic, 'camera': camera}
    if problem:
        return Health(Level.ERROR, f'{topic}: {problem}', values)
    if not camera:
        return Health(Level.ERROR, f'no CameraInfo on {topic} yet; is it published?', values)
    return Health(Level.OK, camera, values)


def transform_health(source: str, problem: str) -> Health:
    """Say whether it is known where lidar and camera are.

    Args:
        source: Where that is known from.
        problem: Why it was not known for the last pair; '' where it was.
    """
    values = {'source': source}
    return Health(Level.ERROR, problem, values) if problem else Health(Level.OK, source, values)
