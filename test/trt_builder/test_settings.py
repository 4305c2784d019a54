# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a card asks for, on each TensorRT and GPU: what it is told, or why it is refused."""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path

import pytest

from trt_builder.onnx_check import ModelFacts
from trt_builder.onnx_check import TensorSpec
from trt_builder.settings import GpuFacts
from trt_builder.settings import resolve
from trt_builder.settings import Resolved
from trt_engine.build_settings import Build
from trt_engine.build_settings import Calibration
from trt_engine.build_settings import DeviceRule
from trt_engine.build_settings import Dla
from trt_engine.build_settings import LayerRule
from trt_engine.build_settings import ShapeRange
from trt_engine.build_settings import TensorFormat
from trt_engine.errors import BuildRefusedError

pytestmark = pytest.mark.slow  # seconds altogether

IMAGES = TensorSpec('float', (1, 3, 416, 416))
MODEL = ModelFacts(
    path=Path('model.onnx'), opset=13, inputs={'images': IMAGES},
    outputs={'output': TensorSpec('float', (1, 3549, 85))}, ops={'Conv': 3}, domains=(),
    weight_types=frozenset({'float'}), has_qdq=False, has_fp8_qdq=False, weight_bytes=1000,
    external=(),
)  # fmt: skip
QDQ = replace(MODEL, has_qdq=True)
OPEN_BATCH = replace(MODEL, inputs={'images': TensorSpec('float', (-1, 3, 416, 416))})
OPEN = replace(MODEL, inputs={'images': TensorSpec('float', (-1, 3, -1, -1))})
HALF = replace(MODEL, weight_types=frozenset({'float16'}))

ORIN = GpuFacts('8.7', 2, True, 'Jetson AGX Orin')
NANO = GpuFacts('8.7', 0, True, 'Jetson Orin Nano')
THOR = GpuFacts('11.0', 0, True, 'Jetson AGX Thor')
H200 = GpuFacts('9.0', 0)
LAPTOP = GpuFacts()

V86, V100, V103, V107, V1016 = (8, 6, 2), (10, 0, 1), (10, 3, 0, 30), (10, 7, 0), (10, 16, 2)
V11, V1141 = (11, 4, 0), (11, 4, 1)
RTX = 'rtx'

PICTURES = Calibration(data='pictures')
TABLE = Calibration(cache='table.cache')
INT8 = Build(precision='int8', calibration=PICTURES)
ON_DLA = Build(dla=Dla(core=0))


def resolved(build=None, version=V103, gpu=LAPTOP, model=MODEL, shapes=None) -> Resolved:
    flavour = 'tensorrt_rtx' if version == RTX else 'tensorrt'
    numbers = (1, 7, 1, 116) if version == RTX else version
    return resolve(
        build or Build(), flavour=flavour, version=numbers, gpu=gpu, model=model, shapes=shapes
    )


