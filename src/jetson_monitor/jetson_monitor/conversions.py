# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Between ROS and this package: declared parameters, diagnostics, numbers, temperatures."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import fields
import math
import sys
from typing import Any
from typing import get_type_hints

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from diagnostic_msgs.msg import DiagnosticStatus
from diagnostic_msgs.msg import KeyValue
from rcl_interfaces.msg import FloatingPointRange
from rcl_interfaces.msg import IntegerRange
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from sensor_msgs.msg import Temperature
from std_msgs.msg import Header

from jetson_monitor.config import MonitorConfig
from jetson_monitor.counters import is_counter
from jetson_monitor.energy import PerInference
from jetson_monitor.energy import total_power
from jetson_monitor.errors import ConfigError
from jetson_monitor.health import is_throttled
from jetson_monitor.health import Status
from jetson_monitor.monitor import Snapshot
from jetson_monitor.parameters import check
from jetson_monitor.parameters import Setting
from jetson_monitor.parameters import settings
from jetson_monitor.rules import throttle_headroom
from jetson_monitor.sample import Sample
from trt_interfaces.msg import JetsonStats

_LARGEST_INTEGER = 2**63 - 1


def declare(node: Node) -> MonitorConfig:
    """Declare every setting as a read-only parameter, and return what they say.

    Raises:
        ConfigError: A value that the user gave is not allowed.
    """
    defaults = {each.name: each.default for each in fields(MonitorConfig)}
    kinds = get_type_hints(MonitorConfig)
    values = {}
    for name, meaning in settings(MonitorConfig).items():
        # rclpy cannot tell the type of an empty list; [''] stands for it, as in YAML.
        default: Any = [''] if defaults[name] == () else defaults[name]
        try:
            parameter = node.declare_parameter(name, default, _descriptor(meaning, kinds[name]))
        except (InvalidParameterTypeException, InvalidParameterValueException) as exc:
            wanted = meaning.wanted or f'a value like {default!r}'
            if kinds[name] is float:  # ROS takes 10 for an integer, and refuses it
                wanted += ', written with a decimal point'
            raise ConfigError(f'{name}: {exc}; wanted {wanted} ({meaning.description})') from exc
        # An empty list that the user gives arrives without a value for the same reason.
        value = [''] if parameter.value is None else parameter.value
        values[name] = check(MonitorConfig, name, value)
    return MonitorConfig(**values)


def _descriptor(meaning: Setting, kind: Any) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=meaning.description, read_only=True)
    low, high = meaning.minimum, meaning.maximum
    if meaning.choices:
        descriptor.additional_constraints = meaning.wanted
    elif kind is int and low is not None:
        most = _LARGEST_INTEGER if high is None else int(high)
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=most)]
    elif kind is float and low is not None:
        descriptor.floating_point_range = [
            FloatingPointRange(
                from_value=low, to_value=sys.float_info.max if high is None else high
            )
        ]
    return descriptor


def stamp(time_s: float) -> Time:
    """Return seconds since the epoch as a message."""
    nanoseconds = round(time_s * 1e9)
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def diagnostics(now: Time, node: str, serial: str, statuses: Iterable[Status]) -> DiagnosticArray:
    """Return the statuses as REP-107 wants them: `<node>: <component>`, of one board."""
    return DiagnosticArray(
        header=Header(stamp=now),
        status=[
            DiagnosticStatus(
                level=bytes([each.level]),
                name=f'{node}: {each.name}',
                message=each.message,
                hardware_id=serial,
                values=[KeyValue(key=key, value=value) for key, value in each.values.items()],
            )
            for each in statuses
        ],
    )


def temperatures(sample: Sample) -> dict[str, Temperature]:
    """Return the temperature of each zone; its variance is 0, which stands for unknown."""
    header = Header(stamp=stamp(sample.time_s))
    return {
        zone: Temperature(header=Header(stamp=header.stamp, frame_id=zone), temperature=celsius)
        for zone, celsius in sample.matching('temp_', '_c').items()
    }


