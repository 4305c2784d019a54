# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Stands in for the CUDA runtime: device memory is memory of the host, filled with rubbish.

What is put into a stream is done when the stream, or an event in it, is synchronised, and no
earlier. FAKE_GPU is the compute capability of the one GPU, or `none`; with FAKE_GPU_INTEGRATED it
shares its memory with the CPU. `audit` tells what was not freed, and what wrote where it must not.
"""

from __future__ import annotations

from collections.abc import Callable
import ctypes
import enum
import itertools
import os
import threading
import time
from types import SimpleNamespace

import numpy as np

LARGEST = 1 << 32
TOTAL = 8 << 30
RUBBISH = 0xAB
GUARD = 256  # bytes of rubbish before and after each piece of memory, and what it is aligned to


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorNoDevice = 100
    cudaErrorInvalidResourceHandle = 400
    cudaErrorIllegalAddress = 700
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorStreamCaptureInvalidated = 901


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaDeviceAttr(enum.IntEnum):
    cudaDevAttrIntegrated = 18
    cudaDevAttrCanMapHostMemory = 19
    cudaDevAttrComputeCapabilityMajor = 75
    cudaDevAttrComputeCapabilityMinor = 76


_TEXTS = {
    cudaError_t.cudaErrorInvalidValue: b'invalid argument',
    cudaError_t.cudaErrorMemoryAllocation: b'out of memory',
    cudaError_t.cudaErrorNoDevice: b'no CUDA-capable device is detected',
    cudaError_t.cudaErrorInvalidResourceHandle: b'invalid resource handle',
    cudaError_t.cudaErrorIllegalAddress: b'an illegal memory access was encountered',
    cudaError_t.cudaErrorStreamCaptureUnsupported: b'operation not permitted when stream is '
    b'capturing',
    cudaError_t.cudaErrorStreamCaptureInvalidated: b'operation failed due to a previous error '
    b'during capture',
}

cudaHostAllocDefault = 0
cudaHostAllocMapped = 2
cudaEventBlockingSync = 1
cudaEventDisableTiming = 2
cudaEventRecordExternal = 1

Work = Callable[[], None]

allocations: dict[int, np.ndarray] = {}
pinned: dict[int, np.ndarray] = {}
streams: dict[int, list[Work]] = {}
events: dict[int, int | None] = {}
reached_s: dict[int, float] = {}
graphs: dict[int, list[Work]] = {}
calls: list[str] = []
_mapped: set[int] = set()
_graves: list[np.ndarray] = []
_guarded: dict[int, np.ndarray] = {}
_captures: dict[int, list[Work] | None] = {}
_spoilt: list[cudaError_t] = []
_handles = itertools.count(1 << 20, 8)
_contexts = threading.local()


class IllegalAddress(Exception):
    """A kernel touched memory that is not the device's."""


def view(pointer: int, size: int) -> np.ndarray:
    """Return device memory as bytes."""
    mapped = {begin: memory for begin, memory in pinned.items() if begin in _mapped}
    for begin, memory in (allocations | mapped).items():
        if begin <= pointer and pointer + size <= begin + memory.nbytes:
            return memory[pointer - begin : pointer - begin + size]
    raise IllegalAddress


def enqueue(stream: int, work: Work) -> None:
    if stream not in _captures:
        streams[stream].append(work)
    elif (captured := _captures[stream]) is not None:
        captured.append(work)


def refuse_capture(stream: int) -> bool:
    """Spoil the capture of a stream, if there is one, as a call does that cannot be captured."""
    if stream not in _captures:
        return False
    _captures[stream] = None
    return True


def audit() -> list[str]:
    """Return what is left over, and what was written outside of memory or after it was freed."""
    held = {'allocations': allocations, 'pinned': pinned, 'streams': streams, 'events': events,
            'graphs': graphs, 'captures': _captures}  # fmt: skip
    faults = [f'{len(each)} {name} left' for name, each in held.items() if each]
    if any((memory != RUBBISH).any() for memory in _graves):
        faults.append('written after it was freed')
    for memory in _guarded.values():
        if (memory[:GUARD] != RUBBISH).any() or (memory[-GUARD:] != RUBBISH).any():
            faults.append('written outside of it')
    return faults


def _reserve(size: int) -> tuple[int, np.ndarray]:
    whole = np.full(size + 3 * GUARD, RUBBISH, np.uint8)
    begin = GUARD + -whole.ctypes.data % GUARD
    memory = whole[begin : begin + size]
    _guarded[memory.ctypes.data] = whole[begin - GUARD : begin + size + GUARD]
    return memory.ctypes.data, memory


