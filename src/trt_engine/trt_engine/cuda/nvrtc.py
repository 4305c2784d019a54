# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""CUDA C++ to machine code of one GPU, through NVRTC; what was compiled once is kept on disk."""

from __future__ import annotations

from collections.abc import Sequence
import hashlib
import json
import os
from pathlib import Path
import tempfile

from trt_engine.cuda.runtime import bindings
from trt_engine.cuda.runtime import call
from trt_engine.entry import check_access
from trt_engine.entry import sync_folder
from trt_engine.entry import write_file
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import InferenceError
from trt_engine.errors import StoreError

# The GPU does the arithmetic of the CPU path, in which no product and sum are fused into one.
_OPTIONS = ('--std=c++17', '--fmad=false')
_DIGEST_BYTES = hashlib.sha256().digest_size


def default_cache() -> Path:
    """Return the folder that compiled kernels are kept in where none is named."""
    cache = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(cache, 'jetson_perception', 'kernels')


def nvrtc_version() -> str:
    """Return the version of NVRTC, such as 12.6.

    Raises:
        BackendUnavailableError: It is not installed, or cuda-bindings is not.
    """
    bindings('nvrtc')
    try:
        major, minor = call('nvrtcVersion')
    except BackendUnavailableError as exc:
        raise BackendUnavailableError(
            'NVRTC, which compiles our kernels, is not found; on a Jetson: sudo apt install '
            'cuda-nvrtc-12-6 (the version of your CUDA); elsewhere: pip install nvidia-cuda-nvrtc '
            f'(CUDA 12: nvidia-cuda-nvrtc-cu12): {exc.__cause__ or exc}'
        ) from exc
    return f'{major}.{minor}'


def supported_archs() -> list[int]:
    """Return the compute capabilities that NVRTC knows, such as 87 for 8.7."""
    archs: list[int] = call('nvrtcGetSupportedArchs')
    return archs


def compile_kernels(
    source: str, *, name: str, capability: str, cache: Path, options: Sequence[str] = ()
) -> bytes:
    """Return the machine code (a cubin) of kernels for one GPU.

    Args:
        source: CUDA C++.
        name: What the compiler calls it.
        capability: Compute capability of the GPU, such as 8.7.
        cache: Folder where it is kept; made where it is not there.
        options: For the compiler, beside ours, such as -DELEMENT=float.

    Raises:
        BackendUnavailableError: NVRTC is missing, or does not know the GPU.
        InferenceError: The source does not compile; the compiler's log says why.
        StoreError: The cache cannot be written, or others can write to it.
    """
    version = nvrtc_version()
    arch = f'sm_{capability.replace(".", "")}'
    flags = (*_OPTIONS, *options, f'--gpu-architecture={arch}')
    key = hashlib.sha256(json.dumps([source, name, flags, version]).encode()).hexdigest()
    path = cache / f'{key}.cubin'
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_access(cache)
        cubin = _read(path)
        if cubin is None:
            cubin = _compile(source, name, flags, arch, version)
            _write(path, cubin)
    except OSError as exc:
        raise StoreError(
            f'{exc.filename or cache}: {exc.strerror or exc}: compiled kernels cannot be kept; is '
            'the disk full, or the folder not writable? XDG_CACHE_HOME names another'
        ) from exc
    return cubin


def _compile(source: str, name: str, flags: Sequence[str], arch: str, version: str) -> bytes:
    known = [f'sm_{each}' for each in supported_archs()]
    if arch not in known:
        raise BackendUnavailableError(
            f'NVRTC {version} does not know the GPU here, {arch}; it knows {", ".join(known)}; '
            'install the NVRTC of the CUDA version that the driver is of'
        )
    program = call('nvrtcCreateProgram', source.encode(), name.encode(), 0, [], [])
    try:
        try:
            call('nvrtcCompileProgram', program, len(flags), [flag.encode() for flag in flags])
        except InferenceError as exc:
            log = bytearray(call('nvrtcGetProgramLogSize', program))
            call('nvrtcGetProgramLog', program, log)
            text = log.rstrip(b'\0').decode(errors='replace').strip()
            raise InferenceError(
                f'{name} does not compile for {arch} with NVRTC {version}: {text or exc}'
            ) from exc
        cubin = bytearray(call('nvrtcGetCUBINSize', program))
        call('nvrtcGetCUBIN', program, cubin)
        return bytes(cubin)
    finally:
        bindings('nvrtc').nvrtcDestroyProgram(program)


def _read(path: Path) -> bytes | None:
    """Return a cubin that was kept; None where there is none, or a damaged one."""
    if not os.path.lexists(path):
        return None
    check_access(path)
    content = path.read_bytes()
    digest, cubin = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return cubin if hashlib.sha256(cubin).digest() == digest else None


def _write(path: Path, cubin: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix='.new_') as folder:
        new = Path(folder, path.name)
        write_file(new, hashlib.sha256(cubin).digest() + cubin)
        new.replace(path)
    sync_folder(path.parent)
