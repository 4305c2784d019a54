# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A running tegrastats as a source; where it has died or hangs, it is started again.

It is never called with --stop: that would end the tegrastats of other users too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence
import shutil
import time

from jetson_monitor.errors import SourceError
from jetson_monitor.line_process import LineProcess
from jetson_monitor.sample import Sample
from jetson_monitor.tegrastats import parse_line

_KINDS_KEPT = 100  # of unknown tokens by name: a program that prints rubbish must not fill memory


class TegrastatsSource:
    """Has the newest of the lines that tegrastats prints.

    Args:
        period_s: Seconds from line to line.
        command: Program, with arguments before the interval if it needs any.
        clock: Returns seconds since the epoch.
        monotonic: Returns seconds that never go back.

    Attributes:
        unknown_tokens: Names of tokens that were not understood, and how often each came.

    Raises:
        SourceError: There is no such program.
    """

    name = 'tegrastats'

    def __init__(
        self,
        period_s: float = 1.0,
        command: Sequence[str] = ('tegrastats',),
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if shutil.which(command[0]) is None:
            raise SourceError(
                f'there is no program {command[0]} here: it comes with Jetson Linux; in a '
                'container, mount /usr/bin/tegrastats from the host'
            )
        self.unknown_tokens: Counter[str] = Counter()
        self._clock = clock
        self._monotonic = monotonic
        self._newest: Sample | None = None
        self._unreadable = ''
        self._process = LineProcess(
            (*command, '--interval', str(round(period_s * 1000))),
            self._take,
            # the first line comes one interval after the start
            silence_s=max(3 * period_s, 3.0),
        )

    @property
    def problem(self) -> str:
        """Why there is nothing new, '' while there is."""
        return self._process.problem or self._unreadable

    def read(self) -> Sample | None:
        """Return the newest sample, however old; None before the first."""
        return self._newest

    def close(self) -> None:
        """End tegrastats."""
        self._process.close()

    def _take(self, line: str) -> None:
        parsed = parse_line(line)
        for token in parsed.unknown_tokens:
            name = token.split()[0]
            if name in self.unknown_tokens or len(self.unknown_tokens) < _KINDS_KEPT:
                self.unknown_tokens[name] += 1
        if parsed.values:
            self._newest = Sample(self._clock(), self._monotonic(), parsed.values)
            self._unreadable = ''
        elif line.strip():
            self._unreadable = f'a line that says nothing known: {line[:200]!r}'
