# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The commands as a shell sees them: output, exit status, Ctrl-C, and pipes that close."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
import pty
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).resolve().parents[2] / 'src' / 'jetson_monitor'
LINE = 'RAM 714/1876MB (lfb 139x4MB) CPU [25%@1510,off] GR3D_FREQ 0%@252 tj@45.5C VDD_IN 4000/3900'


def command(*arguments):
    return [sys.executable, '-m', 'jetson_monitor.entry', *map(str, arguments)]


def environment():
    return os.environ | {'PYTHONPATH': f'{SOURCE}:{os.environ.get("PYTHONPATH", "")}'}


def call(*arguments, stdin=b''):
    return subprocess.run(
        command(*arguments), input=stdin, capture_output=True, env=environment(), timeout=60,
        check=False,
    )  # fmt: skip


@pytest.fixture
def log(tmp_path):
    path = tmp_path / 'tegrastats.log'
    path.write_text(f'{LINE}\n' * 5)
    return path


def test_parse_gives_one_object_a_line(data):
    given = (data / 'tegrastats' / 'lines.txt').read_bytes()
    wanted = [line for line in given.splitlines() if line.strip() and not line.startswith(b'#')]
    done = call('parse', stdin=given)
    assert done.returncode == 0, done.stderr
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(objects) == len(wanted)
    assert all('ram_used_mib' in each and 'unknown_tokens' in each for each in objects)


def test_parse_names_what_it_does_not_know_and_keeps_the_rest():
    given = f'# a comment\n\n{LINE} QUUX 7/8zz\n'.encode() + b'\xff\xfe rubbish\n' + LINE.encode()
    done = call('parse', stdin=given)
    assert done.returncode == 0, done.stderr
    strange, rubbish, last = map(json.loads, done.stdout.splitlines())
    assert strange['temp_tj_c'] == 45.5
    assert any('QUUX' in token for token in strange['unknown_tokens'])
    assert rubbish['unknown_tokens']
    assert last['rail_vdd_in_mw'] == 4000
    assert last['unknown_tokens'] == []


def test_parse_answers_each_line_at_once():
    process = subprocess.Popen(
        command('parse'), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    )
    process.stdin.write(f'{LINE}\n'.encode())
    process.stdin.flush()
    assert json.loads(process.stdout.readline())['ram_used_mib'] == 714
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 1


def test_a_pipe_that_closes_is_no_error():
    process = subprocess.Popen(
        command('parse'), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(),
    )  # fmt: skip
    process.stdout.close()
    _, errors = process.communicate(f'{LINE}\n'.encode() * 100, timeout=20)
    assert process.returncode == 0
    assert errors == b''


