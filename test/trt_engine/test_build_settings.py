# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a card asks of its engine is read as written, or refused before any TensorRT is there."""

from __future__ import annotations

from dataclasses import asdict
from dataclasses import fields
import json
from pathlib import Path
import pickle
from typing import Any

import pytest
import yaml

from trt_engine.build_settings import Build
from trt_engine.build_settings import DeviceRule
from trt_engine.build_settings import LayerRule
from trt_engine.build_settings import ShapeRange
from trt_engine.build_settings import TensorFormat
from trt_engine.card import Card
from trt_engine.card import parse_card
from trt_engine.card import with_overrides
from trt_engine.errors import CardError

CARD = """\
card: 1
name: my_card
summary: A card for tests
model: {source: my.onnx, licence: Apache-2.0}
input: {tensor: images, size: [64, 64], color: rgb, resize: {mode: stretch}}
head: {type: yolox, outputs: {predictions: output}}
classes: [cat, dog]
thresholds: {score: 0.3, nms_iou: 0.5}
"""
EVERYTHING = """\
precision: int8
layer_precision:
- {pattern: '*Softmax*', precision: fp32}
- {pattern: '/head/[ab]?', precision: fp16}
layer_constraint: obey
mixed_layers: 4
tf32: false
sparsity: true
memory_mib: {workspace: 512, tactic_dram: 1024, dla_managed_sram: 1}
optimization_level: 5
max_aux_streams: 0
tactic_sources: []
timing_iterations: 8
io:
  images: {dtype: fp16, format: chw16}
  output: {dtype: fp32}
profiles:
- images: {min: [1, 3, 64, 64], opt: [2, 3, 64, 64], max: [4, 3, 64, 64]}
- images: {min: [8, 3, 64, 64], opt: [8, 3, 64, 64], max: [8, 3, 64, 64]}
refit: true
strip_weights: true
weight_streaming: true
version_compatible: true
hardware_compatibility: same_compute_capability
plugins: [libmine.so, /opt/libtheirs.so]
verbosity: none
timing_cache: false
parser_flags: [native_instancenorm, adjust_for_dla]
simplify: true
dla: {core: null, fallback: true, layer_device: [{pattern: '*', device: gpu}]}
calibration: {data: bag, topic: /camera, samples: 100, method: minmax, route: qdq}
checks: {max_abs: 0.5, mean_abs: 0.01, cosine: 0.99}
"""
FIXED = 'images: {min: [1, 3], opt: [1, 3], max: [1, 3]}'

