# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`trt_build store`: looks after the engines that were built."""

from __future__ import annotations

from argparse import ArgumentParser
from argparse import Namespace
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
import time
from typing import Any

from trt_builder.builder import EngineBuilder
from trt_builder.commands import arguments
from trt_builder.commands.show import describe_bytes
from trt_builder.commands.show import print_json
from trt_builder.commands.show import print_table
from trt_builder.compat import TITLES
from trt_engine.entry import Entry
from trt_engine.entry import PLAN
from trt_engine.errors import ConfigError
from trt_engine.errors import StoreError
from trt_engine.store import LIMIT_MIB
from trt_engine.store import Store

SUMMARY = 'List, verify, remove, prune, import or export engines.'
EXAMPLE = 'example: trt_build store list'


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of each action."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)

    def add(name: str, about: str, example: str) -> ArgumentParser:
        action = actions.add_parser(
            name, help=about, description=about, epilog=f'example: trt_build store {example}',
            allow_abbrev=False,
        )  # fmt: skip
        arguments.add_store(action)
        arguments.add_json(action)
        return action

    add('list', 'Show the engines, last used first.', 'list')
    add('verify', 'Check every byte; what is damaged goes to quarantine.', 'verify')
    action = add('remove', 'Delete engines.', 'remove 3f9a61')
    action.add_argument('keys', nargs='+', metavar='KEY', help='key of an engine, or its beginning')
    action = add('prune', 'Delete what was not used for longest.', 'prune --limit-mib 2048')
    action.add_argument(
        '--limit-mib', type=arguments.at_least(0), default=LIMIT_MIB, metavar='MIB',
        help='what may stay (%(default)s)',
    )  # fmt: skip
    action = add(
        'import',
        'Take in an engine that something else built, or that export wrote.',
        "import yolo11n.engine --card yolo11n --note 'yolo export on this board'",
    )
    action.add_argument('path', type=Path, help='a .engine, .plan or .trt file, or a folder')
    action.add_argument('--card', help='what the engine is of; not for a folder, which says it')
    action.add_argument('--note', required=True, help='where it comes from, for its manifest')
    arguments.add_overrides(action)
    arguments.add_flavour(action)
    action = add('export', 'Copy an engine to a folder.', 'export 3f9a61 /media/stick')
    action.add_argument('key', help='key of an engine, or its beginning')
    action.add_argument('folder', type=Path, help='where the new folder is made')
    action = add('path', 'Print where engines lie, or one engine.', 'path 3f9a61')
    action.add_argument('key', nargs='?', help='key of an engine, or its beginning')


def run(args: Namespace) -> int:
    """Do the action; return the exit status."""
    store = Store(args.store, limit_mib=getattr(args, 'limit_mib', LIMIT_MIB))
    return _ACTIONS[args.action](store, args)


def _list(store: Store, args: Namespace) -> int:
    entries = store.entries()
    if args.json:
        print_json({'store': str(store.root), 'engines': [_about(entry) for entry in entries]})
        return 0
    total = describe_bytes(sum(entry.size_bytes for entry in entries))
    print(f'{store.root}: {len(entries)} engines, {total}')
    print_table(
        '',
        ('key', 'card', 'precision', 'by', 'for', 'size', 'made', 'last used'),
        [_row(entry) for entry in entries],
    )
    return 0


def _row(entry: Entry) -> tuple[str, ...]:
    made = entry.manifest
    of = made.ingredients
    return (
        entry.key[:12],
        of.card,
        str(of.settings.get('precision', 'unknown')),
        f'{TITLES[of.flavour]} {of.tensorrt or "unknown"}',
        of.gpu or 'unknown',
        describe_bytes(entry.size_bytes),
        f'{made.created_utc}{" (imported)" if made.provenance == "imported" else ""}',
        _utc(entry.last_use),
    )


def _about(entry: Entry) -> dict[str, Any]:
    made = entry.manifest
    of = made.ingredients
    return {
        'key': entry.key,
        'engine': str(entry.plan),
        'card': of.card,
        'precision': of.settings.get('precision'),
        'flavour': of.flavour,
        'tensorrt': of.tensorrt,
        'gpu': of.gpu,
        'bytes': entry.size_bytes,
        'created_utc': made.created_utc,
        'last_use_utc': _utc(entry.last_use),
        'provenance': made.provenance,
        'note': made.note,
    }


def _verify(store: Store, args: Namespace) -> int:
    found = store.verify()
    damaged = {key: problem for key, problem in found.items() if problem is not None}
    if args.json:
        print_json({'verified': len(found), 'damaged': damaged})
    else:
        for key, problem in sorted(found.items()):
            print(f'{key[:12]}  {problem or "whole"}')
        print(f'{store.root}: {len(found)} engines, {len(damaged)} damaged')
    return 1 if damaged else 0


def _remove(store: Store, args: Namespace) -> int:
    keys = list(dict.fromkeys(arguments.full_key(store, text) for text in args.keys))
    for key in keys:
        store.remove(key)
    return _gone(keys, args)


def _prune(store: Store, args: Namespace) -> int:
    return _gone(store.prune(), args)


def _gone(names: list[str], args: Namespace) -> int:
    if args.json:
        print_json({'removed': names})
    else:
        print('\n'.join(f'removed {name}' for name in names) or 'nothing had to go')
    return 0


def _import(store: Store, args: Namespace) -> int:
    ingredients = None
    if args.path.is_dir():
        if args.card is not None:
            raise ConfigError(f'{args.path}: is a folder, which says its card; leave out --card')
    elif args.card is None:
        raise ConfigError(f'{args.path}: name the --card that the engine is of')
    else:
        ingredients = EngineBuilder(store, args.flavour).plan(arguments.read_card(args)).ingredients
    entry = store.import_engine(args.path, args.note, ingredients)
    if args.json:
        print_json(_about(entry))
    else:
        print(f'imported {entry.plan}')
    return 0


def _export(store: Store, args: Namespace) -> int:
    target = store.export(arguments.full_key(store, args.key), args.folder)
    if args.json:
        print_json({'folder': str(target)})
    else:
        print(target)
    return 0


def _path(store: Store, args: Namespace) -> int:
    place = store.root
    if args.key is not None:
        place = place / arguments.full_key(store, args.key) / PLAN
        if not place.is_file():
            raise StoreError(f'{place}: there is no such engine; see `trt_build store list`')
    if args.json:
        print_json({'path': str(place)})
    else:
        print(place)
    return 0


def _utc(seconds: float) -> str:
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(seconds))


_ACTIONS: Mapping[str, Callable[[Store, Namespace], int]] = {
    'list': _list,
    'verify': _verify,
    'remove': _remove,
    'prune': _prune,
    'import': _import,
    'export': _export,
    'path': _path,
}
