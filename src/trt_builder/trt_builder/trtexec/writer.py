# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The same build as a command line of NVIDIA's trtexec."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
import re
import shlex

from trt_builder.compat import describe
from trt_builder.compat import Feature
from trt_builder.compat import Version
from trt_builder.onnx_check import ModelFacts
from trt_builder.onnx_check import TensorSpec
from trt_builder.settings import ONNX_TYPES
from trt_builder.settings import Resolved
from trt_engine.build_settings import TensorFormat
from trt_engine.errors import BuildRefusedError

_TO_10 = Feature(until=(11,))
# where trtexec has a flag; all others that are named here, it has from 8.6 on
SPANS: Mapping[str, Feature] = {
    '--workspace': Feature(until=(10,)),
    '--buildOnly': Feature(until=(10,)),
    '--explicitBatch': Feature(until=(10,)),
    '--plugins': Feature(until=(10,)),
    '--fp16': _TO_10,
    '--bf16': Feature((10,), (11,)),
    '--int8': _TO_10,
    '--fp8': _TO_10,
    '--best': _TO_10,
    '--calib': _TO_10,
    '--precisionConstraints': _TO_10,
    '--layerPrecisions': _TO_10,
    '--stronglyTyped': Feature((10,)),
    '--profile': Feature((10,)),
    '--stripWeights': Feature((10,)),
    '--stripAllWeights': Feature((10,)),
    '--allowWeightStreaming': Feature((10,)),
    '--enablePluginOverride': Feature((10, 15)),
    '--uint8AsymmetricQuantizationDLA': Feature((10, 11)),
    '--reportCapabilityDLA': Feature((10, 16)),
    '--adjustForDLA': Feature((10, 16)),
}

PRECISIONS = ('fp16', 'bf16', 'int8', 'fp8')
LAYER_PRECISIONS = ('fp32', 'fp16', 'bf16', 'int8')
IO_TYPES = ('fp32', 'fp16', 'bf16', 'int8', 'int32', 'int64', 'uint8', 'bool')
# trtexec's name -> ours; it has none for hwc16 and dhwc
FORMATS: Mapping[str, str] = {
    'chw': 'linear',
    **{name: name for name in ('chw2', 'chw4', 'chw16', 'chw32', 'hwc', 'hwc8', 'dhwc8')},
    **{name: name for name in ('cdhw32', 'dla_linear', 'dla_hwc4')},
}
# there is none for tactic_dram
POOLS: Mapping[str, str] = {
    'workspace': 'workspace',
    'dlaSRAM': 'dla_managed_sram',
    'dlaLocalDRAM': 'dla_local_dram',
    'dlaGlobalDRAM': 'dla_global_dram',
    'tacticSharedMem': 'tactic_shared_memory',
}
_LIBRARIES = ('cublas', 'cublas_lt', 'cudnn')  # gone from 11 on
_SOURCES = ('edge_mask_convolutions', 'jit_convolutions')
LEVELS: Mapping[str, str] = {
    'none': 'none',
    'ampere+': 'ampere_plus',
    'sameComputeCapability': 'same_compute_capability',
}
_FLAGS: Mapping[str, str] = {
    **{name.upper(): f'--{name}' for name in PRECISIONS},
    'SPARSE_WEIGHTS': '--sparsity=enable',
    'REFIT': '--refit',
    'STRIP_PLAN': '--stripWeights',
    'WEIGHT_STREAMING': '--allowWeightStreaming',
    'VERSION_COMPATIBLE': '--versionCompatible',
    'GPU_FALLBACK': '--allowGPUFallback',
    'OBEY_PRECISION_CONSTRAINTS': '--precisionConstraints=obey',
    'PREFER_PRECISION_CONSTRAINTS': '--precisionConstraints=prefer',
}
PARSER_FLAGS: Mapping[str, str] = {
    '--enablePluginOverride': 'enable_plugin_override',
    '--uint8AsymmetricQuantizationDLA': 'enable_uint8_and_asymmetric_quantization_dla',
    '--reportCapabilityDLA': 'report_capability_dla',
    '--adjustForDLA': 'adjust_for_dla',
}


