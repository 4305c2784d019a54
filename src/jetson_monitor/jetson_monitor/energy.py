# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the board draws in all, and the energy that goes with it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
import threading
from typing import NamedTuple

from jetson_monitor.sample import Sample

_NOT_NOW = ('_average', '_peak', '_limit')  # rail_vdd_in_average_mw is no rail of its own
_TOTAL_RAILS = ('vin', 'vdd_in', 'pom_5v_in')
_LONGEST_GAP_S = 2.5  # of a longer one nobody knows what was drawn meanwhile
_JOULES_PER_MILLIWATT_HOUR = 3.6


class TotalPower(NamedTuple):
    """What the board draws, and which rail, or sum of rails, says so."""

    rail: str
    milliwatts: float


def total_power(sample: Sample) -> TotalPower | None:
    """Return the power of the rail that feeds the board, else the sum of all rails.

    Returns:
        The power with the name of the rail, or `sum of ...` with the names of all; None where no
        rail is known.
    """
    rails = {
        rail: milliwatts
        for rail, milliwatts in sample.matching('rail_', '_mw').items()
        if not rail.endswith(_NOT_NOW)
    }
    for rail in _TOTAL_RAILS:
        if rail in rails:
            return TotalPower(rail, rails[rail])
    if not rails:
        return None
    return TotalPower('sum of ' + ', '.join(sorted(rails)), sum(rails.values()))


@dataclass(frozen=True)
class Energy:
    """Energy drawn over some time.

    Attributes:
        rail: The rail, or sum of rails, that it was measured at.
        joules: The energy.
        covered_s: The seconds that it was drawn in; gaps without samples are left out.
    """

    rail: str
    joules: float
    covered_s: float

    @property
    def milliwatts(self) -> float | None:
        """Return the mean power; None over no time."""
        return 1000 * self.joules / self.covered_s if self.covered_s else None

    def per_inference(self, inferences: int) -> PerInference | None:
        """Return the share of each of so many inferences in that time; None where there was none.

        It is the whole board's energy: what else it did meanwhile is in it.
        """
        if inferences <= 0 or not self.covered_s:
            return None
        joules = self.joules / inferences
        return PerInference(joules, joules / _JOULES_PER_MILLIWATT_HOUR)


class PerInference(NamedTuple):
    """The energy of one inference, in both units that are usual."""

    joules: float
    milliwatt_hours: float


class _Step(NamedTuple):
    end_s: float
    joules: float
    covered_s: float


class EnergyMeter:
    """Sums power over time, in all and over a window.

    Between two samples the mean of both counts. Where the rail changes, since a source was lost,
    all begins anew: figures of different rails do not add up.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._begin(None)

    def _begin(self, rail: str | None) -> None:
        self._rail = rail
        self._last: tuple[float, float] | None = None
        self._steps: deque[_Step] = deque()
        self._joules = 0.0
        self._covered_s = 0.0

    def add(self, sample: Sample) -> None:
        """Take one more sample."""
        power = total_power(sample)
        if power is None:
            self._last = None
            return
        if power.rail != self._rail:
            self._begin(power.rail)
        now_s = sample.monotonic_s
        if self._last is not None:
            before_s, before_mw = self._last
            step_s = now_s - before_s
            if 0 < step_s <= _LONGEST_GAP_S:
                joules = step_s * (before_mw + power.milliwatts) / 2000
                self._steps.append(_Step(now_s, joules, step_s))
                self._joules += joules
                self._covered_s += step_s
        self._last = now_s, power.milliwatts
        while self._steps and self._steps[0].end_s <= now_s - self._window_s:
            self._steps.popleft()

    @property
    def total(self) -> Energy | None:
        """Return the energy since the start; None where no power is known."""
        return Energy(self._rail, self._joules, self._covered_s) if self._rail else None

    @property
    def window(self) -> Energy | None:
        """Return the energy over the last window; None where no power is known."""
        if not self._rail:
            return None
        joules = sum(each.joules for each in self._steps)
        return Energy(self._rail, joules, sum(each.covered_s for each in self._steps))


class InferenceCount:
    """Counts inferences over a window, from what an inference node says it has done so far.

    One thread may add while another asks.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._lock = threading.Lock()
        self._added: deque[tuple[float, int]] = deque()
        self._last: int | None = None

    def add(self, inferences: int, at_s: float) -> None:
        """Take how many there were so far; fewer than before are those of a node started anew."""
        with self._lock:
            if self._last is not None:
                new = inferences - self._last
                self._added.append((at_s, new if new >= 0 else inferences))
            self._last = inferences
            while self._added and self._added[0][0] <= at_s - self._window_s:
                self._added.popleft()

    def since(self, begin_s: float) -> int:
        """Return how many there were after that moment, which lies within the window."""
        with self._lock:
            return sum(count for at_s, count in self._added if at_s > begin_s)
