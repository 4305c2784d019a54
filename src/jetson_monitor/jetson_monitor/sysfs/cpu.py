# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""CPU cores: which are online, how busy they are, and how fast."""

from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path
import re

from jetson_monitor.sysfs.files import Gauge
from jetson_monitor.sysfs.files import KHZ
from jetson_monitor.sysfs.files import listed
from jetson_monitor.sysfs.files import read_text

# user, nice, system, idle, waiting for a disk, ...; the ninth and tenth are in the first two too
_STAT = re.compile(r'(cpu[0-9]+)((?: [0-9]{1,18}){5,8})')


def gauges(root: Path) -> Iterator[Gauge]:
    """Yield the clocks of every core that is online."""
    measured = set()
    for core in listed(root / 'sys/devices/system/cpu', r'cpu\d+'):
        folder = core / 'cpufreq'
        yield Gauge(f'{core.name}_clock_mhz', folder / 'scaling_cur_freq', KHZ)
        yield Gauge(f'{core.name}_clock_min_mhz', folder / 'scaling_min_freq', KHZ)
        yield Gauge(f'{core.name}_clock_max_mhz', folder / 'scaling_max_freq', KHZ)
        # Root only. The kernel takes its time to measure, so once for cores of one clock.
        policy = os.path.realpath(folder)
        if policy not in measured:
            measured.add(policy)
            yield Gauge(f'{core.name}_clock_measured_mhz', folder / 'cpuinfo_cur_freq', KHZ)


def read_online(root: Path) -> dict[str, float]:
    """Return which of the cores are online."""
    folder = root / 'sys/devices/system/cpu'
    online = parse_cores(read_text(folder / 'online'))
    present = parse_cores(read_text(folder / 'present'))
    return {f'cpu{core}_online': float(core in online) for core in sorted(present | online)}


def parse_cores(text: str) -> set[int]:
    """Return the cores of a list such as 0-3,6; what is no such list has none."""
    cores: set[int] = set()
    for part in text.split(','):
        first, _, last = part.partition('-')
        if first.isdecimal() and (last or first).isdecimal() and len(part) < 10:
            cores.update(range(int(first), int(last or first) + 1))
    return cores


class CpuLoad:
    """How busy each core was since the last look."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, int]] = {}

    def update(self, stat: str) -> dict[str, float]:
        """Take what /proc/stat says; return loads in percent, none at the first look."""
        now = dict(_parse_stat(stat))
        loads = {}
        for core, (busy, total) in now.items():
            last_busy, last_total = self._last.get(core, (busy, total))
            if total > last_total:
                load = 100 * (busy - last_busy) / (total - last_total)
                loads[f'{core}_load_percent'] = min(max(load, 0.0), 100.0)
        self._last = now
        return loads


def _parse_stat(stat: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield each core with its time busy and in all, in ticks."""
    for line in stat.splitlines():
        if found := _STAT.match(line):
            ticks = [int(field) for field in found[2].split()]
            yield found[1], (sum(ticks) - ticks[3] - ticks[4], sum(ticks))
