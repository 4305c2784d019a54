# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What networks and cameras take of a machine's memory, part by part, and whether it fits.

Each part says how well it is known, so that nobody takes an assumption for a measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
from typing import Any
from typing import Literal

from trt_engine.errors import MemoryBudgetError
from trt_engine.memory.machine import LEAVE_MIB
from trt_engine.memory.machine import MIB

Basis = Literal['exact', 'bound', 'estimate', 'assumed']
Side = Literal['device', 'host']
Verdict = Literal['ok', 'warning', 'refused']

BASES: tuple[Basis, ...] = ('exact', 'bound', 'estimate', 'assumed')
ACTIVATIONS = 'activations'
SCRATCH = 'scratch of kernels'
SHAREABLE = (ACTIVATIONS, SCRATCH)  # by networks that do not run at the same time
_LARGEST = 4  # parts that a refusal names


@dataclass(frozen=True)
class Assumptions:
    """What was not measured on any board; replace it by what you measure on yours.

    Attributes:
        cuda_mib: What CUDA, TensorRT and their kernels take in each process.
        process_mib: What a process with a node has besides; the camera node with ROS 2 Jazzy and
            OpenCV had 155 MiB resident on x86-64 before it loaded a network.
        scratch_mib: What the kernels of a network that is not built yet take beside its tensors.
            TensorRT-RTX 1.7.1 took up to 38 MiB for seven small networks (test_rtx_memory.py).
    """

    cuda_mib: int = 512
    process_mib: int = 160
    scratch_mib: int = 64


ASSUMED = Assumptions()


@dataclass(frozen=True)
class Part:
    """Memory that one thing takes.

    Attributes:
        owner: Whose it is: a network, a camera, a process.
        what: What it is for.
        nbytes: How much.
        side: device: the GPU reserves it; host: a process does, pinned memory among it.
        basis: exact follows from sizes that are known; bound is the most it can be; estimate may
            be off either way; assumed is a figure that nobody measured here.
        source: Where the figure comes from.
        held: Whether it was taken already when the free memory was read.
    """

    owner: str
    what: str
    nbytes: int
    side: Side
    basis: Basis
    source: str
    held: bool = False

    def __str__(self) -> str:
        """Return the part in a line of a table."""
        held = ', held' if self.held else ''
        return (
            f'{_mib(self.nbytes):>9} {self.side:<6} {self.basis:<8} {self.owner}: {self.what} '
            f'({self.source}{held})'
        )


@dataclass(frozen=True)
class Room:
    """Free memory of a machine.

    Attributes:
        name: The machine.
        host_mib: What its processes can have; None where nobody says.
        device_mib: What its GPU has for itself; None where the GPU works in the host's memory.
        source: Where the figures come from.
    """

    name: str
    host_mib: int | None
    device_mib: int | None
    source: str


@dataclass(frozen=True)
class Pool:
    """One memory, with what is to come out of it.

    Attributes:
        name: Which memory it is.
        free_mib: What is free of it; None where nobody says.
        parts: What comes out of it.
    """

    name: str
    free_mib: int | None
    parts: tuple[Part, ...]

    @property
    def needed_bytes(self) -> int:
        """Return what is still to be taken."""
        return sum(part.nbytes for part in self.parts if not part.held)

    @property
    def spare_mib(self) -> float | None:
        """Return what stays free, below 0 where it does not fit; None where nobody knows."""
        return None if self.free_mib is None else self.free_mib - self.needed_bytes / MIB

    @property
    def verdict(self) -> Verdict:
        """Return refused where it does not fit, warning where it is tight or not known."""
        spare = self.spare_mib
        if spare is None or 0 <= spare < LEAVE_MIB:
            return 'warning'
        return 'ok' if spare >= 0 else 'refused'

    def __str__(self) -> str:
        """Return what is needed and what is free, in a sentence."""
        held = sum(part.nbytes for part in self.parts if part.held)
        besides = f' beside {_mib(held)} MiB that are held' if held else ''
        known = ', '.join(
            f'{_mib(nbytes)} {basis}'
            for basis in BASES
            if (nbytes := sum(p.nbytes for p in self.parts if p.basis == basis and not p.held))
        )
        needed = f'{_mib(self.needed_bytes)} MiB are needed{besides} ({known or "nothing"})'
        free = 'how much is free is not known'
        if self.free_mib is not None:
            free = f'{self.free_mib} MiB are free'
        return f'{self.name}: {needed}, {free}'


