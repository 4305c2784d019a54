# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""How a card wants its engine built: the section `build:`, checked as far as the card alone goes.

What TensorRT and the GPU at hand can give of it is asked later, by the builder.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated
from typing import Any
from typing import Literal

from trt_engine.fields import Allow
from trt_engine.fields import as_text
from trt_engine.fields import Key
from trt_engine.fields import load_yaml
from trt_engine.fields import read_section

Precision = Literal['fp32', 'fp16', 'bf16', 'int8', 'fp8', 'best', 'mixed']
LayerPrecision = Literal['fp32', 'fp16', 'bf16', 'int8', 'fp8']
Device = Literal['gpu', 'dla']
Pool = Literal[
    'workspace',
    'tactic_dram',
    'tactic_shared_memory',
    'dla_managed_sram',
    'dla_local_dram',
    'dla_global_dram',
]
DataType = Literal['fp32', 'fp16', 'bf16', 'fp8', 'int8', 'int32', 'int64', 'uint8', 'bool']
Format = Literal[
    'linear',
    'chw2',
    'chw4',
    'chw16',
    'chw32',
    'hwc',
    'hwc8',
    'hwc16',
    'dhwc',
    'dhwc8',
    'cdhw32',
    'dla_linear',
    'dla_hwc4',
]
TacticSource = Literal['cublas', 'cublas_lt', 'cudnn', 'edge_mask_convolutions', 'jit_convolutions']
ParserFlag = Literal[
    'native_instancenorm',
    'enable_uint8_and_asymmetric_quantization_dla',
    'report_capability_dla',
    'enable_plugin_override',
    'adjust_for_dla',
]

MAX_DIMS = 8  # TensorRT's own limit
DLA_PRECISIONS = ('fp16', 'int8')


@dataclass(frozen=True)
class LayerRule:
    """A precision for the layers of some names."""

    pattern: Annotated[str, Allow('Names of layers, with * ? and [] as in the shell')]
    precision: Annotated[LayerPrecision, Allow('What these layers compute in')]

    def matches(self, layer: str) -> bool:
        """Return whether the rule is for a layer; the first rule that is counts."""
        return fnmatchcase(layer, self.pattern)


@dataclass(frozen=True)
class DeviceRule:
    """A device for the layers of some names."""

    pattern: Annotated[str, Allow('Names of layers, with * ? and [] as in the shell')]
    device: Annotated[Device, Allow('Where these layers run')]

    def matches(self, layer: str) -> bool:
        """Return whether the rule is for a layer; the first rule that is counts."""
        return fnmatchcase(layer, self.pattern)


@dataclass(frozen=True)
class TensorFormat:
    """The form of an input or output of the engine; None leaves it to the model."""

    dtype: Annotated[DataType | None, Allow('Element type')] = None
    format: Annotated[Format | None, Allow("Memory layout, by TensorRT's name for it")] = None


@dataclass(frozen=True)
class ShapeRange:
    """The shapes of one input that an engine takes, and the one it is fastest with."""

    min: Annotated[tuple[int, ...], Allow('Smallest shape', 1)]
    opt: Annotated[tuple[int, ...], Allow('The shape to tune for', 1)]
    max: Annotated[tuple[int, ...], Allow('Largest shape', 1)]

    @property
    def is_fixed(self) -> bool:
        """Return whether it is one shape."""
        return self.min == self.opt == self.max


@dataclass(frozen=True)
class Dla:
    """What runs on a deep learning accelerator."""

    core: Annotated[int | None, Allow('Which DLA core, from 0; null: the GPU', 0)] = None
    fallback: Annotated[
        bool, Allow('Whether the GPU may run the layers that the DLA cannot; each is reported')
    ] = False
    layer_device: Annotated[
        tuple[DeviceRule, ...], Allow('Devices by layer name; the first rule that fits counts')
    ] = ()


