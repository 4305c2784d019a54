# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps the rest of the machine, and the garbage collector, out of the inference thread's way."""

from __future__ import annotations

from collections.abc import Sequence
import gc
import os

from trt_engine.errors import ConfigError


def pin_thread(cores: Sequence[int]) -> None:
    """Have the calling thread run on these CPU cores only; on all that it may, where none is named.

    Raises:
        ConfigError: There is no such core, or this process may not use it.
    """
    if not cores:
        return
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, cores)
    except OSError as exc:
        raise ConfigError(
            f'cpu_affinity is {list(cores)}: {exc.strerror}; this process may use {sorted(allowed)}'
        ) from exc


def raise_priority(priority: int) -> None:
    """Have the calling thread go before all that is not real-time; 0 leaves it as it is.

    Args:
        priority: Of SCHED_FIFO, 1 to 99.

    Raises:
        ConfigError: This process may not.
    """
    if not priority:
        return
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as exc:
        raise ConfigError(
            f'realtime_priority is {priority}: {exc.strerror}; allow it in '
            '/etc/security/limits.conf (<user> - rtprio 99), in a container with '
            '--cap-add SYS_NICE --ulimit rtprio=99, or set it to 0'
        ) from exc


def calm_collector() -> None:
    """Have the garbage collector look no more at what is there now, which is there to stay.

    Its full passes over all modules and messages types take milliseconds; what a frame leaves is
    little, and goes at once.
    """
    gc.collect()
    gc.freeze()


def wake_collector() -> None:
    """Undo `calm_collector`."""
    gc.unfreeze()
