# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""TensorRT, or TensorRT-RTX, on the GPU or a DLA core: the one file that runs engines.

Only calls that TensorRT 8.6 to 11 share, each tensor by its name; enum members by theirs, as their
numbers moved.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import ExitStack
import importlib
from pathlib import Path
import re
from typing import Any
from typing import Literal

import numpy as np

from trt_engine.backend import Array
from trt_engine.backend import TensorInfo
from trt_engine.backends.checks import check_inputs
from trt_engine.cuda.runtime import device_name
from trt_engine.cuda.runtime import DeviceArray
from trt_engine.cuda.runtime import Stream
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import EngineMismatchError
from trt_engine.errors import InferenceError
from trt_engine.errors import ModelLoadError
from trt_engine.platform import TENSORRT_MODULES

Flavour = Literal['tensorrt', 'tensorrt_rtx']

_TITLES: Mapping[str, str] = {'tensorrt': 'TensorRT', 'tensorrt_rtx': 'TensorRT-RTX'}
_ERROR_LINES = 5
# what TensorRT logs of an engine that it will never load; other reasons may pass, such as memory
_FOREIGN = re.compile(
    'not compatible with this version|Version tag does not match|incompatible device|'
    'Serialization assertion|[Mm]agic ?[Tt]ag'
)
_DTYPES = {
    'FLOAT': np.float32,
    'HALF': np.float16,
    'INT8': np.int8,
    'UINT8': np.uint8,
    'INT32': np.int32,
    'INT64': np.int64,
    'BOOL': np.bool_,
}


