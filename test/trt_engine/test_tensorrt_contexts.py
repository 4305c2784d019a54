# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Several contexts of one engine: shapes, profiles, streams, threads, and memory they share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
import gc
import importlib
import sys
from threading import Event

import numpy as np
import pytest

from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.build_settings import ShapeRange
from trt_engine.cuda.arena import Arena
from trt_engine.cuda.runtime import call
from trt_engine.cuda.runtime import Stream
from trt_engine.errors import InferenceError
from trt_engine.errors import ModelLoadError

pytestmark = pytest.mark.slow  # reads onnxruntime

VERSIONS = ('8.6.0', '10.0.1', '10.3.0', '11.4.1')
PROFILES = (
    {'x': ShapeRange((1, 3, 8, 8), (1, 3, 8, 8), (2, 3, 8, 8))},
    {'x': ShapeRange((3, 3, 8, 8), (4, 3, 8, 8), (8, 3, 8, 8))},
)


def batch(size: int, value: float = 1) -> dict[str, np.ndarray]:
    return {'x': np.full((size, 3, 8, 8), value, np.float32)}


def shapes(size: int) -> dict[str, tuple[int, ...]]:
    return {'x': (size, 3, 8, 8)}


@pytest.fixture
def dynamic(make_plan, make_model):
    """Return a function that loads an engine with two profiles."""
    closing = []

    def load(version: str = '10.3.0', **settings) -> TensorRtBackend:
        plan = make_plan(make_model(('n', 3, 8, 8)), version, profiles=PROFILES)
        closing.append(TensorRtBackend(plan, **settings))
        return closing[-1]

    yield load
    for each in closing:
        each.close()


@pytest.mark.parametrize('version', VERSIONS)
def test_contexts_of_other_shapes_run_beside_each_other(dynamic, version):
    engine = dynamic(version)
    others = [engine.context(shapes(size)) for size in (2, 4, 8)]
    assert [each.shapes['x'][0] for each in others] == [2, 4, 8]
    assert len({each.stream.handle for each in others} | {engine.stream.handle}) == 4
    for value, context in enumerate(others):
        found = context.run(batch(context.shapes['x'][0], value))['y']
        assert (found == 2 * value).all()
        assert found.shape == context.shapes['x'] == context.memory['y'].host.shape
    assert (engine.run(batch(1, 7))['y'] == 14).all()


def test_a_context_takes_a_stream_and_gives_back_what_it_took(dynamic):
    engine = dynamic()
    cuda = sys.modules['cuda.bindings.runtime']
    held, streams = len(cuda.allocations), len(cuda.streams)
    context = engine.context(shapes(2), stream=engine.stream)
    assert context.stream is engine.stream
    assert (len(cuda.allocations), len(cuda.streams)) == (held + 2, streams)
    context.close()
    context.close()
    engine.context().close()
    assert (len(cuda.allocations), len(cuda.streams)) == (held, streams)
    with pytest.raises(InferenceError, match='run after close'):
        context.enqueue()
    with pytest.raises(InferenceError, match='run after close'):
        context.run(batch(2))
    with pytest.raises(InferenceError, match='run after close'):
        context.prepare(shapes(1))


def test_closing_the_engine_closes_its_contexts(dynamic):
    engine = dynamic()
    context = engine.context(shapes(2))
    engine.close()
    assert context.closed
    with pytest.raises(InferenceError, match='context after close'):
        engine.context(shapes(2))


@pytest.mark.parametrize('version', VERSIONS)
def test_the_profile_is_switched_where_shapes_ask_for_it(dynamic, version):
    engine = dynamic(version)
    context = engine._first._context
    for size, profile in ((1, 0), (4, 1), (8, 1), (2, 0), (3, 1)):
        assert (engine.run(batch(size, size))['y'] == 2 * size).all()
        assert context.active_optimization_profile == profile
    with pytest.raises(InferenceError, match=r'in profile 0 .*, or in profile 1 .* to \[8, 3, 8'):
        engine.run(batch(9))
    assert (engine.run(batch(8))['y'] == 2).all(), 'it goes on'


