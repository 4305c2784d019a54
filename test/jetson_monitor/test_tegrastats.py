# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Lines of tegrastats: those that were captured on boards, and whatever else may come."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
import re

from hypothesis import example
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest

from jetson_monitor.tegrastats import parse_line

# What was read off the captured lines by eye, in their order: beginning of the comment above
# the line, and some of its values.
CAPTURED = [
    ('Jetson TK1', {'cpu_clock_mhz': 2218, 'cpu3_load_percent': 1, 'vde_clock_mhz': 120,
                        'avp_load_percent': 0, 'gpu_clock_mhz': 252, 'emc_load_percent': 3}),
    ('Jetson TX1', {'iram_total_kib': 252, 'cpu0_clock_mhz': 102, 'temp_tdiode_c': 42.75,
                        'rail_vdd_in_mw': 2532, 'rail_vdd_in_average_mw': 2698}),
    ('Jetson TX2, L4T R32', {'largest_free_block_count': 1164, 'cpu1_load_percent': 21,
                                 'rail_vdd_4v0_wifi_mw': 633, 'temp_thermal_c': 41.9}),
    ('Jetson TX2, JetPack 4.x (log', {'cpu0_clock_mhz': 2035, 'rail_vdd_in_mw': 1840}),
    ('Jetson TX2, JetPack 4.x, root', {'swap_cached_mib': 181, 'mts_fg_load_percent': 1,
                                           'mts_bg_load_percent': 1, 'ape_clock_mhz': 150,
                                           'emc_clock_mhz': 1866}),
    ('Jetson TX2 4GB', {'rail_vdd_sys_cpu_average_mw': 937, 'cpu2_clock_mhz': 2035}),
    ('Jetson Nano 4GB, L4T R32, root', {'rail_pom_5v_in_mw': 1022, 'iram_used_kib': 0}),
    ('Jetson Nano 4GB, L4T R32.3', {'rail_pom_5v_cpu_average_mw': 163, 'temp_ao_c': 36}),
    ('Jetson AGX Xavier', {'rail_gpu_mw': 0, 'rail_sys5v_mw': 1889, 'temp_gpu_c': 32}),
    ('Jetson Xavier NX', {'rail_vdd_cpu_gpu_cv_mw': 738, 'gpu_load_percent': 62,
                              'gpu_clock_mhz': 306, 'temp_aux_c': 41.5}),
    ('Jetson AGX Orin devkit 64GB, JetPack 5.x', {'gpu2_clock_mhz': 0, 'vic_clock_mhz': 729,
                                                      'rail_vddq_vdd2_1v8ao_mw': 301,
                                                      'temp_tj_c': 42.593}),
    ('Jetson AGX Orin 32GB (8 cores)', {'temp_soc2_c': 42.562, 'emc_load_percent': 0}),
    ('Orin-class', {'emc_clock_mhz': 3199, 'nvenc_load_percent': 7, 'gpu2_load_percent': 99,
                        'nvdla1_load_percent': 0}),
    ('Jetson Orin NX 16GB, JetPack 5.1', {'cpu4_online': 0, 'cpu3_load_percent': 16,
                                              'rail_vdd_in_mw': 5299}),
    ('Jetson Orin NX 16GB, JetPack 6.2', {'gpu_load_percent': 0, 'temp_cv0_c': 47.156,
                                              'rail_vdd_soc_mw': 2506}),
    ('Jetson Orin NX 16GB, JetPack 6.x', {'rail_vdd_in_mw': 12673, 'swap_used_mib': 3109,
                                              'rail_vdd_in_average_mw': 8213,
                                              'cpu7_load_percent': 100}),
    ('Jetson Orin Nano 8GB, JetPack 6.x, non-root, SWAP', {'temp_tj_c': 50.25}),
    ('Jetson Orin Nano 8GB, JetPack 6.x, non-root, default', {'largest_free_block_count': 3}),
    ('Jetson AGX Orin 32GB (12 cores)', {'swap_used_mib': 4915, 'gpu_clock_mhz': 305,
                                             'gpu_unit1_clock_mhz': 305, 'nvjpg1_on': 0,
                                             'pva0_on': 0, 'nvdla1_on': 0, 'cpu4_clock_mhz': 2201}),
    ('Jetson AGX Orin 64GB, JetPack 6', {'rail_vdd_gpu_soc_mw': 4940, 'temp_gpu_c': 37.75}),
    ('Jetson AGX Orin devkit 64GB, L4T R36.4.4', {'nvenc_load_percent': 78, 'nvenc_on': 1,
                                                      'nvenc_clock_mhz': 166, 'vic_on': 1,
                                                      'nvdec_on': 0,
                                                      'rail_vin_sys_5v0_average_mw': 4657}),
    ('Jetson AGX Orin devkit 64GB, JetPack 7.2', {'largest_free_block_kib': 2048,
                                                      'gpu_load_percent': 12,
                                                      'gpu_clock_mhz': 1300,
                                                      'rail_vdd_cpu_cv_peak_mw': 3268,
                                                      'temp_cpu_c': 52.968, 'nvenc0_on': 0}),
    ('Jetson AGX Thor, L4T R38.4.0', {'gpu_unit2_clock_mhz': 0, 'vic_on': 0,
                                          'nvenc1_clock_mhz': 0, 'rail_vdd_cpu_soc_mss_mw': 4923}),
    ('Jetson AGX Thor devkit', {'gpu_clock_mhz': 314, 'ofa_clock_mhz': 315,
                                    'rail_vin_mw': 19780, 'temp_soc345_c': 37.406}),
    ('Jetson AGX Thor, JetPack 7.2', {'rail_vin_mw': 87426, 'rail_vin_average_mw': 43713,
                                          'rail_vin_peak_mw': 87426}),
]  # fmt: skip


