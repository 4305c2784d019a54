# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Builds an engine: the one file that talks to TensorRT's builder, from 8.6 to 11 and RTX.

What versions do not share is looked up by name through `compat`; nothing is imported before it is
needed. A build may crash or be killed: run it in a process of its own (`build_process`).
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
import importlib
import json
from pathlib import Path
import time
from typing import Any
from typing import Literal
from typing import TYPE_CHECKING

import numpy as np

from trt_builder.compat import check_version
from trt_builder.compat import describe
from trt_builder.compat import find
from trt_builder.compat import Flavour
from trt_builder.compat import has
from trt_builder.compat import INSTALL
from trt_builder.compat import parse_version
from trt_builder.compat import TITLES
from trt_builder.compat import Version
from trt_builder.known_failures import with_remedies
from trt_builder.known_failures import without_beside
from trt_builder.progress import LogPhases
from trt_builder.progress import Phases
from trt_builder.progress import Report
from trt_builder.settings import DATA_TYPES
from trt_builder.settings import Resolved
from trt_engine.backend import Array
from trt_engine.build_settings import Dla
from trt_engine.build_settings import ShapeRange
from trt_engine.errors import BackendError
from trt_engine.errors import BuildFailedError
from trt_engine.errors import BuildRefusedError
from trt_engine.errors import CalibrationError
from trt_engine.manifest import TensorRecord
from trt_engine.platform import TENSORRT_MODULES

if TYPE_CHECKING:
    import tensorrt as trt

Log = Callable[[str, str], None]  # severity, message
Mode = Literal['input', 'output']
Inputs = Mapping[str, Array]

MIB = 1 << 20
FUSES_GRID_SAMPLE: Version = (10,)  # rightly, from here on
SHARES_PROFILES: Version = (10,)  # without being asked to, from here on
_CALIBRATORS: Mapping[str, str] = {
    'entropy': 'IInt8EntropyCalibrator2',
    'minmax': 'IInt8MinMaxCalibrator',
    'legacy': 'IInt8LegacyCalibrator',
}
_NUMPY: Mapping[str, type[Any]] = {
    'FLOAT': np.float32, 'HALF': np.float16, 'INT32': np.int32, 'INT64': np.int64,
    'UINT8': np.uint8, 'INT8': np.int8, 'BOOL': np.bool_,
}  # fmt: skip
_ERRORS = ('INTERNAL_ERROR', 'ERROR')


@dataclass(frozen=True)
class Probe:
    """What the library says of itself and the machine, before any build."""

    flavour: Flavour
    version: Version
    dla_cores: int | None
    sm: str | None = None


@dataclass(frozen=True)
class BuildOutput:
    """What a build leaves.

    Attributes:
        plan: The engine.
        layers: What the inspector says of its layers, JSON; None where the engine cannot be
            loaded on this machine, as that of TensorRT-RTX without a GPU.
        tensors: Inputs, then outputs.
        seconds: Phase -> how long it took.
        timing_cache: Kernel times of this build and those before; None without a cache.
        calibration_cache: The table that the calibrator made or was given; None without one.
    """

    plan: bytes
    layers: str | None
    tensors: tuple[TensorRecord, ...]
    seconds: Mapping[str, float]
    timing_cache: bytes | None = None
    calibration_cache: bytes | None = None


@dataclass(frozen=True)
class CalibrationData:
    """What a calibrator calibrates from: network inputs, batch 1, or an earlier table."""

    samples: Iterable[Inputs] = ()
    count: int = 0
    cache: bytes | None = None


def probe(flavour: Flavour) -> Probe:
    """Return what the installed library is.

    Raises:
        BuildRefusedError: It is not installed, or does not start.
    """
    library = _library(flavour)
    version = _version(library, flavour)
    logger = _make_logger(library, lambda severity, message: None)
    cores = _make_builder(library, logger, flavour).num_DLA_cores
    return Probe(flavour, version, cores, _compute_capability())


def _compute_capability() -> str | None:
    from trt_engine.cuda.runtime import compute_capability

    try:
        return compute_capability()
    except BackendError:
        return None  # nobody can say: no GPU, or no cuda-bindings


