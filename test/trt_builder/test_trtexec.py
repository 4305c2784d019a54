# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""trtexec lines of three versions, written and read back."""

from __future__ import annotations

import contextlib
from pathlib import Path
import shlex

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest

from trt_builder.onnx_check import ModelFacts
from trt_builder.onnx_check import TensorSpec
from trt_builder.settings import GpuFacts
from trt_builder.settings import resolve
from trt_builder.trtexec.reader import read
from trt_builder.trtexec.writer import command
from trt_engine.build_settings import Build
from trt_engine.build_settings import override
from trt_engine.errors import BuildRefusedError

pytestmark = pytest.mark.slow  # seconds altogether

OLD, MIDDLE, NEW = (8, 6, 2), (10, 3, 0), (11, 4, 1)
ORIN = GpuFacts(sm='8.7', dla_cores=2, integrated=True, board='AGX Orin')


def facts(batch: int = 1, *, qdq: bool = False) -> ModelFacts:
    return ModelFacts(
        path=Path('model.onnx'),
        opset=17,
        inputs={
            'images': TensorSpec('float', (batch, 3, 416, 416)),
            'sizes': TensorSpec('int64', (batch, 2)),
        },
        outputs={'boxes': TensorSpec('float', (batch, 100, 4))},
        ops={'Conv': 1},
        domains=(),
        weight_types=frozenset({'float'}),
        has_qdq=qdq,
        has_fp8_qdq=False,
        weight_bytes=4,
        external=(),
    )


def line(version, *settings, model=None, **files):
    return line_of(override(Build(), settings), version, model or facts(), **files)


def line_of(build, version, model, **files):
    resolved = resolve(build, flavour='tensorrt', version=version, gpu=ORIN, model=model)
    return command(resolved, model, **files)


def back(text, version, model=None):
    return override(Build(), read(text, version, model).settings)


PROFILE = (
    'profiles=[{images: {min: [1, 3, 416, 416], opt: [2, 3, 416, 416], max: [8, 3, 416, 416]}, '
    'sizes: {min: [1, 2], opt: [2, 2], max: [8, 2]}}]'
)
SHAPES = (
    '--minShapes=images:1x3x416x416,sizes:1x2 --optShapes=images:2x3x416x416,sizes:2x2 '
    '--maxShapes=images:8x3x416x416,sizes:8x2'
)
END = '--avgTiming=1 --profilingVerbosity=detailed --skipInference'

