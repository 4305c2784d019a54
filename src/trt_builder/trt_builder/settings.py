# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a card wants of its engine, turned into what this TensorRT is told: or refused, with why."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any
from typing import Literal

from trt_builder.compat import check_version
from trt_builder.compat import describe
from trt_builder.compat import Flavour
from trt_builder.compat import has
from trt_builder.compat import require
from trt_builder.compat import Version
from trt_builder.onnx_check import ModelFacts
from trt_engine.build_settings import Build
from trt_engine.build_settings import DeviceRule
from trt_engine.build_settings import Dla
from trt_engine.build_settings import LayerRule
from trt_engine.build_settings import ShapeRange
from trt_engine.build_settings import TensorFormat
from trt_engine.errors import BuildRefusedError

Scales = Literal['none', 'model', 'calibrator', 'insert']
Convert = Literal['fp32', 'fp16', 'bf16']

MAX_DLA_BATCH = 4096
FLOATS = ('fp32', 'fp16', 'bf16')
DATA_TYPES: Mapping[str, str] = {
    'fp32': 'FLOAT', 'fp16': 'HALF', 'bf16': 'BF16', 'fp8': 'FP8', 'int8': 'INT8',
    'int32': 'INT32', 'int64': 'INT64', 'uint8': 'UINT8', 'bool': 'BOOL',
}  # fmt: skip
ONNX_TYPES: Mapping[str, str] = {
    'float': 'fp32', 'float16': 'fp16', 'bfloat16': 'bf16', 'int8': 'int8', 'int32': 'int32',
    'int64': 'int64', 'uint8': 'uint8', 'bool': 'bool',
}  # fmt: skip

# compute capability from which a GPU computes in a type
_SM_OF: Mapping[str, tuple[int, int]] = {
    'fp16': (5, 3), 'int8': (6, 1), 'bf16': (8, 0), 'fp8': (8, 9), 'sparsity': (8, 0),
    'ampere_plus': (8, 0),
}  # fmt: skip
_RTX_SM = ((8, 0), (8, 6), (8, 9), (12, 0), (12, 1))  # where its engines run
_SM_NAMES: Mapping[tuple[int, int], str] = {(8, 7): 'Orin', (11, 0): 'Thor', (7, 2): 'Xavier'}
_DLA_VERSIONS = '8.6 (JetPack 6.0), 10.3 (6.1 to 6.2) and 10.7 on AGX Orin and Orin NX, 11.4.1 on \
AGX Orin'


@dataclass(frozen=True)
class GpuFacts:
    """What settings depend on; None is what could not be found out.

    Attributes:
        sm: Compute capability, such as 8.7.
        dla_cores: What TensorRT's `num_DLA_cores` says, or what the module is known to have.
        integrated: Whether the GPU shares memory with the CPU, as on a Jetson.
        board: Its name, for messages.
    """

    sm: str | None = None
    dla_cores: int | None = None
    integrated: bool = False
    board: str | None = None


