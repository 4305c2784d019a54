# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""How much memory this machine has, and how much of it is free, as the kernel says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import re

from trt_engine.platform import text_of

ROOT = Path('/')
MIB = 1 << 20
LEAVE_MIB = 512  # for everything else on the board; with less to spare it may swap, or kill


@dataclass(frozen=True)
class Memory:
    """Memory of a machine, MiB.

    Attributes:
        available: What can be had without swapping; less in a container with a limit.
        total: All of it.
        swap: Swap space that is free.
    """

    available: int
    total: int
    swap: int


def read_memory(root: Path = ROOT) -> Memory:
    """Return what the kernel says; a machine that says nothing has 0."""
    values = {
        name: int(kib) // 1024
        for name, kib in re.findall(
            r'^(\w+):\s+(\d+) kB', text_of(root / 'proc/meminfo'), re.MULTILINE
        )
    }
    available = values.get('MemAvailable', 0)
    limit = text_of(root / 'sys/fs/cgroup/memory.max').strip()
    if limit.isdigit():
        used = text_of(root / 'sys/fs/cgroup/memory.current').strip()
        left = (int(limit) - (int(used) if used.isdigit() else 0)) // MIB
        available = min(available, max(left, 0))
    return Memory(available, values.get('MemTotal', 0), values.get('SwapFree', 0))
