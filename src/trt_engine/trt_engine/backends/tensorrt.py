# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""TensorRT, or TensorRT-RTX, on the GPU or a DLA core: the one file that loads the library.

Only calls that TensorRT 8.6 to 11 share, each tensor by its name; enum members by theirs, as their
numbers moved. What some versions lack is looked up by name, in the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import ExitStack
import importlib
from pathlib import Path
from typing import Any
from typing import Literal

from trt_engine.backend import Array
from trt_engine.backend import TensorInfo
from trt_engine.backends.tensorrt_answers import is_foreign
from trt_engine.backends.tensorrt_answers import REBUILD
from trt_engine.backends.tensorrt_answers import with_answers
from trt_engine.backends.tensorrt_context import EngineContext
from trt_engine.backends.tensorrt_context import Memory
from trt_engine.backends.tensorrt_loaded import LoadedEngine
from trt_engine.backends.tensorrt_profiles import Profile
from trt_engine.backends.tensorrt_profiles import Shape
from trt_engine.cuda.arena import Arena
from trt_engine.cuda.runtime import device_name
from trt_engine.cuda.runtime import Stream
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import EngineMismatchError
from trt_engine.errors import InferenceError
from trt_engine.errors import ModelLoadError
from trt_engine.platform import TENSORRT_MODULES

Flavour = Literal['tensorrt', 'tensorrt_rtx']

_TITLES: Mapping[str, str] = {'tensorrt': 'TensorRT', 'tensorrt_rtx': 'TensorRT-RTX'}