def test_record_writes_rows_until_ctrl_c(tmp_path):
    path = tmp_path / 'log.csv'
    process = subprocess.Popen(
        command('record', path, '--source', 'sysfs', '--period', '0.1'), stderr=subprocess.PIPE,
        env=environment(),
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while not (path.exists() and path.read_text().count('\n') > 4):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert f'{len(rows)} samples in {path}' in errors.decode()
    assert float(rows[-1]['ram_total_mib']) > 0
    assert errors.count(b'\n') == 1, 'no traceback'


def test_record_stops_after_so_many_seconds(tmp_path):
    path = tmp_path / 'log.jsonl'
    assert call('record', path, '--source', 'sysfs', '--period', '0.2', '--seconds', '1',
                ).returncode == 0  # fmt: skip
    assert len(path.read_text().splitlines()) == 6


def test_watch_prints_one_table_where_nobody_watches(log):
    done = call('watch', '--replay', log)
    assert done.returncode == 0, done.stderr
    for words in (b'thermal', b'hottest: tj 45.5 C', b'vdd_in 4000 mW', b'714 MiB used'):
        assert words in done.stdout


def test_report_writes_a_page_beside_the_log(log):
    done = call('report', log)
    assert done.returncode == 0, done.stderr
    page = log.with_name('tegrastats.log.html')
    assert done.stdout.decode() == f'wrote {page}\n'
    assert page.read_text().startswith('<!DOCTYPE html>')


def test_preflight_says_what_can_be_read(fake_board):
    done = call('preflight', '--root', fake_board('orin_nano').root, '--json')
    items = {each['name']: each for each in json.loads(done.stdout)}
    assert items['board']['result'] == 'ok'
    assert items['temperatures']['result'] == 'ok'
    assert items['TensorRT']['result'] == 'fail'
    assert done.returncode == 1


def test_preflight_takes_the_expectations_of_a_parameter_file(fake_board, tmp_path):
    parameters = tmp_path / 'p.yaml'
    parameters.write_text('/**: {ros__parameters: {expected_power_mode: TURBO}}\n')
    done = call('preflight', '--root', fake_board('orin_nano').root, '--params-file', parameters)
    assert b'wanted TURBO' in done.stdout


@pytest.mark.parametrize(
    ('arguments', 'status', 'words'),
    [
        (['juggle'], 2, 'invalid choice'),
        (['record'], 2, 'required: file'),
        (['record', 'log.txt', '--seconds', '0'], 1, 'wanted a name ending in .csv or .jsonl'),
        (['record', '/proc/x/log.csv'], 1, 'cannot be written'),
        (['report', '/nowhere.csv'], 1, '/nowhere.csv cannot be read: No such file'),
        (['report', '/dev/null'], 1, 'has no sample'),
        (['watch', '--replay', '/nowhere'], 1, 'cannot be read'),
        (['watch', '--period', '0'], 1, 'period_s is 0.0; wanted 0.1 to 60'),
        (['watch', '--root', '/nowhere', '--source', 'sysfs'], 1, 'is not there'),
        (['watch', '--params-file', '/nowhere'], 1, '/nowhere cannot be read'),
        (['watch', '--params-file', '/dev/null'], 1, 'is no parameter file'),
    ],
)
def test_bad_calls_are_told_in_one_line(arguments, status, words):
    done = call(*arguments)
    assert done.returncode == status
    assert words in done.stderr.decode()
    assert b'Traceback' not in done.stderr


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('/**: {ros__parameters: {perod_s: 1.0}}', 'has perod_s, which the monitor does not know'),
        ('/**: {ros__parameters: {period_s: fast}}', "period_s is 'fast'; wanted a value of type"),
        ('- 1', 'is no parameter file'),
        ('a: [', 'is no parameter file'),
    ],
)
def test_bad_parameter_files_are_told(tmp_path, text, words):
    path = tmp_path / 'p.yaml'
    path.write_text(text)
    done = call('watch', '--params-file', path)
    assert done.returncode == 1
    assert words in done.stderr.decode()
    assert b'Traceback' not in done.stderr


@pytest.mark.parametrize(
    ('verb', 'output', 'status', 'said'),
    [
        ('report', '>&-', 0, ''),
        ('report', '> /dev/full', 1, 'report: No space left on device\n'),
        ('watch --once --replay', '>&-', 0, ''),
        ('watch --once --replay', '> /dev/full', 1, 'watch: No space left on device\n'),
    ],
)
def test_output_that_goes_nowhere_is_no_traceback(log, verb, output, status, said):
    shell = f'{sys.executable} -m jetson_monitor.entry {verb} {log} {output}'
    done = subprocess.run(
        ['bash', '-c', shell], capture_output=True, text=True, env=environment(), check=False
    )
    assert (done.returncode, done.stderr) == (status, said and f'jetson_monitor {said}')


def test_watch_is_a_live_table_until_ctrl_c(log):
    terminal, inner = pty.openpty()
    process = subprocess.Popen(
        command('watch', '--replay', log, '--period', '0.2'), stdin=inner, stdout=inner,
        stderr=inner, env=environment() | {'TERM': 'xterm', 'COLUMNS': '120'},
        start_new_session=True,
    )  # fmt: skip
    os.close(inner)
    shown = b''
    while shown.count(b'hottest: tj 45.5 C') < 3:
        shown += os.read(terminal, 65536)
    process.send_signal(signal.SIGINT)
    try:
        while more := os.read(terminal, 65536):
            shown += more
    except OSError:
        pass  # the terminal of a process that has ended
    assert process.wait(timeout=20) == 0
    assert b'Traceback' not in shown
    os.close(terminal)
