# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The monitor node: its parameters, topics and services; the work is in the other modules."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from contextlib import ExitStack
import os
import sys
import threading
import time
import traceback
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
import rclpy
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock
from rclpy.clock import ClockType
from rclpy.exceptions import NameValidationException
from rclpy.executors import ExternalShutdownException
from rclpy.executors import MultiThreadedExecutor
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Temperature
from std_msgs.msg import Bool
from std_msgs.msg import String
from std_srvs.srv import SetBool

from jetson_monitor import conversions
from jetson_monitor.control import Control
from jetson_monitor.energy import InferenceCount
from jetson_monitor.energy import PerInference
from jetson_monitor.errors import ConfigError
from jetson_monitor.errors import ControlError
from jetson_monitor.errors import MonitorError
from jetson_monitor.health import is_throttled
from jetson_monitor.health import stale
from jetson_monitor.health import Status
from jetson_monitor.metrics import MetricsServer
from jetson_monitor.monitor import configured_board
from jetson_monitor.monitor import Monitor
from jetson_monitor.monitor import open_configured
from jetson_monitor.monitor import Sampling
from jetson_monitor.monitor import Snapshot
from jetson_monitor.preflight import preflight
from jetson_monitor.preflight import preflight_status
from jetson_monitor.rules import Level
from jetson_monitor.sample import Sample
from jetson_monitor.stop_signals import StopSignals
from trt_interfaces.msg import InferenceStats
from trt_interfaces.msg import JetsonStats
from trt_interfaces.srv import SetByName

_DEPTH = 10
_EVENTS = QoSProfile(depth=50)
_LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
_SETTLE_S = 5.0  # after this long, a source that is to speak has spoken
_LOOK_UP_S = 0.2  # how often the loop looks whether it is told to stop


