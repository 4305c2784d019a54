# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What was seen of the board at one moment, by name; what is not known is not there.

Names end in their unit, and are those of recordings, diagnostics and metrics alike:

    cpu_load_percent  cpu0_load_percent  cpu0_clock_mhz  cpu0_clock_min_mhz  cpu0_clock_max_mhz
    cpu0_clock_measured_mhz  cpu0_online
    gpu_load_percent  gpu_clock_mhz  gpu_clock_min_mhz  gpu_clock_max_mhz  gpu_on
    gpu_memory_used_mib  gpu_memory_total_mib (of a discrete GPU)
    gpu_unit0_clock_mhz (of a GPU of several units, whose gpu_clock_mhz is the highest)
    emc_load_percent  emc_clock_mhz  emc_clock_max_mhz
    <engine>_clock_mhz  <engine>_load_percent  <engine>_on
    ram_used_mib  ram_total_mib  ram_available_mib  swap_used_mib  swap_total_mib  swap_cached_mib
    zram_used_mib (the memory that swap in memory takes)  zram_stored_mib (what it holds)
    cma_free_mib  cma_total_mib  nvmap_used_mib  nvmap_free_mib
    largest_free_block_kib  largest_free_block_count  memory_pressure_{some,full}_percent
    temp_<zone>_c  trip_<zone>_<passive, hot, critical, ...>_c
    throttle_<cooling device>_state  throttle_<cooling device>_max_state
    rail_<rail>_mw  rail_<rail>_mv  rail_<rail>_ma  rail_<rail>_average_mw  rail_<rail>_peak_mw
    rail_<rail>_limit_ma  rail_<rail>_critical_ma  rail_<rail>_limit_mw
    rail_<rail>_limit_alarm  rail_<rail>_critical_alarm
    oc1_events  oc1_throttle_enabled  oom_kills
    fan_<name>_percent  fan_<name>_rpm  fan_<name>_enabled
    disk_<mount>_used_percent  disk_<mount>_free_mib  disk_<mount>_inodes_used_percent
    disk_<mount>_read_only  (the mount / is called root)
    uptime_s  power_mode_id  source_<name>_alive  source_<name>_age_s

Yes and no are 1 and 0. `texts` has what is no number: power_mode, gpu_governor,
fan_profile, and jetson_clocks, which is on or off.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
import re


@dataclass(frozen=True)
class Sample:
    """What was seen at one moment.

    Attributes:
        time_s: Seconds since the epoch, UTC.
        monotonic_s: Seconds of a clock that never goes back.
        values: Name -> number.
        texts: Name -> text.
        sources: Name of a source -> how many of the values and texts are from it.
    """

    time_s: float
    monotonic_s: float
    values: Mapping[str, float] = field(default_factory=dict, hash=False)
    texts: Mapping[str, str] = field(default_factory=dict, hash=False)
    sources: Mapping[str, int] = field(default_factory=dict, hash=False)

    def matching(self, prefix: str, suffix: str) -> dict[str, float]:
        """Return the values whose name has that beginning and end, by what is between."""
        return {
            name[len(prefix) : -len(suffix)]: value
            for name, value in self.values.items()
            if name.startswith(prefix)
            and name.endswith(suffix)
            and len(name) > len(prefix + suffix)
        }


def slug(name: str) -> str:
    """Return a name as it stands in the names of values: lower case, words joined by _."""
    return re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_')


def merge(time_s: float, monotonic_s: float, parts: Iterable[tuple[str, Sample]]) -> Sample:
    """Return one sample of several; of each value that of the first source that has it.

    Args:
        time_s: Seconds since the epoch, UTC.
        monotonic_s: Seconds of a clock that never goes back.
        parts: Names of sources with their newest samples, the richest first.
    """
    values: dict[str, float] = {}
    texts: dict[str, str] = {}
    sources: dict[str, int] = {}
    for source, sample in parts:
        fresh = {name: each for name, each in sample.values.items() if name not in values}
        words = {name: each for name, each in sample.texts.items() if name not in texts}
        values |= fresh
        texts |= words
        if fresh or words:
            sources[source] = len(fresh) + len(words)
    return Sample(time_s, monotonic_s, values, texts, sources)
