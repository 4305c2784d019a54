# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a command that prints a line now and then, for ever: it is started again when it stops."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import os
import select
import signal
import subprocess
import threading
import time

_LINE_LIMIT = 65536  # bytes; what is longer is no line of a program that means well
_GRACE_S = 1.0


class LineProcess:
    """A command whose lines are handed over, one by one, in a thread of its own.

    A command that ends, or is silent for too long, is started again after a wait, which doubles
    each time that no line came. It leads a process group, and the group is ended with it.

    Args:
        command: Program and arguments.
        on_line: Called in the thread with each line.
        silence_s: Seconds without a line after which the command counts as hanging.
        first_wait_s: Wait before the first new start.
        longest_wait_s: Longest wait before a new start.

    Attributes:
        starts: How often the command was started.
        problem: Why it is not running or had to be started again; '' while all is well.
    """

    def __init__(
        self,
        command: Sequence[str],
        on_line: Callable[[str], None],
        silence_s: float,
        *,
        first_wait_s: float = 1.0,
        longest_wait_s: float = 60.0,
    ) -> None:
        self.starts = 0
        self.problem = ''
        self._command = tuple(command)
        self._on_line = on_line
        self._silence_s = silence_s
        self._waits_s = (first_wait_s, longest_wait_s)
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name=command[0], daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the command and the thread."""
        if self._thread.is_alive():
            os.write(self._stop_write, b'.')
            self._thread.join()
        for descriptor in (self._stop_read, self._stop_write):
            with contextlib.suppress(OSError):  # closed before
                os.close(descriptor)

    def _run(self) -> None:
        first_s, longest_s = self._waits_s
        wait_s = first_s
        stopped = False
        while not stopped:
            self.starts += 1
            had_lines = False
            try:
                with _started(self._command) as process:
                    for line in self._lines(process):
                        had_lines = True
                        self.problem = ''
                        self._on_line(line)
            except OSError as error:
                self.problem = f'{self._command[0]} cannot be run: {error}'
            wait_s = first_s if had_lines else wait_s
            stopped = bool(_readable([self._stop_read], wait_s))
            wait_s = min(2 * wait_s, longest_s)

    def _lines(self, process: subprocess.Popen[bytes]) -> Iterator[str]:
        """Yield lines until the command ends, hangs, or is no longer wanted."""
        assert process.stdout is not None
        output = process.stdout.fileno()
        rest = b''
        last_line_s = time.monotonic()
        while True:
            left_s = last_line_s + self._silence_s - time.monotonic()
            ready = _readable([output, self._stop_read], max(left_s, 0))
            if self._stop_read in ready:
                return
            if not ready:
                self.problem = f'{self._command[0]} printed nothing for {self._silence_s:g} s'
                return
            data = os.read(output, 65536)
            if not data:
                self.problem = f'{self._command[0]} {_ending(process)}'
                return
            *lines, rest = (rest + data).split(b'\n')
            rest = rest[-_LINE_LIMIT:]
            for line in lines:
                last_line_s = time.monotonic()
                yield line.decode(errors='replace')


@contextlib.contextmanager
def _started(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command, and leave none of its processes behind."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # its last words are lines too
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_GRACE_S)
                    break


def _ending(process: subprocess.Popen[bytes]) -> str:
    try:
        status = process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        return 'closed its output'
    return f'was ended by signal {-status}' if status < 0 else f'ended with status {status}'


def _readable(descriptors: Sequence[int], timeout_s: float) -> set[int]:
    """Return which of the descriptors have something to read within a time."""
    poll = select.poll()  # select() cannot take the high numbers of a process with many files
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in poll.poll(timeout_s * 1000)}
