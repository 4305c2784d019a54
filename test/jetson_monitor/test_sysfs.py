# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The kernel's files as a source, on boards made of files."""

from __future__ import annotations

import os
import shutil

import pytest

from jetson_monitor.errors import SourceError
from jetson_monitor.fake_board import MODELS
from jetson_monitor.sysfs import SysfsSource
from jetson_monitor.sysfs.cpu import CpuLoad
from jetson_monitor.sysfs.cpu import parse_cores
from jetson_monitor.sysfs.memory import parse_buddyinfo
from jetson_monitor.sysfs.power import parse_modes
from jetson_monitor.sysfs.storage import parse_mounts

pytestmark = pytest.mark.slow

JETSONS = sorted(set(MODELS) - {'pc'})


class Clock:
    def __init__(self):
        self.s = 0.0

    def __call__(self):
        return self.s


def without_disks(values):
    # of this machine, on which other tests write meanwhile
    return {name: value for name, value in values.items() if not name.startswith('disk_')}


# --- each kind of board --------------------------------------------------------------------------


@pytest.mark.parametrize('model', JETSONS)
def test_what_every_jetson_tells(fake_board, model):
    board = fake_board(model)
    source = SysfsSource(board.root)
    board.set_load(200, 1100)

    sample = source.read()

    values = sample.values
    assert values['cpu0_load_percent'] == pytest.approx(100 / 3)
    assert values['cpu0_clock_mhz'] == 729.6
    assert values['gpu_clock_max_mhz'] == 1020
    assert values['ram_total_mib'] == board.model.memory_mib
    assert values['ram_used_mib'] == values['ram_total_mib'] - values['ram_available_mib']
    assert (values['swap_used_mib'], values['cma_free_mib']) == (512, 200)
    assert values['largest_free_block_count'] == 466
    assert values['throttle_cpu_throttle_alert_state'] == 0
    assert values['throttle_cpufreq_cpu0_max_state'] == 10
    assert not any('pwm_fan' in name for name in values), 'a fan slows nothing down'
    assert values['fan_pwmfan_percent'] == pytest.approx(30.2, abs=0.01)
    assert values['fan_pwmfan_rpm'] == 1800
    assert values['oc3_events'] == 0
    assert values['temp_nvme_c'] == 41.85
    assert values['trip_nvme_critical_c'] == 84.85
    assert values['uptime_s'] == 1234.56
    assert values['disk_root_read_only'] == 0
    assert 0 < values['disk_root_used_percent'] < 100
    assert sample.texts['power_mode'] == board.model.modes[board.model.mode]
    assert sample.texts['jetson_clocks'] == 'off'
    for core in range(board.model.cores):
        assert values[f'cpu{core}_online'] == 1
    for kind, millidegrees in board.model.zones.items():
        zone = kind.lower().replace('-thermal', '').replace('-therm', '')
        if 'pmic' not in zone:
            assert values[f'temp_{zone}_c'] == millidegrees / 1000
            assert values[f'trip_{zone}_critical_c'] == board.model.trips['critical'] / 1000
    for chip in board.model.rails:
        for label, (mv, ma) in chip.items():
            if label != 'NC':
                rail = f'rail_{label.lower()}'
                assert values[f'{rail}_mw'] == mv * ma / 1000
                assert (values[f'{rail}_mv'], values[f'{rail}_ma']) == (mv, ma)
                assert (values[f'{rail}_limit_ma'], values[f'{rail}_critical_ma']) == (4984, 5500)
    assert not any('nc' in name.split('_') or 'pmic' in name for name in values)


@pytest.mark.parametrize('model', sorted(set(JETSONS) - {'thor'}))
def test_gpu_load_is_in_per_mille(fake_board, model):
    board = fake_board(model)
    values = SysfsSource(board.root).read().values
    assert (values['gpu_load_percent'], values['gpu_on']) == (43, 1)


def test_on_thor_the_load_of_the_gpu_is_absent_and_its_input_power_is_not(fake_board):
    values = SysfsSource(fake_board('thor').root).read().values
    assert 'gpu_load_percent' not in values
    assert values['gpu_clock_mhz'] == 306
    assert (values['rail_vin_mw'], values['rail_vin_limit_mw']) == (19780, 168000)


def test_a_pc_is_read_as_far_as_it_goes(fake_board):
    sample = SysfsSource(fake_board('pc').root).read()
    assert sample.values['temp_x86_pkg_temp_c'] == 55
    assert sample.values['ram_total_mib'] == 16000
    assert sample.texts == {}