def build(
    resolved: Resolved,
    model: Path,
    *,
    calibration: CalibrationData | None = None,
    timing_cache: bytes | None = None,
    report: Report,
    log: Log,
) -> BuildOutput:
    """Return the engine of an ONNX file.

    Args:
        resolved: What to tell TensorRT.
        model: The ONNX file; weights beside it are found.
        calibration: For `resolved.scales == 'calibrator'`.
        timing_cache: Kernel times of earlier builds.
        report: Told the phase, the fraction of the whole, and a message.
        log: Told all that TensorRT says but its verbose lines.

    Raises:
        BuildRefusedError: TensorRT is missing, or is not the one that `resolved` is for.
        BuildFailedError: TensorRT said no; with its words and, where known, the remedy.
        CalibrationError: The samples could not be read.
    """
    return _Build(resolved, model, calibration, report, log).run(timing_cache)


def ask_dla(model: Path, precision: str, *, log: Log) -> dict[str, bool]:
    """Return layer -> whether TensorRT would run it on DLA core 0 of this board.

    Args:
        model: The ONNX file.
        precision: fp16 or int8.
        log: Told all that TensorRT says but its verbose lines.

    Raises:
        BuildRefusedError: TensorRT is missing, or finds no DLA here.
        BuildFailedError: The ONNX parser refuses the file.
    """
    version = _version(_library('tensorrt'), 'tensorrt')
    typed = not has('BuilderFlag.FP16', 'tensorrt', version)
    flags = () if typed else ('FP16', 'INT8') if precision == 'int8' else ('FP16',)
    resolved = Resolved(
        'tensorrt', version, precision, strongly_typed=typed, flags=flags, dla=Dla(0, fallback=True)
    )
    return _Build(resolved, model, None, lambda *_: None, log).ask_dla()


def _library(flavour: Flavour) -> Any:
    """Return the Python module of a flavour."""
    reasons = []
    for name in TENSORRT_MODULES[flavour]:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as exc:
            reasons.append(f'{name}: {exc}')
    raise BuildRefusedError(
        f'{TITLES[flavour]} cannot be imported ({"; ".join(reasons)}); '
        f'{INSTALL[flavour]}, or choose the other --flavour'
    )


def _version(library: Any, flavour: Flavour) -> Version:
    version = parse_version(library.__version__)
    check_version(flavour, version)
    return version


def _make_logger(library: Any, tell: Log) -> trt.ILogger:
    class Logger(library.ILogger):  # type: ignore[misc]
        """Hands on what TensorRT says; what it returns on failure says nothing."""

        def __init__(self) -> None:
            library.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            tell(severity.name, message)

    logger: trt.ILogger = Logger()
    return logger


def _make_builder(library: Any, logger: trt.ILogger, flavour: Flavour) -> trt.Builder:
    try:
        builder: trt.Builder | None = library.Builder(logger)
    except (TypeError, RuntimeError) as exc:  # pybind's way to say that the factory gave nothing
        raise BuildRefusedError(
            f'{TITLES[flavour]} does not start: {exc}; is there a GPU, and its driver?'
        ) from exc
    if builder is None:
        raise BuildRefusedError(
            f'{TITLES[flavour]} does not start; is there a GPU, and its driver?'
        )
    return builder


