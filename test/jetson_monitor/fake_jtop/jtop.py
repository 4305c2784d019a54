# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Looks like jtop, as far as the monitor uses it; the file $FAKE_JTOP says how its service is.

Written after what is known of versions 4.2 to 7.2, not taken from them.
"""

from __future__ import annotations

from datetime import timedelta
import os
from pathlib import Path
import time
from types import SimpleNamespace


class JtopException(Exception):
    pass


def service():
    return Path(os.environ['FAKE_JTOP']).read_text()


class jtop:
    cpu = {
        'total': {'user': 99.0},
        'cpu': [
            {'online': True, 'idle': 75.0, 'freq': {'cur': 1420800, 'min': 1, 'max': 2}},
            {'online': False, 'model': 'ARMv8'},
        ],
    }
    gpu = {'gpu': {'status': {'load': 43.0, 'railgate': False},
                   'freq': {'governor': 'nvhost_podgov', 'cur': 306000}}}  # fmt: skip
    memory = {
        'RAM': {'tot': 7802880, 'used': 3901440, 'free': 0, 'buffers': 0, 'cached': 0, 'lfb': 25},
        'SWAP': {'tot': 2097152, 'used': 1048576, 'cached': 0},
        'EMC': {},
    }
    engine = {'NVENC': {'NVENC': {'online': True, 'cur': 729600}},
              'DLA': {'DLA0_CORE': {'online': False, 'cur': None}}}  # fmt: skip
    temperature = {
        'cpu': {'temp': 50.0, 'online': True},
        'gpu': {'temp': -256, 'online': False},
        'CPU-therm': {'temp': -256},
        'nvme Composite': {'temp': 41.85, 'max': -256, 'crit': 84.85, 'online': True},
    }
    power = {
        'rail': {'VDD_IN': {'volt': 5000, 'curr': 964, 'power': 4820, 'avg': 4800, 'warn': 4984,
                            'crit': 0, 'online': True},
                 'OFF': {'power': 0, 'online': False}},
        'tot': {'power': 4820},
    }  # fmt: skip
    fan = {'pwmfan': {'speed': [30.0, 40.0], 'rpm': [1800], 'profile': 'quiet'}}
    nvpmodel = SimpleNamespace(name='15W', id=0)
    jetson_clocks = SimpleNamespace(status='running')

    def __init__(self, interval=0.5):
        self.interval = interval

    def __enter__(self):
        if service() == 'absent':
            raise JtopException('The jtop.service is not active. Please run:\nsudo systemctl ...')
        return self

    def __exit__(self, *_):
        pass

    def ok(self):
        time.sleep(self.interval)
        if service() != 'running':
            raise JtopException('Lost connection with jtop server')
        return True

    @property
    def uptime(self):
        return timedelta(seconds=time.monotonic())
