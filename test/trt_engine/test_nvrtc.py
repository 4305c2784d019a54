# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Our kernels compile for every Jetson and GPU that the NVRTC at hand knows, and are kept once."""

from __future__ import annotations

import importlib.util
from itertools import product
import sys

import pytest

from trt_engine.cuda import nvrtc
from trt_engine.cuda import runtime
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.kernel import read_source
from trt_engine.cuda.kernel import SOURCES
from trt_engine.cuda.nvrtc import compile_kernels
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import InferenceError
from trt_engine.errors import StoreError

pytestmark = pytest.mark.slow  # compiles

GPUS = ('7.2', '7.5', '8.0', '8.6', '8.7', '8.9', '9.0', '10.0', '11.0', '12.0')
VARIANTS = {
    'preprocess': [
        (f'-DFORMAT={form}', f'-DELEMENT={element}', f'-DSIZE={size}')
        for form, (element, size) in product(
            ('PACKED', 'YUV422', 'YUV420', 'BAYER'),
            (('unsigned char', 'int'), ('unsigned short', 'long long'), ('unsigned int', 'int')),
        )
    ],
    'candidates': [
        (f'-DSCORE={score}', f'-DBOX={box}', f'-DLABEL={label}')
        for (score, box), label in product(
            (('float', 'float'), ('Half', 'Half'), ('float', 'Half')),
            ('int', 'long long', 'float', 'Half'),
        )
    ],
    'candidates3d': [()],
    'detections': [()],
    'detections3d': [()],
    'overlaps3d': [()],
    'scatter': [('-DELEMENT=unsigned short',), ('-DELEMENT=unsigned int',)],
    'pillars': [
        (f'-DNUMBERS={numbers}', f'-DMAX_POINTS={most}', f'-DFORM={form}')
        for numbers, most, form in (
            (4, 32, 'PILLAR10'),
            (3, 1, 'PILLAR9'),
            (6, 1024, 'PILLAR9_RELATIVE'),
        )
    ],
}
SIMPLE = 'extern "C" __global__ void fill(const int given) { (void)given; }'


def test_every_source_is_compiled_here():
    assert {path.stem for path in SOURCES.glob('*.cu')} == set(VARIANTS)


@pytest.mark.parametrize('gpu', GPUS)
@pytest.mark.parametrize('name', VARIANTS)
def test_the_real_compiler_takes_every_variant(tmp_path, gpu, name):
    try:
        known = nvrtc.supported_archs()
    except BackendUnavailableError as exc:
        pytest.skip(f'no NVRTC here: {exc}')
    if int(gpu.replace('.', '')) not in known:
        pytest.skip(f'NVRTC {nvrtc.nvrtc_version()} does not know {gpu}')
    source = read_source(SOURCES / f'{name}.cu')
    for options in VARIANTS[name] if gpu == '8.7' else VARIANTS[name][:1]:
        cubin = compile_kernels(
            source, name=f'{name}.cu', capability=gpu, cache=tmp_path / 'cubins',
            options=options,
        )  # fmt: skip
        assert cubin[:4] == b'\x7fELF', options


@pytest.fixture
def compile_here(fake_cuda, tmp_path):
    """Return a function that compiles for the CPU, into a cache of this test."""

    def run(source: str = SIMPLE, capability: str = '8.7', **settings) -> bytes:
        given = {'name': 'fill.cu', 'cache': tmp_path / 'cubins', **settings}
        return compile_kernels(source, capability=capability, **given)

    return run


def test_what_was_compiled_is_not_compiled_again(compile_here, monkeypatch, tmp_path):
    first = compile_here()
    (kept,) = (tmp_path / 'cubins').iterdir()
    assert kept.suffix == '.cubin'
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(runtime.bindings('nvrtc'), 'nvrtcCompileProgram', None)
    assert compile_here() == first


def test_source_options_gpu_and_compiler_make_another_cubin(compile_here, monkeypatch, tmp_path):
    compile_here()
    compile_here(SIMPLE + '\n')
    compile_here(options=('-DX=1',))
    compile_here(capability='7.2')
    library = runtime.bindings('nvrtc')
    version = (library.nvrtcResult.NVRTC_SUCCESS, 12, 9)
    monkeypatch.setattr(library, 'nvrtcVersion', lambda: version)
    compile_here()
    assert len(list((tmp_path / 'cubins').iterdir())) == 5


