# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Pools stop growing, what is taken goes back, and a recording that fails leaves nothing behind."""

from __future__ import annotations

import numpy as np
import pytest

from trt_engine.cuda.memory import Event
from trt_engine.cuda.memory import Exchange
from trt_engine.cuda.memory import Graph
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.memory import Pool
from trt_engine.cuda.runtime import call
from trt_engine.cuda.runtime import Stream
from trt_engine.errors import InferenceError


@pytest.fixture
def runtime(fake_cuda):
    return fake_cuda


@pytest.fixture
def pool(runtime):
    pool = Pool()
    yield pool
    pool.close()


@pytest.fixture
def stream(runtime):
    stream = Stream()
    yield stream
    stream.close()


def test_a_pool_stops_growing_once_it_holds_what_is_needed(runtime, pool):
    for _ in range(3):
        lease = Lease(pool)
        for size in (1, 5000, 100_000):
            lease.take('device', size)
            lease.take('pinned', size)
        lease.close()
    assert pool.reserved_bytes == {'device': 126_976, 'pinned': 126_976, 'mapped': 0}
    assert runtime.calls.count('cudaMalloc') == runtime.calls.count('cudaHostAlloc') == 3


def test_two_that_hold_memory_hold_different_memory(pool):
    blocks = [pool.take('device', 100) for _ in range(3)]
    pool.give(blocks[1])
    blocks.append(pool.take('device', 100))
    assert len({block.address for block in blocks}) == 3
    assert blocks[3] is blocks[1]


def test_a_pool_that_is_trimmed_keeps_what_is_in_use(runtime, pool):
    kept = pool.take('device', 100)
    lease = Lease(pool)
    for kind in ('device', 'pinned', 'mapped'):
        lease.take(kind, 9000)
    lease.close()
    pool.trim()
    pool.trim()
    assert pool.reserved_bytes == {'device': kept.nbytes, 'pinned': 0, 'mapped': 0}
    assert runtime.pinned == {}
    pool.give(kept)
    assert pool.take('device', 100) is kept


def test_memory_that_is_given_back_twice_is_a_defect_that_is_told(pool):
    block = pool.take('pinned', 8)
    pool.give(block)
    with pytest.raises(InferenceError, match='pinned memory was given back twice'):
        pool.give(block)
    with pytest.raises(InferenceError, match='to another pool'):
        Pool().give(block)


def test_too_much_memory_is_refused_and_what_was_taken_goes_back(runtime, pool, monkeypatch):
    monkeypatch.setattr(runtime, 'LARGEST', 10_000)
    lease = Lease(pool)
    with pytest.raises(InferenceError, match='cudaErrorMemoryAllocation: out of memory'):
        Exchange(lease, 20_000)
    lease.close()
    lease.close()
    pool.close()
    pool.close()
    assert runtime.pinned == {}


def test_a_copy_there_and_back(runtime, pool, stream):
    there, back = (Exchange(Lease(pool), 1000) for _ in range(2))
    there.host[:] = np.arange(1000) % 251
    there.upload(stream)
    kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
    call('cudaMemcpyAsync', back.host.ctypes.data, there.pointer, 1000, kind, stream.handle)
    assert not np.array_equal(back.host, there.host)
    stream.synchronize()
    np.testing.assert_array_equal(back.host, there.host)
    assert there.copies


def test_a_board_that_shares_its_memory_copies_nothing(runtime, stream, monkeypatch):
    monkeypatch.setenv('FAKE_GPU_INTEGRATED', '1')
    pool = Pool()
    exchange = Exchange(Lease(pool), 1000)
    exchange.host[:] = 7
    exchange.upload(stream)
    exchange.download(stream)
    assert not exchange.copies
    assert (runtime.view(exchange.pointer, 1000) == 7).all()
    assert pool.reserved_bytes == {'device': 0, 'pinned': 0, 'mapped': 4096}
    assert not {'upload', 'download'} & set(runtime.calls)
    pool.close()


@pytest.mark.parametrize('mapped', [True, False])
def test_a_setting_forces_mapped_memory_or_copies(runtime, monkeypatch, mapped):
    if not mapped:
        monkeypatch.setenv('FAKE_GPU_INTEGRATED', '1')
    pool = Pool(mapped=mapped)
    assert Exchange(Lease(pool), 8).copies is not mapped
    pool.close()


@pytest.mark.parametrize('spin', [True, False])
def test_an_event_waits_for_what_came_before_it(pool, stream, spin):
    event = Event(spin=spin)
    exchange = Exchange(Lease(pool), 8)
    call('cudaMemsetAsync', exchange.pointer, 9, 8, stream.handle)
    exchange.download(stream)
    event.record(stream)
    event.synchronize()
    assert (exchange.host == 9).all()
    event.close()


def test_a_graph_does_at_each_launch_what_was_recorded(pool, stream):
    exchange = Exchange(Lease(pool), 8)
    exchange.host[:] = 1
    graph = Graph(stream, lambda: exchange.upload(stream))

    def read():
        stream.synchronize()
        exchange.host[:] = 0
        exchange.download(stream)
        stream.synchronize()
        return int(exchange.host[0])

    assert read() != 1  # nothing is done by recording it
    for value in (3, 4):
        exchange.host[:] = value
        graph.launch(stream)
        assert read() == value
    graph.close()
    graph.close()


def test_what_cannot_be_recorded_leaves_the_stream_as_before(runtime, pool, stream):
    exchange = Exchange(Lease(pool), 8)
    for spoil in (stream.synchronize, lambda: pool.take('device', 1 << 20)):
        with pytest.raises(InferenceError, match='cudaErrorStreamCaptureUnsupported'):
            Graph(stream, spoil)
    with pytest.raises(ZeroDivisionError):
        Graph(stream, lambda: print(1 / 0))
    exchange.host[:] = 5
    exchange.upload(stream)
    stream.synchronize()
    assert (runtime.view(exchange.pointer, 8) == 5).all()


def test_the_stand_in_sees_leaks_and_stray_writes(runtime):
    pointer = call('cudaMalloc', 100)
    assert runtime.audit() == ['1 allocations left']
    memory = runtime.view(pointer, 100)
    call('cudaFree', pointer)
    memory[3] = 0
    assert runtime.audit() == ['written after it was freed']
    memory[3] = runtime.RUBBISH
    with pytest.raises(InferenceError, match='cudaErrorInvalidValue'):
        call('cudaFree', pointer)