@dataclass(frozen=True)
class Calibration:
    """What the scales of an INT8 engine come from."""

    data: Annotated[
        str | None,
        Allow(
            'A folder of pictures, a rosbag or an .npz file, relative to this card',
            read=_read_path,
        ),
    ] = None
    topic: Annotated[str | None, Allow('The topic of a rosbag')] = None
    samples: Annotated[int, Allow('Take this many, spread over all there are', 1, 100_000)] = 500
    method: Annotated[
        Literal['auto', 'entropy', 'minmax', 'legacy', 'percentile'],
        Allow(
            'How a scale is chosen; legacy has a calibrator only, percentile Q/DQ only; auto: '
            'entropy by calibrator, percentile with Q/DQ'
        ),
    ] = 'auto'
    cache: Annotated[
        str | None,
        Allow(
            'A calibration cache of TensorRT, used in place of data; relative to this card',
            read=_read_path,
        ),
    ] = None
    route: Annotated[
        Literal['auto', 'calibrator', 'qdq'],
        Allow(
            "TensorRT's calibrator (up to 10.16), or Q/DQ nodes put into the model; auto: Q/DQ, "
            'but the calibrator for a DLA, or with a cache'
        ),
    ] = 'auto'
    keep_sensitive: Annotated[
        bool,
        Allow('Whether depthwise convolutions and the last layers before each output stay in FP16'),
    ] = True


@dataclass(frozen=True)
class Checks:
    """How far a new engine may be from ONNX Runtime; null: what suits the precision."""

    max_abs: Annotated[float | None, Allow('Largest difference of any value', 0)] = None
    mean_abs: Annotated[float | None, Allow('Mean difference', 0)] = None
    cosine: Annotated[float | None, Allow('Smallest cosine similarity', 0, 1)] = None


@dataclass(frozen=True)
class Build:
    """The section `build:` of a card."""

    precision: Annotated[
        Precision,
        Allow('best: what is fastest; mixed: INT8 with the most sensitive layers in FP16'),
    ] = 'fp16'
    layer_precision: Annotated[
        tuple[LayerRule, ...], Allow('Precisions by layer name; the first rule that fits counts')
    ] = ()
    layer_constraint: Annotated[
        Literal['obey', 'prefer'],
        Allow('Whether a layer precision that cannot be had is an error, or a wish'),
    ] = 'prefer'
    mixed_layers: Annotated[int, Allow('How many layers `mixed` keeps in FP16', 0)] = 8
    tf32: Annotated[bool, Allow('Whether FP32 layers may use TF32')] = True
    sparsity: Annotated[bool, Allow('Whether to use 2:4 sparse weights where they are')] = False
    memory_mib: Annotated[
        Mapping[Pool, int], Allow("Limits of TensorRT's memory pools, in MiB", 1)
    ] = field(default_factory=dict, hash=False)
    optimization_level: Annotated[
        int | None, Allow("How hard to search, 0 to 5; null: TensorRT's default, 3", 0, 5)
    ] = None
    max_aux_streams: Annotated[
        int | None, Allow('Streams beside the main one; null: TensorRT decides', 0)
    ] = None
    tactic_sources: Annotated[
        tuple[TacticSource, ...] | None,
        Allow("Libraries to take kernels from, [] for none; null: TensorRT's default"),
    ] = None
    timing_iterations: Annotated[int, Allow('Runs that the time of a kernel is from', 1)] = 1
    io: Annotated[Mapping[str, TensorFormat], Allow('Input or output -> the form it has')] = field(
        default_factory=dict, hash=False
    )
    profiles: Annotated[
        tuple[Mapping[str, ShapeRange], ...],
        Allow('Optimisation profiles, each: input -> shapes that it takes'),
    ] = field(default=(), hash=False)
    refit: Annotated[bool, Allow('Whether weights can be exchanged later')] = False
    strip_weights: Annotated[bool, Allow('Whether weights stay out of the engine')] = False
    weight_streaming: Annotated[
        bool, Allow('Whether weights may stay on the CPU, to be brought to the GPU in each run')
    ] = False
    version_compatible: Annotated[bool, Allow('Whether newer TensorRT can run it')] = False
    hardware_compatibility: Annotated[
        Literal['none', 'ampere_plus', 'same_compute_capability'],
        Allow('Which other GPUs can run it'),
    ] = 'none'
    plugins: Annotated[
        tuple[str, ...],
        Allow('Plugin libraries, relative to this card', read=_read_paths),
    ] = ()
    verbosity: Annotated[
        Literal['layer_names_only', 'detailed', 'none'],
        Allow('What the engine can tell of its layers'),
    ] = 'detailed'
    timing_cache: Annotated[bool, Allow('Whether kernel times of earlier builds are used')] = True
    parser_flags: Annotated[tuple[ParserFlag, ...], Allow('Flags of the ONNX parser')] = ()
    simplify: Annotated[
        bool, Allow('Whether onnxslim folds constants and simplifies a copy of the model first')
    ] = False
    dla: Annotated[Dla, Allow('What runs on a deep learning accelerator')] = Dla()
    calibration: Annotated[Calibration, Allow('What INT8 scales come from')] = Calibration()
    checks: Annotated[Checks, Allow('How far it may be from ONNX Runtime')] = Checks()


