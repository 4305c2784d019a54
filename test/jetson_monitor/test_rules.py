# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Each rule: below its limit, at it, beyond it, unknown, and where its limit is moved."""

from __future__ import annotations

from dataclasses import replace
import re

import pytest

from jetson_monitor.config import MonitorConfig
from jetson_monitor.health import Judge
from jetson_monitor.parameters import settings
from jetson_monitor.rules import Level
from jetson_monitor.rules import RULES
from jetson_monitor.sample import Sample

OK, WARN, ERROR = Level.OK, Level.WARN, Level.ERROR
# No holding and no releasing: these tests are about limits.
CONFIG = replace(
    MonitorConfig(), release_s=0.0, power_hold_s=0.0, clock_cap_hold_s=0.0, fan_hold_s=0.0,
    fragmentation_hold_s=0.0, emc_hold_s=0.0,
)  # fmt: skip


def level_of(component, config=CONFIG, soc='tegra234', texts=None, **values):
    statuses = Judge(config, soc).judge(Sample(0.0, 0.0, values, texts or {}))
    return {each.name: each.level for each in statuses}.get(component)


LIMITS = [
    # component, fixed values, the value that moves, then pairs of it and the level it gives
    ('thermal', {'trip_tj_passive_c': 95}, 'temp_tj_c', (84.9, OK), (85, OK), (85.1, WARN)),
    ('thermal', {'trip_tj_hot_c': 95}, 'temp_tj_c', (84.9, OK), (85.1, WARN)),
    ('thermal', {'trip_tj_critical_c': 104.5}, 'temp_tj_c', (101.5, OK), (101.6, ERROR)),
    ('thermal', {'trip_tj_active_c': 50}, 'temp_tj_c', (49, OK), (80, OK)),
    (
        'throttling', {'throttle_cpu_max_state': 3}, 'throttle_cpu_state',
        (0, OK), (1, WARN), (2, WARN), (3, ERROR),
    ),
    ('throttling', {'throttle_a_max_state': 1}, 'throttle_a_state', (0, OK), (1, WARN)),
    ('throttling', {}, 'throttle_alert_state', (0, OK), (1, WARN), (7, WARN)),
    ('power', {}, 'rail_vdd_in_mv', (5000, OK), (4750, OK), (4749, ERROR), (0, ERROR)),
    ('power', {}, 'rail_vin_sys_5v0_mv', (4800, OK), (4700, ERROR)),
    ('power', {}, 'rail_vdd_cpu_mv', (600, OK)),
    ('power', {}, 'rail_vdd_in_limit_alarm', (0, OK), (1, WARN)),
    ('power', {}, 'rail_vdd_in_critical_alarm', (0, OK), (1, ERROR)),
    (
        'power', {'rail_vdd_in_limit_ma': 4000}, 'rail_vdd_in_ma',
        (3599, OK), (3600, OK), (3601, WARN), (4000, WARN), (4001, ERROR),
    ),
    ('power', {'rail_vdd_in_limit_ma': 0}, 'rail_vdd_in_ma', (4000, OK)),
    (
        'power', {'rail_vin_limit_mw': 168_000}, 'rail_vin_mw',
        (151_200, OK), (151_201, WARN), (168_001, ERROR),
    ),
    (
        'clocks', {'cpu0_clock_mhz': 1000}, 'cpu0_clock_measured_mhz',
        (1000, OK), (800, OK), (799, ERROR), (242, ERROR),
    ),
    ('clocks', {'cpu0_clock_mhz': 0}, 'cpu0_clock_measured_mhz', (0, OK)),
    (
        'memory', {'ram_total_mib': 8000}, 'ram_available_mib',
        (1201, OK), (1200, OK), (1199, WARN), (400, WARN), (399, ERROR), (0, ERROR),
    ),
    ('memory', {'swap_total_mib': 4000}, 'swap_used_mib', (0, OK), (3000, OK), (3001, WARN)),
    ('memory', {'swap_total_mib': 0}, 'swap_used_mib', (0, OK)),
    (
        'memory', {'cma_total_mib': 100}, 'cma_free_mib',
        (10, OK), (9.9, WARN), (3, WARN), (2.9, ERROR),
    ),
    ('memory', {}, 'largest_free_block_kib', (4096, OK), (2048, WARN)),
    ('memory', {'gpu_load_percent': 20}, 'emc_load_percent', (90, OK), (91, WARN)),
    ('memory', {'gpu_load_percent': 95}, 'emc_load_percent', (91, OK), (100, OK)),
    ('memory', {}, 'emc_load_percent', (91, WARN)),
    ('fan', {'fan_pwmfan_percent': 30}, 'fan_pwmfan_rpm', (900, OK), (1, OK), (0, ERROR)),
    ('fan', {'fan_pwmfan_percent': 29}, 'fan_pwmfan_rpm', (0, OK)),
    ('fan', {}, 'fan_pwmfan_rpm', (0, OK)),
    ('fan', {}, 'fan_pwmfan_enabled', (1, OK), (0, ERROR)),
    (
        'storage', {}, 'disk_root_used_percent',
        (85, OK), (85.1, WARN), (95, WARN), (95.1, ERROR),
    ),
    ('storage', {}, 'disk_root_inodes_used_percent', (85, OK), (86, WARN), (96, ERROR)),
    ('storage', {}, 'disk_root_read_only', (0, OK), (1, ERROR)),
]  # fmt: skip