def refusal(*args, **kwargs) -> str:
    with pytest.raises(BuildRefusedError) as caught:
        resolved(*args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize(
    ('build', 'version', 'model', 'flags'),
    [
        (Build(precision='fp32'), V86, MODEL, ()),
        (Build(), V86, MODEL, ('FP16',)),
        (Build(), V1016, MODEL, ('FP16',)),
        (Build(precision='bf16'), V100, MODEL, ('BF16',)),
        (Build(precision='best'), V103, MODEL, ('FP16',)),
        (
            Build(precision='best', calibration=TABLE), V103, MODEL,
            ('FP16', 'INT8', 'OBEY_PRECISION_CONSTRAINTS'),
        ),
        (
            Build(precision='int8', calibration=replace(TABLE, keep_sensitive=False)), V103, MODEL,
            ('FP16', 'INT8'),
        ),
        (Build(precision='best'), V103, QDQ, ('FP16', 'INT8')),
        (INT8, V86, MODEL, ('FP16', 'INT8')),
        (Build(precision='int8'), V86, QDQ, ('FP16', 'INT8')),
        (Build(), V86, HALF, ('FP16',)),
        (Build(), V11, MODEL, ()),
        (Build(), RTX, MODEL, ()),
        (
            Build(precision='fp32', layer_precision=(LayerRule('a*', 'fp16'),)), V103, MODEL,
            ('FP16', 'PREFER_PRECISION_CONSTRAINTS'),
        ),
        (
            Build(layer_precision=(LayerRule('a*', 'fp32'),), layer_constraint='obey'), V86, MODEL,
            ('FP16', 'OBEY_PRECISION_CONSTRAINTS'),
        ),
        (
            replace(INT8, calibration=replace(PICTURES, route='calibrator')), V103, MODEL,
            ('FP16', 'INT8', 'OBEY_PRECISION_CONSTRAINTS'),
        ),
        (replace(INT8, precision='mixed'), V103, MODEL, ('FP16', 'INT8')),
        (
            Build(sparsity=True, refit=True, version_compatible=True), V103, MODEL,
            ('FP16', 'SPARSE_WEIGHTS', 'REFIT', 'VERSION_COMPATIBLE'),
        ),
        (Build(strip_weights=True), V103, MODEL, ('FP16', 'STRIP_PLAN', 'REFIT_IDENTICAL')),
        (Build(weight_streaming=True), V11, MODEL, ('WEIGHT_STREAMING',)),
        (Build(strip_weights=True, refit=True), V11, MODEL, ('REFIT', 'STRIP_PLAN')),
    ],
)  # fmt: skip
def test_flags_by_name(build, version, model, flags):
    assert resolved(build, version, model=model).flags == flags


@pytest.mark.parametrize(
    ('build', 'version', 'model', 'convert'),
    [
        (Build(), V1016, MODEL, None),
        (Build(), V11, MODEL, 'fp16'),
        (Build(), RTX, MODEL, 'fp16'),
        (Build(), V11, HALF, None),
        (Build(precision='fp32'), V11, MODEL, None),
        (Build(precision='bf16'), RTX, MODEL, 'bf16'),
        (INT8, V11, MODEL, 'fp16'),
        (Build(precision='int8'), V11, QDQ, 'fp16'),
        (Build(precision='fp32', layer_precision=(LayerRule('a*', 'fp16'),)), V11, MODEL, 'fp32'),
        (Build(precision='fp32', io={'images': TensorFormat('fp16')}), V11, MODEL, 'fp32'),
    ],
)
def test_where_no_flag_decides_the_types_are_written_into_the_model(build, version, model, convert):
    result = resolved(build, version, model=model)
    assert result.convert == convert
    assert result.strongly_typed == (version in (V11, RTX))


@pytest.mark.parametrize(
    ('calibration', 'version', 'model', 'scales', 'note'),
    [
        (PICTURES, V86, MODEL, 'insert', 'which layers are INT8'),
        (replace(PICTURES, route='calibrator'), V86, MODEL, 'calibrator', 'entropy calibrator'),
        (TABLE, V1016, MODEL, 'calibrator', 'table'),
        (replace(PICTURES, route='qdq'), V86, MODEL, 'insert', 'as the card asks'),
        (replace(PICTURES, method='percentile'), V86, MODEL, 'insert', 'as the card asks'),
        (PICTURES, V11, MODEL, 'insert', 'no calibrators'),
        (TABLE, RTX, MODEL, 'insert', 'no calibrators'),
        (Calibration(), V86, QDQ, 'model', "the model's Q/DQ nodes"),
        (PICTURES, V11, QDQ, 'model', 'calibration.data is not used'),
    ],
)
def test_the_route_to_int8_is_chosen_and_explained(calibration, version, model, scales, note):
    result = resolved(Build(precision='int8', calibration=calibration), version, model=model)
    assert result.scales == scales
    assert any(note in each for each in result.notes), result.notes


@pytest.mark.parametrize(
    ('build', 'version', 'gpu', 'model', 'wanted'),
    [
        (Build(), (8, 5, 2), LAPTOP, MODEL, 'too old: wanted 8.6'),
        (Build(precision='fp8'), V103, ORIN, MODEL, 'capability 8.9 or later, found 8.7, Orin'),
        (Build(precision='fp8'), V103, H200, MODEL, 'FP8 type, and the model has none'),
        (Build(precision='bf16'), V86, ORIN, MODEL, 'TensorRT 10.0 to 10.16, found 8.6.2; use'),
        (Build(precision='bf16'), V103, GpuFacts('7.2'), MODEL, '8.0 or later, found 7.2, Xavier'),
        (Build(precision='int8'), V103, ORIN, MODEL, 'needs scales'),
        (Build(precision='mixed'), V103, ORIN, MODEL, 'needs scales'),
        (Build(), V103, ORIN, QDQ, 'set precision: int8'),
        (Build(precision='int8', calibration=TABLE), V103, ORIN, QDQ, 'would be ignored'),
        (
            Build(precision='int8', calibration=Calibration(route='calibrator')), V103, ORIN, QDQ,
            'scales are decided',
        ),
        (
            Build(precision='int8', calibration=replace(PICTURES, route='calibrator')), V11, H200,
            MODEL,
            'INT8 by calibrator needs TensorRT <= 10.16, found 11.4.0; '
            "the card's Q/DQ route works here",
        ),
        (
            Build(precision='int8', calibration=replace(PICTURES, method='legacy')), V11, H200,
            MODEL, 'the legacy calibrator needs TensorRT <= 10.16',
        ),
        (
            Build(
                precision='int8',
                calibration=replace(PICTURES, method='percentile', route='calibrator'),
            ),
            V103, ORIN, MODEL, 'no method percentile',
        ),
        (Build(precision='best'), V11, H200, MODEL, 'needs TensorRT <= 10.16'),
        (Build(layer_precision=(LayerRule('a', 'int8'),)), V103, ORIN, MODEL, 'precision: int8'),
        (
            replace(INT8, layer_precision=(LayerRule('a', 'int8'),)), V11, H200, MODEL,
            'takes from Q/DQ nodes alone',
        ),
        (Build(precision='fp32'), V11, H200, HALF, "model's weights are FP16"),
        (Build(precision='fp32'), V103, H200, HALF, "model's weights are FP16"),
        (Build(sparsity=True), V103, GpuFacts('7.2'), MODEL, 'set sparsity: false'),
        (Build(strip_weights=True), V86, ORIN, MODEL, 'strip_weights needs TensorRT >= 10.0'),
        (Build(weight_streaming=True), V86, ORIN, MODEL, 'weight_streaming needs TensorRT >= 10.0'),
        (Build(weight_streaming=True), V103, ORIN, MODEL, 'build with TensorRT 11 or later'),
        (
            Build(hardware_compatibility='same_compute_capability'), V103, ORIN, MODEL,
            'TensorRT >= 10.9, found 10.3.0',
        ),
        (
            Build(hardware_compatibility='ampere_plus'), V103, GpuFacts('7.2'), MODEL,
            '8.0 or later',
        ),
        (
            Build(memory_mib={'tactic_shared_memory': 1}), V86, ORIN, MODEL,
            'memory_mib.tactic_shared_memory needs TensorRT >= 10.0',
        ),
        (Build(memory_mib={'dla_managed_sram': 1}), V86, ORIN, MODEL, 'dla.core is not'),
        (Build(tactic_sources=('cudnn',)), V11, H200, MODEL, 'TensorRT <= 10.16, found 11.4.0'),
        (Build(parser_flags=('adjust_for_dla',)), V103, ORIN, MODEL, 'TensorRT >= 10.16'),
        (Build(io={'imagse': TensorFormat('fp16')}), V103, ORIN, MODEL, 'the model has images'),
        (Build(io={'images': TensorFormat('int8')}), V11, H200, MODEL, 'cannot become int8'),
        (Build(io={'images': TensorFormat('int64')}), V86, ORIN, MODEL, 'int64 needs TensorRT >='),
        (Build(io={'images': TensorFormat(None, 'dla_linear')}), V103, ORIN, MODEL, 'of a DLA'),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_refused_before_the_build_with_the_reason(
    build, version, gpu, model, wanted
):
    assert wanted in refusal(build, version, gpu, model)


@pytest.mark.parametrize(
    ('build', 'version', 'gpu', 'wanted'),
    [
        (ON_DLA, V103, NANO, 'Jetson Orin Nano has no DLA core (Orin Nano and Thor have none)'),
        (ON_DLA, (10, 13, 3), THOR, 'has no DLA on any JetPack'),
        (ON_DLA, V1016, ORIN, '8.6 (JetPack 6.0), 10.3'),
        (ON_DLA, V11, ORIN, '11.4.1 on AGX Orin have'),
        (Build(dla=Dla(core=2)), V103, ORIN, 'has 2, counted from 0; set dla.core: 1'),
        (ON_DLA, RTX, LAPTOP, 'knows no DLA'),
        (replace(ON_DLA, precision='fp32'), V103, ORIN, 'computes in fp16 and int8'),
        (
            replace(ON_DLA, precision='int8', calibration=replace(PICTURES, route='qdq')), V103,
            ORIN, 'not from Q/DQ nodes',
        ),
        (
            replace(ON_DLA, precision='int8', calibration=replace(PICTURES, method='minmax')), V103,
            ORIN, 'needs the entropy calibrator',
        ),
    ],
)  # fmt: skip
def test_a_dla_is_refused_with_the_reason(build, version, gpu, wanted):
    assert wanted in refusal(build, version, gpu)


@pytest.mark.parametrize('version', [V86, V103, V107, V1141])
def test_a_dla_where_there_is_one(version):
    rules = (DeviceRule('head*', 'gpu'),)
    result = resolved(Build(dla=Dla(1, True, rules)), version, ORIN)
    assert result.dla == Dla(1, True, rules)
    assert 'GPU_FALLBACK' in result.flags


def test_a_dla_takes_one_shape():
    shapes = ShapeRange((1, 3, 416, 416), (1, 3, 416, 416), (4, 3, 416, 416))
    build = replace(ON_DLA, profiles=({'images': shapes},))
    assert 'make them equal' in refusal(build, V103, ORIN, OPEN_BATCH)


def test_an_unknown_number_of_dla_cores_is_a_warning():
    assert any('DLA cores' in each for each in resolved(ON_DLA, V103, LAPTOP).warnings)


def test_an_open_batch_becomes_one_image():
    result = resolved(model=OPEN_BATCH)
    one = (1, 3, 416, 416)
    assert result.profiles == ({'images': ShapeRange(one, one, one)},)
    assert any('and no other' in each for each in result.notes)


def test_other_open_dimensions_are_those_of_the_card():
    result = resolved(model=OPEN, shapes={'images': (1, 3, 320, 640)})
    assert result.profiles[0]['images'].max == (1, 3, 320, 640)


def test_open_dimensions_that_nobody_knows_are_refused():
    assert 'how large dimensions [2, 3] are; give build.profiles' in refusal(model=OPEN)


def test_a_fixed_model_needs_no_profile():
    assert resolved().profiles == ()


@pytest.mark.parametrize(
    ('name', 'shape', 'wanted'),
    [
        ('image', (1, 3, 416, 416), "names the input 'image', and the model has images"),
        ('images', (1, 3, 416), 'the model wants [-1, 3, 416, 416]'),
        ('images', (1, 3, 640, 640), 'the model wants [-1, 3, 416, 416]'),
    ],
)
def test_profiles_must_fit_the_model(name, shape, wanted):
    build = Build(profiles=({name: ShapeRange(shape, shape, shape)},))
    assert wanted in refusal(build, model=OPEN_BATCH)


def test_names_not_numbers():
    build = Build(
        memory_mib={'workspace': 256, 'tactic_dram': 512}, tactic_sources=('jit_convolutions',),
        tf32=False, verbosity='none', hardware_compatibility='ampere_plus', optimization_level=4,
        version_compatible=True, parser_flags=('enable_plugin_override',),
    )  # fmt: skip
    result = resolved(build, V1016, ORIN)
    assert result.pools == {'WORKSPACE': 256, 'TACTIC_DRAM': 512}
    assert result.tactic_sources == ('JIT_CONVOLUTIONS',)
    assert result.cleared == ('TF32',)
    assert (result.verbosity, result.hardware_compatibility) == ('NONE', 'AMPERE_PLUS')
    assert result.parser_flags == ('ENABLE_PLUGIN_OVERRIDE', 'NATIVE_INSTANCENORM')
    assert any('each kind of board' in each for each in result.warnings)


def test_no_tactic_sources_is_not_the_default_of_tensorrt():
    assert resolved(Build(tactic_sources=())).tactic_sources == ()
    assert resolved().tactic_sources is None


def test_rtx_has_no_timing_cache_and_says_where_its_engines_run():
    result = resolved(version=RTX, gpu=ORIN)
    assert not result.timing_cache
    assert any('can build it, not run it' in each for each in result.warnings)
    assert not resolved(version=RTX, gpu=GpuFacts('8.6')).warnings


def test_settings_survive_the_way_through_a_job_file():
    build = replace(
        INT8, layer_precision=(LayerRule('a*', 'fp32'),), memory_mib={'workspace': 7},
        io={'images': TensorFormat('fp16', 'chw16')}, tactic_sources=(), plugins=('a.so',),
        dla=Dla(0, True, (DeviceRule('b*', 'gpu'),)),
    )  # fmt: skip
    result = resolved(build, V103, ORIN, OPEN_BATCH)
    assert Resolved.from_json(json.loads(json.dumps(result.to_json()))) == result
