# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a stream of detections looks like in one line, and at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence
import math

from trt_engine.timing import LatencyWindow
from trt_engine.timing import Rate


class Summary:
    """Counts frames and detections; `line` is for while it runs, `report` for the end.

    Args:
        clock: Returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.frames = 0
        self._clock = clock
        self._rate = Rate(clock)
        self._first_s = self._last_s = clock()
        self._latency = LatencyWindow()
        self._now: Counter[str] = Counter()
        self._total: Counter[str] = Counter()
        self._dropped = self._errors = 0
        self._backend = ''

    @property
    def idle_s(self) -> float:
        """Return the time since the last frame; before the first, since the beginning."""
        return self._clock() - self._last_s

    def add_frame(self, classes: Sequence[str]) -> None:
        """Take the class names of the detections in one frame."""
        self._last_s = self._clock()
        if not self.frames:
            self._first_s = self._last_s
        self.frames += 1
        self._rate.tick()
        self._now = Counter(classes)
        self._total.update(classes)

    def add_stats(self, total_ms: float, dropped: int, errors: int, backend: str) -> None:
        """Take what the node says about itself: latency of one frame, counts so far."""
        if math.isfinite(total_ms):
            self._latency.add(total_ms)
        self._dropped, self._errors, self._backend = dropped, errors, backend

    def line(self) -> str:
        """Return the present state: frames, rate, latency, and what is in the newest frame."""
        latency = self._latency.summary()
        parts = [
            f'frames {self.frames}',
            f'{_number(self._rate.per_second())} fps',
            f'p50 {_number(latency.p50_ms)} ms',
            f'p99 {_number(latency.p99_ms)} ms',
            *([f'dropped {self._dropped}'] if self._dropped else []),
            *([f'errors {self._errors}'] if self._errors else []),
            _listed(self._now) or 'no detections',
        ]
        return '  '.join(parts)

    def report(self) -> str:
        """Return two lines about the whole stream; one where no frame came."""
        if not self.frames:
            return 'no frames'
        latency = self._latency.summary()
        duration_s = self._last_s - self._first_s
        rate = (self.frames - 1) / duration_s if duration_s > 0 else None
        backend = f' on {self._backend}' if self._backend else ''
        return (
            f'{self.frames} frames in {duration_s:.1f} s, {_number(rate)} fps, '
            f'p50 {_number(latency.p50_ms)} ms, p99 {_number(latency.p99_ms)} ms, '
            f'{self._dropped} dropped, {self._errors} errors{backend}\n'
            f'detections in all frames: {_listed(self._total) or "none"}'
        )


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.1f}'


def _listed(counts: Counter[str]) -> str:
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    return ', '.join(f'{name} {count}' for name, count in ordered)
