# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The Prometheus endpoint: base units, labels, localhost, and nothing stale."""

from __future__ import annotations

import re
import socket
import sys
import urllib.request

import pytest

from jetson_monitor.config import MonitorConfig
from jetson_monitor.errors import ConfigError
from jetson_monitor.health import Judge
from jetson_monitor.metrics import metrics_of
from jetson_monitor.metrics import MetricsServer
from jetson_monitor.sample import Sample

VALUES = {
    'temp_tj_c': 45.5, 'trip_tj_passive_c': 95.0, 'rail_vdd_in_mw': 5120.0,
    'rail_vdd_in_mv': 5000.0, 'rail_vdd_in_ma': 1024.0, 'rail_vdd_in_limit_ma': 4000.0,
    'rail_vdd_in_average_mw': 5000.0, 'rail_vdd_in_peak_mw': 9000.0, 'cpu0_load_percent': 25.0,
    'cpu0_clock_mhz': 1510.0, 'gpu_load_percent': 50.0, 'gpu_clock_mhz': 918.0,
    'ram_used_mib': 2.0, 'oc3_events': 17.0, 'oom_kills': 1.0, 'fan_pwmfan_rpm': 1200.0,
    'throttle_cpu_state': 1.0, 'throttle_cpu_max_state': 3.0, 'uptime_s': 99.5,
    'disk_root_used_percent': 40.0, 'disk_root_inodes_used_percent': 10.0,
}  # fmt: skip
EXPECTED = {
    'jetson_temperature_celsius{zone="tj"}': 45.5,
    'jetson_rail_power_watts{rail="vdd_in"}': 5.12,
    'jetson_rail_average_power_watts{rail="vdd_in"}': 5.0,
    'jetson_rail_voltage_volts{rail="vdd_in"}': 5.0,
    'jetson_rail_current_amperes{rail="vdd_in"}': 1.024,
    'jetson_cpu_load_ratio{core="0"}': 0.25,
    'jetson_cpu_clock_hertz{core="0"}': 1.51e9,
    'jetson_load_ratio{unit="gpu"}': 0.5,
    'jetson_clock_hertz{unit="gpu"}': 918e6,
    'jetson_memory_bytes{kind="ram_used"}': 2097152,
    'jetson_over_current_events_total{counter="3"}': 17,
    'jetson_oom_kills_total': 1,
    'jetson_fan_rotations_per_minute{fan="pwmfan"}': 1200,
    'jetson_throttle_state{device="cpu"}': 1,
    'jetson_uptime_seconds': 99.5,
    'jetson_disk_used_ratio{mount="root"}': 0.4,
    'jetson_disk_inodes_used_ratio{mount="root"}': 0.1,
}


def test_values_become_metrics_in_base_units():
    found = {
        f'{each.name}{"_total" if each.counts else ""}'
        + (f'{{{each.label}="{each.item}"}}' if each.label else ''): each.value
        for each in metrics_of(Sample(0, 0, VALUES))
    }
    assert found == pytest.approx(EXPECTED)


@pytest.fixture
def fetch():
    pytest.importorskip('prometheus_client')
    sample = Sample(0, 0, VALUES)
    shown = [(sample, Judge(MonitorConfig()).judge(sample))]
    server = MetricsServer(0, '127.0.0.1', lambda: shown[0])

    def get():
        with urllib.request.urlopen(f'http://127.0.0.1:{server.port}/metrics', timeout=5) as answer:
            text = answer.read().decode()
        return {
            found[1]: float(found[2])
            for found in re.finditer(r'^([^#\s]\S*) (\S+)$', text, re.MULTILINE)
        }

    get.shown = shown
    get.port = server.port
    yield get
    server.close()


@pytest.mark.slow
def test_the_endpoint_answers_with_them(fetch):
    answer = fetch()
    assert {name: answer[name] for name in EXPECTED} == pytest.approx(EXPECTED)
    assert answer['jetson_up'] == 1
    assert answer['jetson_status{component="throttling"}'] == 1


@pytest.mark.slow
def test_nothing_stale_is_served(fetch):
    fetch.shown[0] = None
    assert fetch() == {'jetson_up': 0}


@pytest.mark.slow
def test_a_port_that_is_taken_is_told(fetch):
    with pytest.raises(ConfigError, match='Address already in use; choose another metrics_port'):
        MetricsServer(fetch.port, '127.0.0.1', lambda: None)


@pytest.mark.slow
def test_only_this_machine_is_answered(fetch):
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(('127.0.0.2', fetch.port), timeout=1)


def test_without_prometheus_client_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'prometheus_client', None)
    with pytest.raises(ConfigError, match='pip install prometheus-client'):
        MetricsServer(0, '127.0.0.1', lambda: None)