# (the section, what the message must say)
REFUSED = [
    ('precision: int9', "build.precision is 'int9'; did you mean 'int8'? allowed: fp32, fp16"),
    ('precission: int8', "build has an unknown key 'precission'; did you mean 'precision'?"),
    ('[int8]', 'build is a list of 1; allowed: a mapping'),
    ('layer_precision: {a: fp16}', 'build.layer_precision is a mapping of 1; allowed: a list'),
    ('layer_precision: [fp16]', "build.layer_precision.0 is 'fp16'; allowed: a mapping"),
    ('layer_precision: [{pattern: a}]', "layer_precision.0 lacks the key 'precision'"),
    (
        'layer_precision: [{pattern: a, precision: best}]',
        "build.layer_precision.0.precision is 'best'; allowed: fp32, fp16, bf16, int8, fp8",
    ),
    ('layer_precision: [{pattern: "", precision: fp16}]', "pattern is ''; allowed: a text"),
    ('layer_constraint: must', "build.layer_constraint is 'must'; allowed: obey, prefer"),
    ('mixed_layers: -1', 'build.mixed_layers is -1; allowed: a whole number from 0'),
    ('tf32: 1', 'build.tf32 is 1; allowed: true or false'),
    (
        'memory_mib: {worksp: 1}',
        "build.memory_mib has an unknown key 'worksp'; did you mean 'workspace'? allowed: "
        'workspace, tactic_dram, tactic_shared_memory, dla_managed_sram, dla_local_dram',
    ),
    ('memory_mib: {workspace: 0}', 'build.memory_mib.workspace is 0; allowed: a whole number from'),
    ('memory_mib: {workspace: 1.5}', 'build.memory_mib.workspace is 1.5'),
    ('memory_mib: {dla_local_dram: 3}', 'memory_mib.dla_local_dram is 3; allowed: a power of two'),
    ('memory_mib: 512', 'build.memory_mib is 512; allowed: a mapping'),
    ('optimization_level: 6', 'build.optimization_level is 6; allowed: a whole number from 0 up'),
    ('max_aux_streams: -1', 'build.max_aux_streams is -1'),
    ('tactic_sources: [cublass]', "tactic_sources.0 is 'cublass'; did you mean 'cublas'?"),
    ('tactic_sources: cublas', "build.tactic_sources is 'cublas'; allowed: a list"),
    ('timing_iterations: 0', 'build.timing_iterations is 0'),
    ('io: {images: fp16}', "build.io.images is 'fp16'; allowed: a mapping"),
    ('io: {images: {dtype: half}}', "build.io.images.dtype is 'half'; allowed: fp32, fp16"),
    ('io: {images: {format: nchw}}', "io.images.format is 'nchw'; did you mean"),
    ('io: {images: {type: fp16}}', "build.io.images has an unknown key 'type'"),
    ('profiles: {}', 'build.profiles is a mapping of 0; allowed: a list'),
    ('profiles: [{}]', 'build.profiles.0 is a list of 0; allowed: the same inputs in each'),
    (f'profiles: [{{{FIXED}}}, {{x: {FIXED[8:]}}}]', 'allowed: the same inputs in each profile: i'),
    ('profiles: [{a: {min: [1], opt: [1]}}]', "build.profiles.0.a lacks the key 'max'"),
    (
        'profiles: [{a: {min: [0], opt: [1], max: [1]}}]',
        'profiles.0.a.min.0 is 0; allowed: a whole',
    ),
    ('profiles: [{a: {min: [-1], opt: [1], max: [1]}}]', 'profiles.0.a.min.0 is -1'),
    (
        'profiles: [{a: {min: [1, 2], opt: [1, 1], max: [1, 2]}}]',
        'profiles.0.a has min [1, 2], opt [1, 1], max [1, 2]; allowed: min <= opt <= max',
    ),
    ('profiles: [{a: {min: [1], opt: [3], max: [2]}}]', 'allowed: min <= opt <= max'),
    ('profiles: [{a: {min: [1], opt: [1], max: [1, 1]}}]', 'has the shapes [1], [1] and [1, 1]'),
    ('profiles: [{a: {min: [], opt: [], max: []}}]', 'has the shapes [], [] and []'),
    ('refit: maybe', "build.refit is 'maybe'; allowed: true or false"),
    ('hardware_compatibility: ampere+', "is 'ampere+'; did you mean 'ampere_plus'?"),
    ('plugins: libmine.so', "build.plugins is 'libmine.so'; allowed: a list of paths"),
    ('plugins: [3]', 'build.plugins.0 is 3; allowed: a text'),
    ('verbosity: verbose', "build.verbosity is 'verbose'; allowed: layer_names_only, detailed"),
    ('parser_flags: [native]', "build.parser_flags.0 is 'native'; allowed: native_instancenorm"),
    ('dla: 0', 'build.dla is 0; allowed: a mapping'),
    ('dla: {core: -1}', 'build.dla.core is -1; allowed: a whole number from 0'),
    ('dla: {layer_device: [{pattern: a, device: cpu}]}', "device is 'cpu'; did you mean 'gpu'?"),
    (
        'precision: fp32\ndla: {core: 0}',
        "build.precision is 'fp32'; allowed: fp16 or int8 with dla.core 0: a DLA computes in no",
    ),
    ('precision: best\ndla: {core: 1}', "build.precision is 'best'; allowed: fp16 or int8"),
    (
        'dla: {core: 0}\nprofiles: [{a: {min: [1], opt: [1], max: [2]}}]',
        'build.profiles.0.a has min [1], opt [1], max [2]; allowed: min = opt = max with dla.core',
    ),
    ('calibration: {samples: 0}', 'build.calibration.samples is 0'),
    ('calibration: {method: mean}', "build.calibration.method is 'mean'; "),
    ('calibration: {data: 3}', 'build.calibration.data is 3; allowed: a text'),
    (
        'calibration: {cache: a.cache}',
        "build.calibration.cache is 'folder/a.cache'; allowed: null with precision fp16; a cache",
    ),
    ('precision: best\ncalibration: {cache: a.cache}', 'allowed: null with precision best'),
    ('calibration: {topic: /camera}', "topic is '/camera'; allowed: null, or a rosbag in"),
    (
        'calibration: {method: percentile, route: calibrator}',
        "method is 'percentile'; allowed: with route calibrator: auto, entropy, minmax",
    ),
    ('calibration: {method: legacy, route: qdq}', "method is 'legacy'; allowed: with route qdq"),
    ('checks: {cosine: 1.1}', 'build.checks.cosine is 1.1; allowed: a number from 0 up to 1'),
    ('checks: {max_abs: -1}', 'build.checks.max_abs is -1; allowed: a number from 0'),
]