def stats(snapshot: Snapshot, per_inference: PerInference | None) -> JetsonStats:
    """Return a snapshot as numbers."""
    sample = snapshot.sample
    single = {
        name: sample.values.get(name, math.nan)
        for name in JetsonStats.get_fields_and_field_types()
        if name in _SINGLE
    }
    temperature_c = sample.matching('temp_', '_c')
    headroom_c = throttle_headroom(sample)
    throttle_state = {
        device: state
        for device, state in sample.matching('throttle_', '_state').items()
        if not device.endswith('_max')
    }
    fan_percent = sample.matching('fan_', '_percent')
    fan_rpm = sample.matching('fan_', '_rpm')
    rail_mw = _own(sample.matching('rail_', '_mw'))
    rail_mv = _own(sample.matching('rail_', '_mv'))
    rail_ma = _own(sample.matching('rail_', '_ma'))
    engine_clock_mhz = _engines(sample.matching('', '_clock_mhz'))
    engine_load_percent = _engines(sample.matching('', '_load_percent'))
    disks = sample.matching('disk_', '_used_percent')
    counts = {name: value for name, value in sample.values.items() if is_counter(name)}
    fans = sorted(fan_percent | fan_rpm)
    rails = sorted(rail_mw | rail_mv | rail_ma)
    engines = sorted(engine_clock_mhz | engine_load_percent)
    zones, throttles, counters = sorted(temperature_c), sorted(throttle_state), sorted(counts)
    mounts = sorted(mount for mount in disks if not mount.endswith('_inodes'))
    total = total_power(sample)
    mean_mw = snapshot.energy_window.milliwatts if snapshot.energy_window else None
    return JetsonStats(
        header=Header(stamp=stamp(sample.time_s)),
        power_mode=sample.texts.get('power_mode', ''),
        throttled=bool(is_throttled(sample)),
        core_load_percent=_cores(sample.matching('cpu', '_load_percent')),
        core_clock_mhz=_cores(sample.matching('cpu', '_clock_mhz')),
        engines=engines,
        engine_clock_mhz=_column(engine_clock_mhz, engines),
        engine_load_percent=_column(engine_load_percent, engines),
        zones=zones,
        temperature_c=_column(temperature_c, zones),
        headroom_c=_column(headroom_c, zones),
        throttles=throttles,
        throttle_state=_column(throttle_state, throttles),
        fans=fans,
        fan_percent=_column(fan_percent, fans),
        fan_rpm=_column(fan_rpm, fans),
        rails=rails,
        rail_mw=_column(rail_mw, rails),
        rail_mv=_column(rail_mv, rails),
        rail_ma=_column(rail_ma, rails),
        total_rail=total.rail if total else '',
        total_mw=total.milliwatts if total else math.nan,
        energy_j=snapshot.energy.joules if snapshot.energy else math.nan,
        mean_mw=math.nan if mean_mw is None else mean_mw,
        joules_per_inference=per_inference.joules if per_inference else math.nan,
        milliwatt_hours_per_inference=(
            per_inference.milliwatt_hours if per_inference else math.nan
        ),
        counters=counters,
        counts=_column(counts, counters),
        mounts=mounts,
        disk_used_percent=_column(disks, mounts),
        **single,
    )


_SINGLE = frozenset(
    (
        'uptime_s', 'cpu_load_percent', 'gpu_load_percent', 'gpu_clock_mhz', 'emc_load_percent',
        'emc_clock_mhz', 'ram_used_mib', 'ram_available_mib', 'ram_total_mib', 'swap_used_mib',
        'swap_total_mib', 'cma_free_mib', 'cma_total_mib',
    )
)  # fmt: skip


def _column(values: Mapping[str, float], names: Iterable[str]) -> list[float]:
    return [values.get(name, math.nan) for name in names]


def _own(values: Mapping[str, float]) -> dict[str, float]:
    """Return the rails themselves, without their limits, averages and peaks."""
    others = ('_average', '_peak', '_limit', '_critical')
    return {name: value for name, value in values.items() if not name.endswith(others)}


def _engines(values: Mapping[str, float]) -> dict[str, float]:
    """Return what is neither a core nor has a place of its own."""
    return {
        name: value
        for name, value in values.items()
        if not name.startswith('cpu') and name not in ('gpu', 'emc')
    }


def _cores(values: Mapping[str, float]) -> list[float]:
    numbered = {int(core): value for core, value in values.items() if core.isdecimal()}
    return [numbered.get(core, math.nan) for core in range(max(numbered, default=-1) + 1)]