def test_a_profile_that_is_asked_for_is_the_only_one(dynamic):
    engine = dynamic(profile=1)
    assert engine.memory['x'].host.shape == (4, 3, 8, 8), 'what it was tuned for'
    assert (engine.run(batch(8))['y'] == 2).all()
    with pytest.raises(InferenceError, match=r'takes in profile 1 \[3, 3, 8, 8\] to'):
        engine.run(batch(1))
    assert engine.context(profile=0).shapes['x'] == (1, 3, 8, 8)
    engine.close()
    with pytest.raises(ModelLoadError, match=r'profile 2 was asked for, the engine has 0\.\.1'):
        dynamic(profile=2)


def test_an_old_engine_that_shares_no_profiles_says_so(dynamic, monkeypatch):
    engine = dynamic('8.6.0')
    monkeypatch.setattr(engine._loaded.engine, 'shares_profiles', False)
    with pytest.raises(InferenceError) as caught:
        engine.context(shapes(1))
    assert 'profile 0 cannot be used; TensorRT says: ' in str(caught.value)
    assert 'a profile for each context' in str(caught.value)
    assert (engine.context(shapes(4)).run(batch(4))['y'] == 2).all(), 'profile 1 is free'


@pytest.mark.parametrize('settings', [{'profile': 2}, {'weight_streaming_mib': 1}])
def test_an_error_that_is_kept_keeps_no_engine(dynamic, settings):
    """It would outlive the plugins that it is made of."""
    with pytest.raises(ModelLoadError) as caught:
        dynamic(**settings)
    library = importlib.import_module('tensorrt')
    assert [each for each in gc.get_objects() if type(each) is library.ICudaEngine] == []
    assert caught.value.__traceback__ is not None


def test_shapes_that_are_left_out_are_named(dynamic):
    with pytest.raises(InferenceError, match=r"no shape for the inputs \['x'\].*got \['z'\]"):
        dynamic().context({'z': (1,)})


def test_a_context_without_memory_for_its_inputs_takes_none(dynamic, monkeypatch):
    engine = dynamic()
    cuda = sys.modules['cuda.bindings.runtime']
    held = len(cuda.allocations), len(cuda.streams)
    monkeypatch.setattr(cuda, 'LARGEST', 1000)
    with pytest.raises(InferenceError, match='out of memory'):
        engine.context(shapes(8))
    assert (len(cuda.allocations), len(cuda.streams)) == held


def test_a_second_thread_in_one_context_is_refused_and_the_first_goes_on(dynamic, monkeypatch):
    engine = dynamic()
    inside, go_on = Event(), Event()
    synchronize = Stream.synchronize

    def wait(stream):
        inside.set()
        assert go_on.wait(10)
        synchronize(stream)

    with ThreadPoolExecutor(1) as worker:
        monkeypatch.setattr(Stream, 'synchronize', wait)
        first = worker.submit(engine.run, batch(1, 3))
        assert inside.wait(10)
        monkeypatch.setattr(Stream, 'synchronize', synchronize)
        with pytest.raises(InferenceError, match=r'a second thread began .*backend\.context\(\)'):
            engine.run(batch(1))
        go_on.set()
        assert (first.result()['y'] == 6).all()
    assert (engine.run(batch(1))['y'] == 2).all()


@pytest.fixture
def arena(fake_gpu):
    """Return an arena of this version, as the stand-ins are chosen anew with each."""
    closing = []

    def make(version: str = '10.3.0') -> Arena:
        fake_gpu(version)
        stream = Stream()
        arena = Arena(stream)
        closing.extend((stream, arena))
        return arena

    yield make
    while closing:
        closing.pop().close()