# version, settings, the whole line
LINES = [
    (OLD, ['precision=fp32'], f'trtexec --onnx=model.onnx {END}'),
    (OLD, [], f'trtexec --onnx=model.onnx --fp16 {END}'),
    (MIDDLE, [], f'trtexec --onnx=model.onnx --fp16 {END}'),
    (NEW, [], f'trtexec --onnx=model.onnx {END}'),
    (MIDDLE, ['precision=bf16', 'tf32=false'], f'trtexec --onnx=model.onnx --bf16 --noTF32 {END}'),
    (
        NEW,
        ['weight_streaming=true'],
        f'trtexec --onnx=model.onnx --allowWeightStreaming {END}',
    ),
    (
        MIDDLE,
        ['sparsity=true', 'refit=true', 'strip_weights=true', 'version_compatible=true'],
        'trtexec --onnx=model.onnx --fp16 --sparsity=enable --refit --stripWeights '
        f'--versionCompatible {END}',
    ),
    (
        MIDDLE,
        ['optimization_level=5', 'max_aux_streams=0', 'timing_iterations=4', 'timing_cache=false'],
        'trtexec --onnx=model.onnx --fp16 --builderOptimizationLevel=5 --maxAuxStreams=0 '
        '--avgTiming=4 --noBuilderCache --profilingVerbosity=detailed --skipInference',
    ),
    (
        OLD,
        ['memory_mib={workspace: 1024}', 'tactic_sources=[]'],
        'trtexec --onnx=model.onnx --fp16 --memPoolSize=workspace:1024 '
        '--tacticSources=-CUBLAS,-CUBLAS_LT,-CUDNN,-EDGE_MASK_CONVOLUTIONS,-JIT_CONVOLUTIONS '
        f'{END}',
    ),
    (
        NEW,
        ['tactic_sources=[jit_convolutions]', 'memory_mib={tactic_shared_memory: 2}'],
        'trtexec --onnx=model.onnx --memPoolSize=tacticSharedMem:2M '
        f'--tacticSources=-EDGE_MASK_CONVOLUTIONS,+JIT_CONVOLUTIONS {END}',
    ),
    (
        MIDDLE,
        ['dla={core: 1, fallback: true}', 'memory_mib={dla_managed_sram: 1}'],
        'trtexec --onnx=model.onnx --fp16 --allowGPUFallback --memPoolSize=dlaSRAM:1 '
        '--avgTiming=1 --profilingVerbosity=detailed --useDLACore=1 --skipInference',
    ),
    (
        MIDDLE,
        ['io={images: {dtype: fp16, format: chw16}, boxes: {dtype: fp16}}'],
        'trtexec --onnx=model.onnx --fp16 --inputIOFormats=fp16:chw16,int64:chw '
        f'--outputIOFormats=fp16:chw {END}',
    ),
    (
        NEW,
        ['io={images: {format: chw16}}'],
        f'trtexec --onnx=model.onnx --inputIOFormats=chw16,chw {END}',
    ),
    (
        MIDDLE,
        [
            'layer_precision=[{pattern: "/head/*", precision: fp32}, '
            '{pattern: /head/Conv_3, precision: fp16}]',
            'layer_constraint=obey',
        ],
        'trtexec --onnx=model.onnx --fp16 --precisionConstraints=obey '
        f"'--layerPrecisions=/head/Conv_3:fp16,/head/*:fp32' {END}",
    ),
    (
        (10, 13, 3),
        ['hardware_compatibility=same_compute_capability', 'plugins=[/opt/lib/p.so]'],
        'trtexec --onnx=model.onnx --fp16 --avgTiming=1 '
        '--hardwareCompatibilityLevel=sameComputeCapability --profilingVerbosity=detailed '
        '--dynamicPlugins=/opt/lib/p.so --skipInference',
    ),
]  # fmt: skip


@pytest.mark.parametrize(('version', 'settings', 'text'), LINES)
def test_a_card_gives_this_line(version, settings, text):
    assert shlex.join(line(version, *settings).words) == text


@pytest.mark.parametrize(('version', 'settings', 'text'), LINES)
def test_and_the_line_gives_the_card_back(version, settings, text):
    build = back(text, version, facts())

    assert shlex.join(line_of(build, version, facts()).words) == text
    if not build.io:  # trtexec gives a form to all tensors or none
        assert build == override(Build(), settings)


@pytest.mark.parametrize('version', [OLD, MIDDLE, NEW])
def test_shapes_go_both_ways(version):
    model = facts(-1)
    said = line(version, PROFILE, model=model)

    assert ' '.join(said.words[2:5]) == SHAPES
    assert back(str(said), version, model).profiles == override(Build(), [PROFILE]).profiles


def test_several_profiles_are_numbered_and_old_trtexec_has_one():
    two = PROFILE[:-1] + ', ' + PROFILE[len('profiles=[') :]
    model = facts(-1)

    new = line(MIDDLE, two, model=model)
    old = line(OLD, two, model=model)

    assert new.words[2] == '--profile=0'
    assert new.words[6] == '--profile=1'
    assert back(str(new), MIDDLE, model).profiles == override(Build(), [two]).profiles
    assert not any('--profile=' in word for word in old.words)
    assert any('1 more profiles' in note for note in old.notes)


