# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What nodes that run a network share: their life cycle, parameters and diagnostics.

A node of a sensor says in a few methods what is its own: its messages, its detector, its topics.
Where the engine comes from is told in `engine_search_node`, what an active node does in
`activity_node`, and how several nodes run in one process in `process_node`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
import traceback
from typing import Any
from typing import Generic
from typing import TypeVar

from diagnostic_updater import DiagnosticStatusWrapper
from rcl_interfaces.msg import SetParametersResult
import rclpy
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle import LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_msgs.msg import Header

from trt_engine.backend import Backend
from trt_engine.backends import Choice
from trt_engine.backends import choose_backend
from trt_engine.backends import open_backend
from trt_engine.card import Card
from trt_engine.card import load_card
from trt_engine.card import with_overrides
from trt_engine.conversions import declare
from trt_engine.conversions import fill
from trt_engine.conversions import RealTimeUpdater
from trt_engine.entry import Entry
from trt_engine.errors import ConfigError
from trt_engine.errors import PerceptionError
from trt_engine.health import Health
from trt_engine.health import Level
from trt_engine.lidar.model import network_file
from trt_engine.memory.budget import Budget
from trt_engine.parameters import check
from trt_engine.parameters import settings
from trt_inference.detector.activity_node import Activity
from trt_inference.detector.config import DetectorConfig
from trt_inference.detector.config import Stream
from trt_inference.detector.configured import Configured
from trt_inference.detector.configured import Ready
from trt_inference.detector.engine_search_node import EngineSearch
from trt_inference.detector.engines import open_engine
from trt_inference.detector.engines import without_engine
from trt_inference.detector.latest import LatestFrames
from trt_inference.detector.memory_node import MemoryCheck
from trt_inference.detector.names_node import check_name
from trt_inference.detector.topics_node import Topics
from trt_inference.detector.worker import Open
from trt_inference.detector.worker import Result
from trt_inference.detector.worker import Worker
from trt_inference.throttle import Throttle

_ERROR_PERIOD_S = 5.0

Config = TypeVar('Config', bound=DetectorConfig)