@dataclass(frozen=True)
class Resolved:
    """Everything that the build tells TensorRT, by name.

    Attributes:
        flavour: Which TensorRT.
        version: Its version.
        precision: As the card asks.
        strongly_typed: Whether the types in the model decide, and no flags.
        scales: Where INT8 scales come from: none are needed, Q/DQ nodes of the model, TensorRT's
            calibrator, or Q/DQ nodes that have to be inserted first.
        convert: Type that the model's floats get before it is parsed; None leaves the model alone.
        flags: Names of BuilderFlag to set.
        cleared: Names of BuilderFlag to clear.
        layer_rules: Precisions by layer name.
        pools: Name of MemoryPoolType -> MiB.
        optimization_level: 0 to 5, or TensorRT's default.
        max_aux_streams: Or TensorRT's default.
        tactic_sources: Names of TacticSource, or TensorRT's default.
        timing_iterations: Runs that the time of a kernel is from.
        timing_cache: Whether kernel times are kept.
        io: Input or output -> type and layout.
        profiles: Optimisation profiles.
        hardware_compatibility: Name of HardwareCompatibilityLevel.
        verbosity: Name of ProfilingVerbosity.
        parser_flags: Names of OnnxParserFlag to set.
        plugins: Paths of plugin libraries.
        dla: What runs on a DLA.
        calibration_method: entropy, minmax, legacy or percentile.
        keep_sensitive: Whether depthwise and last layers stay out of INT8.
        simplify: Whether the model is simplified before it is parsed.
        notes: Why each choice that was not the card's was made; for the log.
        warnings: What may go wrong; for the user.
    """

    flavour: Flavour
    version: Version
    precision: str
    strongly_typed: bool
    scales: Scales = 'none'
    convert: Convert | None = None
    flags: tuple[str, ...] = ()
    cleared: tuple[str, ...] = ()
    layer_rules: tuple[LayerRule, ...] = ()
    pools: Mapping[str, int] = field(default_factory=dict, hash=False)
    optimization_level: int | None = None
    max_aux_streams: int | None = None
    tactic_sources: tuple[str, ...] | None = None
    timing_iterations: int = 1
    timing_cache: bool = True
    io: Mapping[str, TensorFormat] = field(default_factory=dict, hash=False)
    profiles: tuple[Mapping[str, ShapeRange], ...] = field(default=(), hash=False)
    hardware_compatibility: str = 'NONE'
    verbosity: str = 'DETAILED'
    parser_flags: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    dla: Dla = field(default_factory=Dla)
    calibration_method: str = 'entropy'
    keep_sensitive: bool = True
    simplify: bool = False
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a job file, or a manifest."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Resolved:
        """Return what `to_json` gave."""
        plain = dict(values)
        for name, value in plain.items():
            if isinstance(value, list):
                plain[name] = tuple(value)
        plain['layer_rules'] = tuple(LayerRule(**rule) for rule in values['layer_rules'])
        plain['io'] = {name: TensorFormat(**form) for name, form in values['io'].items()}
        plain['profiles'] = tuple(
            {
                name: ShapeRange(*(tuple(shapes[key]) for key in ('min', 'opt', 'max')))
                for name, shapes in profile.items()
            }
            for profile in values['profiles']
        )
        dla = values['dla']
        rules = tuple(DeviceRule(**rule) for rule in dla['layer_device'])
        plain['dla'] = Dla(dla['core'], dla['fallback'], rules)
        return cls(**plain)


def resolve(
    build: Build,
    *,
    flavour: Flavour,
    version: Version,
    gpu: GpuFacts,
    model: ModelFacts,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    least: Mapping[str, tuple[int, ...]] | None = None,
) -> Resolved:
    """Return what to tell TensorRT.

    Args:
        build: What the card, or the command line, wants.
        flavour: Which TensorRT.
        version: Its version.
        gpu: The GPU that the engine is for.
        model: The ONNX file.
        shapes: Input -> the shape that the card's images have, for inputs that the model leaves
            open and no profile names.
        least: Input -> the smallest such shape, where it varies.

    Raises:
        BuildRefusedError: Something that is asked cannot be had here; says what, and what can.
    """
    check_version(flavour, version)
    return _Resolver(build, flavour, version, gpu, model, shapes or {}, least or {}).resolve()


