# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""When each item of a recording is due, at true or scaled speed, once or again and again."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
import time

from trt_inference.replay.sources import Item
from trt_inference.replay.sources import Source


class Schedule:
    """Due times on a clock that never jumps; delays do not add up, since the start is fixed."""

    def __init__(self, rate: float, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._rate = rate
        self._clock_ns = clock_ns
        self._start: tuple[int, int] | None = None

    def remaining_ns(self, t_ns: int) -> int:
        """Return how long until an item of that time is due; negative where it is late.

        The first item asked about is due at once and starts the clock.
        """
        now_ns = self._clock_ns()
        if self._start is None:
            self._start = (t_ns, now_ns)
        first_ns, start_ns = self._start
        return round((t_ns - first_ns) / self._rate) - (now_ns - start_ns)

    def time_ns(self) -> int:
        """Return where on the recording's clock we are; 0 before the first item."""
        if self._start is None:
            return 0
        first_ns, start_ns = self._start
        return first_ns + round((self._clock_ns() - start_ns) * self._rate)


@dataclass(frozen=True)
class Played:
    """An item in its lap: `shift_ns` is what the laps before it took."""

    item: Item
    shift_ns: int

    @property
    def t_ns(self) -> int:
        """Return the time on the recording's clock as if it had gone on from lap to lap."""
        return self.item.t_ns + self.shift_ns


def play(source: Source, loop: bool) -> Iterator[Played]:
    """Yield the items of a source, from the beginning again at its end if `loop`.

    One period of the source lies between the last item of a lap and the first of the next.
    """
    shift_ns = 0
    while True:
        first_ns = last_ns = None
        for item in source:
            first_ns = item.t_ns if first_ns is None else first_ns
            last_ns = item.t_ns
            yield Played(item, shift_ns)
        if not loop or first_ns is None or last_ns is None:
            return
        shift_ns += last_ns - first_ns + source.period_ns


class StampShift:
    """Moves recorded stamps so that the first becomes now, and the others keep their distance.

    Distances are divided by the rate; equal stamps stay equal, so that an image still finds its
    CameraInfo.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._first: tuple[int, int] | None = None

    def __call__(self, stamp_ns: int, now_ns: int) -> int:
        """Return the new stamp of a message that was stamped `stamp_ns` and is due at `now_ns`."""
        if self._first is None:
            self._first = (stamp_ns, now_ns)
        first_stamp_ns, first_now_ns = self._first
        return first_now_ns + round((stamp_ns - first_stamp_ns) / self._rate)
