# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Memory that is reserved once, and work that is recorded once and launched again and again."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
import ctypes
from dataclasses import dataclass
from typing import Any
from typing import Literal

import numpy as np

from trt_engine.backend import Array
from trt_engine.cuda.runtime import attribute
from trt_engine.cuda.runtime import bindings
from trt_engine.cuda.runtime import call
from trt_engine.cuda.runtime import Stream
from trt_engine.errors import InferenceError

Kind = Literal['device', 'pinned', 'mapped']

# Sizes are rounded up, by a quarter at most, so that images of sizes without end take turns in a
# few blocks.
_SMALLEST_BYTES = 4096


@dataclass(frozen=True, eq=False)
class Block:
    """A piece of memory of a `Pool`.

    Attributes:
        kind: device is the GPU's alone; pinned is the host's, where copies run at full speed and
            beside the CPU; mapped is both at once, on boards whose GPU shares the CPU's memory.
        address: Where it is; of pinned and mapped memory, where the host sees it.
        host: As bytes, uint8; None for device memory.
        nbytes: What was asked for, rounded up.
    """

    kind: Kind
    address: int
    host: Array | None
    nbytes: int


class Pool:
    """Reserves memory and keeps what is given back for the next who asks, until it is closed.

    Once every size that is needed has been taken, nothing is reserved any more.

    Args:
        mapped: Whether the GPU reads and writes the host's memory in place; None: where the two
            share their memory anyway.
    """

    def __init__(self, *, mapped: bool | None = None) -> None:
        if mapped is None:
            mapped = bool(attribute('Integrated') and attribute('CanMapHostMemory'))
        self.mapped = mapped
        self._blocks: list[Block] = []
        self._free: list[Block] = []

    @property
    def reserved_bytes(self) -> Mapping[Kind, int]:
        """Return what is reserved of each kind, in use or not."""
        kinds: tuple[Kind, ...] = ('device', 'pinned', 'mapped')
        return {
            kind: sum(block.nbytes for block in self._blocks if block.kind == kind)
            for kind in kinds
        }

    def take(self, kind: Kind, nbytes: int) -> Block:
        """Return memory with any content.

        Raises:
            InferenceError: There is not enough.
        """
        size = block_bytes(nbytes)
        for block in self._free:
            if block.kind == kind and block.nbytes == size:
                self._free.remove(block)
                return block
        block = _reserve(kind, size)
        self._blocks.append(block)
        return block

    def give(self, block: Block) -> None:
        """Take a block back, which nothing on the GPU may be using any more.

        Raises:
            InferenceError: It was given back before, or is not of this pool.
        """
        if block not in self._blocks or block in self._free:
            raise InferenceError(f'{block.kind} memory was given back twice, or to another pool')
        self._free.append(block)

    def trim(self) -> None:
        """Free what was given back; CUDA waits until nothing on the GPU is under way."""
        while self._free:
            block = self._free.pop()
            self._blocks.remove(block)
            _free(block)

    def close(self) -> None:
        """Free everything; a second call does nothing."""
        self._free.clear()
        while self._blocks:
            _free(self._blocks.pop())


