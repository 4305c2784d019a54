# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What jtop knows, through a process of its own.

Importing jtop changes how the whole process starts others; so it is imported by `python -m` of this
module only, which prints samples as JSON lines. When its service dies, jtop goes on showing frozen
numbers; so that process ends as soon as the service is gone, and is started again.

jtop (the package jetson-stats, AGPL) is optional: nothing of it is here, and nothing needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
import importlib.util
import json
import os
import sys
import time
from typing import Any

from jetson_monitor.errors import SourceError
from jetson_monitor.line_process import LineProcess
from jetson_monitor.sample import Sample
from jetson_monitor.sample import slug
from jetson_monitor.sysfs.thermal import zone_name
from jetson_monitor.tegrastats import OFF_C

_KIB_IN_MIB = 1 / 1024
_KHZ_IN_MHZ = 1 / 1000


class JtopSource:
    """Has the newest sample of a process that asks jtop.

    Args:
        period_s: Seconds from sample to sample.
        clock: Returns seconds since the epoch.
        monotonic: Returns seconds that never go back.

    Raises:
        SourceError: jtop is not installed.
    """

    name = 'jtop'

    def __init__(
        self,
        period_s: float = 1.0,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if importlib.util.find_spec('jtop') is None:
            raise SourceError(
                'jtop is not installed: run pip install jetson-stats, in the version of the '
                'service on this board'
            )
        self._clock = clock
        self._monotonic = monotonic
        self._newest: Sample | None = None
        self._said = ''
        self._process = LineProcess(
            (sys.executable, '-m', 'jetson_monitor.jtop_source', str(period_s)),
            self._take,
            silence_s=max(3 * period_s, 10.0),  # it needs seconds to import and connect
        )

    @property
    def problem(self) -> str:
        """Why there is nothing new, '' while there is."""
        return self._said or self._process.problem

    def read(self) -> Sample | None:
        """Return the newest sample, however old; None before the first."""
        return self._newest

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def _take(self, line: str) -> None:
        try:
            found = json.loads(line)
            sample = Sample(self._clock(), self._monotonic(), found['values'], found['texts'])
        except (ValueError, KeyError, TypeError):
            self._said = line[:200]  # the last words of the process
        else:
            self._newest = sample
            self._said = ''


# --- in the process of its own -------------------------------------------------------------------


def main() -> int:
    """Print samples until jtop, or whoever reads them, is gone."""
    from jtop import jtop
    from jtop import JtopException

    last_uptime = None
    try:
        with jtop(interval=float(sys.argv[1])) as jetson:
            while jetson.ok():  # raises once the service is gone; nothing else of jtop does
                if jetson.uptime != last_uptime:
                    last_uptime = jetson.uptime
                    print(json.dumps(convert(jetson)), flush=True)
    except BrokenPipeError:
        os._exit(0)  # nobody reads any longer; leaving as usual would try to write once more
    except (JtopException, OSError, EOFError, KeyError) as error:
        print(f'jtop: {type(error).__name__}: {error}'.replace('\n', ' '), flush=True)
    return 1


def convert(jetson: Any) -> dict[str, dict[str, Any]]:
    """Return `values` and `texts` of a Sample from what a jtop object of 4.2 to 7.2 shows."""
    values = {
        **_cores(jetson.cpu),
        **_gpu(jetson.gpu),
        **_memory(jetson.memory),
        **_engines(jetson.engine),
        **_temperatures(jetson.temperature),
        **_rails(jetson.power),
        **_fans(jetson.fan),
        'uptime_s': jetson.uptime.total_seconds(),
    }
    profiles = [fan['profile'] for fan in jetson.fan.values() if fan.get('profile')]
    governors = [gpu['freq'].get('governor') for gpu in jetson.gpu.values() if 'freq' in gpu]
    texts = {
        'power_mode': jetson.nvpmodel.name if jetson.nvpmodel is not None else None,
        'gpu_governor': next(iter(governors), None),
        'fan_profile': next(iter(profiles), None),
    }
    if jetson.jetson_clocks is not None:
        texts['jetson_clocks'] = 'on' if jetson.jetson_clocks.status == 'running' else 'off'
    return {
        'values': {name: float(value) for name, value in values.items() if value is not None},
        'texts': {name: str(text) for name, text in texts.items() if text},
    }


_Values = dict[str, 'float | None']


def _cores(cpu: Mapping[str, Any]) -> _Values:
    values: _Values = {}
    for i, core in enumerate(cpu.get('cpu', ())):
        values[f'cpu{i}_online'] = float(core.get('online', False))
        if core.get('online'):
            values[f'cpu{i}_load_percent'] = _minus(100, core.get('idle'))
            values[f'cpu{i}_clock_mhz'] = _times(_KHZ_IN_MHZ, core.get('freq', {}).get('cur'))
    return values


def _gpu(gpus: Mapping[str, Any]) -> _Values:
    for gpu in gpus.values():
        clock = gpu.get('freq', {}).get('cur')
        # on Thor 7.x has MHz there if it is from NVML, else kHz as everywhere
        is_mhz = clock is not None and clock < 10_000
        return {
            'gpu_load_percent': gpu.get('status', {}).get('load'),
            'gpu_clock_mhz': clock if is_mhz else _times(_KHZ_IN_MHZ, clock),
        }
    return {}


def _memory(memory: Mapping[str, Any]) -> _Values:
    ram, swap, emc = (memory.get(part, {}) for part in ('RAM', 'SWAP', 'EMC'))
    lfb = ram.get('lfb')
    return {
        'ram_used_mib': _times(_KIB_IN_MIB, ram.get('used')),
        'ram_total_mib': _times(_KIB_IN_MIB, ram.get('tot')),
        'largest_free_block_count': lfb or None,  # of 4 MiB: smaller ones it does not count
        'largest_free_block_kib': 4096 if lfb else None,
        'swap_used_mib': _times(_KIB_IN_MIB, swap.get('used')),
        'swap_total_mib': _times(_KIB_IN_MIB, swap.get('tot')),
        'emc_load_percent': emc.get('val'),
        'emc_clock_mhz': _times(_KHZ_IN_MHZ, emc.get('cur')),
    }


def _engines(groups: Mapping[str, Any]) -> _Values:
    values: _Values = {}
    for group in groups.values():
        for name, engine in group.items():
            values[f'{slug(name)}_on'] = float(engine.get('online', False))
            values[f'{slug(name)}_clock_mhz'] = _times(_KHZ_IN_MHZ, engine.get('cur'))
    return values


def _temperatures(zones: Mapping[str, Any]) -> _Values:
    values: _Values = {}
    for name, zone in zones.items():
        if zone.get('online', True) and zone['temp'] > OFF_C:
            values[f'temp_{zone_name(name)}_c'] = zone['temp']
            values[f'trip_{zone_name(name)}_hot_c'] = _limit(zone.get('max'))
            values[f'trip_{zone_name(name)}_critical_c'] = _limit(zone.get('crit'))
    return values


def _rails(power: Mapping[str, Any]) -> _Values:
    values: _Values = {}
    for name, rail in power.get('rail', {}).items():
        if rail.get('online', True):
            start = f'rail_{slug(name)}'
            values[f'{start}_mw'] = rail.get('power')
            values[f'{start}_mv'] = rail.get('volt')
            values[f'{start}_ma'] = rail.get('curr')
            values[f'{start}_limit_ma'] = _limit(rail.get('warn'))
            values[f'{start}_critical_ma'] = _limit(rail.get('crit'))
    return values


def _fans(fans: Mapping[str, Any]) -> _Values:
    values: _Values = {}
    for name, fan in fans.items():
        for quantity, key in (('percent', 'speed'), ('rpm', 'rpm')):
            for i, value in enumerate(fan.get(key, ())):
                number = i + 1 if i else ''
                values[f'fan_{slug(name)}{number}_{quantity}'] = value
    return values


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else value * factor


def _minus(total: float, value: float | None) -> float | None:
    return None if value is None else total - value


def _limit(value: float | None) -> float | None:
    """Return a limit; of sensors that have none, jtop says -256 or 0."""
    return value if value is not None and value > 0 else None


if __name__ == '__main__':
    sys.exit(main())
