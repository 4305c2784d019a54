# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""How a node asks a builder for an engine: one goal, followed until it ends one way or another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.action import ActionClient
from rclpy.clock import Clock
from rclpy.clock import ClockType
from rclpy.node import Node

from trt_interfaces.action import BuildEngine

WAIT_S = 2.0
LOOK_S = 1.0
ASK_AGAIN_S = 5.0


class EngineRequest:
    """A request to a builder; `is_there` says whether one listens, `send` asks it.

    All calls come in the executor's thread, and none after `close`.

    Args:
        node: Who asks.
        action: Name of the builder's action.
    """

    def __init__(self, node: Node, action: str) -> None:
        self._node = node
        self._client = ActionClient(node, BuildEngine, action)
        self._timer: Any = None
        self._asked: Any = None
        self._goal: Any = None  # its handle, once accepted
        self._closed = False

    def is_there(self, timeout_s: float = WAIT_S) -> bool:
        """Return whether a builder offers the action, waiting a little for it to be found."""
        return bool(self._client.wait_for_server(timeout_s))

    def send(
        self,
        goal: BuildEngine.Goal,
        on_feedback: Callable[[BuildEngine.Feedback], None],
        on_end: Callable[[str | None], None],
    ) -> None:
        """Ask for an engine.

        Args:
            goal: What for.
            on_feedback: Told how far it is.
            on_end: Told once why there is no engine; None: the store has it.
        """
        self._request, self._on_feedback, self._on_end = goal, on_feedback, on_end
        self._ask()
        # Under use_sim_time the node's own clock may stand still.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self._node.create_timer(LOOK_S, self._look, clock=clock)

    def close(self) -> None:
        """Cancel what was asked for; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        if not self._client.server_is_ready():  # nobody is left to answer
            self._client.destroy()
        elif self._goal is not None:
            self._cancel(self._goal)
        elif self._asked is None or self._asked.done():  # else `_answered` has to cancel first
            self._client.destroy()

    def _ask(self) -> None:
        self._looks = 0
        self._asked = self._client.send_goal_async(self._request, feedback_callback=self._heard)
        self._asked.add_done_callback(self._answered)

    def _look(self) -> None:
        if not self._client.server_is_ready():
            self._end('the builder is gone')
            return
        self._looks += 1
        # A builder that had not found us yet could not answer; two goals make one engine.
        if self._goal is None and self._looks * LOOK_S >= ASK_AGAIN_S:
            self._ask()

    def _heard(self, message: Any) -> None:
        if not self._closed:
            self._on_feedback(message.feedback)

    def _answered(self, asked: Any) -> None:
        goal = asked.result()
        if self._closed:
            self._cancel(goal)
            return
        if self._goal is not None:
            return
        if not goal.accepted:
            self._end('the builder takes no requests, as it is about to end')
            return
        self._goal = goal
        goal.get_result_async().add_done_callback(self._finished)

    def _cancel(self, goal: Any) -> None:
        # without a client to take it, the builder's answer would keep the builder waiting
        goal.cancel_goal_async().add_done_callback(lambda _: self._client.destroy())

    def _finished(self, ended: Any) -> None:
        result = ended.result().result
        self._goal = None  # there is nothing left to cancel
        if result.status in ('built', 'reused'):
            self._end(None)
        else:
            self._end(result.reason or 'the builder failed, and said nothing of why')

    def _end(self, problem: str | None) -> None:
        if not self._closed:
            self.close()
            self._on_end(problem)
