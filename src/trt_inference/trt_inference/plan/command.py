# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The command `ros2 run trt_inference plan`: its words, and what it prints.

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
import re

from trt_engine.command import discard_output
from trt_engine.command import end_well
from trt_engine.errors import ImageError
from trt_engine.errors import PointsError
from trt_engine.memory.boards import BOARDS
from trt_engine.memory.budget import ASSUMED
from trt_engine.memory.budget import Assumptions
from trt_inference.camera.memory import Frames
from trt_inference.lidar.memory import Clouds
from trt_inference.lidar.memory import UNSEEN
from trt_inference.plan.reckoning import plan
from trt_inference.plan.reckoning import THIS

FITS, DOES_NOT_FIT, USAGE = 0, 1, 2

_EPILOG = f"""\
Every camera goes to every network of images, and the lidar to every network of points; each
network runs in a process of its own, as nodes do. Memory for clouds doubles as they grow: it is
that for the next power of two, at least {UNSEEN.points} points.
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
    return end_well(lambda: _print_plan(args), failed=USAGE, misused=USAGE)


def _print_plan(args: Namespace) -> int:
    budget = plan(args)
    text = json.dumps(budget.to_json(), indent=2) if args.json else '\n'.join(budget.lines())
    try:
        print(text, flush=True)
    except BrokenPipeError:
        discard_output()  # whoever read has gone; the verdict holds all the same
    return DOES_NOT_FIT if budget.verdict == 'refused' else FITS


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


def read_lidar_word(text: str) -> Clouds:
    """Return clouds of such as 120000:22."""
    found = re.fullmatch(r'(\d{1,8})(?::(\d{1,4}))?', text)
    wanted = 'wanted <points>[:<bytes of a point>], as 120000:22'
    if found is None:
        raise ArgumentTypeError(f'{text!r} is no lidar; {wanted}')
    try:
        return Clouds(int(found[1]), int(found[2] or UNSEEN.step))
    except PointsError as exc:
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
    add(
        '--lidar',
        type=read_lidar_word,
        default=UNSEEN,
        metavar='POINTS[:BYTES]',
        help=f'most points of a cloud, and bytes of each; default {UNSEEN.points}:{UNSEEN.step}',
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
        help='the networks share one arena for activations, as programs of your own can have it '
        '(trt_engine.cuda.arena) and nodes cannot; they are in one process',
    )
    add(
        '--system-mib',
        type=_at_least_0,
        metavar='MIB',
        help='what the system of a named board takes',
    )
    add(
        '--weight-streaming-mib',
        type=_at_least_0,
        default=0,
        metavar='MIB',
        help='weights of each network that stay on the GPU, as the parameter of nodes; 0: all',
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