def card(section: str = '') -> Card:
    indented = ''.join(f'  {line}\n' for line in section.splitlines())
    return parse_card(f'{CARD}build:\n{indented}' if section else CARD, Path('folder/my_card.yaml'))


def test_the_section_is_optional_and_every_value_has_a_default() -> None:
    build = card().build
    assert build == Build() == card('{}').build
    assert (build.precision, build.layer_constraint, build.mixed_layers) == ('fp16', 'prefer', 8)
    assert (build.tf32, build.timing_cache, build.verbosity) == (True, True, 'detailed')
    assert (build.dla.core, build.dla.fallback) == (None, False)
    assert (build.calibration.samples, build.calibration.route) == (500, 'auto')
    assert (build.tactic_sources, build.profiles, build.checks.cosine) == (None, (), None)


def test_reads_every_field() -> None:
    build = card(EVERYTHING).build
    assert set(yaml.safe_load(EVERYTHING)) == {each.name for each in fields(Build)}
    default = asdict(Build())
    assert [name for name, value in asdict(build).items() if value == default[name]] == []
    assert build.layer_precision[1] == LayerRule('/head/[ab]?', 'fp16')
    assert build.tactic_sources == ()
    assert build.memory_mib == {'workspace': 512, 'tactic_dram': 1024, 'dla_managed_sram': 1}
    assert build.io['images'] == TensorFormat('fp16', 'chw16')
    assert build.io['output'] == TensorFormat('fp32', None)
    first, second = (profile['images'] for profile in build.profiles)
    assert first == ShapeRange((1, 3, 64, 64), (2, 3, 64, 64), (4, 3, 64, 64))
    assert (first.is_fixed, second.is_fixed) == (False, True)
    assert build.dla.layer_device == (DeviceRule('*', 'gpu'),)


def test_paths_are_relative_to_the_card() -> None:
    build = card(EVERYTHING).build
    assert build.plugins == ('folder/libmine.so', '/opt/libtheirs.so')
    assert build.calibration.data == 'folder/bag'


@pytest.mark.parametrize(('section', 'message'), REFUSED)
def test_refuses_with_file_key_value_and_what_is_allowed(section: str, message: str) -> None:
    with pytest.raises(CardError) as error:
        card(section)
    assert str(error.value).startswith('folder/my_card.yaml: build')
    assert message in str(error.value)
    assert len(str(error.value)) < 1000


def test_a_dla_engine_of_one_shape_is_allowed() -> None:
    build = card(f'precision: int8\ndla: {{core: 1}}\nprofiles: [{{{FIXED}}}]').build
    assert build.dla.core == 1
    assert card('precision: int8\ncalibration: {cache: a.cache}').build.calibration.cache


def test_patterns_are_those_of_the_shell() -> None:
    rule = LayerRule('/head/*[0-9]', 'fp32')
    assert rule.matches('/head/conv/1')
    assert not rule.matches('/Head/conv/1')
    assert not rule.matches('/head/conv')
    assert DeviceRule('*', 'dla').matches('anything')


def test_is_hashable_and_picklable() -> None:
    first = card(EVERYTHING)
    assert len({first, card(EVERYTHING)}) == 1
    assert pickle.loads(pickle.dumps(first)) == first


