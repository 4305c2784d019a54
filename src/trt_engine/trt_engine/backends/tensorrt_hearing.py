# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Hears what TensorRT says of failures: calls that fail return None or False, and say no more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cache
from itertools import count
from typing import Any

from trt_engine.backends.tensorrt_answers import answer_to

_LINES_KEPT = 64
_LINES_SHOWN = 5


class Hearing:
    """The last lines about failures, of all engines of this process.

    TensorRT keeps the first logger that a process gives it, so all engines share one. What is
    reported to an error recorder is not logged as well, and the other way round: both are heard.

    Attributes:
        logger: For TensorRT's runtime.
        recorder: For all that takes an error recorder.
    """

    def __init__(self, library: Any) -> None:
        self._lines: deque[tuple[int, str]] = deque(maxlen=_LINES_KEPT)
        self._numbers = count()
        self.logger = _make_logger(library, self._hear)
        self.recorder = _make_recorder(library, self._hear)

    def mark(self) -> int:
        """Return a number for `since`; what is said before it is not of what comes now."""
        return next(self._numbers)

    def since(self, mark: int) -> list[str]:
        """Return the last lines after a mark, each once."""
        lines: list[str] = []
        for number, line in tuple(self._lines):
            if number > mark and not any(line in each for each in lines):
                lines.append(line)
        return lines[-_LINES_SHOWN:]

    def _hear(self, line: str) -> None:
        self._lines.append((next(self._numbers), line.strip()))


@cache
def hearing(library: Any) -> Hearing:
    """Return the hearing of one module of TensorRT, always the same."""
    return Hearing(library)


def _make_logger(library: Any, hear: Callable[[str], None]) -> Any:
    class Logger(library.ILogger):  # type: ignore[misc]
        """Passes on errors, and warnings that are known to come before one."""

        def __init__(self) -> None:
            library.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            name = severity.name
            if name in ('ERROR', 'INTERNAL_ERROR') or (name == 'WARNING' and answer_to(message)):
                hear(message)

    return Logger()


def _make_recorder(library: Any, hear: Callable[[str], None]) -> Any:
    class Recorder(library.IErrorRecorder):  # type: ignore[misc]
        """Passes on what is reported, and counts it; any thread may report."""

        def __init__(self) -> None:
            library.IErrorRecorder.__init__(self)
            self._errors: deque[tuple[Any, str]] = deque(maxlen=_LINES_KEPT)

        def report_error(self, code: Any, text: str) -> bool:
            self._errors.append((code, text))
            hear(text)
            return False

        def num_errors(self) -> int:
            return len(self._errors)

        # Bindings of TensorRT 8.6 and 10 look for this name, though they document the other.
        get_num_errors = num_errors

        def get_error_code(self, index: int) -> Any:
            return self._errors[index][0]

        def get_error_desc(self, index: int) -> str:
            return self._errors[index][1]

        def has_overflowed(self) -> bool:
            return len(self._errors) == _LINES_KEPT

        def clear(self) -> None:
            self._errors.clear()

    return Recorder()
