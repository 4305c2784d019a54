# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Memory for intermediate results that several engines use in turn."""

from __future__ import annotations

from trt_engine.cuda.runtime import call
from trt_engine.cuda.runtime import Stream
from trt_engine.errors import InferenceError

ALIGNMENT_BYTES = 256  # what TensorRT wants; cudaMalloc gives no less


class Arena:
    """Device memory as large as the neediest of those who share it wants, not as all of them do.

    Who shares it runs in its stream: there one run begins when the one before it has ended, so no
    two write to it at once. A CUDA graph with such a run in it is launched in this stream too,
    which nothing here can see. It grows until the first run and never after.

    Attributes:
        stream: The stream; whoever made it closes it, after this.
        nbytes: How large it is.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.nbytes = 0
        self._pointer = 0
        self._in_use = False

    def reserve(self, nbytes: int) -> int:
        """Be at least so large; return the address, which holds until somebody else reserves.

        Raises:
            InferenceError: There is not enough memory, or it would have to grow after a run.
        """
        if nbytes <= self.nbytes:
            return self._pointer
        if self._in_use:
            raise InferenceError(
                f'the arena has {self.nbytes} bytes and is in use, wanted {nbytes}; load every '
                'engine that shares it before the first of them runs'
            )
        pointer = int(call('cudaMalloc', nbytes))
        if pointer % ALIGNMENT_BYTES:
            call('cudaFree', pointer)
            raise InferenceError(
                f'cudaMalloc gave the address {pointer:#x}, which is not aligned to '
                f'{ALIGNMENT_BYTES} bytes as TensorRT wants it; load the engines without an arena'
            )
        self.close()
        self._pointer, self.nbytes = pointer, nbytes
        return pointer

    def use(self) -> int:
        """Return the address for a run; from now on it stays.

        Raises:
            InferenceError: The arena is closed.
        """
        if not self._pointer:
            raise InferenceError('the arena has no memory: it was closed before who shares it')
        self._in_use = True
        return self._pointer

    def close(self) -> None:
        """Free the memory; a second call does nothing."""
        pointer, self._pointer, self.nbytes = self._pointer, 0, 0
        if pointer:
            call('cudaFree', pointer)
