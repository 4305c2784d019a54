# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Changes of the board: what is allowed, what is run, and what is said when it is refused."""

from __future__ import annotations

import subprocess

import pytest

from jetson_monitor.config import MonitorConfig
from jetson_monitor.control import Control
from jetson_monitor.control import run
from jetson_monitor.errors import ControlError
from jetson_monitor.sample import Sample

TABLE = """
< PARAM TYPE=FILE NAME=CPU_ONLINE >
CORE_0 /sys/devices/system/cpu/cpu0/online
< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=25W >
<POWER_MODEL ID=2 NAME=MAXN_SUPER>
< PM_CONFIG DEFAULT=1 >
"""


class Board:
    """A board that does as its programs are told, unless it has a reason not to."""

    def __init__(self, root, **allowed):
        (root / 'etc').mkdir()
        (root / 'etc' / 'nvpmodel.conf').write_text(TABLE)
        self.texts = {'power_mode': '15W', 'jetson_clocks': 'off', 'fan_profile': 'quiet'}
        self.calls = []
        self.answer = (0, '')
        self.obedient = True
        settings = {
            'allow_control': True,
            'allowed_power_modes': ('25W', 'MAXN_SUPER'),
            'allow_jetson_clocks': True,
            'allowed_fan_profiles': ('quiet', 'cool'),
            'fan_profile_command': '/usr/local/sbin/set-fan-profile',
        }
        self.control = Control(
            MonitorConfig(root=str(root), **(settings | allowed)),
            lambda: Sample(0, 0, {}, dict(self.texts)),
            self.run,
        )

    def run(self, argv):
        self.calls.append(list(argv))
        if self.obedient and argv[2].endswith('nvpmodel'):
            self.texts['power_mode'] = ('15W', '25W', 'MAXN_SUPER')[int(argv[4])]
        return subprocess.CompletedProcess(argv, *self.answer)


def test_a_power_mode_is_set_by_its_name(tmp_path):
    board = Board(tmp_path)
    assert board.control.set_power_mode('MAXN_SUPER') == 'power mode is now MAXN_SUPER'
    assert board.calls == [['sudo', '-n', '/usr/sbin/nvpmodel', '-m', '2']]


def test_nothing_is_run_where_all_is_so_already(tmp_path):
    board = Board(tmp_path, allowed_power_modes=('15W',))
    assert board.control.set_power_mode('15W') == 'power mode is 15W already'
    assert board.control.set_jetson_clocks(False) == 'jetson_clocks is off already'
    assert board.control.set_fan_profile('quiet') == 'fan profile is quiet already'
    assert board.calls == []


def test_clocks_are_stored_before_they_are_locked(tmp_path):
    board = Board(tmp_path)
    board.control.set_jetson_clocks(True)
    assert [call[2:] for call in board.calls] == [
        ['/usr/bin/jetson_clocks', '--store'], ['/usr/bin/jetson_clocks'],
    ]  # fmt: skip
    board.texts['jetson_clocks'] = 'on'
    board.control.set_jetson_clocks(False)
    assert board.calls[-1][2:] == ['/usr/bin/jetson_clocks', '--restore']


def test_a_fan_profile_is_set_by_the_program_of_the_user(tmp_path):
    board = Board(tmp_path)
    board.control.set_fan_profile('cool')
    assert board.calls == [['sudo', '-n', '/usr/local/sbin/set-fan-profile', 'cool']]


@pytest.mark.parametrize(
    ('allowed', 'change', 'value', 'words'),
    [
        ({'allow_control': False}, 'set_power_mode', '25W', 'set allow_control to true'),
        ({'allow_control': False}, 'set_jetson_clocks', True, 'set allow_control to true'),
        ({'allow_control': False}, 'set_fan_profile', 'cool', 'set allow_control to true'),
        ({'allowed_power_modes': ()}, 'set_power_mode', '25W', 'allowed_power_modes has: none'),
        ({}, 'set_power_mode', '15W', 'not allowed; allowed_power_modes has: 25W, MAXN_SUPER'),
        ({}, 'set_power_mode', '25W; reboot', "'25W; reboot' is not allowed"),
        ({'allowed_power_modes': ('50W',)}, 'set_power_mode', '50W', 'it has 15W, 25W, MAXN_SUPER'),
        ({'allow_jetson_clocks': False}, 'set_jetson_clocks', True, 'set allow_jetson_clocks'),
        ({}, 'set_fan_profile', 'loud', 'allowed_fan_profiles has: quiet, cool'),
        ({'fan_profile_command': ''}, 'set_fan_profile', 'cool', 'name a program of yours'),
    ],
)
def test_refusals_say_what_would_allow_it_and_run_nothing(tmp_path, allowed, change, value, words):
    board = Board(tmp_path, **allowed)
    with pytest.raises(ControlError) as error:
        getattr(board.control, change)(value)
    assert words in str(error.value)
    assert board.calls == []


@pytest.mark.parametrize(
    ('answer', 'words'),
    [
        ((1, 'sudo: a password is required\n'), 'password is required; it must be there, and sudo'),
        ((1, ''), 'ended with 1: nothing'),
        ((0, 'NVPM WARN: Reboot required for changing to this power mode: 1\n'), 'needs a restart'),
        ((255, 'Reboot required\nDO YOU WANT TO REBOOT NOW?'), 'needs a restart of the board'),
        ((0, 'NVPM ERROR: busy\n'), 'still 15W, wanted 25W; nvpmodel said: NVPM ERROR: busy'),
    ],
)
def test_a_change_that_did_not_happen_is_told(tmp_path, answer, words):
    board = Board(tmp_path)
    board.answer, board.obedient = answer, False
    with pytest.raises(ControlError) as error:
        board.control.set_power_mode('25W')
    assert words in str(error.value)


def test_sudo_that_is_missing_or_hangs_is_told(tmp_path):
    board = Board(tmp_path)

    def missing(argv):
        raise FileNotFoundError(argv[0])

    def hangs(argv):
        raise subprocess.TimeoutExpired(argv, 60)

    for behaviour, words in ((missing, 'sudo is not installed'), (hangs, 'did not end within 60')):
        control = Control(board.control._config, lambda: Sample(0, 0), behaviour)
        with pytest.raises(ControlError, match=words):
            control.set_power_mode('25W')


def test_a_program_gets_no_shell_and_nobody_to_answer():
    done = run(['python3', '-c', 'import sys; print(sys.argv[1], sys.stdin.read() == "")', '$HOME'])
    assert done.stdout == '$HOME True\n'
