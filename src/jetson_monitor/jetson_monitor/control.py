# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Changes of the board: power mode, clocks, fan profile. Off unless the parameters allow them.

The monitor runs without privileges. It calls `sudo -n` with a fixed program and fixed arguments,
which a line in sudoers must allow; no shell ever sees a text that came from outside.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
import subprocess

from jetson_monitor.config import MonitorConfig
from jetson_monitor.errors import ControlError
from jetson_monitor.sample import Sample
from jetson_monitor.sysfs.power import PowerMode

_NVPMODEL = '/usr/sbin/nvpmodel'
_JETSON_CLOCKS = '/usr/bin/jetson_clocks'
_TIMEOUT_S = 60.0

Run = Callable[[Sequence[str]], 'subprocess.CompletedProcess[str]']


def run(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program with nobody to answer its questions; return what it said and its status."""
    return subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors='replace', timeout=_TIMEOUT_S, check=False,
    )  # fmt: skip


class Control:
    """Carries out the changes that the parameters allow, and explains why it refuses the others."""

    def __init__(self, config: MonitorConfig, sample: Callable[[], Sample], run: Run = run) -> None:
        """Take what is allowed.

        Args:
            config: What is allowed.
            sample: Reads the board anew; tells the state before and after a change.
            run: Runs a program; another one for tests.
        """
        self._config = config
        self._sample = sample
        self._run = run
        names = PowerMode(Path(config.root)).names
        self._numbers = {name: number for number, name in names.items()}

    def set_power_mode(self, name: str) -> str:
        """Set the power mode by its name; return what was done, in words.

        Raises:
            ControlError: It is not allowed, there is no such mode, or it did not work.
        """
        self._require_allowed('power mode', name, 'allowed_power_modes')
        if name not in self._numbers:
            known = ', '.join(self._numbers) or 'none: there is no /etc/nvpmodel.conf'
            raise ControlError(f'power mode {name!r} is not one of this board; it has {known}')
        if self._sample().texts.get('power_mode') == name:
            return f'power mode is {name} already'
        said = self._call([_NVPMODEL, '-m', str(self._numbers[name])])
        now = self._sample().texts.get('power_mode')
        if now != name:
            hint = (
                'it needs a restart of the board, which only you can do: sudo nvpmodel -m '
                f'{self._numbers[name]}'
                if 'reboot' in said.lower()
                else f'nvpmodel said: {_last_line(said)}'
            )
            raise ControlError(f'power mode is still {now or "not known"}, wanted {name}; {hint}')
        return f'power mode is now {name}'

    def set_jetson_clocks(self, locked: bool) -> str:
        """Lock all clocks at their highest, or put them back; return what was done, in words.

        Raises:
            ControlError: It is not allowed, or it did not work.
        """
        self._require_control()
        if not self._config.allow_jetson_clocks:
            raise ControlError(
                'jetson_clocks is not to be changed; set allow_jetson_clocks to true'
            )
        wanted = 'on' if locked else 'off'
        if self._sample().texts.get('jetson_clocks') == wanted:
            return f'jetson_clocks is {wanted} already'
        # Without a stored state --restore has nothing to go back to.
        if locked:
            self._call([_JETSON_CLOCKS, '--store'])
        self._call([_JETSON_CLOCKS] if locked else [_JETSON_CLOCKS, '--restore'])
        return f'jetson_clocks is now {wanted}'

    def set_fan_profile(self, name: str) -> str:
        """Have the fan profile set by its name; return what was done, in words.

        Raises:
            ControlError: It is not allowed, or it did not work.
        """
        self._require_allowed('fan profile', name, 'allowed_fan_profiles')
        if not self._config.fan_profile_command:
            raise ControlError(
                'no program sets the fan profile; nvfancontrol reads it from a file at its start, '
                'so name a program of yours in fan_profile_command'
            )
        if self._sample().texts.get('fan_profile') == name:
            return f'fan profile is {name} already'
        self._call([self._config.fan_profile_command, name])
        return f'fan profile is now {name}'

    def _require_control(self) -> None:
        if not self._config.allow_control:
            raise ControlError('the board is not to be changed; set allow_control to true')

    def _require_allowed(self, what: str, name: str, parameter: str) -> None:
        self._require_control()
        allowed = getattr(self._config, parameter)
        if name not in allowed:
            raise ControlError(
                f'{what} {name!r} is not allowed; {parameter} has: {", ".join(allowed) or "none"}'
            )

    def _call(self, argv: Sequence[str]) -> str:
        command = ['sudo', '-n', *argv]
        try:
            done = self._run(command)
        except FileNotFoundError as exc:
            raise ControlError(f'{command[0]} is not installed; it runs {argv[0]}') from exc
        except subprocess.TimeoutExpired as exc:
            raise ControlError(f'{argv[0]} did not end within {_TIMEOUT_S:g} s') from exc
        if done.returncode != 0 and 'reboot' not in done.stdout.lower():
            raise ControlError(
                f'{" ".join(command)} ended with {done.returncode}: {_last_line(done.stdout)}; it '
                'must be there, and sudoers must allow it to this user without a password'
            )
        return done.stdout


def _last_line(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1] if lines else 'nothing'