@pytest.fixture(scope='session')
def captured(data: Path) -> list[tuple[str, str]]:
    text = (data / 'tegrastats' / 'lines.txt').read_text()
    return re.findall(r'^(#.*)\n([^#\n].*)$', text, re.MULTILINE)


@pytest.mark.parametrize('index', range(len(CAPTURED)), ids=lambda i: CAPTURED[i][0])
def test_captured_lines_are_understood_whole(index, captured):
    comment, line = captured[index]
    begins, some = CAPTURED[index]
    assert comment.startswith(f'# {begins}')

    parsed = parse_line(line)

    assert parsed.unknown_tokens == ()
    assert {name: parsed.values.get(name) for name in some} == some
    assert numbers_of_use(line) == sorted(
        value
        for name, value in parsed.values.items()
        if not name.endswith(('_on', '_online', 'block_kib'))
        and not (name == 'gpu_clock_mhz' and 'gpu_unit0_clock_mhz' in parsed.values)
    )


def numbers_of_use(line):
    """Count by another way than the parser: nothing is missed, nothing made up."""
    useless = (
        r'^\S+-\S+-\d{4} \S+|PMIC@\S+|\bNC \S+|EDP limit \d+|\S+@-256C'
        r'|(?<=\dkB)\(lfb \d+kB|(?<=C)/\S+C'
    )
    numbers = re.findall(r'(?<![\w.])-?\d+(?:\.\d+)?', re.sub(useless, '', line))
    return sorted(map(float, numbers))


def test_every_captured_line_is_listed(captured):
    assert len(captured) == len(CAPTURED)


def test_a_sensor_without_power_is_absent(captured):
    line = next(line for _, line in captured if 'GPU@-256C' in line)
    values = parse_line(line).values
    assert 'temp_gpu_c' not in values
    assert 'temp_cv0_c' not in values
    assert values['temp_cpu_c'] == 42.593


def test_on_thor_the_load_of_the_gpu_is_absent_and_its_clock_is_not(captured):
    line = next(line for _, line in captured if 'GR3D_FREQ @[314' in line)
    values = parse_line(line).values
    assert 'gpu_load_percent' not in values
    assert values['gpu_clock_mhz'] == 314


def test_the_stamp_of_a_line():
    assert parse_line('05-17-2026 10:00:33 RAM 1/2MB').stamp == datetime(2026, 5, 17, 10, 0, 33)
    assert parse_line('RAM 1/2MB').stamp is None
    impossible = parse_line('13-32-2026 10:00:33 RAM 1/2MB')
    assert impossible.stamp is None
    assert impossible.values == {'ram_used_mib': 1, 'ram_total_mib': 2}


