# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Engines that the builder node was asked for: how far each is, and how the last one ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
import threading
import time
from typing import Literal

from trt_builder.build_process import Progress
from trt_builder.builder import EngineBuilder
from trt_builder.builder import Outcome
from trt_engine.card import load_card
from trt_engine.card import with_overrides
from trt_engine.errors import CardError

FEEDBACK_PERIOD_S = 0.1

_NOT_BEGUN = Progress('waiting', 0.0, 'not begun yet', 0.0)


@dataclass(eq=False)
class Job:
    """One engine that was asked for; one thread builds it, others look on.

    Attributes:
        card: Name or path of the model card.
        onnx: A model file in place of the card's own; '' for the card's.
        overrides: Build settings in place of the card's, as `with_overrides` takes them.
        force: Build even if the store has the engine.
        cancel: Ends the build once set.
        progress: How far it is.
    """

    card: str
    onnx: str = ''
    overrides: tuple[str, ...] = ()
    force: bool = False
    clock: Callable[[], float] = time.monotonic
    cancel: threading.Event = field(default_factory=threading.Event)
    progress: Progress = _NOT_BEGUN

    def __post_init__(self) -> None:
        self._asked_s = self.clock()

    @property
    def elapsed_s(self) -> float:
        """Return the seconds since it was asked for."""
        return self.clock() - self._asked_s

    def run(
        self, builder: EngineBuilder, *, allow_few: bool, report: Callable[[Progress], None]
    ) -> Outcome:
        """Build the engine; see `EngineBuilder.build` for what else that raises.

        Args:
            builder: What builds.
            allow_few: Whether few calibration samples will do.
            report: Called with the first and the last progress of each phase, and at most ten
                times a second in between.

        Raises:
            CardError: There is no such card, or it cannot take the overrides.
        """
        thinned = Thinned(report, FEEDBACK_PERIOD_S, self.clock)

        def note(progress: Progress) -> None:
            self.progress = progress
            thinned(progress)

        try:
            if not self.card:
                raise CardError('no card was named; wanted the name or path of one, such as demo')
            card = with_overrides(
                load_card(self.card, onnx=self.onnx or None), list(self.overrides)
            )
            return builder.build(
                card, force=self.force, allow_few=allow_few, progress=note, cancel=self.cancel
            )
        finally:
            thinned.flush()


@dataclass(frozen=True)
class Ending:
    """How a job ended."""

    card: str
    status: Literal['built', 'reused', 'refused', 'cancelled']
    reason: str

    def __str__(self) -> str:
        return f'{self.card}: {self.status}: {self.reason}'


@dataclass
class Jobs:
    """All jobs in hand, in the order in which they were asked for."""

    in_hand: list[Job] = field(default_factory=list)
    last: Ending | None = None

    @property
    def front(self) -> Job | None:
        """Return the job that is being built, or will be next; None if there is none."""
        at_work = (job for job in self.in_hand if job.progress.phase != 'waiting')
        return next(at_work, self.in_hand[0] if self.in_hand else None)

    @property
    def queued(self) -> int:
        """Return how many others there are."""
        return max(len(self.in_hand) - 1, 0)


class Thinned:
    """Lets through the first and the last progress of each phase, and a few in between.

    What only says the same again, as waiting does, is not told again.
    """

    def __init__(
        self,
        report: Callable[[Progress], None],
        period_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report, self._period_s, self._clock = report, period_s, clock
        self._last: Progress | None = None
        self._held = False
        self._reported_s = 0.0

    def __call__(self, progress: Progress) -> None:
        """Report a progress now, or hold it until the next, or `flush`, shows if it is the last."""
        last = self._last
        new_phase = last is None or progress.phase != last.phase
        if last is not None and replace(progress, elapsed_s=last.elapsed_s) == last:
            return
        if new_phase:
            self.flush()
        self._last, self._held = progress, True
        if new_phase or self._clock() - self._reported_s >= self._period_s:
            self.flush()

    def flush(self) -> None:
        """Report what was held back."""
        if self._held and self._last is not None:
            self._held = False
            self._reported_s = self._clock()
            self._report(self._last)