class _Resolver:
    """Goes through the settings once, in the order in which they depend on each other."""

    def __init__(
        self,
        build: Build,
        flavour: Flavour,
        version: Version,
        gpu: GpuFacts,
        model: ModelFacts,
        shapes: Mapping[str, tuple[int, ...]],
        least: Mapping[str, tuple[int, ...]],
    ) -> None:
        self.build, self.flavour, self.version = build, flavour, version
        self.gpu, self.model, self.shapes, self.least = gpu, model, shapes, least
        self.title = describe(flavour, version)
        self.weak = has('BuilderFlag.FP16', flavour, version)
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def resolve(self) -> Resolved:
        build = self.build
        self._check_gpu()
        scales = self._scales()
        profiles = self._profiles()
        self._check_dla(scales, profiles)
        flags, cleared = self._flags()
        result = Resolved(
            flavour=self.flavour,
            version=self.version,
            precision=build.precision,
            strongly_typed=not self.weak,
            scales=scales,
            convert=None if self.weak else self._convert(),
            flags=(*(self._precision_flags(scales) if self.weak else ()), *flags),
            cleared=cleared,
            layer_rules=build.layer_precision,
            pools=dict(self._pools()),
            optimization_level=build.optimization_level,
            max_aux_streams=build.max_aux_streams,
            tactic_sources=self._tactic_sources(),
            timing_iterations=build.timing_iterations,
            timing_cache=self._timing_cache(),
            io=self._io(),
            profiles=profiles,
            hardware_compatibility=self._hardware_compatibility(),
            verbosity=build.verbosity.upper(),
            parser_flags=self._parser_flags(),
            plugins=build.plugins,
            dla=build.dla,
            calibration_method=self._method(scales),
            keep_sensitive=self._keeps_sensitive(),
            simplify=build.simplify,
        )
        return replace(result, notes=tuple(self.notes), warnings=tuple(self.warnings))

    def _require(self, symbol: str, what: str, remedy: str = '') -> None:
        require(symbol, self.flavour, self.version, what, remedy)

    # -- the GPU ---------------------------------------------------------------------------------

    def _sm(self) -> tuple[int, int] | None:
        if self.gpu.sm is None:
            return None
        major, _, minor = self.gpu.sm.partition('.')
        return int(major), int(minor or 0)

    def _need_sm(self, kind: str, what: str, remedy: str) -> None:
        sm, wanted = self._sm(), _SM_OF[kind]
        if sm is None:
            self.notes.append(f'whether the GPU can compute in {kind} was not checked: unknown GPU')
        elif sm < wanted:
            name = f', {_SM_NAMES[sm]}' if sm in _SM_NAMES else ''
            raise BuildRefusedError(
                f'{what} needs a GPU of compute capability {wanted[0]}.{wanted[1]} or later, found '
                f'{sm[0]}.{sm[1]}{name}; {remedy}'
            )

    def _check_gpu(self) -> None:
        for kind in sorted(self._asked() & {'fp16', 'bf16', 'int8', 'fp8'}):
            better = 'int8 or fp16' if kind == 'fp8' else 'fp16' if kind == 'bf16' else 'fp32'
            self._need_sm(kind, f'precision {kind}', f'set precision: {better}')
        if self.build.sparsity:
            self._need_sm('sparsity', 'sparsity', 'set sparsity: false')
        sm = self._sm()
        if self.flavour == 'tensorrt_rtx' and sm is not None and sm not in _RTX_SM:
            self.warnings.append(
                f'an engine of {self.title} runs on compute capability 8.0, 8.6, 8.9 and 12.x; '
                f'this machine has {self.gpu.sm} and can build it, not run it'
            )

    # -- precision -------------------------------------------------------------------------------

    def _asked(self) -> set[str]:
        rules = {rule.precision for rule in self.build.layer_precision}
        asked = {'mixed': {'int8', 'fp16'}, 'best': {'fp16'}}
        return asked.get(self.build.precision, {self.build.precision}) | rules

    def _scales(self) -> Scales:
        build, model = self.build, self.model
        given = build.calibration
        if build.precision == 'fp8':
            if not model.has_fp8_qdq:
                raise BuildRefusedError(
                    'precision fp8 takes its scales from Q/DQ nodes of an FP8 type, and the model '
                    'has none; quantise it with NVIDIA ModelOpt on another machine, or set '
                    'precision: int8'
                )
            return 'model'
        if model.has_qdq:
            return self._scales_of_model()
        if build.precision == 'best':
            if given.data or given.cache:
                return self._calibrate()
            self.notes.append('best: FP16 and FP32; INT8 takes calibration.data or .cache')
            return 'none'
        if build.precision not in ('int8', 'mixed'):
            if 'int8' in self._asked():
                raise BuildRefusedError(
                    f'a layer rule asks for int8 while precision is {build.precision}: there would '
                    'be no scales; set precision: int8 and give the other layers fp16'
                )
            return 'none'
        return self._calibrate()

    def _scales_of_model(self) -> Scales:
        build = self.build
        given = build.calibration
        if build.precision not in ('int8', 'best'):
            raise BuildRefusedError(
                f'the model has Q/DQ nodes, which are INT8, and precision is {build.precision}; '
                'set precision: int8, or give the model as it was before quantisation'
            )
        if given.cache is not None:
            raise BuildRefusedError(
                f'the model has Q/DQ nodes, so its scales are decided; the calibration table '
                f'{given.cache} would be ignored: remove calibration.cache, or give the model as '
                'it was before quantisation'
            )
        if given.route == 'calibrator':
            raise BuildRefusedError(
                'the model has Q/DQ nodes, so its scales are decided; set calibration.route: auto'
            )
        self.notes.append("INT8: the scales are those of the model's Q/DQ nodes")
        if given.data is not None:
            self.notes.append('calibration.data is not used')
        return 'model'

    def _calibrate(self) -> Scales:
        build = self.build
        given = build.calibration
        if given.data is None and given.cache is None:
            raise BuildRefusedError(
                f'precision {build.precision} needs scales, and the model has no Q/DQ nodes; '
                'name pictures, a rosbag or an .npz in calibration.data, or a table in '
                'calibration.cache'
            )
        calibrator = 'IInt8EntropyCalibrator2'
        if build.precision == 'mixed':
            if given.route == 'calibrator' or given.method == 'legacy':
                raise BuildRefusedError(
                    'precision mixed measures what each layer loses with Q/DQ nodes; set '
                    'calibration.route: qdq, or precision: int8 with layer_precision rules'
                )
            self.notes.append('INT8: Q/DQ nodes are put into the model, but for its worst layers')
            return 'insert'
        if given.route == 'calibrator' or given.method == 'legacy':
            what = 'INT8 by calibrator' if given.method != 'legacy' else 'the legacy calibrator'
            self._require(calibrator, what, "the card's Q/DQ route works here")
            if given.method == 'percentile':
                raise BuildRefusedError(
                    "TensorRT's calibrators have no method percentile; set calibration.route: qdq, "
                    'or method: entropy'
                )
        elif given.route == 'qdq' or given.method == 'percentile':
            self.notes.append('INT8: Q/DQ nodes are put into the model, as the card asks')
            return 'insert'
        elif not has(calibrator, self.flavour, self.version):
            self.notes.append(
                f'INT8: {self.title} has no calibrators; Q/DQ nodes are put into the model'
            )
            return 'insert'
        elif given.cache is None and build.dla.core is None and build.precision != 'best':
            self.notes.append(
                'INT8: Q/DQ nodes are put into the model: they say which layers are INT8, where '
                'after a calibrator the fastest kernel decides'
            )
            return 'insert'
        source = 'the table in calibration.cache'
        if given.cache is None:
            source = f'its {self._method("calibrator")} calibrator'
        self.notes.append(f'INT8: TensorRT takes the scales from {source}')
        return 'calibrator'

    def _method(self, scales: Scales) -> str:
        method = self.build.calibration.method
        if method != 'auto':
            return method
        # entropy cuts the ranges of small networks too far: docs/engines.md
        return 'percentile' if scales == 'insert' else 'entropy'

    def _keeps_sensitive(self) -> bool:
        return self.build.calibration.keep_sensitive and self.build.dla.core is None

    def _precision_flags(self, scales: Scales) -> Iterator[str]:
        """Yield the flags of weak typing, where TensorRT chooses among what is allowed."""
        asked = self._asked()
        if scales != 'none' and self.build.precision != 'fp8':
            asked |= {'int8', 'fp16'}  # what cannot be INT8 is FP16
        if self.model.weight_types == {'float16'}:
            self._refuse_wider_than_model()
            asked.add('fp16')
        for kind in ('fp16', 'bf16', 'int8', 'fp8'):
            if kind in asked:
                flag = f'BuilderFlag.{kind.upper()}'
                self._require(flag, f'precision {kind}')
                yield kind.upper()
        if scales == 'calibrator' and self._keeps_sensitive():
            yield 'OBEY_PRECISION_CONSTRAINTS'  # else a faster INT8 kernel wins
        elif self.build.layer_precision:
            yield f'{self.build.layer_constraint.upper()}_PRECISION_CONSTRAINTS'

    def _convert(self) -> Convert | None:
        """Return the type to write into the model: with strong typing nothing else decides."""
        build = self.build
        if build.precision == 'best':
            raise BuildRefusedError(
                'precision best lets TensorRT choose types, which needs TensorRT <= 10.16, found '
                f'{self.title}; set precision: fp16 or int8'
            )
        for rule in build.layer_precision:
            if rule.precision not in FLOATS:
                raise BuildRefusedError(
                    f'the layer rule {rule.pattern!r} asks for {rule.precision}, which '
                    f'{self.title} takes from Q/DQ nodes alone; quantise these layers in the model'
                )
        if self.model.weight_types == {'float16'}:
            self._refuse_wider_than_model()
            self.notes.append('the model is FP16 already')
            return None
        wanted: dict[str, Convert] = {'fp16': 'fp16', 'bf16': 'bf16', 'int8': 'fp16'}
        base = wanted.get('int8' if build.precision == 'mixed' else build.precision)
        if base is not None:
            self.notes.append(
                f'{self.title} takes types from the model: its floats become {base}, inputs and '
                'outputs stay as they are'
            )
            return base
        floats = [form.dtype for form in build.io.values() if form.dtype in FLOATS]
        return 'fp32' if build.layer_precision or floats else None

    def _refuse_wider_than_model(self) -> None:
        if self.build.precision in ('fp32', 'bf16', 'fp8'):
            raise BuildRefusedError(
                f"the model's weights are FP16, and precision is {self.build.precision}; set "
                'precision: fp16, or export the model in FP32'
            )

    # -- the rest --------------------------------------------------------------------------------

    def _flags(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        build = self.build
        flags = []
        if build.sparsity:
            flags.append('SPARSE_WEIGHTS')
        if build.refit:
            flags.append('REFIT')
        if build.strip_weights:
            self._require('BuilderFlag.STRIP_PLAN', 'strip_weights')
            flags.append('STRIP_PLAN')
            if not build.refit:
                flags.append('REFIT_IDENTICAL')
        if build.weight_streaming:
            self._require('BuilderFlag.WEIGHT_STREAMING', 'weight_streaming')
            if self.weak:
                raise BuildRefusedError(
                    'weight_streaming needs a network whose types are in the model, and for '
                    f'{self.title} it is built with types to choose from; build with TensorRT 11 '
                    'or later, or set weight_streaming: false'
                )
            flags.append('WEIGHT_STREAMING')
        if build.version_compatible:
            flags.append('VERSION_COMPATIBLE')
        if build.dla.core is not None and build.dla.fallback:
            flags.append('GPU_FALLBACK')
        return tuple(flags), () if build.tf32 else ('TF32',)

    def _pools(self) -> Iterator[tuple[str, int]]:
        for pool, mib in self.build.memory_mib.items():
            name = pool.upper()
            self._require(f'MemoryPoolType.{name}', f'memory_mib.{pool}')
            if pool.startswith('dla_') and self.build.dla.core is None:
                raise BuildRefusedError(
                    f'memory_mib.{pool} is given and dla.core is not; set dla.core, or remove it'
                )
            yield name, mib

    def _tactic_sources(self) -> tuple[str, ...] | None:
        sources = self.build.tactic_sources
        if sources is None:
            return None
        for source in sources:
            self._require(f'TacticSource.{source.upper()}', f'tactic_sources: {source}')
        return tuple(source.upper() for source in sources)

    def _timing_cache(self) -> bool:
        if self.flavour == 'tensorrt_rtx' and self.build.timing_cache:
            self.notes.append(f'{self.title} times no kernels: there is no timing cache')
            return False
        return self.build.timing_cache

    def _hardware_compatibility(self) -> str:
        level = self.build.hardware_compatibility.upper()
        if level == 'NONE':
            return level
        self._require(f'HardwareCompatibilityLevel.{level}', f'hardware_compatibility: {level}')
        if level == 'AMPERE_PLUS':
            self._need_sm('ampere_plus', 'hardware_compatibility: ampere_plus', 'set it to none')
        if self.gpu.integrated:
            self.warnings.append(
                'NVIDIA does not promise hardware compatibility on Jetson: test the engine on each '
                'kind of board'
            )
        return level

    def _parser_flags(self) -> tuple[str, ...]:
        flags = [flag.upper() for flag in self.build.parser_flags]
        for flag in flags:
            self._require(f'OnnxParserFlag.{flag}', f'parser_flags: {flag.lower()}')
        if self.build.version_compatible and 'NATIVE_INSTANCENORM' not in flags:
            flags.append('NATIVE_INSTANCENORM')  # the other form is a plugin, which is not portable
        return tuple(flags)

    def _io(self) -> Mapping[str, TensorFormat]:
        tensors = {**self.model.inputs, **self.model.outputs}
        for name, form in self.build.io.items():
            if name not in tensors:
                raise BuildRefusedError(
                    f'io names {name!r}, and the model has {", ".join(tensors)}'
                )
            here = ONNX_TYPES.get(tensors[name].dtype)
            if form.dtype is not None:
                self._require(f'DataType.{DATA_TYPES[form.dtype]}', f'io.{name}: {form.dtype}')
                if not self.weak and form.dtype != here and not {form.dtype, here} <= {*FLOATS}:
                    raise BuildRefusedError(
                        f'io.{name} is {here} in the model and cannot become {form.dtype}: '
                        f'{self.title} takes types from the model; export it so'
                    )
            if (form.format or '').startswith('dla_') and self.build.dla.core is None:
                raise BuildRefusedError(
                    f'io.{name} has the layout {form.format} of a DLA; set dla.core, or another'
                )
        return dict(self.build.io)

    def _profiles(self) -> tuple[Mapping[str, ShapeRange], ...]:
        inputs = self.model.inputs
        profiles = []
        for profile in self.build.profiles or ({},):
            for name, shapes in profile.items():
                if name not in inputs:
                    raise BuildRefusedError(
                        f'a profile names the input {name!r}, and the model has {", ".join(inputs)}'
                    )
                _check_range(name, shapes, inputs[name].shape)
            open_inputs = [name for name in self.model.dynamic_inputs if name not in profile]
            profiles.append({**profile, **{name: self._default(name) for name in open_inputs}})
        return tuple(profiles) if any(profiles) else ()

    def _default(self, name: str) -> ShapeRange:
        shape = self.model.inputs[name].shape
        known = self.shapes.get(name, shape)
        if len(known) != len(shape):
            known = shape
        # cameras bring one image at a time
        guess = tuple(1 if place == 0 and size == -1 else size for place, size in enumerate(known))
        if -1 in guess or not shape:
            places = [place for place, size in enumerate(guess) if size == -1]
            raise BuildRefusedError(
                f'the input {name!r} has the shape {list(shape)}, and nothing says how large '
                f'dimensions {places} are; give build.profiles min, opt and max for it'
            )
        # a DLA takes one shape
        low = guess if self.build.dla.core is not None else self.least.get(name, guess)
        shapes = ShapeRange(low, guess, guess)
        _check_range(name, shapes, shape)
        self.notes.append(
            f'profile: {name!r} has the shape {list(guess)} and no other'
            if shapes.is_fixed
            else f'profile: {name!r} has shapes from {list(low)} to {list(guess)}'
        )
        return shapes

    def _check_dla(self, scales: Scales, profiles: tuple[Mapping[str, ShapeRange], ...]) -> None:
        build = self.build
        core = build.dla.core
        if core is None:
            return
        remedy = 'set dla.core: null'
        if self.flavour == 'tensorrt_rtx':
            raise BuildRefusedError(f'{self.title} knows no DLA; use TensorRT, or {remedy}')
        if self.version >= (10, 8) and self.version < (11, 4, 1):
            raise BuildRefusedError(
                f'{self.title} has no DLA on any JetPack; {_DLA_VERSIONS} have; {remedy}'
            )
        cores = self.gpu.dla_cores
        board = self.gpu.board or 'this machine'
        if cores == 0:
            why = ' (Orin Nano and Thor have none)' if self.gpu.integrated else ''
            raise BuildRefusedError(
                f'dla.core is {core}, and {board} has no DLA core{why}; in a container, its device '
                f'nodes may be missing; {remedy}'
            )
        if cores is None:
            self.warnings.append('how many DLA cores there are is asked when the build starts')
        elif core >= cores:
            raise BuildRefusedError(
                f'dla.core is {core}, and {board} has {cores}, counted from 0; set dla.core: '
                f'{cores - 1}'
            )
        if build.precision not in ('fp16', 'int8'):
            raise BuildRefusedError(
                f'a DLA computes in fp16 and int8, and precision is {build.precision}; set '
                'precision: fp16'
            )
        if scales in ('model', 'insert') and self.weak:
            raise BuildRefusedError(
                'a DLA takes INT8 scales from a calibrator or its table, not from Q/DQ nodes; set '
                'calibration.route: calibrator with the model as it was before quantisation'
            )
        if scales == 'calibrator' and build.calibration.method not in ('auto', 'entropy'):
            raise BuildRefusedError(
                f'a DLA needs the entropy calibrator, and calibration.method is '
                f'{build.calibration.method}; set entropy'
            )
        for profile in profiles:
            for name, shapes in profile.items():
                if not shapes.is_fixed:
                    raise BuildRefusedError(
                        f'a DLA takes one shape, and the profile of {name!r} has min '
                        f'{list(shapes.min)}, opt {list(shapes.opt)}, max {list(shapes.max)}; '
                        'make them equal'
                    )
        if any(shapes.max[:1] > (MAX_DLA_BATCH,) for p in profiles for shapes in p.values()):
            raise BuildRefusedError(f'a DLA takes a batch of at most {MAX_DLA_BATCH}')


def _check_range(name: str, shapes: ShapeRange, model: tuple[int, ...]) -> None:
    """Refuse shapes that the model's own shape rules out."""
    for shape in (shapes.min, shapes.opt, shapes.max):
        fits = len(shape) == len(model) and all(
            want in (-1, got) for got, want in zip(shape, model, strict=True)
        )
        if not fits:
            raise BuildRefusedError(
                f'the profile of {name!r} has the shape {list(shape)}, and the model wants '
                f'{list(model)} (-1: any)'
            )
