# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""GPU, memory controller and the engines beside them: load, clocks, power."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jetson_monitor.sysfs.files import Gauge
from jetson_monitor.sysfs.files import HZ
from jetson_monitor.sysfs.files import listed
from jetson_monitor.sysfs.files import not_negative
from jetson_monitor.sysfs.files import number
from jetson_monitor.sysfs.files import per
from jetson_monitor.sysfs.files import read_text

# where the GPU's own folder may be: R35 and older R36, R36 and newer, R32
_PARENTS = ('sys/devices/platform', 'sys/devices/platform/bus@0', 'sys/devices')
_GPU_DEVICE = r'gpu\.0|[0-9a-f]+\.(gpu|ga10b|gv11b|gp10b|gb10b)'
_GPU_CLOCK = rf'{_GPU_DEVICE}|gpu-gpc-0'
_ENGINE = r'[0-9a-f]+\.(nvdla|pva|nvenc|nvdec|nvjpg|vic|ofa)\d*'
_EMC_CLOCKS = (('', 'rate'), ('_min', 'min_rate'), ('_max', 'max_rate'))
_EMC_LOADS = (
    'sys/kernel/debug/cactmon/mc_all',
    'sys/kernel/debug/bpmp/debug/actmon/mc_all_avg_activity',
    'sys/kernel/actmon_avg_activity/mc_all',
)
_ACTIVITY = 'emc_activity'  # percent times kHz


def gauges(root: Path) -> Iterator[Gauge]:
    """Yield what GPU, memory controller and engines say."""
    yield from _gpu(root)
    yield from _emc(root)
    for device in listed(root / 'sys/bus/platform/devices', _ENGINE):
        engine = device.name.partition('.')[2]
        yield Gauge(f'{engine}_on', device / 'power/runtime_status', is_active)


def governor(root: Path) -> Path | None:
    """Return the file that names the governor of the GPU's clock, None where there is none."""
    folder = next(iter(listed(root / 'sys/class/devfreq', _GPU_CLOCK)), None)
    return folder and folder / 'governor'


def is_active(runtime_status: str) -> float | None:
    """Return whether a device has power; None where that is not managed."""
    return {'active': 1.0, 'suspended': 0.0}.get(runtime_status)


def replace_activity(values: dict[str, float]) -> None:
    """Put the load of the memory controller in place of its activity."""
    activity = values.pop(_ACTIVITY, None)
    clock_mhz = values.get('emc_clock_mhz')
    if activity is not None and clock_mhz:
        values['emc_load_percent'] = activity / (clock_mhz * 1000)


def _gpu(root: Path) -> Iterator[Gauge]:
    devices = (device for parent in _PARENTS for device in listed(root / parent, _GPU_DEVICE))
    for device in devices:
        if number(read_text(device / 'load')) is not None:
            yield Gauge('gpu_load_percent', device / 'load', per(10, -1, 100))  # per mille
            yield Gauge('gpu_on', device / 'power/runtime_status', is_active)
            break
    if path := governor(root):
        yield from _devfreq('gpu', path.parent)
    yield from _devfreq('codec', root / 'sys/class/devfreq/gpu-nvd-0')


def _emc(root: Path) -> Iterator[Gauge]:
    yield from _devfreq('emc', root / 'sys/class/devfreq/bwmgr')
    for which, file in _EMC_CLOCKS:  # root only
        path = root / 'sys/kernel/debug/bpmp/debug/clk/emc' / file
        yield Gauge(f'emc_clock{which}_mhz', path, HZ)
    for load in _EMC_LOADS:
        yield Gauge(_ACTIVITY, root / load, not_negative)


def _devfreq(name: str, folder: Path) -> Iterator[Gauge]:
    for which, file in (('', 'cur_freq'), ('_min', 'min_freq'), ('_max', 'max_freq')):
        yield Gauge(f'{name}_clock{which}_mhz', folder / file, HZ)