@dataclass(frozen=True)
class Command:
    """A command line.

    Attributes:
        words: Program and arguments.
        notes: What the line does not say, or what has to be so before it is run.
    """

    words: tuple[str, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        """Return it for a shell, one flag a line, the notes before it as comments."""
        notes = [f'# {note}\n' for note in self.notes]
        return ''.join(notes) + ' \\\n    '.join(shlex.quote(word) for word in self.words)


def command(
    resolved: Resolved,
    model: ModelFacts,
    *,
    onnx: Path | None = None,
    engine: Path | None = None,
    timing_cache: Path | None = None,
    calibration_cache: Path | None = None,
) -> Command:
    """Return the trtexec line that builds the same engine.

    Args:
        resolved: The settings for the version of TensorRT that trtexec is of.
        model: The ONNX file that they are for.
        onnx: What to build from in its place: the typed or quantised model of a build.
        engine: Where the engine goes.
        timing_cache: File of kernel times.
        calibration_cache: Table with INT8 scales, as a build writes it.

    Raises:
        BuildRefusedError: There is no trtexec for this: TensorRT-RTX has a program of its own.
    """
    if resolved.flavour != 'tensorrt':
        raise BuildRefusedError(
            f'{describe(resolved.flavour, resolved.version)} has no trtexec; its own program is '
            'tensorrt_rtx, with other flags'
        )
    return _Writer(resolved, model).write(
        onnx or model.path, engine, timing_cache, calibration_cache
    )


class _Writer:
    def __init__(self, resolved: Resolved, model: ModelFacts) -> None:
        self.resolved, self.model = resolved, model
        self.title = describe(resolved.flavour, resolved.version)
        self.words = ['trtexec']
        self.notes: list[str] = []

    def write(
        self,
        onnx: Path,
        engine: Path | None,
        timing_cache: Path | None,
        calibration_cache: Path | None,
    ) -> Command:
        resolved = self.resolved
        self._add('--onnx', str(onnx))
        if engine is not None:
            self._add('--saveEngine', str(engine))
        if onnx == self.model.path:
            self._note_preparation()
        self._profiles()
        self._flags()
        if resolved.scales == 'calibrator':
            if calibration_cache is not None:
                self._add('--calib', str(calibration_cache))
            else:
                self._lacks(
                    'the scales: trtexec does not calibrate, and invents them without --calib=, '
                    'the table of a finished build'
                )
        self._layers()
        for flag, tensors in (
            ('--inputIOFormats', self.model.inputs),
            ('--outputIOFormats', self.model.outputs),
        ):
            self._formats(flag, tensors)
        self._pools()
        if resolved.optimization_level is not None:
            self._add('--builderOptimizationLevel', str(resolved.optimization_level))
        if resolved.max_aux_streams is not None:
            self._add('--maxAuxStreams', str(resolved.max_aux_streams))
        self._tactic_sources()
        self._add('--avgTiming', str(resolved.timing_iterations))
        if not resolved.timing_cache:
            self._add('--noBuilderCache')
        elif timing_cache is not None:
            self._add('--timingCacheFile', str(timing_cache))
        level = {ours.upper(): theirs for theirs, ours in LEVELS.items()}
        if resolved.hardware_compatibility != 'NONE':
            self._add('--hardwareCompatibilityLevel', level[resolved.hardware_compatibility])
        self._add('--profilingVerbosity', resolved.verbosity.lower())
        for plugin in resolved.plugins:
            self._add('--dynamicPlugins', plugin)
        self._parser_flags()
        self._dla()
        self._add('--skipInference')
        return Command(tuple(self.words), tuple(self.notes))

    def _add(self, flag: str, value: str | None = None) -> None:
        span = SPANS.get(flag)
        if span is not None and not span.has('tensorrt', self.resolved.version):
            self._lacks(f'{flag} is in trtexec of {span.where()} alone')
            return
        self.words.append(flag if value is None else f'{flag}={value}')

    def _lacks(self, what: str) -> None:
        self.notes.append(f'not expressed: {what}')

    def _note_preparation(self) -> None:
        if self.resolved.scales == 'insert':
            self.notes.append('first: put Q/DQ nodes into the ONNX file, as trt_build does')
        if self.resolved.convert not in (None, 'fp32'):
            self.notes.append(
                f'first: make the floats of the ONNX file {self.resolved.convert}, as trt_build '
                f'does: {self.title} has no precision flags'
            )

    def _profiles(self) -> None:
        profiles = self.resolved.profiles
        if profiles and not self.model.dynamic_inputs:
            self.notes.append('no shapes: trtexec refuses them for a model of fixed shape')
            return
        if len(profiles) > 1 and self.resolved.version < (10,):
            self._lacks(f'{len(profiles) - 1} more profiles; {self.title} takes one')
            profiles = profiles[:1]
        for number, profile in enumerate(profiles):
            if len(profiles) > 1:
                self._add('--profile', str(number))
            for kind in ('min', 'opt', 'max'):
                shapes = (
                    f'{name}:{"x".join(map(str, getattr(shape, kind)))}'
                    for name, shape in profile.items()
                )
                self._add(f'--{kind}Shapes', ','.join(shapes))

    def _flags(self) -> None:
        for name in self.resolved.flags:
            if name in _FLAGS:
                flag, equals, value = _FLAGS[name].partition('=')
                self._add(flag, value if equals else None)
            elif name != 'REFIT_IDENTICAL':  # --stripWeights means it
                self._lacks(f'BuilderFlag.{name}')
        if 'TF32' in self.resolved.cleared:
            self._add('--noTF32')

    def _layers(self) -> None:
        resolved = self.resolved
        if resolved.precision == 'mixed':
            self._lacks('the layers that `mixed` keeps in FP16: its report lists them')
        if resolved.strongly_typed:
            if resolved.layer_rules:
                self.notes.append('first: layer precisions are Cast nodes in the ONNX file')
            return
        rules = [(rule.pattern, rule.precision) for rule in resolved.layer_rules]
        known = LAYER_PRECISIONS if resolved.version >= (10,) else ('fp32', 'fp16', 'int8')
        self._rules('--layerPrecisions', rules, known, wildcards=True)

    def _dla(self) -> None:
        dla = self.resolved.dla
        if dla.core is None:
            return
        self._add('--useDLACore', str(dla.core))
        if not dla.fallback:
            self.notes.append('trtexec without --allowGPUFallback also sets DIRECT_IO')
        rules = [(rule.pattern, rule.device.upper()) for rule in dla.layer_device]
        self._rules('--layerDeviceTypes', rules, ('GPU', 'DLA'), wildcards=False)

    def _rules(
        self, flag: str, rules: Sequence[tuple[str, str]], known: Sequence[str], *, wildcards: bool
    ) -> None:
        words = []
        for pattern, value in rules:
            name = _layer_name(pattern)
            alone = name == '*' if self.resolved.version < (10,) else wildcards
            if value not in known or name is None or (_has_star(pattern) and not alone):
                self._lacks(f'{value} for the layers {pattern!r}: {flag} of {self.title} cannot')
            else:
                words.append(f'{name}:{value}')
        if sum(_has_star(pattern) for pattern, _ in rules) > 1:
            self.notes.append(f'{flag}: which of several patterns with * counts is not defined')
        if words:
            # there the last that fits counts, here the first
            self._add(flag, ','.join(reversed(words)))

    def _formats(self, flag: str, tensors: Mapping[str, TensorSpec]) -> None:
        asked = self.resolved.io
        if not any(name in asked for name in tensors):
            return
        names = {ours: theirs for theirs, ours in FORMATS.items()}
        typed = self.resolved.version < (11,)
        words = []
        for name, spec in tensors.items():
            form = asked.get(name, TensorFormat())
            layout = names.get(form.format or 'linear')
            dtype = form.dtype or ONNX_TYPES.get(spec.dtype, 'fp32')
            if self.resolved.version < (10,) and dtype == 'int64':
                dtype = 'int32'
            if layout is None or (typed and dtype not in IO_TYPES):
                self._lacks(f'io.{name}: {flag} knows no {dtype} as {form.format or "linear"}')
                layout, dtype = 'chw', 'fp32'
            words.append(f'{dtype}:{layout}' if typed else layout)
            if form.dtype is not None and not typed:
                self.notes.append(f'first: {name} is {form.dtype} in the ONNX file')
        self._add(flag, ','.join(words))

    def _pools(self) -> None:
        names = {ours.upper(): theirs for theirs, ours in POOLS.items()}
        words = []
        for pool, mib in self.resolved.pools.items():
            if pool not in names:
                self._lacks(f'memory_mib.{pool.lower()}: trtexec has no flag for it')
            else:
                # KiB without a unit, unlike the others
                unit = 'M' if pool == 'TACTIC_SHARED_MEMORY' else ''
                words.append(f'{names[pool]}:{mib}{unit}')
        if words:
            self._add('--memPoolSize', ','.join(words))

    def _tactic_sources(self) -> None:
        chosen = self.resolved.tactic_sources
        if chosen is not None:
            known = [source.upper() for source in tactic_sources(self.resolved.version)]
            words = [f'{"+" if source in chosen else "-"}{source}' for source in known]
            self._add('--tacticSources', ','.join(words))

    def _parser_flags(self) -> None:
        flags = {ours.upper(): theirs for theirs, ours in PARSER_FLAGS.items()}
        for name in self.resolved.parser_flags:
            if name in flags:
                self._add(flags[name])
            elif self.resolved.version < (10,) and 'VERSION_COMPATIBLE' not in self.resolved.flags:
                self._lacks(f'OnnxParserFlag.{name}: {self.title} has it off')


def tactic_sources(version: Version) -> tuple[str, ...]:
    """Return the tactic sources of a version."""
    return _SOURCES if version >= (11,) else (*_LIBRARIES, *_SOURCES)


def _has_star(pattern: str) -> bool:
    return '*' in re.sub(r'\[[*?[]\]', '', pattern)


def _layer_name(pattern: str) -> str | None:
    """Return a pattern as trtexec writes it; None if it has more than one * in it."""
    bare = re.sub(r'\[[*?[]\]', '', pattern)
    if '?' in bare or '[' in bare or bare.count('*') > 1 or ',' in pattern:
        return None
    return re.sub(r'\[([*?[])\]', r'\1', pattern)