def test_a_damaged_cubin_is_compiled_again(compile_here, tmp_path):
    whole = compile_here()
    (kept,) = (tmp_path / 'cubins').iterdir()
    for content in (b'', kept.read_bytes()[:-7], b'\0' * 99):
        kept.write_bytes(content)
        assert compile_here() == whole


@pytest.mark.parametrize('what', ['folder', 'file', 'link'])
def test_what_others_can_write_is_refused(compile_here, tmp_path, what):
    compile_here()
    (kept,) = (tmp_path / 'cubins').iterdir()
    if what == 'link':
        kept.rename(tmp_path / 'elsewhere')
        kept.symlink_to(tmp_path / 'elsewhere')
    else:
        (kept if what == 'file' else kept.parent).chmod(0o777)
    with pytest.raises(StoreError, match='symbolic link' if what == 'link' else 'other users can'):
        compile_here()


def test_a_cache_that_is_no_folder_is_said(compile_here, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(StoreError, match=r'compiled kernels cannot be kept.*XDG_CACHE_HOME'):
        compile_here(cache=tmp_path / 'file' / 'cubins')


def test_an_error_in_the_source_comes_with_the_compilers_words(compile_here, tmp_path):
    with pytest.raises(InferenceError, match=r'(?s)fill.cu does not compile for sm_87.*fill.cu:1'):
        compile_here('extern "C" __global__ void fill(const int given) { nonsense }')
    assert list((tmp_path / 'cubins').iterdir()) == []


def test_the_real_compilers_words_come_too(tmp_path):
    if importlib.util.find_spec('cuda') is None:
        pytest.skip('cuda-bindings is not installed')
    try:
        nvrtc.supported_archs()
    except BackendUnavailableError as exc:
        pytest.skip(f'no NVRTC here: {exc}')
    with pytest.raises(
        InferenceError, match=r'(?s)does not compile for sm_87.*"nonsense" is undef'
    ):
        compile_kernels(
            '__global__ void f() { nonsense; }', name='f.cu', capability='8.7', cache=tmp_path
        )


def test_a_gpu_that_the_compiler_does_not_know_is_named(compile_here):
    with pytest.raises(
        BackendUnavailableError, match=r'NVRTC 12.6 does not know.*sm_110; it knows'
    ):
        compile_here(capability='11.0')


def test_a_missing_nvrtc_is_said_with_what_to_install(compile_here, monkeypatch):
    def missing():
        raise RuntimeError('Failure finding "libnvrtc.so"')

    monkeypatch.setattr(runtime.bindings('nvrtc'), 'nvrtcVersion', missing)
    with pytest.raises(BackendUnavailableError, match=r'NVRTC.*pip install nvidia-cuda-nvrtc'):
        compile_here()


def test_missing_bindings_are_said_with_what_to_install(monkeypatch, tmp_path):
    for name in ('cuda', 'cuda.bindings', 'cuda.bindings.nvrtc'):
        monkeypatch.setitem(sys.modules, name, None)
    runtime.bindings.cache_clear()
    with pytest.raises(BackendUnavailableError, match='cuda-bindings is not installed'):
        compile_kernels(SIMPLE, name='fill.cu', capability='8.7', cache=tmp_path)


def test_kernels_are_loaded_once_and_unloaded(fake_cuda, tmp_path):
    driver = runtime.bindings('cu')
    kernels = Kernels(tmp_path)
    kernels.load('strongest', source='detections')
    kernels.load('finish', source='detections')
    assert len(driver.modules) == 1
    kernels.close()
    kernels.close()
    assert driver.modules == {}


def test_a_kernel_that_is_not_in_its_source_is_named(fake_cuda, tmp_path):
    kernels = Kernels(tmp_path)
    with pytest.raises(
        InferenceError, match='cuModuleGetFunction failed with CUDA_ERROR_NOT_FOUND'
    ):
        kernels.load('weakest', source='detections')
    kernels.close()
