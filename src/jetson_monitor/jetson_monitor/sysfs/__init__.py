# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the kernel's files say of the board: no service, no root, nothing to install.

Which files there are is looked up at the start, every minute, and when one has gone or a core goes
on or off. Limits are read with the look-up, all else once per sample.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import itertools
from pathlib import Path
import re
import time

from jetson_monitor.errors import SourceError
from jetson_monitor.sample import Sample
from jetson_monitor.sysfs import cpu
from jetson_monitor.sysfs import gpu
from jetson_monitor.sysfs import power
from jetson_monitor.sysfs import thermal
from jetson_monitor.sysfs.files import constants
from jetson_monitor.sysfs.files import GoneError
from jetson_monitor.sysfs.files import not_negative
from jetson_monitor.sysfs.files import read_text
from jetson_monitor.sysfs.files import readable
from jetson_monitor.sysfs.memory import read_memory
from jetson_monitor.sysfs.storage import read_disks

LOOK_UP_S = 60.0
LOST_S = 5.0  # from one look-up to the next, at least, where files keep going


class SysfsSource:
    """Reads a board's files below a root.

    Args:
        root: Where sys, proc, etc and var are; / but in tests.
        mounts: Folders whose disks are watched.
        clock: Returns seconds since the epoch.
        monotonic: Returns seconds that never go back.

    Raises:
        SourceError: There is no /proc/meminfo: not Linux, or not its root.
    """

    name = 'sysfs'
    problem = ''  # it is always read in the moment of the sample

    def __init__(
        self,
        root: Path = Path('/'),
        *,
        mounts: Iterable[str] = ('/',),
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not (root / 'proc/meminfo').exists():
            raise SourceError(
                f'{root / "proc/meminfo"} is not there: this source reads the files of Linux; '
                'run it on a Linux system, or give the root of one'
            )
        self._root = root
        self._mounts = tuple(mounts)
        self._clock = clock
        self._monotonic = monotonic
        self._cpu_load = cpu.CpuLoad()
        self._cpu_load.update(read_text(root / 'proc/stat'))
        self._look_up()

    def _look_up(self) -> None:
        self._looked_up_s = self._monotonic()
        self._lost_one = False
        subjects = (cpu, gpu, thermal, power)
        gauges = itertools.chain.from_iterable(each.gauges(self._root) for each in subjects)
        self._gauges = readable(gauges)
        self._limits = constants([*thermal.limits(self._root), *power.limits(self._root)])
        self._governor = gpu.governor(self._root)
        self._power_mode = power.PowerMode(self._root)
        self._online = cpu.read_online(self._root)

    def read(self) -> Sample:
        """Return what can be read now."""
        online = cpu.read_online(self._root)
        age_s = self._monotonic() - self._looked_up_s
        if online != self._online or age_s >= LOOK_UP_S:
            self._look_up()
        gauges = self._read_gauges()
        if self._lost_one and age_s >= LOST_S:
            self._look_up()
            gauges = self._read_gauges()
        values = self._limits | online | gauges
        values |= self._cpu_load.update(read_text(self._root / 'proc/stat'))
        values |= read_memory(self._root)
        values |= read_disks(self._root, self._mounts)
        values |= power.rail_power(values)
        gpu.replace_activity(values)
        uptime_s = not_negative(read_text(self._root / 'proc/uptime').partition(' ')[0])
        if uptime_s is not None:
            values['uptime_s'] = uptime_s
        texts = {}
        if self._governor and (governor := read_text(self._governor)):
            texts['gpu_governor'] = governor
        mode, name = self._power_mode.read()
        if mode is not None:
            values['power_mode_id'] = float(mode)
        if name is not None:
            texts['power_mode'] = name
        if (locked := clocks_locked(values)) is not None:
            texts['jetson_clocks'] = 'on' if locked else 'off'
        return Sample(self._clock(), self._monotonic(), values, texts)

    def _read_gauges(self) -> dict[str, float]:
        values = {}
        for gauge in self._gauges:
            try:
                value = gauge.read()
            except GoneError:
                self._lost_one = True
                continue
            if value is not None:
                values[gauge.name] = value
        return values

    def close(self) -> None:
        """Do nothing: no file stays open."""


def clocks_locked(values: Mapping[str, float]) -> bool | None:
    """Return whether GPU and every core can run at one clock only, as jetson_clocks makes them.

    None on a board without the clocks of its GPU.
    """
    if 'gpu_clock_min_mhz' not in values:
        return None
    return all(
        value == values.get(name.replace('_min_', '_max_'))
        for name, value in values.items()
        if re.fullmatch(r'(gpu|cpu\d+)_clock_min_mhz', name)
    )
