# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Runs one or several nodes in this process until they are told to stop."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
import sys
from typing import Protocol
from typing import TypeVar

import rclpy
from rclpy.exceptions import InvalidNodeNameException
from rclpy.executors import ExternalShutdownException
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from trt_engine.conversions import starting_ros
from trt_engine.errors import PerceptionError
from trt_engine.stop_signals import StopSignals

_LOOK_UP_S = 0.1  # how often the loop looks whether it is told to stop


class Crashes(Protocol):
    """A node with threads of its own, in which something may go wrong."""

    @property
    def crash(self) -> BaseException | None:
        """Return the defect that ended one of its threads; None while they run."""

    def destroy_node(self) -> None:
        """Stop its threads, and free what it has."""


_Node = TypeVar('_Node', bound=Crashes)


def run(
    told_to_stop: StopSignals, make: Callable[[str], _Node], program: str, names: Sequence[str],
    words: Sequence[str], start: Callable[[_Node], None] | None = None,
) -> int:  # fmt: skip
    """Run nodes until they are told to stop; return the exit status.

    Args:
        told_to_stop: Says when.
        make: Makes a node of a name.
        program: For messages.
        names: Of the nodes.
        words: The command line, for ROS.
        start: Called with each node once all of them are there.
    """
    nodes: list[_Node] = []
    try:
        # A signal that shut ROS down at once would do so in the middle of a transition.
        with starting_ros():
            rclpy.init(args=list(words), signal_handler_options=SignalHandlerOptions.NO)
        executor = SingleThreadedExecutor()
        for name in names:
            nodes.append(make(name))
            executor.add_node(nodes[-1])
        if start is not None:
            for node in nodes:
                start(node)
        while not told_to_stop():
            executor.spin_once(timeout_sec=_LOOK_UP_S)
    except ExternalShutdownException:
        pass  # after a defect in a thread of a node
    except (PerceptionError, InvalidNodeNameException) as exc:
        print(f'{program}: {exc}', file=sys.stderr)
        return 1
    finally:
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown()
        told_to_stop.ignore()
    return 1 if any(node.crash is not None for node in nodes) else 0
