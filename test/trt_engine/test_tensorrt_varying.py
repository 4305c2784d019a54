# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What follows from values: outputs without a size, shapes on the CPU, weights that come and go."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest

from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.build_settings import ShapeRange
from trt_engine.cuda.memory import Graph
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import InferenceError
from trt_engine.errors import ModelLoadError

pytestmark = pytest.mark.slow  # reads onnxruntime

VERSIONS = ('8.6.0', '10.3.0', '11.4.1')
SHAPE = (1, 3, 8, 8)
PROFILES = ({'x': ShapeRange((1, 3, 8, 8), (1, 3, 8, 8), (4, 3, 8, 8))},)


@pytest.fixture
def load(make_plan, make_model):
    """Return a function that loads an engine of a model of one layer."""
    closing = []

    def load(
        op: str, version: str = '10.3.0', shape=SHAPE, build=None, **settings
    ) -> TensorRtBackend:
        while closing:  # before the stand-ins are chosen anew
            closing.pop().close()
        plan = make_plan(make_model(shape, op), version, **(build or {}))
        closing.append(TensorRtBackend(plan, **settings))
        return closing[-1]

    yield load
    for each in closing:
        each.close()


def with_ones(count: int, shape=SHAPE) -> np.ndarray:
    image = np.zeros(shape, np.float32)
    image.reshape(-1)[:count] = 1
    return image


@pytest.mark.parametrize('version', VERSIONS)
def test_an_output_has_the_shape_that_the_run_gave_it(load, version):
    engine = load('NonZero', version)
    assert engine.tensors[1].shape == (4, -1)
    assert engine.varying == ('y',)
    assert 'y' not in engine.memory
    for count in (5, 0, 40, 3):
        image = with_ones(count)
        found = engine.run({'x': image})['y']
        assert found.shape == (4, count)
        assert found.tolist() == np.array(np.nonzero(image)).tolist()


def test_memory_for_it_grows_to_the_most_and_stays(load):
    engine = load('NonZero')
    cuda = sys.modules['cuda.bindings.runtime']
    engine.run({'x': with_ones(192)})
    before = cuda.calls.count('cudaMalloc')
    for count in (3, 192, 50):
        engine.run({'x': with_ones(count)})
    assert cuda.calls.count('cudaMalloc') == before
    engine.close()
    assert not cuda.allocations


def test_its_size_may_follow_from_a_shape_that_varies_too(load):
    engine = load('NonZero', shape=('n', 3, 8, 8), build={'profiles': PROFILES})
    for images, count in ((1, 7), (4, 300), (2, 0)):
        image = with_ones(count, (images, 3, 8, 8))
        assert engine.run({'x': image})['y'].shape == (4, count)
    context = engine.context({'x': (3, 3, 8, 8)})
    assert context.run({'x': with_ones(9, (3, 3, 8, 8))})['y'].shape == (4, 9)


def test_it_cannot_be_recorded_and_says_so(load):
    engine = load('NonZero')
    assert not engine.capturable
    assert "the size of output 'y' depends on the values" in engine.no_graph
    with pytest.raises(InferenceError, match=r'the run failed; TensorRT says: .*without a graph'):
        Graph(engine.stream, engine.enqueue)
    assert engine.run({'x': with_ones(2)})['y'].shape == (4, 2), 'it goes on'
    assert load('Add').capturable
    assert load('Add').no_graph == ''


@pytest.mark.parametrize('version', VERSIONS)
def test_no_memory_for_an_output_is_an_error_with_its_cause(load, version, monkeypatch):
    engine = load('NonZero', version)
    cuda = sys.modules['cuda.bindings.runtime']
    monkeypatch.setattr(cuda, 'LARGEST', 1000)
    with pytest.raises(InferenceError) as caught:
        engine.run({'x': with_ones(100)})
    assert 'the run failed: cudaMalloc failed with cudaErrorMemoryAllocation' in str(caught.value)
    assert 'There is not enough memory' in str(caught.value)
    assert 'cudaMalloc failed' in str(caught.value.__cause__)
    assert engine.run({'x': with_ones(1)})['y'].shape == (4, 1), 'it goes on'


def test_a_run_that_tells_no_shape_is_an_error(load, monkeypatch):
    engine = load('NonZero')
    library = importlib.import_module('tensorrt')
    monkeypatch.setattr(library.IExecutionContext, '_allocate', lambda context, name, array: array)
    with pytest.raises(InferenceError, match="output 'y': TensorRT ended the run without telling"):
        engine.run({'x': with_ones(3)})


