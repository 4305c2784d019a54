# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Engines run through a stand-in for TensorRT and CUDA that computes, and refuses as they do."""

from __future__ import annotations

import ast
from concurrent.futures import ThreadPoolExecutor
import importlib
from pathlib import Path
import sys

import numpy as np
from onnx import TensorProto
import pytest

from trt_engine.backends import open_backend
from trt_engine.build_settings import ShapeRange
from trt_engine.build_settings import TensorFormat
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import InferenceError
from trt_engine.errors import ModelLoadError

pytestmark = pytest.mark.slow  # a real network, for one

SOURCES = Path(__file__).parents[2] / 'src/trt_engine/trt_engine/backends'
RANGE = ShapeRange((1, 3, 4, 4), (1, 3, 8, 8), (4, 3, 16, 16))


def ones(*shape: int) -> dict[str, np.ndarray]:
    return {'x': np.ones(shape, np.float32)}


def test_a_real_network_gives_what_onnx_runtime_gives(make_plan, data):
    model = data / 'models' / 'yolox_nano_416.onnx'
    engine = open_backend('tensorrt', make_plan(model), label='0123456789ab')
    reference = open_backend('onnxruntime', model)
    picture = np.random.default_rng(0).uniform(0, 255, (1, 3, 416, 416)).astype(np.float32)
    inputs = {reference.tensors[0].name: picture}

    assert engine.name == 'tensorrt'
    assert engine.identity == 'TensorRT 10.3.0, Stand-in, 0123456789ab'
    assert engine.tensors == reference.tensors
    wanted = reference.run(inputs)
    for _ in range(2):
        found = engine.run(inputs)
        assert found.keys() == wanted.keys()
        for name, array in wanted.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-4)
    engine.close()


@pytest.mark.parametrize('version', ['8.6.0', '10.3.0', '10.16.2.10', '11.4.1'])
def test_an_engine_runs_on_every_version(make_plan, make_model, version):
    engine = open_backend('tensorrt', make_plan(make_model(), version))
    assert engine.identity == f'TensorRT {version}, Stand-in, engine.plan'
    assert engine.run(ones(1, 3, 8, 8))['y'].tolist() == np.full((1, 3, 8, 8), 2).tolist()


def test_types_are_those_of_the_engine(make_plan, make_model):
    model = make_model(kind=TensorProto.INT64)
    assert open_backend('tensorrt', make_plan(model)).tensors[0].dtype == np.int64
    before_10 = open_backend('tensorrt', make_plan(model, '8.6.0'))
    assert [info.dtype for info in before_10.tensors] == [np.int32, np.int32]
    assert before_10.run({'x': np.full((1, 3, 8, 8), 3, np.int32)})['y'].max() == 6


def test_shapes_vary_within_the_profile(make_plan, make_model):
    model = make_model(('n', 3, 'h', 'w'))
    engine = open_backend('tensorrt', make_plan(model, profiles=({'x': RANGE},)))
    assert [info.shape for info in engine.tensors] == [(-1, 3, -1, -1)] * 2

    for shape in ((1, 3, 8, 8), (4, 3, 16, 16), (1, 3, 4, 4), (2, 3, 8, 4)):
        found = engine.run(ones(*shape))['y']
        assert found.shape == shape
        assert (found == 2).all()
    with pytest.raises(InferenceError) as caught:
        engine.run(ones(5, 3, 8, 8))
    assert str(caught.value).endswith(
        "input 'x' got the shape [5, 3, 8, 8], the engine takes [1, 3, 4, 4] to [4, 3, 16, 16]; "
        'widen build.profiles in the card'
    )
    assert (engine.run(ones(2, 3, 8, 4))['y'] == 2).all(), 'it goes on'


def test_memory_that_cannot_be_had_leaves_the_engine_as_it_was(make_plan, make_model, monkeypatch):
    model = make_model(('n', 3, 'h', 'w'))
    engine = open_backend('tensorrt', make_plan(model, profiles=({'x': RANGE},)))
    cuda = sys.modules['cuda.bindings.runtime']
    monkeypatch.setattr(cuda, 'LARGEST', 1000)
    with pytest.raises(InferenceError, match='cudaErrorMemoryAllocation: out of memory'):
        engine.run(ones(4, 3, 16, 16))
    assert (engine.run(ones(1, 3, 8, 8))['y'] == 2).all()


@pytest.mark.parametrize(
    ('inputs', 'wanted'),
    [
        ({}, r"got the inputs \[\], wanted \['x'\]"),
        ({'x': np.ones((1, 3, 8, 9), np.float32)}, r"'x' got float32\[1, 3, 8, 9\], wanted"),
        ({'x': np.ones((1, 3, 8, 8), np.uint8)}, r"'x' got uint8\[1, 3, 8, 8\], wanted float32"),
    ],
)
def test_inputs_that_do_not_fit_are_named(make_plan, make_model, inputs, wanted):
    engine = open_backend('tensorrt', make_plan(make_model()))
    with pytest.raises(InferenceError, match=wanted):
        engine.run(inputs)