@pytest.mark.parametrize(
    ('line', 'values'),
    [
        ('VDD_GPU -392mW/10mW', {'rail_vdd_gpu_mw': -392, 'rail_vdd_gpu_average_mw': 10}),
        ('PVA0_FREQ [7%,9%]@812', {'pva0_unit0_load_percent': 7, 'pva0_unit1_load_percent': 9,
                                   'pva0_clock_mhz': 812}),
        ('GR3D_FREQ 63%@[621]', {'gpu_load_percent': 63, 'gpu_unit0_clock_mhz': 621,
                                 'gpu_clock_mhz': 621}),
        ('GR3D_FREQ [91%,7%]@[3,4]', {'gpu_unit0_load_percent': 91, 'gpu_unit1_load_percent': 7,
                                      'gpu_unit0_clock_mhz': 3, 'gpu_unit1_clock_mhz': 4,
                                      'gpu_clock_mhz': 4}),
        ('NVENC 716', {'nvenc_clock_mhz': 716, 'nvenc_on': 1}),
        ('OFA_FREQ @315', {'ofa_clock_mhz': 315}),
        ('(lfb 1x512kB)', {'largest_free_block_kib': 512, 'largest_free_block_count': 1}),
        ('EMC_FREQ 0%', {'emc_load_percent': 0}),
        ('GR3D_FREQ off', {'gpu_on': 0}),
        ('PMIC@50C NC 0mW/0mW', {}),
        ('', {}),
    ],
)  # fmt: skip
def test_tokens(line, values):
    parsed = parse_line(line)
    assert parsed.values == values
    assert parsed.unknown_tokens == ()


@pytest.mark.parametrize(
    'token', ['XYZZY 12%@[3,4]', 'NPU_FREQ 7%', 'foo', 'GPU_TEMP:44', '#', 'tj@C', 'a@5F']
)
@pytest.mark.parametrize('place', range(4))
def test_an_unknown_token_costs_nothing_else(token, place):
    tokens = ['RAM 1/2MB (lfb 3x4MB)', 'CPU [5%@6,off]', 'tj@7.5C VDD_IN 8mW/9mW']
    tokens.insert(place, token)
    parsed = parse_line(' '.join(tokens))
    assert parsed.unknown_tokens == (token,)
    assert parsed.values == {
        'ram_used_mib': 1, 'ram_total_mib': 2, 'largest_free_block_count': 3,
        'largest_free_block_kib': 4096, 'cpu0_load_percent': 5, 'cpu0_clock_mhz': 6,
        'cpu0_online': 1, 'cpu1_online': 0, 'temp_tj_c': 7.5, 'rail_vdd_in_mw': 8,
        'rail_vdd_in_average_mw': 9,
    }  # fmt: skip


def test_a_line_cut_short_gives_no_wrong_number(captured):
    for _, line in captured:
        whole = parse_line(line).values
        for end in range(0, len(line), 7):
            # the last token may have lost digits or, on old releases, a unit that is not printed
            for name, value in parse_line(line[:end].rpartition(' ')[0]).values.items():
                assert value == whole.get(name, value), line[:end]


@given(st.text())
@example('RAM \0/\0MB')
@example('RAM ' + '9' * 5000 + '/1MB')
@example('RAM 1.5.5/2MB')
def test_any_text_is_taken_and_nothing_of_it_is_lost_silently(text):
    parsed = parse_line(text)
    if not parsed.values and parsed.stamp is None:
        said = ' '.join(text.replace('\0', ' ').split())
        assert ' '.join(parsed.unknown_tokens) == said or re.search(r'PMIC|NC|EDP', said)
    assert all(abs(value) < 1e16 for value in parsed.values.values())


LINE = (
    'RAM 3452/7620MB (lfb 25x4MB) SWAP 1/16384MB (cached 174MB) CPU [1%@1420,off] GR3D_FREQ '
    '0%@[3,4] NVENC off VIC 3%@4 cpu@50.031C tj@50.25C VDD_IN 4824mW/4824mW MTS fg 0% bg 1%'
)


@settings(deadline=None)
@given(st.integers(0, len(LINE)), st.integers(0, 8), st.text(max_size=6))
def test_lines_with_a_part_changed(begin, length, text):
    parsed = parse_line(LINE[:begin] + text + LINE[begin + length :])
    assert all(-1e16 < value < 1e16 for value in parsed.values.values())
    assert len(parsed.values) >= 14  # one place costs a token or two
