# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Programs that print lines for ever: tegrastats, and the process that asks jtop."""

from __future__ import annotations

import os
from pathlib import Path
import sys
import time

import pytest

from jetson_monitor.errors import SourceError
from jetson_monitor.jtop_source import JtopSource
from jetson_monitor.line_process import LineProcess
from jetson_monitor.tegrastats_stream import TegrastatsSource

pytestmark = pytest.mark.slow

LINE = 'RAM 3452/7620MB (lfb 25x4MB) CPU [1%@1420,off] cpu@50.031C VDD_IN 4824mW/4824mW'
FAKE_JTOP = Path(__file__).parent / 'fake_jtop'


def until(condition, timeout_s=10.0):
    end_s = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end_s, 'did not happen in time'
        time.sleep(0.01)
    return found


@pytest.fixture
def tegrastats(tmp_path):
    """Write a stand-in: each call is the body of a shell script that prints with `say`."""

    def write(body):
        program = tmp_path / 'tegrastats'
        program.write_text(
            f'#!/bin/sh\necho $$ >> {tmp_path}/pids\necho "$@" >> {tmp_path}/arguments\n'
            f"say() {{ echo '{LINE}'; }}\n{body}\n"
        )
        program.chmod(0o755)
        return (str(program),)

    write.pids = lambda: [int(pid) for pid in (tmp_path / 'pids').read_text().split()]
    write.arguments = lambda: (tmp_path / 'arguments').read_text().splitlines()
    return write


