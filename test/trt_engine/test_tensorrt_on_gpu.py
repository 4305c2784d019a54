# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Contexts, profiles, arenas and outputs, with engines of the stand-in and of TensorRT."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.build_settings import ShapeRange
from trt_engine.cuda.arena import Arena
from trt_engine.cuda.memory import Graph
from trt_engine.cuda.runtime import Stream
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import InferenceError
from trt_engine.errors import ModelLoadError

pytestmark = pytest.mark.slow  # reads onnxruntime

PROFILES = (
    {'x': ShapeRange((1, 3, 8, 8), (1, 3, 8, 8), (2, 3, 8, 8))},
    {'x': ShapeRange((3, 3, 8, 8), (4, 3, 8, 8), (8, 3, 8, 8))},
)
ONE_PROFILE = ({'x': ShapeRange((1, 3, 8, 8), (1, 3, 8, 8), (4, 3, 8, 8))},)


def batch(size: int, value: float = 1) -> dict[str, np.ndarray]:
    return {'x': np.full((size, 3, 8, 8), value, np.float32)}


def shapes(size: int) -> dict[str, tuple[int, ...]]:
    return {'x': (size, 3, 8, 8)}


@pytest.fixture
def load(engines, make_model):
    """Return a function that loads an engine of a model of one layer."""
    closing = []

    def load(op='Add', shape=('n', 3, 8, 8), profiles=PROFILES, **settings) -> TensorRtBackend:
        plan = engines.build(make_model(shape, op), profiles)
        closing.append(TensorRtBackend(plan, **settings))
        return closing[-1]

    yield load
    for each in reversed(closing):
        each.close()


def test_threads_with_a_context_of_another_shape_each_keep_apart(load):
    engine = load()
    contexts = [engine.context(shapes(size)) for size in (1, 2, 4, 8)]

    def work(number: int) -> bool:
        context = contexts[number]
        inputs = batch(context.shapes['x'][0], number)
        return all((context.run(inputs)['y'] == 2 * number).all() for _ in range(200))

    with ThreadPoolExecutor(4) as workers:
        assert list(workers.map(work, range(4))) == [True] * 4


def test_the_profile_is_switched_where_shapes_ask_for_it(load):
    engine = load()
    for size in (1, 4, 8, 2, 3, 1):
        found = engine.run(batch(size, size))['y']
        assert found.shape == (size, 3, 8, 8)
        assert (found == 2 * size).all()
    with pytest.raises(InferenceError, match=r'in profile 0 .*, or in profile 1 .* to \[8, 3, 8'):
        engine.run(batch(9))
    assert (engine.run(batch(8))['y'] == 2).all(), 'it goes on'


def test_graphs_of_other_shapes_are_launched_in_turn(load):
    engine = load()
    contexts = [engine.context(shapes(size), stream=engine.stream) for size in (1, 4)]
    for each in contexts:
        each.run(batch(each.shapes['x'][0]))
    graphs = [Graph(engine.stream, each.enqueue) for each in contexts]
    for value in (3, 5):
        for context, graph in zip(contexts, graphs, strict=True):
            context.memory['x'].host[:] = value
            context.memory['x'].upload(engine.stream)
            graph.launch(engine.stream)
            context.memory['y'].download(engine.stream)
            engine.stream.synchronize()
            assert (context.memory['y'].host == 2 * value).all()
    for graph in graphs:
        graph.close()


def test_engines_and_their_contexts_share_an_arena(load):
    stream = Stream()
    arena = Arena(stream)
    engines = [load(arena=arena) for _ in range(3)]
    contexts = [each.context(shapes(4)) for each in engines]
    for value in (2, 3):
        for each in engines:
            assert (each.run(batch(1, value))['y'] == 2 * value).all()
        for each in contexts:
            assert (each.run(batch(4, value))['y'] == 2 * value).all()
    while engines:
        engines.pop().close()
    arena.close()
    stream.close()


def test_a_graph_of_an_engine_with_an_arena_of_its_own_runs(load):
    engine = load(own_arena=True)
    engine.run(batch(1))
    graph = Graph(engine.stream, engine.enqueue)
    engine.memory['x'].host[:] = 4
    engine.memory['x'].upload(engine.stream)
    graph.launch(engine.stream)
    engine.memory['y'].download(engine.stream)
    engine.stream.synchronize()
    assert (engine.memory['y'].host == 8).all()
    graph.close()


@pytest.mark.parametrize('profiles', [(), ONE_PROFILE], ids=['fixed', 'dynamic'])
def test_an_output_has_the_shape_that_the_run_gave_it(load, profiles):
    sizes = (1, 4, 2) if profiles else (1,)
    engine = load('NonZero', ('n' if profiles else 1, 3, 8, 8), profiles)
    assert engine.varying == ('y',)
    for size in sizes:
        for count in (5, 0, 40, 3):
            image = np.zeros((size, 3, 8, 8), np.float32)
            image.reshape(-1)[::3][:count] = 1
            found = engine.run({'x': image})['y']
            assert found.tolist() == np.array(np.nonzero(image)).tolist()


def test_weights_that_cannot_be_streamed_are_told(load):
    with pytest.raises((BackendUnavailableError, ModelLoadError), match='weight'):
        load(weight_streaming_mib=1)


@pytest.mark.parametrize('cut', [0.5, 0.99])
def test_a_damaged_engine_is_refused(engines, make_model, tmp_path, cut):
    whole = engines.build(make_model()).read_bytes()
    damaged = tmp_path / 'damaged.plan'
    damaged.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(ModelLoadError, match=r'damaged\.plan'):
        TensorRtBackend(damaged)
