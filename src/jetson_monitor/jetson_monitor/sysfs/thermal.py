# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Temperatures and where they begin to matter, what is slowed down by heat, and fans."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import re

from jetson_monitor.sample import slug
from jetson_monitor.sysfs.files import Gauge
from jetson_monitor.sysfs.files import hwmons
from jetson_monitor.sysfs.files import LIMIT
from jetson_monitor.sysfs.files import listed
from jetson_monitor.sysfs.files import not_negative
from jetson_monitor.sysfs.files import per
from jetson_monitor.sysfs.files import read_text
from jetson_monitor.sysfs.files import yes_or_no

CELSIUS = per(1e3, low=-256)  # of a sensor without power some releases say -256
CELSIUS_LIMIT = per(1e3, low=0)
_PWM = per(2.55, -1, 100)
_SLOWS_DOWN = r'.*(throttle|alert).*|(thermal-)?(cpufreq|devfreq)-.*'


def gauges(root: Path) -> Iterator[Gauge]:
    """Yield temperatures, states of what slows the board down, and fans."""
    for name, zone in _zones(root):
        yield Gauge(f'temp_{name}_c', zone / 'temp', CELSIUS)
    for name, drive in _drives(root):
        yield Gauge(f'temp_{name}_c', drive / 'temp1_input', CELSIUS)
    for name, device in _cooling_devices(root):
        yield Gauge(f'throttle_{name}_state', device / 'cur_state', not_negative)
    yield from _fans(root)


def limits(root: Path) -> Iterator[Gauge]:
    """Yield the temperatures at which zones act, and how far each throttle goes."""
    for name, zone in _zones(root):
        for path in listed(zone, r'trip_point_\d+_type'):
            temperature = path.with_name(path.name.replace('type', 'temp'))
            yield Gauge(f'trip_{name}_{slug(read_text(path))}_c', temperature, CELSIUS_LIMIT)
    for name, drive in _drives(root):
        yield Gauge(f'trip_{name}_hot_c', drive / 'temp1_max', CELSIUS_LIMIT)
        yield Gauge(f'trip_{name}_critical_c', drive / 'temp1_crit', CELSIUS_LIMIT)
    for name, device in _cooling_devices(root):
        yield Gauge(f'throttle_{name}_max_state', device / 'max_state', LIMIT)


def zone_name(kind: str) -> str:
    """Return the name of a zone as it stands in names of values: cpu of cpu-thermal, CPU-therm."""
    return re.sub(r'_therm(al)?$', '', slug(kind))


def _zones(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield zones by the names that tegrastats gives them too."""
    seen: dict[str, int] = {}
    for zone in listed(root / 'sys/class/thermal', r'thermal_zone\d+'):
        name = zone_name(read_text(zone / 'type'))
        if name and not name.startswith('pmic'):  # which says the same 50 or 100 always
            seen[name] = seen.get(name, 0) + 1
            yield name if seen[name] == 1 else f'{name}_{seen[name]}', zone


def _drives(root: Path) -> Iterator[tuple[str, Path]]:
    for folder in hwmons(root, 'nvme'):
        device = (folder / 'device').resolve().name
        yield device if re.fullmatch(r'nvme\d+', device) else 'nvme', folder


def _cooling_devices(root: Path) -> Iterator[tuple[str, Path]]:
    for device in listed(root / 'sys/class/thermal', r'cooling_device\d+'):
        kind = read_text(device / 'type')
        if re.fullmatch(_SLOWS_DOWN, kind):
            yield slug(kind), device


def _fans(root: Path) -> Iterator[Gauge]:
    drives = [*hwmons(root, 'pwmfan')]
    speeds = [*hwmons(root, 'pwm_tach'), *drives]
    for i, folder in enumerate(drives):
        name = _fan_name(i)
        yield Gauge(f'fan_{name}_percent', folder / 'pwm1', _PWM)
        yield Gauge(f'fan_{name}_enabled', folder / 'pwm1_enable', yes_or_no)
    paths = [folder / file for folder in speeds for file in ('rpm', 'fan1_input')]
    for i, path in enumerate(path for path in paths if path.exists()):
        yield Gauge(f'fan_{_fan_name(i)}_rpm', path, not_negative)
    old = root / 'sys/devices/pwm-fan'  # until R32
    if not drives:
        yield Gauge(f'fan_{_fan_name(0)}_percent', old / 'target_pwm', _PWM)
        yield Gauge(f'fan_{_fan_name(0)}_rpm', old / 'rpm_measured', not_negative)


def _fan_name(index: int) -> str:
    # pwmfan and pwm_tach are two halves of a fan: one name for both, as jtop has it
    return f'pwmfan{index + 1}' if index else 'pwmfan'
