# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What nodes that run a network share: life cycle, engine, thread, parameters, diagnostics.

A node of a sensor says in a few methods what is its own: its messages, its detector, its topics.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace
from functools import partial
import sys
import time
import traceback
from typing import Any
from typing import Generic
from typing import Protocol
from typing import TypeVar

from diagnostic_updater import DiagnosticStatusWrapper
from diagnostic_updater import Updater
from rcl_interfaces.msg import SetParametersResult
import rclpy
from rclpy.exceptions import InvalidNodeNameException
from rclpy.exceptions import NameValidationException
from rclpy.executors import ExternalShutdownException
from rclpy.executors import SingleThreadedExecutor
from rclpy.expand_topic_name import expand_topic_name
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle import LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSDurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import QoSReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_topic_name import validate_topic_name
from std_msgs.msg import Header
from vision_msgs.msg import LabelInfo

from trt_engine.backend import Backend
from trt_engine.backends import Choice
from trt_engine.backends import choose_backend
from trt_engine.backends import open_backend
from trt_engine.card import Card
from trt_engine.card import load_card
from trt_engine.card import Thresholds
from trt_engine.card import with_overrides
from trt_engine.conversions import declare
from trt_engine.conversions import fill
from trt_engine.entry import Entry
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import ConfigError
from trt_engine.errors import EngineMismatchError
from trt_engine.errors import PerceptionError
from trt_engine.errors import StoreError
from trt_engine.health import Health
from trt_engine.health import Level
from trt_engine.lidar_model import network_file
from trt_engine.parameters import check
from trt_engine.parameters import settings
from trt_engine.stop_signals import StopSignals
from trt_engine.store import Found
from trt_inference import conversions
from trt_inference import health
from trt_inference.builder_client_node import EngineRequest
from trt_inference.detector_config import DetectorConfig
from trt_inference.detector_config import Stream
from trt_inference.engines import BuildInProgress
from trt_inference.engines import find_engine
from trt_inference.engines import model_elsewhere
from trt_inference.engines import open_engine
from trt_inference.engines import put_away
from trt_inference.engines import without_engine
from trt_inference.latest import LatestFrames
from trt_inference.realtime import calm_collector
from trt_inference.realtime import pin_thread
from trt_inference.realtime import raise_priority
from trt_inference.realtime import wake_collector
from trt_inference.throttle import Throttle
from trt_inference.worker import DetectorLike
from trt_inference.worker import Open
from trt_inference.worker import Result
from trt_inference.worker import Worker
from trt_interfaces.action import BuildEngine
from trt_interfaces.msg import InferenceStats

RESULTS = QoSProfile(depth=10)
NEWEST = QoSProfile(depth=1)
_LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
_ERROR_PERIOD_S = 5.0
_LOOK_UP_S = 0.1  # how often the loop looks whether it is told to stop

Config = TypeVar('Config', bound=DetectorConfig)


class Detects(DetectorLike[Any, Any], Protocol):
    """What a detector has beside what the worker needs of it."""

    thresholds: Thresholds
    class_filter: frozenset[int] | None


class Ready(Protocol):
    """A network that is ready: `loading.Loaded`, `lidar_loading.LoadedLidar`."""

    @property
    def detector(self) -> Detects:
        """Return what looks at frames."""

    @property
    def pipeline(self) -> str:
        """Return gpu or cpu, where frames are prepared and outputs decoded."""

    @property
    def remark(self) -> str:
        """Return what the user should know of that, once; '' for nothing."""

    def close(self) -> None:
        """Free everything."""


@dataclass(frozen=True)
class _Loaded:
    """What `configure` makes and `cleanup` frees."""

    card: Card
    choice: Choice
    backend: Backend
    network: Ready
    engine: Entry | None

    @property
    def detector(self) -> Detects:
        """Return what looks at frames."""
        return self.network.detector

    @property
    def label(self) -> str:
        """Return what runs the network, in two words at most."""
        key = '' if self.engine is None else f' {self.engine.key[:12]}'
        return f'{self.backend.name}{key}'


@dataclass(frozen=True)
class _Waiting:
    """What `configure` leaves where the engine has to be built first."""

    card: Card
    choice: Choice
    progress: BuildInProgress
    request: EngineRequest