def test_the_files_of_a_build_are_named():
    said = line(
        OLD,
        'precision=int8',
        'calibration={data: pictures, route: calibrator}',
        engine=Path('out dir/x.engine'),
        timing_cache=Path('times.bin'),
        calibration_cache=Path('scales.txt'),
    )

    assert "'--saveEngine=out dir/x.engine'" in str(said)
    assert {'--int8', '--fp16', '--calib=scales.txt', '--timingCacheFile=times.bin'} <= set(
        said.words
    )
    again = back(str(said), OLD)
    assert again.precision == 'int8'
    assert again.calibration.cache == 'scales.txt'
    assert again.calibration.route == 'calibrator'


# version, settings, model, what must be said
NOT_SAID = [
    (MIDDLE, ['memory_mib={tactic_dram: 512}'], 'tactic_dram'),
    (NEW, [], 'make the floats of the ONNX file fp16'),
    (NEW, ['precision=int8', 'calibration={data: pictures}'], 'Q/DQ'),
    (MIDDLE, ['precision=int8', 'calibration={data: pictures}'], 'Q/DQ'),
    (
        MIDDLE, ['precision=int8', 'calibration={data: pictures, route: calibrator}'],
        'trtexec does not calibrate',
    ),
    (MIDDLE, ['io={images: {format: hwc16}}'], 'hwc16'),
    (MIDDLE, ['layer_precision=[{pattern: "a*b*", precision: fp32}]'], "'a*b*'"),
    (MIDDLE, ['layer_precision=[{pattern: "a?", precision: fp32}]'], "'a?'"),
    (OLD, ['layer_precision=[{pattern: "a*", precision: fp32}]'], "'a*'"),
    (NEW, ['layer_precision=[{pattern: a, precision: fp32}]'], 'Cast nodes'),
    (MIDDLE, ['precision=mixed', 'calibration={data: pictures}'], 'keeps in FP16'),
    (MIDDLE, ['dla={core: 0, layer_device: [{pattern: "a*", device: gpu}]}'], "'a*'"),
    (MIDDLE, ['dla={core: 0}'], 'DIRECT_IO'),
    ((10, 15), ['parser_flags=[report_capability_dla]'], '--reportCapabilityDLA'),
    (MIDDLE, [PROFILE.replace('2, 3', '1, 3').replace('8, 3', '1, 3').replace('[2, 2]', '[1, 2]')
              .replace('[8, 2]', '[1, 2]')], 'of fixed shape'),
]  # fmt: skip


@pytest.mark.parametrize(('version', 'settings', 'note'), NOT_SAID)
def test_what_the_line_cannot_say_is_a_comment(version, settings, note):
    said = line(version, *settings)

    assert any(note in each for each in said.notes), said.notes
    assert str(said).startswith('# ')


def test_tensorrt_rtx_has_another_program():
    build = override(Build(), ['precision=fp32'])
    resolved = resolve(build, flavour='tensorrt_rtx', version=(1, 7), gpu=GpuFacts(), model=facts())
    with pytest.raises(BuildRefusedError, match='tensorrt_rtx'):
        command(resolved, facts())