@pytest.mark.parametrize('version', VERSIONS)
def test_a_shape_is_read_on_the_cpu(load, version):
    engine = load('Reshape', version)
    kind = np.int32 if version.startswith('8.') else np.int64
    image = np.arange(192, dtype=np.float32).reshape(SHAPE)
    for size in ((2, 96), (12, 16), (192, 1)):
        found = engine.run({'x': image, 'size': np.array(size, kind)})['y']
        assert found.tolist() == image.reshape(size).tolist()
    assert engine.no_graph
    cuda = sys.modules['cuda.bindings.runtime']
    assert len(cuda.allocations) == 2, 'x and y'


def test_what_is_read_on_the_cpu_cannot_be_recorded(load, monkeypatch):
    engine = load('Add')
    monkeypatch.setattr(engine._loaded, 'on_host', frozenset({'x'}))
    assert engine.no_graph == "input 'x' is a shape that TensorRT reads on the CPU"


@pytest.mark.parametrize('op', ['Add', 'NonZero'])
def test_an_output_on_the_cpu_is_served_where_its_size_is_known(
    make_plan, make_model, monkeypatch, op
):
    plan = make_plan(make_model(op=op))
    library = importlib.import_module('tensorrt')
    places = {'x': library.TensorLocation.DEVICE, 'y': library.TensorLocation.HOST}
    monkeypatch.setattr(library.ICudaEngine, 'get_tensor_location', lambda _, name: places[name])
    if op == 'NonZero':
        with pytest.raises(
            ModelLoadError, match=r"'y' has the shape \[4, -1\] and lies on the CPU"
        ):
            TensorRtBackend(plan)
        return
    engine = TensorRtBackend(plan)
    assert (engine.run({'x': np.ones(SHAPE, np.float32)})['y'] == 2).all()
    assert len(sys.modules['cuda.bindings.runtime'].allocations) == 1, 'x'
    engine.close()


def test_an_allocator_that_tensorrt_does_not_take_is_an_error(make_plan, make_model, monkeypatch):
    plan = make_plan(make_model(op='NonZero'))
    library = importlib.import_module('tensorrt')
    monkeypatch.setattr(library.IExecutionContext, 'set_output_allocator', lambda *_: False)
    with pytest.raises(ModelLoadError, match='TensorRT takes no allocator for it'):
        TensorRtBackend(plan)


STREAMED = {'build': {'flags': ('WEIGHT_STREAMING',)}, 'shape': (64, 3, 32, 32)}  # 768 KiB


@pytest.mark.parametrize('version', ['10.3.0', '11.4.1'])
def test_weights_are_streamed_within_their_budget(load, version):
    engine = load('Scale', version, **STREAMED, weight_streaming_mib=0)
    assert engine._loaded.engine.budget == 0
    assert engine.no_graph == 'weights are streamed, which TensorRT does from the CPU'
    assert engine.streamed_bytes == 768 << 10
    image = np.ones(STREAMED['shape'], np.float32)
    assert (engine.run({'x': image})['y'] == 3).all()
    with pytest.raises(InferenceError, match='cannot record'):
        Graph(engine.stream, engine.enqueue)
    all_of_it = load('Scale', version, **STREAMED, weight_streaming_mib=1)
    assert all_of_it.capturable
    assert all_of_it.streamed_bytes == 0


@pytest.mark.parametrize('version', ['8.6.0', '10.0.1'])
def test_a_version_without_weight_streaming_is_named(load, version):
    with pytest.raises(BackendUnavailableError, match=r'weight_streaming_mib is 8.*10\.1 or later'):
        load('Scale', version, weight_streaming_mib=8)


def test_an_engine_without_streamed_weights_is_refused(load):
    with pytest.raises(ModelLoadError, match='not built for that; build it with weight_st'):
        load('Scale', weight_streaming_mib=8)


def test_a_budget_that_tensorrt_does_not_take_is_an_error(make_plan, make_model, monkeypatch):
    plan = make_plan(make_model(STREAMED['shape'], 'Scale'), **STREAMED['build'])
    library = importlib.import_module('tensorrt')
    made = library.ICudaEngine.__init__

    def busy(engine, *arguments):
        made(engine, *arguments)
        engine.contexts = {1}

    monkeypatch.setattr(library.ICudaEngine, '__init__', busy)
    with pytest.raises(ModelLoadError, match=r'stays at 0\.8 MiB of 0\.8 MiB.* cannot be set'):
        TensorRtBackend(plan, weight_streaming_mib=0)