class TensorRtBackend:
    """An engine with an execution context, a stream, and memory for its inputs and outputs.

    Inputs may have any shape of the engine's first optimisation profile, from run to run.

    Args:
        plan: The serialized engine. Loading it runs code that it may contain: take it from the
            store, which looks at who could have written it.
        flavour: Whose engine it is.
        dla_core: The DLA core that it was built for; None for the GPU.
        plugins: Plugin libraries to load first.
        version_compatible: Whether the engine brings a runtime of its own, for other versions.
        label: What diagnostics call the engine, such as the first digits of its key.

    Raises:
        BackendUnavailableError: The library, cuda-bindings, the GPU or the DLA core is missing.
        ModelLoadError: The engine is missing, damaged, of another version or GPU, or has inputs or
            outputs that cannot be served.
    """

    def __init__(
        self,
        plan: Path,
        *,
        flavour: Flavour = 'tensorrt',
        dla_core: int | None = None,
        plugins: Sequence[str] = (),
        version_compatible: bool = False,
        label: str = '',
    ) -> None:
        self._heard: deque[str] = deque(maxlen=_ERROR_LINES)
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._resources = ExitStack()
        self._memory: dict[str, DeviceArray] = {}
        self._library = _import(flavour)
        self._identity = f'{_TITLES[flavour]} {self._library.__version__}'
        try:
            # first, as CUDA says better than TensorRT that there is no GPU or driver
            self._stream = Stream()
            self._resources.callback(self._stream.close)
            self._identity += f', {device_name()}'
            self._start(flavour, dla_core)
            self._load_plugins(flavour, plugins)
            self._load(plan, version_compatible)
            self._identity += f', {label or plan.name}'
            self._tensors = tuple(self._describe())
            # inputs first: from their shapes follow those of the outputs
            self._changing = [info for info in self._tensors if -1 in info.shape]
            self._prepare()
        except InferenceError as exc:
            self.close()
            raise ModelLoadError(f'{plan}: {exc}') from exc
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """Return tensorrt."""
        return 'tensorrt'

    @property
    def identity(self) -> str:
        """Return library, version, device and engine in one line."""
        return self._identity

    @property
    def tensors(self) -> tuple[TensorInfo, ...]:
        """Return every input and output, inputs first."""
        return self._tensors

    @property
    def stream(self) -> Stream:
        """Return the stream that the engine runs in."""
        return self._stream

    @property
    def memory(self) -> Mapping[str, DeviceArray]:
        """Return where each input and output lies, for who fills and reads them on the GPU."""
        return self._memory

    def prepare(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Have memory for inputs of these shapes and for what comes of them; it may move.

        Args:
            shapes: Input -> shape, of at least the inputs whose shapes vary.

        Raises:
            InferenceError: The engine does not take them, or there is not enough memory.
        """
        self._heard.clear()
        for info in self._changing:
            if info.mode == 'input':
                self._set_shape(info, shapes[info.name])
            else:
                self._reserve(info, self._output_shape(info.name))

    def enqueue(self) -> None:
        """Put one run into the stream, on what the GPU's memory holds.

        Raises:
            InferenceError: The run failed.
        """
        self._heard.clear()
        if not self._context.execute_async_v3(self._stream.handle):
            raise InferenceError(self._with_reasons(f'{self._identity}: the run failed'))

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run once; the arrays returned are overwritten by the next run.

        Raises:
            InferenceError: An input is missing, unknown or misshapen, or the run failed.
        """
        if self._context is None:
            raise InferenceError(f'{self._identity}: run after close')
        check_inputs(self._tensors, inputs, self._identity)
        self.prepare({name: array.shape for name, array in inputs.items()})
        for name, array in inputs.items():
            np.copyto(self._memory[name].host, array)
            self._memory[name].upload(self._stream)
        self.enqueue()
        outputs = {name: each for name, each in self._memory.items() if name not in inputs}
        for memory in outputs.values():
            memory.download(self._stream)
        self._stream.synchronize()
        return {name: memory.host for name, memory in outputs.items()}

    def close(self) -> None:
        """Free everything; a second call does nothing."""
        # before the plugins that they are made of, which are among the resources
        self._context = None
        self._engine = None
        self._runtime = None
        self._resources.close()

    # --- loading -------------------------------------------------------------------------------

    def _start(self, flavour: Flavour, dla_core: int | None) -> None:
        self._logger = _make_logger(self._library, self._heard)
        try:
            self._runtime = self._library.Runtime(self._logger)
        except (TypeError, RuntimeError) as exc:  # pybind's words for a factory that gave nothing
            raise BackendUnavailableError(
                self._with_reasons(f'{self._identity}: the runtime does not start: {exc}')
            ) from exc
        if dla_core is None:
            return
        cores = self._runtime.num_DLA_cores
        if dla_core >= cores:
            raise BackendUnavailableError(
                f'{self._identity}: the engine is for DLA core {dla_core}, and {cores} DLA cores '
                'are here; in a container their device nodes may be missing; else build for the '
                'GPU: dla.core: null'
            )
        # before the engine is loaded: later it is ignored, and core 0 taken
        self._runtime.DLA_core = dla_core
        self._identity += f' DLA {dla_core}'

    def _load_plugins(self, flavour: Flavour, plugins: Sequence[str]) -> None:
        if flavour == 'tensorrt':
            self._library.init_libnvinfer_plugins(self._logger, '')
        for path in plugins:
            registry = self._library.get_plugin_registry()
            handle = registry.load_library(path)
            if handle is None:
                raise ModelLoadError(
                    self._with_reasons(f'{path}: {self._identity} cannot load this plugin library')
                )
            self._resources.callback(registry.deregister_library, handle)

    def _load(self, plan: Path, version_compatible: bool) -> None:
        try:
            content = plan.read_bytes()
        except OSError as exc:
            raise ModelLoadError(
                f'{plan}: the engine cannot be read: {exc.strerror or exc}'
            ) from exc
        if version_compatible:
            self._runtime.engine_host_code_allowed = True
        self._engine = self._runtime.deserialize_cuda_engine(content)
        del content  # on a Jetson it is the memory that the context wants
        if self._engine is None:
            foreign = any(_FOREIGN.search(line) for line in self._heard)
            kind = EngineMismatchError if foreign else ModelLoadError
            raise kind(
                self._with_reasons(f'{plan}: {self._identity} cannot load this engine')
                + '. An engine fits one version of TensorRT and one model of GPU: build it again, '
                'here (ros2 run trt_builder trt_build --force)'
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise ModelLoadError(
                self._with_reasons(f'{plan}: {self._identity} cannot prepare this engine; is '
                'there enough memory?')
            )  # fmt: skip

    # No frame of these keeps the engine in a variable: a traceback would keep it past `close`.

    def _describe(self) -> list[TensorInfo]:
        count = self._engine.num_io_tensors
        infos = [self._info(self._engine.get_tensor_name(index)) for index in range(count)]
        return sorted(infos, key=lambda info: info.mode)  # inputs first; sorting keeps the order

    def _info(self, name: str) -> TensorInfo:
        mode: Literal['input', 'output'] = (
            'input' if self._engine.get_tensor_mode(name).name == 'INPUT' else 'output'
        )
        dtype = self._engine.get_tensor_dtype(name).name
        layout = self._engine.get_tensor_format(name).name
        what = f'{self._identity}: {mode} {name!r}'
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
        if self._engine.get_tensor_location(name).name == 'HOST':
            raise ModelLoadError(
                f'{what} is a shape that TensorRT wants on the CPU, which is not served here; '
                'make it a constant of the model'
            )
        shape = tuple(self._engine.get_tensor_shape(name))
        return TensorInfo(name, mode, np.dtype(_DTYPES[dtype]), shape)

    def _prepare(self) -> None:
        """Reserve memory; where shapes vary, for those that the engine was tuned for."""
        for info in self._tensors:
            if info.mode == 'output':
                self._reserve(info, self._output_shape(info.name))
            elif -1 in info.shape:
                _, best, _ = self._engine.get_tensor_profile_shape(info.name, 0)
                self._set_shape(info, tuple(best))
            else:
                self._reserve(info, info.shape)

    # --- shapes --------------------------------------------------------------------------------

    def _set_shape(self, info: TensorInfo, shape: tuple[int, ...]) -> None:
        if not self._context.set_input_shape(info.name, shape):
            low, _, high = self._engine.get_tensor_profile_shape(info.name, 0)
            raise InferenceError(
                self._with_reasons(
                    f'{self._identity}: input {info.name!r} got the shape {list(shape)}, the '
                    f'engine takes {list(low)} to {list(high)}; widen build.profiles in the card'
                )
            )
        self._reserve(info, shape)

    def _output_shape(self, name: str) -> tuple[int, ...]:
        shape = tuple(self._context.get_tensor_shape(name))
        if -1 in shape:
            raise InferenceError(
                f'{self._identity}: output {name!r} has the shape {list(shape)}: its size depends '
                'on the values of the input, which is not served here; export the model without '
                'NonZero and NMS (the decoder does NMS)'
            )
        return shape

    def _reserve(self, info: TensorInfo, shape: tuple[int, ...]) -> None:
        memory = self._memory.get(info.name)
        if memory is None:
            memory = self._memory[info.name] = DeviceArray(shape, info.dtype)
            self._resources.callback(memory.close)
        elif memory.host.shape == shape:
            return
        else:
            memory.resize(shape)
        self._context.set_tensor_address(info.name, memory.pointer)

    def _with_reasons(self, what: str) -> str:
        reasons = '; '.join(self._heard)
        return f'{what}; TensorRT says: {reasons}' if reasons else what


def _import(flavour: Flavour) -> Any:
    reasons = []
    for name in TENSORRT_MODULES[flavour]:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as exc:  # OSError: a shared library of it is missing
            reasons.append(f'{name}: {exc}')
    hint = (
        'on a Jetson: sudo apt install python3-libnvinfer; elsewhere: pip install tensorrt'
        if flavour == 'tensorrt'
        else 'pip install tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings'
    )
    raise BackendUnavailableError(
        f'{_TITLES[flavour]} cannot be imported ({"; ".join(reasons)}); {hint}'
    )


def _make_logger(library: Any, heard: deque[str]) -> Any:
    class Logger(library.ILogger):  # type: ignore[misc]
        """Keeps what went wrong: a call that fails returns None or False, and says no more."""

        def __init__(self) -> None:
            library.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity.name in ('ERROR', 'INTERNAL_ERROR'):
                heard.append(message.strip())

    return Logger()
