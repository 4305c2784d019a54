# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Levels rise after a hold, fall after a release, do not flap, and say why they stand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jetson_monitor.config import MonitorConfig
from jetson_monitor.health import is_throttled
from jetson_monitor.health import Judge
from jetson_monitor.health import stale
from jetson_monitor.rules import Level
from jetson_monitor.sample import Sample

EPOCH_S = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC
OK, WARN, ERROR, STALE = Level
CONFIG = MonitorConfig()


def sample(at_s=0.0, **values):
    return Sample(EPOCH_S + at_s, at_s, values)


def levels(judge, samples, component):
    return [{each.name: each.level for each in judge.judge(one)}.get(component) for one in samples]


def heat(values_c):
    return [
        sample(t, temp_tj_c=c, trip_tj_passive_c=95.0, trip_tj_critical_c=105.0)
        for t, c in enumerate(values_c)
    ]


def test_a_level_falls_only_beyond_the_margin():
    judge = Judge(replace(CONFIG, release_s=0.0))
    assert levels(judge, heat([86, 85, 84, 83.1, 83, 84]), 'thermal') == (
        [WARN, WARN, WARN, WARN, OK, OK]
    )


def test_a_level_falls_only_after_the_release():
    judge = Judge(replace(CONFIG, release_s=3.0))
    # back inside the margin at 3: the release begins anew
    got = levels(judge, heat([86, 80, 80, 84, 80, 80, 80, 80]), 'thermal')
    assert got == [WARN, WARN, WARN, WARN, WARN, WARN, WARN, OK]


def test_an_error_falls_to_a_warning_that_tells_when_that_began():
    judge = Judge(replace(CONFIG, release_s=0.0))
    for one in heat([86, 103, 99]):
        statuses = judge.judge(one)
    assert statuses[0].level is WARN
    assert 'since 2027-01-15 08:00:00 UTC' in statuses[0].message


def test_a_short_fault_is_held_back():
    config = replace(CONFIG, fan_hold_s=10.0)
    judge = Judge(config)
    spinning = [sample(t, fan_a_percent=80.0, fan_a_rpm=rpm) for t, rpm in enumerate([0] * 9 + [9])]
    assert set(levels(judge, spinning, 'fan')) == {OK}
    judge = Judge(config)
    stuck = [sample(t, fan_a_percent=80.0, fan_a_rpm=0.0) for t in range(12)]
    assert levels(judge, stuck, 'fan') == [OK] * 10 + [ERROR] * 2


def test_a_hold_begins_anew_after_one_good_sample():
    judge = Judge(replace(CONFIG, fan_hold_s=3.0))
    rpms = [0, 0, 500, 0, 0, 0, 0]
    stuck = [sample(t, fan_a_percent=80.0, fan_a_rpm=rpm) for t, rpm in enumerate(rpms)]
    assert levels(judge, stuck, 'fan') == [OK] * 6 + [ERROR]


def test_a_zone_that_is_gated_for_a_moment_does_not_flap():
    judge = Judge(replace(CONFIG, release_s=5.0))
    hot, gated = heat([90])[0], sample(1, temp_cpu_c=40.0)
    assert levels(judge, [hot, gated, replace(hot, monotonic_s=2.0)], 'thermal') == [WARN] * 3


def test_what_is_unknown_for_long_is_judged_no_more():
    judge = Judge(replace(CONFIG, release_s=5.0))
    samples = [heat([90])[0], *(sample(t, temp_cpu_c=40.0) for t in range(1, 8))]
    assert levels(judge, samples, 'thermal') == [WARN] * 6 + [OK] * 2


def test_a_component_without_any_value_left_is_stale_not_well():
    judge = Judge(CONFIG)
    assert levels(judge, [sample(0, fan_a_rpm=900.0), sample(1, temp_a_c=1.0)], 'fan') == (
        [OK, STALE]
    )


def test_a_component_that_this_machine_has_not_is_not_reported():
    names = [each.name for each in Judge(CONFIG).judge(sample(0, ram_total_mib=8000.0))]
    assert names == ['memory']


def test_a_message_says_value_limit_since_when_and_what_to_do():
    (status,) = Judge(CONFIG).judge(sample(0, temp_tj_c=88.25, trip_tj_passive_c=95.0))
    assert status.message == (
        'tj has 6.8 C left to its throttle trip of 95 C, limit 10 C, '
        'since 2027-01-15 08:00:00 UTC; improve the cooling, or choose a lower power mode'
    )
    assert status.values == {'temp_tj_c': '88.25', 'trip_tj_passive_c': '95'}


def test_the_worst_comes_first_and_the_others_are_listed():
    (status,) = Judge(CONFIG).judge(
        sample(0, disk_root_used_percent=90.0, disk_data_used_percent=99.0)
    )
    assert status.level is ERROR
    assert status.message.startswith('data: 99 % used, limit 95 %')
    assert status.message.endswith('(and 1 more, see also_1)')
    assert status.values['also_1'].startswith('root: 90 % used, limit 85 %')


def test_a_recovering_figure_is_said_to_recover():
    judge = Judge(CONFIG)
    for one in heat([90, 80]):
        statuses = judge.judge(one)
    assert '(recovering)' in statuses[0].message


def test_counted_events_are_reported_for_the_window_then_forgotten():
    judge = Judge(replace(CONFIG, event_window_s=10.0, release_s=2.0), 'tegra234')
    counts = [5, 6] + [6] * 14
    got = levels(judge, [sample(t, oc1_events=n) for t, n in enumerate(counts)], 'power')
    # the event at 1 leaves the window at 11; then two seconds of release
    assert got == [OK] + [ERROR] * 12 + [OK] * 3


def test_a_counter_that_was_set_back_is_no_event():
    judge = Judge(CONFIG, 'tegra234')
    counts = [500, 3, 3, 4]
    got = levels(judge, [sample(t, oc1_events=n) for t, n in enumerate(counts)], 'power')
    assert got == [OK, OK, OK, ERROR]


def test_another_start_of_the_board_begins_with_a_clean_slate():
    judge = Judge(CONFIG)
    hot, later = heat([90])[0], replace(heat([80])[0], monotonic_s=-10.0)
    assert levels(judge, [hot, later], 'thermal') == [WARN, OK]


def test_stale_statuses_claim_nothing_else():
    statuses = stale(Judge(CONFIG).judge(sample(0, temp_tj_c=40.0)), 3.21)
    assert [each.level for each in statuses] == [STALE]
    assert statuses[0].message.startswith('no sample for 3.2 s')
    assert statuses[0].values == {'temp_tj_c': '40'}


@pytest.mark.parametrize(
    ('values', 'throttled'),
    [
        ({}, None),
        ({'throttle_a_max_state': 3}, None),
        ({'throttle_a_state': 0, 'throttle_a_max_state': 3}, False),
        ({'throttle_a_state': 0, 'throttle_b_state': 1}, True),
    ],
)
def test_throttled_is_unknown_where_the_board_does_not_tell(values, throttled):
    assert is_throttled(sample(0, **values)) is throttled


def test_levels_do_not_flap_on_a_noisy_temperature():
    judge = Judge(CONFIG)
    noisy = heat([85 + (-1) ** t for t in range(100)])
    assert levels(judge, noisy, 'thermal') == [WARN] * 100
