# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Growth of counters within a window, whatever they counted before."""

from __future__ import annotations

from jetson_monitor.counters import Growth
from jetson_monitor.sample import Sample


def growths(window_s, *readings, name='oc1_events'):
    growth = Growth(window_s)
    return [growth.add(Sample(t, t, {name: value})).get(name) for t, value in readings]


def test_the_first_value_is_the_baseline():
    assert growths(60, (0, 27390), (1, 27390), (2, 27393)) == [0, 0, 3]


def test_what_left_the_window_is_forgotten():
    assert growths(10, (0, 0), (1, 5), (10, 5), (11, 5)) == [0, 5, 5, 0]


def test_a_counter_set_back_begins_anew():
    assert growths(60, (0, 100), (1, 105), (2, 4), (3, 6)) == [0, 5, 0, 2]


def test_a_gauge_may_shrink():
    assert growths(60, (0, 100), (1, 40), (2, 60), name='swap_used_mib') == [0, -60, -40]


def test_what_no_counter_is_is_not_followed():
    assert growths(60, (0, 1), (1, 2), name='temp_tj_c') == [None, None]


def test_a_counter_that_was_away_counts_on():
    growth = Growth(60)
    growth.add(Sample(0, 0, {'oom_kills': 1}))
    assert growth.add(Sample(1, 1, {})) == {}
    assert growth.add(Sample(2, 2, {'oom_kills': 3})) == {'oom_kills': 2}
