# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM as an event to wait for, so that files get finished and nothing is thrown."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class StopSignals(threading.Event):
    """From now on SIGINT and SIGTERM do not end the process: they set this event."""

    def __init__(self) -> None:
        super().__init__()
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, self._receive)

    def ignore(self) -> None:
        """Ignore both until the process has ended: its end would take the handlers away."""
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.set()
