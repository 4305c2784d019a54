# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the engines that trt_builder stored fit this board, as far as their manifests tell.

The store is read as plain files, `<store>/<64 hexadecimal digits>/manifest.json`. Only what this
board has is held against them: which card and settings are wanted, the inference node knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import json
import os
from pathlib import Path
import re
from typing import Any

from jetson_monitor.board import Board
from jetson_monitor.errors import SourceError
from jetson_monitor.sysfs.files import read_text
from jetson_monitor.sysfs.power import gpu_units

_FORMAT = 1
_ENTRY = re.compile(r'[0-9a-f]{64}')
_SENTENCES = {
    'tensorrt': 'built by TensorRT {}, here is {}',
    'cuda': 'built with CUDA {}, here is {}',
    'driver': 'built with driver {}, here is {}',
    'l4t': 'built on L4T {}, here is {}',
    'gpu': 'built for {}, this is {}',
    'gpu_units': 'built while the power mode gated {} of the GPU, now it gates {}',
}
_ALWAYS_KNOWN = ('tensorrt', 'gpu')  # not every machine has the others


@dataclass(frozen=True)
class StoredEngine:
    """One engine of the store, held against this board.

    Attributes:
        name: Its card and the beginning of its key; the key alone where that is all there is.
        card: The card that it was built from; None where the manifest cannot be read.
        misfits: Why it does not fit, as sentences.
        doubts: Why it cannot be told whether it fits, as sentences.
    """

    name: str
    card: str | None
    misfits: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def store_root(environ: Mapping[str, str]) -> Path:
    """Return where trt_builder and the inference node have their engines, unless told otherwise."""
    if named := environ.get('TRT_ENGINE_STORE'):
        return Path(named).expanduser()
    data = environ.get('XDG_DATA_HOME') or Path.home() / '.local/share'
    return Path(data, 'jetson_perception/engines')


def stored_engines(store: Path, board: Board, root: Path) -> list[StoredEngine] | None:
    """Return the engines of a store, None where there is no store.

    Args:
        store: Its folder.
        board: The machine that they are to fit.
        root: Where the machine's file system begins.

    Raises:
        SourceError: The store is there and cannot be listed.
    """
    try:
        names = sorted(name for name in os.listdir(store) if _ENTRY.fullmatch(name))
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise SourceError(
            f'{store} cannot be listed: {exc.strerror}; run this as the user who runs the nodes'
        ) from exc
    here = {
        'tensorrt': board.tensorrt,
        'cuda': board.cuda,
        'driver': board.driver,
        'l4t': board.l4t,
        'gpu': board.gpu or (board.model if board.is_jetson else None),
        'gpu_units': gpu_units(root),
    }
    return [_engine(name, read_text(store / name / 'manifest.json'), here) for name in names]


def _engine(key: str, manifest: str, here: Mapping[str, str | None]) -> StoredEngine:
    short = key[:12]
    try:
        values = json.loads(manifest)
        if values['format'] != _FORMAT:
            doubt = f'its manifest has format {values["format"]!r}, this monitor reads {_FORMAT}'
            return StoredEngine(short, None, doubts=(doubt,))
        ingredients = values['ingredients']
        card, flavour = str(ingredients['card']), ingredients['flavour']
        facts = {name: _text_or_none(ingredients[name]) for name in _SENTENCES}
    except (ValueError, KeyError, TypeError, RecursionError):
        return StoredEngine(short, None, doubts=('its manifest is absent, unreadable or damaged',))
    if flavour != 'tensorrt':
        here = {**here, 'tensorrt': None}  # no file of the board says the version of the other one
    misfits, doubts = [], []
    for name, sentence in _SENTENCES.items():
        mine, theirs = facts[name], here[name]
        said = sentence.format(mine or 'unknown', theirs or 'unknown')
        if mine is not None and theirs is not None:
            if not (_agree(mine, theirs) if name == 'tensorrt' else mine == theirs):
                misfits.append(said)
        elif mine is not None or theirs is not None or name in _ALWAYS_KNOWN:
            doubts.append(said)
    return StoredEngine(f'{card} {short}', card, tuple(misfits), tuple(doubts))


def _agree(one: str, other: str) -> bool:
    """Return whether two versions agree as far as both go: a package's has one number more."""
    pairs = zip(one.split('.'), other.split('.'), strict=False)
    return all(mine == theirs for mine, theirs in pairs)


def _text_or_none(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f'{value!r} is no text')
