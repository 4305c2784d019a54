# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Whether ROS can have a name that a user gave."""

from __future__ import annotations

from rclpy.exceptions import NameValidationException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.node import Node
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_topic_name import validate_topic_name

from trt_engine.errors import ConfigError


def check_name(node: Node, name: str, what: str) -> None:
    """Refuse a name that no topic, service or action can have.

    Args:
        node: In whose namespace a relative name is.
        name: As the user gave it.
        what: Of what it is to be the name, for the message.

    Raises:
        ConfigError: ROS cannot have it.
    """
    try:
        validate_topic_name(name)
        validate_full_topic_name(expand_topic_name(name, node.get_name(), node.get_namespace()))
    except NameValidationException as exc:
        raise ConfigError(f'{name!r} cannot be the name of {what}: {exc}') from exc
