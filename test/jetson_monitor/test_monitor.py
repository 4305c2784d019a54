# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""One period after the other: boards that fall ill and recover, full disks, hanging sensors."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
import inspect
import itertools
import os
import re
import threading
import time

import pytest

from jetson_monitor import scenarios
from jetson_monitor.board import read_board
from jetson_monitor.config import MonitorConfig
from jetson_monitor.errors import RecordError
from jetson_monitor.monitor import configured_board
from jetson_monitor.monitor import Monitor
from jetson_monitor.monitor import Sampling
from jetson_monitor.rules import Level
from jetson_monitor.sample import Sample
from jetson_monitor.sources import Sources
from jetson_monitor.sysfs import SysfsSource

pytestmark = pytest.mark.slow
OK, WARN, ERROR, STALE = Level


class Story:
    """A board and its monitor; time goes only when it is told to."""

    def __init__(self, board, **config):
        self.board = board
        self.now_s = 1000.0
        self.events = []
        self.told = []
        clock = {'clock': lambda: 1_800_000_000 + self.now_s, 'monotonic': lambda: self.now_s}
        self.sources = Sources([SysfsSource(board.root, **clock)], **clock)
        config = MonitorConfig(root=str(board.root), **config)
        self.monitor = Monitor(config, self.sources.read, read_board(board.root).soc)
        self.pass_time(1)

    def pass_time(self, seconds):
        for _ in range(round(seconds)):
            self.now_s += 1.0
            self.snapshot = self.monitor.step()
            self.told.append({each.name: each for each in self.snapshot.statuses})
            self.events += [each.kind for each in self.snapshot.events]

    def play(self, script):
        self.board.play(script, self.pass_time)

    def status(self, name):
        return self.told[-1][name]

    def level(self, name):
        return self.status(name).level

    def course(self, name):
        """Return the levels of a component, one after the other."""
        levels = (statuses[name].level for statuses in self.told)
        return [level for level, _ in itertools.groupby(levels)]

    def worst(self, name):
        """Return what was said of a component when it was at its worst."""
        return max((statuses[name] for statuses in self.told), key=lambda each: each.level).message


@pytest.fixture
def story(fake_board):
    return lambda model='orin_nano', **config: Story(fake_board(model), **config)


@pytest.mark.parametrize('model', ['tx2', 'xavier_nx', 'orin_nano', 'agx_orin', 'thor', 'pc'])
def test_a_healthy_board_is_healthy(story, model):
    told = story(model)
    told.pass_time(70)
    assert {each.name: each.message for each in told.snapshot.statuses if each.level} == {}
    assert told.events == []


SCENARIOS = [
    # script, component, its levels in turn, what is said at the worst, events
    (
        scenarios.heat, 'thermal', [OK, WARN, ERROR, WARN, OK],
        r'tj has 2\.5 C left to its switch-off trip of 104\.5 C, .*; reduce the load now',
        ['throttling_began', 'throttling_ended'],
    ),
    (
        scenarios.heat, 'throttling', [OK, WARN, ERROR, OK],
        r'cpufreq_cpu0 throttles as far as it can',
        ['throttling_began', 'throttling_ended'],
    ),
    (
        scenarios.under_voltage, 'power', [OK, ERROR, OK],
        r'oc1: 1 under-voltage events lately.*since .*; check supply', [],
    ),
    (
        scenarios.over_current, 'power', [OK, WARN, OK],
        r'oc3 counts 2\d\.\d over-current events a second \(kind: instantaneous\), limit 20', [],
    ),
    (
        scenarios.mode_drift, 'clocks', [OK, WARN, OK],
        r'power mode is 7W, wanted MAXN_SUPER', ['power_mode_changed'] * 2,
    ),
    (
        scenarios.fan_dead, 'fan', [OK, ERROR, OK],
        r'pwmfan stands still \(0 rpm, limit 1\) though driven at 78 %', [],
    ),
    (
        scenarios.cma_leak, 'memory', [OK, WARN, ERROR],
        r'contiguous memory: 1\.6 % free .*cma= on its command line', [],
    ),
    (
        scenarios.memory_leak, 'memory', [OK, WARN, ERROR, OK],
        r'memory: \d\.\d % available \(\d+ of 7620 MiB\), limit 5 %', ['oom_kill'],
    ),
    (
        scenarios.read_only, 'storage', [OK, ERROR],
        r'root is mounted read-only', [],
    ),
    (scenarios.sensor_asleep, 'thermal', [OK], r'hottest: soc1', []),
    (scenarios.hwmons_renumbered, 'power', [OK], r'vdd_in 4820 mW', []),
]  # fmt: skip


@pytest.mark.parametrize(
    ('script', 'component', 'course', 'said', 'events'), SCENARIOS,
    ids=lambda each: getattr(each, '__name__', each if isinstance(each, str) else ''),
)  # fmt: skip
def test_a_scenario(story, script, component, course, said, events):
    told = story(expected_power_mode='MAXN_SUPER')
    told.play(script)
    told.pass_time(70)
    assert told.course(component) == course
    assert re.search(said, told.worst(component))
    assert told.events == events


def test_every_scenario_is_told(story):
    scripts = {each for name, each in vars(scenarios).items() if inspect.isgeneratorfunction(each)}
    assert scripts == {script for script, *_ in SCENARIOS} | {scenarios.clocks_lost}


