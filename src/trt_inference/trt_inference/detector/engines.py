# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The TensorRT engine of a card: taken from the store, or what to do where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import shlex

from trt_engine.backend import Backend
from trt_engine.backends import Choice
from trt_engine.backends import open_backend
from trt_engine.card import Card
from trt_engine.card import find_cards
from trt_engine.entry import Entry
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import EngineMismatchError
from trt_engine.health import Health
from trt_engine.health import Level
from trt_engine.lidar.model import encoder_card
from trt_engine.lidar.model import network_file
from trt_engine.manifest import Ingredients
from trt_engine.model_file import resolve_model
from trt_engine.platform import read_platform
from trt_engine.store import Found
from trt_engine.store import Store
from trt_inference.detector.config import DetectorConfig

LOG_EVERY = 0.25  # of the whole, within one phase


def find_engine(card: Card, store: str) -> Found:
    """Return the engine that a card asks for on this machine, or why there is none.

    Args:
        card: The card, with what overrides it.
        store: Folder of the engines; empty for the usual one.

    Raises:
        ModelFileError: The model of the card, or a plugin, cannot be read.
        StoreError: The store must not be used.
    """
    ingredients = Ingredients.collect(
        card, network_file(card), flavour='tensorrt', facts=read_platform()
    )
    # the pictures of a calibration stay where the engine was built
    return Store(store or None).find(ingredients, any_calibration=True)


def put_away(store: str, entry: Entry, problem: EngineMismatchError) -> None:
    """Move an engine that TensorRT will never load here to where it is never run.

    Raises:
        StoreError: It cannot be moved.
    """
    Store(store or None).quarantine(entry, str(problem))


def open_engine(
    card: Card, entry: Entry, *, batches: bool = False, weight_streaming_mib: int = 0
) -> Backend:
    """Return a backend with an engine of a card loaded.

    Args:
        card: The card.
        entry: The engine.
        batches: Whether it will run with several numbers of pictures.
        weight_streaming_mib: How much of the weights stays on the GPU; 0: all.

    Raises:
        BackendUnavailableError: This machine lacks what it needs, or TensorRT streams no weights.
        EngineMismatchError: It is for another TensorRT or GPU, or damaged.
        ModelLoadError: TensorRT refuses it for another reason.
    """
    return open_backend(
        'tensorrt',
        entry.plan,
        dla_core=card.build.dla.core,
        plugins=card.build.plugins,
        version_compatible=card.build.version_compatible,
        label=f'engine {entry.key[:12]}',
        own_arena=batches,
        weight_streaming_mib=weight_streaming_mib or None,
    )


def open_encoder(config: DetectorConfig, card: Card) -> Backend:
    """Return a backend with the engine of the network inside the pillars of a card loaded.

    Args:
        config: What was asked for.
        card: A card that has an `encoder`.

    Raises:
        BackendUnavailableError: The store holds none; says how to come by one.
        BackendError: It does not load.
        StoreError: The store must not be used.
    """
    alone = encoder_card(card)
    found = find_engine(alone, config.engine_store)
    if found.entry is None:
        command = build_command(replace(config, onnx=str(resolve_model(alone))))
        raise BackendUnavailableError(
            f'there is no engine of it: {found.reason}. To build it: {command}'
        )
    return open_engine(alone, found.entry)


def without_engine(config: DetectorConfig, reason: str) -> Choice:
    """Return what runs the network where TensorRT could, but for want of an engine.

    Args:
        config: What was asked for.
        reason: Why there is no engine.

    Raises:
        BackendUnavailableError: TensorRT is required; says how to come by an engine.
    """
    why = f'there is no engine: {reason}. To build it: {build_command(config)}'
    if config.backend == 'auto' and not config.require_tensorrt:
        return Choice('onnxruntime', f'ONNX Runtime on the CPU, as {why}')
    raise BackendUnavailableError(
        f'{why}; or have this node ask a builder: ros2 launch trt_bringup build.launch.py'
    )


def build_command(config: DetectorConfig) -> str:
    """Return the command line that builds the engine which a node of this configuration wants."""
    card, onnx = model_elsewhere(config)
    words = ['ros2', 'run', 'trt_builder', 'trt_build', card]
    if onnx:
        words += ['--onnx', onnx]
    for each in config.overrides:
        words += ['--set', each]
    if config.engine_store:
        words += ['--store', config.engine_store]
    return shlex.join(words)


def model_elsewhere(config: DetectorConfig) -> tuple[str, str]:
    """Return card and ONNX file ('': the card's) as a process in another folder knows them."""
    card = config.card if config.card in find_cards() else str(Path(config.card).absolute())
    return card, str(Path(config.onnx).absolute()) if config.onnx else ''


class BuildInProgress:
    """An engine that a builder is making, as far as it has told.

    Attributes:
        activate: Whether the node is to be active once the engine is there.
    """

    def __init__(self, card: str, reason: str) -> None:
        """Begin to wait.

        Args:
            card: Whose engine it is.
            reason: Why the store did not have it.
        """
        self.activate = False
        self._card, self._reason = card, reason
        self._phase, self._fraction, self._message = 'asked', 0.0, 'no word from the builder yet'
        self._elapsed_s: float | None = None
        self._logged: tuple[str, float] | None = None

    def tell(self, phase: str, fraction: float, message: str, elapsed_s: float) -> bool:
        """Take in how far it is; return whether that is worth a line in the log."""
        self._phase, self._fraction, self._message = phase, fraction, message
        self._elapsed_s = elapsed_s
        if self._logged and self._logged[0] == phase and fraction < self._logged[1] + LOG_EVERY:
            return False
        self._logged = (phase, fraction)
        return True

    def __str__(self) -> str:
        return f'engine is being built: {self._phase} {self._fraction * 100:.0f} %: {self._message}'

    def health(self) -> Health:
        """Return a warning that says how far it is."""
        elapsed = 'unknown' if self._elapsed_s is None else f'{self._elapsed_s:.0f}'
        return Health(
            Level.WARN,
            str(self),
            {
                'backend': 'tensorrt',
                'model': self._card,
                'built because': self._reason,
                'phase': self._phase,
                'progress (%)': f'{self._fraction * 100:.0f}',
                'elapsed (s)': elapsed,
            },
        )