class DetectorNode(LifecycleNode, Generic[Config]):  # type: ignore[misc]
    """Turns the messages of one or several sensors of a kind into detections.

    Args:
        name: Of the node.
        config: The class of its parameters.
        sensor: What its sensors are called: camera, lidar.
    """

    def __init__(self, name: str, config: type[Config], sensor: str, **kwargs: Any) -> None:
        """Declare parameters; nothing is loaded or subscribed before `configure`."""
        super().__init__(name, **kwargs)
        self.crash: BaseException | None = None
        self._sensor = sensor
        self._config: Config = declare(self, config)
        self._loaded: Configured | None = None
        self._waiting: EngineSearch | None = None
        self._failure = 'not configured yet'
        self._streams: tuple[Stream, ...] = ()
        self._topics: list[Topics] = []
        self._activity: Activity | None = None
        self._memory = MemoryCheck(self.get_logger())
        self._error_throttle = Throttle(_ERROR_PERIOD_S)
        self.add_on_set_parameters_callback(self._on_parameters)
        self._updater = RealTimeUpdater(self)
        self._updater.add('backend', self._diagnose_backend)

    # --- what each node says of its own ---------------------------------------------------------

    @property
    def _network(self) -> Ready:
        """Return the network that is loaded."""
        assert self._loaded is not None
        return self._loaded.network

    @property
    def _classes(self) -> Sequence[str]:
        """Return the names of the classes of the network that is loaded."""
        assert self._loaded is not None
        return self._loaded.card.classes

    @abstractmethod
    def _engine_budget(self, card: Card, engine: Entry) -> Budget:
        """Return what the node will take of memory, of which the engine is not loaded yet."""

    @abstractmethod
    def _budget(self, card: Card, network: Ready) -> Budget | None:
        """Return what the node takes of memory; None where frames are looked at on the CPU."""

    @abstractmethod
    def _prepare(self, card: Card, backend: Backend) -> Ready:
        """Return what looks at frames, tried once; it closes the backend, also if this fails."""

    @abstractmethod
    def _make_topics(self, stream: Stream) -> Topics:
        """Create the publishers of a sensor."""

    @abstractmethod
    def _incoming(self) -> tuple[type, LatestFrames, Open[Any]]:
        """Return the type of the messages, where they wait, and what opens them."""

    @abstractmethod
    def _publish_seen(self, topics: Any, header: Header, result: Result[Any, Any]) -> None:
        """Publish what was seen, in the worker's thread."""

    def _tell(self, worker: Worker[Any, Any]) -> None:
        """Tell the thread what may change while it runs."""
        worker.max_age_ms = self._config.max_age_ms

    def _tasks(self) -> Sequence[tuple[str, Callable[..., DiagnosticStatusWrapper]]]:
        """Return names and makers of diagnostics beside those of backend and sensors."""
        return ()

    # --- life cycle ----------------------------------------------------------------------------

    def autostart(self) -> None:
        """Configure and activate, where the parameter says so; a failure leaves a node to mend."""
        if not self._config.autostart:
            return
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the card and the network, try it once, and create the publishers.

        Where a builder has to make the engine first, the network is loaded when it has.
        """
        try:
            with self._defects_logged('configure'):
                self._configure()
        except PerceptionError as exc:
            return self._refuse('configure', exc)
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe, and start to look at frames; at once, or when the engine has been built."""
        if self._waiting is not None:
            self._waiting.progress.activate = True
            self.get_logger().info(
                f'not active yet: {self._waiting.progress}; the node activates itself once it is '
                'there'
            )
            return TransitionCallbackReturn.FAILURE
        with self._defects_logged('activate'):
            return self._activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, and finish the frame in hand."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the network and the publishers."""
        self._free()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free, from whichever state."""
        self._free()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to unconfigured, so that `configure` can be tried again."""
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Stop the worker before the publishers that it uses are gone."""
        self._stop()
        self._stop_waiting()
        super().destroy_node()

    def _configure(self) -> None:
        config = self._config
        self._streams = tuple(self._resolved(each) for each in config.streams())
        card = with_overrides(load_card(config.card, onnx=config.onnx or None), config.overrides)
        config.class_filter(card)  # a wrong name is to be known before a build, not after it
        choice = choose_backend(config.backend, require_tensorrt=config.require_tensorrt)
        if choice.name == 'tensorrt':
            self._load_engine(card, choice)
        else:
            self._load(card, choice)
        self._topics = [self._make_topics(each) for each in self._streams]

    def _load_engine(self, card: Card, choice: Choice) -> None:
        search = EngineSearch(self, self._config, card, partial(self._load, card, choice))
        reason = search.load_stored()
        if reason is None:
            return
        if search.ask_builder(reason, self._on_build_end):
            self._waiting = search
        else:
            self._load(card, without_engine(self._config, reason))

    def _on_build_end(self, problem: str | None) -> None:
        with self._defects_logged('configure'):
            assert self._waiting is not None
            search, self._waiting = self._waiting, None
            try:
                search.load_built(problem)
            except PerceptionError as exc:
                self.trigger_cleanup()
                self._refuse('configure', exc)
                return
        if search.progress.activate:
            self.trigger_activate()

    def _activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        assert self._loaded is not None
        kind, latest, open_frame = self._incoming()
        self._activity = Activity(
            self,
            self._config,
            self._loaded,
            self._streams,
            self._topics,
            latest=latest,
            open=open_frame,
            publish_seen=self._publish_seen,
            on_error=self._report_error,
            on_crash=self._on_crash,
        )
        self._tell(self._activity.worker)
        result = super().on_activate(state)
        self._activity.start(kind)
        for index, stream in enumerate(self._streams):
            self._updater.add(self._task_name(stream), partial(self._activity.diagnose, index))
        for name, task in (*self._memory.tasks(), *self._tasks()):
            self._updater.add(name, task)
        names = ', '.join(each.source for each in self._streams)
        self.get_logger().info(f'active: looking at {names}')
        return result

    @contextmanager
    def _defects_logged(self, transition: str) -> Iterator[None]:
        # rclpy says nothing of what a transition raises: the node would be unconfigured, and
        # nobody could tell why.
        try:
            yield
        except PerceptionError:
            raise
        except Exception:
            self.get_logger().fatal(
                f'defect in {transition}, please report it:\n{traceback.format_exc()}'
            )
            raise

    def _resolved(self, stream: Stream) -> Stream:
        check_name(self, stream.source, f'a topic of a {self._sensor}')
        return replace(stream, source=self.resolve_topic_name(stream.source))

    def _load(
        self, card: Card, choice: Choice, engine: Entry | None = None, origin: str = ''
    ) -> None:
        config = self._config
        self._memory.refuses = config.memory_check == 'refuse'
        if engine is not None:
            choice = replace(choice, reason=f'{choice.reason}, with an engine {origin}')
            self._memory.foresee(card.name, partial(self._engine_budget, card, engine))
            backend = open_engine(
                card,
                engine,
                batches=len(self._streams) > 1,
                weight_streaming_mib=config.weight_streaming_mib,
            )
        else:
            backend = open_backend(choice.name, network_file(card), threads=config.threads)
        network = self._prepare(card, backend)
        try:
            self._memory.start(self._budget(card, network))
        except PerceptionError:
            network.close()
            raise
        network.detector.thresholds = config.thresholds(card)
        network.detector.class_filter = config.class_filter(card)
        self._loaded = Configured(card, choice, backend, network, engine)
        log = self.get_logger()
        if self._fell_back(choice):
            log.warning(f'{choice.name}: {choice.reason}')
        if network.remark:
            log.warning(network.remark)
        batch = network.detector.batch
        more = f', up to {batch} at once' if batch > 1 else ''
        log.info(f'configured {card.name} on {backend.identity}, pipeline {network.pipeline}{more}')

    def _refuse(self, transition: str, reason: PerceptionError) -> TransitionCallbackReturn:
        self._failure = f'{transition} failed: {reason}'
        self.get_logger().error(self._failure)
        return TransitionCallbackReturn.FAILURE

    def _stop(self) -> None:
        if self._activity is None:
            return
        self._activity.stop()
        self._activity = None
        for stream in self._streams:
            self._updater.removeByName(self._task_name(stream))
        for name, _ in (*self._memory.tasks(), *self._tasks()):
            self._updater.removeByName(name)

    def _free(self) -> None:
        self._stop()
        self._stop_waiting()
        for topics in self._topics:
            for publisher in topics.all():
                self.destroy_lifecycle_publisher(publisher)
        self._topics = []
        if self._loaded is not None:
            self._loaded.network.close()
            self._loaded = None
            self._failure = 'not configured'

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None
            self._failure = 'not configured'

    # --- what goes wrong: both run in the worker's thread ---------------------------------------

    def _report_error(self, stream: int, error: PerceptionError) -> None:
        topic = self._streams[stream].source
        suppressed = self._error_throttle.admit(topic)
        if suppressed is not None:
            more = f' (and {suppressed} more since the last report)' if suppressed else ''
            self.get_logger().error(f'{topic}: {error}{more}')

    def _on_crash(self, defect: BaseException) -> None:
        # A node that no longer looks at frames must not seem alive: end, and let launch restart it.
        self.crash = defect
        self.get_logger().fatal(
            'defect in the inference thread, please report it:\n'
            + ''.join(traceback.format_exception(defect))
        )
        rclpy.try_shutdown(context=self.context)

    # --- parameters ----------------------------------------------------------------------------

    def _on_parameters(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        ours = settings(type(self._config))
        try:
            changes = {
                each.name: check(type(self._config), each.name, each.value)
                for each in parameters
                if each.name in ours
            }
            fixed = [
                name
                for name, value in changes.items()
                if ours[name].read_only and value != getattr(self._config, name)
            ]
            busy = self._loaded or self._waiting
            if fixed and busy:
                raise ConfigError(
                    f'{", ".join(fixed)} takes effect when the node is configured; deactivate and '
                    'clean up first'
                )
            config = replace(self._config, **changes)
            class_filter = config.class_filter(busy.card) if busy else None
            if self._loaded is not None:
                self._loaded.detector.thresholds = config.thresholds(self._loaded.card)
                self._loaded.detector.class_filter = class_filter
        except ConfigError as exc:
            return SetParametersResult(successful=False, reason=str(exc))
        self._config = config
        if self._activity is not None:
            self._activity.config = config
            self._tell(self._activity.worker)
        return SetParametersResult(successful=True)

    # --- diagnostics ---------------------------------------------------------------------------

    def _diagnose_backend(self, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        if self._waiting is not None:
            return fill(status, self._waiting.progress.health())
        if self._loaded is None:
            return fill(status, Health(Level.ERROR, self._failure))
        fell_back = self._fell_back(self._loaded.choice)
        return fill(status, self._loaded.health(fell_back=fell_back))

    def _fell_back(self, choice: Choice) -> bool:
        return self._config.backend == 'auto' and choice.name != 'tensorrt'

    def _task_name(self, stream: Stream) -> str:
        return f'{self._sensor} {stream.name}' if stream.name else self._sensor