def block_bytes(nbytes: int) -> int:
    """Return what a pool reserves for so many bytes."""
    grain: int = max(_SMALLEST_BYTES, 1 << nbytes.bit_length() >> 3)
    return max(1, -(-nbytes // grain)) * grain


def _reserve(kind: Kind, size: int) -> Block:
    if kind == 'device':
        return Block(kind, int(call('cudaMalloc', size)), None, size)
    flags = 'cudaHostAllocMapped' if kind == 'mapped' else 'cudaHostAllocDefault'
    address = int(call('cudaHostAlloc', size, getattr(bindings('cuda'), flags)))
    host: Array = np.ctypeslib.as_array((ctypes.c_ubyte * size).from_address(address))
    return Block(kind, address, host, size)


def _free(block: Block) -> None:
    call('cudaFree' if block.kind == 'device' else 'cudaFreeHost', block.address)


class Lease:
    """What one user has taken of a pool, to be given back all at once."""

    def __init__(self, pool: Pool) -> None:
        self.mapped = pool.mapped
        self._pool = pool
        self._blocks: list[Block] = []

    def take(self, kind: Kind, nbytes: int) -> Block:
        """Return memory with any content.

        Raises:
            InferenceError: There is not enough.
        """
        block = self._pool.take(kind, nbytes)
        self._blocks.append(block)
        return block

    def close(self) -> None:
        """Give everything back; a second call does nothing."""
        while self._blocks:
            self._pool.give(self._blocks.pop())


class Exchange:
    """Memory that the host and the GPU both see: two pieces and copies, or one where it is mapped.

    Attributes:
        host: The host's side, uint8.
        pointer: The GPU's side.
        copies: Whether anything is copied at all.
    """

    def __init__(self, memory: Lease, nbytes: int) -> None:
        """Take the memory, which goes back with the lease.

        Raises:
            InferenceError: There is not enough.
        """
        self.copies = not memory.mapped
        self._nbytes = nbytes
        block = memory.take('pinned' if self.copies else 'mapped', nbytes)
        assert block.host is not None
        self._address = block.address
        self.host: Array = block.host[:nbytes]
        self.pointer = (
            memory.take('device', nbytes).address
            if self.copies
            else int(call('cudaHostGetDevicePointer', block.address, 0))
        )

    def upload(self, stream: Stream, nbytes: int | None = None) -> None:
        """Have the GPU see what the host wrote; only the first `nbytes` of it where given."""
        size = self._nbytes if nbytes is None else nbytes
        self._copy(self.pointer, self._address, size, 'cudaMemcpyHostToDevice', stream)

    def download(self, stream: Stream) -> None:
        """Have the host see what the GPU wrote, once the stream is synchronised."""
        self._copy(self._address, self.pointer, self._nbytes, 'cudaMemcpyDeviceToHost', stream)

    def _copy(self, to: int, source: int, size: int, kind: str, stream: Stream) -> None:
        if self.copies:
            direction = getattr(bindings('cuda').cudaMemcpyKind, kind)
            call('cudaMemcpyAsync', to, source, size, direction, stream.handle)


class Event:
    """A point in a stream that a thread can wait for.

    Args:
        spin: Whether to wait busily, some microseconds faster; else the thread sleeps.
        timing: Whether to note when it is reached, for `since`.
    """

    def __init__(self, *, spin: bool = False, timing: bool = False) -> None:
        library = bindings('cuda')
        flags = 0 if spin else library.cudaEventBlockingSync
        flags |= 0 if timing else library.cudaEventDisableTiming
        self._event: Any = call('cudaEventCreateWithFlags', flags)

    def record(self, stream: Stream) -> None:
        """Be reached when all that is in the stream now is done."""
        call('cudaEventRecord', self._event, stream.handle)

    def synchronize(self) -> None:
        """Wait until it is reached.

        Raises:
            InferenceError: Something before it failed.
        """
        call('cudaEventSynchronize', self._event)

    def hold(self, stream: Stream) -> None:
        """Have what is put into a stream from now on wait until it is reached, on the GPU."""
        call('cudaStreamWaitEvent', stream.handle, self._event, 0)

    def since(self, earlier: Event) -> float:
        """Return the ms from one event to this; both are for timing, and have been reached."""
        elapsed_ms: float = call('cudaEventElapsedTime', earlier._event, self._event)
        return elapsed_ms

    def close(self) -> None:
        """Destroy the event; a second call does nothing."""
        event, self._event = self._event, None
        if event is not None:
            call('cudaEventDestroy', event)


class Graph:
    """Work on the GPU that was recorded once, and takes one call to launch.

    All that it uses, addresses and contexts, must stay until it is closed.
    """

    def __init__(self, stream: Stream, work: Callable[[], None]) -> None:
        """Record what a function puts into a stream; nothing of it is done yet.

        Raises:
            InferenceError: Something in it cannot be recorded, such as a loop in a network. The
                stream is as before.
        """
        mode = bindings('cuda').cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call('cudaStreamBeginCapture', stream.handle, mode)
        try:
            work()
            graph = call('cudaStreamEndCapture', stream.handle)
        except BaseException:
            _abandon(stream)
            raise
        try:
            self._executable: Any = call('cudaGraphInstantiate', graph, 0)
        finally:
            call('cudaGraphDestroy', graph)

    def launch(self, stream: Stream) -> None:
        """Put all of it into a stream.

        Raises:
            InferenceError: CUDA refused it.
        """
        call('cudaGraphLaunch', self._executable, stream.handle)

    def close(self) -> None:
        """Destroy the graph; a second call does nothing."""
        executable, self._executable = self._executable, None
        if executable is not None:
            call('cudaGraphExecDestroy', executable)


def _abandon(stream: Stream) -> None:
    """End a recording that failed, whatever CUDA says to it, and clear the error it leaves."""
    library = bindings('cuda')
    status, graph = library.cudaStreamEndCapture(stream.handle)
    if not int(status):
        library.cudaGraphDestroy(graph)
    library.cudaGetLastError()
