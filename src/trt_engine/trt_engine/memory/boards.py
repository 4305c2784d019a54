# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The Jetson boards that can be planned for by name: memory, GPU and DLA cores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import re

from trt_engine.errors import ConfigError
from trt_engine.fields import allowed_names
from trt_engine.platform import dla_cores_of

# the least that a kernel of the boards below was seen to have of the module's memory, 7620 of 8192
KERNELS_SHARE = 0.93


@dataclass(frozen=True)
class Board:
    """A Jetson module; CPU and GPU of each share one memory.

    Attributes:
        name: What people call it.
        module: Its number, for what `platform` knows by it.
        sm: Compute capability of its GPU.
        module_mib: Memory of the module, as it is sold.
        seen_mib: What tegrastats said that the kernel has, on such a board under JetPack 6 or 7;
            None where no such line was at hand.
        system_mib: What the system is assumed to take with a desktop. Lines of idle boards:
            775 MiB on an Orin Nano, 1282 and 1438 on an AGX Orin, 4280 on a Thor.
    """

    name: str
    module: str
    sm: str
    module_mib: int
    seen_mib: int | None = None
    system_mib: int = 1536

    @property
    def memory_mib(self) -> int:
        """Return what the kernel has of the memory, firmware and hardware have the rest."""
        return self.seen_mib or int(self.module_mib * KERNELS_SHARE)

    @property
    def memory_source(self) -> str:
        """Return where `memory_mib` comes from."""
        if self.seen_mib is not None:
            return f'{self.seen_mib} MiB is what tegrastats says on such a board'
        return f'{self.memory_mib} MiB is assumed, {KERNELS_SHARE:.0%} of {self.module_mib}'

    @property
    def dla_cores(self) -> int:
        """Return how many DLA cores it has."""
        return dla_cores_of(self.module) or 0


BOARDS: Mapping[str, Board] = {
    board.name: board
    for board in (
        Board('Orin Nano 4GB', 'p3767-0004', '8.7', 4096),
        Board('Orin Nano 8GB', 'p3767-0003', '8.7', 8192, 7620),
        Board('Orin NX 8GB', 'p3767-0001', '8.7', 8192),
        Board('Orin NX 16GB', 'p3767-0000', '8.7', 16384, 15656),
        Board('AGX Orin 32GB', 'p3701-0004', '8.7', 32768, 30697),
        Board('AGX Orin 64GB', 'p3701-0005', '8.7', 65536, 62840),
        # 64 GB is from memory: no source was at hand
        Board('Thor T4000', 'p3834', '11.0', 65536, system_mib=4352),
        Board('Thor T5000', 'p3834-0008', '11.0', 131072, 125772, system_mib=4352),
    )
}


def find_board(name: str) -> Board:
    """Return the board of that name, in whatever case and spacing.

    Raises:
        ConfigError: There is none; says which there are.
    """
    wanted = _plain(name)
    for board in BOARDS.values():
        if _plain(board.name) == wanted:
            return board
    raise ConfigError(f'no board {name!r}; {allowed_names(name, BOARDS)}, or this for this machine')


def _plain(name: str) -> str:
    return re.sub(r'^(nvidia)?(jetson)?', '', re.sub(r'[^a-z0-9]', '', name.lower()))
