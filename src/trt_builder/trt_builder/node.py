# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The builder node: its parameters, action, services and topics; the work is in other modules.

All that touches ROS runs in the executor's one thread, save the feedback of a goal; what takes
long runs in threads of its own, for which coroutines wait. So nothing here needs a lock, the node
answers during a build, and as many goals may wait as there are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
import sys
import threading
import time
import traceback
from typing import Any
from typing import cast
from typing import TypeVar

from diagnostic_updater import DiagnosticStatusWrapper
import rclpy
from rclpy.action import ActionServer
from rclpy.action import CancelResponse
from rclpy.action import GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock
from rclpy.clock import ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from trt_builder import conversions
from trt_builder import health
from trt_builder.build_process import Progress
from trt_builder.builder import EngineBuilder
from trt_builder.builder import Outcome
from trt_builder.compat import Flavour
from trt_builder.config import BuilderConfig
from trt_builder.jobs import Ending
from trt_builder.jobs import Job
from trt_builder.jobs import Jobs
from trt_engine.conversions import declare
from trt_engine.conversions import fill
from trt_engine.conversions import RealTimeUpdater
from trt_engine.conversions import starting_ros
from trt_engine.errors import BuildFailedError
from trt_engine.errors import PerceptionError
from trt_engine.health import Health
from trt_engine.health import Level
from trt_engine.stop_signals import StopSignals
from trt_engine.store import Store
from trt_interfaces.action import BuildEngine
from trt_interfaces.msg import BuilderStatus
from trt_interfaces.srv import ListEngines
from trt_interfaces.srv import RemoveEngine
from trt_interfaces.srv import VerifyEngines

_LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
_MANY = QoSProfile(depth=1000)  # with the usual 10, goals that come at once are lost, silently
_STATUS_PERIOD_S = 0.5
_STORE_PERIOD_S = 5.0
_LOOK_UP_S = 0.1  # how often the loop looks whether it is told to stop
_GRACE_S = 4.0  # for builds to end when the node is told to stop
_LAST_WORDS_S = 0.3  # for their results to leave

Returned = TypeVar('Returned')


def make_builder(config: BuilderConfig) -> EngineBuilder:
    """Return what builds as the parameters say."""
    return EngineBuilder(
        Store(config.store or None, limit_mib=config.limit_mib),
        cast('Flavour', config.flavour),
        timeout_s=config.timeout_s or None,
    )


