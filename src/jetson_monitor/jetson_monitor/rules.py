# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""When to worry, as a table: what is looked at, against which limits, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
import enum
from typing import NamedTuple

from jetson_monitor.config import MonitorConfig
from jetson_monitor.energy import total_power
from jetson_monitor.sample import Sample


class Level(enum.IntEnum):
    """Levels of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


class Worse(enum.Enum):
    """On which side of its limit a figure is bad; the limit itself is still well."""

    ABOVE = 1
    BELOW = -1


class Figure(NamedTuple):
    """A number that is judged, and what else its message needs."""

    value: float
    note: str = ''


@dataclass(frozen=True)
class View:
    """What rules look at: a sample, and what only several samples show.

    Attributes:
        sample: The newest sample.
        config: The limits.
        soc: The chip, such as tegra234; None where it is not known.
        growth: Counter -> how far it went within `config.event_window_s`.
        known_sources: Sources that were alive in some sample so far.
    """

    sample: Sample
    config: MonitorConfig
    soc: str | None = None
    growth: Mapping[str, float] = field(default_factory=dict, hash=False)
    known_sources: frozenset[str] = frozenset()


_THROTTLE_TRIPS = ('passive', 'hot')

Figures = Mapping[str, Figure]
Limit = str | float | None  # the name of a parameter, a number, or no such limit


@dataclass(frozen=True)
class Rule:
    """One thing to worry about.

    Attributes:
        component: The diagnostic status that it speaks in.
        figures: Returns what it looks at, by item; an item that is not known is not there.
        says: Message, with {item}, {value}, {limit} and {note}.
        advice: What to do.
        worse: On which side of the limits it is bad.
        warn: Limit of WARN.
        error: Limit of ERROR.
        hold: How long it must be bad to count, in seconds.
        margin: How far beyond a limit it must recover.
    """

    component: str
    figures: Callable[[View], Figures]
    says: str
    advice: str
    worse: Worse = Worse.ABOVE
    warn: Limit = None
    error: Limit = None
    hold: str | float = 0.0
    margin: str | float = 0.0

    def limits(self, config: MonitorConfig) -> dict[Level, float]:
        """Return the limit of each level that this rule knows, the lower level first."""
        named = {Level.WARN: self.warn, Level.ERROR: self.error}
        return {level: number(config, limit) for level, limit in named.items() if limit is not None}

    def reached(self, value: float, config: MonitorConfig, margin: float = 0.0) -> Level:
        """Return the highest level whose limit, moved by `margin` to the good, is passed."""
        level = Level.OK
        for each, limit in self.limits(config).items():
            if (value - limit) * self.worse.value + margin > 0:
                level = each
        return level


def number(config: MonitorConfig, limit: str | float) -> float:
    """Return a limit, which may be the name of a parameter, as a number."""
    return float(getattr(config, limit)) if isinstance(limit, str) else limit


# --- what is looked at ------------------------------------------------------------------------


def _headroom(*kinds: str) -> Callable[[View], Figures]:
    """Return degrees up to the trip of the first of these kinds that a zone has."""
    return lambda view: {
        zone: Figure(trip_c - temperature_c, f'{trip_c:g}')
        for zone, (temperature_c, trip_c) in _zones(view.sample, kinds).items()
    }


def throttle_headroom(sample: Sample) -> dict[str, float]:
    """Return the degrees that each zone is below the trip at which it is throttled."""
    return {
        zone: trip_c - temperature_c
        for zone, (temperature_c, trip_c) in _zones(sample, _THROTTLE_TRIPS).items()
    }


def _zones(sample: Sample, kinds: Sequence[str]) -> dict[str, tuple[float, float]]:
    zones = {}
    for zone, temperature_c in sample.matching('temp_', '_c').items():
        trips_c = [sample.values.get(f'trip_{zone}_{kind}_c') for kind in kinds]
        trip_c = next((each for each in trips_c if each is not None), None)
        if trip_c is not None:
            zones[zone] = temperature_c, trip_c
    return zones


def _throttle_states(view: View) -> Figures:
    found = {}
    for device, state in view.sample.matching('throttle_', '_state').items():
        if not device.endswith('_max'):
            steps = view.sample.values.get(f'throttle_{device}_max_state')
            found[device] = Figure(state, '' if steps is None else f' of {steps:g}')
    return found


def _throttle_steps_left(view: View) -> Figures:
    """Return how far each device is from its last step; an alert that knows only yes has none."""
    states = view.sample.matching('throttle_', '_state')
    return {
        device: Figure(states[f'{device}_max'] - state)
        for device, state in states.items()
        if states.get(f'{device}_max', 0.0) > 1
    }


def _stopped_fans(view: View) -> Figures:
    drives = view.sample.matching('fan_', '_percent')
    return {
        fan: Figure(rpm, f'{drives[fan]:.0f}')
        for fan, rpm in view.sample.matching('fan_', '_rpm').items()
        if fan in drives and drives[fan] >= view.config.fan_min_percent
    }


def _input_voltage(view: View) -> Figures:
    millivolts = view.sample.matching('rail_', '_mv')
    rails = ('vin', 'vdd_in', 'pom_5v_in', 'vin_sys_5v0')
    return {rail: Figure(millivolts[rail]) for rail in rails if rail in millivolts}


def oc_meaning(view: View, counter: str) -> str:
    """Return what a counter such as oc1_events counts on this chip, or `unknown`."""
    meanings: tuple[str, ...] = getattr(view.config, f'oc_{view.soc}', ())
    index = counter.removeprefix('oc').removesuffix('_events')
    if index.isdecimal() and 0 < int(index) <= len(meanings):
        return meanings[int(index) - 1]
    return 'unknown'


def _over_current(*meanings: str, per_s: bool = False) -> Callable[[View], Figures]:
    """Return the events of the counters with these meanings, as a number or each second."""

    def figures(view: View) -> Figures:
        divisor = view.config.event_window_s if per_s else 1.0
        return {
            name.removesuffix('_events'): Figure(events / divisor, oc_meaning(view, name))
            for name, events in view.growth.items()
            if name.endswith('_events') and oc_meaning(view, name) in meanings
        }

    return figures


def _power_share(view: View) -> Figures:
    """Return the share of their own limits that rails draw, and of the budget that all do."""
    milliwatts = view.sample.matching('rail_', '_mw')
    limits_mw = view.sample.matching('rail_', '_limit_mw')
    drawn = {rail: (milliwatts[rail], limits_mw[rail]) for rail in limits_mw if rail in milliwatts}
    total, budget_mw = total_power(view.sample), view.config.power_budget_mw
    if total is not None and budget_mw:
        drawn[total.rail] = total.milliwatts, budget_mw
    return {
        rail: Figure(100 * draw_mw / limit_mw, f'{draw_mw:.0f} of {limit_mw:.0f} mW')
        for rail, (draw_mw, limit_mw) in drawn.items()
        if limit_mw > 0
    }


def _current_share(view: View) -> Figures:
    milliamperes = view.sample.matching('rail_', '_ma')
    return {
        rail: Figure(100 * milliamperes[rail] / limit, f'{milliamperes[rail]:.0f} of {limit:g} mA')
        for rail, limit in view.sample.matching('rail_', '_limit_ma').items()
        if rail in milliamperes and limit > 0
    }


def _flags(prefix: str, suffix: str, *, bad: float = 1.0) -> Callable[[View], Figures]:
    """Return 1 for each item whose flag is `bad`, else 0."""

    def figures(view: View) -> Figures:
        return {
            item: Figure(float(flag == bad))
            for item, flag in view.sample.matching(prefix, suffix).items()
        }

    return figures


def _real_clock_share(view: View) -> Figures:
    reported_mhz = view.sample.matching('cpu', '_clock_mhz')
    return {
        f'cpu{core}': Figure(
            100 * real_mhz / reported_mhz[core], f'{real_mhz:.0f} of {reported_mhz[core]:.0f} MHz'
        )
        for core, real_mhz in view.sample.matching('cpu', '_clock_measured_mhz').items()
        if reported_mhz.get(core)
    }


def _unlocked_clocks(view: View) -> Figures:
    if not view.config.expect_locked:
        return {}
    highest_mhz = view.sample.matching('', '_clock_max_mhz')
    units = {
        unit: Figure(
            highest_mhz[unit] - lowest_mhz,
            f'may go from {lowest_mhz:.0f} to {highest_mhz[unit]:.0f} MHz',
        )
        for unit, lowest_mhz in view.sample.matching('', '_clock_min_mhz').items()
        if unit in highest_mhz
    }
    state = view.sample.texts.get('jetson_clocks')
    if state is None or units:
        return units
    return {'jetson_clocks': Figure(float(state != 'on'), f'is {state}')}


def _wrong_mode(view: View) -> Figures:
    wanted, mode = view.config.expected_power_mode, view.sample.texts.get('power_mode')
    if not wanted or mode is None:
        return {}
    return {'power mode': Figure(float(mode != wanted), f'{mode}, wanted {wanted}')}


def _share(part: str, whole: str, name: str) -> Callable[[View], Figures]:
    """Return one value as a percentage of another."""

    def figures(view: View) -> Figures:
        some, all_of_it = view.sample.values.get(part), view.sample.values.get(whole)
        if some is None or not all_of_it:
            return {}
        return {name: Figure(100 * some / all_of_it, f'{some:.0f} of {all_of_it:.0f} MiB')}

    return figures


def _growth(counter: str, name: str) -> Callable[[View], Figures]:
    return lambda view: {name: Figure(view.growth[counter])} if counter in view.growth else {}


def _largest_block(view: View) -> Figures:
    block_kib = view.sample.values.get('largest_free_block_kib')
    return {} if block_kib is None else {'memory': Figure(block_kib)}


def _busy_bus(view: View) -> Figures:
    busy = view.sample.values.get('emc_load_percent')
    if busy is None or view.sample.values.get('gpu_load_percent', 0.0) >= 90:
        return {}
    return {'memory bus': Figure(busy)}


def _used_inodes(view: View) -> Figures:
    inodes = view.sample.matching('disk_', '_inodes_used_percent')
    return {mount: Figure(percent) for mount, percent in inodes.items()}


def _used_disks(view: View) -> Figures:
    return {
        mount: Figure(percent)
        for mount, percent in view.sample.matching('disk_', '_used_percent').items()
        if not mount.endswith('_inodes')
    }


def _lost_sources(view: View) -> Figures:
    ages_s = view.sample.matching('source_', '_age_s')
    return {
        source: Figure(1 - alive, f' {ages_s[source]:.0f} s ago' if source in ages_s else '')
        for source, alive in view.sample.matching('source_', '_alive').items()
        if source in view.known_sources
    }


def _live_sources(view: View) -> Figures:
    alive = view.sample.matching('source_', '_alive')
    return {'board': Figure(sum(alive.values()))} if alive else {}


# --- the table --------------------------------------------------------------------------------

_BELOW = Worse.BELOW

RULES: tuple[Rule, ...] = (
    Rule(
        'thermal', _headroom(*_THROTTLE_TRIPS),
        '{item} has {value:.1f} C left to its throttle trip of {note} C, limit {limit:g} C',
        'improve the cooling, or choose a lower power mode',
        _BELOW, warn='headroom_warn_c', margin='hysteresis_c',
    ),
    Rule(
        'thermal', _headroom('critical', 'hot'),
        '{item} has {value:.1f} C left to its switch-off trip of {note} C, limit {limit:g} C',
        'reduce the load now: the board switches itself off there',
        _BELOW, error='headroom_error_c', margin='hysteresis_c',
    ),
    Rule(
        'throttling', _throttle_states,
        '{item} throttles, step {value:g}{note}, limit {limit:g}',
        'the board is slower than it says; look at heat and power',
        warn=0.0,
    ),
    Rule(
        'throttling', _throttle_steps_left,
        '{item} throttles as far as it can: {value:g} steps left, limit {limit:g}',
        'reduce the load now, and look at heat and power',
        _BELOW, error=1.0,
    ),
    Rule(
        'power', _over_current('under_voltage'),
        '{item}: {value:g} under-voltage events lately, limit {limit:g}',
        'check supply, connector and cable',
        error=0.0,
    ),
    Rule(
        'power', _input_voltage,
        '{item} is at {value:.0f} mV, limit {limit:g} mV',
        'check supply, connector and cable',
        _BELOW, error='under_voltage_mv', margin=50.0,
    ),
    Rule(
        'power', _over_current('average'),
        '{item}: {value:g} average over-current events lately, limit {limit:g}',
        'choose a lower power mode, or reduce the load',
        warn=0.0,
    ),
    Rule(
        'power', _over_current('instantaneous', 'unknown', per_s=True),
        '{item} counts {value:.1f} over-current events a second (kind: {note}), limit {limit:g}',
        'choose a lower power mode if this costs you speed',
        warn='over_current_warn_per_s',
    ),
    Rule(
        'power', _power_share,
        '{item} is at {value:.0f} % of what it may draw ({note}), limit {limit:g} %',
        'choose a lower power mode, or a stronger supply',
        warn='power_warn_percent', error='power_error_percent', hold='power_hold_s',
        margin='hysteresis_percent',
    ),
    Rule(
        'power', _current_share,
        '{item} is at {value:.0f} % of its current limit ({note}), limit {limit:g} %',
        'choose a lower power mode: beyond it the board throttles',
        warn='power_warn_percent', error='power_error_percent', hold='power_hold_s',
        margin='hysteresis_percent',
    ),
    Rule(
        'power', _flags('rail_', '_limit_alarm'),
        'the sensor of {item} reports more current than its limit',
        'choose a lower power mode, or reduce the load',
        warn=0.0,
    ),
    Rule(
        'power', _flags('rail_', '_critical_alarm'),
        'the sensor of {item} reports a critical current',
        'reduce the load now; check what is plugged in',
        error=0.0,
    ),
    Rule(
        'clocks', _real_clock_share,
        '{item} really runs at {value:.0f} % of the clock it reports ({note}), limit {limit:g} %',
        'firmware caps it, often after over-current: check the supply, then restart the board',
        _BELOW, error='clock_cap_percent', hold='clock_cap_hold_s', margin='hysteresis_percent',
    ),
    Rule(
        'clocks', _unlocked_clocks,
        'clocks are not locked: {item} {note}',
        'run jetson_clocks again; a change of the power mode undoes it',
        warn=0.5,
    ),
    Rule(
        'clocks', _wrong_mode,
        '{item} is {note}',
        'set it with nvpmodel; some modes need a restart',
        warn=0.0,
    ),
    Rule(
        'memory', _share('ram_available_mib', 'ram_total_mib', 'memory'),
        '{item}: {value:.1f} % available ({note}), limit {limit:g} %',
        'end what is not needed, or use smaller models',
        _BELOW, warn='memory_warn_percent', error='memory_error_percent',
        margin='hysteresis_percent',
    ),
    Rule(
        'memory', _share('swap_used_mib', 'swap_total_mib', 'swap'),
        '{item}: {value:.0f} % used ({note}), limit {limit:g} %',
        'end what is not needed: a robot that swaps is late',
        warn='swap_warn_percent', margin='hysteresis_percent',
    ),
    Rule(
        'memory', _growth('swap_used_mib', 'swap'),
        '{item} grew by {value:.0f} MiB lately, limit {limit:g} MiB',
        'look for a leak: something needs more memory than there is',
        warn='swap_growth_warn_mib',
    ),
    Rule(
        'memory', _growth('oom_kills', 'kernel'),
        '{item}: {value:g} processes killed for want of memory lately, limit {limit:g}',
        'see which in dmesg, start it again, and look for the leak',
        error=0.0,
    ),
    Rule(
        'memory', _share('cma_free_mib', 'cma_total_mib', 'contiguous memory'),
        '{item}: {value:.1f} % free ({note}), limit {limit:g} %',
        'cameras and codecs may fail; give the kernel more with cma= on its command line',
        _BELOW, warn='cma_warn_percent', error='cma_error_percent', margin='hysteresis_percent',
    ),
    Rule(
        'memory', _largest_block,
        '{item} is fragmented: its largest free block is {value:g} KiB, limit {limit:g} KiB',
        'CUDA allocations may fail; start large processes early, or start the board again',
        _BELOW, warn='fragmentation_warn_kib', hold='fragmentation_hold_s',
    ),
    Rule(
        'memory', _busy_bus,
        '{item} is {value:.0f} % busy while the GPU is not, limit {limit:g} %',
        'copy less: fewer camera streams, smaller images, no needless conversions',
        warn='emc_warn_percent', hold='emc_hold_s', margin='hysteresis_percent',
    ),
    Rule(
        'fan', _stopped_fans,
        '{item} stands still ({value:g} rpm, limit {limit:g}) though driven at {note} %',
        'check the fan and its plug; the board will get hot',
        _BELOW, error=1.0, hold='fan_hold_s',
    ),
    Rule(
        'fan', _flags('fan_', '_enabled', bad=0.0),
        '{item} is switched off',
        'see that nvfancontrol runs: systemctl status nvfancontrol',
        error=0.0, hold='fan_hold_s',
    ),
    Rule(
        'storage', _used_disks,
        '{item}: {value:.0f} % used, limit {limit:g} %',
        'delete logs or recordings',
        warn='disk_warn_percent', error='disk_error_percent', margin='hysteresis_percent',
    ),
    Rule(
        'storage', _used_inodes,
        '{item}: {value:.0f} % of the inodes used, limit {limit:g} %',
        'delete small files; there is room left but no file can be made',
        warn='disk_warn_percent', error='disk_error_percent', margin='hysteresis_percent',
    ),
    Rule(
        'storage', _flags('disk_', '_read_only'),
        '{item} is mounted read-only',
        'see dmesg for the failure of the drive; nothing is being recorded there',
        error=0.0,
    ),
    Rule(
        'source', _lost_sources,
        '{item} has sent its last sample{note}',
        'what only it knew is missing; see that it runs',
        warn=0.0,
    ),
    Rule(
        'source', _live_sources,
        'nothing is read of the {item}: {value:g} sources are alive, limit {limit:g}',
        'see `jetson_monitor preflight` for the reason of each',
        _BELOW, error=1.0,
    ),
)  # fmt: skip
