# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings: one header a file, unknown cells empty, rotation, and what a crash costs."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from jetson_monitor.errors import RecordError
from jetson_monitor.line_file import LineFile
from jetson_monitor.line_file import whole_lines
from jetson_monitor.record import open_recorder
from jetson_monitor.record import read_json_lines
from jetson_monitor.sample import Sample

LARGE = 1 << 20


def sample(at_s=0.0, texts=None, **values):
    return Sample(1_800_000_000 + at_s, at_s, values, texts or {})


def recorded(path, *samples, max_bytes=LARGE, files=5):
    recorder = open_recorder(path, max_bytes, files)
    for each in samples:
        recorder.write(each)
    recorder.close()


def rows(path):
    return list(csv.reader(path.read_text().splitlines()))


def test_csv_has_time_first_units_in_names_and_empty_cells_for_unknown(tmp_path):
    path = tmp_path / 'new' / 'log.csv'
    recorded(
        path,
        sample(0.5, {'power_mode': 'MAXN, super'}, temp_tj_c=45.125, ram_used_mib=2000.0),
        sample(1.5, temp_tj_c=46.0),
    )
    assert rows(path) == [
        ['time_utc', 'monotonic_s', 'power_mode', 'ram_used_mib', 'temp_tj_c'],
        ['2027-01-15T08:00:00.500Z', '0.5', 'MAXN, super', '2000', '45.125'],
        ['2027-01-15T08:00:01.500Z', '1.5', '', '', '46'],
    ]


def test_a_name_that_comes_early_widens_the_file(tmp_path):
    path = tmp_path / 'log.csv'
    recorded(path, sample(0, a=1.0), sample(1, a=1.0, b=2.0), sample(2, b=3.0))
    assert [each.name for each in tmp_path.iterdir()] == ['log.csv']
    assert [row[2:] for row in rows(path)] == [['a', 'b'], ['1', ''], ['1', '2'], ['', '3']]


def test_a_name_that_comes_late_begins_a_new_file(tmp_path):
    path = tmp_path / 'log.csv'
    recorded(path, *(sample(t, a=1.0) for t in range(11)), sample(11, b=2.0), sample(12, a=3.0))
    assert rows(tmp_path / 'log.1.csv')[0] == ['time_utc', 'monotonic_s', 'a']
    assert len(rows(tmp_path / 'log.1.csv')) == 12
    assert [row[2:] for row in rows(path)] == [['a', 'b'], ['', '2'], ['3', '']]


def test_a_recording_is_taken_up_again_without_the_line_that_a_crash_cut_off(tmp_path):
    path = tmp_path / 'log.csv'
    recorded(path, sample(0, a=1.0))
    with path.open('a') as file:
        file.write('2027-01-15T08:0')
    recorded(path, sample(2, a=2.0))
    assert [row[2:] for row in rows(path)] == [['a'], ['1'], ['2']]


def test_a_foreign_file_is_left_alone(tmp_path):
    path = tmp_path / 'log.csv'
    path.write_text('name,price\nbread,3\n')
    with pytest.raises(RecordError, match='no recording; name another file'):
        recorded(path, sample(0, a=1.0))
    assert path.read_text() == 'name,price\nbread,3\n'


def test_rotation_keeps_so_many_files_each_with_its_header(tmp_path):
    path = tmp_path / 'log.csv'
    recorded(path, *(sample(t, a=float(t)) for t in range(20)), max_bytes=150, files=3)
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        'log.1.csv', 'log.2.csv', 'log.csv',
    ]  # fmt: skip
    values = []
    for name in ('log.2.csv', 'log.1.csv', 'log.csv'):
        header, *body = rows(tmp_path / name)
        assert header == ['time_utc', 'monotonic_s', 'a']
        assert (tmp_path / name).stat().st_size <= 150
        values += [float(row[2]) for row in body]
    assert values == sorted(values)
    assert values[-1] == 19


def test_one_file_is_begun_anew(tmp_path):
    path = tmp_path / 'log.jsonl'
    recorded(path, *(sample(t, a=float(t)) for t in range(9)), max_bytes=100, files=1)
    assert [each.name for each in tmp_path.iterdir()] == ['log.jsonl']


def test_json_lines_are_flat_and_come_back(tmp_path):
    path = tmp_path / 'log.jsonl'
    samples = [sample(0.5, {'power_mode': 'MAXN'}, temp_tj_c=45.5), sample(1.5)]
    recorded(path, *samples)
    first = json.loads(path.read_text().splitlines()[0])
    assert first == {
        'time_utc': '2027-01-15T08:00:00.500Z',
        'monotonic_s': 0.5,
        'temp_tj_c': 45.5,
        'power_mode': 'MAXN',
    }
    with path.open('a') as file:
        file.write('{"half')
    assert read_json_lines(path) == samples


@pytest.mark.parametrize('line', ['', '[]', '3', '{}', '{"time_utc": 1, "monotonic_s": 0}', 'x'])
def test_what_is_no_recording_is_refused(tmp_path, line):
    path = tmp_path / 'log.jsonl'
    path.write_text(f'{line}\n')
    with pytest.raises(RecordError, match='line 1: no recorded sample'):
        read_json_lines(path)


def test_files_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(RecordError, match=r'wanted a name ending in \.csv or \.jsonl'):
        open_recorder(tmp_path / 'log.txt', LARGE, 1)
    (tmp_path / 'log.csv').mkdir()
    with pytest.raises(RecordError, match='cannot be written: Is a directory'):
        open_recorder(tmp_path / 'log.csv', LARGE, 1)
    with pytest.raises(RecordError, match='cannot be read: No such file'):
        list(whole_lines(tmp_path / 'nowhere'))
    (tmp_path / 'binary').write_bytes(b'\xff\xfe\n')
    with pytest.raises(RecordError, match='not UTF-8'):
        list(whole_lines(tmp_path / 'binary'))


def test_a_full_disk_is_told():
    file = LineFile.__new__(LineFile)
    file._path, file._handle = 'the file', os.open('/dev/full', os.O_WRONLY)
    with pytest.raises(RecordError, match='No space left on device'):
        file.append('x')


def test_a_half_line_longer_than_a_block_is_dropped(tmp_path):
    path = tmp_path / 'x.jsonl'
    path.write_text('whole\n' + 'y' * 200_000)
    LineFile(path, LARGE, 1).close()
    assert path.read_text() == 'whole\n'


WRITE_FOREVER = """
import pathlib, sys
from jetson_monitor.record import open_recorder
from jetson_monitor.sample import Sample
recorder = open_recorder(pathlib.Path(sys.argv[1]), 1 << 30, 1)
for n in range(10**9):
    recorder.write(Sample(n, n, {'a': float(n), 'b': 0.5}))
"""


@pytest.mark.slow
@pytest.mark.parametrize('suffix', ['csv', 'jsonl'])
def test_a_killed_recorder_leaves_whole_lines(tmp_path, suffix):
    path = tmp_path / f'log.{suffix}'
    process = subprocess.Popen([sys.executable, '-c', WRITE_FOREVER, str(path)])
    deadline = time.monotonic() + 20
    while not (path.exists() and path.stat().st_size > 5000):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()

    lines = list(whole_lines(path))

    if suffix == 'csv':
        numbers = [float(row[2]) for row in csv.reader(lines[1:])]
    else:
        numbers = [json.loads(line)['a'] for line in lines]
    assert numbers == [float(n) for n in range(len(numbers))]
    assert len(numbers) > 50
