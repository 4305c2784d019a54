# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Our kernels, compiled for the GPU that is here and loaded on it."""

from __future__ import annotations

import ctypes
from pathlib import Path
import re
from typing import Any

from trt_engine.cuda.nvrtc import compile_kernels
from trt_engine.cuda.nvrtc import default_cache
from trt_engine.cuda.runtime import call
from trt_engine.cuda.runtime import compute_capability
from trt_engine.cuda.runtime import Stream

SOURCES = Path(__file__).with_name('kernels')

Size = tuple[int, int, int]

_INCLUDED = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)


class Kernel:
    """A function of the GPU that takes one structure."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def launch(self, stream: Stream, grid: Size, block: Size, given: ctypes.Structure) -> None:
        """Put a run into a stream; `given` is read before this returns.

        Args:
            stream: The stream.
            grid: Blocks along x, y and z.
            block: Threads of each block along x, y and z.
            given: As the kernel's source declares it.

        Raises:
            InferenceError: CUDA refused it.
        """
        arguments = (ctypes.c_void_p * 1)(ctypes.addressof(given))
        where = ctypes.addressof(arguments)
        call('cuLaunchKernel', self._function, *grid, *block, 0, stream.handle, where, 0)


def read_source(file: Path) -> str:
    """Return the text of a kernel's file, in place of what it includes of ours that text."""
    return _INCLUDED.sub(lambda found: (file.parent / found[1]).read_text(), file.read_text())


class Kernels:
    """The kernels of `SOURCES` for the current device, each compiled and loaded when first asked.

    Args:
        cache: Folder of what was compiled before; None takes that of `nvrtc.default_cache`.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = default_cache() if cache is None else cache
        self._capability = compute_capability()
        self._modules: dict[tuple[str, ...], Any] = {}

    def load(self, name: str, *, source: str = '', **defines: str) -> Kernel:
        """Return a kernel.

        Args:
            name: Of the function.
            source: Its file without ending, where that has another name.
            defines: Macros that the source wants.

        Raises:
            BackendError: As for `nvrtc.compile_kernels`, or the GPU refuses the code.
            StoreError: As for `nvrtc.compile_kernels`.
        """
        file = SOURCES / f'{source or name}.cu'
        options = tuple(f'-D{macro}={text}' for macro, text in sorted(defines.items()))
        key = (file.name, *options)
        if key not in self._modules:
            cubin = compile_kernels(
                read_source(file),
                name=file.name,
                capability=self._capability,
                cache=self._cache,
                options=options,
            )
            self._modules[key] = call('cuModuleLoadData', cubin)
        return Kernel(call('cuModuleGetFunction', self._modules[key], name.encode()))

    def close(self) -> None:
        """Unload them; a second call does nothing."""
        while self._modules:
            call('cuModuleUnload', self._modules.popitem()[1])
