# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A command line of NVIDIA's trtexec as build settings; nothing in it is passed over."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
import glob
import json
from pathlib import Path
from pathlib import PurePath
import re
import shlex
from typing import Any

from trt_builder.compat import describe
from trt_builder.compat import Version
from trt_builder.onnx_check import ModelFacts
from trt_builder.trtexec.writer import FORMATS
from trt_builder.trtexec.writer import IO_TYPES
from trt_builder.trtexec.writer import LAYER_PRECISIONS
from trt_builder.trtexec.writer import LEVELS
from trt_builder.trtexec.writer import PARSER_FLAGS
from trt_builder.trtexec.writer import POOLS
from trt_builder.trtexec.writer import PRECISIONS
from trt_builder.trtexec.writer import SPANS
from trt_builder.trtexec.writer import tactic_sources
from trt_engine.errors import BuildRefusedError

AVERAGE_TIMING = 8  # what trtexec does unless told; TensorRT itself times once


@dataclass(frozen=True)
class FromTrtexec:
    """What a trtexec line says.

    Attributes:
        build: Settings as the section `build:` of a card has them.
        onnx: The model.
        engine: Where the engine would go.
        notes: What the line says that has no meaning here, or another.
    """

    build: Mapping[str, Any]
    onnx: Path | None
    engine: Path | None
    notes: tuple[str, ...]

    @property
    def settings(self) -> tuple[str, ...]:
        """Return the settings as `--set` takes them, such as precision="fp16"."""
        return tuple(f'{name}={json.dumps(value)}' for name, value in self.build.items())


def read(line: str, version: Version, model: ModelFacts | None = None) -> FromTrtexec:
    """Return the build settings that a trtexec line amounts to.

    Args:
        line: The line, in one piece or continued with backslashes; comments are left out.
        version: Version of TensorRT that its trtexec is of.
        model: The ONNX file, which a line that gives I/O formats needs: it names no tensors.

    Raises:
        BuildRefusedError: Names every flag that is unknown, or that no setting stands for.
    """
    return _Reader(version, model).read(split(line))


def split(line: str) -> list[str]:
    """Return the words of a trtexec line, without the program itself.

    Raises:
        BuildRefusedError: A quotation has no end.
    """
    text = '\n'.join(each for each in line.splitlines() if not each.lstrip().startswith('#'))
    try:
        words = shlex.split(text.replace('\\\n', ' '))
    except ValueError as exc:
        raise BuildRefusedError(f'the trtexec line cannot be read: {exc}') from exc
    if words and PurePath(words[0]).name in ('trtexec', 'trtexec.exe'):
        words = words[1:]
    return words


# how an engine is run, and what is told of it: nothing about the engine itself
_RUN_NAMES = """
    shapes loadInputs iterations warmUp duration sleepTime idleTime streams infStreams threads
    useCudaGraph noCudaGraph noDataTransfers includeDataTransfers useSpinWait noSpinWait exposeDMA
    useManagedMemory timeDeserialize timeRefit persistentCacheRatio allocationStrategy
    weightStreamingBudget useProfile separateProfileRun skipInference buildOnly explicitBatch device
    asyncFileReader tempdir tempfileControls
    verbose avgRuns percentile dumpProfile exportProfile dumpLayerInfo exportLayerInfo exportTimes
    dumpOutput exportOutput dumpRefit dumpOptimizationProfile dumpRawBindingsToFile saveDebugTensors
    saveAllDebugTensors
"""
_RUN_ONLY = frozenset(f'--{name}' for name in _RUN_NAMES.split())
_SWITCH_NAMES = """
    fp16 bf16 int8 fp8 best noTF32 refit stripWeights stripAllWeights versionCompatible vc
    allowWeightStreaming
    stronglyTyped noBuilderCache allowGPUFallback enablePluginOverride reportCapabilityDLA
    uint8AsymmetricQuantizationDLA adjustForDLA
"""
_SWITCHES = frozenset(f'--{name}' for name in _SWITCH_NAMES.split())
_NO_SETTING: Mapping[str, str] = {
    '--loadEngine': 'it runs an engine that is there; nothing is built',
    '--getPlanVersionOnly': 'it reads an engine that is there; nothing is built',
    '--refitFromOnnx': 'it changes an engine that is there',
    '--buildDLAStandalone': 'its result is for cuDLA, and this suite does not run it',
    '--safe': 'engines for the safety runtime are not built here',
    '--layerOutputTypes': 'use layer_precision',
    '--pluginInstanceNorm': 'the parser keeps its own InstanceNorm',
    '--pi': 'the parser keeps its own InstanceNorm',
    **dict.fromkeys(
        ('--minShapesCalib', '--optShapesCalib', '--maxShapesCalib', '--calibProfile'),
        'calibration uses the shape of the images that the card describes',
    ),
    **dict.fromkeys(
        (
            '--int4', '--directIO', '--maxTactics', '--tilingOptimizationLevel',
            '--l2LimitForTiling', '--preview', '--excludeLeanRuntime',
            '--runtimePlatform', '--useRuntime', '--leanDLLPath', '--setPluginsToSerialize',
            '--ignoreParsedPluginLibs', '--markDebug', '--markUnfusedTensorsAsDebugTensors',
            '--monitorMemory', '--distributiveIndependence', '--errorOnTimingCacheMiss',
            '--noCompilationCache', '--restricted', '--consistency', '--setBuildRoute',
            '--tuneBuildRoutes', '--tuningCacheFile', '--heuristic', '--minTiming', '--nvtxMode',
        ),
        'this builder has no setting for it',
    ),
    **dict.fromkeys(
        ('--deploy', '--model', '--uff', '--output', '--batch', '--maxBatch'),
        'models are ONNX files with a batch dimension',
    ),
}  # fmt: skip


