# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Adds up what networks, cameras and a lidar will take of a board, or of this machine.

Figures come from engines of the store, else from ONNX files.
"""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import fields
from dataclasses import replace

from trt_engine.card import Card
from trt_engine.card import load_card
from trt_engine.card import with_overrides
from trt_engine.entry import Entry
from trt_engine.errors import BackendError
from trt_engine.errors import ConfigError
from trt_engine.errors import ModelFileError
from trt_engine.lidar.model import encoder_card
from trt_engine.lidar.model import inside_pillars
from trt_engine.lidar.model import network_file
from trt_engine.lidar_card import PointsInput
from trt_engine.manifest import Ingredients
from trt_engine.memory.boards import Board
from trt_engine.memory.boards import BOARDS
from trt_engine.memory.boards import find_board
from trt_engine.memory.budget import Assumptions
from trt_engine.memory.budget import Budget
from trt_engine.memory.budget import Part
from trt_engine.memory.budget import process_parts
from trt_engine.memory.budget import Room
from trt_engine.memory.budget import share_arena
from trt_engine.memory.network import built_memory
from trt_engine.memory.network import largest_batch
from trt_engine.memory.network import NetworkMemory
from trt_engine.memory.network import onnx_memory
from trt_engine.platform import read_platform
from trt_engine.store import Store
from trt_inference.camera.memory import camera_parts
from trt_inference.camera.memory import Frames
from trt_inference.camera.memory import UNSEEN
from trt_inference.detector.engines import find_engine
from trt_inference.detector.memory import room_here
from trt_inference.lidar.memory import Clouds
from trt_inference.lidar.memory import encoder_memory
from trt_inference.lidar.memory import lidar_parts

THIS = 'this'


@dataclass(frozen=True)
class Node:
    """One network of the plan, with what goes into it.

    Attributes:
        name: Of the network, and of its process.
        networks: What it takes, and the network inside its pillars where that has an engine.
        sensors: What its cameras or lidar take.
    """

    name: str
    networks: tuple[NetworkMemory, ...]
    sensors: tuple[Part, ...]

    def renamed(self, name: str) -> Node:
        """Return another instance of the same."""

        def other(owner: str) -> str:
            return name + owner.removeprefix(self.name)

        networks = tuple(each.renamed(other(each.name)) for each in self.networks)
        sensors = tuple(replace(part, owner=other(part.owner)) for part in self.sensors)
        return Node(name, networks, sensors)

    def streaming(self, budget_mib: int) -> Node:
        """Return the same with so much of the network's weights on the GPU; 0: all."""
        network, *encoder = self.networks  # which nodes never stream
        return replace(self, networks=(network.streaming(budget_mib), *encoder))


def plan(args: Namespace) -> Budget:
    """Return the budget that the command line asks for.

    Raises:
        PerceptionError: A card, model, board or store cannot be used.
    """
    assumptions = Assumptions(
        **{each.name: getattr(args, each.name) for each in fields(Assumptions)}
    )
    board = None if args.board == THIS else find_board(args.board)
    words = args.camera or [(UNSEEN, 1)]
    listed = [frames for frames, count in words for _ in range(count)]
    cameras = {f'camera {place}': frames for place, frames in enumerate(listed, 1)}
    elsewhere = _models(args.onnx, [asked.name for asked in args.card])
    cards = [
        with_overrides(load_card(asked.name, onnx=elsewhere.get(asked.name)), args.settings)
        for asked in args.card
    ]
    room = _room(board, args.system_mib)
    search = _Search(args.store, board, assumptions, mapped=room.device_mib is None)
    nodes: list[Node] = []
    numbers: Counter[str] = Counter()
    for asked, card in zip(args.card, cards, strict=True):
        if isinstance(card.input, PointsInput):
            one = search.lidar_node(card, args.lidar)
        else:
            one = search.camera_node(card, cameras)
        one = one.streaming(args.weight_streaming_mib)
        for _ in range(asked.count):
            numbers[card.name] += 1
            number = numbers[card.name]
            nodes.append(one.renamed(f'{card.name} {number}') if number > 1 else one)
    parts: list[Part] = []
    together = args.one_process or args.arena
    for name in ['all networks'] if together else [node.name for node in nodes]:
        parts += process_parts(name, assumptions)
    networks = [network for node in nodes for network in node.networks]
    for network in networks:
        parts += network.parts
    if args.arena:
        parts = list(share_arena(parts))
    for node in nodes:
        parts += node.sensors
    notes = dict.fromkeys(note for network in networks for note in network.notes)
    return Budget(room, tuple(parts), tuple(notes))


