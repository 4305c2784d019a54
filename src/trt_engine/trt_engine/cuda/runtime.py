# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The few CUDA calls that running an engine takes, with errors that say what failed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
import threading
from typing import Any

import numpy as np

from trt_engine.backend import Array
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import InferenceError

# The bindings by the first letters of their functions, and what they were called before 12.6.1.
_LIBRARIES = {'cuda': ('runtime', 'cudart'), 'nvrtc': ('nvrtc', 'nvrtc'), 'cu': ('driver', 'cuda')}


@cache  # looking a module up takes longer than most calls
def bindings(prefix: str) -> Any:
    """Return the bindings whose functions begin with cuda (runtime), cu (driver) or nvrtc.

    Raises:
        BackendUnavailableError: They are not installed.
    """
    name, older = _LIBRARIES[prefix]
    try:
        return import_module(f'cuda.bindings.{name}')
    except ImportError:
        try:
            return import_module(f'cuda.{older}')
        except ImportError as exc:
            raise BackendUnavailableError(
                'the Python package cuda-bindings is not installed; pip install '
                '"cuda-bindings<13" on JetPack 6, cuda-bindings on JetPack 7 and elsewhere'
            ) from exc


def call(function: str, *arguments: Any) -> Any:
    """Call a function of CUDA by name; return what it gives beside its status.

    Raises:
        BackendUnavailableError: cuda-bindings is missing, or there is no device or driver for it.
        InferenceError: The call failed.
    """
    prefix = _prefix(function)
    library = bindings(prefix)
    if prefix == 'cu':
        _use_device()
    run: Callable[..., tuple[Any, ...]] = getattr(library, function)
    try:
        status, *values = run(*arguments)
    except RuntimeError as exc:  # the bindings found no driver, or other library, to load
        raise BackendUnavailableError(f'{function}: {exc}') from exc
    if int(status):
        name, text = _describe(library, prefix, status)
        kind = (
            BackendUnavailableError
            if name in ('cudaErrorNoDevice', 'cudaErrorInsufficientDriver')
            else InferenceError
        )
        raise kind(f'{function} failed with {name}: {text}')
    return values[0] if len(values) == 1 else tuple(values)


_thread = threading.local()


def _use_device() -> None:
    """Give this thread the device's context, which the driver's functions want to find there."""
    if not getattr(_thread, 'has_device', False):
        call('cudaSetDevice', call('cudaGetDevice'))
        _thread.has_device = True


@cache
def _prefix(function: str) -> str:
    return next(each for each in _LIBRARIES if function.startswith(each))


def _describe(library: Any, prefix: str, status: Any) -> tuple[str, str]:
    """Return the name of an error, and what it means."""
    if prefix == 'nvrtc':
        return status.name, library.nvrtcGetErrorString(status)[1].decode()
    name, text = (
        getattr(library, f'{prefix}GetError{what}')(status)[1] for what in ('Name', 'String')
    )
    return name.decode(), text.decode()


def attribute(name: str) -> int:
    """Return an attribute of the current device, such as Integrated.

    Raises:
        BackendError: As for `call`.
    """
    which = getattr(bindings('cuda').cudaDeviceAttr, f'cudaDevAttr{name}')
    value: int = call('cudaDeviceGetAttribute', which, call('cudaGetDevice'))
    return value


def compute_capability() -> str:
    """Return that of the current device, such as 8.7.

    Raises:
        BackendError: As for `call`.
    """
    major = attribute('ComputeCapabilityMajor')
    return f'{major}.{attribute("ComputeCapabilityMinor")}'


def device_name() -> str:
    """Return what the current device calls itself, such as Orin.

    Raises:
        BackendError: As for `call`.
    """
    name: bytes = call('cudaGetDeviceProperties', call('cudaGetDevice')).name
    return name.partition(b'\0')[0].decode(errors='replace')


def device_memory() -> tuple[int, int]:
    """Return what is free of the current device's memory, and all of it, in bytes.

    Where the GPU shares the CPU's memory this leaves out what the kernel could still free: there,
    `trt_engine.memory.machine.read_memory` says more.

    Raises:
        BackendError: As for `call`.
    """
    free, total = call('cudaMemGetInfo')
    return int(free), int(total)


class Stream:
    """A CUDA stream; `handle` is what libraries take."""

    def __init__(self) -> None:
        self._stream = call('cudaStreamCreate')
        self.handle = int(self._stream)

    def synchronize(self) -> None:
        """Wait until everything in the stream is done."""
        call('cudaStreamSynchronize', self._stream)

    def close(self) -> None:
        """Destroy the stream."""
        call('cudaStreamDestroy', self._stream)


class DeviceArray:
    """Device memory with the array of the host that is copied to and from it.

    Attributes:
        host: The array.
        pointer: Address of the device memory; `resize` may change it.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.host: Array = np.zeros(0, dtype)
        self.pointer = 0
        self._capacity = 0
        self.resize(shape)

    @property
    def device_bytes(self) -> int:
        """Return how much device memory it has, which may be more than `host` takes."""
        return self._capacity

    def resize(self, shape: tuple[int, ...]) -> None:
        """Take another shape; what both sides held is lost. Device memory grows and never shrinks.

        Raises:
            InferenceError: There is not enough memory; all is as before.
        """
        host: Array = np.zeros(shape, self.host.dtype)
        # TensorRT wants an address also of a tensor without elements
        needed = max(1, host.nbytes)
        if needed > self._capacity:
            pointer = int(call('cudaMalloc', needed))
            self.close()
            self.pointer, self._capacity = pointer, needed
        self.host = host

    def upload(self, stream: Stream) -> None:
        """Copy `host` to the device."""
        self._copy(self.pointer, self.host.ctypes.data, 'cudaMemcpyHostToDevice', stream)

    def download(self, stream: Stream) -> None:
        """Copy the device's contents to `host`; it holds them once the stream is synchronised."""
        self._copy(self.host.ctypes.data, self.pointer, 'cudaMemcpyDeviceToHost', stream)

    def close(self) -> None:
        """Free the device memory; a second call does nothing."""
        pointer, self.pointer, self._capacity = self.pointer, 0, 0
        if pointer:
            call('cudaFree', pointer)

    def _copy(self, to: int, source: int, kind: str, stream: Stream) -> None:
        direction = getattr(bindings('cuda').cudaMemcpyKind, kind)
        call('cudaMemcpyAsync', to, source, self.host.nbytes, direction, stream.handle)
