# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A deserialized engine: what it takes and gives, and the memory it wants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from typing import Literal

import numpy as np

from trt_engine.backend import TensorInfo
from trt_engine.backends.tensorrt_answers import with_answers
from trt_engine.backends.tensorrt_hearing import hearing
from trt_engine.backends.tensorrt_profiles import Profile
from trt_engine.build_settings import ShapeRange
from trt_engine.cuda.arena import Arena
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import InferenceError
from trt_engine.errors import ModelLoadError

_MIB = 1 << 20
_DTYPES: Mapping[str, type[Any]] = {
    'FLOAT': np.float32,
    'HALF': np.float16,
    'INT8': np.int8,
    'UINT8': np.uint8,
    'INT32': np.int32,
    'INT64': np.int64,
    'BOOL': np.bool_,
}


class LoadedEngine:
    """What all contexts of one engine share.

    The engine itself is in no variable of a frame: the traceback of an error would keep it past
    `close`, and the plugins that it is made of would be gone before it.

    Attributes:
        library: The module of TensorRT.
        identity: Of library, device and engine, for errors.
        hearing: Where TensorRT's words are.
        arena: Where intermediate results go; None: each context has memory of its own for them.
        engine: The engine; None before it is loaded and once it is closed.
        tensors: Every input and output, inputs first.
        on_host: Names of those that TensorRT wants on the CPU.
        profiles: What each profile takes.
        no_graph: Why runs cannot be recorded in a CUDA graph; '' if nothing is known against it.
        streamed_bytes: Weights that stay on the CPU and are brought to the GPU in each run.
    """

    def __init__(self, library: Any, arena: Arena | None) -> None:
        self.library = library
        self.identity = ''
        self.hearing = hearing(library)
        self.arena = arena
        self.engine: Any = None
        self.tensors: tuple[TensorInfo, ...] = ()
        self.on_host: frozenset[str] = frozenset()
        self.profiles: tuple[Profile, ...] = ()
        self.no_graph = ''
        self.streamed_bytes = 0

    def describe(self) -> None:
        """Find out what the engine takes and gives.

        Raises:
            ModelLoadError: An input or output cannot be served.
        """
        self.engine.error_recorder = self.hearing.recorder
        names = [self.engine.get_tensor_name(i) for i in range(self.engine.num_io_tensors)]
        # inputs first; sorting keeps the order
        self.tensors = tuple(sorted(map(self._info, names), key=lambda info: info.mode))
        self.on_host = frozenset(
            name for name in names if self.engine.get_tensor_location(name).name == 'HOST'
        )
        changing = [each.name for each in self.tensors if each.mode == 'input' and -1 in each.shape]
        self.profiles = tuple(
            {name: self._range(name, number) for name in changing}
            for number in range(self.engine.num_optimization_profiles)
        )

    def limit_weights(self, budget_mib: int) -> None:
        """Keep so much of the weights on the GPU; before the first context.

        Raises:
            BackendUnavailableError: This TensorRT streams no weights.
            ModelLoadError: The engine was not built for it, or TensorRT refuses.
        """
        what = f'{self.identity}: weight_streaming_mib is {budget_mib}'
        if not hasattr(type(self.engine), 'weight_streaming_budget_v2'):
            raise BackendUnavailableError(
                f'{what}, which needs TensorRT 10.1 or later; leave it out'
            )
        most = self.engine.streamable_weights_size
        if not most:
            raise ModelLoadError(
                f'{what}, and the engine has no weights that can be streamed: it was not built for '
                'that; build it with weight_streaming: true in the card, or leave it out'
            )
        mark = self.hearing.mark()
        budget = min(budget_mib * _MIB, most)
        self.engine.weight_streaming_budget_v2 = budget
        taken = self.engine.weight_streaming_budget_v2
        if taken != budget:
            text = (
                f'{what}, and TensorRT stays at {taken / _MIB:.1f} MiB of {most / _MIB:.1f} MiB; '
                'ask for another amount'
            )
            raise ModelLoadError(with_answers(text, self.hearing.since(mark)))
        self.streamed_bytes = most - budget
        if self.streamed_bytes:
            self.no_graph = 'weights are streamed, which TensorRT does from the CPU'

    def create_context(self) -> Any:
        """Return an execution context, None where that fails.

        With an arena it is yet to be told where that is.
        """
        if self.arena is None:
            return self.engine.create_execution_context()
        strategies = getattr(self.library, 'ExecutionContextAllocationStrategy', None)
        if strategies is None:  # before TensorRT 10
            return self.engine.create_execution_context_without_device_memory()
        return self.engine.create_execution_context(strategies.USER_MANAGED)

    @property
    def scratch_bytes(self) -> int:
        """Return how much memory a context needs for intermediate results, whatever its shapes."""
        is_newer = hasattr(type(self.engine), 'device_memory_size_v2')  # TensorRT 10.1 and later
        size: int = (
            self.engine.device_memory_size_v2 if is_newer else self.engine.device_memory_size
        )
        return size

    def failure(self, what: str, mark: int) -> InferenceError:
        """Return an error with TensorRT's words since a mark."""
        return InferenceError(with_answers(f'{self.identity}: {what}', self.hearing.since(mark)))

    def close(self) -> None:
        """Let the engine go, after its contexts; a second call does nothing."""
        self.engine = None

    def _info(self, name: str) -> TensorInfo:
        mode: Literal['input', 'output'] = (
            'input' if self.engine.get_tensor_mode(name).name == 'INPUT' else 'output'
        )
        dtype = self.engine.get_tensor_dtype(name).name
        layout = self.engine.get_tensor_format(name).name
        what = f'{self.identity}: {mode} {name!r}'
        if dtype not in _DTYPES:
            raise ModelLoadError(
                f'{what} is {dtype}, which NumPy does not have; allowed: {", ".join(_DTYPES)}; '
                f'set build.io.{name}.dtype in the card'
            )
        if layout != 'LINEAR':
            raise ModelLoadError(
                f'{what} lies in memory as {layout}, and only LINEAR is served here; leave out '
                f'build.io.{name}.format in the card'
            )
        try:
            shape = tuple(self.engine.get_tensor_shape(name))
        except ValueError as exc:  # no number of dimensions at all
            raise ModelLoadError(
                f'{what} has no shape that TensorRT could tell. TensorRT 8.6 makes such engines of '
                'networks of fixed inputs with an output whose size depends on values, where no '
                'profile is given; build it with trt_build, which gives one'
            ) from exc
        return TensorInfo(name, mode, np.dtype(_DTYPES[dtype]), shape)

    def _range(self, name: str, profile: int) -> ShapeRange:
        low, best, high = self.engine.get_tensor_profile_shape(name, profile)
        return ShapeRange(tuple(low), tuple(best), tuple(high))
