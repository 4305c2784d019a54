# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What is known of a board, and what jtop and NVML say of it."""

from __future__ import annotations

from datetime import timedelta
import importlib.util
from pathlib import Path
import sys
from types import SimpleNamespace

import pytest

from jetson_monitor.board import Board
from jetson_monitor.board import read_board
from jetson_monitor.errors import SourceError
from jetson_monitor.jtop_source import convert
from jetson_monitor.nvml import NvmlSource

# --- the board -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('model', 'soc', 'module', 'l4t', 'jetpack'),
    [
        ('tx2', 'tegra186', 'p3310-1000', '32.7.3', None),
        ('xavier_nx', 'tegra194', 'p3668-0001', '35.4.1', '5.1.2'),
        ('orin_nano', 'tegra234', 'p3767-0005', '36.4.4', '6.2.1'),
        ('agx_orin', 'tegra234', 'p3701-0005', '36.4.4', '6.2.1'),
        ('thor', 'tegra264', 'p3834-0008', '38.4.0', '7.1'),
    ],
)
def test_boards(fake_board, model, soc, module, l4t, jetpack):
    fake = fake_board(model)
    board = read_board(fake.root)
    assert (board.soc, board.module, board.l4t, board.jetpack) == (soc, module, l4t, jetpack)
    assert board.model == fake.model.name
    assert board.serial == '1420123456789'
    assert board.is_jetson
    assert board.power_modes == tuple(fake.model.modes.values())
    assert board.default_power_mode == fake.model.modes[fake.model.mode]


def test_what_is_installed(fake_board):
    fake = fake_board('orin_nano')
    entries = [
        ('libnvinfer10', '10.3.0.30-1+cuda12.5', 'installed'),
        ('libcudnn9-cuda-12', '9.3.0.75-1', 'installed'),
        ('nvidia-jetpack', '6.2.1+b38', 'installed'),
        ('libnvinfer8', '8.6.2-1', 'not-installed'),
    ]
    fake.write('var/lib/dpkg/status', '\n'.join(
        f'Package: {name}\nStatus: install ok {status}\nVersion: {version}\n'
        for name, version, status in entries
    ))  # fmt: skip
    fake.write('usr/local/cuda/version.json', '{"cuda": {"version": "12.6.68"}}')
    board = read_board(fake.root)
    assert (board.tensorrt, board.cudnn, board.cuda) == ('10.3.0.30', '9.3.0.75', '12.6.68')
    assert board.jetpack == '6.2.1'
    assert board.tensorrt.startswith(board.release.tensorrt)


def test_in_a_container_the_release_is_that_of_the_package(fake_board):
    fake = fake_board('orin_nano')
    (fake.root / 'etc/nv_tegra_release').unlink()
    fake.write('var/lib/dpkg/status', 'Package: nvidia-l4t-core\nStatus: install ok installed\n'
                                      'Version: 36.5.0-20250115165031')  # fmt: skip
    assert read_board(fake.root).l4t == '36.5.0'


def test_a_pc_is_no_jetson(fake_board):
    board = read_board(fake_board('pc').root)
    assert board == Board()
    assert not board.is_jetson
    assert board.facts() == {}


def test_facts_are_texts():
    board = Board(model='Jetson', power_modes=('15W', '25W'))
    assert board.facts() == {'model': 'Jetson', 'power_modes': '15W, 25W'}


# --- jtop ----------------------------------------------------------------------------------------


@pytest.fixture
def jtop(monkeypatch, tmp_path):
    path = Path(__file__).parent / 'fake_jtop' / 'jtop.py'
    specification = importlib.util.spec_from_file_location('fake_jtop', path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.jtop


def test_what_jtop_shows(jtop):
    found = convert(jtop())
    assert found['values'].pop('uptime_s') > 0
    assert found['values'] == {
        'cpu0_online': 1, 'cpu0_load_percent': 25, 'cpu0_clock_mhz': 1420.8, 'cpu1_online': 0,
        'gpu_load_percent': 43, 'gpu_clock_mhz': 306,
        'ram_used_mib': 3810, 'ram_total_mib': 7620,
        'largest_free_block_count': 25, 'largest_free_block_kib': 4096,
        'swap_used_mib': 1024, 'swap_total_mib': 2048,
        'nvenc_on': 1, 'nvenc_clock_mhz': 729.6, 'dla0_core_on': 0,
        'temp_cpu_c': 50, 'temp_nvme_composite_c': 41.85, 'trip_nvme_composite_critical_c': 84.85,
        'rail_vdd_in_mw': 4820, 'rail_vdd_in_mv': 5000, 'rail_vdd_in_ma': 964,
        'rail_vdd_in_limit_ma': 4984,
        'fan_pwmfan_percent': 30, 'fan_pwmfan2_percent': 40, 'fan_pwmfan_rpm': 1800,
    }  # fmt: skip
    assert found['texts'] == {
        'power_mode': '15W', 'gpu_governor': 'nvhost_podgov', 'fan_profile': 'quiet',
        'jetson_clocks': 'on',
    }  # fmt: skip


def test_jtop_of_a_pc_and_of_thor_with_clocks_in_mhz(jtop):
    empty = SimpleNamespace(
        cpu={'cpu': []}, gpu={}, memory={}, engine={}, temperature={}, power={}, fan={},
        nvpmodel=None, jetson_clocks=None, uptime=timedelta(seconds=5),
    )  # fmt: skip
    assert convert(empty) == {'values': {'uptime_s': 5}, 'texts': {}}
    empty.gpu = {'Thor': {'status': {}, 'freq': {'cur': 1575}}}
    assert convert(empty)['values']['gpu_clock_mhz'] == 1575


# --- NVML ----------------------------------------------------------------------------------------


class NvmlError(Exception):
    pass


class NotSupportedError(NvmlError):
    pass


@pytest.fixture
def nvml(monkeypatch):
    def refuse(*_):
        raise NotSupportedError

    module = SimpleNamespace(
        NVMLError=NvmlError,
        NVMLError_NotSupported=NotSupportedError,
        NVML_CLOCK_GRAPHICS=0,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUtilizationRates=lambda _: SimpleNamespace(gpu=97),
        nvmlDeviceGetClockInfo=lambda *_: 1575,
        nvmlDeviceGetTemperature=lambda *_: 61,
        nvmlDeviceGetMemoryInfo=refuse,
    )
    monkeypatch.setitem(sys.modules, 'pynvml', module)
    return module


def test_what_nvml_says_and_what_it_does_not_support(nvml):
    source = NvmlSource(clock=lambda: 1.7e9, monotonic=lambda: 5.0)
    sample = source.read()
    assert sample.values == {'gpu_load_percent': 97, 'gpu_clock_mhz': 1575, 'temp_gpu_c': 61}
    assert (sample.time_s, sample.monotonic_s) == (1.7e9, 5)
    source.close()


def test_a_gpu_that_is_lost(nvml):
    source = NvmlSource()

    def lost(_):
        raise NvmlError('GPU is lost')

    nvml.nvmlDeviceGetUtilizationRates = lost
    with pytest.raises(SourceError, match='NVML no longer answers: GPU is lost'):
        source.read()


def test_no_driver(nvml):
    def absent():
        raise NvmlError('Driver Not Loaded')

    nvml.nvmlInit = absent
    with pytest.raises(SourceError, match=r'NVML cannot be used: Driver Not Loaded; see whether'):
        NvmlSource()


def test_no_module(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pynvml', None)
    with pytest.raises(SourceError, match='pip install nvidia-ml-py'):
        NvmlSource()
