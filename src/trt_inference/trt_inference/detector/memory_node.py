# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a node does about its memory budget: refuses or warns, logs it, and tells diagnostics."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from diagnostic_updater import DiagnosticStatusWrapper

from trt_engine.conversions import fill
from trt_engine.errors import PerceptionError
from trt_engine.memory.budget import Budget
from trt_inference.detector.memory import budget_health


class MemoryCheck:
    """The judge of a node's budgets.

    Attributes:
        refuses: Whether what does not fit is refused, or only warned of.
        budget: As last judged; None before, and where frames are not looked at on the GPU.
    """

    def __init__(self, log: Any) -> None:
        """Begin without a budget.

        Args:
            log: The logger of the node.
        """
        self.refuses = True
        self.budget: Budget | None = None
        self._log = log

    def foresee(self, name: str, reckon: Callable[[], Budget]) -> None:
        """Refuse an engine that will not fit; where nobody can tell, say so and go on.

        Args:
            name: Of the network.
            reckon: Returns the budget, or raises PerceptionError.

        Raises:
            MemoryBudgetError: It will not fit.
        """
        try:
            budget = reckon()
        except PerceptionError as exc:
            self._log.warning(f'what {name} takes of memory is not known: {exc}')
        else:
            self._weigh(budget)

    def start(self, budget: Budget | None) -> None:
        """Judge the budget of a network that is loaded, and log it; None where there is none.

        Raises:
            MemoryBudgetError: It does not fit.
        """
        self.budget = None
        if budget is not None:
            self.judge(budget)
            self._log.info('\n'.join(['memory:', *budget.lines()]))

    def judge(self, budget: Budget) -> None:
        """Judge what takes the place of the budget before; in any thread.

        Raises:
            MemoryBudgetError: It does not fit.
        """
        self.budget = budget
        self._weigh(budget)

    def tasks(self) -> Sequence[tuple[str, Callable[..., DiagnosticStatusWrapper]]]:
        """Return name and maker of diagnostics, where there is a budget."""
        return () if self.budget is None else (('memory', self._diagnose),)

    def _weigh(self, budget: Budget) -> None:
        if self.refuses:
            budget.require()
        if budget.verdict != 'ok':
            self._log.warning(budget.text)

    def _diagnose(self, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        assert self.budget is not None
        return fill(status, budget_health(self.budget))
