# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps the newest frame of each camera; what it replaces is counted as dropped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import threading
import time


@dataclass(frozen=True)
class Frame:
    """A message as it arrived."""

    stream: int
    serialized: bytes
    arrived_s: float

    @property
    def prepared_ms(self) -> float:
        """Return what was spent on it before anyone took it."""
        return 0.0


class LatestFrames:
    """One slot for each camera, filled by the executor thread, emptied by the worker thread.

    Cameras take turns, so that a fast one cannot starve a slow one.

    Args:
        streams: How many cameras.
        clock: Seconds, the clock of `Frame.arrived_s`.
    """

    def __init__(self, streams: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._slots: list[Frame | None] = [None] * streams
        self._dropped = [0] * streams
        self._next = 0
        self._closed = False
        self._clock = clock
        self._changed = threading.Condition()

    def put(self, frame: Frame) -> None:
        """Store a frame; one that nobody took is dropped for it."""
        with self._changed:
            if self._closed:
                return
            if self._slots[frame.stream] is not None:
                self._dropped[frame.stream] += 1
            self._slots[frame.stream] = frame
            self._changed.notify()

    def take(self, limit: int = 1, *, wait: bool = True, linger_s: float = 0.0) -> list[Frame]:
        """Return the newest frames of at most `limit` cameras, whose turn it is.

        Args:
            limit: How many at most.
            wait: Whether to wait for a first one; else there may be none.
            linger_s: How long after its arrival the first one may wait for those of others.

        Returns:
            One frame for each camera; none where there is none, or once closed.
        """
        limit = min(limit, len(self._slots))
        until: float | None = None
        with self._changed:
            while not self._closed:
                waiting = [frame for frame in self._slots if frame and self._may_go(frame)]
                if not waiting and not wait:
                    break
                if len(waiting) >= limit or (waiting and not linger_s):
                    return self._take(limit)
                if not waiting:
                    self._changed.wait()
                    continue
                if until is None:
                    until = min(frame.arrived_s for frame in waiting) + linger_s
                remaining_s = until - self._clock()
                if remaining_s <= 0:
                    return self._take(limit)
                self._changed.wait(remaining_s)
            return []

    def _take(self, limit: int) -> list[Frame]:
        taken: list[Frame] = []
        first = self._next
        for turn in range(len(self._slots)):
            index = (first + turn) % len(self._slots)
            frame = self._slots[index]
            if frame and self._may_go(frame) and len(taken) < limit:
                self._slots[index] = None
                self._next = (index + 1) % len(self._slots)
                taken.append(frame)
        return taken

    def _may_go(self, frame: Frame) -> bool:
        """Return whether a frame may be taken now."""
        return True

    @property
    def closed(self) -> bool:
        """Return whether no more frames will come."""
        return self._closed

    def dropped(self, stream: int) -> int:
        """Return how many frames of a camera were replaced before anyone took them."""
        with self._changed:
            return self._dropped[stream]

    def close(self) -> None:
        """Wake the waiting thread for good; frames still waiting are forgotten."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
