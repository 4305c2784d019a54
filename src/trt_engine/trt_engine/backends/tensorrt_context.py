# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What runs an engine: an execution context with the memory of its inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from threading import Lock
from typing import Any

import numpy as np

from trt_engine.backend import Array
from trt_engine.backend import TensorInfo
from trt_engine.backends.checks import check_inputs
from trt_engine.backends.tensorrt_loaded import LoadedEngine
from trt_engine.backends.tensorrt_memory import HostArray
from trt_engine.backends.tensorrt_memory import make_allocator
from trt_engine.backends.tensorrt_memory import VaryingOutput
from trt_engine.backends.tensorrt_profiles import check_profile
from trt_engine.backends.tensorrt_profiles import choose_profile
from trt_engine.backends.tensorrt_profiles import Shape
from trt_engine.cuda.runtime import DeviceArray
from trt_engine.cuda.runtime import Stream
from trt_engine.errors import InferenceError

Memory = DeviceArray | HostArray


class EngineContext:
    """Runs of an engine with shapes of its own; one thread at a time may use it.

    A CUDA graph holds what the context had when it was recorded: after another `prepare` it is to
    be recorded again, so give each graph of other shapes a context of its own.
    """

    def __init__(
        self,
        loaded: LoadedEngine,
        shapes: Mapping[str, Shape] | None = None,
        *,
        stream: Stream | None = None,
        profile: int | None = None,
    ) -> None:
        """Reserve all memory.

        Args:
            loaded: The engine.
            shapes: As for `prepare`; None: those that its profile was tuned for.
            stream: Where it runs; None: that of the engine's arena, else one of its own.
            profile: The one profile that it uses; None: the first that takes the shapes.

        Raises:
            InferenceError: The engine does not take the shapes, there is not enough memory, or
                the stream is not that of the arena.
        """
        self._loaded = loaded
        self._explicit = profile
        self._resources = ExitStack()
        self._memory: dict[str, Memory] = {}
        self._varying: dict[str, VaryingOutput] = {}
        self._shapes: dict[str, Shape] = {}
        self._scratch = 0
        self._busy = Lock()
        self._context: Any = None
        self._inputs = [each for each in loaded.tensors if each.mode == 'input']
        self._changing = [each for each in self._inputs if -1 in each.shape]
        try:
            self._stream = self._choose_stream(stream)
            self._create()
            self.prepare(self._tuned_shapes() if shapes is None else shapes)
        except BaseException:
            self.close()
            raise

    @property
    def stream(self) -> Stream:
        """Return the stream that it runs in."""
        return self._stream

    @property
    def closed(self) -> bool:
        """Return whether `close` was called."""
        return self._context is None

    @property
    def memory(self) -> Mapping[str, Memory]:
        """Return where each input and output lies, but for those of `varying`."""
        return self._memory

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """Return input -> shape, as last prepared."""
        return {each.name: self._shapes.get(each.name, each.shape) for each in self._inputs}

    @property
    def varying(self) -> tuple[str, ...]:
        """Return the outputs whose shapes follow from values, and are known after a run only."""
        return tuple(self._varying)

    @property
    def capturable(self) -> bool:
        """Return whether nothing is known against recording a run in a CUDA graph."""
        return not self.no_graph

    @property
    def no_graph(self) -> str:
        """Return why a run cannot be recorded in a CUDA graph; '' if nothing is known against it.

        Then TensorRT may still refuse it, such as for a loop inside the network.
        """
        if self._varying:
            return (
                f'the size of output {next(iter(self._varying))!r} depends on the values of the '
                'input: TensorRT waits for it on the CPU'
            )
        on_host = [each.name for each in self._inputs if each.name in self._loaded.on_host]
        if on_host:
            return f'input {on_host[0]!r} is a shape that TensorRT reads on the CPU'
        return self._loaded.no_graph

    def prepare(self, shapes: Mapping[str, Shape]) -> None:
        """Have memory for inputs of these shapes and for what comes of them; it may move.

        The profile is switched where these shapes take another.

        Args:
            shapes: Input -> shape, of at least the inputs whose shapes vary.

        Raises:
            InferenceError: A shape is missing, the engine does not take them, or there is not
                enough memory. The context must be prepared again before it runs.
        """
        self._require_open()
        missing = [each.name for each in self._changing if each.name not in shapes]
        if missing:
            raise InferenceError(
                f'{self._loaded.identity}: no shape for the inputs {missing}, whose shapes vary; '
                f'got {sorted(shapes)}; give a shape for each'
            )
        wanted = {each.name: tuple(shapes[each.name]) for each in self._changing}
        if self._shapes == wanted and self._memory:
            return
        mark = self._loaded.hearing.mark()
        profile = choose_profile(
            self._loaded.profiles, wanted, self._loaded.identity, self._explicit
        )
        self._shapes = {}
        if self._changing:
            self._use_profile(profile, mark)
        for info in self._changing:
            if not self._context.set_input_shape(info.name, wanted[info.name]):
                raise self._loaded.failure(
                    f'input {info.name!r} got the shape {list(wanted[info.name])}, which TensorRT '
                    'refuses', mark,
                )  # fmt: skip
        for info in self._inputs:
            self._reserve(info, wanted.get(info.name, info.shape))
        for info in self._loaded.tensors:
            if info.mode == 'output' and info.name not in self._varying:
                self._reserve_output(info)
        self._shapes = wanted

    def enqueue(self) -> None:
        """Put one run into the stream, on what the memory holds.

        Raises:
            InferenceError: The run failed.
        """
        self._require_open()
        mark = self._loaded.hearing.mark()
        arena = self._loaded.arena
        if arena is not None:
            self._bind(arena.use())
        for output in self._varying.values():
            output.start()
        if not self._context.execute_async_v3(self._stream.handle):
            short = next((each.failure for each in self._varying.values() if each.failure), None)
            why = f': {short}' if short else ''
            raise self._loaded.failure(f'the run failed{why}', mark) from short

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run once; the arrays returned are overwritten by the next run.

        Raises:
            InferenceError: An input is missing, unknown or misshapen, the run failed, or another
                thread is in a run of this context.
        """
        if not self._busy.acquire(blocking=False):
            raise InferenceError(
                f'{self._loaded.identity}: a second thread began a run while one is under way; a '
                'context serves one thread at a time: take one for each with backend.context()'
            )
        try:
            return self._run(inputs)
        finally:
            self._busy.release()

    def close(self) -> None:
        """Free everything; a second call does nothing."""
        self._context = None  # first: it holds addresses of what is freed next
        self._memory.clear()
        self._varying.clear()
        self._resources.close()

    def _require_open(self) -> None:
        if self._context is None:
            raise InferenceError(f'{self._loaded.identity}: run after close; load it again')

    def _run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        self._require_open()
        check_inputs(self._loaded.tensors, inputs, self._loaded.identity)
        self.prepare({name: array.shape for name, array in inputs.items()})
        for name, array in inputs.items():
            memory = self._memory[name]
            np.copyto(memory.host, array)
            memory.upload(self._stream)
        self.enqueue()
        outputs = {name: each for name, each in self._memory.items() if name not in inputs}
        for memory in outputs.values():
            memory.download(self._stream)
        varying = {name: each.download(self._stream) for name, each in self._varying.items()}
        self._stream.synchronize()
        return {name: memory.host for name, memory in outputs.items()} | varying

    # --- making it -----------------------------------------------------------------------------

    def _choose_stream(self, stream: Stream | None) -> Stream:
        arena = self._loaded.arena
        if arena is not None:
            if stream not in (None, arena.stream):
                raise InferenceError(
                    f'{self._loaded.identity}: got a stream that is not that of the arena; all '
                    'that share an arena run in its stream: leave out stream, or arena'
                )
            return arena.stream
        if stream is None:
            stream = Stream()
            self._resources.callback(stream.close)
        return stream

    def _create(self) -> None:
        loaded = self._loaded
        mark = loaded.hearing.mark()
        self._context = loaded.create_context()
        if self._context is None:
            raise self._loaded.failure('cannot prepare this engine; is there enough memory?', mark)
        self._context.error_recorder = loaded.hearing.recorder
        if loaded.arena is not None:
            self._bind(loaded.arena.reserve(loaded.scratch_bytes))

    def _bind(self, scratch: int) -> None:
        """Have intermediate results in the arena, which moves while it grows."""
        if scratch == self._scratch:
            return
        tell = getattr(self._context, 'set_device_memory', None)  # TensorRT 10.1 and later
        if tell is not None:
            tell(scratch, self._loaded.scratch_bytes)
        else:
            self._context.device_memory = scratch
        self._scratch = scratch

    def _tuned_shapes(self) -> dict[str, Shape]:
        number = self._explicit or 0
        check_profile(self._loaded.profiles, number, self._loaded.identity)
        return {name: each.opt for name, each in self._loaded.profiles[number].items()}

    # --- shapes --------------------------------------------------------------------------------

    def _use_profile(self, number: int, mark: int) -> None:
        if self._context.active_optimization_profile == number:
            return
        try:
            done = self._context.set_optimization_profile_async(number, self._stream.handle)
        except RuntimeError:  # the bindings' word for False, which adds nothing
            done = False
        if not done:
            raise self._loaded.failure(f'profile {number} cannot be used', mark)
        self._stream.synchronize()  # what TensorRT copies for it is there before shapes are set
        for name, memory in self._memory.items():
            self._context.set_tensor_address(name, memory.pointer)

    def _reserve(self, info: TensorInfo, shape: Shape) -> None:
        memory = self._memory.get(info.name)
        if memory is None:
            kind = HostArray if info.name in self._loaded.on_host else DeviceArray
            memory = self._memory[info.name] = kind(shape, info.dtype)
            self._resources.callback(memory.close)
        elif memory.host.shape == shape:
            return
        else:
            memory.resize(shape)
        self._context.set_tensor_address(info.name, memory.pointer)

    def _reserve_output(self, info: TensorInfo) -> None:
        shape = info.shape
        if -1 in shape and not any(each.name in self._loaded.on_host for each in self._inputs):
            shape = tuple(self._context.get_tensor_shape(info.name))
        if -1 not in shape:
            self._reserve(info, shape)
            return
        if info.name in self._loaded.on_host:
            raise InferenceError(
                f'{self._loaded.identity}: output {info.name!r} has the shape {list(shape)} and '
                'lies on the CPU: how large it gets cannot be known; export the model without it'
            )
        output = VaryingOutput(info.name, info.dtype)
        self._resources.callback(output.close)
        allocator = make_allocator(self._loaded.library, output)
        if not self._context.set_output_allocator(info.name, allocator):
            raise InferenceError(
                f'{self._loaded.identity}: output {info.name!r} has the shape {list(shape)}, and '
                'TensorRT takes no allocator for it; export the model without NonZero and NMS (the '
                'decoder does NMS)'
            )
        self._varying[info.name] = output