class _Build:
    """One build; every object that TensorRT keeps pointers to lives as long as this does."""

    def __init__(
        self,
        resolved: Resolved,
        model: Path,
        calibration: CalibrationData | None,
        report: Report,
        log: Log,
    ) -> None:
        self.resolved, self.model, self.calibration = resolved, model, calibration
        self.report, self.write = report, log
        self.errors: list[str] = []
        self.seconds: dict[str, float] = {}
        self.log_phases: LogPhases | None = None
        self.calibrator: Any = None
        self.trying = False

    def ask_dla(self) -> dict[str, bool]:
        self._load()
        config = self.builder.create_builder_config()
        network = self._parse(config)
        self._configure(config)
        layers = (network.get_layer(index) for index in range(network.num_layers))
        return {layer.name: config.can_run_on_DLA(layer) for layer in layers}

    def run(self, timing_cache: bytes | None) -> BuildOutput:
        resolved = self.resolved
        with_calibrator = resolved.scales == 'calibrator'
        with self._phase('load', 0.0, 'loading TensorRT'):
            self._load()
        with self._phase('parse', 0.03, 'reading the model'):
            config = self.builder.create_builder_config()
            network = self._parse(config)
            tensors = tuple(self._tensors(network))
        with self._phase('configure', 0.06, 'applying the settings'):
            self._configure(config)
            self._set_io(network)
            self._set_layers(network, config)
            self._add_profiles(network, config)
            if with_calibrator:
                self._set_calibrator(network, config)
            cache = self._set_timing_cache(config, timing_cache)
            tensors = tuple(self._tensors(network))
        with self._phase('build', 0.1, 'building'):
            self._watch(config)
            plan = self.builder.build_serialized_network(network, config)
            self._refuse_failed_calibration()
            if plan is None:
                raise self._failure('TensorRT built no engine')
            data = bytes(plan)
            del plan
        with self._phase('inspect', 0.97, 'asking the engine about its layers'):
            layers = self._inspect(data)
        self.report('done', 1.0, f'{len(data) / MIB:.1f} MiB')
        return BuildOutput(
            plan=data,
            layers=layers,
            tensors=tensors,
            timing_cache=None if cache is None else bytes(cache.serialize()),
            calibration_cache=self.calibrator.cache if self.calibrator is not None else None,
            seconds=dict(self.seconds),
        )

    def _load(self) -> None:
        resolved = self.resolved
        self.library = _library(resolved.flavour)
        found = _version(self.library, resolved.flavour)
        if found[:3] != resolved.version[:3]:
            raise BuildRefusedError(
                f'the settings are for {describe(resolved.flavour, resolved.version)}, and '
                f'{describe(resolved.flavour, found)} is here; resolve them again'
            )
        self.logger = _make_logger(self.library, self._heard)
        self.builder = _make_builder(self.library, self.logger, resolved.flavour)
        self._load_plugins()

    def _refuse_failed_calibration(self) -> None:
        failure = None if self.calibrator is None else self.calibrator.failure
        if isinstance(failure, CalibrationError):
            raise failure
        if failure is not None:
            raise CalibrationError(
                f'calibration sample {self.calibrator.done + 1} cannot be used: {failure}'
            ) from failure

    # -- what TensorRT says ----------------------------------------------------------------------

    def _heard(self, severity: str, message: str) -> None:
        if severity == 'VERBOSE':
            if self.log_phases is not None and (told := self.log_phases.feed(message)):
                self._report_build(*told)
            return
        if self.trying:
            severity = 'INFO'
        if severity in _ERRORS:
            self.errors.append(message)
        self.write(severity, message)

    def _failure(self, what: str) -> BuildFailedError:
        return BuildFailedError(with_remedies(f'{self.model.name}: {what}', self.errors))

    def _phase(self, name: str, fraction: float, message: str) -> _Timed:
        self.report(name, fraction, message)
        return _Timed(name, self.seconds)

    def _report_build(self, fraction: float, message: str) -> None:
        self.report('build', 0.1 + 0.87 * fraction, message)

    def _watch(self, config: trt.IBuilderConfig) -> None:
        """Have the build report how far it is."""
        base = find(self.library, 'IProgressMonitor')
        if base is None:
            self.log_phases = LogPhases()
        else:
            self.monitor = _make_monitor(base, self._report_build)
            config.progress_monitor = self.monitor

    # -- the network -----------------------------------------------------------------------------

    def _load_plugins(self) -> None:
        if self.resolved.flavour == 'tensorrt':
            self.library.init_libnvinfer_plugins(self.logger, '')
        for path in self.resolved.plugins:
            if self.library.get_plugin_registry().load_library(path) is None:
                raise self._failure(f'the plugin library {path} cannot be loaded')

    def _parse(self, config: trt.IBuilderConfig) -> trt.INetworkDefinition:
        explicit = find(self.library, 'NetworkDefinitionCreationFlag.EXPLICIT_BATCH')
        network = self.builder.create_network(0 if explicit is None else 1 << int(explicit))
        # the network refers to weights that the parser owns
        self.parser: trt.OnnxParser = self.library.OnnxParser(network, self.logger)
        for name in self.resolved.parser_flags:
            self.parser.set_flag(self._enum('OnnxParserFlag', name))
        if 'REPORT_CAPABILITY_DLA' in self.resolved.parser_flags:
            find(self.library, 'OnnxParser.set_builder_config')(self.parser, config)
        if not self.parser.parse_from_file(str(self.model)):
            raise self._parser_failure()
        if not network.num_outputs:
            raise self._failure('the model has no outputs')
        if self.resolved.flavour == 'tensorrt' and self.resolved.version < FUSES_GRID_SAMPLE:
            self._expose_grid_samples(network)
        return network

    def _expose_grid_samples(self, network: trt.INetworkDefinition) -> None:
        """Make outputs of what TensorRT 8.6 would fuse wrongly (docs/engines.md)."""
        for index in range(network.num_layers):
            layer = network.get_layer(index)
            if layer.type.name == 'GRID_SAMPLE':
                network.mark_output(layer.get_output(0))
                self._heard(
                    'WARNING', f'{layer.name} becomes an output: TensorRT 8.6 miscomputes it fused'
                )

    def _parser_failure(self) -> BuildFailedError:
        has_names = find(self.library, 'ParserError.node_name') is not None
        texts = []
        for index in range(self.parser.num_errors):
            problem = self.parser.get_error(index)
            named = has_names and problem.node_name()
            where = f'{problem.node_operator()} {problem.node_name()!r}: ' if named else ''
            texts.append(f'{where}{without_beside(problem.desc())}')
        # the parser may have stopped at the first; it is asked of each operator
        unknown = [op for op in self._operators() if not self.parser.supports_operator(op)]
        if unknown:
            texts.append(f'operators that this parser does not know: {", ".join(unknown)}')
        return BuildFailedError(
            with_remedies(
                f'{self.model.name}: the ONNX parser refuses it: {"; ".join(texts)}', self.errors
            )
        )

    def _operators(self) -> Iterator[str]:
        import onnx

        model = onnx.load_model(self.model, load_external_data=False)
        yield from sorted({str(node.op_type) for node in model.graph.node})

    def _enum(self, kind: str, name: str) -> Any:
        member = find(self.library, f'{kind}.{name}')
        if member is None:
            title = describe(self.resolved.flavour, self.resolved.version)
            raise BuildRefusedError(f'{title} has no {kind}.{name}')
        return member

    def _io_tensors(self, network: trt.INetworkDefinition) -> Iterator[tuple[Mode, trt.ITensor]]:
        for index in range(network.num_inputs):
            yield 'input', network.get_input(index)
        for index in range(network.num_outputs):
            yield 'output', network.get_output(index)

    def _tensors(self, network: trt.INetworkDefinition) -> Iterator[TensorRecord]:
        for mode, tensor in self._io_tensors(network):
            yield TensorRecord(tensor.name, mode, tensor.dtype.name, _shape(tensor.shape))

    def _set_io(self, network: trt.INetworkDefinition) -> None:
        tensors = {tensor.name: tensor for _, tensor in self._io_tensors(network)}
        for name, form in self.resolved.io.items():
            tensor = tensors[name]
            if form.dtype is not None and not self.resolved.strongly_typed:
                tensor.dtype = self._enum('DataType', DATA_TYPES[form.dtype])
            if form.format is not None:
                layout = self._enum('TensorFormat', form.format.upper())
                tensor.allowed_formats = 1 << int(layout)

    def _set_layers(self, network: trt.INetworkDefinition, config: trt.IBuilderConfig) -> None:
        """Apply the rules for layers; one that fits no layer is a mistake, and is said."""
        dla = self.resolved.dla
        rules = () if self.resolved.strongly_typed else self.resolved.layer_rules
        if not rules and not dla.layer_device:
            return
        layers = [network.get_layer(index) for index in range(network.num_layers)]
        names = [layer.name for layer in layers]
        for pattern, fits in (
            *((rule.pattern, rule.matches) for rule in rules),
            *((rule.pattern, rule.matches) for rule in dla.layer_device),
        ):
            if not any(fits(name) for name in names):
                raise BuildRefusedError(
                    f'the layer rule {pattern!r} fits none of the {len(names)} layers, such as '
                    f'{names[0]!r} and {names[-1]!r}'
                )
        for layer in layers:
            rule = next((rule for rule in rules if rule.matches(layer.name)), None)
            if rule is not None:
                self._set_precision(layer, rule.precision)
            device = next((rule for rule in dla.layer_device if rule.matches(layer.name)), None)
            if device is not None:
                config.set_device_type(layer, self._enum('DeviceType', device.device.upper()))

    def _set_precision(self, layer: trt.ILayer, precision: str) -> None:
        outputs = [layer.get_output(index) for index in range(layer.num_outputs)]
        floats = [i for i, tensor in enumerate(outputs) if tensor.dtype.name in ('FLOAT', 'HALF')]
        if not floats or layer.type == self._enum('LayerType', 'CONSTANT'):
            return  # shapes and indices have no precision to choose
        kind = self._enum('DataType', DATA_TYPES[precision])
        layer.precision = kind
        if precision in ('fp32', 'fp16', 'bf16'):
            for index in floats:
                layer.set_output_type(index, kind)

    # -- the configuration -----------------------------------------------------------------------

    def _configure(self, config: trt.IBuilderConfig) -> None:
        resolved = self.resolved
        for name in resolved.flags:
            config.set_flag(self._enum('BuilderFlag', name))
        for name in resolved.cleared:
            config.clear_flag(self._enum('BuilderFlag', name))
        for name, mib in resolved.pools.items():
            config.set_memory_pool_limit(self._enum('MemoryPoolType', name), mib * MIB)
        if resolved.optimization_level is not None:
            config.builder_optimization_level = resolved.optimization_level
        if resolved.max_aux_streams is not None:
            config.max_aux_streams = resolved.max_aux_streams
        if resolved.tactic_sources is not None:
            bits = [1 << int(self._enum('TacticSource', n)) for n in resolved.tactic_sources]
            config.set_tactic_sources(sum(bits))
        if resolved.timing_iterations != 1:
            config.avg_timing_iterations = resolved.timing_iterations
        config.profiling_verbosity = self._enum('ProfilingVerbosity', resolved.verbosity)
        if resolved.hardware_compatibility != 'NONE':
            config.hardware_compatibility_level = self._enum(
                'HardwareCompatibilityLevel', resolved.hardware_compatibility
            )
        if resolved.plugins and 'VERSION_COMPATIBLE' in resolved.flags:
            config.plugins_to_serialize = list(resolved.plugins)
        self._set_dla(config)

    def _set_dla(self, config: trt.IBuilderConfig) -> None:
        core = self.resolved.dla.core
        if core is None:
            return
        cores = self.builder.num_DLA_cores
        if core >= cores:
            raise BuildRefusedError(
                f'dla.core is {core}, and TensorRT finds {cores} DLA cores here; Orin Nano and '
                'Thor have none, and in a container their device nodes may be missing; set '
                'dla.core: null'
            )
        config.default_device_type = self._enum('DeviceType', 'DLA')
        config.DLA_core = core

    def _add_profiles(self, network: trt.INetworkDefinition, config: trt.IBuilderConfig) -> None:
        profiles = self.resolved.profiles or self._profile_of_fixed(network)
        for shapes in profiles:
            profile = self.builder.create_optimization_profile()
            for name, each in shapes.items():
                dims = self.library.Dims
                profile.set_shape(name, dims(each.min), dims(each.opt), dims(each.max))
            if config.add_optimization_profile(profile) < 0:
                raise self._failure(f'the profile {dict(shapes)} is refused')
        asks = self.resolved.flavour == 'tensorrt' and self.resolved.version < SHARES_PROFILES
        if asks and profiles:
            # else one profile serves one context: no second thread, and no second CUDA graph
            sharing = self._enum('PreviewFeature', 'PROFILE_SHARING_0806')
            config.set_preview_feature(sharing, True)

    def _profile_of_fixed(
        self, network: trt.INetworkDefinition
    ) -> tuple[dict[str, ShapeRange], ...]:
        """Return a profile where TensorRT wants one of a network whose inputs are all fixed.

        8.6.0 builds such a network without one even if the size of an output depends on values,
        and then cannot make a context of it.
        """
        outputs = [network.get_output(i) for i in range(network.num_outputs)]
        varying = any(-1 in _shape(each.shape) for each in outputs)
        if self.resolved.flavour != 'tensorrt' or self.resolved.version >= (10,) or not varying:
            return ()
        inputs = [network.get_input(i) for i in range(network.num_inputs)]
        shapes = {each.name: _shape(each.shape) for each in inputs}
        return ({name: ShapeRange(shape, shape, shape) for name, shape in shapes.items()},)

    def _set_timing_cache(
        self, config: trt.IBuilderConfig, data: bytes | None
    ) -> trt.ITimingCache | None:
        if not self.resolved.timing_cache:
            return None
        cache = config.create_timing_cache(data or b'')
        if data and (cache is None or not config.set_timing_cache(cache, False)):
            self._heard('WARNING', 'the timing cache is of another TensorRT or GPU: a new one')
            data, cache = None, config.create_timing_cache(b'')
        if not data and (cache is None or not config.set_timing_cache(cache, False)):
            raise self._failure('no timing cache can be made')
        return cache

    def _set_calibrator(self, network: trt.INetworkDefinition, config: trt.IBuilderConfig) -> None:
        if self.calibration is None:
            raise CalibrationError('the settings ask for a calibrator, and there are no samples')
        inputs = (network.get_input(index) for index in range(network.num_inputs))
        types = {tensor.name: tensor.dtype.name for tensor in inputs}
        name = _CALIBRATORS[self.resolved.calibration_method]
        base = find(self.library, name)
        if base is None:
            title = describe(self.resolved.flavour, self.resolved.version)
            raise BuildRefusedError(f'{title} has no {name}; set calibration.route: qdq')
        self.calibrator = _make_calibrator(base, self.calibration, types, self._calibrated)
        config.int8_calibrator = self.calibrator
        if self.resolved.profiles:
            profile = self.builder.create_optimization_profile()
            for name, each in self.resolved.profiles[0].items():
                one = self.library.Dims(self.calibrator.shapes.get(name, each.opt))
                profile.set_shape(name, one, one, one)
            config.set_calibration_profile(profile)

    def _calibrated(self, done: int, count: int) -> None:
        self.report('calibrate', 0.1, f'calibration sample {done} of {count}')

    def _inspect(self, plan: bytes) -> str | None:
        """Return the layers as JSON, from the engine itself; None where it cannot be loaded."""
        runtime: trt.Runtime = self.library.Runtime(self.logger)
        if 'VERSION_COMPATIBLE' in self.resolved.flags:
            runtime.engine_host_code_allowed = True
        if self.resolved.dla.core is not None:
            runtime.DLA_core = self.resolved.dla.core
        self.trying = True  # without a GPU, or on another than the engine's, this fails, and may
        engine = runtime.deserialize_cuda_engine(plan)
        self.trying = False
        if engine is None:
            self._heard('WARNING', 'this machine cannot load the engine: its layers are not known')
            return None
        inspector = engine.create_engine_inspector()
        kind = self._enum('LayerInformationFormat', 'JSON')
        # 8.6 writes control characters into names, which JSON does not allow
        layers = json.loads(inspector.get_engine_information(kind), strict=False)
        return json.dumps(layers, indent=1)


