# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Each ingredient of an engine changes its key, and is named when it differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from dataclasses import replace
import json
from pathlib import Path
import random
import struct
from typing import Any

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest

from trt_engine.build_settings import Build
from trt_engine.card import Card
from trt_engine.card import parse_card
from trt_engine.card import with_overrides
from trt_engine.errors import ModelFileError
from trt_engine.errors import StoreError
from trt_engine.external_data import _MESSAGES
from trt_engine.external_data import external_files
from trt_engine.lidar_card import PointsInput
from trt_engine.manifest import FileDigest
from trt_engine.manifest import Ingredients
from trt_engine.manifest import Manifest
from trt_engine.manifest import TensorRecord
from trt_engine.platform import Platform

CARD = """\
card: 1
name: my_card
summary: A card for tests
model: {source: my.onnx, licence: Apache-2.0}
input: {tensor: images, size: [64, 64], color: rgb, resize: {mode: stretch}}
head: {type: yolox, outputs: {predictions: output}}
classes: [cat, dog]
thresholds: {score: 0.3, nms_iou: 0.5}
build:
  precision: int8
  memory_mib: {workspace: 512}
  io: {images: {dtype: fp16}}
  profiles: [{images: {min: [1, 3], opt: [2, 3], max: [4, 3]}}]
  plugins: [libmine.so, libtheirs.so]
  calibration: {data: pictures}
"""
ORIN = Platform(
    board='NVIDIA Jetson Orin NX Engineering Reference Developer Kit',
    l4t='36.4.4',
    jetpack='6.2.1',
    tensorrt='10.3.0.30',
    cuda='12.6.11',
    driver='540.4.0',
    sm='8.7',
    dla_cores=2,
    power_mode='25W',
    gpu_masks='TPC_PG_MASK=252',
)


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    (tmp_path / 'libmine.so').write_bytes(b'mine')
    (tmp_path / 'libtheirs.so').write_bytes(b'theirs')
    (tmp_path / 'a.weights').write_bytes(b'some weights')
    path = tmp_path / 'my.onnx'
    path.write_bytes(model('a.weights'))
    return path


@pytest.fixture
def card(onnx: Path) -> Card:
    return parse_card(CARD, onnx.parent / 'my_card.yaml')


def message(number: int, content: bytes) -> bytes:
    """Return one field of protobuf that has a length."""
    length = b''
    left = len(content)
    while left > 0x7F:
        length += bytes([left & 0x7F | 0x80])
        left >>= 7
    tag = number << 3 | 2
    head = bytes([tag]) if tag < 128 else bytes([tag & 0x7F | 0x80, tag >> 7])
    return head + length + bytes([left]) + content


def tensor(location: str) -> bytes:
    entry = message(1, b'location') + message(2, location.encode())
    return message(8, b'weight') + message(13, entry) + b'\x70\x01'


def model(location: str, producer: bytes = b'tests') -> bytes:
    return b'\x08\x08' + message(2, producer) + message(7, message(5, tensor(location)))


def collect(card: Card, onnx: Path, **changes: Any) -> Ingredients:
    given: dict[str, Any] = {'flavour': 'tensorrt', 'facts': ORIN, 'calibration_digest': 'c' * 64}
    return Ingredients.collect(card, onnx, **{**given, **changes})


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def on(facts: Platform, **changes: Any) -> Callable[[Card, Path], Ingredients]:
    return lambda card, onnx: collect(card, onnx, facts=replace(facts, **changes))


def with_file(name: str, content: bytes) -> Callable[[Card, Path], Ingredients]:
    def changed(card: Card, onnx: Path) -> Ingredients:
        write(onnx.parent / name, content)
        return collect(card, onnx)

    return changed


def with_settings(*texts: str) -> Callable[[Card, Path], Ingredients]:
    return lambda card, onnx: collect(with_overrides(card, texts), onnx)


def renamed_weights(card: Card, onnx: Path) -> Ingredients:
    write(onnx.parent / 'b.weights', b'some weights')
    write(onnx, model('b.weights'))
    return collect(card, onnx)


