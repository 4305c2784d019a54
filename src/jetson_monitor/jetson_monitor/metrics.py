# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The newest sample as a Prometheus endpoint, in the base units that Prometheus wants."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import re
from typing import Any
from typing import NamedTuple

from jetson_monitor.counters import is_counter
from jetson_monitor.errors import ConfigError
from jetson_monitor.health import Status
from jetson_monitor.sample import Sample

_MIB = 1024.0 * 1024.0


class _Family(NamedTuple):
    """Values that become one metric with a label."""

    names: re.Pattern[str]
    metric: str
    label: str
    factor: float = 1.0


_FAMILIES = tuple(
    _Family(re.compile(names), f'jetson_{metric}', label, factor)
    for names, metric, label, factor in (
        (r'cpu(\d+)_load_percent', 'cpu_load_ratio', 'core', 0.01),
        (r'cpu(\d+)_clock_mhz', 'cpu_clock_hertz', 'core', 1e6),
        (r'cpu(\d+)_online', 'cpu_online', 'core', 1.0),
        (r'temp_(.+)_c', 'temperature_celsius', 'zone', 1.0),
        (r'throttle_(.+(?<!_max))_state', 'throttle_state', 'device', 1.0),
        (r'rail_(.+)_average_mw', 'rail_average_power_watts', 'rail', 1e-3),
        (r'rail_(.+(?<!_peak)(?<!_limit))_mw', 'rail_power_watts', 'rail', 1e-3),
        (r'rail_(.+)_mv', 'rail_voltage_volts', 'rail', 1e-3),
        (r'rail_(.+(?<!_limit)(?<!_critical))_ma', 'rail_current_amperes', 'rail', 1e-3),
        (r'oc(\d+)_events', 'over_current_events', 'counter', 1.0),
        (r'fan_(.+)_percent', 'fan_drive_ratio', 'fan', 0.01),
        (r'fan_(.+)_rpm', 'fan_rotations_per_minute', 'fan', 1.0),
        (r'disk_(.+)_inodes_used_percent', 'disk_inodes_used_ratio', 'mount', 0.01),
        (r'disk_(.+)_used_percent', 'disk_used_ratio', 'mount', 0.01),
        (r'disk_(.+)_read_only', 'disk_read_only', 'mount', 1.0),
        (r'source_(.+)_alive', 'source_alive', 'source', 1.0),
        (r'(.+)_load_percent', 'load_ratio', 'unit', 0.01),
        (r'(.+)_clock_mhz', 'clock_hertz', 'unit', 1e6),
        (r'(.+)_mib', 'memory_bytes', 'kind', _MIB),
    )
)


class Metric(NamedTuple):
    """One figure as Prometheus sees it."""

    name: str
    label: str
    item: str
    value: float
    counts: bool


def metrics_of(sample: Sample) -> Iterator[Metric]:
    """Yield what of a sample has a metric."""
    for name, value in sample.values.items():
        for family in _FAMILIES:
            found = family.names.fullmatch(name)
            if found:
                item, counts = found[1], is_counter(name)
                yield Metric(family.metric, family.label, item, value * family.factor, counts)
                break
    for name, metric in (('uptime_s', 'jetson_uptime_seconds'), ('oom_kills', 'jetson_oom_kills')):
        if name in sample.values:
            yield Metric(metric, '', '', sample.values[name], is_counter(name))


class MetricsServer:
    """Answers GET /metrics with what was seen last; a value that is not known is not there."""

    def __init__(
        self,
        port: int,
        address: str,
        newest: Callable[[], tuple[Sample, tuple[Status, ...]] | None],
    ) -> None:
        """Start to answer, in threads of its own.

        Args:
            port: TCP port; 0 takes any that is free.
            address: Address to listen on.
            newest: Returns the newest sample with its statuses; None before the first, and where
                the last one is stale.

        Raises:
            ConfigError: prometheus_client is not installed, or the port is taken.
        """
        try:
            from prometheus_client import CollectorRegistry
            from prometheus_client import start_http_server
        except ImportError as exc:
            raise ConfigError(
                'metrics_port is set, but prometheus_client is not installed; pip install '
                'prometheus-client, or set metrics_port to 0'
            ) from exc
        self._newest = newest
        registry = CollectorRegistry()
        registry.register(self)
        try:
            self._server, self._thread = start_http_server(port, address, registry)
        except OSError as exc:
            raise ConfigError(
                f'metrics cannot be served on {address}:{port}: {exc.strerror}; choose another '
                'metrics_port or metrics_address'
            ) from exc

    @property
    def port(self) -> int:
        """Return the port that it listens on."""
        return int(self._server.server_port)

    def describe(self) -> list[Any]:
        """Return no metric: what there is depends on the board."""
        return []

    def collect(self) -> Iterator[Any]:
        """Yield the metrics of the newest sample, as prometheus_client calls for them."""
        from prometheus_client.core import CounterMetricFamily
        from prometheus_client.core import GaugeMetricFamily

        newest = self._newest()
        up = GaugeMetricFamily('jetson_up', 'Whether the newest sample is fresh.')
        up.add_metric([], float(newest is not None))
        yield up
        if newest is None:
            return
        sample, statuses = newest
        families: dict[str, Any] = {}
        for metric in metrics_of(sample):
            if metric.name not in families:
                kind = CounterMetricFamily if metric.counts else GaugeMetricFamily
                labels = [metric.label] if metric.label else []
                families[metric.name] = kind(metric.name, metric.name, labels=labels)
            families[metric.name].add_metric([metric.item] if metric.label else [], metric.value)
        yield from families.values()
        levels = GaugeMetricFamily(
            'jetson_status', '0 ok, 1 warning, 2 error, 3 stale.', labels=['component']
        )
        for status in statuses:
            levels.add_metric([status.name], float(status.level))
        yield levels

    def close(self) -> None:
        """Stop to answer."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
