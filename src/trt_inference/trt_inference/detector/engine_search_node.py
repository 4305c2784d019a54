# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Where a node has its engine from: the store, or else a builder, for which it waits."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node

from trt_engine.card import Card
from trt_engine.entry import Entry
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import EngineMismatchError
from trt_engine.errors import StoreError
from trt_engine.store import Found
from trt_inference.detector.builder_client_node import EngineRequest
from trt_inference.detector.config import DetectorConfig
from trt_inference.detector.engines import BuildInProgress
from trt_inference.detector.engines import find_engine
from trt_inference.detector.engines import model_elsewhere
from trt_inference.detector.engines import put_away
from trt_inference.detector.names_node import check_name
from trt_interfaces.action import BuildEngine


class EngineSearch:
    """The search for the engine of a card.

    First `load_stored`; where that finds none, `ask_builder`, and when the builder is done,
    `load_built`. All calls come in the executor's thread.

    Args:
        node: Who wants it.
        config: What is wanted, and where the store and the builder are.
        card: Of the network, with what overrides it.
        load: Loads an engine that was found; told also how it came to be the one.

    Attributes:
        card: As above.
        progress: How far the builder is; from `ask_builder` on.
    """

    def __init__(
        self, node: Node, config: DetectorConfig, card: Card, load: Callable[[Entry, str], None]
    ) -> None:
        self.card = card
        self._node = node
        self._config = config
        self._load = load
        self._request: EngineRequest | None = None

    def load_stored(self) -> str | None:
        """Load the engine that the store has; return why it has none, or None once it is loaded.

        One that never loads here is moved to quarantine, and counts as missing.

        Raises:
            PerceptionError: The store cannot be used, or the engine does not load now.
        """
        found = self._find()
        if found.entry is None:
            return found.reason
        try:
            self._load(found.entry, found.reason)
        except EngineMismatchError as exc:
            self._node.get_logger().error(f'{exc}; it is moved to quarantine')
            put_away(self._config.engine_store, found.entry, exc)
            return self._find().reason
        return None

    def ask_builder(self, reason: str, on_end: Callable[[str | None], None]) -> bool:
        """Ask a builder for the engine; return whether there is one to ask.

        Args:
            reason: Why the store has none.
            on_end: Told once why there is no engine; None: `load_built` finds it.

        Raises:
            ConfigError: The builder's name cannot be one.
        """
        action = self._config.builder
        if not action:
            return False
        check_name(self._node, action, 'an action')
        request = EngineRequest(self._node, action)
        if not request.is_there():
            request.close()
            return False
        self._node.get_logger().info(f'asking {action} for an engine of {self.card.name}: {reason}')
        named, onnx = model_elsewhere(self._config)
        goal = BuildEngine.Goal(card=named, onnx=onnx, overrides=self._config.overrides)
        self.progress = BuildInProgress(self.card.name, reason)
        self._request = request
        request.send(goal, self._on_feedback, on_end)
        return True

    def load_built(self, problem: str | None) -> None:
        """Load what the builder has built.

        Args:
            problem: As `on_end` was told.

        Raises:
            PerceptionError: There is no engine, or it does not load.
        """
        if problem is not None:
            raise BackendUnavailableError(f'the engine was not built: {problem}')
        found = self._find()
        if found.entry is None:
            raise StoreError(
                f'the builder has built an engine, and {found.reason}; has it the same '
                'store (engine_store), and the same card?'
            )
        self._load(found.entry, found.reason)

    def close(self) -> None:
        """Cancel what the builder was asked for; a second call does nothing."""
        if self._request is not None:
            self._request.close()

    def _find(self) -> Found:
        return find_engine(self.card, self._config.engine_store)

    def _on_feedback(self, told: BuildEngine.Feedback) -> None:
        if self.progress.tell(told.phase, told.fraction, told.message, told.elapsed_s):
            self._node.get_logger().info(str(self.progress))