# (what changes, what the sentence must say)
SINGLE = {
    'onnx': (with_file('my.onnx', model('a.weights', b'other')), 'from the ONNX file with sha256 '),
    'external data': (
        with_file('a.weights', b'more weights'),
        'built with the weights a.weights of sha256 ',
    ),
    'name of external data': (
        renamed_weights,
        'built with the weights a.weights, here is b.weights',
    ),
    'plugin': (with_file('libmine.so', b'x'), 'built with the plugin libmine.so of sha256 '),
    'fewer plugins': (
        lambda card, onnx: collect(
            with_overrides(card, [f'plugins=[{onnx.parent}/libmine.so]']), onnx
        ),
        'built with the plugin libmine.so, libtheirs.so, here is libmine.so',
    ),
    'calibration data': (
        lambda card, onnx: collect(card, onnx, calibration_digest='d' * 64),
        'built with the calibration cccccccccccc..., here is dddddddddddd...',
    ),
    'no calibration': (
        lambda card, onnx: collect(card, onnx, calibration_digest=None),
        'built with the calibration cccccccccccc..., here is none',
    ),
    'source of the scales': (
        with_settings('calibration.data=null', 'calibration.cache=a.cache'),
        'built with INT8 scales from the data, wanted are those from the cache',
    ),
    'flavour': (
        lambda card, onnx: collect(card, onnx, flavour='tensorrt_rtx'),
        'built by tensorrt, wanted is tensorrt_rtx',
    ),
    'TensorRT': (
        on(ORIN, tensorrt='10.3.0.26'),
        'built by TensorRT 10.3.0.30, here is 10.3.0.26',
    ),
    'CUDA': (on(ORIN, cuda='12.6.12'), 'built with CUDA 12.6.11, here is 12.6.12'),
    'driver': (on(ORIN, driver=None), 'built with the driver 540.4.0, here is unknown'),
    'GPU': (
        on(ORIN, gpu_name='NVIDIA H200', sm='9.0'),
        'built for GPU NVIDIA Jetson Orin NX Engineering Reference Developer Kit (sm_87), here is '
        'NVIDIA H200 (sm_90)',
    ),
    'name of the GPU alone': (on(ORIN, board='Nano'), '(sm_87), here is Nano (sm_87)'),
    'compute capability': (on(ORIN, sm=None), 'Developer Kit (sm_87), here is NVIDIA'),
    'unknown GPU': (on(ORIN, board=None, sm=None), '(sm_87), here is unknown'),
    'L4T': (on(ORIN, l4t='36.4.3'), 'built on Jetson Linux 36.4.4, here is 36.4.3'),
    'power mode': (
        on(ORIN, power_mode='MAXN', gpu_masks='TPC_PG_MASK=0'),
        'gated the GPU units TPC_PG_MASK=252, now it gates TPC_PG_MASK=0',
    ),
    'power mode of unknown masks': (on(ORIN, gpu_masks=None), 'TPC_PG_MASK=252, now it gates 25W'),
    'recipe': (
        lambda card, onnx: replace(collect(card, onnx), recipe=999),
        'built by recipe 1 of trt_builder, this one has recipe 999',
    ),
}
# each setting of the card, its value in CARD, another
SETTINGS = {
    'precision': ('"int8"', 'mixed'),
    'layer_precision': ('[]', '[{pattern: a, precision: fp16}]'),
    'layer_constraint': ('"prefer"', 'obey'),
    'mixed_layers': ('8', '9'),
    'tf32': ('true', 'false'),
    'sparsity': ('false', 'true'),
    'memory_mib.workspace': ('512', '513'),
    'memory_mib.tactic_dram': ('not set', '1'),
    'optimization_level': ('null', '3'),
    'max_aux_streams': ('null', '0'),
    'tactic_sources': ('null', '[]'),
    'timing_iterations': ('1', '2'),
    'io.images.dtype': ('"fp16"', 'fp32'),
    'io.images.format': ('null', 'linear'),
    'profiles': (
        '[{"images": {"min": [1, 3], "opt": [2, 3], "max": [4, 3]}}]',
        '[{images: {min: [1, 3], opt: [1, 3], max: [4, 3]}}]',
    ),
    'refit': ('false', 'true'),
    'strip_weights': ('false', 'true'),
    'weight_streaming': ('false', 'true'),
    'version_compatible': ('false', 'true'),
    'hardware_compatibility': ('"none"', 'ampere_plus'),
    'verbosity': ('"detailed"', 'none'),
    'timing_cache': ('true', 'false'),
    'parser_flags': ('[]', '[native_instancenorm]'),
    'dla.core': ('null', '0'),
    'dla.fallback': ('false', 'true'),
    'dla.layer_device': ('[]', '[{pattern: a, device: dla}]'),
    'simplify': ('false', 'true'),
    'calibration.topic': ('null', '/camera'),
    'calibration.samples': ('500', '499'),
    'calibration.method': ('"auto"', 'minmax'),
    'calibration.route': ('"auto"', 'qdq'),
    'calibration.keep_sensitive': ('true', 'false'),
    'checks.max_abs': ('null', '0.5'),
    'checks.mean_abs': ('null', '0.5'),
    'checks.cosine': ('null', '0.5'),
}