class MonitorNode(Node):  # type: ignore[misc]
    """Publishes how the board is doing."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare parameters, open the sources and begin to sample.

        Raises:
            MonitorError: A parameter has a value that is not allowed, nothing can be read here,
                or a file cannot be written.
        """
        super().__init__('jetson_monitor', **kwargs)
        self.crash: Exception | None = None
        self._newest: tuple[Snapshot, float] | None = None  # and when it came
        self._started_s = time.monotonic()
        self._temperature_publishers: dict[str, Any] = {}
        self._throttled: bool | None = None
        self._preflight: tuple[Status, ...] = ()
        self._opened = ExitStack()
        try:
            self._open()
        except MonitorError:
            self._opened.close()
            raise

    def _open(self) -> None:
        config = self.config = conversions.declare(self)
        self._board, self._board_status = configured_board(config)
        sources = self._sources = open_configured(config)
        self._opened.callback(sources.close)
        read = _one_at_a_time(sources.read)  # control looks at the board, too
        monitor = Monitor(config, read, self._board.soc)
        self._opened.callback(monitor.close)

        self._inferences = InferenceCount(config.energy_window_s)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', _DEPTH)
        self._stats = self.create_publisher(JetsonStats, '~/stats', _DEPTH)
        self._throttled_publisher = self.create_publisher(Bool, '~/throttled', _LATCHED)
        self._events = self.create_publisher(String, '~/events', _EVENTS)
        if config.inference_stats:
            self._listen(config.inference_stats)
        if config.metrics_port:
            server = MetricsServer(config.metrics_port, config.metrics_address, self._fresh)
            self._opened.callback(server.close)
        if config.allow_control:
            self._offer_control(Control(config, read))
        self._sampling = Sampling(
            monitor, config.period_s, time.monotonic, self._on_snapshot, self._on_crash
        )
        self._opened.callback(self._sampling.stop)
        # Under use_sim_time the node's own clock may stand still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(config.diagnostics_period_s, self._publish_diagnostics, clock=steady)
        self.get_logger().info(f'{self._board_status.message}; reading {config.source}')

    def _listen(self, topic: str) -> None:
        try:
            self.create_subscription(InferenceStats, topic, self._on_inference, _DEPTH)
        except NameValidationException as exc:
            raise ConfigError(f'inference_stats is {topic!r}, which names no topic: {exc}') from exc

    def destroy_node(self) -> None:
        """Stop the thread before the publishers that it uses are gone."""
        self._opened.close()
        super().destroy_node()

    # --- samples: these run in the sampling thread ---------------------------------------------

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        self._check(snapshot)
        self._newest = snapshot, time.monotonic()
        self._stats.publish(conversions.stats(snapshot, self._per_inference(snapshot)))
        throttled = is_throttled(snapshot.sample)
        if throttled is not None and throttled != self._throttled:
            self._throttled = throttled
            self._throttled_publisher.publish(Bool(data=throttled))
        for event in snapshot.events:
            self._events.publish(String(data=event.json()))
            self.get_logger().info(f'{event.kind}: {event.message}')
        if self.config.temperatures:
            for zone, message in conversions.temperatures(snapshot.sample).items():
                self._temperature_publisher(zone).publish(message)

    def _check(self, snapshot: Snapshot) -> None:
        # Not every source speaks at once: the checklist stands when each has had the time to.
        settled_s = max(_SETTLE_S, self.config.stale_periods * self.config.period_s)
        if self._preflight and time.monotonic() - self._started_s > settled_s:
            return
        sample, statuses, states = snapshot.sample, snapshot.statuses, self._sources.states
        items = preflight(self.config, self._board, sample, statuses, states, os.environ)
        self._preflight = (preflight_status(items),)

    def _temperature_publisher(self, zone: str) -> Any:
        if zone not in self._temperature_publishers:
            self._temperature_publishers[zone] = self.create_publisher(
                Temperature, f'~/temperature/{zone}', _DEPTH
            )
        return self._temperature_publishers[zone]

    def _per_inference(self, snapshot: Snapshot) -> PerInference | None:
        energy = snapshot.energy_window
        if energy is None:
            return None
        return energy.per_inference(self._inferences.since(time.monotonic() - energy.covered_s))

    def _on_crash(self, defect: Exception) -> None:
        # A node that no longer samples must not seem alive: end, and let launch restart it.
        self.crash = defect
        self.get_logger().fatal(
            'defect in the sampling thread, please report it:\n'
            + ''.join(traceback.format_exception(defect))
        )
        rclpy.try_shutdown(context=self.context)

    # --- the rest: these run in the executor ---------------------------------------------------

    def _on_inference(self, message: InferenceStats) -> None:
        self._inferences.add(message.frames, time.monotonic())

    def _publish_diagnostics(self) -> None:
        self._diagnostics.publish(
            conversions.diagnostics(
                self.get_clock().now().to_msg(),
                self.get_name(),
                self._board.serial or '',
                (self._board_status, *self._preflight, *self._statuses()),
            )
        )

    def _statuses(self) -> Sequence[Status]:
        """Return what is to be said now; of an old sample, no more than that it is old."""
        newest = self._newest
        age_s = time.monotonic() - (newest[1] if newest else self._started_s)
        old = age_s > self.config.stale_periods * self.config.period_s
        if newest is None:
            return stale([Status('source', Level.OK, '')], age_s) if old else ()
        return stale(newest[0].statuses, age_s) if old else newest[0].statuses

    def _fresh(self) -> tuple[Sample, tuple[Status, ...]] | None:
        """Return what metrics are made of: in threads of their server."""
        newest = self._newest
        if newest is None:
            return None
        snapshot, came_s = newest
        if time.monotonic() - came_s > self.config.stale_periods * self.config.period_s:
            return None
        return snapshot.sample, (self._board_status, *snapshot.statuses)

    def _offer_control(self, control: Control) -> None:
        # nvpmodel takes seconds: a group of its own, and a second thread, keep diagnostics alive
        group = MutuallyExclusiveCallbackGroup()

        def set_power_mode(request: Any, response: Any) -> Any:
            return self._answer(response, lambda: control.set_power_mode(request.name))

        def set_jetson_clocks(request: Any, response: Any) -> Any:
            return self._answer(response, lambda: control.set_jetson_clocks(request.data))

        def set_fan_profile(request: Any, response: Any) -> Any:
            return self._answer(response, lambda: control.set_fan_profile(request.name))

        for kind, name, callback in (
            (SetByName, '~/set_power_mode', set_power_mode),
            (SetBool, '~/set_jetson_clocks', set_jetson_clocks),
            (SetByName, '~/set_fan_profile', set_fan_profile),
        ):
            self.create_service(kind, name, callback, callback_group=group)

    def _answer(self, response: Any, change: Callable[[], str]) -> Any:
        try:
            response.message = change()
            response.success = True
        except ControlError as exc:
            response.message = str(exc)
            response.success = False
        self.get_logger().info(response.message)
        return response


def _one_at_a_time(read: Callable[[], Sample]) -> Callable[[], Sample]:
    lock = threading.Lock()

    def locked() -> Sample:
        with lock:
            return read()

    return locked


def main(told_to_stop: StopSignals, args: list[str] | None = None) -> int:
    """Run the node until it is told to stop; return its exit status."""
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as exc:  # rclpy has no public name for its own kinds
        print(f'jetson_monitor: ROS cannot start as it was told to: {exc}', file=sys.stderr)
        return 1
    node = None
    try:
        node = MonitorNode()
        executor = (
            MultiThreadedExecutor(2) if node.config.allow_control else SingleThreadedExecutor()
        )
        executor.add_node(node)
        while not told_to_stop.is_set():
            executor.spin_once(timeout_sec=_LOOK_UP_S)
    except ExternalShutdownException:
        pass  # after a defect in the sampling thread
    except MonitorError as exc:
        print(f'jetson_monitor: {exc}', file=sys.stderr)
        return 1
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        told_to_stop.ignore()
    return 1 if node is not None and node.crash is not None else 0
