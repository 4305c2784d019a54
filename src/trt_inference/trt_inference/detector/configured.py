# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What `configure` makes of a network, whichever its sensor: all that an active node needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from typing import Protocol

from trt_engine.backend import Backend
from trt_engine.backends import Choice
from trt_engine.card import Card
from trt_engine.card import Thresholds
from trt_engine.entry import Entry
from trt_engine.health import Health
from trt_inference.detector.health import backend_health
from trt_inference.detector.worker import DetectorLike


class Detects(DetectorLike[Any, Any], Protocol):
    """What a detector has beside what the worker needs of it."""

    thresholds: Thresholds
    class_filter: frozenset[int] | None


class Ready(Protocol):
    """A `loaded.LoadedNetwork`, whichever its detector."""

    @property
    def detector(self) -> Detects:
        """Return what looks at frames."""

    @property
    def pipeline(self) -> str:
        """Return gpu or cpu, where frames are prepared and outputs decoded."""

    @property
    def remark(self) -> str:
        """Return what the user should know of that, once; '' for nothing."""

    def close(self) -> None:
        """Free everything."""


@dataclass(frozen=True)
class Configured:
    """What `configure` makes and `cleanup` frees.

    Attributes:
        card: Of the network, with what overrides it.
        choice: The backend that was taken, and why.
        backend: What runs the network.
        network: The network with all around it.
        engine: What was loaded; None where TensorRT does not run it.
    """

    card: Card
    choice: Choice
    backend: Backend
    network: Ready
    engine: Entry | None

    @property
    def detector(self) -> Detects:
        """Return what looks at frames."""
        return self.network.detector

    @property
    def label(self) -> str:
        """Return what runs the network, in two words at most."""
        key = '' if self.engine is None else f' {self.engine.key[:12]}'
        return f'{self.backend.name}{key}'

    def health(self, *, fell_back: bool) -> Health:
        """Say what runs the network; a warning where it is not the backend that was preferred."""
        return backend_health(
            self.choice.name,
            self.choice.reason,
            fell_back,
            self.backend.identity,
            self.card.name,
            str(self.network),
            '' if self.engine is None else self.engine.key,
        )