class _Reader:
    def __init__(self, version: Version, model: ModelFacts | None) -> None:
        self.version, self.model = version, model
        self.title = describe('tensorrt', version)
        self.values: dict[str, str | None] = {}
        self.plugins: list[str] = []
        self.profiles: dict[int, dict[str, str]] = {}
        self.problems: list[str] = []
        self.notes: list[str] = []

    def read(self, words: Sequence[str]) -> FromTrtexec:
        self._collect(words)
        build: dict[str, Any] = {}
        for step in _STEPS:
            try:
                build.update(step(self))
            except ValueError as exc:
                self.problems.append(str(exc))
        if self.problems:
            raise BuildRefusedError(
                f'this trtexec line of {self.title} cannot be read as build settings: '
                f'{"; ".join(self.problems)}'
            )
        return FromTrtexec(build, self._path('--onnx'), self._path('--saveEngine'), self._notes())

    def value(self, flag: str) -> str | None:
        """Return what stands behind a flag; '' if nothing does; None if it is not there."""
        return (self.values[flag] or '') if flag in self.values else None

    def given(self, *flags: str) -> bool:
        """Return whether one of the flags is there."""
        return any(flag in self.values for flag in flags)

    def number(self, flag: str) -> int:
        """Return what stands behind a flag, as a number."""
        value = self.value(flag) or ''
        if not re.fullmatch(r'-?\d{1,9}', value):
            raise ValueError(f'{flag}={value}: wanted a number')
        return int(value)

    def _collect(self, words: Sequence[str]) -> None:
        profile = 0
        for word in words:
            flag, equals, value = word.partition('=')
            if self._is_bad(flag, equals, value):
                continue
            if flag == '--profile':
                if not value.isdigit():
                    self.problems.append(f'{word}: wanted a number')
                    continue
                profile = int(value)
                self.profiles.setdefault(profile, {})
            elif flag in ('--minShapes', '--optShapes', '--maxShapes'):
                shapes = self.profiles.setdefault(profile, {})
                if flag in shapes:
                    self.problems.append(f'{flag} is there twice')
                shapes[flag] = value
            elif flag in ('--plugins', '--staticPlugins', '--dynamicPlugins'):
                self.plugins.append(value)
            elif flag in self.values:
                self.problems.append(f'{flag} is there twice')
            else:
                self.values[flag] = value if equals else None

    def _is_bad(self, flag: str, equals: str, value: str) -> bool:
        if not flag.startswith('--'):
            self.problems.append(f'{flag!r} is no flag: trtexec takes --flag=value')
        elif flag in _NO_SETTING:
            self.problems.append(f'{flag}: {_NO_SETTING[flag]}')
        elif flag not in _KNOWN:
            near = get_close_matches(flag, _KNOWN, n=1)
            self.problems.append(
                f'{flag} is unknown' + (f': did you mean {near[0]}?' if near else '')
            )
        elif flag in SPANS and not SPANS[flag].has('tensorrt', self.version):
            self.problems.append(f'{flag} is in trtexec of {SPANS[flag].where()} alone')
        elif flag in _SWITCHES and equals:
            self.problems.append(f'{flag}={value}: trtexec takes it as {flag}, whatever the value')
        elif flag not in _SWITCHES and flag not in _RUN_ONLY and not value:
            self.problems.append(f'{flag} has no value: trtexec takes {flag}=value')
        else:
            return False
        return True

    def _path(self, flag: str) -> Path | None:
        return Path(self.values[flag] or '') if flag in self.values else None

    def _notes(self) -> tuple[str, ...]:
        run = sorted(set(self.values) & _RUN_ONLY)
        said = [f'not about the engine: {", ".join(run)}'] if run else []
        return (*said, *self.notes)


