# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a node says of itself in diagnostics: how bad, why, and the figures behind it."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
import enum
import math


class Level(enum.IntEnum):
    """Levels of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True)
class Health:
    """One diagnostic status: how bad, why, and the figures behind it."""

    level: Level
    message: str
    values: dict[str, str] = field(default_factory=dict)


def number(value: float | None) -> str:
    """Return a figure for a person, or `unknown`; never a zero for what is not known."""
    return 'unknown' if value is None or math.isnan(value) else f'{value:.1f}'