def is_gone(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().split()[2] == 'Z'
    except FileNotFoundError:
        return True


# --- any program ---------------------------------------------------------------------------------


def started(body, lines, **options):
    options = {'silence_s': 5.0, 'first_wait_s': 0.01, 'longest_wait_s': 0.05} | options
    return LineProcess(('sh', '-c', body), lines.append, **options)


def test_lines_are_handed_over_whole_also_in_pieces():
    lines = []
    process = started(r"printf 'on'; sleep 0.05; printf 'e\ntwo\n\377\n'; sleep 9", lines)
    until(lambda: len(lines) == 3)
    process.close()
    assert lines == ['one', 'two', '\ufffd']
    assert process.problem == ''


def test_a_program_that_ends_is_started_again_and_says_how_it_ended():
    lines = []
    process = started('echo word; exit 3', lines)
    until(lambda: process.starts >= 3 and 'sh ended with status 3' in process.problem)
    process.close()
    assert lines[:2] == ['word', 'word']


def test_a_killed_program_is_started_again():
    lines = []
    process = started('echo $$; exec sleep 9', lines)
    until(lambda: lines)
    os.kill(int(lines[0]), 9)
    until(lambda: len(lines) == 2)
    process.close()


def test_a_silent_program_is_ended_with_its_children_and_started_again():
    lines = []
    process = started('sleep 99 & echo $! $$; wait', lines, silence_s=0.2)
    until(lambda: len(lines) >= 2)
    assert process.starts >= 2
    process.close()
    for pid in ' '.join(lines).split():
        until(lambda pid=int(pid): is_gone(pid))


def test_a_program_that_will_not_end_is_killed():
    lines = []
    process = started("trap '' TERM; echo $$; while :; do sleep 0.05; done", lines)
    until(lambda: lines)
    process.close()
    assert is_gone(int(lines[0]))


def test_waits_double_while_no_line_comes():
    process = started('exit 1', [], first_wait_s=0.05, longest_wait_s=10)
    time.sleep(0.6)  # starts at 0, 0.05, 0.15, 0.35, 0.75 s and then some
    process.close()
    assert 2 <= process.starts <= 4


def test_a_program_that_is_not_there_is_said_so():
    process = LineProcess(('/absent/program',), print, 1.0)
    until(lambda: 'program cannot be run' in process.problem)
    process.close()


def test_rubbish_without_an_end_is_neither_kept_nor_taken_for_life():
    lines = []
    process = started("head -c 300000 /dev/zero | tr '\\0' x; sleep 9", lines, silence_s=0.3)
    until(lambda: process.starts >= 2)
    process.close()
    assert lines == []


# --- tegrastats ----------------------------------------------------------------------------------


def test_tegrastats_streams(tegrastats):
    clock = iter(range(1000))
    command = tegrastats('while say; do sleep 0.02; done')
    source = TegrastatsSource(0.5, command, clock=lambda: 1.7e9, monotonic=lambda: next(clock))
    sample = until(source.read)
    later = until(lambda: source.read() is not sample and source.read())
    source.close()
    assert sample.values['temp_cpu_c'] == 50.031
    assert (sample.time_s, sample.monotonic_s) == (1.7e9, 0)
    assert later.monotonic_s > 0
    assert tegrastats.arguments() == ['--interval 500'], 'and never --stop'
    assert all(map(is_gone, tegrastats.pids()))


def test_tegrastats_that_dies_comes_back(tegrastats):
    source = TegrastatsSource(1.0, tegrastats('say; exit 1'))
    first = until(source.read)
    until(lambda: source.problem.endswith('ended with status 1'))
    until(lambda: source.read() is not first)
    source.close()


def test_tegrastats_that_hangs_is_noticed(tegrastats):
    source = TegrastatsSource(0.1, tegrastats('say; kill -STOP $$'))
    until(source.read)
    until(lambda: 'printed nothing for 3 s' in source.problem)
    source.close()
    until(lambda: all(map(is_gone, tegrastats.pids())))


def test_rubbish_costs_only_its_own_line(tegrastats):
    body = r"say; printf 'Segmentation fault\n\001\377\n'; say; echo NPU 7% $(say); sleep 9"
    source = TegrastatsSource(1.0, tegrastats(body))
    until(lambda: source.unknown_tokens['NPU'])
    assert source.read().values['rail_vdd_in_mw'] == 4824
    assert source.unknown_tokens['Segmentation'] == 1
    assert source.problem == ''
    source.close()


def test_what_tegrastats_says_instead_is_told(tegrastats):
    source = TegrastatsSource(1.0, tegrastats('echo Unknown command; sleep 9'))
    until(lambda: "says nothing known: 'Unknown command'" in source.problem)
    assert source.read() is None
    source.close()


def test_no_tegrastats_here():
    with pytest.raises(
        SourceError, match=r'no program tegrastats-x here.*mount /usr/bin/tegrastats'
    ):
        TegrastatsSource(1.0, ('tegrastats-x',))


# --- jtop ----------------------------------------------------------------------------------------


@pytest.fixture
def jtop(monkeypatch, tmp_path):
    """A jtop that follows the file $FAKE_JTOP: its service runs, dies or was never there."""
    monkeypatch.syspath_prepend(FAKE_JTOP)
    paths = [str(FAKE_JTOP), *filter(None, sys.path)]
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(paths))
    monkeypatch.setenv('FAKE_JTOP', str(tmp_path / 'service'))
    return tmp_path / 'service'


def test_jtop_streams_until_its_service_dies(jtop):
    jtop.write_text('running')
    source = JtopSource(0.05)
    sample = until(source.read)
    assert sample.values['gpu_load_percent'] == 43
    assert sample.texts['power_mode'] == '15W'
    assert 'jtop' not in sys.modules, 'only the process of its own imports it'
    jtop.write_text('dead')
    until(lambda: 'Lost connection' in source.problem)
    last = source.read()
    time.sleep(0.2)
    assert source.read() is last, 'nothing frozen is given out as new'
    jtop.write_text('running')
    until(lambda: source.read() is not last)
    source.close()


def test_jtop_without_its_service_says_so(jtop):
    jtop.write_text('absent')
    source = JtopSource(0.05)
    until(lambda: 'jtop.service is not active' in source.problem)
    assert source.read() is None
    source.close()


def test_no_jtop_here():
    with pytest.raises(SourceError, match=r'jtop is not installed: run pip install jetson-stats'):
        JtopSource()