@pytest.mark.parametrize('name', SINGLE)
def test_each_single_ingredient_changes_the_key_and_is_named(
    name: str, card: Card, onnx: Path
) -> None:
    change, sentence = SINGLE[name]
    before = collect(card, onnx)
    after = change(card, onnx)
    assert after.key != before.key
    differences = before.difference(after)
    assert any(sentence in each for each in differences), differences
    if name not in ('name of external data', 'source of the scales'):
        assert len(differences) == 1


@pytest.mark.parametrize('name', SETTINGS)
def test_each_single_setting_changes_the_key_and_is_named(
    name: str, card: Card, onnx: Path
) -> None:
    was, text = SETTINGS[name]
    if name == 'dla.core':  # which takes one shape only
        card = with_overrides(card, ['profiles=[]'])
    before = collect(card, onnx)
    after = collect(with_overrides(card, [f'{name}={text}']), onnx)
    assert after.key != before.key
    (sentence,) = before.difference(after)
    assert sentence.startswith(f'built with {name} {was}, wanted is ')


def test_no_ingredient_and_no_setting_is_left_out(card: Card, onnx: Path) -> None:
    single = {each.name for each in fields(Ingredients)} - {'card', 'settings'}
    assert len(single) == 14  # a new one needs a line in SINGLE
    collected = collect(card, onnx).settings.keys()
    assert collected == SETTINGS.keys() - {'memory_mib.tactic_dram'}
    sections = {name.partition('.')[0] for name in SETTINGS}
    assert sections == {each.name for each in fields(Build)} - {'plugins'}


def test_the_same_ingredients_have_the_same_key(card: Card, onnx: Path) -> None:
    first = collect(card, onnx)
    assert first.key == collect(card, onnx).key
    assert first.difference(collect(card, onnx)) == []
    # what changes nothing in the engine: the card's name, where things lie, other facts
    other = replace(card, name='other', summary='other')
    assert collect(other, onnx).key == first.key
    assert collect(other, onnx, facts=replace(ORIN, jetpack='7', dla_cores=0)).key == first.key
    moved = with_overrides(card, ['calibration.data=/elsewhere'])
    assert collect(moved, onnx).key == first.key
    here = onnx.parent / 'else'
    here.mkdir()
    write(here / 'libmine.so', b'mine')
    plugins = f'plugins=[{here}/libmine.so, {onnx.parent}/libtheirs.so]'
    assert collect(with_overrides(card, [plugins]), onnx).key == first.key


def test_how_many_points_a_cloud_may_have_is_an_ingredient(card: Card, onnx: Path) -> None:
    clouds = PointsInput('points', (0, 0, 0, 8, 8, 4), (8, 8, 4), 500, 1, 'points')
    one, two = (
        collect(replace(card, input=replace(clouds, max_points=most)), onnx) for most in (500, 501)
    )
    assert one.difference(two) == ['built with input.max_points 500, wanted is 501']
    assert one.key != two.key


def test_the_key_does_not_depend_on_the_order_of_settings(card: Card, onnx: Path) -> None:
    ways = [
        ['memory_mib={workspace: 1, tactic_dram: 2}'],
        ['memory_mib={tactic_dram: 2, workspace: 1}'],
    ]
    first, second = (collect(with_overrides(card, way), onnx) for way in ways)
    assert first.key == second.key


def test_the_key_is_what_it_always_was(card: Card, onnx: Path) -> None:
    # another one here makes every engine of every user stale: was that meant?
    fixed = replace(collect(card, onnx), settings={'precision': 'fp16', 'ratio': 0.1}, recipe=1)
    assert fixed.key == '1492b5c8d900341efeb8c5eea9817d1732aef8f623550487ea37c3dd40b4eb02'


@pytest.mark.parametrize('name', ['my.onnx', 'a.weights', 'libmine.so'])
def test_what_cannot_be_read_is_named(name: str, card: Card, onnx: Path) -> None:
    (onnx.parent / name).unlink()
    with pytest.raises(ModelFileError, match=name):
        collect(card, onnx)


