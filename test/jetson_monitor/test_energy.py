# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Power of the whole board, and its sum over time."""

from __future__ import annotations

import pytest

from jetson_monitor.energy import Energy
from jetson_monitor.energy import EnergyMeter
from jetson_monitor.energy import InferenceCount
from jetson_monitor.energy import total_power
from jetson_monitor.sample import Sample


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        ({}, None),
        ({'rail_vdd_in_limit_mw': 9, 'rail_vdd_in_average_mw': 9}, None),
        ({'rail_vdd_in_mw': 5000, 'rail_vdd_cpu_mw': 900}, ('vdd_in', 5000)),
        ({'rail_vin_mw': 60000, 'rail_vin_sys_5v0_mw': 900}, ('vin', 60000)),
        ({'rail_pom_5v_in_mw': 0, 'rail_pom_5v_cpu_mw': 20}, ('pom_5v_in', 0)),
        (
            {'rail_vdd_gpu_soc_mw': 100, 'rail_vdd_cpu_cv_mw': -8, 'rail_vdd_cpu_cv_peak_mw': 999},
            ('sum of vdd_cpu_cv, vdd_gpu_soc', 92),
        ),
    ],
)
def test_total_power_is_that_of_the_input_rail_or_the_named_sum(values, expected):
    assert total_power(Sample(0, 0, values)) == expected


def fed(meter, *readings):
    for at_s, milliwatts in readings:
        values = {} if milliwatts is None else {'rail_vdd_in_mw': milliwatts}
        meter.add(Sample(at_s, at_s, values))
    return meter


def test_energy_is_power_times_time():
    meter = fed(EnergyMeter(10.0), (0, 10_000), (1, 10_000), (2, 20_000))
    assert meter.total == Energy('vdd_in', 25.0, 2.0)
    assert meter.total.milliwatts == 12_500


def test_the_window_forgets_what_is_older():
    meter = fed(EnergyMeter(3.0), *((t, 6000) for t in range(10)))
    assert meter.window == Energy('vdd_in', 18.0, 3.0)
    assert meter.total == Energy('vdd_in', 54.0, 9.0)


def test_nothing_is_made_up_for_a_gap():
    meter = fed(EnergyMeter(60.0), (0, 6000), (1, 6000), (30, 6000), (31, 6000))
    assert meter.total == Energy('vdd_in', 12.0, 2.0)
    meter = fed(EnergyMeter(60.0), (0, 6000), (1, None), (2, 6000))
    assert meter.total == Energy('vdd_in', 0.0, 0.0)
    assert meter.total.milliwatts is None


def test_rails_are_not_added_up_one_after_the_other():
    meter = fed(EnergyMeter(60.0), (0, 6000), (1, 6000))
    meter.add(Sample(2, 2, {'rail_vdd_cpu_mw': 500}))
    assert meter.total == Energy('sum of vdd_cpu', 0.0, 0.0)


def test_without_power_there_is_no_energy():
    meter = fed(EnergyMeter(60.0), (0, None))
    assert meter.total is None
    assert meter.window is None


def test_energy_of_an_inference():
    each = Energy('vdd_in', 36.0, 10.0).per_inference(100)
    assert each.joules == pytest.approx(0.36)
    assert each.milliwatt_hours == pytest.approx(0.1)
    assert Energy('vdd_in', 36.0, 10.0).per_inference(0) is None
    assert Energy('vdd_in', 0.0, 0.0).per_inference(10) is None


def test_inferences_are_counted_from_what_was_done_so_far():
    count = InferenceCount(10.0)
    for at_s, frames in ((0, 500), (1, 530), (2, 560), (3, 10), (4, 40)):
        count.add(frames, at_s)
    assert count.since(0.5) == 100, 'what was before is not news; a node started anew begins at 0'
    assert count.since(2.0) == 40
    count.add(45, 20.0)
    assert count.since(0.0) == 5, 'the window forgets'
