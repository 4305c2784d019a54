# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Several sources as one: the richest for each value, and never old news as new."""

from __future__ import annotations

import pytest

from jetson_monitor.errors import ConfigError
from jetson_monitor.errors import RecordError
from jetson_monitor.errors import SourceError
from jetson_monitor.sample import Sample
from jetson_monitor.sources import open_sources
from jetson_monitor.sources import Sources


class Clock:
    def __init__(self, s=0.0):
        self.s = s

    def __call__(self):
        return self.s


class Source:
    """A source whose newest sample is set by hand."""

    def __init__(self, name, sample=None, problem=''):
        self.name = name
        self.sample = sample
        self.problem = problem
        self.failure = None
        self.is_closed = False

    def read(self):
        if self.failure:
            raise SourceError(self.failure)
        return self.sample

    def close(self):
        self.is_closed = True


@pytest.fixture
def clock():
    return Clock(100.0)


def sample(at_s, texts=None, **values):
    return Sample(0.0, at_s, values, texts or {})


def test_each_value_is_of_the_richest_source_that_has_it(clock):
    rich = Source('rich', sample(100, {'power_mode': '15W'}, temp_cpu_c=50.0, cpu0_load_percent=10))
    poor = Source('poor', sample(99, {'power_mode': 'old'}, temp_cpu_c=49.0, emc_load_percent=7.0))
    sources = Sources([rich, poor], clock=lambda: 1.7e9, monotonic=clock)

    merged = sources.read()

    assert (merged.time_s, merged.monotonic_s) == (1.7e9, 100)
    assert merged.values['temp_cpu_c'] == 50
    assert merged.values['emc_load_percent'] == 7
    assert merged.texts == {'power_mode': '15W'}
    assert merged.sources == {'rich': 3, 'poor': 1}
    assert merged.values['source_poor_alive'] == 1
    assert merged.values['source_poor_age_s'] == 1


def test_the_values_of_a_dead_source_vanish_and_another_takes_over(clock):
    rich = Source('rich', sample(100, temp_cpu_c=50.0), problem='it ended')
    poor = Source('poor', sample(100, temp_cpu_c=49.0))
    sources = Sources([rich, poor], 0.5, monotonic=clock)
    assert sources.read().values['temp_cpu_c'] == 50
    clock.s = 101.5
    poor.sample = sample(101.5, temp_cpu_c=49.5)
    assert sources.read().values['temp_cpu_c'] == 50, 'three periods are not over'
    clock.s = 101.6

    merged = sources.read()

    assert merged.values['temp_cpu_c'] == 49.5
    assert merged.sources == {'poor': 1}
    assert merged.values['source_rich_alive'] == 0
    assert merged.values['source_rich_age_s'] == pytest.approx(1.6)
    assert [(each.name, each.alive, each.problem) for each in sources.states] == [
        ('rich', False, 'it ended'), ('poor', True, ''),
    ]  # fmt: skip
    rich.sample = sample(101.6, temp_cpu_c=51.0)
    assert sources.read().values['temp_cpu_c'] == 51, 'it is back'


def test_a_source_that_has_sent_nothing_yet_or_fails_is_not_alive(clock):
    silent, failing = Source('silent'), Source('failing', sample(100, temp_cpu_c=1.0))
    failing.failure = 'the GPU is lost'
    sources = Sources([silent, failing], monotonic=clock, unused={'jtop': 'not installed'})

    merged = sources.read()

    assert merged.values == {'source_silent_alive': 0, 'source_failing_alive': 0}
    assert {each.name: each.problem for each in sources.states} == {
        'silent': 'it has sent nothing new', 'failing': 'the GPU is lost', 'jtop': 'not installed',
    }  # fmt: skip


def test_the_mean_load_is_that_of_the_cores_that_are_online(clock):
    source = Source('one', sample(100, cpu0_load_percent=10, cpu1_load_percent=30, cpu2_online=0))
    assert Sources([source], monotonic=clock).read().values['cpu_load_percent'] == 20


def test_all_are_closed(clock):
    both = [Source('a'), Source('b')]
    Sources(both, monotonic=clock).close()
    assert all(source.is_closed for source in both)


def test_auto_takes_what_works_here(fake_board):
    board = fake_board('orin_nano')
    sources = open_sources('auto', root=board.root, tegrastats=('absent-tegrastats',))
    merged = sources.read()
    sources.close()
    assert merged.values['rail_vdd_in_mw'] == 4820
    assert merged.sources['sysfs'] > 100
    states = {each.name: each for each in sources.states}
    assert states['sysfs'].alive
    assert 'no program absent-tegrastats' in states['tegrastats'].problem


def test_a_source_that_was_asked_for_and_cannot_be_is_an_error(fake_board, tmp_path):
    with pytest.raises(SourceError, match=r'source tegrastats cannot be used here: .*no program'):
        open_sources('tegrastats', tegrastats=('absent-tegrastats',))
    with pytest.raises(SourceError, match=r'source sysfs cannot be used here: sysfs: .*meminfo'):
        open_sources('sysfs', root=tmp_path)
    with pytest.raises(ConfigError, match=r"source 'top' is not known; wanted one of auto, sysfs"):
        open_sources('top')
    with pytest.raises(ConfigError, match='source replay has no log to play'):
        open_sources('replay')
    with pytest.raises(RecordError, match='cannot be read'):
        open_sources('replay', log=tmp_path / 'absent.log')


def test_a_log_is_replayed_on_its_own_timeline(tmp_path):
    log = tmp_path / 'tegrastats.log'
    stamps = ('10:00:00', '10:00:01', '10:00:02', '10:00:20')
    log.write_text(''.join(f'05-17-2026 {at} cpu@{50 + i}C\n' for i, at in enumerate(stamps)))
    real = Clock(7.0)
    sources = open_sources('replay', log=log, speed=2, monotonic=real)
    first = sources.read()
    assert first.values['temp_cpu_c'] == 50
    real.s = 8.0  # two seconds of the log
    assert sources.read().values['temp_cpu_c'] == 52
    assert sources.read().time_s - first.time_s == 2
    real.s = 10.0
    gap = sources.read()
    assert 'temp_cpu_c' not in gap.values
    assert gap.values['source_replay_alive'] == 0
    real.s = 17.0
    assert sources.read().values['temp_cpu_c'] == 53
    real.s = 60.0
    assert 'temp_cpu_c' not in sources.read().values
    assert sources.states[0].problem == 'the log has ended'