def test_rails_of_r32(fake_board):
    board = fake_board('tx2')
    folder = 'sys/bus/iio/devices/iio:device0'
    for name, text in {'rail_name_0': 'VDD_IN', 'in_power0_input': 3140, 'rail_name_1': 'NC',
                       'in_voltage0_input': 19000, 'in_current0_input': 165}.items():  # fmt: skip
        board.write(f'{folder}/{name}', text)
    values = SysfsSource(board.root).read().values
    assert (values['rail_vdd_in_mw'], values['rail_vdd_in_mv']) == (3140, 19000)


def test_what_only_root_may_read_is_used_where_it_can_be(fake_board):
    board = fake_board('orin_nano')
    bpmp = 'sys/kernel/debug/bpmp/debug/clk/emc'
    board.write(f'{bpmp}/rate', 2_133_000_000)
    board.write(f'{bpmp}/max_rate', 3_199_000_000)
    board.write('sys/kernel/debug/cactmon/mc_all', 21_330_000)
    values = SysfsSource(board.root).read().values
    assert (values['emc_clock_mhz'], values['emc_clock_max_mhz']) == (2133, 3199)
    assert values['emc_load_percent'] == 10
    assert 'emc_activity' not in values


def test_engines_have_power_or_not(fake_board):
    board = fake_board('agx_orin')
    board.write('sys/bus/platform/devices/15880000.nvdla0/power/runtime_status', 'active')
    board.write('sys/bus/platform/devices/15480000.nvdec/power/runtime_status', 'unsupported')
    values = SysfsSource(board.root).read().values
    assert (values['nvdla0_on'], values['nvdla1_on']) == (1, 0)
    assert 'nvdec_on' not in values


# --- what changes while it runs ------------------------------------------------------------------


def test_a_gated_sensor_is_absent_and_comes_back(fake_board):
    board = fake_board('thor')
    temp = f'{board.zone("gpu-thermal")}/temp'
    board.gate(temp)
    source = SysfsSource(board.root)
    values = source.read().values
    assert 'temp_gpu_c' not in values
    assert values['temp_tj_c'] == 38.875
    board.write(temp, 40_000)
    assert source.read().values['temp_gpu_c'] == 40


@pytest.mark.parametrize('text', ['-256000', '', 'nan', 'inf', 'N/A', '\0', '1e999'])
def test_what_is_no_temperature_is_absent(fake_board, text):
    board = fake_board('orin_nano')
    board.write(f'{board.zone("gpu-thermal")}/temp', text)
    assert 'temp_gpu_c' not in SysfsSource(board.root).read().values


def test_a_trip_of_zero_is_none_and_of_several_the_lowest_counts(fake_board):
    board = fake_board('orin_nano')
    zone = board.zone('tj-thermal')
    for i, (kind, limit) in enumerate((('passive', 99000), ('passive', 95000), ('hot', 0))):
        board.write(f'{zone}/trip_point_{i}_type', kind)
        board.write(f'{zone}/trip_point_{i}_temp', limit)
    values = SysfsSource(board.root).read().values
    assert values['trip_tj_passive_c'] == 95
    assert 'trip_tj_hot_c' not in values


def test_hardware_monitors_are_found_by_name_when_their_numbers_change(fake_board):
    board = fake_board('orin_nano')
    clock = Clock()
    source = SysfsSource(board.root, monotonic=clock)
    before = without_disks(source.read().values)
    board.renumber_hwmons()
    clock.s = 1
    assert 'oc1_events' not in source.read().values, 'the files are gone'
    clock.s = 10
    assert without_disks(source.read().values) == before


def test_a_core_that_goes_off_has_neither_load_nor_clock(fake_board):
    board = fake_board('orin_nano')
    source = SysfsSource(board.root)
    shutil.rmtree(board.root / 'sys/devices/system/cpu/cpu5/cpufreq')
    board.write('sys/devices/system/cpu/online', '0-4')
    stat = (board.root / 'proc/stat').read_text().replace('cpu5', 'gone').replace(' 900', ' 950')
    board.write('proc/stat', stat)

    values = source.read().values

    assert (values['cpu4_online'], values['cpu5_online']) == (1, 0)
    assert values['cpu4_load_percent'] == 0
    assert [name for name in values if name.startswith('cpu5')] == ['cpu5_online']


