# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Says from successive samples whether the board is well, and if not, why and what to do."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from datetime import datetime
from datetime import timezone
from functools import cache
import re

from jetson_monitor.config import MonitorConfig
from jetson_monitor.counters import Growth
from jetson_monitor.energy import total_power
from jetson_monitor.rules import Figure
from jetson_monitor.rules import Level
from jetson_monitor.rules import number
from jetson_monitor.rules import Rule
from jetson_monitor.rules import RULES
from jetson_monitor.rules import View
from jetson_monitor.sample import Sample


@dataclass(frozen=True)
class Status:
    """One diagnostic status: how bad, why, and the figures behind it, with units in their names."""

    name: str
    level: Level
    message: str
    values: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class _Component:
    """One part of the board: which values are its own, and what to say while all is well."""

    name: str
    values: re.Pattern[str]
    summary: Callable[[Sample], str]


class _State:
    """How one rule stands for one item: its level, and what is about to change it."""

    def __init__(self) -> None:
        self.level = Level.OK
        self.figure = Figure(0.0)
        self.seen_s = 0.0
        self._bad_since: dict[Level, tuple[float, float]] = {}
        self._well_since_s: float | None = None
        self._reported_since: dict[Level, float] = {}

    def update(self, rule: Rule, figure: Figure, sample: Sample, config: MonitorConfig) -> None:
        """Take one more figure: a level rises after `hold`, and falls after `release_s`."""
        now_s = self.seen_s = sample.monotonic_s
        self.figure = figure
        reached = rule.reached(figure.value, config)
        for level in (Level.WARN, Level.ERROR):
            if reached < level:
                self._bad_since.pop(level, None)
            elif level not in self._bad_since:
                self._bad_since[level] = now_s, sample.time_s
            if level in self._bad_since and level > self.level:
                since_s, _ = self._bad_since[level]
                if now_s - since_s >= number(config, rule.hold):
                    self._rise(level)
        kept = rule.reached(figure.value, config, number(config, rule.margin))
        if kept >= self.level:
            self._well_since_s = None
            return
        if self._well_since_s is None:
            self._well_since_s = now_s
        if now_s - self._well_since_s >= config.release_s:
            self._fall(kept, sample.time_s)

    def since_s(self) -> float:
        """Return when what is reported began, in seconds since the epoch."""
        return self._reported_since[self.level]

    def _rise(self, level: Level) -> None:
        self.level = level
        for each, (_, time_s) in self._bad_since.items():
            self._reported_since.setdefault(each, time_s)

    def _fall(self, level: Level, time_s: float) -> None:
        self.level = level
        self._well_since_s = None
        for each in [each for each in self._reported_since if each > level]:
            del self._reported_since[each]
        if level > Level.OK:  # an error of a rule without warning until now
            self._reported_since.setdefault(level, time_s)


class Judge:
    """Judges samples one after the other; the clock is that of the samples."""

    def __init__(self, config: MonitorConfig, soc: str | None = None) -> None:
        """Begin with a clean slate.

        Args:
            config: The limits.
            soc: The chip, such as tegra234, which says what the over-current counters count.
        """
        self._config = config
        self._soc = soc
        self._last_s = -float('inf')
        self._forget()

    def judge(self, sample: Sample) -> tuple[Status, ...]:
        """Return one status for each component of which something is known, or was.

        A component whose values have all vanished is stale: neither well nor ill is known.
        """
        if sample.monotonic_s < self._last_s:
            self._forget()  # another recording, or another start of the board
        self._last_s = sample.monotonic_s
        self._known_sources |= {
            name for name, alive in sample.matching('source_', '_alive').items() if alive
        }
        view = View(sample, self._config, self._soc, self._growth.add(sample), self._known_sources)
        findings = self._findings(view)
        shown: dict[str, dict[str, str]] = {}
        for name, value in sample.values.items():
            shown.setdefault(_component_of(name), {})[name] = text(value)
        for name, words in sample.texts.items():
            shown.setdefault(_component_of(name), {})[name] = words
        statuses = []
        for component in COMPONENTS:
            values = shown.get(component.name, {})
            if values:
                self._known_components.add(component.name)
            if component.name in self._known_components:
                statuses.append(
                    _status(component, sample, values, findings.get(component.name, []))
                )
        return tuple(statuses)

    def _forget(self) -> None:
        self._growth = Growth(self._config.event_window_s)
        self._states: dict[tuple[int, str], _State] = {}
        self._known_sources: frozenset[str] = frozenset()
        self._known_components: set[str] = set()

    def _findings(self, view: View) -> dict[str, list[tuple[Level, str]]]:
        """Return what is not well, by component, the worst first."""
        findings: dict[str, list[tuple[Level, str]]] = {}
        for index, rule in enumerate(RULES):
            for item, figure in rule.figures(view).items():
                state = self._states.setdefault((index, item), _State())
                state.update(rule, figure, view.sample, self._config)
        for (index, item), state in list(self._states.items()):
            if view.sample.monotonic_s - state.seen_s > self._config.release_s:
                del self._states[index, item]  # unknown for too long to say anything
            elif state.level > Level.OK:
                rule = RULES[index]
                findings.setdefault(rule.component, []).append(
                    (state.level, _explain(rule, item, state, self._config))
                )
        for each in findings.values():
            each.sort(key=lambda finding: -finding[0])
        return findings