@pytest.mark.parametrize(
    ('model', 'counter', 'per_s', 'level'),
    [
        ('orin_nano', 1, 1, ERROR), ('orin_nano', 2, 1, WARN), ('orin_nano', 3, 8, OK),
        ('xavier_nx', 2, 1, ERROR), ('xavier_nx', 1, 1, WARN), ('thor', 1, 8, OK),
    ],
)  # fmt: skip
def test_what_a_counter_means_depends_on_the_chip(story, model, counter, per_s, level):
    told = story(model)
    told.play(partial(scenarios.over_current, counter=counter, per_s=per_s))
    assert told.level('power') is level
    told.pass_time(70)
    assert told.level('power') is OK


def test_a_level_falls_only_when_it_is_sure(story):
    told = story()
    told.board.set_temperature('tj-thermal', 94.0)
    told.pass_time(1)
    assert 'tj has 5.0 C left to its throttle trip' in told.status('thermal').message
    told.board.set_temperature('tj-thermal', 50.0)
    told.pass_time(5)
    assert told.level('thermal') is WARN, 'not yet sure'
    told.pass_time(2)
    assert told.level('thermal') is OK


def test_locked_clocks_that_are_lost(story):
    told = story(expect_locked=True)
    told.play(scenarios.clocks_lost)
    assert told.course('clocks')[-2:] == [OK, WARN]
    assert 'clocks are not locked: ' in told.status('clocks').message


def test_killed_processes_are_told_after_memory_is_there_again(story):
    told = story()
    told.play(scenarios.memory_leak)
    told.pass_time(10)
    assert told.level('memory') is ERROR
    assert '1 processes killed' in told.status('memory').message


def test_a_sensor_without_power_is_absent_and_returns(story):
    told = story()
    seen = []

    def look(seconds):
        told.pass_time(seconds)
        seen.append(told.snapshot.sample.values.get('temp_gpu_c'))

    told.board.play(scenarios.sensor_asleep, look)
    assert seen == [49.031, None, 49.031]


def test_hardware_monitors_are_found_again_at_once(story):
    told = story()
    told.pass_time(5)
    before = told.snapshot.sample.values
    told.board.renumber_hwmons()
    told.pass_time(1)
    assert told.snapshot.sample.values.keys() == before.keys()


def test_a_disk_that_fills_up(story, monkeypatch):
    told = story()
    real = os.statvfs
    used = 0.0

    def statvfs(path):
        disk = real(path)
        free = round(disk.f_blocks * (1 - used))
        fields = (disk.f_bsize, disk.f_frsize, disk.f_blocks, free, free, *disk[5:])
        return os.statvfs_result(fields)

    monkeypatch.setattr(os, 'statvfs', statvfs)
    for used in (0.5, 0.84, 0.86, 0.94, 0.96, 1.0):  # noqa: B007 - statvfs looks at it
        told.pass_time(1)
    assert told.course('storage')[-3:] == [OK, WARN, ERROR]
    assert 'root: 100 % used, limit 95 %' in told.status('storage').message
    assert 'delete logs or recordings' in told.status('storage').message
    used = 0.5
    told.pass_time(10)
    assert told.level('storage') is OK


def test_a_board_that_vanishes_is_stale_and_returns(story):
    told = story()
    read = told.sources.read
    dead = {'source_sysfs_alive': 0.0, 'source_sysfs_age_s': 9.0}
    told.monitor._read = lambda: replace(read(), values=dead, texts={}, sources={})
    told.pass_time(1)
    assert told.level('thermal') is STALE
    assert told.level('source') is ERROR
    told.monitor._read = read
    told.pass_time(10)
    assert told.level('thermal') is OK
    assert told.level('source') is OK
    assert told.events == ['source_lost', 'source_returned']


def test_a_full_disk_ends_the_recording_not_the_watch(story, tmp_path, monkeypatch):
    told = story(record=str(tmp_path / 'log.csv'), event_file=str(tmp_path / 'events.jsonl'))

    def full(line):
        raise RecordError('log.csv cannot be written: No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(told.monitor._recorder._file, 'append', full)
        told.pass_time(1)
        assert told.level('recording') is ERROR
        assert 'No space left' in told.status('recording').message
        assert told.level('thermal') is OK
    told.pass_time(1)
    assert 'recording' not in [each.name for each in told.snapshot.statuses]
    told.monitor.close()


def test_a_replayed_log_is_not_taken_for_this_board(tmp_path):
    board, status = configured_board(MonitorConfig(source='replay', replay_file='afternoon.log'))
    assert board.soc is None
    assert 'afternoon.log; of which board is not known' in status.message


def test_sampling_keeps_its_rate_and_stops():
    samples = []
    monitor = Monitor(MonitorConfig(), lambda: Sample(0.0, time.monotonic()))
    sampling = Sampling(monitor, 0.05, time.monotonic, samples.append, pytest.fail)
    time.sleep(0.52)
    sampling.stop()
    count = len(samples)
    assert 8 <= count <= 12
    time.sleep(0.15)
    assert len(samples) == count


def test_a_defect_while_sampling_is_told():
    crashes = []
    told = threading.Event()

    def broken():
        raise ZeroDivisionError('defect')

    def on_crash(defect):
        crashes.append(defect)
        told.set()

    Sampling(Monitor(MonitorConfig(), broken), 0.05, time.monotonic, print, on_crash)
    assert told.wait(5)
    assert isinstance(crashes[0], ZeroDivisionError)