class TensorRtBackend:
    """A loaded engine, and a context that runs it; more contexts come from `context`.

    Inputs may have any shape that a profile of the engine takes, from run to run.

    Args:
        plan: The serialized engine. Loading it runs code that it may contain: take it from the
            store, which looks at who could have written it.
        flavour: Whose engine it is.
        dla_core: The DLA core that it was built for; None for the GPU.
        plugins: Plugin libraries to load first.
        version_compatible: Whether the engine brings a runtime of its own, for other versions.
        label: What diagnostics call the engine, such as the first digits of its key.
        stream: The stream of the first context; None: that of the arena, else one of its own.
        profile: The one profile that the first context uses; None: the first that takes the
            shapes, from run to run.
        arena: Memory for intermediate results that other engines share; all run in its stream.
        own_arena: Have all contexts of this engine share such memory, if `arena` is None; all run
            in one stream.
        weight_streaming_mib: How much of the weights stays on the GPU, in MiB; the others are
            brought there in each run. None: all stay. TensorRT 10.1 or later, and engines that
            were built for it.

    Raises:
        BackendUnavailableError: The library, cuda-bindings, the GPU or the DLA core is missing, or
            the library is too old for what is asked.
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
        stream: Stream | None = None,
        profile: int | None = None,
        arena: Arena | None = None,
        own_arena: bool = False,
        weight_streaming_mib: int | None = None,
    ) -> None:
        self._runtime: Any = None
        self._contexts: list[EngineContext] = []
        self._resources = ExitStack()
        self._library = _import(flavour)
        self._loaded = LoadedEngine(self._library, arena)
        self._hearing = self._loaded.hearing
        self._identity = f'{_TITLES[flavour]} {self._library.__version__}'
        try:
            if stream is None and arena is None:
                # first, as CUDA says better than TensorRT that there is no GPU or driver
                stream = Stream()
                self._resources.callback(stream.close)
            if own_arena and arena is None:
                assert stream is not None
                self._loaded.arena = Arena(stream)
                self._resources.callback(self._loaded.arena.close)
            self._identity += f', {device_name()}'
            self._start(flavour, dla_core)
            self._load_plugins(flavour, plugins)
            self._load(plan, version_compatible)
            self._identity += f', {label or plan.name}'
            self._loaded.identity = self._identity
            self._loaded.describe()
            if weight_streaming_mib is not None:
                self._loaded.limit_weights(weight_streaming_mib)
            self._first = EngineContext(self._loaded, stream=stream, profile=profile)
            self._contexts.append(self._first)
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
        return self._loaded.tensors

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """Return what each optimisation profile takes: input -> shapes, of inputs that vary."""
        return self._loaded.profiles

    @property
    def stream(self) -> Stream:
        """Return the stream that the first context runs in."""
        return self._first.stream

    @property
    def memory(self) -> Mapping[str, Memory]:
        """Return where each input and output lies, for who fills and reads them on the GPU.

        Outputs of `varying` are not among them.
        """
        return self._first.memory

    @property
    def plan_bytes(self) -> int:
        """Return the size of the serialized engine, which holds weights and kernels."""
        return self._plan_bytes

    @property
    def streamed_bytes(self) -> int:
        """Return the size of the weights that are not on the GPU, but brought there in each run."""
        return self._loaded.streamed_bytes

    @property
    def activation_bytes(self) -> int:
        """Return what its contexts take for intermediate results, scratch of kernels included."""
        share = self._loaded.arena is not None
        return self._loaded.scratch_bytes * (1 if share else len(self.contexts))

    @property
    def contexts(self) -> tuple[EngineContext, ...]:
        """Return what runs it: the first context, and those that were asked for since."""
        return tuple(each for each in self._contexts if not each.closed)

    @property
    def varying(self) -> tuple[str, ...]:
        """Return the outputs whose shapes follow from values, and are known after a run only."""
        return self._first.varying

    @property
    def capturable(self) -> bool:
        """Return whether nothing is known against recording runs in a CUDA graph."""
        return self._first.capturable

    @property
    def no_graph(self) -> str:
        """Return why runs cannot be recorded in a CUDA graph; '' if nothing is known against it."""
        return self._first.no_graph

    def context(
        self,
        shapes: Mapping[str, Shape] | None = None,
        *,
        stream: Stream | None = None,
        profile: int | None = None,
    ) -> EngineContext:
        """Return another context: for another thread, or for a CUDA graph of other shapes.

        Args:
            shapes: Input -> shape, of at least the inputs whose shapes vary; None: those that the
                profile was tuned for.
            stream: Where it runs; None: that of the arena, else one of its own.
            profile: The one profile that it uses; None: the first that takes the shapes.

        Raises:
            InferenceError: The engine does not take the shapes, there is not enough memory, or the
                engine is closed.
        """
        if self._loaded.engine is None:
            raise InferenceError(f'{self._identity}: context after close; load it again')
        context = EngineContext(self._loaded, shapes, stream=stream, profile=profile)
        self._contexts = [*(each for each in self._contexts if not each.closed), context]
        return context

    def prepare(self, shapes: Mapping[str, Shape]) -> None:
        """Have memory for inputs of these shapes and for what comes of them; it may move.

        Args:
            shapes: Input -> shape, of at least the inputs whose shapes vary.

        Raises:
            InferenceError: The engine does not take them, or there is not enough memory.
        """
        self._first.prepare(shapes)

    def enqueue(self) -> None:
        """Put one run into the stream, on what the GPU's memory holds.

        Raises:
            InferenceError: The run failed.
        """
        self._first.enqueue()

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run once; the arrays returned are overwritten by the next run.

        Raises:
            InferenceError: An input is missing, unknown or misshapen, the run failed, or another
                thread is in a run.
        """
        return self._first.run(inputs)

    def close(self) -> None:
        """Free everything, contexts too; a second call does nothing."""
        while self._contexts:
            self._contexts.pop().close()
        # before the plugins that they are made of, which are among the resources
        self._loaded.close()
        self._runtime = None
        self._resources.close()

    # --- loading -------------------------------------------------------------------------------

    def _start(self, flavour: Flavour, dla_core: int | None) -> None:
        mark = self._hearing.mark()
        try:
            self._runtime = self._library.Runtime(self._hearing.logger)
        except (TypeError, RuntimeError) as exc:  # pybind's words for a factory that gave nothing
            raise BackendUnavailableError(
                self._with_reasons(f'{self._identity}: the runtime does not start: {exc}', mark)
            ) from exc
        self._runtime.error_recorder = self._hearing.recorder
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
            self._library.init_libnvinfer_plugins(self._hearing.logger, '')
        for path in plugins:
            mark = self._hearing.mark()
            registry = self._library.get_plugin_registry()
            handle = registry.load_library(path)
            if handle is None:
                what = f'{path}: {self._identity} cannot load this plugin library'
                raise ModelLoadError(self._with_reasons(what, mark))
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
        self._plan_bytes = len(content)
        mark = self._hearing.mark()
        self._loaded.engine = self._runtime.deserialize_cuda_engine(content)
        del content  # on a Jetson it is the memory that the context wants
        if self._loaded.engine is None:
            foreign = is_foreign(self._hearing.since(mark))
            kind = EngineMismatchError if foreign else ModelLoadError
            raise kind(
                self._with_reasons(
                    f'{plan}: {self._identity} cannot load this engine',
                    mark,
                    f'If nothing else explains it, {REBUILD}',
                )
            )

    def _with_reasons(self, what: str, mark: int, otherwise: str = '') -> str:
        return with_answers(what, self._hearing.since(mark), otherwise)


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