class Topics:
    """The topics of one sensor that every node has; a node adds its own."""

    def __init__(self, node: LifecycleNode, stream: Stream) -> None:
        create = node.create_lifecycle_publisher
        self.label_info = create(LabelInfo, stream.topic('label_info'), _LATCHED)
        self.stats = create(InferenceStats, stream.topic('stats'), RESULTS)

    def all(self) -> Sequence[Any]:
        """Return every publisher."""
        return tuple(vars(self).values())


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
        self._loaded: _Loaded | None = None
        self._waiting: _Waiting | None = None
        self._failure = 'not configured yet'
        self._streams: tuple[Stream, ...] = ()
        self._topics: list[Any] = []
        self._worker: Worker[Any, Any] | None = None
        self._subscribed: list[Subscription] = []
        self._judged: list[health.Counts] = []
        self._error_throttle = Throttle(_ERROR_PERIOD_S)
        self.add_on_set_parameters_callback(self._on_parameters)
        self._updater = Updater(self)
        self._updater.setHardwareID('none')
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

    def _before_load(self, card: Card, engine: Entry) -> None:
        """Refuse an engine that is not to be loaded here."""

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
            self._find_engine(card, choice)
        else:
            self._load(card, choice)
        self._topics = [self._make_topics(each) for each in self._streams]

    def _find_engine(self, card: Card, choice: Choice) -> None:
        found = find_engine(card, self._config.engine_store)
        if found.entry is not None:
            try:
                self._load(card, choice, found)
                return
            except EngineMismatchError as exc:
                self.get_logger().error(f'{exc}; it is moved to quarantine')
                put_away(self._config.engine_store, found.entry, exc)
                found = find_engine(card, self._config.engine_store)
        if request := self._find_builder():
            self._ask_builder(request, card, choice, found.reason)
        else:
            self._load(card, without_engine(self._config, found.reason))

    def _activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        assert self._loaded is not None
        kind, latest, open_frame = self._incoming()
        self._worker = Worker(
            self._loaded.detector,
            self._streams,
            latest=latest,
            open=open_frame,
            now_ns=lambda: int(self.get_clock().now().nanoseconds),
            publish=self._publish,
            on_error=self._report_error,
            on_crash=self._on_crash,
            on_start=self._prepare_thread,
        )
        self._tell_worker()
        result = super().on_activate(state)
        for topics in self._topics:
            topics.label_info.publish(
                conversions.label_info(
                    self.get_clock().now().to_msg(),
                    self._loaded.card.classes,
                    self._loaded.detector.thresholds.score,
                )
            )
        self._judged = [health.Counts(time.monotonic()) for _ in self._streams]
        calm_collector()
        self._worker.start()
        quality = QoSProfile(
            depth=self._config.depth,
            reliability=QoSReliabilityPolicy[self._config.reliability.upper()],
        )
        for index, stream in enumerate(self._streams):
            self._subscribed.append(
                self.create_subscription(
                    kind, stream.source, partial(self._worker.put, index), quality, raw=True
                )
            )
            self._updater.add(self._task_name(stream), partial(self._diagnose_stream, index))
        for name, task in self._tasks():
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
        self._check_name(stream.source, f'a topic of a {self._sensor}')
        return replace(stream, source=self.resolve_topic_name(stream.source))

    def _check_name(self, name: str, what: str) -> None:
        try:
            validate_topic_name(name)
            validate_full_topic_name(expand_topic_name(name, self.get_name(), self.get_namespace()))
        except NameValidationException as exc:
            raise ConfigError(f'{name!r} cannot be the name of {what}: {exc}') from exc

    def _load(self, card: Card, choice: Choice, found: Found | None = None) -> None:
        config = self._config
        engine = None if found is None else found.entry
        if found is not None and engine is not None:
            choice = replace(choice, reason=f'{choice.reason}, with an engine {found.reason}')
            self._before_load(card, engine)
            backend = open_engine(card, engine, batches=len(self._streams) > 1)
        else:
            backend = open_backend(choice.name, network_file(card), threads=config.threads)
        network = self._prepare(card, backend)
        network.detector.thresholds = config.thresholds(card)
        network.detector.class_filter = config.class_filter(card)
        self._loaded = _Loaded(card, choice, backend, network, engine)
        log = self.get_logger()
        if self._fell_back(choice):
            log.warning(f'{choice.name}: {choice.reason}')
        if network.remark:
            log.warning(network.remark)
        batch = network.detector.batch
        more = f', up to {batch} at once' if batch > 1 else ''
        log.info(f'configured {card.name} on {backend.identity}, pipeline {network.pipeline}{more}')

    # --- an engine that is not there yet -------------------------------------------------------

    def _find_builder(self) -> EngineRequest | None:
        if not self._config.builder:
            return None
        self._check_name(self._config.builder, 'an action')
        request = EngineRequest(self, self._config.builder)
        if request.is_there():
            return request
        request.close()
        return None

    def _ask_builder(self, request: EngineRequest, card: Card, choice: Choice, reason: str) -> None:
        self.get_logger().info(
            f'asking {self._config.builder} for an engine of {card.name}: {reason}'
        )
        named, onnx = model_elsewhere(self._config)
        goal = BuildEngine.Goal(card=named, onnx=onnx, overrides=self._config.overrides)
        self._waiting = _Waiting(card, choice, BuildInProgress(card.name, reason), request)
        request.send(goal, self._on_build_feedback, self._on_build_end)

    def _on_build_feedback(self, told: BuildEngine.Feedback) -> None:
        assert self._waiting is not None
        progress = self._waiting.progress
        if progress.tell(told.phase, told.fraction, told.message, told.elapsed_s):
            self.get_logger().info(str(progress))

    def _on_build_end(self, problem: str | None) -> None:
        with self._defects_logged('configure'):
            assert self._waiting is not None
            waiting, self._waiting = self._waiting, None
            try:
                if problem is not None:
                    raise BackendUnavailableError(f'the engine was not built: {problem}')
                found = find_engine(waiting.card, self._config.engine_store)
                if found.entry is None:
                    raise StoreError(
                        f'the builder has built an engine, and {found.reason}; has it the same '
                        'store (engine_store), and the same card?'
                    )
                self._load(waiting.card, waiting.choice, found)
            except PerceptionError as exc:
                self.trigger_cleanup()
                self._refuse('configure', exc)
                return
        if waiting.progress.activate:
            self.trigger_activate()

    def _refuse(self, transition: str, reason: PerceptionError) -> TransitionCallbackReturn:
        self._failure = f'{transition} failed: {reason}'
        self.get_logger().error(self._failure)
        return TransitionCallbackReturn.FAILURE

    def _stop(self) -> None:
        for subscription in self._subscribed:
            self.destroy_subscription(subscription)
        self._subscribed = []
        if self._worker is None:
            return
        self._worker.stop()
        self._worker = None
        wake_collector()
        for stream in self._streams:
            self._updater.removeByName(self._task_name(stream))
        for name, _ in self._tasks():
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
            self._waiting.request.close()
            self._waiting = None
            self._failure = 'not configured'

    def _tell_worker(self) -> None:
        if self._worker is not None:
            self._worker.max_age_ms = self._config.max_age_ms

    # --- frames: these four run in the worker's thread ----------------------------------------

    def _prepare_thread(self) -> None:
        for prepare in (
            partial(pin_thread, self._config.cores()),
            partial(raise_priority, self._config.realtime_priority),
        ):
            try:
                prepare()
            except ConfigError as exc:
                self.get_logger().warning(f'the inference thread runs without: {exc}')

    def _publish(self, result: Result[Any, Any]) -> None:
        assert self._loaded is not None
        assert self._worker is not None
        topics = self._topics[result.stream]
        header = conversions.header(result.view)
        self._publish_seen(topics, header, result)
        topics.stats.publish(
            conversions.stats(
                header,
                self._streams[result.stream].name,
                result,
                self._worker.statistics[result.stream],
                self._worker.dropped(result.stream),
                self._loaded.label,
            )
        )

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
        self._tell_worker()
        return SetParametersResult(successful=True)

    # --- diagnostics ---------------------------------------------------------------------------

    def _diagnose_backend(self, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        if self._waiting is not None:
            return fill(status, self._waiting.progress.health())
        if self._loaded is None:
            return fill(status, Health(Level.ERROR, self._failure))
        engine = self._loaded.engine
        return fill(
            status,
            health.backend_health(
                self._loaded.choice.name,
                self._loaded.choice.reason,
                self._fell_back(self._loaded.choice),
                self._loaded.backend.identity,
                self._loaded.card.name,
                str(self._loaded.network),
                '' if engine is None else engine.key,
            ),
        )

    def _diagnose_stream(
        self, index: int, status: DiagnosticStatusWrapper
    ) -> DiagnosticStatusWrapper:
        assert self._worker is not None
        statistics = self._worker.statistics[index]
        now = health.Counts(
            time.monotonic(), statistics.frames, self._worker.dropped(index), statistics.errors
        )
        before, self._judged[index] = self._judged[index], now
        return fill(
            status,
            health.stream_health(self._config, self._streams[index], statistics, now, before),
        )

    def _fell_back(self, choice: Choice) -> bool:
        return self._config.backend == 'auto' and choice.name != 'tensorrt'

    def _task_name(self, stream: Stream) -> str:
        return f'{self._sensor} {stream.name}' if stream.name else self._sensor


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
