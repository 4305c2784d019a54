# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Memory: how much is left, in what pieces, and whether processes were killed for lack of it."""

from __future__ import annotations

import os
from pathlib import Path
import re

from jetson_monitor.sysfs.files import listed
from jetson_monitor.sysfs.files import read_text

_MEMINFO = re.compile(r'^(\w+):\s+([0-9]{1,15}) kB', re.MULTILINE)


def read_memory(root: Path, page_kib: int = os.sysconf('SC_PAGE_SIZE') // 1024) -> dict[str, float]:
    """Return what is known of memory and swap."""
    return {
        **parse_meminfo(read_text(root / 'proc/meminfo')),
        **parse_buddyinfo(read_text(root / 'proc/buddyinfo'), page_kib),
        **parse_pressure(read_text(root / 'proc/pressure/memory')),
        **_oom_kills(read_text(root / 'proc/vmstat')),
        **_zram(root),
    }


def parse_meminfo(text: str) -> dict[str, float]:
    """Return the amounts of /proc/meminfo that matter here, in MiB.

    What is used is what neither is free nor could be freed: total less available.
    """
    mib = {name: int(kib) / 1024 for name, kib in _MEMINFO.findall(text)}
    values = {
        'ram_total_mib': mib.get('MemTotal'),
        'ram_available_mib': mib.get('MemAvailable'),
        'ram_used_mib': _less(mib.get('MemTotal'), mib.get('MemAvailable')),
        'swap_total_mib': mib.get('SwapTotal'),
        'swap_used_mib': _less(mib.get('SwapTotal'), mib.get('SwapFree')),
        'swap_cached_mib': mib.get('SwapCached'),
        'cma_total_mib': mib.get('CmaTotal'),
        'cma_free_mib': mib.get('CmaFree'),
        'nvmap_used_mib': mib.get('NvMapMemUsed'),
        'nvmap_free_mib': mib.get('NvMapMemFree'),
    }
    return {name: value for name, value in values.items() if value is not None}


def _less(total: float | None, rest: float | None) -> float | None:
    return None if total is None or rest is None else total - rest


def parse_buddyinfo(text: str, page_kib: int) -> dict[str, float]:
    """Return the size of the largest free blocks of memory, and how many there are of it."""
    zones = [re.findall(r'[0-9]{1,15}', line.partition('zone')[2]) for line in text.splitlines()]
    for order in reversed(range(max(map(len, zones), default=0))):
        count = sum(int(zone[order]) for zone in zones if order < len(zone))
        if count:
            return {
                'largest_free_block_kib': float(page_kib << order),
                'largest_free_block_count': float(count),
            }
    return {}


def parse_pressure(text: str) -> dict[str, float]:
    """Return how much of the last 10 s some or all tasks waited for memory."""
    found = re.findall(r'^(some|full) avg10=([0-9]{1,3}(?:\.[0-9]+)?)\b', text, re.MULTILINE)
    return {f'memory_pressure_{who}_percent': float(share) for who, share in found}


def _oom_kills(vmstat: str) -> dict[str, float]:
    found = re.search(r'^oom_kill ([0-9]{1,15})$', vmstat, re.MULTILINE)
    return {'oom_kills': float(found[1])} if found else {}


def _zram(root: Path) -> dict[str, float]:
    stored = used = 0
    devices = listed(root / 'sys/block', r'zram\d+')
    for device in devices:
        # bytes held, bytes after compression, bytes of memory taken
        fields = re.findall(r'[0-9]{1,18}', read_text(device / 'mm_stat'))
        if len(fields) < 3:
            return {}
        stored += int(fields[0])
        used += int(fields[2])
    mib = 1 << 20
    return {'zram_stored_mib': stored / mib, 'zram_used_mib': used / mib} if devices else {}