class _Timed:
    """Times a phase."""

    def __init__(self, name: str, seconds: dict[str, float]) -> None:
        self._name, self._seconds = name, seconds

    def __enter__(self) -> None:
        self._start = time.monotonic()

    def __exit__(self, *args: object) -> None:
        self._seconds[self._name] = time.monotonic() - self._start


def _make_monitor(base: Any, report: Callable[[float, str], None]) -> Any:
    """Return a progress monitor of TensorRT; its class is made here, as 8.6 has no base for it."""
    phases = Phases()

    class Monitor(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            phases.start(phase, parent, steps)
            report(phases.fraction(), phase)

        def step_complete(self, phase: str, step: int) -> bool:
            report(phases.step(phase), phase)
            return True

        def phase_finish(self, phase: str) -> None:
            phases.finish(phase)

    return Monitor()


def _make_calibrator(
    base: Any,
    data: CalibrationData,
    types: Mapping[str, str],
    told: Callable[[int, int], None],
) -> Any:
    """Return a calibrator of TensorRT; its class is made here, as TensorRT 11 has no base for it.

    TensorRT takes an exception in it for the end of the samples and makes an engine of those
    before: it is kept in `failure`.
    """
    from trt_engine.cuda.runtime import DeviceArray
    from trt_engine.cuda.runtime import Stream

    class Calibrator(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)
            self.cache = data.cache
            self.failure: Exception | None = None
            self.done = 0
            self.memory: dict[str, DeviceArray] = {}
            self.stream: Stream | None = None
            self.samples = iter(data.samples)
            self.first = next(self.samples, None) if data.cache is None else None
            self.shapes = {name: each.shape for name, each in (self.first or {}).items()}

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: list[str]) -> list[int] | None:
            try:
                inputs = self.first or next(self.samples, None)
                self.first = None
                if inputs is None:
                    return None
                self.stream = self.stream or Stream()
                for name in names:
                    self.upload(name, inputs[name], self.stream)
                self.stream.synchronize()
            except Exception as exc:  # noqa: BLE001  # raised again after the build
                self.failure = exc
                return None
            self.done += 1
            told(self.done, data.count)
            return [self.memory[name].pointer for name in names]

        def upload(self, name: str, array: Array, stream: Stream) -> None:
            if name not in self.memory:
                self.memory[name] = DeviceArray(array.shape, np.dtype(_NUMPY[types[name]]))
            np.copyto(self.memory[name].host, array, casting='same_kind')
            self.memory[name].upload(stream)

        def read_calibration_cache(self) -> bytes | None:
            return self.cache

        def write_calibration_cache(self, cache: Any) -> None:
            self.cache = bytes(cache)

    return Calibrator()


def _shape(dims: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in dims)
