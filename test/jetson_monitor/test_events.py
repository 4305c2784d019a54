# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Events are told once, when they happen, and are still there after a crash."""

from __future__ import annotations

import json

from jetson_monitor.events import Event
from jetson_monitor.events import EventDetector
from jetson_monitor.events import EventLog
from jetson_monitor.sample import Sample


def events(*samples):
    detector = EventDetector()
    return [
        [(each.kind, each.message) for each in detector.observe(Sample(t, t, values, texts))]
        for t, (values, texts) in enumerate(samples)
    ]


def of_values(*values):
    return events(*((each, {}) for each in values))


def kinds(told):
    return [[kind for kind, _ in each] for each in told]


def test_throttling_begins_and_ends():
    off = {'throttle_cpu_state': 0, 'throttle_cpu_max_state': 3}
    on = {'throttle_cpu_state': 2, 'throttle_cpu_max_state': 3}
    told = of_values(off, on, on, {}, on, off, off)
    assert kinds(told) == [[], ['throttling_began'], [], [], [], ['throttling_ended'], []]
    assert told[1][0][1] == 'throttled by cpu'
    assert told[5][0][1] == 'full speed again after 4 s'


def test_throttling_that_was_there_at_the_start_is_told():
    assert kinds(of_values({'throttle_cpu_state': 1})) == [['throttling_began']]


def test_a_change_of_the_power_mode():
    told = events(*(({}, texts) for texts in (
        {'power_mode': 'MAXN'}, {}, {'power_mode': 'MAXN'}, {'power_mode': '15W'},
    )))  # fmt: skip
    assert kinds(told) == [[], [], [], ['power_mode_changed']]
    assert told[3][0][1] == 'power mode MAXN became 15W'


def test_oom_kills():
    told = of_values({'oom_kills': 4}, {'oom_kills': 4}, {'oom_kills': 6}, {'oom_kills': 0})
    assert kinds(told) == [[], [], ['oom_kill'], []]
    assert told[2][0][1].endswith('memory: 2')


def test_a_source_is_lost_and_returns():
    alive, dead = {'source_tegrastats_alive': 1}, {'source_tegrastats_alive': 0}
    told = of_values(dead, alive, alive, dead, dead, alive)
    assert kinds(told) == [[], [], [], ['source_lost'], [], ['source_returned']]


def test_the_file_holds_one_object_a_line_and_goes_on_after_a_crash(tmp_path):
    path = tmp_path / 'logs' / 'events.jsonl'
    log = EventLog(path)
    log.write(Event(1_800_000_000.25, 'oom_kill', 'it said "no"\nand went'))
    log.close()
    with path.open('a') as file:
        file.write('{"time_utc": "20')  # the line that a crash cut off

    log = EventLog(path)
    log.write(Event(1_800_000_001.0, 'source_lost', 'jtop'))
    log.close()

    first, second = map(json.loads, path.read_text().splitlines())
    assert first == {
        'time_utc': '2027-01-15T08:00:00.250Z',
        'event': 'oom_kill',
        'message': 'it said "no"\nand went',
    }
    assert second['event'] == 'source_lost'