class _Search:
    """Finds what cards take: an engine's figures where there is one, else those of the model."""

    def __init__(
        self, store: str, board: Board | None, assumptions: Assumptions, *, mapped: bool
    ) -> None:
        self._store = store
        self._board = board
        self._assumptions = assumptions
        self._mapped = mapped

    def camera_node(self, card: Card, cameras: Mapping[str, Frames]) -> Node:
        """Return what a network of images takes, with its cameras."""
        batch = largest_batch(card, len(cameras))
        network = self._network(card, batch)
        sensors = camera_parts(card, network, cameras, mapped=self._mapped, batch=batch)
        return Node(card.name, (network,), sensors)

    def lidar_node(self, card: Card, clouds: Clouds) -> Node:
        """Return what a network of points takes, with its lidar."""
        network = self._network(card)
        networks = [network]
        inside = inside_pillars(card)
        if isinstance(inside, ModelFileError):
            entry = self._entry(encoder_card(card))
            networks.append(encoder_memory(card, entry, self._assumptions))
        sensors = lidar_parts(card, network, inside, [clouds], mapped=self._mapped)
        return Node(card.name, tuple(networks), sensors)

    def _network(self, card: Card, batch: int = 1) -> NetworkMemory:
        core, board = card.build.dla.core, self._board
        if board is not None and core is not None and core >= board.dla_cores:
            raise ConfigError(
                f'{card.name}: dla.core is {core}, and {board.name} has {board.dla_cores} DLA '
                'cores; take --set dla.core=null, or another board'
            )
        onnx, entry, assumptions = network_file(card), self._entry(card), self._assumptions
        if entry is None:
            return onnx_memory(card.name, card, onnx, assumptions=assumptions, batch=batch)
        return built_memory(card.name, card, onnx, entry, assumptions=assumptions, batch=batch)

    def _entry(self, card: Card) -> Entry | None:
        """Return an engine of the card for this machine, or one built on a board with that GPU."""
        if self._board is None:
            return find_engine(card, self._store).entry
        wanted = Ingredients.collect(
            card, network_file(card), flavour='tensorrt', facts=read_platform()
        )
        for entry in Store(self._store or None).entries():
            made = entry.manifest.ingredients
            same = (made.onnx, made.external_data, made.settings) == (
                wanted.onnx, wanted.external_data, wanted.settings,
            )  # fmt: skip
            if same and made.sm == self._board.sm and made.flavour == wanted.flavour:
                return entry
        return None


def _models(words: Sequence[str], cards: Sequence[str]) -> dict[str, str]:
    found = {}
    for word in words:
        card, _, path = word.partition('=')
        if card not in cards or not path:
            raise ConfigError(
                f'--onnx {word!r}; wanted <card>=<path>, with a card of {", ".join(cards)}'
            )
        found[card] = path
    return found


def _room(board: Board | None, system_mib: int | None) -> Room:
    if board is None:
        if system_mib is not None:
            raise ConfigError(
                'with --board this what is free is measured; leave out --system-mib, or name a '
                'board'
            )
        try:
            return room_here()
        except BackendError as exc:
            raise ConfigError(
                f'there is no GPU to measure here ({exc}); name a board with --board: '
                f'{", ".join(BOARDS)}'
            ) from exc
    taken = board.system_mib if system_mib is None else system_mib
    by_whom = 'assumed' if system_mib is None else 'as told'
    source = f'{board.memory_source}, less {taken} for the system, {by_whom}'
    return Room(board.name, max(0, board.memory_mib - taken), None, source)
