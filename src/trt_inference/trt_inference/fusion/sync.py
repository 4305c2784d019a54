# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Finds for each message of one topic that of another which is nearest to it in time."""

from __future__ import annotations

from bisect import bisect_left
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic
from typing import TypeVar

Image = TypeVar('Image')
Boxes = TypeVar('Boxes')

# A stamp this far before the newest is no late message: the recording began again.
_RESTART_NS = 1_000_000_000


@dataclass(frozen=True)
class SyncCounts:
    """What became of the messages so far; the boxes are that of which each is to have a pair.

    Attributes:
        images: Came.
        boxes: Came.
        paired: Boxes that were given out with an image.
        unsynchronised: Boxes without an image near enough in time.
        late: Boxes that were no newer than what had been given out.
        skipped: Boxes for which nobody had time before newer ones had their image.
        restarts: How often the stamps jumped back.
        gap_ms: Of the last of the unsynchronised, the time to the nearest image, where there was
            one.
    """

    images: int = 0
    boxes: int = 0
    paired: int = 0
    unsynchronised: int = 0
    late: int = 0
    skipped: int = 0
    restarts: int = 0
    gap_ms: float | None = None


@dataclass(frozen=True)
class _Waiting(Generic[Boxes]):
    """Boxes that wait for an image."""

    stamp_ns: int
    arrived_s: float
    item: Boxes


class StampPairs(Generic[Image, Boxes]):
    """Pairs boxes with images by header stamp; one thread at a time may call it.

    Boxes have found their image once none can come that is nearer: when an image as new as they,
    or newer, is there. If messages of a topic come in order, the pairs do not depend on which topic
    is faster. An image serves all the boxes that are nearest to it. Of two images that are equally
    near the newer is taken.

    Args:
        tolerance_ns: Most that the stamps of a pair may differ.
        wait_s: How long boxes wait for a nearer image where there is one near enough already.
        depth: Most messages of each topic that are held.
        clock: Seconds that never go back.
    """

    def __init__(
        self, tolerance_ns: int, wait_s: float, depth: int, clock: Callable[[], float]
    ) -> None:
        self._tolerance_ns = tolerance_ns
        self._wait_s = wait_s
        self._depth = depth
        self._clock = clock
        self._images: list[tuple[int, int, Image]] = []
        self._waiting: list[_Waiting[Boxes]] = []
        self._given_ns: int | None = None
        self._counted = dict.fromkeys(
            ('images', 'boxes', 'paired', 'unsynchronised', 'late', 'skipped', 'restarts'), 0
        )
        self._gap_ms: float | None = None

    @property
    def counts(self) -> SyncCounts:
        """Return what became of the messages so far."""
        return SyncCounts(**self._counted, gap_ms=self._gap_ms)

    def put_image(self, stamp_ns: int, image: Image) -> None:
        """Take what was seen in an image; the oldest goes when there are too many."""
        self._counted['images'] += 1
        if self._images and stamp_ns < self._images[-1][0] - _RESTART_NS:
            self._restart()
        # the count keeps those of one stamp in the order in which they came
        insort(self._images, (stamp_ns, self._counted['images'], image), key=lambda each: each[:2])
        del self._images[: -self._depth]

    def put_boxes(self, stamp_ns: int, boxes: Boxes) -> None:
        """Take boxes that are to have an image; the oldest go when there are too many."""
        self._counted['boxes'] += 1
        newest_ns = self._waiting[-1].stamp_ns if self._waiting else self._given_ns
        if newest_ns is not None and stamp_ns < newest_ns - _RESTART_NS:
            self._restart()
        if self._given_ns is not None and stamp_ns <= self._given_ns:
            self._counted['late'] += 1
            return
        waiting = _Waiting(stamp_ns, self._clock(), boxes)
        insort(self._waiting, waiting, key=lambda each: each.stamp_ns)
        while len(self._waiting) > self._depth:
            self._lose(self._waiting.pop(0))

    def take(self) -> tuple[Image, Boxes] | None:
        """Return the newest boxes that have found their image, with it; older ones are skipped."""
        found: list[tuple[int, Image, Boxes]] = []
        undecided = []
        for waiting in self._waiting:
            nearest = self._nearest(waiting.stamp_ns)
            near = nearest is not None and self._gap_ns(nearest, waiting) <= self._tolerance_ns
            if not (self._has_passed(waiting) or (near and self._due_in_s(waiting) <= 0)):
                undecided.append(waiting)
            elif nearest is None or not near:
                self._lose(waiting)
            else:
                found.append((waiting.stamp_ns, self._images[nearest][2], waiting.item))
        self._waiting = undecided
        if not found:
            return None
        given_ns, image, boxes = found[-1]
        self._given_ns = given_ns
        self._waiting = [each for each in undecided if each.stamp_ns > given_ns]
        self._counted['late'] += len(undecided) - len(self._waiting)
        self._counted['skipped'] += len(found) - 1
        self._counted['paired'] += 1
        return image, boxes

    def due_in_s(self) -> float | None:
        """Return after how many seconds `take` may find more without another message; or None."""
        times = [
            self._due_in_s(each)
            for each in self._waiting
            if (nearest := self._nearest(each.stamp_ns)) is not None
            and self._gap_ns(nearest, each) <= self._tolerance_ns
        ]
        return max(0.0, min(times)) if times else None

    def _nearest(self, stamp_ns: int) -> int | None:
        """Return the index of the image that is nearest to a stamp, the newer of two."""
        if not self._images:
            return None
        after = bisect_left(self._images, stamp_ns, key=lambda each: each[0])
        candidates = [each for each in (after - 1, after) if 0 <= each < len(self._images)]
        nearest = min(candidates, key=lambda each: (abs(self._images[each][0] - stamp_ns), -each))
        # of images with that very stamp the last to come
        while nearest + 1 < len(self._images) and (
            self._images[nearest + 1][0] == self._images[nearest][0]
        ):
            nearest += 1
        return nearest

    def _gap_ns(self, image: int, waiting: _Waiting[Boxes]) -> int:
        return abs(self._images[image][0] - waiting.stamp_ns)

    def _has_passed(self, waiting: _Waiting[Boxes]) -> bool:
        return bool(self._images) and self._images[-1][0] >= waiting.stamp_ns

    def _due_in_s(self, waiting: _Waiting[Boxes]) -> float:
        return waiting.arrived_s + self._wait_s - self._clock()

    def _lose(self, waiting: _Waiting[Boxes]) -> None:
        self._counted['unsynchronised'] += 1
        nearest = self._nearest(waiting.stamp_ns)
        self._gap_ms = None if nearest is None else self._gap_ns(nearest, waiting) / 1e6

    def _restart(self) -> None:
        self._counted['unsynchronised'] += len(self._waiting)
        self._counted['restarts'] += 1
        self._images, self._waiting, self._given_ns = [], [], None
