# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Arguments that several verbs take, and what they stand for."""

from __future__ import annotations

from argparse import ArgumentParser
from argparse import ArgumentTypeError
from argparse import Namespace
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
import re
from typing import get_args

from trt_builder.compat import check_version
from trt_builder.compat import Flavour
from trt_builder.compat import parse_version
from trt_builder.compat import TITLES
from trt_builder.compat import Version
from trt_engine.build_settings import Precision
from trt_engine.card import Card
from trt_engine.card import load_card
from trt_engine.card import with_overrides
from trt_engine.errors import StoreError
from trt_engine.platform import tensorrt_version
from trt_engine.store import Store

# for machines without TensorRT: that of JetPack 6.1 and 6.2, and the RTX release on PyPI
ASSUMED = {'tensorrt': '10.3.0', 'tensorrt_rtx': '1.7.1'}


def add_card(parser: ArgumentParser) -> None:
    """Take a card, and what overrides it."""
    parser.add_argument('card', help='name of a model card, or path of its YAML file')
    add_overrides(parser)


def add_overrides(parser: ArgumentParser) -> None:
    """Take what overrides a card."""
    parser.add_argument('--onnx', type=Path, metavar='PATH', help="model in place of the card's")
    parser.add_argument(
        '--precision', choices=get_args(Precision), help='the same as --set precision=...'
    )
    parser.add_argument(
        '--set',
        dest='settings',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        help="setting of the card's build section, such as dla.core=0; may be given again",
    )


def add_flavour(parser: ArgumentParser) -> None:
    """Take which TensorRT."""
    parser.add_argument('--flavour', choices=get_args(Flavour), default='tensorrt')


def add_tensorrt(parser: ArgumentParser, what: str) -> None:
    """Take a version of TensorRT."""
    parser.add_argument('--tensorrt', metavar='VERSION', help=f'{what}, such as 10.3.0')


def add_store(parser: ArgumentParser) -> None:
    """Take a store."""
    parser.add_argument(
        '--store', type=Path, metavar='DIR', help="engines; else TRT_ENGINE_STORE, or the user's"
    )


def add_json(parser: ArgumentParser) -> None:
    """Take whether a program reads the output."""
    parser.add_argument('--json', action='store_true', help='print one JSON object')


def read_card(args: Namespace, settings: Sequence[str] = ()) -> Card:
    """Return the card with all that overrides it, `settings` first: the later one counts."""
    card = load_card(args.card, onnx=args.onnx)
    chosen = [f'precision={args.precision}'] if args.precision else []
    return with_overrides(card, [*settings, *chosen, *args.settings])


def assume_version(flavour: Flavour, asked: str | None) -> tuple[str | None, str | None]:
    """Return the version of TensorRT to take in place of the installed one, and why; or None.

    Raises:
        BuildRefusedError: `asked` is no version, or too old.
    """
    if asked is not None:
        check_version(flavour, parse_version(asked))
        return asked, None
    if tensorrt_version(flavour) is not None:
        return None, None
    assumed = ASSUMED[flavour]
    return assumed, (
        f'{TITLES[flavour]} is not installed here: this is what {assumed} would be told; '
        '--tensorrt names another version'
    )


def known_version(flavour: Flavour, asked: str | None) -> Version:
    """Return the version that is asked for, else the installed one, else the assumed one."""
    return parse_version(asked or tensorrt_version(flavour) or ASSUMED[flavour])


def full_key(store: Store, text: str) -> str:
    """Return the key of an engine from its first few digits.

    Raises:
        StoreError: No engine has it, or several have.
    """
    if re.fullmatch('[0-9a-f]{64}', text):
        return text  # the store knows whether it has it, damaged or whole
    if not re.fullmatch('[0-9a-f]{4,63}', text):
        raise StoreError(f'{text!r} is no key of an engine: wanted at least 4 of its digits')
    found = [entry.key for entry in store.entries() if entry.key.startswith(text)]
    if len(found) == 1:
        return found[0]
    if found:
        raise StoreError(f'{store.root}: {len(found)} keys begin with {text}; give more digits')
    raise StoreError(
        f'{store.root} has no engine whose key begins with {text}; `trt_build store list` shows '
        'those that there are'
    )


def at_least(least: int) -> Callable[[str], int]:
    """Return what reads a whole number from `least` up."""

    def read(text: str) -> int:
        if not re.fullmatch(r'\d{1,9}', text) or int(text) < least:
            raise ArgumentTypeError(f'{text!r} is not a whole number from {least} up')
        return int(text)

    return read


def read_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Return the name and the sizes of such as images=1x3x416x416."""
    name, _, sizes = text.rpartition('=')
    if not name or not re.fullmatch(r'[1-9]\d{0,8}(x[1-9]\d{0,8})*', sizes):
        raise ArgumentTypeError(f'{text!r} is not <input>=<size>x<size>..., as images=1x3x416x416')
    return name, tuple(int(size) for size in sizes.split('x'))