@dataclass(frozen=True)
class Budget:
    """Networks and cameras against the memory of a machine.

    Attributes:
        room: What is free.
        parts: What is taken and to be taken.
        notes: What the figures leave out.
    """

    room: Room
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()

    @property
    def pools(self) -> tuple[Pool, ...]:
        """Return the memories: one where CPU and GPU share it, else two."""
        room = self.room
        if room.device_mib is None:
            name = f'memory of {room.name}, which CPU and GPU share'
            return (Pool(name, room.host_mib, self.parts),)
        sides = {
            side: tuple(part for part in self.parts if part.side == side)
            for side in ('device', 'host')
        }
        return (
            Pool(f"GPU's memory of {room.name}", room.device_mib, sides['device']),
            Pool(f"CPU's memory of {room.name}", room.host_mib, sides['host']),
        )

    @property
    def verdict(self) -> Verdict:
        """Return the worst of the pools' verdicts."""
        found = {pool.verdict for pool in self.pools}
        return 'refused' if 'refused' in found else 'warning' if 'warning' in found else 'ok'

    @property
    def text(self) -> str:
        """Return the verdict with the numbers behind it, in one line."""
        return '; '.join(_judge(pool) for pool in self.pools)

    def lines(self) -> list[str]:
        """Return all of it for a log or a terminal: each part, what is left out, the verdict."""
        return [
            f'{"MiB":>9} of     how      what',
            *map(str, self.parts),
            f'free: {self.room.source}',
            *(f'not counted: {note}' for note in self.notes),
            self.text,
        ]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        pools = [
            {
                'name': pool.name,
                'free_mib': pool.free_mib,
                'needed_bytes': pool.needed_bytes,
                'verdict': pool.verdict,
            }
            for pool in self.pools
        ]
        return {**asdict(self), 'pools': pools, 'verdict': self.verdict, 'text': self.text}

    def require(self) -> None:
        """Refuse what does not fit.

        Raises:
            MemoryBudgetError: With the numbers, and what to change.
        """
        if self.verdict == 'refused':
            raise MemoryBudgetError(self.text)


def process_parts(owner: str, assumptions: Assumptions, *, held: bool = False) -> tuple[Part, ...]:
    """Return what a process takes before it has any network.

    Args:
        owner: What runs in it.
        assumptions: How much that is.
        held: Whether it runs already.
    """
    figures = {
        ('CUDA, TensorRT, their kernels', 'device'): assumptions.cuda_mib,
        ('process', 'host'): assumptions.process_mib,
    }
    return tuple(
        Part(owner, what, mib * MIB, 'device' if side == 'device' else 'host', 'assumed',
             'no board was measured', held)
        for (what, side), mib in figures.items()
    )  # fmt: skip


def share_arena(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Return the parts with one arena, what the largest network needs, in place of all theirs."""
    needs: dict[str, int] = {}
    for part in parts:
        if part.what in SHAREABLE:
            needs[part.owner] = needs.get(part.owner, 0) + part.nbytes
    largest = max(needs, key=lambda owner: needs[owner], default='')
    others = tuple(part for part in parts if part.what not in SHAREABLE)
    arena = tuple(
        replace(part, owner=f'arena of {len(needs)} networks', source=f'{largest}: {part.source}')
        for part in parts
        if part.what in SHAREABLE and part.owner == largest
    )
    return (*others, *arena)


def _judge(pool: Pool) -> str:
    if pool.spare_mib is None:
        return str(pool)
    if pool.verdict == 'ok':
        return f'{pool}: it fits'
    if pool.verdict == 'warning':
        return (
            f'{pool}: it fits with {pool.spare_mib:.0f} MiB to spare, and below {LEAVE_MIB} it may '
            'swap or be killed; close other programs'
        )
    largest = sorted(
        (part for part in pool.parts if not part.held), key=lambda p: p.nbytes, reverse=True
    )[:_LARGEST]
    named = ', '.join(f'{part.owner} {part.what} {_mib(part.nbytes)}' for part in largest)
    remedy = (
        'close other programs, or take fewer networks or cameras, smaller images, or networks of a '
        'smaller input'
    )
    if any(part.basis == 'bound' for part in largest):
        remedy += '; a bound becomes the real figure once the engine is built'
    return (
        f'{pool}, {-pool.spare_mib:.0f} MiB too few; the largest parts: {named}; to make it fit, '
        f'{remedy}'
    )


def _mib(nbytes: int) -> str:
    return f'{nbytes / MIB:.1f}'
