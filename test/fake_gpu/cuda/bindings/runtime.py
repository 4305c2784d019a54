# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Stands in for the CUDA runtime: device memory is memory of the host, filled with rubbish.

What is put into a stream is done when the stream is synchronised, and no earlier. FAKE_GPU is the
compute capability of the one GPU, or `none`.
"""

from __future__ import annotations

from collections.abc import Callable
import ctypes
import enum
import itertools
import os
from types import SimpleNamespace

import numpy as np

LARGEST = 1 << 32
RUBBISH = 0xAB


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorNoDevice = 100
    cudaErrorInvalidResourceHandle = 400
    cudaErrorIllegalAddress = 700


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaDeviceAttr(enum.IntEnum):
    cudaDevAttrComputeCapabilityMajor = 75
    cudaDevAttrComputeCapabilityMinor = 76


_TEXTS = {
    cudaError_t.cudaErrorInvalidValue: b'invalid argument',
    cudaError_t.cudaErrorMemoryAllocation: b'out of memory',
    cudaError_t.cudaErrorNoDevice: b'no CUDA-capable device is detected',
    cudaError_t.cudaErrorInvalidResourceHandle: b'invalid resource handle',
    cudaError_t.cudaErrorIllegalAddress: b'an illegal memory access was encountered',
}

allocations: dict[int, np.ndarray] = {}
streams: dict[int, list[Callable[[], None]]] = {}
_spoilt: list[cudaError_t] = []
_handles = itertools.count(1 << 20, 8)


class IllegalAddress(Exception):
    """A kernel touched memory that is not the device's."""


def view(pointer: int, size: int) -> np.ndarray:
    """Return device memory as bytes."""
    for begin, memory in allocations.items():
        if begin <= pointer and pointer + size <= begin + memory.nbytes:
            return memory[pointer - begin : pointer - begin + size]
    raise IllegalAddress


def enqueue(stream: int, work: Callable[[], None]) -> None:
    streams[stream].append(work)


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


def cudaDeviceGetAttribute(attribute, device):
    major, _, minor = os.environ.get('FAKE_GPU', '8.7').partition('.')
    return _status(), int(major if attribute.name.endswith('Major') else minor)


def cudaGetDeviceProperties(device):
    return _status(), SimpleNamespace(name=b'Stand-in' + bytes(248))


def cudaStreamCreate():
    if _status():
        return _status(), None
    handle = next(_handles)
    streams[handle] = []
    return _status(), handle


def cudaStreamSynchronize(stream):
    if stream not in streams:
        return (cudaError_t.cudaErrorInvalidResourceHandle,)
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
    memory = np.full(size, RUBBISH, np.uint8)
    allocations[memory.ctypes.data] = memory
    return cudaError_t.cudaSuccess, memory.ctypes.data


def cudaFree(pointer):
    if pointer not in allocations:
        return (cudaError_t.cudaErrorInvalidValue,)
    for stream in streams:
        _finish(stream)
    del allocations[pointer]
    return (_status(),)


def cudaMemcpyAsync(to, source, size, kind, stream):
    if stream not in streams:
        return (cudaError_t.cudaErrorInvalidResourceHandle,)
    upload = kind == cudaMemcpyKind.cudaMemcpyHostToDevice
    try:
        device = view(to if upload else source, size)
    except IllegalAddress:
        return (cudaError_t.cudaErrorInvalidValue,)
    if upload:  # from pageable memory: it is read before the call returns
        content = ctypes.string_at(source, size)
        enqueue(stream, lambda: ctypes.memmove(device.ctypes.data, content, size))
    else:
        enqueue(stream, lambda: ctypes.memmove(to, device.ctypes.data, size))
    return (_status(),)
