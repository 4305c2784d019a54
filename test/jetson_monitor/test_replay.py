# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Logs that were recorded, as samples."""

from __future__ import annotations

from datetime import datetime
from datetime import timedelta
from datetime import timezone

import pytest

from jetson_monitor.errors import RecordError
from jetson_monitor.record import open_recorder
from jetson_monitor.replay import read_log
from jetson_monitor.replay import ReplaySource
from jetson_monitor.sample import Sample


def log(tmp_path, text, name='tegrastats.log'):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_log_of_tegrastats_with_stamps(tmp_path):
    path = log(
        tmp_path, '# a comment\n\n05-17-2026 10:00:33 cpu@50C\n05-17-2026 10:00:35 cpu@51C\n'
    )
    first, second = read_log(path)
    assert first.time_s == datetime(2026, 5, 17, 10, 0, 33, tzinfo=timezone.utc).timestamp()
    assert second.time_s - first.time_s == 2
    assert second.monotonic_s - first.monotonic_s == 2
    assert (first.values, second.values) == ({'temp_cpu_c': 50}, {'temp_cpu_c': 51})


def test_the_time_zone_of_the_stamps_can_be_given(tmp_path):
    path = log(tmp_path, '05-17-2026 10:00:33 cpu@50C\n')
    in_utc = read_log(path)[0]
    in_berlin = read_log(path, zone=timezone(timedelta(hours=2)))[0]
    assert in_utc.time_s - in_berlin.time_s == 7200


def test_a_log_without_stamps_has_a_line_each_interval(tmp_path):
    samples = read_log(log(tmp_path, 'cpu@50C\ncpu@51C\nrubbish\ncpu@52C'), interval_s=0.5)
    assert [sample.monotonic_s for sample in samples] == [0, 0.5, 1]


def test_lines_of_the_same_second_are_spread_over_it(tmp_path):
    at = '05-17-2026 10:00:{:02} cpu@50C\n'
    samples = read_log(log(tmp_path, at.format(33) * 4 + at.format(34)))
    times_s = [sample.time_s - samples[0].time_s for sample in samples]
    assert times_s == [0, 0.25, 0.5, 0.75, 1]
    assert [sample.monotonic_s for sample in samples] == times_s


def test_a_clock_that_was_set_back_does_not_turn_time_around(tmp_path):
    at = '05-17-2026 10:00:{:02} cpu@50C\n'
    samples = read_log(log(tmp_path, ''.join(map(at.format, (33, 34, 3, 4)))))
    assert [sample.monotonic_s for sample in samples] == [0, 1, 2, 3]


@pytest.mark.parametrize('name', ['run.csv', 'run.jsonl'])
def test_a_recording_of_ours_comes_back_as_it_was(tmp_path, name):
    path = tmp_path / name
    samples = [
        Sample(1.7e9, 5.0, {'temp_cpu_c': 50.25, 'oc1_events': 0.0}, {'power_mode': '15W'}),
        Sample(1.7e9 + 1, 6.0, {'temp_cpu_c': 51.5}, {'power_mode': 'MAXN_SUPER'}),
    ]
    recorder = open_recorder(path, 1 << 20, 2)
    for sample in samples:
        recorder.write(sample)
    recorder.close()
    assert read_log(path) == samples


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('a.csv', 'a,b\n1,2\n', "begins with 'a,b'; wanted a recording"),
        ('a.csv', '', 'wanted a recording'),
        ('a.csv', 'time_utc,monotonic_s\n', 'has no sample'),
        ('a.csv', 'time_utc,monotonic_s,x\n2026-01-01T00:00:00Z,1\n', 'line 2: .*as many cells'),
        ('a.csv', 'time_utc,monotonic_s\nyesterday,1\n', 'line 2: .*wanted time_utc as ISO 8601'),
        ('a.log', 'rubbish\n', 'has no sample; wanted lines of tegrastats'),
        ('a.jsonl', '[]\n', 'line 1: no recorded sample'),
    ],
)
def test_what_is_no_log_is_refused(tmp_path, name, text, message):
    with pytest.raises(RecordError, match=message):
        read_log(log(tmp_path, text, name))


def test_recordings_of_two_starts_of_a_board_are_one_timeline():
    samples = [Sample(100, 5), Sample(101, 6), Sample(131, 2), Sample(132, 3)]
    source = ReplaySource(samples, monotonic=lambda: 0.0)
    assert source.monotonic() == 5
    times = iter((0.0, 40.0))
    source = ReplaySource(samples, monotonic=lambda: next(times))
    assert source.read().monotonic_s == 5 + 1 + 30 + 1
    assert source.period_s == 1