@pytest.mark.parametrize(
    ('component', 'fixed', 'name', 'value', 'level'),
    [
        pytest.param(component, fixed, name, value, level, id=f'{name}={value:g} {level.name}')
        for component, fixed, name, *pairs in LIMITS
        for value, level in pairs
    ],
)
def test_level_of_one_figure(component, fixed, name, value, level):
    assert level_of(component, **fixed, **{name: value}) is level


@pytest.mark.parametrize(
    ('component', 'fixed', 'name'),
    [(component, fixed, name) for component, fixed, name, *_ in LIMITS if fixed],
)
def test_a_missing_figure_is_no_fault(component, fixed, name):
    assert level_of(component, **fixed) in (OK, None)


@pytest.mark.parametrize(
    ('change', 'component', 'values'),
    [
        ({'headroom_warn_c': 20.0}, 'thermal', {'temp_tj_c': 80, 'trip_tj_passive_c': 95}),
        ({'headroom_error_c': 9.0}, 'thermal', {'temp_tj_c': 96, 'trip_tj_critical_c': 104}),
        ({'under_voltage_mv': 4900.0}, 'power', {'rail_vdd_in_mv': 4890}),
        ({'power_warn_percent': 50.0}, 'power', {'rail_a_ma': 60, 'rail_a_limit_ma': 100}),
        ({'power_budget_mw': 15000.0}, 'power', {'rail_vdd_in_mw': 14000}),
        (
            {'power_error_percent': 90.0, 'power_budget_mw': 15000.0}, 'power',
            {'rail_vdd_in_mw': 14000},
        ),
        ({'clock_cap_percent': 99.0}, 'clocks',
         {'cpu0_clock_mhz': 1000, 'cpu0_clock_measured_mhz': 980}),
        ({'memory_warn_percent': 50.0}, 'memory',
         {'ram_available_mib': 4, 'ram_total_mib': 10}),
        ({'memory_error_percent': 15.0}, 'memory',
         {'ram_available_mib': 1, 'ram_total_mib': 10}),
        ({'swap_warn_percent': 5.0}, 'memory', {'swap_used_mib': 1, 'swap_total_mib': 10}),
        ({'cma_warn_percent': 50.0}, 'memory', {'cma_free_mib': 4, 'cma_total_mib': 10}),
        ({'cma_error_percent': 10.0}, 'memory', {'cma_free_mib': 0.9, 'cma_total_mib': 10}),
        ({'fragmentation_warn_kib': 9000.0}, 'memory', {'largest_free_block_kib': 4096}),
        ({'emc_warn_percent': 10.0}, 'memory', {'emc_load_percent': 11}),
        ({'fan_min_percent': 10.0}, 'fan', {'fan_a_percent': 11, 'fan_a_rpm': 0}),
        ({'disk_warn_percent': 10.0}, 'storage', {'disk_root_used_percent': 11}),
        (
            {'disk_warn_percent': 9.0, 'disk_error_percent': 10.0}, 'storage',
            {'disk_root_inodes_used_percent': 11},
        ),
        ({'expect_locked': True}, 'clocks', {'cpu0_clock_min_mhz': 1, 'cpu0_clock_max_mhz': 2}),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else str(each),
)  # fmt: skip
def test_every_limit_is_a_parameter(change, component, values):
    assert level_of(component, replace(CONFIG, **change), **values) in (WARN, ERROR)


@pytest.mark.parametrize(
    ('change', 'component', 'values'),
    [
        ({'cma_warn_percent': 0.0, 'cma_error_percent': 0.0}, 'memory',
         {'cma_free_mib': 0, 'cma_total_mib': 10}),
        ({'fragmentation_warn_kib': 0.0}, 'memory', {'largest_free_block_kib': 4}),
        ({'under_voltage_mv': 0.0}, 'power', {'rail_vdd_in_mv': 100}),
        ({'power_budget_mw': 0.0}, 'power', {'rail_vdd_in_mw': 10**9}),
    ],
)  # fmt: skip
def test_zero_switches_a_rule_off(change, component, values):
    assert level_of(component, replace(CONFIG, **change), **values) is OK


def test_locked_clocks_are_well_where_they_are_expected():
    locked = {'cpu0_clock_min_mhz': 1510, 'cpu0_clock_max_mhz': 1510}
    config = replace(CONFIG, expect_locked=True)
    assert level_of('clocks', config, **locked) is OK
    assert level_of('clocks', config, **locked, gpu_clock_min_mhz=306,
                    gpu_clock_max_mhz=918) is WARN  # fmt: skip
    assert level_of('clocks', config, texts={'jetson_clocks': 'off'}) is WARN
    assert level_of('clocks', config, texts={'jetson_clocks': 'on'}) is OK


def test_another_power_mode_than_expected_is_named():
    config = replace(CONFIG, expected_power_mode='MAXN')
    assert level_of('clocks', config, texts={'power_mode': 'MAXN'}) is OK
    assert level_of('clocks', config, texts={'power_mode': '15W'}) is WARN
    assert level_of('clocks', config, texts={}) is None
    statuses = Judge(config).judge(Sample(0, 0, {}, {'power_mode': '15W'}))
    assert '15W, wanted MAXN' in statuses[0].message


@pytest.mark.parametrize(
    ('soc', 'counter', 'events', 'level'),
    [
        ('tegra234', 'oc1_events', 1, ERROR),
        ('tegra234', 'oc2_events', 1, WARN),
        ('tegra234', 'oc3_events', 1200, OK),
        ('tegra234', 'oc3_events', 1201, WARN),
        ('tegra234', 'oc4_events', 1, OK),
        ('tegra194', 'oc1_events', 1, WARN),
        ('tegra194', 'oc2_events', 1, ERROR),
        ('tegra194', 'oc3_events', 1, OK),
        ('tegra264', 'oc1_events', 1, OK),
        ('tegra264', 'oc1_events', 1201, WARN),
        (None, 'oc1_events', 1, OK),
    ],
)
def test_what_an_over_current_counter_means_depends_on_the_chip(soc, counter, events, level):
    judge = Judge(CONFIG, soc)
    assert judge.judge(Sample(0, 0, {counter: 500}))[0].level is OK, 'what was before is not news'
    assert judge.judge(Sample(1, 1, {counter: 500 + events}))[0].level is level


def test_an_oom_kill_is_an_error():
    judge = Judge(CONFIG)
    assert judge.judge(Sample(0, 0, {'oom_kills': 3}))[0].level is OK
    assert judge.judge(Sample(1, 1, {'oom_kills': 4}))[0].level is ERROR


def test_growing_swap_is_a_warning_before_it_is_full():
    judge = Judge(CONFIG)
    levels = [
        judge.judge(Sample(t, t, {'swap_used_mib': 10.0 * t, 'swap_total_mib': 8000}))[0].level
        for t in range(40)
    ]
    assert levels[25] is OK
    assert levels[26] is WARN


def test_a_source_is_lost_only_where_it_was_once_there():
    judge = Judge(CONFIG)
    never = judge.judge(Sample(0, 0, {'source_jtop_alive': 0, 'source_sysfs_alive': 1}))
    assert never[0].level is OK
    lost = judge.judge(
        Sample(
            1,
            1,
            {
                'source_jtop_alive': 0,
                'source_sysfs_alive': 0,
                'source_sysfs_age_s': 4,
                'source_tegrastats_alive': 1,
            },
        )
    )
    assert lost[0].level is WARN
    assert 'sysfs has sent its last sample 4 s ago' in lost[0].message
    assert 'jtop' not in lost[0].message
    dead = judge.judge(Sample(2, 2, {'source_sysfs_alive': 0, 'source_tegrastats_alive': 0}))
    assert dead[0].level is ERROR
    assert 'nothing is read of the board' in dead[0].message


def test_every_threshold_of_the_configuration_is_used_by_a_rule():
    used = {
        name
        for rule in RULES
        for name in (rule.warn, rule.error, rule.hold, rule.margin)
        if isinstance(name, str)
    }
    assert used <= set(settings(MonitorConfig))
    limits = {
        name for name in settings(MonitorConfig)
        if re.search(r'_(warn|error|hold|hysteresis)_|_hold_s$|^hysteresis_', name)
    }  # fmt: skip
    assert limits <= used, 'a parameter that nothing looks at'


def test_every_rule_says_what_to_do():
    for rule in RULES:
        assert rule.advice
        assert rule.warn is not None or rule.error is not None
