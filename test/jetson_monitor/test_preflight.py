# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The checklist: what is well, what is not, and what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jetson_monitor.board import Board
from jetson_monitor.config import MonitorConfig
from jetson_monitor.health import Status
from jetson_monitor.preflight import preflight
from jetson_monitor.preflight import preflight_status
from jetson_monitor.rules import Level
from jetson_monitor.sample import Sample
from jetson_monitor.sources import SourceState

OK, WARN, ERROR, _ = Level
ORIN = Board(
    model='NVIDIA Jetson Orin Nano', soc='tegra234', serial='1423', l4t='36.4.4', jetpack='6.2.1',
    cuda='12.6.68', cudnn='9.3.0.75', tensorrt='10.3.0.30',
)  # fmt: skip
VALUES = {
    'temp_tj_c': 50.0, 'trip_tj_passive_c': 95.0, 'throttle_a_state': 0.0, 'rail_vdd_in_mw': 5000.0,
    'oc1_events': 0.0, 'gpu_load_percent': 0.0, 'emc_load_percent': 1.0, 'fan_pwmfan_percent': 30.0,
    'disk_root_free_mib': 40_000.0, 'ram_total_mib': 7620.0, 'ram_available_mib': 6000.0,
    'swap_total_mib': 3810.0,
}  # fmt: skip
TEXTS = {'power_mode': 'MAXN_SUPER', 'jetson_clocks': 'on'}
ALIVE = SourceState('sysfs', True)
ENVIRON = {'ROS_DISTRO': 'humble', 'TRT_ENGINE_STORE': '/nowhere'}


@pytest.fixture
def root(tmp_path):
    for name, text in (
        ('dev/nvhost-gpu', ''), ('dev/video0', ''), ('usr/bin/nvidia-container-runtime', ''),
        ('proc/sys/net/core/rmem_max', '16777216\n'),
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def items(root, board=ORIN, values=VALUES, texts=TEXTS, statuses=(), sources=(ALIVE,),
          environ=ENVIRON, **config):  # fmt: skip
    found = preflight(
        MonitorConfig(root=str(root), **config), board, Sample(0, 0, values, texts), statuses,
        sources, environ,
    )  # fmt: skip
    return {each.name: each for each in found}


def test_a_board_as_it_should_be(root):
    found = items(root)
    assert {name: each.line() for name, each in found.items() if each.level is not OK} == {}
    assert found['L4T'].fact == '36.4.4, JetPack 6.2.1'
    assert found['power mode'].fact == 'MAXN_SUPER'
    assert found['cameras'].fact == '/dev/video0'
    assert found['fan'].fact == 'pwmfan driven at 30 %'
    status = preflight_status(list(found.values()))
    assert status.level is OK
    assert status.message == f'{len(found)} of {len(found)} checks are well'


@pytest.mark.parametrize(
    ('name', 'level', 'words', 'change'),
    [
        ('board', WARN, 'not a Jetson', {'board': Board(model='PC')}),
        ('board', WARN, 'chip not known', {'board': replace(ORIN, soc=None)}),
        ('board', WARN, 'unknown model, tegra234', {'board': replace(ORIN, model=None)}),
        ('L4T', WARN, 'not known', {'board': replace(ORIN, l4t=None)}),
        ('L4T', WARN, '99.1 is not in our table', {'board': replace(ORIN, l4t='99.1')}),
        ('TensorRT', ERROR, 'not found', {'board': replace(ORIN, tensorrt=None)}),
        ('TensorRT', WARN, 'comes with 10.3.0', {'board': replace(ORIN, tensorrt='10.13.3')}),
        ('TensorRT', WARN, 'comes with 10.3.0', {'board': replace(ORIN, tensorrt='10.3.01')}),
        ('CUDA', WARN, 'not found', {'board': replace(ORIN, cuda=None)}),
        ('cuDNN', WARN, '8.9, but L4T', {'board': replace(ORIN, cudnn='8.9')}),
        ('power mode', WARN, 'wanted 25W', {'expected_power_mode': '25W'}),
        ('power mode', WARN, 'not known', {'texts': {}}),
        ('clocks', WARN, 'not known', {'texts': {}}),
        ('clocks', WARN, 'is off, wanted on', {
            'expect_locked': True, 'texts': {'jetson_clocks': 'off'},
        }),
        ('disk', WARN, '9.0 GB free', {'values': {'disk_root_free_mib': 8584.0}}),
        ('disk', ERROR, '0.5 GB free', {'values': {'disk_root_free_mib': 500.0}}),
        ('disk', WARN, 'not known', {'values': {}}),
        ('memory', WARN, 'add swap', {'values': VALUES | {'swap_total_mib': 0.0}}),
        ('memory', WARN, 'swap not known', {
            'values': {'ram_total_mib': 64_000.0, 'ram_available_mib': 6000.0},
        }),
        ('memory', WARN, 'not known', {'values': {}}),
        ('fan', WARN, 'none is seen', {'values': {}}),
        ('temperatures', WARN, '/sys/class/thermal', {'values': {}}),
        ('memory bus load', WARN, 'not readable here; needs root', {'values': {}}),
        ('GPU load', WARN, 'pip install nvidia-ml-py', {'values': {}}),
        ('ROS', WARN, 'source the setup file', {'environ': {'TRT_ENGINE_STORE': '/nowhere'}}),
        ('source jtop', ERROR, 'not used: gone', {'sources': [SourceState('jtop', False, 'gone')]}),
        ('source jtop', OK, 'not used: gone', {
            'sources': [SourceState('jtop', False, 'gone'), ALIVE],
        }),
        ('thermal now', ERROR, 'hot', {'statuses': [Status('thermal', ERROR, 'hot')]}),
    ],
)  # fmt: skip
def test_what_is_not_as_it_should_be(root, name, level, words, change):
    item = items(root, **change)[name]
    assert item.level is level
    assert words in item.line()


def test_missing_devices_and_settings(root):
    (root / 'dev' / 'nvhost-gpu').unlink()
    (root / 'proc/sys/net/core/rmem_max').write_text('212992\n')
    found = items(root)
    assert found['GPU'].level is ERROR
    assert '--runtime nvidia' in found['GPU'].fix
    assert found['socket buffer'].level is WARN
    assert 'sysctl -w net.core.rmem_max' in found['socket buffer'].fix
    status = preflight_status(list(found.values()))
    assert status.level is ERROR
    assert 'first: GPU: no device node of it; in a container: --runtime nvidia' in status.message


def test_a_machine_that_is_no_jetson_is_not_asked_for_its_parts(root):
    found = items(root, board=Board(model='PC'), values=VALUES)
    assert not {'TensorRT', 'GPU', 'power mode', 'rails', 'L4T'} & set(found)
    assert all(each.level < ERROR for each in found.values())