# line, version, what it means
READ = [
    ('', MIDDLE, {'precision': 'fp32'}),
    ('/usr/src/tensorrt/bin/trtexec --fp16', MIDDLE, {'precision': 'fp16'}),
    ('--int8 --fp16', OLD, {'precision': 'int8'}),
    ('--best', OLD, {'precision': 'best'}),
    ('--fp8 --fp16', MIDDLE, {'precision': 'fp8'}),
    ('--useDLACore=0 --allowGPUFallback', MIDDLE, {'precision': 'fp16'}),
    ('--useDLACore=-1', MIDDLE, {'precision': 'fp32'}),
    ('--stronglyTyped', MIDDLE, {}),
    ('--stronglyTyped', NEW, {}),
    ('--workspace=2048', OLD, {'memory_mib': {'workspace': 2048}}),
    ('--memPoolSize=workspace:1G,tacticSharedMem:2048', MIDDLE,
     {'memory_mib': {'workspace': 1024, 'tactic_shared_memory': 2}}),
    ('--shapes=a:0:1x3', MIDDLE,
     {'profiles': [{'a:0': {'min': [1, 3], 'opt': [1, 3], 'max': [1, 3]}}]}),
    ("--optShapes='in:0':1x3,b:2", MIDDLE,
     {'profiles': [{'in:0': {'min': [1, 3], 'opt': [1, 3], 'max': [1, 3]},
                    'b': {'min': [2], 'opt': [2], 'max': [2]}}]}),
    ('--minShapes=a:1 --maxShapes=a:9', MIDDLE,
     {'profiles': [{'a': {'min': [1], 'opt': [9], 'max': [9]}}]}),
    ('--minShapes=name:1x3x224x224,b:2 --optShapes=name:2x3x224x224,b:2 '
     '--maxShapes=name:4x3x224x224,b:2', MIDDLE,
     {'profiles': [{'name': {'min': [1, 3, 224, 224], 'opt': [2, 3, 224, 224],
                             'max': [4, 3, 224, 224]},
                    'b': {'min': [2], 'opt': [2], 'max': [2]}}]}),
    ('--stripAllWeights', MIDDLE, {'refit': True, 'strip_weights': True}),
    ('--allowWeightStreaming', NEW, {'weight_streaming': True}),
    ('--vc', OLD, {'version_compatible': True}),
    ('--precisionConstraints=prefer "--layerPrecisions=*:fp16,conv[0]:fp32"', MIDDLE,
     {'layer_constraint': 'prefer',
      'layer_precision': [{'pattern': 'conv[[]0]', 'precision': 'fp32'},
                          {'pattern': '*', 'precision': 'fp16'}]}),
    ('--useDLACore=0 --layerDeviceTypes=a:GPU,b:DLA', MIDDLE,
     {'dla': {'core': 0, 'layer_device': [{'pattern': 'b', 'device': 'dla'},
                                          {'pattern': 'a', 'device': 'gpu'}]}}),
    ('--inputIOFormats=fp16:chw', MIDDLE,
     {'io': {'images': {'dtype': 'fp16', 'format': 'linear'},
             'sizes': {'dtype': 'fp16', 'format': 'linear'}}}),
    ('--outputIOFormats=hwc', NEW, {'io': {'boxes': {'format': 'hwc'}}}),
    ('--sparsity=disable --hardwareCompatibilityLevel=Ampere+ --profilingVerbosity=none', MIDDLE,
     {'sparsity': False, 'hardware_compatibility': 'ampere_plus', 'verbosity': 'none'}),
    ('--adjustForDLA --enablePluginOverride', (10, 16),
     {'parser_flags': ['enable_plugin_override', 'adjust_for_dla']}),
]  # fmt: skip


@pytest.mark.parametrize(('text', 'version', 'wanted'), READ)
def test_a_line_is_read(text, version, wanted):
    build = read(text, version, facts()).build

    assert {key: build[key] for key in wanted} == wanted
    assert set(build) - set(wanted) <= {'precision', 'timing_iterations', 'dla'}


def test_times_are_averaged_as_trtexec_does_unless_told():
    assert read('', MIDDLE).build['timing_iterations'] == 8
    assert read('--avgTiming=2', MIDDLE).build['timing_iterations'] == 2


def test_a_continued_line_with_comments_and_files():
    said = read('# made by hand\ntrtexec \\\n  --onnx=a.onnx \\\n  --saveEngine=b.plan', MIDDLE)

    assert (said.onnx, said.engine) == (Path('a.onnx'), Path('b.plan'))


def test_flags_about_running_are_listed():
    said = read('--iterations=10 --useCudaGraph --verbose --fp16', MIDDLE)

    assert said.notes == ('not about the engine: --iterations, --useCudaGraph, --verbose',)


