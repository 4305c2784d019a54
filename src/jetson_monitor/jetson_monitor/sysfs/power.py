# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Power: rails with their limits, events of over-current, and the power mode."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
import re

from jetson_monitor.sample import slug
from jetson_monitor.sysfs.files import Gauge
from jetson_monitor.sysfs.files import hwmons
from jetson_monitor.sysfs.files import LIMIT
from jetson_monitor.sysfs.files import listed
from jetson_monitor.sysfs.files import not_negative
from jetson_monitor.sysfs.files import number
from jetson_monitor.sysfs.files import per
from jetson_monitor.sysfs.files import read_text
from jetson_monitor.sysfs.files import yes_or_no

STATUS = 'var/lib/nvpmodel/status'
MODES = 'etc/nvpmodel.conf'

_UW = per(1e3)  # in mW


def gauges(root: Path) -> Iterator[Gauge]:
    """Yield voltage, current and alarms of each rail, and the counts of over-current events."""
    for rail, folder, n in _rails(root):
        yield Gauge(f'rail_{rail}_mv', folder / f'in{n}_input', number)
        yield Gauge(f'rail_{rail}_ma', folder / f'curr{n}_input', number)
        yield Gauge(f'rail_{rail}_limit_alarm', folder / f'curr{n}_max_alarm', yes_or_no)
        yield Gauge(f'rail_{rail}_critical_alarm', folder / f'curr{n}_crit_alarm', yes_or_no)
    for folder in hwmons(root, 'ina238'):  # Thor's input
        yield Gauge('rail_vin_mw', folder / 'power1_input', _UW)
        yield Gauge('rail_vin_mv', folder / 'in1_input', number)
        yield Gauge('rail_vin_ma', folder / 'curr1_input', number)
    for rail, folder, n in _rails_until_r32(root):
        yield Gauge(f'rail_{rail}_mw', folder / f'in_power{n}_input', number)
        yield Gauge(f'rail_{rail}_mv', folder / f'in_voltage{n}_input', number)
        yield Gauge(f'rail_{rail}_ma', folder / f'in_current{n}_input', number)
    for folder in hwmons(root, 'soctherm_oc'):
        for path in listed(folder, r'oc\d+_event_cnt'):
            oc = path.name.partition('_')[0]
            yield Gauge(f'{oc}_events', path, not_negative)


def limits(root: Path) -> Iterator[Gauge]:
    """Yield the limits of each rail, and which over-current events slow the board down."""
    for rail, folder, n in _rails(root):
        yield Gauge(f'rail_{rail}_limit_ma', folder / f'curr{n}_max', LIMIT)
        yield Gauge(f'rail_{rail}_critical_ma', folder / f'curr{n}_crit', LIMIT)
    for folder in hwmons(root, 'ina238'):
        yield Gauge('rail_vin_limit_mw', folder / 'power1_max', per(1e3, low=0))
    for folder in hwmons(root, 'soctherm_oc'):
        for path in listed(folder, r'oc\d+_throt_en'):
            yield Gauge(f'{path.name.partition("_")[0]}_throttle_enabled', path, yes_or_no)


def rail_power(values: Mapping[str, float]) -> dict[str, float]:
    """Return the power of each rail that says voltage and current only."""
    found = {}
    for name, mv in values.items():
        if name.startswith('rail_') and name.endswith('_mv'):
            rail = name.removesuffix('_mv')
            ma = values.get(f'{rail}_ma')
            if ma is not None and f'{rail}_mw' not in values:
                found[f'{rail}_mw'] = mv * ma / 1000
    return found


def _rails(root: Path) -> Iterator[tuple[str, Path, int]]:
    for folder in hwmons(root, 'ina3221'):
        for n in (1, 2, 3):  # 4 to 6 are the shunts of these, 7 their sum
            label = read_text(folder / f'in{n}_label')
            if slug(label) not in ('', 'nc') and (folder / f'curr{n}_input').exists():
                yield slug(label), folder, n


def _rails_until_r32(root: Path) -> Iterator[tuple[str, Path, int]]:
    for folder in listed(root / 'sys/bus/iio/devices', r'iio:device\d+'):
        for n in (0, 1, 2):
            label = read_text(folder / f'rail_name_{n}')
            if slug(label) not in ('', 'nc'):
                yield slug(label), folder, n


class PowerMode:
    """The mode of nvpmodel, by name: the same number is another mode on another board.

    nvpmodel itself is slow on a busy board; it is not asked.
    """

    def __init__(self, root: Path) -> None:
        self._status = root / STATUS
        self.names, self.default = parse_modes(read_text(root / MODES))

    def read(self) -> tuple[int | None, str | None]:
        """Return number and name of the mode now, None where that is not known."""
        found = re.search(r'^pmode:([0-9]{1,9})', read_text(self._status), re.MULTILINE)
        mode = int(found[1]) if found else None
        return mode, self.names.get(mode) if mode is not None else None


def parse_modes(conf: str) -> tuple[dict[int, str], str | None]:
    """Return the modes of an nvpmodel.conf by number, and the name of the one after a boot."""
    modes = re.findall(r'^\s*<\s*POWER_MODEL\s+ID=([0-9]{1,9})\s+NAME=(\S+)\s*>', conf, re.M)
    names = {int(number): name for number, name in modes}
    default = re.search(r'^\s*<\s*PM_CONFIG\s+DEFAULT=([0-9]{1,9})\s*>', conf, re.M)
    return names, names.get(int(default[1])) if default else None


def gpu_units(root: Path) -> str | None:
    """Return which units of the GPU the power mode gates; its name where its table does not say."""
    mode, name = PowerMode(root).read()
    conf = read_text(root / MODES)
    section = re.search(rf'<\s*POWER_MODEL\s+ID=0*{mode}\s+NAME=\S+\s*>([^<]*)', conf)
    if section is None:
        return name
    masks = re.findall(r'^\s*(?:GPU|TPC|FBP)_POWER_GATING\s+(\w+)\s+(\w+)', section[1], re.M)
    return ' '.join(sorted(f'{unit}={mask}' for unit, mask in masks)) or name