@pytest.fixture
def manifest(card: Card, onnx: Path) -> Manifest:
    return Manifest(
        ingredients=collect(card, onnx),
        created_utc='2026-01-31T12:00:00Z',
        seconds=12.5,
        tensors=(
            TensorRecord('images', 'input', 'HALF', (-1, 3)),
            TensorRecord(' odd\tname ', 'output', 'FLOAT', ()),
        ),
        checks={'output': {'max_abs': 0.1, 'cosine': 0.999}},
        layers={'fp16': 12, 'dla': 0},
        note='two\nlines',
        plan_sha256='a' * 64,
        plan_bytes=100,
        log_sha256='b' * 64,
    )


def test_a_manifest_is_read_as_it_was_written(manifest: Manifest) -> None:
    read = Manifest.from_json(manifest.to_json(), Path('manifest.json'))
    assert read == manifest
    assert read.ingredients.card == 'my_card'
    assert read.ingredients.external_data == manifest.ingredients.external_data
    assert isinstance(read.ingredients.plugins[0], FileDigest)


def changed(text: str, path: str, value: object) -> str:
    values = json.loads(text)
    *folders, name = path.split('.')
    place = values
    for folder in folders:
        place = place[int(folder) if isinstance(place, list) else folder]
    if value is None and name in place:
        del place[name]
    else:
        place[name] = value
    return json.dumps(values)


@pytest.mark.parametrize(
    ('path', 'value', 'problem'),
    [
        ('format', 2, 'format is 2; allowed: 1'),
        ('format', True, 'format is True; allowed: 1'),
        ('format', None, 'format is null; allowed: 1'),
        ('extra', 1, "the manifest has an unknown key 'extra'"),
        ('seconds', None, "the manifest lacks the key 'seconds'"),
        ('seconds', '1', "seconds is '1'; allowed: a number from 0"),
        ('created_utc', 'yesterday', "created_utc is 'yesterday'; allowed: a time such as"),
        ('provenance', 'found', "provenance is 'found'; allowed: built, imported"),
        ('plan_sha256', 'A' * 64, 'allowed: 64 lower-case hexadecimal digits'),
        ('plan_bytes', 0, 'plan_bytes is 0; allowed: a whole number from 1'),
        ('plan_bytes', 1.5, 'plan_bytes is 1.5'),
        ('checks', [], 'checks is a list of 0; allowed: a mapping'),
        ('tensors.0.mode', 'both', "tensors.0.mode is 'both'; allowed: input, output"),
        ('tensors.0.shape', [1, -2], 'tensors.0.shape.1 is -2'),
        ('tensors.0.name', 7, 'tensors.0.name is 7; allowed: a text'),
        ('ingredients.tensorrt', 10.3, 'ingredients.tensorrt is 10.3; allowed: a text'),
        ('ingredients.onnx', 'abc', "ingredients.onnx is 'abc'; allowed: 64"),
        ('ingredients.sm', '9.0', 'the key is not that of the ingredients'),
        ('ingredients.settings.precision', 'fp32', 'the key is not that of the ingredients'),
        ('ingredients.recipe', 0, 'the key is not that of the ingredients'),
        ('key', 'a' * 64, 'the key is not that of the ingredients'),
        ('key', None, 'the key is not that of the ingredients'),
    ],
)
def test_a_manifest_is_read_strictly(
    path: str, value: object, problem: str, manifest: Manifest
) -> None:
    with pytest.raises(StoreError) as error:
        Manifest.from_json(changed(manifest.to_json(), path, value), Path('x/manifest.json'))
    assert str(error.value).startswith('x/manifest.json: ')
    assert problem in str(error.value)


@pytest.mark.parametrize(
    ('text', 'problem'),
    [
        ('', 'is not JSON, or is damaged'),
        ('{', 'is not JSON'),
        ('[]', 'the manifest is a list of 0; allowed: a mapping'),
        ('null', 'the manifest is null'),
        ('{"format": 1, "format": 1}', 'a key stands twice'),
        ('{"format": NaN}', 'NaN is no JSON'),
        ('[' * 100_000, 'is not JSON'),
        ('9' * 10_000, 'the manifest'),
    ],
)
def test_what_is_no_manifest_is_refused(text: str, problem: str) -> None:
    with pytest.raises(StoreError, match=problem):
        Manifest.from_json(text, Path('manifest.json'))


