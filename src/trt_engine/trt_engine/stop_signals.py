# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM as a flag that a loop looks at, instead of an exception thrown anywhere."""

from __future__ import annotations

import signal
from types import FrameType


class StopSignals:
    """From now on SIGINT and SIGTERM do not end the process: they make `received` true.

    So a file that is being finished gets finished, however often Ctrl-C is pressed.
    """

    def __init__(self) -> None:
        self.received = False
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, self._receive)

    def __call__(self) -> bool:
        """Return whether the process has been told to stop."""
        return self.received

    def ignore(self) -> None:
        """Ignore both signals until the process has ended.

        An interpreter at its end takes handlers away, and a late Ctrl-C would then kill it.
        """
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = True
