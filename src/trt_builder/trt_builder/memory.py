# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a build fits into this machine's memory and disk, before the kernel decides it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import re
import shutil
from typing import Literal

from trt_builder.compat import Flavour
from trt_engine.errors import BuildRefusedError
from trt_engine.memory.machine import LEAVE_MIB
from trt_engine.memory.machine import Memory
from trt_engine.memory.machine import MIB
from trt_engine.memory.machine import ROOT
from trt_engine.platform import text_of

# what the process of a build has before any weight: TensorRT loads 1 GiB of kernels (8.6, measured
# on an H200); an RTX build of a 4 MB network had 352 MiB at its peak
_LIBRARY_MIB = {'tensorrt': 1536, 'tensorrt_rtx': 384}
_COPIES = 6  # of the weights: file, parser, network, kernels' forms, plan, plan for the inspector
_LEAST_WORKSPACE_MIB = 128


@dataclass(frozen=True)
class MemoryPlan:
    """What a build will take.

    Attributes:
        verdict: Whether to build.
        expected_mib: The most that the process is expected to have.
        workspace_mib: Limit to give TensorRT's workspace; None where the card has one, or the GPU
            has memory of its own.
        text: One line that says it all.
    """

    verdict: Literal['ok', 'warning', 'refused']
    expected_mib: int
    workspace_mib: int | None
    text: str

    def require(self) -> None:
        """Refuse a build that does not fit.

        Raises:
            BuildRefusedError: It would not fit into memory.
        """
        if self.verdict == 'refused':
            raise BuildRefusedError(self.text)


def plan_memory(
    flavour: Flavour,
    weight_bytes: int,
    memory: Memory,
    *,
    integrated: bool,
    workspace_mib: int | None = None,
) -> MemoryPlan:
    """Return whether a build will fit.

    Args:
        flavour: Which TensorRT.
        weight_bytes: Size of the model's weights.
        memory: What there is.
        integrated: Whether the GPU works in the same memory, as on a Jetson.
        workspace_mib: The card's limit, if it has one.
    """
    base = _LIBRARY_MIB[flavour] + _COPIES * weight_bytes // MIB
    if not memory.available:
        text = f'how much memory is free is not known; the build will take about {base} MiB'
        return MemoryPlan('warning', base, None, text)
    chosen = workspace_mib
    if integrated and workspace_mib is None:
        # TensorRT would take all of it: a quarter of what is left keeps the board alive
        chosen = max(_LEAST_WORKSPACE_MIB, (memory.available - base) // 4)
    expected = base + (chosen or 0 if integrated else 0)
    spare = memory.available - expected
    text = (
        f'the build will take about {expected} MiB, {memory.available} of {memory.total} MiB are '
        'free'
    )
    remedy = 'close other programs, add swap, or lower memory_mib.workspace'
    ours = chosen if integrated and workspace_mib is None else None
    if spare + memory.swap < 0:
        return MemoryPlan('refused', expected, ours, f'{text}: {remedy}')
    if spare < LEAVE_MIB:
        return MemoryPlan('warning', expected, ours, f'{text}: it may swap or be killed; {remedy}')
    return MemoryPlan('ok', expected, ours, text)


def check_disk(folder: Path, model_bytes: int, *, free_bytes: int | None = None) -> None:
    """Refuse a build whose results would not fit on the disk.

    Args:
        folder: Where they will lie, or will be made.
        model_bytes: Size of the model with its weights.
        free_bytes: What is free there; asked of the disk by default.

    Raises:
        BuildRefusedError: Too little is free.
    """
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free if free_bytes is None else free_bytes
    # a converted model, the plan twice (it is written beside its place), log and caches
    wanted = 4 * model_bytes + 64 * MIB
    if free < wanted:
        raise BuildRefusedError(
            f'{folder}: {free // MIB} MiB are free, and a build may write {wanted // MIB} MiB; '
            'remove engines (trt_build store prune), or name another --store'
        )


def count_oom_kills(root: Path = ROOT) -> int:
    """Return how many processes the kernel has killed for want of memory since it started."""
    counts = [
        re.search(r'^oom_kill (\d+)', text_of(root / place), re.MULTILINE)
        for place in ('proc/vmstat', 'sys/fs/cgroup/memory.events')
    ]
    return max((int(found[1]) for found in counts if found), default=0)
