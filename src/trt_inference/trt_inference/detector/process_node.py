# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Runs one or several nodes in this process until they are told to stop."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import sys
from typing import Any

import rclpy
from rclpy.exceptions import InvalidNodeNameException
from rclpy.executors import ExternalShutdownException
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from trt_engine.errors import PerceptionError
from trt_engine.stop_signals import StopSignals
from trt_inference.detector.node import DetectorNode

_LOOK_UP_S = 0.1  # how often the loop looks whether it is told to stop


def run(
    told_to_stop: StopSignals, make: Callable[[str], DetectorNode[Any]], program: str,
    names: Sequence[str], words: Sequence[str],
) -> int:  # fmt: skip
    """Run nodes until they are told to stop; return the exit status.

    Args:
        told_to_stop: Says when.
        make: Makes a node of a name.
        program: For messages.
        names: Of the nodes.
        words: The command line, for ROS.
    """
    # A signal that shut ROS down at once would do so in the middle of a transition.
    rclpy.init(args=list(words), signal_handler_options=SignalHandlerOptions.NO)
    nodes: list[DetectorNode[Any]] = []
    try:
        executor = SingleThreadedExecutor()
        for name in names:
            nodes.append(make(name))
            executor.add_node(nodes[-1])
        for node in nodes:
            node.autostart()
        while not told_to_stop():
            executor.spin_once(timeout_sec=_LOOK_UP_S)
    except ExternalShutdownException:
        pass  # after a defect in the inference thread
    except (PerceptionError, InvalidNodeNameException) as exc:
        print(f'{program}: {exc}', file=sys.stderr)
        return 1
    finally:
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown()
        told_to_stop.ignore()
    return 1 if any(node.crash is not None for node in nodes) else 0
