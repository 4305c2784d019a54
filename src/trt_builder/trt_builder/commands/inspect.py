# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`trt_build inspect`: what is known of an engine, or of an ONNX file."""

from __future__ import annotations

from argparse import ArgumentParser
from argparse import Namespace
from dataclasses import asdict
import json
from pathlib import Path
import re

from trt_builder.build_process import check_in_process
from trt_builder.commands import arguments
from trt_builder.commands.show import describe_bytes
from trt_builder.commands.show import describe_checks
from trt_builder.commands.show import describe_layers
from trt_builder.commands.show import print_fields
from trt_builder.commands.show import print_json
from trt_builder.commands.show import print_table
from trt_builder.compat import TITLES
from trt_builder.layers import Placed
from trt_builder.layers import placement
from trt_builder.onnx_check import ModelReport
from trt_builder.onnx_check import TensorSpec
from trt_engine.entry import Entry
from trt_engine.entry import MANIFEST
from trt_engine.entry import read_entry
from trt_engine.entry import read_text
from trt_engine.errors import StoreError
from trt_engine.model_file import file_digest
from trt_engine.store import Store

SUMMARY = 'Show what is known of an engine, layer by layer, or what stands against an ONNX file.'
EXAMPLE = 'example: trt_build inspect 3f9a61      (a key of `trt_build store list`)'


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument('what', help='an ONNX file, an engine, its folder, or its key in the store')
    arguments.add_flavour(parser)
    arguments.add_tensorrt(parser, 'version whose parser an ONNX file is checked for')
    arguments.add_store(parser)
    arguments.add_json(parser)


def run(args: Namespace) -> int:
    """Print what is known; return the exit status."""
    store, path = Store(args.store), Path(args.what)
    if path.suffix.lower() == '.onnx':
        return _inspect_model(path, args)
    if not path.exists():
        if not re.fullmatch('[0-9a-f]{4,64}', args.what):
            raise StoreError(
                f'{path}: there is no such file or folder, and it is no key of an engine, of which '
                'at least 4 digits are wanted; `trt_build store list` shows them'
            )
        path = store.root / arguments.full_key(store, args.what)
    folder = path if path.is_dir() else path.parent
    if path.is_dir() or (folder / MANIFEST).is_file():
        return _inspect_entry(read_entry(folder), args)
    return _inspect_plan(path, store, args)


def _inspect_model(path: Path, args: Namespace) -> int:
    version = arguments.known_version(args.flavour, args.tensorrt)
    (report,) = check_in_process([path], args.flavour, version)
    if args.json:
        print_json(report.to_json())
    else:
        print_model(report)
    return 1 if report.errors else 0


def print_model(report: ModelReport) -> None:
    """Print what is known of an ONNX file, and what its checks say."""
    print(report.path)
    facts = report.facts
    if facts is not None:
        print_fields(
            (
                ('inputs', [_tensor(name, spec) for name, spec in facts.inputs.items()]),
                ('outputs', [_tensor(name, spec) for name, spec in facts.outputs.items()]),
                ('nodes', f'{facts.nodes} of {len(facts.ops)} operators, opset {facts.opset}'),
                ('weights', describe_bytes(facts.weight_bytes)),
            )
        )
    print_table(
        'Checks',
        ('check', 'verdict', ''),
        [(each.check, each.level, each.text) for each in report.verdicts],
    )


def _tensor(name: str, spec: TensorSpec) -> str:
    shape = 'x'.join('?' if size < 0 else str(size) for size in spec.shape) or 'scalar'
    return f'{name}  {spec.dtype} {shape}'


def _inspect_entry(entry: Entry, args: Namespace) -> int:
    entry.check(deep=True)
    # {} stands for an engine that the inspector was not asked about
    text = read_text(entry.layers)
    layers = placement(text) if json.loads(text) else ()
    if args.json:
        manifest = json.loads(entry.manifest.to_json())
        listed = [asdict(layer) for layer in layers]
        print_json({'engine': str(entry.plan), 'manifest': manifest, 'layers': listed})
    else:
        _print_entry(entry, layers)
    return 0


def _print_entry(entry: Entry, layers: tuple[Placed, ...]) -> None:
    made = entry.manifest
    of = made.ingredients
    print(entry.plan)
    print_fields(
        (
            ('key', entry.key),
            ('card', of.card),
            ('made', f'{made.provenance} {made.created_utc}, {made.seconds:.1f} s'),
            ('note', made.note or ()),
            ('by', f'{TITLES[of.flavour]} {of.tensorrt or "unknown"}'),
            ('for', f'{of.gpu or "unknown GPU"}, compute capability {of.sm or "unknown"}'),
            ('size', describe_bytes(made.plan_bytes or 0)),
            (
                'tensors',
                [
                    f'{each.mode} {each.name}  {each.dtype} {"x".join(map(str, each.shape))}'
                    for each in made.tensors
                ],
            ),
            ('checks', describe_checks(made.checks)),
            ('layers', describe_layers(made.layers)),
        )
    )
    print_table(
        'Settings',
        ('setting', 'value'),
        [(name, json.dumps(value)) for name, value in sorted(of.settings.items())],
    )
    print_layers('Layers', layers)


def print_layers(title: str, layers: tuple[Placed, ...]) -> None:
    """Print layers of an engine, one a line; what is not known is a dash."""
    print_table(
        title,
        ('type', 'precision', 'device', 'layer', 'tactic'),
        [
            (
                each.kind or '-',
                each.precision or '-',
                each.device,
                each.name,
                each.tactic or '-',
            )
            for each in layers
        ],
    )


def _inspect_plan(path: Path, store: Store, args: Namespace) -> int:
    digest = file_digest(path)
    same = next((e for e in store.entries() if e.manifest.plan_sha256 == digest), None)
    size = path.stat().st_size
    if not size:
        raise StoreError(f'{path}: is empty, and no engine; build it again')
    if args.json:
        key = None if same is None else same.key
        print_json({'engine': str(path), 'bytes': size, 'sha256': digest, 'key': key})
        return 0
    print(path)
    known = (
        f'the store has it: trt_build inspect {same.key[:12]}'
        if same is not None
        else 'nothing more: no manifest lies beside it; `trt_build store import` keeps it with one'
    )
    print_fields((('size', describe_bytes(size)), ('sha256', digest), ('known', known)))
    return 0