def stale(statuses: Sequence[Status], age_s: float) -> tuple[Status, ...]:
    """Return what is left to say when no sample has come for so long: nothing but that."""
    message = f'no sample for {age_s:.1f} s; what follows is the last that was known'
    return tuple(replace(each, level=Level.STALE, message=message) for each in statuses)


def is_throttled(sample: Sample) -> bool | None:
    """Return whether anything throttles the board now; None where the board does not tell."""
    states = [
        state
        for device, state in sample.matching('throttle_', '_state').items()
        if not device.endswith('_max')
    ]
    return any(states) if states else None


def text(value: float) -> str:
    """Return a value as people and programs read it: no exponent, no needless zeros."""
    return f'{value:.3f}'.rstrip('0').rstrip('.')


def _explain(rule: Rule, item: str, state: _State, config: MonitorConfig) -> str:
    said = rule.says.format(
        item=item,
        value=state.figure.value,
        note=state.figure.note,
        limit=rule.limits(config)[state.level],
    )
    if rule.reached(state.figure.value, config) < state.level:
        said += ' (recovering)'
    since = datetime.fromtimestamp(state.since_s(), timezone.utc)
    return f'{said}, since {since:%Y-%m-%d %H:%M:%S} UTC; {rule.advice}'


def _status(
    component: _Component, sample: Sample, values: dict[str, str], found: list[tuple[Level, str]]
) -> Status:
    if not values:
        message = 'nothing is known of it any more; see the status of the source'
        return Status(component.name, Level.STALE, message)
    if not found:
        return Status(component.name, Level.OK, component.summary(sample), values)
    level, message = found[0]
    more = {f'also_{number_}': each for number_, (_, each) in enumerate(found[1:], 1)}
    if more:
        message += f' (and {len(more)} more, see also_1)'
    return Status(component.name, level, message, values | more)


# --- what is said while all is well -----------------------------------------------------------


def _known(sample: Sample, *parts: tuple[str, str]) -> str:
    """Return those figures that are known, as `<words> <figure> <unit>`."""
    return ', '.join(
        words.format(sample.values[name]) for name, words in parts if name in sample.values
    )


def _hottest(sample: Sample) -> str:
    zones = sample.matching('temp_', '_c')
    if not zones:
        return 'no temperature is known'
    zone = max(zones, key=lambda each: zones[each])
    return f'hottest: {zone} {zones[zone]:.1f} C'


def _draws(sample: Sample) -> str:
    total = total_power(sample)
    return 'power is not known' if total is None else f'{total.rail} {total.milliwatts:.0f} mW'


def _clock_words(sample: Sample) -> str:
    known = [
        f'{words} {sample.texts[name]}'
        for name, words in (('power_mode', 'power mode'), ('jetson_clocks', 'jetson_clocks'))
        if name in sample.texts
    ]
    return ', '.join(known) or 'as reported'


def _load_words(sample: Sample) -> str:
    parts = (('cpu_load_percent', 'CPU {:.0f} %'), ('gpu_load_percent', 'GPU {:.0f} %'))
    return _known(sample, *parts) or 'load is not known'


def _memory_words(sample: Sample) -> str:
    parts = (
        ('ram_used_mib', '{:.0f} MiB used'),
        ('ram_available_mib', '{:.0f} MiB available'),
        ('ram_total_mib', '{:.0f} MiB in all'),
    )
    return _known(sample, *parts) or 'as reported'


def _disk_words(sample: Sample) -> str:
    used = sample.matching('disk_', '_used_percent')
    return ', '.join(
        f'{mount} {percent:.0f} % used'
        for mount, percent in used.items()
        if not mount.endswith('_inodes')
    )


def _fan_words(sample: Sample) -> str:
    drives = sample.matching('fan_', '_percent')
    speeds = sample.matching('fan_', '_rpm')
    words = [f'{fan} {percent:.0f} %' for fan, percent in drives.items()]
    return ', '.join([*words, *(f'{fan} {rpm:.0f} rpm' for fan, rpm in speeds.items())])


def _source_words(sample: Sample) -> str:
    return ', '.join(f'{name}: {count} values' for name, count in sample.sources.items())


@cache
def _component_of(name: str) -> str:
    """Return the component that a value belongs to; '' for one of none."""
    return next((each.name for each in COMPONENTS if each.values.fullmatch(name)), '')


def _component(name: str, values: str, summary: Callable[[Sample], str]) -> _Component:
    return _Component(name, re.compile(values), summary)


COMPONENTS = (  # a value belongs to the first that its name fits
    _component('thermal', r'temp_.+|trip_.+', _hottest),
    _component('throttling', r'throttle_.+', lambda sample: 'nothing is throttled'),
    _component('power', r'rail_.+|oc\d+_.+', _draws),
    _component(
        'memory',
        r'(ram|swap|zram|cma|nvmap|emc|largest_free_block|memory_pressure)_.+|oom_kills',
        _memory_words,
    ),
    _component('clocks', r'.+_clock_.+|power_mode.*|jetson_clocks|gpu_governor', _clock_words),
    _component('fan', r'fan_.+', _fan_words),
    _component('storage', r'disk_.+', _disk_words),
    _component('source', r'source_.+', _source_words),
    _component('load', r'.+_load_percent|.+_online|.+_on|gpu_memory_.+|uptime_s', _load_words),
)
