# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""How much counters grew within a window; what they counted since boot says little."""

from __future__ import annotations

from collections import defaultdict
from collections import deque
from collections.abc import Mapping

from jetson_monitor.sample import Sample

_GAUGES = ('swap_used_mib',)


def is_counter(name: str) -> bool:
    """Return whether a value only ever counts up, until the board starts again."""
    return name == 'oom_kills' or name.endswith('_events')


class Growth:
    """Follows the counters of successive samples, and the gauges whose growth is judged.

    The first value of a counter is its baseline: what happened before is not news. A counter that
    went down was set back, and what it says then is a new baseline.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._seen: defaultdict[str, deque[tuple[float, float]]] = defaultdict(deque)

    def add(self, sample: Sample) -> Mapping[str, float]:
        """Take one more sample; return the growth of each figure in it within the window."""
        grown = {}
        for name, value in sample.values.items():
            if not (is_counter(name) or name in _GAUGES):
                continue
            seen = self._seen[name]
            if seen and value < seen[-1][1] and is_counter(name):
                seen.clear()
            seen.append((sample.monotonic_s, value))
            # The newest value from before the window is where the window begins.
            while len(seen) > 1 and seen[1][0] <= sample.monotonic_s - self._window_s:
                seen.popleft()
            grown[name] = value - seen[0][1]
        return grown