Step = Callable[[_Reader], Mapping[str, Any]]


def _read_precision(line: _Reader) -> Mapping[str, Any]:
    if line.version >= (11,):
        line.notes.append(f'{line.title} takes the precision from the model: none is set')
        return {}
    if line.given('--stronglyTyped'):
        if line.given('--best', *(f'--{name}' for name in PRECISIONS)):
            raise ValueError('--stronglyTyped together with precision flags')
        line.notes.append(
            '--stronglyTyped: the types of the model would decide; here TensorRT chooses among '
            'what precision allows, so set precision to what the model is made of'
        )
        return {}
    found = {name for name in PRECISIONS if line.given(f'--{name}')}
    if line.given('--useDLACore') and 'int8' not in found and line.number('--useDLACore') >= 0:
        found.add('fp16')  # trtexec does so by itself
    if line.given('--best'):
        return {'precision': 'best'}
    for name in ('int8', 'fp8', 'bf16'):
        if name in found and found <= {name, 'fp16'} - ({'fp16'} if name == 'bf16' else set()):
            if name == 'int8' and 'fp16' not in found:
                line.notes.append('precision int8 allows FP16, too; this line does not')
            return {'precision': name}
    if found - {'fp16'}:
        raise ValueError(
            f'{" ".join(f"--{name}" for name in sorted(found))} together: precision is one of '
            'fp32, fp16, bf16, int8 (with fp16), fp8, best'
        )
    return {'precision': 'fp16' if found else 'fp32'}


def _read_calibration(line: _Reader) -> Mapping[str, Any]:
    if line.given('--calib'):
        return {'calibration': {'cache': line.value('--calib'), 'route': 'calibrator'}}
    if line.given('--int8', '--best'):
        line.notes.append('without --calib and Q/DQ nodes, trtexec invents INT8 scales; we do not')
    return {}


def _read_layers(line: _Reader) -> Mapping[str, Any]:
    constraint = line.value('--precisionConstraints')
    rules = [
        {'pattern': _pattern(name, line.version), 'precision': value}
        for name, value in _pairs(line, '--layerPrecisions', LAYER_PRECISIONS)
    ]
    if constraint not in (None, 'none', 'obey', 'prefer'):
        raise ValueError(f'--precisionConstraints={constraint}: none, obey or prefer')
    if constraint in (None, 'none'):
        if rules:
            line.notes.append('--layerPrecisions has no effect without --precisionConstraints')
        return {}
    return {'layer_constraint': constraint, **({'layer_precision': rules[::-1]} if rules else {})}


def _read_dla(line: _Reader) -> Mapping[str, Any]:
    dla: dict[str, Any] = {}
    if line.given('--useDLACore') and (core := line.number('--useDLACore')) >= 0:
        dla['core'] = core
    if line.given('--allowGPUFallback'):
        dla['fallback'] = True
    rules = [
        {'pattern': glob.escape(name), 'device': value.lower()}
        for name, value in _pairs(line, '--layerDeviceTypes', ('GPU', 'DLA'))
    ]
    if rules:
        dla['layer_device'] = rules[::-1]
    return {'dla': dla} if dla else {}


def _pairs(line: _Reader, flag: str, known: Sequence[str]) -> Iterator[tuple[str, str]]:
    for part in filter(None, (line.value(flag) or '').split(',')):
        name, colon, value = part.rpartition(':')
        name = name.replace("'", '')
        if not colon or not name or value not in known:
            raise ValueError(f'{flag}: {part!r} is not <layer>:<{"|".join(known)}>')
        yield name, value


