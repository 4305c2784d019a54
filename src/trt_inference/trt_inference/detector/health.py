# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Says from the figures of a sensor, and from what runs the network, whether all is well."""

from __future__ import annotations

from dataclasses import dataclass

from trt_engine.health import Health
from trt_engine.health import Level
from trt_engine.health import number
from trt_inference.detector.config import DetectorConfig
from trt_inference.detector.config import Stream
from trt_inference.detector.worker import StreamStatistics

RATE_TOLERANCE = 0.9  # of the expected rate


@dataclass(frozen=True)
class Counts:
    """The counters of a sensor at one moment, in seconds of a clock that never goes back."""

    at_s: float
    frames: int = 0
    dropped: int = 0
    errors: int = 0


def stream_health(
    config: DetectorConfig,
    stream: Stream,
    statistics: StreamStatistics,
    now: Counts,
    before: Counts,
) -> Health:
    """Judge one sensor by what happened between two moments and by its recent latencies.

    Args:
        config: The limits.
        stream: The sensor.
        statistics: Its figures.
        now: Its counters now.
        before: Its counters when it was judged last.
    """
    elapsed_s = now.at_s - before.at_s
    fps = (now.frames - before.frames) / elapsed_s if elapsed_s > 0 else None
    latency = statistics.total_ms.summary()
    p99 = latency.p99_ms
    values = {
        'topic': stream.source,
        'rate (Hz)': number(fps),
        'expected rate (Hz)': number(config.expected_rate_hz or None),
        'latency p50 (ms)': number(latency.p50_ms),
        'latency p99 (ms)': number(p99),
        'latency limit (ms)': number(config.latency_limit_ms or None),
        'age of the last frame (ms)': number(statistics.age_ms),
        'frames': str(now.frames),
        'dropped': str(now.dropped),
        'errors': str(now.errors),
        'last error': statistics.last_error,
    }
    looked_at, failed = now.frames - before.frames, now.errors - before.errors
    dropped = now.dropped - before.dropped
    if failed and not looked_at:
        return Health(
            Level.ERROR,
            f'no usable message on {stream.source}: {statistics.last_error}',
            values,
        )
    if not looked_at and not dropped:
        return Health(Level.WARN, f'no message on {stream.source} since the last report', values)
    if failed:
        return Health(
            Level.WARN, f'{failed} of {failed + looked_at} messages were unusable', values
        )
    if config.expected_rate_hz and (fps or 0.0) < RATE_TOLERANCE * config.expected_rate_hz:
        return Health(
            Level.WARN,
            f'{number(fps)} Hz, below {RATE_TOLERANCE:.0%} of the expected '
            f'{config.expected_rate_hz:g} Hz',
            values,
        )
    if config.latency_limit_ms and p99 is not None and p99 > config.latency_limit_ms:
        return Health(
            Level.WARN,
            f'p99 latency {p99:.1f} ms, above the limit of {config.latency_limit_ms:g} ms',
            values,
        )
    if dropped > looked_at:
        why = 'slower than the sensor'
        if config.max_age_ms:
            why += f', or older than max_age_ms ({config.max_age_ms:g} ms)'
        return Health(
            Level.WARN, f'{dropped} of {dropped + looked_at} frames dropped: {why}', values
        )
    return Health(Level.OK, f'{number(fps)} Hz', values)


def backend_health(
    name: str, reason: str, fell_back: bool, identity: str, model: str, pipeline: str, key: str = ''
) -> Health:
    """Say what runs the network; a fall-back from TensorRT is a warning for as long as it lasts.

    Args:
        name: Of the backend.
        reason: Why it is this one.
        fell_back: Whether it is not the one that was preferred.
        identity: Library, device and engine.
        model: Name of the card.
        pipeline: gpu or cpu, where images are prepared and outputs decoded, and what is to be
            said of that.
        key: Of the engine; '' where there is none.
    """
    values = {
        'backend': name,
        'chosen because': reason,
        'engine': identity,
        'model': model,
        'pipeline': pipeline,
    }
    if key:
        values['engine key'] = key
    return Health(Level.WARN if fell_back else Level.OK, f'{name}: {reason}', values)