def _bury(memory: np.ndarray) -> None:
    memory[:] = RUBBISH
    _graves.append(memory)


def _status() -> cudaError_t:
    if os.environ.get('FAKE_GPU') == 'none':
        return cudaError_t.cudaErrorNoDevice
    return _spoilt[0] if _spoilt else cudaError_t.cudaSuccess


def _finish(stream: int) -> cudaError_t:
    """Do what is in a stream; an illegal access spoils the process for good, as it does there."""
    work, streams[stream][:] = streams[stream][:], []
    for each in work:
        try:
            each()
        except IllegalAddress:
            _spoilt.append(cudaError_t.cudaErrorIllegalAddress)
    return _status()


def cudaGetErrorName(error):
    return cudaError_t.cudaSuccess, cudaError_t(error).name.encode()


def cudaGetErrorString(error):
    return cudaError_t.cudaSuccess, _TEXTS[error]


def cudaGetDevice():
    return _status(), 0


def cudaSetDevice(device):
    _contexts.device = device
    return (_status(),)


def has_context():
    """Return whether this thread has one; most of the runtime's other calls would give one too."""
    return hasattr(_contexts, 'device')


def cudaDeviceGetAttribute(attribute, device):
    major, _, minor = os.environ.get('FAKE_GPU', '8.7').partition('.')
    integrated = int('FAKE_GPU_INTEGRATED' in os.environ)
    values = {'Integrated': integrated, 'CanMapHostMemory': 1, 'ComputeCapabilityMajor': int(major),
              'ComputeCapabilityMinor': int(minor)}  # fmt: skip
    return _status(), values[attribute.name.removeprefix('cudaDevAttr')]


def cudaGetDeviceProperties(device):
    return _status(), SimpleNamespace(name=b'Stand-in' + bytes(248))


def cudaMemGetInfo():
    used = sum(memory.nbytes for memory in allocations.values())
    return _status(), TOTAL - used, TOTAL


def cudaStreamCreate():
    if _status():
        return _status(), None
    handle = next(_handles)
    streams[handle] = []
    return _status(), handle


def cudaStreamSynchronize(stream):
    if stream not in streams:
        return (cudaError_t.cudaErrorInvalidResourceHandle,)
    if refuse_capture(stream):
        return (cudaError_t.cudaErrorStreamCaptureUnsupported,)
    return (_finish(stream),)


def cudaStreamDestroy(stream):
    if stream not in streams:
        return (cudaError_t.cudaErrorInvalidResourceHandle,)
    status = _finish(stream)
    del streams[stream]
    return (status,)


def cudaMalloc(size):
    if _status():
        return _status(), None
    if size > LARGEST:
        return cudaError_t.cudaErrorMemoryAllocation, None
    if any([refuse_capture(stream) for stream in list(_captures)]):
        return cudaError_t.cudaErrorStreamCaptureUnsupported, None
    calls.append('cudaMalloc')
    pointer, memory = _reserve(size)
    allocations[pointer] = memory
    return cudaError_t.cudaSuccess, pointer


def cudaFree(pointer):
    if pointer not in allocations:
        return (cudaError_t.cudaErrorInvalidValue,)
    for stream in streams:
        _finish(stream)
    _bury(allocations.pop(pointer))
    return (_status(),)


def cudaHostAlloc(size, flags):
    if _status():
        return _status(), None
    calls.append('cudaHostAlloc')
    pointer, memory = _reserve(size)
    pinned[pointer] = memory
    if flags & cudaHostAllocMapped:
        _mapped.add(pointer)
    return cudaError_t.cudaSuccess, pointer


def cudaHostGetDevicePointer(pointer, flags):
    if pointer not in _mapped:
        return cudaError_t.cudaErrorInvalidValue, None
    return _status(), pointer


def cudaFreeHost(pointer):
    if pointer not in pinned:
        return (cudaError_t.cudaErrorInvalidValue,)
    for stream in streams:
        _finish(stream)
    _mapped.discard(pointer)
    _bury(pinned.pop(pointer))
    return (_status(),)


