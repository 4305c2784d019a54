# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What every node of the suite needs of ROS: declared parameters, and diagnostics.

No other module of this package imports ROS, and nothing in this package imports this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
import sys
from typing import Any
from typing import get_type_hints
from typing import TypeVar

from diagnostic_updater import DiagnosticStatusWrapper
from diagnostic_updater import Updater
from rcl_interfaces.msg import FloatingPointRange
from rcl_interfaces.msg import IntegerRange
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.clock import Clock
from rclpy.clock import ClockType
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node

from trt_engine.errors import ConfigError
from trt_engine.health import Health
from trt_engine.parameters import check
from trt_engine.parameters import Setting
from trt_engine.parameters import settings

Config = TypeVar('Config')

_LARGEST_INTEGER = 2**63 - 1


@contextmanager
def starting_ros() -> Iterator[None]:
    """Tell what ROS cannot read of a command line as an error of ours.

    Raises:
        ConfigError: A parameter file, a parameter, a remapping or a log level is not one.
    """
    try:
        yield
    except RuntimeError as exc:  # rclpy has no public name for its own kinds
        raise ConfigError(f'ROS cannot start as it was told to: {exc}') from exc


def declare(node: Node, cls: type[Config], *, fixed: bool = False) -> Config:
    """Declare every setting of a configuration class as a parameter, and return what they say.

    Args:
        node: The node that gets the parameters.
        cls: A dataclass of fields made by `parameters.setting`.
        fixed: Refuse later changes of read-only settings. A lifecycle node takes them at the
            next `configure`, and so leaves this false.

    Raises:
        ConfigError: A value that the user gave is not allowed.
    """
    defaults = {each.name: each.default for each in fields(cls)}  # type: ignore[arg-type]
    kinds = get_type_hints(cls)
    values = {}
    for name, meaning in settings(cls).items():
        descriptor = _descriptor(meaning, kinds[name])
        descriptor.read_only = fixed and meaning.read_only
        # rclpy cannot tell the type of an empty list; [''] stands for it, as in YAML.
        default: Any = [''] if defaults[name] == () else defaults[name]
        try:
            parameter = node.declare_parameter(name, default, descriptor)
        except (InvalidParameterTypeException, InvalidParameterValueException) as exc:
            wanted = meaning.wanted or f'a value like {default!r}'
            if kinds[name] is float:  # ROS takes 10 for an integer, and refuses it
                wanted += ', written with a decimal point'
            raise ConfigError(f'{name}: {exc}; wanted {wanted} ({meaning.description})') from exc
        # An empty list that the user gives arrives without a value for the same reason.
        no_list = isinstance(defaults[name], tuple) and parameter.value is None
        values[name] = check(cls, name, () if no_list else parameter.value)
    return cls(**values)


def _descriptor(meaning: Setting, kind: Any) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=meaning.description)
    low, high = meaning.minimum, meaning.maximum
    if meaning.choices:
        descriptor.additional_constraints = meaning.wanted
    elif kind is int and (low is not None or high is not None):
        least = -_LARGEST_INTEGER if low is None else int(low)
        most = _LARGEST_INTEGER if high is None else int(high)
        descriptor.integer_range = [IntegerRange(from_value=least, to_value=most)]
    elif kind is float and (low is not None or high is not None):
        smallest = -sys.float_info.max if low is None else float(low)
        largest = sys.float_info.max if high is None else float(high)
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=smallest, to_value=largest)
        ]
    return descriptor


class RealTimeUpdater(Updater):  # type: ignore[misc]
    """Reports in real time: the clock of a simulation, or of a recording, may stand still."""

    timer: Any

    def __init__(self, node: Node) -> None:
        """Report for a node of no hardware in particular.

        Args:
            node: Whose diagnostics they are; its own clock counts for everything else.
        """
        super().__init__(node)
        node.destroy_timer(self.timer)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.timer = node.create_timer(self.period, self.update, clock=steady)
        self.setHardwareID('none')


def fill(status: DiagnosticStatusWrapper, judged: Health) -> DiagnosticStatusWrapper:
    """Write a judgement into a diagnostic status."""
    status.summary(bytes([judged.level]), judged.message)
    for key, value in judged.values.items():
        status.add(key, value)
    return status