# line, version, all that is named
REFUSED = [
    ('--fp61 --speed=9', MIDDLE, ['--fp61 is unknown: did you mean --fp16', '--speed is unknown']),
    ('--fp16', NEW, ['--fp16', 'TensorRT <= 10.16']),
    ('--bf16', OLD, ['--bf16', 'TensorRT 10.0 to 10.16']),
    ('--profile=0', OLD, ['--profile', '>= 10.0']),
    ('--workspace=1', MIDDLE, ['--workspace', '<= 8.6']),
    ('--loadEngine=a', MIDDLE, ['--loadEngine', 'nothing is built']),
    ('--fp16 --int4 --markDebug=a', MIDDLE, ['--int4', '--markDebug']),
    ('--int8 --bf16', MIDDLE, ['--bf16 --int8 together']),
    ('--onnx model.onnx', MIDDLE, ['--onnx has no value', "'model.onnx' is no flag"]),
    ('--fp16=false', MIDDLE, ['whatever the value']),
    ('--optShapes=a:1x3x', MIDDLE, ["'a:1x3x' is not"]),
    ('--optShapes=1x3', MIDDLE, ["'1x3' is not"]),
    ('--optShapes=a*:1x3', MIDDLE, ['without *']),
    ('--optShapes=a:scalar', MIDDLE, ['without dimensions']),
    ('--optShapes=a:1 --optShapes=a:2', MIDDLE, ['--optShapes is there twice']),
    ('--memPoolSize=workspace:many', MIDDLE, ['workspace:many']),
    ('--memPoolSize=tacticSharedMem:48', MIDDLE, ['whole MiB']),
    ('--memPoolSize=tacticDRAM:1', MIDDLE, ['tacticDRAM']),
    ('--tacticSources=-CUDNN', MIDDLE, ['leaves cublas, cublas_lt, edge_mask']),
    ('--tacticSources=-CUDNN', NEW, ["'-CUDNN' is not"]),
    ('--sparsity=force', MIDDLE, ['--sparsity=force']),
    ('--inputIOFormats=fp16:chw,fp16:chw,fp16:chw', MIDDLE, ['3 forms for images, sizes']),
    ('--inputIOFormats=fp16:chw+hwc', MIDDLE, ['one layout each']),
    ('--inputIOFormats=fp16:chw', NEW, ['is not <layout>']),
    ('--inputIOFormats=chw', MIDDLE, ['is not <type>:<layout>']),
    ('--layerPrecisions=a', MIDDLE, ["'a' is not"]),
    ('--builderOptimizationLevel=high', MIDDLE, ['wanted a number']),
    ('--stronglyTyped --fp16', MIDDLE, ['--stronglyTyped together']),
    ('"--onnx=a', MIDDLE, ['cannot be read']),
]  # fmt: skip


@pytest.mark.parametrize(('text', 'version', 'named'), REFUSED)
def test_what_cannot_be_read_is_named(text, version, named):
    with pytest.raises(BuildRefusedError) as caught:
        read(text, version, facts())

    for each in named:
        assert each in str(caught.value)


def test_formats_need_the_model():
    with pytest.raises(BuildRefusedError, match='give the ONNX file'):
        read('--inputIOFormats=fp16:chw', MIDDLE)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.builds(
            '{}{}{}'.format,
            st.sampled_from(
                [
                    '--fp16', '--shapes', '--optShapes', '--profile', '--memPoolSize', 'x',
                    '--useDLACore', '--layerPrecisions', '--tacticSources', '--inputIOFormats',
                    '--avgTiming',
                ]
            ),
            st.sampled_from(['', '=', ' ']),
            st.text('a:,x19*+-\'"[]chwfp\n#\\', max_size=12),
        ),
        max_size=5,
    ),
    st.sampled_from([OLD, MIDDLE, NEW]),
)  # fmt: skip
def test_whatever_the_line_it_is_read_or_refused(words, version):
    with contextlib.suppress(BuildRefusedError):
        said = read(' '.join(words), version, facts())
        assert all('=' in setting for setting in said.settings)
