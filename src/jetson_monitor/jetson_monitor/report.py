# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A log as one HTML page: what happened, how bad it was, and the curves that show it."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from datetime import datetime
from datetime import timezone
from html import escape
from itertools import pairwise
from statistics import median

from jetson_monitor.config import MonitorConfig
from jetson_monitor.energy import EnergyMeter
from jetson_monitor.events import Event
from jetson_monitor.events import EventDetector
from jetson_monitor.health import is_throttled
from jetson_monitor.health import Judge
from jetson_monitor.health import Status
from jetson_monitor.plot import Chart
from jetson_monitor.plot import draw
from jetson_monitor.rules import Level
from jetson_monitor.sample import Sample

_GAP_PERIODS = 3
_MOST_EVENTS = 200
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .3rem; }
table { border-collapse: collapse; } td, th { padding: .1rem .8rem .1rem 0; text-align: left;
vertical-align: top; } .legend { font-size: .85rem; font-variant-numeric: tabular-nums; }
svg { width: 100%; display: block; } svg text { font-size: 11px; fill: currentColor; }
svg polyline { fill: none; stroke-width: 1.5; }
.mark { width: 24px; } .mark line { stroke-width: 3; }
.grid { stroke: currentColor; opacity: .15; } line.limit { stroke: #c00; stroke-dasharray: 4 3; }
text.limit { fill: #c00; } .band { fill: #e69f00; opacity: .25; }
.OK { color: #080; } .WARN { color: #b60; } .ERROR { color: #c00; } .STALE { color: #777; }
"""


def report(name: str, samples: Sequence[Sample]) -> str:
    """Return the page of a log.

    Args:
        name: What the log is called.
        samples: At least one, the oldest first.
    """
    judge, detector = Judge(MonitorConfig()), EventDetector()
    meter = EnergyMeter(window_s=1.0)
    worst: dict[str, Status] = {}
    events: list[Event] = []
    for sample in samples:
        for status in judge.judge(sample):
            if status.name not in worst or status.level > worst[status.name].level:
                worst[status.name] = status
        events += detector.observe(sample)
        meter.add(sample)
    steps_s = [after.monotonic_s - before.monotonic_s for before, after in pairwise(samples)]
    gap_s = _GAP_PERIODS * median(steps_s) if steps_s else 1.0
    span_s = samples[0].monotonic_s, samples[-1].monotonic_s
    bands = list(_throttled(samples))
    facts = [
        ('from', _utc(samples[0])),
        ('to', _utc(samples[-1])),
        ('samples', str(len(samples))),
        ('gaps', _gaps([step for step in steps_s if step > gap_s])),
        ('throttled', _seconds(sum(end_s - begin_s for begin_s, end_s in bands))),
    ]
    energy = meter.total
    if energy is not None and energy.milliwatts is not None:
        figures = f'{energy.joules:.1f} J, {energy.milliwatts / 1000:.2f} W on average'
        facts.append(('energy', f'{figures} ({energy.rail})'))
    charts = ''.join(draw(chart, span_s, bands, gap_s) for chart in _charts(samples))
    shown = events[:_MOST_EVENTS]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<title>{escape(name)}</title><style>{_STYLE}</style></head><body>'
        f'<h1>{escape(name)}</h1>{_table(facts)}'
        f'<h2>The worst of each part</h2>{_verdicts(worst.values())}'
        f'<h2>Events</h2>{_events(shown, len(events) - len(shown))}'
        f'{charts}</body></html>\n'
    )


def _charts(samples: Sequence[Sample]) -> Iterator[Chart]:
    last = samples[-1]
    trips: dict[str, float] = {}
    for sample in samples:
        for trip, celsius in sample.matching('trip_', '_c').items():
            trips[trip.replace('_', ' ')] = celsius
    # Zones mostly have the same trips: one line for each temperature.
    lines = {celsius: trip for trip, celsius in sorted(trips.items(), reverse=True)}
    heat = _curves(samples, 'temp_', '_c')
    hottest = max((value for points in heat.values() for _, value in points), default=0.0)
    near = {f'{trip}: {celsius:g} C': celsius for celsius, trip in lines.items()
            if celsius < max(2 * hottest, 110.0)}  # fmt: skip
    yield Chart('Temperatures', 'C', heat, near, from_zero=False)
    yield Chart('Rails', 'mW', _curves(
        samples, 'rail_', '_mw', lambda rail: not rail.endswith(('_average', '_peak', '_limit'))
    ))  # fmt: skip
    yield Chart('Clocks', 'MHz', _curves(samples, '', '_clock_mhz'))
    yield Chart('Load', '%', _curves(samples, '', '_load_percent'))
    memory = {
        name: _points(samples, name)
        for name in ('ram_used_mib', 'ram_available_mib', 'swap_used_mib', 'cma_free_mib')
    }
    total_mib = last.values.get('ram_total_mib')
    limits = {} if total_mib is None else {f'{total_mib:.0f} MiB in all': total_mib}
    yield Chart('Memory', 'MiB', memory, limits)
    yield Chart('Fans', '%', _curves(samples, 'fan_', '_percent'))
    yield Chart('Over-current events since boot', '', _curves(samples, 'oc', '_events'))


def _curves(
    samples: Sequence[Sample],
    prefix: str,
    suffix: str,
    wanted: Callable[[str], bool] = lambda name: True,
) -> dict[str, list[tuple[float, float]]]:
    curves: dict[str, list[tuple[float, float]]] = {}
    for sample in samples:
        for name, value in sample.matching(prefix, suffix).items():
            if wanted(name):
                curves.setdefault(name, []).append((sample.monotonic_s, value))
    return curves


def _points(samples: Sequence[Sample], name: str) -> list[tuple[float, float]]:
    return [
        (sample.monotonic_s, sample.values[name]) for sample in samples if name in sample.values
    ]


def _throttled(samples: Sequence[Sample]) -> Iterator[tuple[float, float]]:
    """Yield from when to when something was throttled."""
    begin_s = None
    for sample in samples:
        throttled = is_throttled(sample)
        if throttled and begin_s is None:
            begin_s = sample.monotonic_s
        elif throttled is False and begin_s is not None:
            yield begin_s, sample.monotonic_s
            begin_s = None
    if begin_s is not None:
        yield begin_s, samples[-1].monotonic_s


def _gaps(gaps_s: Sequence[float]) -> str:
    if not gaps_s:
        return 'none'
    return f'{len(gaps_s)}, the longest {_seconds(max(gaps_s))}'


def _seconds(seconds: float) -> str:
    return f'{seconds:.0f} s' if seconds < 300 else f'{seconds / 60:.1f} min'


def _utc(sample: Sample) -> str:
    return f'{datetime.fromtimestamp(sample.time_s, timezone.utc):%Y-%m-%d %H:%M:%S} UTC'


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = (f'<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>' for name, text in rows)
    return f'<table>{"".join(cells)}</table>'


def _verdicts(statuses: Iterable[Status]) -> str:
    rows = (
        f'<tr><th>{escape(each.name)}</th><td class="{each.level.name}">{each.level.name}</td>'
        f'<td>{escape(each.message) if each.level > Level.OK else ""}</td></tr>'
        for each in statuses
    )
    return f'<table>{"".join(rows)}</table>'


def _events(events: Sequence[Event], more: int) -> str:
    if not events:
        return '<p>None.</p>'
    rows = _table(
        (f'{datetime.fromtimestamp(each.time_s, timezone.utc):%H:%M:%S}', each.message)
        for each in events
    )
    return rows + (f'<p>And {more} more.</p>' if more else '')
