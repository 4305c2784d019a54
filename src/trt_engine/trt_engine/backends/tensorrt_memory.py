# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Inputs and outputs of an engine that are not simply device memory of a known size."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from trt_engine.backend import Array
from trt_engine.cuda.runtime import DeviceArray
from trt_engine.cuda.runtime import Stream
from trt_engine.errors import BackendError
from trt_engine.errors import InferenceError


class HostArray:
    """What TensorRT reads or writes on the CPU, such as a shape, with the face of `DeviceArray`.

    Attributes:
        host: The array.
        pointer: Its address, which `resize` may change.
        device_bytes: It has no device memory.
    """

    device_bytes = 0

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.host: Array = np.zeros(0, dtype)
        self.pointer = 0
        self.resize(shape)

    def resize(self, shape: tuple[int, ...]) -> None:
        """Take another shape; what it held is lost."""
        # TensorRT wants an address also of a tensor without elements
        memory: Array = np.zeros(max(1, prod(shape)), self.host.dtype)
        self.host = memory[: prod(shape)].reshape(shape)
        self.pointer = int(memory.ctypes.data)

    def upload(self, stream: Stream) -> None:
        """Do nothing: it is where TensorRT reads it."""

    def download(self, stream: Stream) -> None:
        """Do nothing: it is where TensorRT wrote it."""

    def close(self) -> None:
        """Do nothing: Python frees it."""


class VaryingOutput:
    """Device memory of an output whose shape TensorRT tells only in a run.

    Attributes:
        failure: Why TensorRT got no memory in the last run; None if it did.
    """

    def __init__(self, name: str, dtype: np.dtype[Any]) -> None:
        self.failure: BackendError | None = None
        self._name = name
        self._dtype = dtype
        self._memory = DeviceArray((0,), np.dtype(np.uint8))
        self._shape: tuple[int, ...] | None = None

    def start(self) -> None:
        """Forget the run before."""
        self.failure, self._shape = None, None

    def grow(self, nbytes: int) -> int:
        """Return the address of at least so much memory, 0 where there is not enough."""
        try:
            self._memory.resize((nbytes,))
        except BackendError as exc:  # TensorRT is on the stack: it is raised when that has returned
            self.failure = exc
            return 0
        return self._memory.pointer

    def tell_shape(self, shape: tuple[int, ...]) -> None:
        """Take in the shape that this run gave."""
        self._shape = shape

    def download(self, stream: Stream) -> Array:
        """Return the array, filled once the stream is synchronised.

        Raises:
            InferenceError: TensorRT told no shape.
        """
        if self._shape is None or min(self._shape, default=0) < 0:
            raise InferenceError(
                f'output {self._name!r}: TensorRT ended the run without telling its shape, got '
                f'{self._shape}; export the model without what makes it vary (NonZero, NMS)'
            )
        # what was to be the most is often more than there is: only that is copied
        self._memory.resize((prod(self._shape) * self._dtype.itemsize,))
        self._memory.download(stream)
        return self._memory.host.view(self._dtype).reshape(self._shape)

    def close(self) -> None:
        """Free the memory; a second call does nothing."""
        self._memory.close()


def make_allocator(library: Any, output: VaryingOutput) -> Any:
    """Return the output allocator that TensorRT asks during a run."""

    class Allocator(library.IOutputAllocator):  # type: ignore[misc]
        """Must not raise: TensorRT is above it on the stack."""

        def __init__(self) -> None:
            library.IOutputAllocator.__init__(self)

        def reallocate_output(self, name: str, memory: int, size: int, alignment: int) -> int:
            return output.grow(size)

        def reallocate_output_async(
            self, name: str, memory: int, size: int, alignment: int, stream: int
        ) -> int:
            return output.grow(size)

        def notify_shape(self, name: str, shape: Any) -> None:
            output.tell_shape(tuple(shape))

    return Allocator()