@settings(max_examples=60, derandomize=True, deadline=2000)
@given(st.randoms(use_true_random=False))
def test_a_damaged_manifest_is_refused_or_the_same(source: random.Random) -> None:
    onnx = FileDigest('x', 'e' * 64)
    ingredients = Ingredients(
        'my_card', 'f' * 64, (onnx,), {'precision': 'int8'}, (), 'data', None, 'tensorrt',
        '10.3.0.30', '12.6', None, 'Orin', '8.7', '36.4.4', None,
    )  # fmt: skip
    text = Manifest(ingredients, '2026-01-31T12:00:00Z', 1.0).to_json()
    place = source.randrange(len(text))
    damaged = text[:place] + source.choice(['', '"', '}', 'z', '1', ',']) + text[place + 1 :]
    try:
        read = Manifest.from_json(damaged, Path('manifest.json'))
    except StoreError:
        return
    assert read.ingredients.key == ingredients.key


def test_finds_external_data_wherever_a_tensor_can_be(tmp_path: Path) -> None:
    for name in ('initializer', 'attribute', 'branch', 'function', 'sub/sparse'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, b'')
    in_attribute = message(1, message(5, message(5, tensor('attribute'))))
    branch = message(1, message(5, message(6, message(5, tensor('branch')))))
    function = message(25, message(7, message(5, message(5, tensor('function')))))
    sparse = message(15, message(1, tensor('sub/sparse')))
    graph = message(5, tensor('initializer')) + in_attribute + branch + sparse
    path = tmp_path / 'my.onnx'
    # numbers of all kinds beside it, and weights that must be jumped over
    rest = b'\x08\x08' + b'\x21' + struct.pack('<d', 1.0) + b'\x25' + struct.pack('<f', 1.0)
    path.write_bytes(rest + message(7, message(5, message(9, bytes(300))) + graph) + function)
    found = [each.relative_to(tmp_path).as_posix() for each in external_files(path)]
    assert found == ['attribute', 'branch', 'function', 'initializer', 'sub/sparse']


def test_the_ways_to_a_tensor_are_those_of_onnx() -> None:
    onnx = pytest.importorskip('onnx')
    names = {'Entry': 'StringStringEntryProto'}
    known = {names.get(name, f'{name}Proto'): inside for name, inside in _MESSAGES.items()}
    for name, inside in known.items():
        described = {
            each.number: each.message_type.name
            for each in getattr(onnx, name).DESCRIPTOR.fields
            if each.message_type
        }
        wanted = {number: names.get(short, f'{short}Proto') for number, short in inside.items()}
        assert wanted.items() <= described.items()
        if name == 'TensorProto':
            continue
        left = {number for number, kind in described.items() if kind in known} - wanted.keys()
        assert {described[number] for number in left} <= {'StringStringEntryProto'}


def test_models_without_external_data(data: Path) -> None:
    for path in (data / 'models').glob('*.onnx'):
        assert external_files(path) == ()


@pytest.mark.parametrize(
    ('content', 'problem'),
    [
        (model('../secret'), r"keeps weights in '\.\./secret'; allowed: files in its own folder"),
        (model('/etc/passwd'), "keeps weights in '/etc/passwd'; allowed"),
        (model(''), "keeps weights in ''; allowed"),
        (model('a\0b'), 'allowed: files in its own folder'),
        (model('x' * 5000), 'there is no such file'),
        (model('gone'), "keeps weights in 'gone' beside it, and there is no such file"),
        (b'\x0f', 'unknown kind 7'),
        (b'\x3a\x05a', 'ends in the middle of a field'),
        (b'\x08' + b'\xff' * 20, 'more than 70 bits'),
        (b'\x08', 'is not an ONNX file, or is damaged'),
        (model('\udcff'.encode('utf-8', 'surrogatepass').decode('latin-1')), 'no such file'),
    ],
)
def test_a_damaged_or_hostile_model_is_refused(
    content: bytes, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / 'my.onnx'
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=problem):
        external_files(path)


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    graph = b''
    for _ in range(60):
        graph = message(1, message(5, message(6, graph)))
    path = tmp_path / 'my.onnx'
    path.write_bytes(message(7, graph))
    with pytest.raises(ModelFileError, match='nested deeper than 100'):
        external_files(path)


@settings(max_examples=100, derandomize=True, deadline=2000)
@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(tmp_path_factory: Any, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / 'any.onnx'
    path.write_bytes(content)
    try:
        found: Any = external_files(path)
    except ModelFileError as error:
        found = str(error)
    assert found == () or found.startswith(str(path))