def _read_shapes(line: _Reader) -> Mapping[str, Any]:
    profiles = {number: flags for number, flags in line.profiles.items() if flags}
    if not profiles and line.value('--shapes'):
        profiles = {0: {'--optShapes': line.value('--shapes') or ''}}
    if not profiles:
        return {}
    read = []
    for number in sorted(profiles):
        flags = profiles[number]
        kinds = [dict(_shapes(f'--{k}Shapes', flags.get(f'--{k}Shapes', ''))) for k in _KINDS]
        profile = {}
        for name in dict.fromkeys(name for kind in kinds for name in kind):
            low, best, high = (kind.get(name) for kind in kinds)
            # what is left out is taken from what is there, as trtexec does
            profile[name] = {
                'min': low or best or high,
                'opt': best or high or low,
                'max': high or best or low,
            }
        read.append(profile)
    return {'profiles': read}


_KINDS = ('min', 'opt', 'max')


def _shapes(flag: str, text: str) -> Iterator[tuple[str, list[int]]]:
    for part in filter(None, (each.strip() for each in text.split(','))):
        name, colon, sizes = part.rpartition(':')
        name = name.replace("'", '')
        if '*' in name:
            raise ValueError(f'{flag}: {part!r}: name each input, without *')
        if colon and name and sizes in ('', 'scalar'):
            raise ValueError(f'{flag}: {part!r}: an input without dimensions has no profile here')
        if not name or not re.fullmatch(r'\d{1,9}(x\d{1,9})*', sizes):
            raise ValueError(f'{flag}: {part!r} is not <input>:<size>x<size>...')
        yield name, [int(size) for size in sizes.split('x')]


def _read_io(line: _Reader) -> Mapping[str, Any]:
    io: dict[str, Any] = {}
    for flag in ('--inputIOFormats', '--outputIOFormats'):
        value = line.value(flag)
        if value is None:
            continue
        if line.model is None:
            raise ValueError(f'{flag} names no tensors: give the ONNX file')
        tensors = line.model.inputs if flag == '--inputIOFormats' else line.model.outputs
        forms = value.split(',')
        if len(forms) == 1:
            forms *= len(tensors)
        if len(forms) != len(tensors):
            raise ValueError(f'{flag} has {len(forms)} forms for {", ".join(tensors)}')
        for name, form in zip(tensors, forms, strict=True):
            io[name] = _form(flag, form, typed=line.version < (11,))
    return {'io': io} if io else {}


def _form(flag: str, form: str, *, typed: bool) -> dict[str, str]:
    dtype, colon, layout = form.rpartition(':')
    if '+' in layout:
        raise ValueError(f'{flag}: {form!r}: one layout each')
    if bool(colon) != typed or layout not in FORMATS or (typed and dtype not in IO_TYPES):
        wanted = '<type>:<layout>' if typed else '<layout>'
        raise ValueError(f'{flag}: {form!r} is not {wanted}, of {", ".join(FORMATS)}')
    return {**({'dtype': dtype} if typed else {}), 'format': FORMATS[layout]}


def _read_pools(line: _Reader) -> Mapping[str, Any]:
    pools = {}
    if line.given('--workspace'):
        pools['workspace'] = line.number('--workspace')
    for part in filter(None, (line.value('--memPoolSize') or '').split(',')):
        name, _, size = part.rpartition(':')
        found = re.fullmatch(r'(\d{1,12}(?:\.\d{1,12})?)([BKMG]?)(?:i?B)?', size)
        if name not in POOLS or not found:
            raise ValueError(f'--memPoolSize: {part!r} is not one of {", ".join(POOLS)}:<size>')
        unit = found[2] or ('K' if name == 'tacticSharedMem' else 'M')
        mib = float(found[1]) * {'B': 2**-20, 'K': 2**-10, 'M': 1, 'G': 2**10}[unit]
        if mib < 1 or mib != int(mib):
            raise ValueError(f'--memPoolSize: {part!r} is {mib:g} MiB: whole MiB alone')
        pools[POOLS[name]] = int(mib)
    return {'memory_mib': pools} if pools else {}


