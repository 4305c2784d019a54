# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The command `ros2 run trt_inference plan`: whether networks and cameras fit into a board.

It needs neither TensorRT nor a GPU: figures come from engines of the store, else from ONNX files.
"""

from __future__ import annotations

from argparse import ArgumentParser
from argparse import ArgumentTypeError
from argparse import Namespace
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import fields
import json
import os
from pathlib import Path
import re
import sys

from trt_engine.card import Card
from trt_engine.card import load_card
from trt_engine.card import with_overrides
from trt_engine.entry import Entry
from trt_engine.errors import BackendError
from trt_engine.errors import ConfigError
from trt_engine.errors import ImageError
from trt_engine.errors import PerceptionError
from trt_engine.manifest import Ingredients
from trt_engine.memory.boards import Board
from trt_engine.memory.boards import BOARDS
from trt_engine.memory.boards import find_board
from trt_engine.memory.budget import ASSUMED
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
from trt_engine.model_file import resolve_model
from trt_engine.platform import read_platform
from trt_engine.store import Store
from trt_inference.camera.memory import camera_parts
from trt_inference.camera.memory import Frames
from trt_inference.camera.memory import room_here
from trt_inference.camera.memory import UNSEEN
from trt_inference.detector.engines import find_engine

FITS, DOES_NOT_FIT, USAGE = 0, 1, 2
THIS = 'this'

_EPILOG = f"""\
Every camera goes to every network, and each network runs in a process of its own, as nodes do.
boards: {', '.join(BOARDS)}, or {THIS} for this machine
exit status: 0 it fits, perhaps barely; 1 it does not; 2 the question cannot be answered
example: plan --card yolox_nano --card demo:2 --camera 1920x1080:bgr8:4 --board "Orin Nano 8GB"
"""


@dataclass(frozen=True)
class Counted:
    """A word of the command line, and how many of it."""

    name: str
    count: int


def main(argv: Sequence[str] | None = None) -> int:
    """Print the plan that the words ask for; return the exit status."""
    args = _parser().parse_args(argv)
    try:
        budget = plan(args)
    except PerceptionError as exc:
        print(f'error: {exc}', file=sys.stderr)
        return USAGE
    text = json.dumps(budget.to_json(), indent=2) if args.json else '\n'.join(budget.lines())
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # whoever read has gone; the interpreter flushes once more at its end, into nothing
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DOES_NOT_FIT if budget.verdict == 'refused' else FITS


def plan(args: Namespace) -> Budget:
    """Return the budget that the command line asks for.

    Raises:
        PerceptionError: A card, model, board or store cannot be used.
    """
    assumptions = Assumptions(
        **{each.name: getattr(args, each.name) for each in fields(Assumptions)}
    )
    board = None if args.board == THIS else find_board(args.board)
    room = _room(board, args.system_mib)
    words = args.camera or [(UNSEEN, 1)]
    listed = [frames for frames, count in words for _ in range(count)]
    cameras = {f'camera {place}': frames for place, frames in enumerate(listed, 1)}
    elsewhere = _models(args.onnx, [asked.name for asked in args.card])
    networks: list[tuple[Card, NetworkMemory]] = []
    for asked in args.card:
        card = load_card(asked.name, onnx=elsewhere.get(asked.name))
        card = with_overrides(card, args.settings)
        one = _network(card, args.store, board, assumptions, len(cameras))
        for _ in range(asked.count):
            before = sum(card.name == other.name for other, _ in networks)
            name = f'{card.name} {before + 1}' if before else card.name
            networks.append((card, one.renamed(name)))
    parts: list[Part] = []
    together = args.one_process or args.arena
    for name in ['all networks'] if together else [network.name for _, network in networks]:
        parts += process_parts(name, assumptions)
    for _, network in networks:
        parts += network.parts
    if args.arena:
        parts = list(share_arena(parts))
    for card, network in networks:
        batch = largest_batch(card, len(cameras))
        mapped = room.device_mib is None
        parts += camera_parts(card, network, cameras, mapped=mapped, batch=batch)
    notes = dict.fromkeys(note for _, network in networks for note in network.notes)
    return Budget(room, tuple(parts), tuple(notes))


def read_card_word(text: str) -> Counted:
    """Return the card and the number of such as demo:2."""
    name, _, count = text.rpartition(':')
    if name and re.fullmatch(r'[1-9]\d{0,2}', count):
        return Counted(name, int(count))
    return Counted(text, 1)


def read_camera_word(text: str) -> tuple[Frames, int]:
    """Return images and number of such as 1920x1080:bgr8:2."""
    found = re.fullmatch(r'(\d{1,5})x(\d{1,5})(?::(\w+))?(?::([1-9]\d{0,2}))?', text)
    wanted = 'wanted <width>x<height>[:<encoding>[:<number>]], as 1920x1080:bgr8:2'
    if found is None:
        raise ArgumentTypeError(f'{text!r} is no camera; {wanted}')
    try:
        frames = Frames(int(found[1]), int(found[2]), found[3] or 'bgr8')
        return frames, int(found[4] or 1)
    except ImageError as exc:
        raise ArgumentTypeError(f'{text!r}: {exc}; {wanted}') from exc


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog='plan',
        description='Says whether networks and cameras fit into the memory of a board.',
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        '--card',
        action='append',
        required=True,
        type=read_card_word,
        metavar='CARD[:NUMBER]',
        help='a model card; again for further networks',
    )
    add(
        '--camera',
        action='append',
        type=read_camera_word,
        metavar='WxH[:ENCODING[:NUMBER]]',
        help='images of a camera, jpeg for compressed ones; default 1920x1080:bgr8',
    )
    add('--board', default=THIS, help=f'a Jetson by name; default {THIS}')
    add('--onnx', action='append', default=[], metavar='CARD=PATH', help="in place of the card's")
    add(
        '--set',
        dest='settings',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        help='build setting in place of those of all cards, such as precision=int8',
    )
    add('--store', default='', metavar='DIR', help="engines; else TRT_ENGINE_STORE, or the user's")
    add('--one-process', action='store_true', help='count process and CUDA context only once')
    add(
        '--arena',
        action='store_true',
        help='the networks share one arena for activations, so they are in one process',
    )
    add(
        '--system-mib',
        type=_at_least_0,
        metavar='MIB',
        help='what the system of a named board takes',
    )
    for each in fields(Assumptions):
        option = f'--{each.name.replace("_", "-")}'
        add(
            option,
            type=_at_least_0,
            default=getattr(ASSUMED, each.name),
            metavar='MIB',
            help='assumed; default %(default)s',
        )
    add('--json', action='store_true', help='print one JSON object')
    return parser


def _at_least_0(text: str) -> int:
    if not re.fullmatch(r'\d{1,9}', text):
        raise ArgumentTypeError(f'{text!r} is not a whole number of MiB')
    return int(text)


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
            raise ConfigError(f'{exc}; to plan for another machine, name it with --board') from exc
    taken = board.system_mib if system_mib is None else system_mib
    by_whom = 'assumed' if system_mib is None else 'as told'
    source = f'{board.memory_source}, less {taken} for the system, {by_whom}'
    return Room(board.name, max(0, board.memory_mib - taken), None, source)


def _network(
    card: Card, store: str, board: Board | None, assumptions: Assumptions, cameras: int
) -> NetworkMemory:
    core = card.build.dla.core
    if board is not None and core is not None and core >= board.dla_cores:
        raise ConfigError(
            f'{card.name}: dla.core is {core}, and {board.name} has {board.dla_cores} DLA cores; '
            'take --set dla.core=null, or another board'
        )
    onnx = resolve_model(card)
    if board is None:
        entry = find_engine(card, store).entry
    else:
        entry = _find_built(card, onnx, store, board)
    batch = largest_batch(card, cameras)
    if entry is None:
        return onnx_memory(card.name, card, onnx, assumptions=assumptions, batch=batch)
    return built_memory(card.name, card, onnx, entry, assumptions=assumptions, batch=batch)


def _find_built(card: Card, onnx: Path, store: str, board: Board) -> Entry | None:
    """Return an engine of these very ingredients that was built on a board with that GPU."""
    wanted = Ingredients.collect(card, onnx, flavour='tensorrt', facts=read_platform())
    for entry in Store(store or None).entries():
        made = entry.manifest.ingredients
        same = (made.onnx, made.external_data, made.settings) == (
            wanted.onnx, wanted.external_data, wanted.settings,
        )  # fmt: skip
        if same and made.sm == board.sm and made.flavour == wanted.flavour:
            return entry
    return None
