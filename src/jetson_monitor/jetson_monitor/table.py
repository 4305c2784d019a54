# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What `watch` shows: one row for each part of the board, and the numbers under it."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from jetson_monitor.health import Status
from jetson_monitor.monitor import Snapshot
from jetson_monitor.record import utc
from jetson_monitor.rules import Level
from jetson_monitor.rules import throttle_headroom
from jetson_monitor.sample import Sample

_STYLES = {
    Level.OK: 'green',
    Level.WARN: 'yellow',
    Level.ERROR: 'bold red',
    Level.STALE: 'dim',
}


def table(board: Status, snapshot: Snapshot) -> RenderableType:
    """Return a snapshot for a terminal; what is not known is not shown."""
    parts = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for status in (board, *snapshot.statuses):
        level = Text(status.level.name, style=_STYLES[status.level])
        parts.add_row(Text(status.name, style='bold'), level, Text(status.message))
    numbers = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for name, words in _numbers(snapshot.sample).items():
        if words:
            numbers.add_row(Text(name, style='dim'), Text('   '.join(words)))
    title = Text(utc(snapshot.sample.time_s), style='dim')
    return Group(title, parts, Text(), numbers)


def _numbers(sample: Sample) -> Mapping[str, list[str]]:
    """Return the numbers in groups, each number with its name and unit."""
    headroom_c = throttle_headroom(sample)
    limits_ma = sample.matching('rail_', '_limit_ma')
    milliwatts = sample.matching('rail_', '_mw')
    rails = [name for name in milliwatts if not name.endswith(('_average', '_peak', '_limit'))]
    return {
        'cores': [
            f'{core} {load:.0f} %'
            for core, load in sample.matching('cpu', '_load_percent').items()
            if core.isdecimal()
        ],
        'loads': [
            f'{unit} {load:.0f} %'
            for unit, load in sample.matching('', '_load_percent').items()
            if not unit.startswith('cpu')
        ],
        'clocks': [
            f'{unit} {clock:.0f} MHz' for unit, clock in sample.matching('', '_clock_mhz').items()
        ],
        'heat': [
            f'{zone} {celsius:.1f} C'
            + (f' ({headroom_c[zone]:.0f} to throttle)' if zone in headroom_c else '')
            for zone, celsius in sample.matching('temp_', '_c').items()
        ],
        'rails': [
            f'{rail} {milliwatts[rail]:.0f} mW'
            + (f' (limit {limits_ma[rail]:.0f} mA)' if rail in limits_ma else '')
            for rail in rails
        ],
        'fans': [
            f'{fan} {percent:.0f} %' for fan, percent in sample.matching('fan_', '_percent').items()
        ]
        + [f'{fan} {rpm:.0f} rpm' for fan, rpm in sample.matching('fan_', '_rpm').items()],
    }