def test_close_gives_all_memory_back_and_may_be_called_twice(make_plan, make_model):
    engine = open_backend('tensorrt', make_plan(make_model()))
    cuda = sys.modules['cuda.bindings.runtime']
    assert len(cuda.allocations) == 2
    engine.close()
    engine.close()
    assert not cuda.allocations
    assert not cuda.streams
    with pytest.raises(InferenceError, match='run after close'):
        engine.run(ones(1, 3, 8, 8))


def test_any_thread_may_run_it(make_plan, make_model):
    """The node loads in one thread and runs in another."""
    engine = open_backend('tensorrt', make_plan(make_model()))
    with ThreadPoolExecutor(1) as worker:
        assert (worker.submit(engine.run, ones(1, 3, 8, 8)).result()['y'] == 2).all()
        worker.submit(engine.close).result()


def test_two_engines_at_once_keep_apart(make_plan, make_model):
    plan = make_plan(make_model())
    engines = [open_backend('tensorrt', plan) for _ in range(2)]

    def work(number: int) -> bool:
        inputs = {'x': np.full((1, 3, 8, 8), number, np.float32)}
        return all((engines[number].run(inputs)['y'] == 2 * number).all() for _ in range(20))

    with ThreadPoolExecutor(2) as workers:
        assert list(workers.map(work, range(2))) == [True, True]


def refusal(plan: Path, **kwargs) -> str:
    with pytest.raises(ModelLoadError) as caught:
        open_backend('tensorrt', plan, **kwargs)
    cuda = sys.modules['cuda.bindings.runtime']
    assert not cuda.allocations, 'nothing is left behind'
    assert not cuda.streams
    return str(caught.value)


def test_an_engine_of_another_version_is_refused_in_tensorrts_words(
    make_plan, make_model, fake_gpu
):
    plan = make_plan(make_model(), '10.3.0')
    fake_gpu('10.7.0')
    text = refusal(plan)
    assert text.startswith(f'{plan}: TensorRT 10.7.0, Stand-in cannot load this engine; TensorRT')
    assert 'expecting library version 10.7.0 got 10.3.0' in text
    assert 'build it again, here (ros2 run trt_builder trt_build --force)' in text


def test_a_version_compatible_engine_needs_to_be_called_so(make_plan, make_model, fake_gpu):
    plan = make_plan(make_model(), '10.3.0', flags=('VERSION_COMPATIBLE',))
    fake_gpu('11.4.1')
    assert 'expecting library version 11.4.1 got 10.3.0' in refusal(plan)
    engine = open_backend('tensorrt', plan, version_compatible=True)
    assert (engine.run(ones(1, 3, 8, 8))['y'] == 2).all()


def test_an_engine_of_another_gpu_is_refused(make_plan, make_model, fake_gpu):
    plan = make_plan(make_model(), gpu='8.6')
    fake_gpu(gpu='8.7')
    assert 'expecting compute 8.7 got compute 8.6' in refusal(plan)


@pytest.mark.parametrize('kept', [0, 100])
def test_a_truncated_engine_is_refused(make_plan, make_model, kept):
    plan = make_plan(make_model())
    plan.write_bytes(plan.read_bytes()[:kept])
    assert 'Version tag does not match' in refusal(plan)


def test_a_missing_engine_is_refused(make_plan, make_model):
    plan = make_plan(make_model())
    plan.unlink()
    assert 'the engine cannot be read: No such file or directory' in refusal(plan)


def test_types_without_numpy_are_refused(make_plan, make_model):
    text = refusal(make_plan(make_model(kind=TensorProto.BFLOAT16)))
    assert "input 'x' is BF16, which NumPy does not have" in text
    assert 'set build.io.x.dtype in the card' in text


def test_other_layouts_are_refused(make_plan, make_model):
    plan = make_plan(make_model(), io={'x': TensorFormat('fp16', 'chw4')})
    assert "'x' lies in memory as CHW4, and only LINEAR is served" in refusal(plan)


def test_a_plugin_library_is_loaded_first_and_let_go_last(make_plan, make_model, tmp_path):
    plan = make_plan(make_model())
    library = tmp_path / 'libplugin.so'
    library.touch()
    engine = open_backend('tensorrt', plan, plugins=[str(library)])
    registry = sys.modules['tensorrt'].get_plugin_registry()
    assert registry.loaded == [str(library)]
    engine.close()
    assert registry.loaded == []
    assert 'absent.so: TensorRT 10.3.0, Stand-in cannot load this plugin library' in refusal(
        plan, plugins=[str(library), 'absent.so']
    )
    assert registry.loaded == []