@pytest.mark.parametrize('version', VERSIONS)
def test_engines_share_an_arena_as_large_as_the_neediest_wants(
    make_plan, make_model, arena, version
):
    plan = make_plan(make_model(), version)
    shared = arena(version)
    cuda = sys.modules['cuda.bindings.runtime']
    engines = [TensorRtBackend(plan, arena=shared) for _ in range(3)]
    needed = engines[0]._loaded.engine.scratch
    assert shared.nbytes == needed
    assert len(cuda.allocations) == 3 * 2 + 1
    assert len(cuda.streams) == 1
    for value in (2, 3):
        for engine in engines:
            assert engine.stream is shared.stream
            assert (
                engine.run({'x': np.full((1, 3, 8, 8), value, np.float32)})['y'] == 2 * value
            ).all()
    (scratch,) = [each for each in cuda.allocations.values() if each.nbytes == needed]
    assert (scratch == 0x5C).all(), 'it is where intermediate results went'
    for engine in engines:
        engine.close()
    assert len(cuda.allocations) == 1


@pytest.mark.parametrize('version', VERSIONS)
def test_a_later_engine_may_need_more_until_the_first_runs(
    make_plan, make_model, arena, version, monkeypatch
):
    plan = make_plan(make_model(), version)
    shared = arena(version)
    library = importlib.import_module('tensorrt')
    first = TensorRtBackend(plan, arena=shared)
    made = library.ICudaEngine.__init__

    def needier(engine, *arguments):
        made(engine, *arguments)
        engine.scratch *= 2

    monkeypatch.setattr(library.ICudaEngine, '__init__', needier)
    second = TensorRtBackend(plan, arena=shared)
    for engine in (first, second, first):
        assert (engine.run({'x': np.ones((1, 3, 8, 8), np.float32)})['y'] == 2).all()
    assert shared.nbytes == second._loaded.engine.scratch
    second._loaded.engine.scratch += 1
    with pytest.raises(InferenceError, match='load every engine that shares it before the first'):
        second.context()
    first.close()
    second.close()


def test_an_arena_and_another_stream_exclude_each_other(make_plan, make_model, arena):
    plan = make_plan(make_model())
    shared = arena()
    other = Stream()
    with pytest.raises(ModelLoadError, match='not that of the arena'):
        TensorRtBackend(plan, arena=shared, stream=other)
    engine = TensorRtBackend(plan, arena=shared, stream=shared.stream)
    with pytest.raises(InferenceError, match='leave out stream, or arena'):
        engine.context(stream=other)
    engine.close()
    other.close()


def test_a_closed_arena_is_told_and_not_run_into(make_plan, make_model, arena):
    plan = make_plan(make_model())
    shared = arena()
    engine = TensorRtBackend(plan, arena=shared)
    shared.close()
    with pytest.raises(InferenceError, match='the arena has no memory'):
        engine.run({'x': np.ones((1, 3, 8, 8), np.float32)})
    engine.close()


def test_an_arena_keeps_what_it_has_where_there_is_no_more(arena, monkeypatch):
    shared = arena()
    cuda = sys.modules['cuda.bindings.runtime']
    address = shared.reserve(1000)
    assert address % 256 == 0
    assert shared.reserve(10) == address
    monkeypatch.setattr(cuda, 'LARGEST', 1000)
    with pytest.raises(InferenceError, match='out of memory'):
        shared.reserve(1001)
    assert (shared.use(), shared.nbytes) == (address, 1000)


def test_memory_that_is_not_aligned_is_refused(arena, monkeypatch):
    shared = arena()
    cuda = sys.modules['cuda.bindings.runtime']
    freed = []
    monkeypatch.setattr(cuda, 'cudaMalloc', lambda size: (cuda.cudaError_t.cudaSuccess, 1032))
    monkeypatch.setattr(
        cuda, 'cudaFree', lambda pointer: (cuda.cudaError_t(freed.append(pointer) or 0),)
    )
    with pytest.raises(InferenceError, match='0x408, which is not aligned to 256 bytes'):
        shared.reserve(8)
    assert freed == [1032]
    assert shared.nbytes == 0


def test_calls_of_cuda_are_those_of_the_library_that_is_there(fake_gpu):
    """It is looked up once; a function that a test replaces is still the one that is called."""
    fake_gpu()
    assert call('cudaGetDevice') == 0
    cuda = sys.modules['cuda.bindings.runtime']
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, 'cudaGetDevice', lambda: (cuda.cudaError_t.cudaSuccess, 5))
        assert call('cudaGetDevice') == 5
    assert call('cudaGetDevice') == 0