def read_build(value: object, key: Key) -> Build:
    """Return the section of a card.

    Raises:
        CardError: Names the key, the value and what is allowed.
    """
    build = read_section(Build, value, key)
    _check_profiles(build, key / 'profiles')
    _check_pools(build, key / 'memory_mib')
    _check_dla(build, key)
    _check_calibration(build, key / 'calibration')
    return build


def override(build: Build, settings: Sequence[str]) -> Build:
    """Return the section with some values replaced.

    Args:
        build: What to start from.
        settings: Such as `precision=int8` or `dla.core=0`: the key, then a value in YAML. Paths
            are relative to the working directory.

    Raises:
        CardError: As for a card.
    """
    source = Key(Path('--set'))
    values: dict[str, Any] = asdict(build)
    for setting in settings:
        name, equals, text = setting.partition('=')
        path = name.strip().removeprefix('build.').split('.')
        if not equals or not all(path):
            raise source.refuse(setting, '<key>=<value>, such as precision=int8 or dla.core=0')
        place = source / 'build'
        section = values
        for part in path[:-1]:
            place /= part
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                raise place.error('has no keys; set it as a whole')
        section[path[-1]] = load_yaml(text, place / path[-1])
    return read_build(values, source / 'build')


def _read_path(value: object, key: Key) -> str | None:
    return None if value is None else _path(value, key)


def _read_paths(value: object, key: Key) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise key.refuse(value, 'a list of paths')
    return tuple(_path(item, key / str(place)) for place, item in enumerate(value))


def _path(value: object, key: Key) -> str:
    return str(key.file.parent / Path(as_text(value, key, Allow(''))).expanduser())


def _check_profiles(build: Build, key: Key) -> None:
    for place, profile in enumerate(build.profiles):
        here = key / str(place)
        if profile.keys() != build.profiles[0].keys() or not profile:
            named = ', '.join(build.profiles[0]) or 'the inputs whose shape varies'
            raise here.refuse(sorted(profile), f'the same inputs in each profile: {named}')
        for tensor, shapes in profile.items():
            low, best, high = shapes.min, shapes.opt, shapes.max
            if not 1 <= len(low) == len(best) == len(high) <= MAX_DIMS:
                found = f'{list(low)}, {list(best)} and {list(high)}'
                raise (here / tensor).error(
                    f'has the shapes {found}; allowed: min, opt and max of the same length, '
                    f'1 to {MAX_DIMS}'
                )
            if not all(a <= b <= c for a, b, c in zip(low, best, high, strict=True)):
                raise (here / tensor).error(
                    f'has min {list(low)}, opt {list(best)}, max {list(high)}; allowed: '
                    'min <= opt <= max in each dimension'
                )


def _check_pools(build: Build, key: Key) -> None:
    for pool, mib in build.memory_mib.items():
        if pool.startswith('dla_') and mib & (mib - 1):
            raise (key / pool).refuse(mib, 'a power of two')


def _check_dla(build: Build, key: Key) -> None:
    if build.dla.core is None:
        return
    wanted = f'with dla.core {build.dla.core}'
    if build.precision not in DLA_PRECISIONS:
        raise (key / 'precision').refuse(
            build.precision, f'{" or ".join(DLA_PRECISIONS)} {wanted}: a DLA computes in no other'
        )
    for place, profile in enumerate(build.profiles):
        for tensor, shapes in profile.items():
            if not shapes.is_fixed:
                raise (key / 'profiles' / str(place) / tensor).error(
                    f'has min {list(shapes.min)}, opt {list(shapes.opt)}, max '
                    f'{list(shapes.max)}; allowed: min = opt = max {wanted}: a DLA takes one shape'
                )


def _check_calibration(build: Build, key: Key) -> None:
    given = build.calibration
    if given.cache is not None and build.precision != 'int8':
        raise (key / 'cache').refuse(
            given.cache, f'null with precision {build.precision}; a cache is for int8'
        )
    if given.topic is not None and given.data is None:
        raise (key / 'topic').refuse(given.topic, 'null, or a rosbag in calibration.data')
    only = {'legacy': 'calibrator', 'percentile': 'qdq'}.get(given.method)
    if only and given.route not in ('auto', only):
        raise (key / 'method').refuse(
            given.method, f'with route {given.route}: auto, entropy, minmax'
        )