def _read_tactic_sources(line: _Reader) -> Mapping[str, Any]:
    value = line.value('--tacticSources')
    if value is None:
        return {}
    known = tactic_sources(line.version)
    chosen: dict[str, bool] = {}
    for part in value.split(','):
        name = {'cublaslt': 'cublas_lt'}.get(part[1:].lower(), part[1:].lower())
        if part[:1] not in ('+', '-') or name not in known:
            raise ValueError(f'--tacticSources: {part!r} is not + or - one of {", ".join(known)}')
        chosen[name] = part[0] == '+'
    missing = [name for name in known if name not in chosen]
    if missing:
        raise ValueError(
            f'--tacticSources leaves {", ".join(missing)} as TensorRT has it: a card names all'
        )
    return {'tactic_sources': [name for name in known if chosen[name]]}


def _read_numbers(line: _Reader) -> Mapping[str, Any]:
    build: dict[str, Any] = {'timing_iterations': AVERAGE_TIMING}
    for flag, name in (
        ('--builderOptimizationLevel', 'optimization_level'),
        ('--maxAuxStreams', 'max_aux_streams'),
        ('--avgTiming', 'timing_iterations'),
    ):
        if line.given(flag):
            build[name] = line.number(flag)
    return build


def _read_choices(line: _Reader) -> Mapping[str, Any]:
    build: dict[str, Any] = {}
    if line.given('--sparsity'):
        spec = line.value('--sparsity')
        if spec not in ('enable', 'disable'):
            raise ValueError(f'--sparsity={spec}: enable or disable; weights are never overwritten')
        build['sparsity'] = spec == 'enable'
    if line.given('--hardwareCompatibilityLevel'):
        level = line.value('--hardwareCompatibilityLevel') or ''
        levels = {name.lower(): ours for name, ours in LEVELS.items()}
        if level.lower() not in levels:
            raise ValueError(f'--hardwareCompatibilityLevel={level}: one of {", ".join(LEVELS)}')
        build['hardware_compatibility'] = levels[level.lower()]
    if line.given('--profilingVerbosity'):
        verbosity = line.value('--profilingVerbosity')
        if verbosity not in ('layer_names_only', 'detailed', 'none'):
            raise ValueError(
                f'--profilingVerbosity={verbosity}: layer_names_only, detailed or none'
            )
        build['verbosity'] = verbosity
    return build


def _read_switches(line: _Reader) -> Mapping[str, Any]:
    build: dict[str, Any] = {}
    if line.given('--noTF32'):
        build['tf32'] = False
    if line.given('--refit', '--stripAllWeights'):
        build['refit'] = True
    if line.given('--stripWeights', '--stripAllWeights'):
        build['strip_weights'] = True
    if line.given('--allowWeightStreaming'):
        build['weight_streaming'] = True
    if line.given('--versionCompatible', '--vc'):
        build['version_compatible'] = True
    if line.given('--noBuilderCache'):
        build['timing_cache'] = False
    elif line.given('--timingCacheFile'):
        line.notes.append('--timingCacheFile: kernel times are kept beside the store of engines')
    if line.plugins:
        build['plugins'] = line.plugins
    flags = [ours for theirs, ours in PARSER_FLAGS.items() if line.given(theirs)]
    if flags:
        build['parser_flags'] = flags
    return build


_STEPS: tuple[Step, ...] = (
    _read_precision,
    _read_calibration,
    _read_layers,
    _read_shapes,
    _read_io,
    _read_pools,
    _read_numbers,
    _read_tactic_sources,
    _read_choices,
    _read_switches,
    _read_dla,
)
_KNOWN = frozenset(
    {
        '--onnx', '--saveEngine', '--minShapes', '--optShapes', '--maxShapes', '--profile',
        '--plugins', '--staticPlugins', '--dynamicPlugins', '--workspace', '--memPoolSize',
        '--calib', '--precisionConstraints', '--layerPrecisions', '--layerDeviceTypes',
        '--useDLACore', '--inputIOFormats', '--outputIOFormats', '--builderOptimizationLevel',
        '--maxAuxStreams', '--avgTiming', '--tacticSources', '--sparsity', '--timingCacheFile',
        '--hardwareCompatibilityLevel', '--profilingVerbosity',
    }
    | _SWITCHES
    | _RUN_ONLY
)  # fmt: skip


def _pattern(name: str, version: Version) -> str:
    """Return a layer name of trtexec as a pattern of a card."""
    if name == '*' or (version >= (10,) and name.count('*') == 1):
        return '*'.join(glob.escape(part) for part in name.split('*'))
    return glob.escape(name)
