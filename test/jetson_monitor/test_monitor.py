# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""One period after the other: boards that fall ill and recover, full disks, hanging sensors."""

from __future__ import annotations

from dataclasses import replace
import threading
import time

import pytest

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
        clock = {'clock': lambda: 1_800_000_000 + self.now_s, 'monotonic': lambda: self.now_s}
        self.sources = Sources([SysfsSource(board.root, **clock)], **clock)
        config = MonitorConfig(root=str(board.root), **config)
        self.monitor = Monitor(config, self.sources.read, read_board(board.root).soc)
        self.pass_time(1)

    def pass_time(self, seconds, each_second=lambda: None):
        for _ in range(seconds):
            each_second()
            self.now_s += 1.0
            self.snapshot = self.monitor.step()
            self.events += [each.kind for each in self.snapshot.events]

    def status(self, name):
        (found,) = [each for each in self.snapshot.statuses if each.name == name]
        return found

    def level(self, name):
        return self.status(name).level


@pytest.fixture
def story(fake_board):
    return lambda model='orin_nano', **config: Story(fake_board(model), **config)


@pytest.mark.parametrize('model', ['tx2', 'xavier_nx', 'orin_nano', 'agx_orin', 'thor', 'pc'])
def test_a_healthy_board_is_healthy(story, model):
    told = story(model)
    told.pass_time(70)
    assert {each.name: each.message for each in told.snapshot.statuses if each.level} == {}
    assert told.events == []


def test_heating_up_until_throttled_and_back(story):
    told = story()
    temperature = f'{told.board.zone("tj-thermal")}/temp'
    throttle = 'sys/class/thermal/cooling_device4/cur_state'

    trip_c = told.snapshot.sample.values['trip_tj_passive_c']
    told.board.write(temperature, int(1000 * (trip_c - 5)))
    told.pass_time(1)
    assert told.level('thermal') is WARN
    assert 'tj has 5.0 C left to its throttle trip' in told.status('thermal').message
    assert told.level('throttling') is OK

    told.board.write(temperature, int(1000 * (trip_c + 1)))
    told.board.write(throttle, 4)
    told.pass_time(30)
    assert told.level('throttling') is WARN
    told.board.write(throttle, 10)
    told.pass_time(1)
    assert told.level('throttling') is ERROR, 'the last step'

    told.board.write(temperature, 50_000)
    told.board.write(throttle, 0)
    told.pass_time(5)
    assert told.level('thermal') is WARN, 'not yet sure'
    told.pass_time(2)
    assert told.level('thermal') is OK
    assert told.level('throttling') is OK
    assert told.events == ['throttling_began', 'throttling_ended']


@pytest.mark.parametrize(
    ('model', 'counter', 'events_per_s', 'level'),
    [
        ('orin_nano', 1, 1, ERROR), ('orin_nano', 2, 1, WARN), ('orin_nano', 3, 8, OK),
        ('orin_nano', 3, 30, WARN), ('xavier_nx', 2, 1, ERROR), ('thor', 1, 8, OK),
    ],
)  # fmt: skip
def test_a_minute_of_over_current_events(story, model, counter, events_per_s, level):
    told = story(model)
    count = 0

    def storm():
        nonlocal count
        count += events_per_s
        told.board.write(f'{told.board.hwmon("soctherm_oc")}/oc{counter}_event_cnt', count)

    told.pass_time(65, storm)
    assert told.level('power') is level
    told.pass_time(70)
    assert told.level('power') is OK


def test_power_mode_drift(story):
    told = story(expected_power_mode='MAXN_SUPER')
    assert told.level('clocks') is OK
    told.board.write('var/lib/nvpmodel/status', 'pmode:0003')
    told.pass_time(1)
    assert told.level('clocks') is WARN
    assert '7W, wanted MAXN_SUPER' in told.status('clocks').message
    assert told.events == ['power_mode_changed']


def test_jetson_clocks_lost(story):
    told = story(expect_locked=True)
    cpu = 'sys/devices/system/cpu/cpu{}/cpufreq/scaling_min_freq'

    def lock(khz):
        for core in range(told.board.model.cores):
            told.board.write(cpu.format(core), khz)

    gpu = f'sys/class/devfreq/{told.board.model.gpu_clock}/min_freq'
    lock(told.board.model.max_khz)
    told.board.write(gpu, 1_020_000_000)
    told.pass_time(70)
    assert told.level('clocks') is OK
    lock(729_600)
    told.pass_time(70)
    assert told.level('clocks') is WARN
    assert 'clocks are not locked' in told.status('clocks').message


def test_a_fan_that_stopped(story):
    told = story()
    told.board.write(f'{told.board.hwmon("pwm_tach")}/rpm', 0)
    told.board.write(f'{told.board.hwmon("pwmfan")}/pwm1', 200)
    told.pass_time(10)
    assert told.level('fan') is OK, 'it may be about to start'
    told.pass_time(2)
    assert told.level('fan') is ERROR


def test_a_leak_until_processes_are_killed(story):
    told = story()
    for available_mib, level in ((3000, OK), (1000, WARN), (300, ERROR)):
        told.board.set_memory(available_mib)
        told.pass_time(1)
        assert told.level('memory') is level
    told.board.write('proc/vmstat', 'nr_free_pages 1000\noom_kill 2')
    told.board.set_memory(4000)
    told.pass_time(10)
    assert told.level('memory') is ERROR, 'memory is there again, but what was killed is not'
    assert '2 processes killed' in told.status('memory').message
    assert told.events == ['oom_kill']
    told.pass_time(60)
    assert told.level('memory') is OK


def test_a_sensor_without_power_is_absent_and_no_fault(story):
    told = story()
    told.board.gate(f'{told.board.zone("cpu-thermal")}/temp')
    told.pass_time(10)
    assert 'temp_cpu_c' not in told.snapshot.sample.values
    assert told.level('thermal') is OK


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