class BuilderNode(Node):  # type: ignore[misc]
    """Builds the engines that it is asked for, and looks after the store."""

    def __init__(
        self, builder_factory: Callable[[BuilderConfig], EngineBuilder] = make_builder
    ) -> None:
        """Declare parameters, and offer what there is.

        Args:
            builder_factory: Makes what builds; tests give another.

        Raises:
            ConfigError: A parameter has a value that is not allowed.
        """
        super().__init__('builder')
        self._config = declare(self, BuilderConfig, fixed=True)
        self._builder = builder_factory(self._config)
        self._jobs = Jobs()
        self._goals: dict[bytes, Job] = {}
        self._stopping = False
        self._stock: health.Stock | PerceptionError | None = None
        self._status = self.create_publisher(BuilderStatus, '~/status', _LATCHED)
        # In another group, what waits for its thread would keep all the others waiting.
        anyone = ReentrantCallbackGroup()
        self._action = ActionServer(
            self,
            BuildEngine,
            'build_engine',
            self._on_goal,
            callback_group=anyone,
            goal_callback=self._on_goal_request,
            cancel_callback=self._on_cancel,
            goal_service_qos_profile=_MANY,
            result_service_qos_profile=_MANY,
            cancel_service_qos_profile=_MANY,
        )
        for kind, name, answer in (
            (ListEngines, 'list_engines', _list_engines),
            (VerifyEngines, 'verify_engines', _verify_engines),
            (RemoveEngine, 'remove_engine', _remove_engine),
        ):
            self.create_service(
                kind, name, partial(self._on_request, answer), callback_group=anyone
            )
        # Under use_sim_time the node's own clock may stand still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_STATUS_PERIOD_S, self._on_status_time, clock=steady)
        one_at_a_time = MutuallyExclusiveCallbackGroup()
        self.create_timer(_STORE_PERIOD_S, self._survey, one_at_a_time, clock=steady)
        self._updater = RealTimeUpdater(self)
        self._updater.add('store', self._diagnose_store)
        self._updater.add('build', self._diagnose_build)
        self._publish_status()

    @property
    def busy(self) -> bool:
        """Return whether an engine is being built."""
        return bool(self._jobs.in_hand)

    async def begin(self) -> None:
        """Look through the store, and build the engines of the parameter `cards`, one by one."""
        await self._survey()
        for card in self._config.cards:
            if not self._stopping:
                await self._build(Job(card))

    def stop(self) -> None:
        """Take no more goals, and cancel the builds; `busy` tells when they are over."""
        self._stopping = True
        for job in self._jobs.in_hand:
            job.cancel.set()

    def destroy_node(self) -> None:
        """Take back all that the node offers: rclpy would leave the action to be found."""
        self._action.destroy()
        super().destroy_node()

    # --- building ------------------------------------------------------------------------------

    def _on_goal_request(self, goal: BuildEngine.Goal) -> GoalResponse:
        # A card that cannot be used is told in the result, which can say why; this cannot.
        return GoalResponse.REJECT if self._stopping else GoalResponse.ACCEPT

    async def _on_goal(self, goal: ServerGoalHandle) -> BuildEngine.Result:
        job = conversions.job(goal.request)
        if goal.is_cancel_requested or self._stopping:  # before its turn came
            job.cancel.set()
        identity = bytes(goal.goal_id.uuid)
        self._goals[identity] = job
        result = await self._build(job, goal.publish_feedback)
        del self._goals[identity]
        if result.status != 'refused':
            goal.succeed()
        elif goal.is_cancel_requested:
            goal.canceled()
        else:
            goal.abort()
        return result

    def _on_cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        if job := self._goals.get(bytes(goal.goal_id.uuid)):
            job.cancel.set()
        return CancelResponse.ACCEPT

    async def _build(
        self, job: Job, give_feedback: Callable[[BuildEngine.Feedback], None] | None = None
    ) -> BuildEngine.Result:
        log = self.get_logger()
        told: set[str] = set()

        def report(progress: Progress) -> None:
            if progress.phase not in told:
                told.add(progress.phase)
                log.info(f'{job.card}: {progress.message}')
            if give_feedback is not None:
                give_feedback(conversions.feedback(progress, job.elapsed_s))

        self._jobs.in_hand.append(job)
        self._publish_status()
        outcome = await self._aside(
            partial(job.run, self._builder, allow_few=self._config.allow_few_samples, report=report)
        )
        if isinstance(outcome, Exception):
            outcome = self._as_ours(outcome)
        result = conversions.result(outcome, job.elapsed_s)
        cancelled = result.status == 'refused' and job.cancel.is_set()
        ending = Ending(job.card, 'cancelled' if cancelled else result.status, result.reason)
        if ending.status == 'refused':
            log.error(str(ending))
        else:
            log.info(str(ending))
        if isinstance(outcome, Outcome):
            for warning in outcome.warnings:
                log.warning(f'{job.card}: {warning}')
        self._jobs.in_hand.remove(job)
        self._jobs.last = ending
        self._publish_status()
        return result

    # --- everything else -----------------------------------------------------------------------

    async def _on_request(
        self, answer: Callable[[Store, Any], Any], request: Any, response: Any
    ) -> Any:
        answered = await self._aside(partial(answer, self._builder.store, request))
        if isinstance(answered, Exception):
            response.message = str(self._as_ours(answered))
            return response
        return answered

    async def _survey(self) -> None:
        stock = await self._aside(partial(health.survey, self._builder.store))
        self._stock = self._as_ours(stock) if isinstance(stock, Exception) else stock

    async def _aside(self, work: Callable[[], Returned]) -> Returned | Exception:
        """Have a thread of its own do something; return what that gave, or raised."""
        done = Future()
        done.add_done_callback(lambda _: self.executor.wake())

        def run() -> None:
            try:
                done.set_result(work())
            except Exception as exc:  # noqa: BLE001  # handed to whoever waits
                done.set_result(exc)

        # One that does not end in time must not keep the node from ending.
        threading.Thread(target=run, daemon=True).start()
        return await done  # type: ignore[no-any-return]

    def _as_ours(self, error: Exception) -> PerceptionError:
        """Return an error that can be told; a defect is logged, and ends only what met it."""
        if isinstance(error, PerceptionError):
            return error
        self.get_logger().fatal(
            'defect, please report it:\n' + ''.join(traceback.format_exception(error))
        )
        return BuildFailedError(f'defect in the builder, please report it: {error!r}')

    def _on_status_time(self) -> None:
        if self.busy:
            self._publish_status()

    def _publish_status(self) -> None:
        self._status.publish(conversions.status(self._jobs))

    def _diagnose_store(self, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        if self._stock is None:
            return fill(status, Health(Level.STALE, 'not looked at yet'))
        if isinstance(self._stock, PerceptionError):
            return fill(status, Health(Level.ERROR, str(self._stock)))
        return fill(status, health.store_health(self._stock))

    def _diagnose_build(self, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        return fill(status, health.build_health(self._jobs))


def _list_engines(store: Store, request: ListEngines.Request) -> ListEngines.Response:
    entries = store.entries()
    mib = sum(entry.size_bytes for entry in entries) / 2**20
    return ListEngines.Response(
        success=True,
        message=f'{len(entries)} engines, {mib:.1f} MiB, in {store.root}',
        engines=[conversions.engine_info(entry.key, entry) for entry in entries],
    )


def _verify_engines(store: Store, request: VerifyEngines.Request) -> VerifyEngines.Response:
    known = {entry.key: entry for entry in store.entries()}
    problems = store.verify()
    damaged = sum(problem is not None for problem in problems.values())
    return VerifyEngines.Response(
        success=not damaged,
        message=f'{len(problems) - damaged} engines are whole, {damaged} are not',
        engines=[
            conversions.engine_info(key, known.get(key), problem or '')
            for key, problem in problems.items()
        ],
    )


def _remove_engine(store: Store, request: RemoveEngine.Request) -> RemoveEngine.Response:
    store.remove(request.key)
    return RemoveEngine.Response(success=True, message=f'removed {request.key}')


def main(told_to_stop: StopSignals, args: list[str] | None = None) -> int:
    """Run the node until it is told to stop; return its exit status."""
    node = None
    try:
        # A signal that shut ROS down at once would leave clients without the result of their goal.
        with starting_ros():
            rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = BuilderNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.create_task(node.begin)
        while not told_to_stop():
            executor.spin_once(timeout_sec=_LOOK_UP_S)
        node.stop()
        _spin(executor, _GRACE_S, lambda: node.busy)
        _spin(executor, _LAST_WORDS_S, lambda: True)
    except PerceptionError as exc:
        print(f'builder: {exc}', file=sys.stderr)
        return 1
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        told_to_stop.ignore()
    return 0


def _spin(executor: SingleThreadedExecutor, longest_s: float, on: Callable[[], bool]) -> None:
    end_s = time.monotonic() + longest_s
    while on() and time.monotonic() < end_s:
        executor.spin_once(timeout_sec=_LOOK_UP_S)


if __name__ == '__main__':
    sys.exit(main(StopSignals()))