@pytest.mark.parametrize(
    ('settings', 'where', 'value'),
    [
        (['precision=int8'], 'precision', 'int8'),
        (['build.precision=bf16'], 'precision', 'bf16'),
        (['precision=int8', 'precision=fp32'], 'precision', 'fp32'),
        (['dla.core=0'], 'dla.core', 0),
        (['tf32=false'], 'tf32', False),
        (['optimization_level=null'], 'optimization_level', None),
        (['tactic_sources=[]'], 'tactic_sources', ()),
        (['memory_mib.workspace=64', 'memory_mib.tactic_dram=8'], 'memory_mib.workspace', 64),
        (['io.images.dtype=fp16'], 'io.images.dtype', 'fp16'),
        (['plugins=[lib.so, /opt/b.so]'], 'plugins', ('lib.so', '/opt/b.so')),
        ([f'profiles=[{{{FIXED}}}]'], 'profiles.0.images.opt', (1, 3)),
        (['calibration.data=a=b'], 'calibration.data', 'a=b'),
    ],
)
def test_settings_can_be_overridden(settings: list[str], where: str, value: object) -> None:
    found: Any = with_overrides(card(), settings).build
    for name in where.split('.'):
        if isinstance(found, tuple):
            found = found[int(name)]
        else:
            found = found[name] if isinstance(found, dict) else getattr(found, name)
    assert found == value


def test_an_override_leaves_all_else_as_it_is() -> None:
    full = card(EVERYTHING)
    assert with_overrides(full, []) == full
    changed = with_overrides(full, ['refit=false'])
    assert asdict(changed.build) == {**asdict(full.build), 'refit': False}
    assert full.build.refit


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (['precision=int9'], "--set: build.precision is 'int9'; did you mean 'int8'?"),
        (['presision=int8'], "--set: build has an unknown key 'presision'; did you mean"),
        (['precision'], "is 'precision'; allowed: <key>=<value>, such as precision=int8"),
        (['=int8'], "is '=int8'; allowed: <key>=<value>"),
        (['dla..core=0'], "is 'dla..core=0'; allowed: <key>=<value>"),
        (['precision.x=1'], '--set: build.precision has no keys; set it as a whole'),
        (['profiles.0=1'], '--set: build.profiles has no keys; set it as a whole'),
        (['precision={'], '--set: build.precision cannot be read in line 1'),
        (['precision=!!str x'], 'tags are not allowed'),
        (['precision='], 'build.precision is null; allowed: fp32'),
        (['a.b.c=1'], "--set: build has an unknown key 'a'"),
        (['dla.core=0', 'precision=fp32'], "build.precision is 'fp32'; allowed: fp16 or int8"),
    ],
)
def test_overrides_are_refused_like_cards(settings: list[str], message: str) -> None:
    with pytest.raises(CardError) as error:
        with_overrides(card(), settings)
    assert message in str(error.value)


@pytest.fixture
def validator(repository: Path) -> Any:
    jsonschema = pytest.importorskip('jsonschema')
    schema = json.loads((repository / 'config/models/card.schema.json').read_text())
    return jsonschema.Draft202012Validator(schema['properties']['build'])


def test_the_schema_for_editors_allows_it(validator: Any) -> None:
    assert [e.message for e in validator.iter_errors(yaml.safe_load(EVERYTHING))] == []


@pytest.mark.parametrize(
    'section',
    [
        'precision: int9',
        'precission: int8',
        'layer_precision: [{pattern: a}]',
        'layer_precision: [{pattern: a, precision: best}]',
        'memory_mib: {worksp: 1}',
        'memory_mib: {workspace: 0}',
        'optimization_level: 6',
        'tactic_sources: [cublass]',
        'io: {images: {dtype: half}}',
        'io: {images: fp16}',
        'profiles: [{a: {min: [1], opt: [1]}}]',
        'profiles: [{a: {min: [0], opt: [1], max: [1]}}]',
        'plugins: libmine.so',
        'dla: {core: -1}',
        'dla: {layer_device: [{pattern: a, device: cpu}]}',
        'calibration: {method: mean}',
        'checks: {cosine: 1.1}',
    ],
)
def test_the_schema_refuses_what_the_parser_refuses(section: str, validator: Any) -> None:
    assert not validator.is_valid(yaml.safe_load(section))
    with pytest.raises(CardError):
        card(section)
