# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters of the monitor: limits, refusals, and the file that lists them."""

from __future__ import annotations

from dataclasses import fields

import pytest
import yaml

from jetson_monitor.config import MonitorConfig
from jetson_monitor.errors import ConfigError
from jetson_monitor.parameters import check
from jetson_monitor.parameters import settings


def test_the_parameter_file_lists_exactly_the_fields_with_their_defaults(repository):
    text = (repository / 'config' / 'jetson_monitor.yaml').read_text()
    listed = yaml.safe_load(text)['/**']['ros__parameters']
    assert listed == {
        each.name: [''] if each.default == () else (
            list(each.default) if isinstance(each.default, tuple) else each.default
        )
        for each in fields(MonitorConfig)
    }  # fmt: skip


def test_every_parameter_is_described():
    MonitorConfig()
    for name, meaning in settings(MonitorConfig).items():
        assert meaning.description.endswith('.'), name


@pytest.mark.parametrize(
    ('name', 'given', 'kept'),
    [
        ('period_s', 2, 2.0),
        ('mounts', ['/', '/data'], ('/', '/data')),
        ('mounts', [''], ()),
        ('metrics_port', 9100, 9100),
        ('allow_control', True, True),
    ],
)
def test_check_returns_what_the_field_holds(name, given, kept):
    got = check(MonitorConfig, name, given)
    assert got == kept
    assert type(got) is type(kept)


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'period_s': 0.0}, 'period_s is 0.0; wanted 0.1 to 60'),
        ({'period_s': float('nan')}, 'wanted a finite number'),
        ({'period_s': '1'}, "period_s is '1'; wanted a value of type float"),
        ({'release_s': -1.0}, 'release_s is -1.0; wanted at least 0'),
        ({'allow_control': 1}, 'allow_control is 1; wanted a value of type bool'),
        ({'source': 'magic'}, "source is 'magic'; wanted one of auto, sysfs"),
        ({'mounts': '/'}, "mounts is '/'; wanted a list of texts"),
        ({'mounts': ['/', 3]}, 'mounts[1] is 3; wanted a value of type str'),
        ({'oc_tegra234': ('bad',)}, "oc_tegra234[0] is 'bad'; wanted one of under_voltage"),
        ({'metrics_port': 70000}, 'wanted 0 to 65535'),
        ({'source': 'replay'}, 'wanted replay_file to name the log'),
        ({'fan_profile_command': 'fan'}, 'wanted a full path'),
        (
            {'memory_warn_percent': 3.0},
            'memory_error_percent is 5 and memory_warn_percent is 3; wanted memory_error_percent '
            'not above',
        ),
        ({'disk_error_percent': 80.0}, 'wanted disk_warn_percent not above disk_error_percent'),
        ({'cma_warn_percent': 1.0}, 'wanted cma_error_percent not above'),
        ({'power_error_percent': 50.0}, 'wanted power_warn_percent not above'),
    ],
)
def test_refusals_name_field_value_and_what_is_wanted(values, words):
    with pytest.raises(ConfigError) as error:
        MonitorConfig(**values)
    assert words in str(error.value)
