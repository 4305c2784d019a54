# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Stands in for the CUDA driver: runs what the stand-in for NVRTC compiled, in the fake streams."""

from __future__ import annotations

import ctypes
import enum
import itertools
from pathlib import Path
import tempfile

from cuda.bindings import runtime

MOST_THREADS = 1024


class CUresult(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_INVALID_IMAGE = 200
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_INVALID_HANDLE = 400
    CUDA_ERROR_NOT_FOUND = 500


modules: dict[int, ctypes.CDLL] = {}
_functions: dict[int, tuple[int, ctypes._CFuncPtr, int]] = {}
_handles = itertools.count(1 << 30, 8)


def cuGetErrorName(status):
    return CUresult.CUDA_SUCCESS, CUresult(status).name.encode()


def cuGetErrorString(status):
    return CUresult.CUDA_SUCCESS, CUresult(status).name.lower().replace('_', ' ').encode()


def cuModuleLoadData(image):
    if not runtime.has_context():
        return CUresult.CUDA_ERROR_INVALID_CONTEXT, None
    with tempfile.NamedTemporaryFile(suffix='.so') as file:
        Path(file.name).write_bytes(image)
        try:
            library = ctypes.CDLL(file.name)
        except OSError:
            return CUresult.CUDA_ERROR_INVALID_IMAGE, None
    handle = next(_handles)
    modules[handle] = library
    return CUresult.CUDA_SUCCESS, handle


def cuModuleUnload(module):
    if modules.pop(module, None) is None:
        return (CUresult.CUDA_ERROR_INVALID_HANDLE,)
    return (CUresult.CUDA_SUCCESS,)


def cuModuleGetFunction(module, name):
    try:
        run = getattr(modules[module], f'run_{name.decode()}')
    except AttributeError:
        return CUresult.CUDA_ERROR_NOT_FOUND, None
    run.restype = None
    size = getattr(modules[module], f'size_{name.decode()}')()
    handle = next(_handles)
    _functions[handle] = module, run, size
    return CUresult.CUDA_SUCCESS, handle


def cuLaunchKernel(function, gx, gy, gz, bx, by, bz, shared_bytes, stream, arguments, extra):
    module, run, size = _functions[function]
    if not runtime.has_context():
        return (CUresult.CUDA_ERROR_INVALID_CONTEXT,)
    if module not in modules or stream not in runtime.streams:
        return (CUresult.CUDA_ERROR_INVALID_HANDLE,)
    if not all((gx, gy, gz, bx, by, bz)) or bx * by * bz > MOST_THREADS or shared_bytes or extra:
        return (CUresult.CUDA_ERROR_INVALID_VALUE,)
    # all of ours take one structure, and it is read before the call returns
    content = ctypes.create_string_buffer(
        ctypes.string_at(ctypes.c_void_p.from_address(arguments).value, size), size
    )
    sizes = (ctypes.c_uint * 6)(gx, gy, gz, bx, by, bz)

    def work() -> None:
        run((ctypes.c_void_p * 1)(ctypes.addressof(content)), sizes)

    runtime.enqueue(stream, work)
    return (CUresult.CUDA_SUCCESS,)