def test_jetson_clocks_is_seen_at_the_clocks(fake_board):
    board = fake_board('agx_orin')
    source = SysfsSource(board.root)
    board.set_clocks(locked=True)
    assert source.read().texts['jetson_clocks'] == 'on'
    board.write('sys/class/devfreq/17000000.gpu/min_freq', 306_000_000)
    assert source.read().texts['jetson_clocks'] == 'off'
    board.set_clocks(locked=True)
    board.write('sys/devices/system/cpu/cpu7/cpufreq/scaling_min_freq', 729_600)
    assert source.read().texts['jetson_clocks'] == 'off'


def test_the_power_mode_is_named_by_this_boards_own_table(fake_board):
    board = fake_board('orin_nano')
    source = SysfsSource(board.root)
    assert source.read().texts['power_mode'] == 'MAXN_SUPER'
    board.write('var/lib/nvpmodel/status', 'pmode:0000')
    assert source.read().texts['power_mode'] == '15W'
    board.write('var/lib/nvpmodel/status', 'pmode:0009')
    sample = source.read()
    assert sample.values['power_mode_id'] == 9
    assert 'power_mode' not in sample.texts


def test_disks(fake_board):
    board = fake_board('orin_nano')
    (board.root / 'data/maps').mkdir(parents=True)
    board.write('proc/mounts', '/dev/a / ext4 rw 0 0\n/dev/b /data ext4 rw 0 0\n'
                               '/dev/b /data ext4 ro,noatime 0 0')  # fmt: skip
    source = SysfsSource(board.root, mounts=('/', '/data/maps', '/absent'))
    values = source.read().values
    disk = os.statvfs(board.root)
    assert values['disk_root_free_mib'] == pytest.approx(disk.f_bavail * disk.f_frsize / 2**20, 0.1)
    assert (values['disk_root_read_only'], values['disk_data_maps_read_only']) == (0, 1)
    assert not any('absent' in name for name in values)


def test_memory_that_is_swapped_into_memory(fake_board):
    board = fake_board('orin_nano')
    for device in range(2):
        board.write(f'sys/block/zram{device}/mm_stat', '104857600 20000000 52428800 0 0 0 0')
    values = SysfsSource(board.root).read().values
    assert (values['zram_stored_mib'], values['zram_used_mib']) == (200, 100)


def test_a_root_without_proc_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r'proc/meminfo is not there.*give the root of one'):
        SysfsSource(tmp_path)


# --- texts of the kernel -------------------------------------------------------------------------


def test_load_of_cores_since_the_last_look():
    load = CpuLoad()
    assert load.update('cpu0 100 0 0 900 0 0 0 0 0 0') == {}
    later = load.update('cpu  9 9 9 9\ncpu0 120 5 5 960 10 0 0 0 7 7\ncpu1 1 0 0 1 0')
    assert later == {'cpu0_load_percent': 30}, 'a core that is new has no load yet'
    assert load.update('cpu0 1 0 0 1 0 0 0 0') == {}, 'started anew'
    assert load.update('cpu0 x 0 0 1 0\ncpu0') == {}


@pytest.mark.parametrize(
    ('text', 'cores'),
    [('0-3,6', {0, 1, 2, 3, 6}), ('0', {0}), ('', set()), ('x-3,-,5-', {5}), ('1-99999999', set())],
)
def test_lists_of_cores(text, cores):
    assert parse_cores(text) == cores


def test_the_largest_free_block_is_of_the_highest_order_that_any_zone_has():
    text = 'Node 0, zone DMA 9 1 0 0\nNode 0, zone Normal 5 0 3 0'
    assert parse_buddyinfo(text, 4) == {
        'largest_free_block_kib': 16, 'largest_free_block_count': 3,
    }  # fmt: skip
    assert parse_buddyinfo('rubbish', 4) == {}


def test_modes_of_nvpmodel():
    conf = (
        '# < POWER_MODEL ID=7 NAME=COMMENT >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n'
        'CPU_ONLINE CORE_0 1\n< PM_CONFIG DEFAULT=2 >'
    )
    assert parse_modes(conf) == ({2: 'MAXN_SUPER'}, 'MAXN_SUPER')
    assert parse_modes('') == ({}, None)


def test_of_two_mounts_at_one_place_the_last_counts():
    assert parse_mounts('a /x f rw 0 0\nb /x f ro 0 0\nrubbish') == {'/x': ['ro']}
