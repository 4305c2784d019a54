# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""How a command ends: with a status, and one line where something is wrong; no traceback."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from itertools import takewhile
import os
import sys

from trt_engine.errors import ConfigError
from trt_engine.errors import PerceptionError

FAILED = 1
INTERRUPTED = 130


def end_well(
    work: Callable[[], int],
    *,
    failed: int = FAILED,
    misused: int = FAILED,
    stopped: str = 'stopped',
) -> int:
    """Do the work of a command; return its exit status, or say in one line why it has none.

    Args:
        work: Does it, and returns the exit status.
        failed: The status where it cannot be done.
        misused: The status where a word of the command line is wrong.
        stopped: What is said after Ctrl-C.
    """
    try:
        status = work()
        print(end='', flush=True)  # also where stdout is closed, and sys.stdout None
        return status
    except PerceptionError as exc:
        print(f'error: {exc}', file=sys.stderr)
        return misused if isinstance(exc, ConfigError) else failed
    except BrokenPipeError:
        # whoever read has seen enough; of another status `ros2 run` would tell, into the same pipe
        discard_output()
        return 0
    except OSError as exc:
        where = f'{exc.filename}: ' if exc.filename is not None else ''
        print(f'error: {where}{exc.strerror or exc}', file=sys.stderr)
        discard_output()
        return failed
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return INTERRUPTED


def check_node_words(name: str, purpose: str) -> None:
    """Answer --help for a node that takes parameters alone, and refuse any other word.

    Args:
        name: Of the node.
        purpose: What it does, as a sentence.
    """
    parser = ArgumentParser(
        prog=name,
        usage=f'{name} [--help] [--ros-args -p PARAMETER:=VALUE ...]',
        description=purpose,
        epilog='Its parameters, each with its meaning, are in the README.',
    )
    parser.parse_args(list(takewhile(lambda word: word != '--ros-args', sys.argv[1:])))


def discard_output() -> None:
    """Let what is still buffered for stdout go nowhere: the interpreter flushes at its end."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