def cudaMemcpyAsync(to, source, size, kind, stream):
    if stream not in streams:
        return (cudaError_t.cudaErrorInvalidResourceHandle,)
    upload = kind == cudaMemcpyKind.cudaMemcpyHostToDevice
    try:
        device = view(to if upload else source, size)
    except IllegalAddress:
        return (cudaError_t.cudaErrorInvalidValue,)
    host = source if upload else to
    at_once = stream not in _captures and not any(
        begin <= host and host + size <= begin + memory.nbytes for begin, memory in pinned.items()
    )
    calls.append('upload' if upload else 'download')
    if upload and at_once:  # from pageable memory: it is read before the call returns
        content = ctypes.string_at(source, size)
        enqueue(stream, lambda: ctypes.memmove(device.ctypes.data, content, size))
    elif upload:
        enqueue(stream, lambda: ctypes.memmove(device.ctypes.data, source, size))
    else:
        enqueue(stream, lambda: ctypes.memmove(to, device.ctypes.data, size))
    return (_status(),)


def cudaMemcpy(to, source, size, kind):
    for stream in streams:
        _finish(stream)
    try:
        view(to if kind == cudaMemcpyKind.cudaMemcpyHostToDevice else source, size)
    except IllegalAddress:
        return (cudaError_t.cudaErrorInvalidValue,)
    ctypes.memmove(to, source, size)
    return (_status(),)


def cudaMemsetAsync(pointer, value, size, stream):
    if stream not in streams:
        return (cudaError_t.cudaErrorInvalidResourceHandle,)
    try:
        device = view(pointer, size)
    except IllegalAddress:
        return (cudaError_t.cudaErrorInvalidValue,)
    enqueue(stream, lambda: device.fill(value))
    return (_status(),)


def cudaEventCreateWithFlags(flags):
    if _status():
        return _status(), None
    handle = next(_handles)
    events[handle] = None
    if not flags & cudaEventDisableTiming:
        reached_s[handle] = 0.0
    return _status(), handle


def cudaEventRecord(event, stream):
    if event not in events or stream not in streams:
        return (cudaError_t.cudaErrorInvalidResourceHandle,)
    events[event] = stream
    if event in reached_s:
        enqueue(stream, lambda: reached_s.__setitem__(event, time.perf_counter()))
    return (_status(),)


def cudaEventRecordWithFlags(event, stream, flags):
    assert flags == cudaEventRecordExternal  # else a recording notes only what waits for what
    return cudaEventRecord(event, stream)


def cudaEventElapsedTime(begin, end):
    if begin not in reached_s or end not in reached_s:
        return cudaError_t.cudaErrorInvalidResourceHandle, None
    return _status(), (reached_s[end] - reached_s[begin]) * 1e3


def cudaEventSynchronize(event):
    if event not in events:
        return (cudaError_t.cudaErrorInvalidResourceHandle,)
    stream = events[event]
    return (_status() if stream is None else _finish(stream),)


def cudaStreamWaitEvent(stream, event, flags):
    if event not in events or stream not in streams:
        return (cudaError_t.cudaErrorInvalidResourceHandle,)
    other = events[event]
    if other is not None:
        enqueue(stream, lambda: _finish(other))
    return (_status(),)


def cudaEventDestroy(event):
    if event not in events:
        return (cudaError_t.cudaErrorInvalidResourceHandle,)
    del events[event]
    reached_s.pop(event, None)
    return (_status(),)


class cudaStreamCaptureMode(enum.IntEnum):
    cudaStreamCaptureModeThreadLocal = 1


def cudaStreamBeginCapture(stream, mode):
    if stream not in streams or stream in _captures:
        return (cudaError_t.cudaErrorInvalidResourceHandle,)
    _captures[stream] = []
    return (_status(),)


def cudaStreamEndCapture(stream):
    if stream not in _captures:
        return cudaError_t.cudaErrorInvalidValue, None
    captured = _captures.pop(stream)
    if captured is None:
        return cudaError_t.cudaErrorStreamCaptureInvalidated, None
    return _status(), _graph(captured)


def cudaGetLastError():
    return (_status(),)


def cudaGraphInstantiate(graph, flags):
    return _status(), _graph(graphs[graph])


def cudaGraphLaunch(executable, stream):
    if executable not in graphs or stream not in streams:
        return (cudaError_t.cudaErrorInvalidResourceHandle,)
    calls.append('cudaGraphLaunch')
    for work in graphs[executable]:
        enqueue(stream, work)
    return (_status(),)


def cudaGraphDestroy(graph):
    if graphs.pop(graph, None) is None:
        return (cudaError_t.cudaErrorInvalidValue,)
    return (_status(),)


cudaGraphExecDestroy = cudaGraphDestroy


def _graph(work: list[Work]) -> int:
    handle = next(_handles)
    graphs[handle] = work
    return handle
