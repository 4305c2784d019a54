# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the memory budgets of all nodes that run a network have in common."""

from __future__ import annotations

from collections.abc import Sequence

from trt_engine.cuda.memory import block_bytes
from trt_engine.cuda.runtime import attribute
from trt_engine.cuda.runtime import device_memory
from trt_engine.health import Health
from trt_engine.health import Level
from trt_engine.memory.budget import ASSUMED
from trt_engine.memory.budget import Assumptions
from trt_engine.memory.budget import Basis
from trt_engine.memory.budget import Budget
from trt_engine.memory.budget import Part
from trt_engine.memory.budget import process_parts
from trt_engine.memory.budget import Room
from trt_engine.memory.budget import Side
from trt_engine.memory.machine import MIB
from trt_engine.memory.machine import read_memory
from trt_engine.memory.network import NetworkMemory

IN_FLIGHT = 2  # the default of detectors on the GPU
MESSAGES = 3  # that arrives, that waits as the newest, and that is looked at
_LEVELS = {'ok': Level.OK, 'warning': Level.WARN, 'refused': Level.ERROR}


def room_here(name: str = 'this machine') -> Room:
    """Return what is free of this machine's memory, and of its GPU's where that has its own.

    Raises:
        BackendError: There is no GPU, or CUDA's Python package is missing.
    """
    memory = read_memory()
    host_mib = memory.available if memory.total else None
    if attribute('Integrated'):
        return Room(name, host_mib, None, 'MemAvailable of /proc/meminfo, less in a container')
    free, _ = device_memory()
    return Room(name, host_mib, free // MIB, 'cudaMemGetInfo, and MemAvailable of /proc/meminfo')


def loading_budget(
    room: Room, networks: Sequence[NetworkMemory], sensors: Sequence[Part]
) -> Budget:
    """Return the budget of a node whose engines are about to be loaded.

    Args:
        room: What is free.
        networks: What they take; the node is called as the first.
        sensors: What their cameras or lidar take.
    """
    process = process_parts(networks[0].name, ASSUMED)
    # of the CPU's memory the process has its own
    held = tuple(part for part in process if part.side == 'device')
    return _budget(room, held, networks, sensors)


def running_budget(
    room: Room,
    networks: Sequence[NetworkMemory],
    sensors: Sequence[Part],
    assumptions: Assumptions = ASSUMED,
) -> Budget:
    """Return the budget of a configured node.

    Args:
        room: What is free, read after its engines were loaded.
        networks: What they take; the node is called as the first.
        sensors: What its cameras or lidar take.
        assumptions: What the process takes; it runs already, so nothing depends on it.
    """
    return _budget(room, process_parts(networks[0].name, assumptions, held=True), networks, sensors)


def pool_part(
    owner: str,
    what: str,
    sizes: Sequence[int],
    side: Side,
    basis: Basis,
    source: str,
    *,
    times: int = 1,
    held: bool = False,
) -> Part:
    """Return what a `cuda.memory.Pool` reserves.

    Args:
        owner: As of `Part`, likewise `what`.
        what: What it is for.
        sizes: Bytes of each piece that is asked for.
        side: As of `Part`, likewise all but `times` that follows.
        basis: How it is known.
        source: Where it comes from.
        times: How many of each.
        held: Whether it was taken already.
    """
    nbytes = times * sum(map(block_bytes, sizes))
    counted = f'{times} x {source}' if times > 1 else source
    return Part(owner, what, nbytes, side, basis, counted, held)


def budget_health(budget: Budget) -> Health:
    """Return the budget for diagnostics: the verdict, and each part with how it is known."""
    values = {
        f'free: {pool.name} (MiB)': 'unknown' if pool.free_mib is None else str(pool.free_mib)
        for pool in budget.pools
    }
    for part in budget.parts:
        held = ', held' if part.held else ''
        values[f'{part.owner}: {part.what} on {part.side} (MiB)'] = (
            f'{part.nbytes / MIB:.1f} ({part.basis}{held})'
        )
    return Health(_LEVELS[budget.verdict], budget.text, values)


def _budget(
    room: Room,
    process: Sequence[Part],
    networks: Sequence[NetworkMemory],
    sensors: Sequence[Part],
) -> Budget:
    taken = (part for network in networks for part in network.parts)
    notes = dict.fromkeys(note for network in networks for note in network.notes)
    return Budget(room, (*process, *taken, *sensors), tuple(notes))