def test_the_dla_core_is_chosen_before_the_engine_is_loaded(make_plan, make_model, monkeypatch):
    plan = make_plan(make_model())
    with pytest.raises(BackendUnavailableError, match='for DLA core 1, and 0 DLA cores are here'):
        open_backend('tensorrt', plan, dla_core=1)

    library = importlib.import_module('tensorrt')
    monkeypatch.setattr(library.Runtime, 'num_DLA_cores', 2)
    load, cores = library.Runtime.deserialize_cuda_engine, []

    def look(runtime, content):
        cores.append(runtime.DLA_core)
        return load(runtime, content)

    monkeypatch.setattr(library.Runtime, 'deserialize_cuda_engine', look)
    engine = open_backend('tensorrt', plan, dla_core=1)
    assert cores == [1]
    assert engine.identity == 'TensorRT 10.3.0, Stand-in DLA 1, engine.plan'


def test_a_run_that_fails_on_the_gpu_is_an_error(make_plan, make_model):
    engine = open_backend('tensorrt', make_plan(make_model()))
    engine._first._context.set_tensor_address('y', 12345)
    with pytest.raises(InferenceError, match='cudaStreamSynchronize failed with cudaErrorIllegal'):
        engine.run(ones(1, 3, 8, 8))


def test_a_run_that_tensorrt_refuses_is_an_error_with_its_words(make_plan, make_model):
    engine = open_backend('tensorrt', make_plan(make_model()))
    engine._first._context.set_tensor_address('y', 0)
    with pytest.raises(InferenceError, match=r'the run failed; TensorRT says: .*setTensorAddress'):
        engine.run(ones(1, 3, 8, 8))


def test_what_is_missing_is_said(make_plan, make_model, fake_gpu, monkeypatch):
    plan = make_plan(make_model())
    fake_gpu(gpu='none')
    with pytest.raises(BackendUnavailableError, match='cudaErrorNoDevice: no CUDA-capable device'):
        open_backend('tensorrt', plan)
    fake_gpu()
    monkeypatch.setitem(sys.modules, 'cuda.bindings', None)
    with pytest.raises(BackendUnavailableError, match='cuda-bindings is not installed'):
        open_backend('tensorrt', plan)
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    with pytest.raises(BackendUnavailableError, match=r'TensorRT cannot be imported .*python3-lib'):
        open_backend('tensorrt', plan)


OWNERS = {
    '_library': '', 'library': '', '_runtime': 'Runtime.',
    'engine': 'ICudaEngine.', '_context': 'IExecutionContext.', 'registry': 'IPluginRegistry.',
}  # fmt: skip
# What is asked for first: each stands beside a look whether it is there.
GUARDED = {
    'ICudaEngine.device_memory_size', 'ICudaEngine.device_memory_size_v2',
    'ICudaEngine.create_execution_context_without_device_memory',
    'ICudaEngine.streamable_weights_size', 'ICudaEngine.weight_streaming_budget_v2',
}  # fmt: skip


def test_every_call_exists_in_every_version_of_tensorrt(data):
    path = data.parent / 'reference' / 'tensorrt_api_matrix.txt'
    if not path.is_file():
        pytest.skip('the matrix of TensorRT names is not beside the test data')
    lines = path.read_text().splitlines()[1:]
    rows = {name: marks for name, *marks in map(str.split, filter(None, lines))}
    used = set()
    for source in SOURCES.glob('tensorrt*.py'):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Attribute):
                owner = getattr(node.value, 'attr', getattr(node.value, 'id', ''))
                if owner in OWNERS:
                    used.add(f'{OWNERS[owner]}{node.attr}')
    # what no version can do without, and what is not in the matrix
    used -= {'__version__', 'Runtime', 'ILogger', 'IOutputAllocator'}

    assert len(used) > 25
    assert used >= GUARDED
    used -= GUARDED
    assert {name: rows.get(name) for name in used if '-' in rows.get(name, '-')} == {}


def test_the_stand_in_has_what_each_version_of_tensorrt_has(data, fake_gpu):
    path = data.parent / 'reference' / 'tensorrt_api_matrix.txt'
    if not path.is_file():
        pytest.skip('the matrix of TensorRT names is not beside the test data')
    head, *lines = filter(None, path.read_text().splitlines())
    rows = {name: marks for name, *marks in map(str.split, lines)}
    fake_gpu()
    for name in importlib.import_module('tensorrt').RUNTIME_FEATURES:
        for version, mark in zip(head.split(), rows[name], strict=True):
            fake_gpu(version)
            library = importlib.import_module('tensorrt')
            owner, _, member = name.rpartition('.')
            place = getattr(library, owner) if owner else library
            assert hasattr(place, member) == (mark != '-'), f'{name} in {version}'
