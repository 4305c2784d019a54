# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What each version and flavour of TensorRT offers, by name: one table, nothing imported.

Names are those of the Python module. Numbers behind enum names change between versions, so
neither they nor anything made from them is ever stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
import re
from typing import Any
from typing import Literal

from trt_engine.errors import BuildRefusedError

Flavour = Literal['tensorrt', 'tensorrt_rtx']
Version = tuple[int, ...]

OLDEST: Version = (8, 6)
TITLES: Mapping[str, str] = {'tensorrt': 'TensorRT', 'tensorrt_rtx': 'TensorRT-RTX'}
INSTALL: Mapping[str, str] = {
    'tensorrt': 'it comes with JetPack (apt install python3-libnvinfer); on a PC, pip install '
    'tensorrt',
    'tensorrt_rtx': 'pip install tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings',
}

_TYPED = 'from 11 on the precision must be in the model: give a typed ONNX file, or Q/DQ nodes'


@dataclass(frozen=True)
class Feature:
    """Where a name exists.

    Attributes:
        since: First version of TensorRT that has it.
        until: First version that has it no longer; None if it still does.
        rtx: Whether TensorRT-RTX has it.
        remedy: What to do where it is missing.
    """

    since: Version = OLDEST
    until: Version | None = None
    rtx: bool = True
    remedy: str = ''

    def has(self, flavour: Flavour, version: Version) -> bool:
        """Return whether that version has it."""
        if flavour == 'tensorrt_rtx':
            return self.rtx
        return self.since <= version and (self.until is None or version < self.until)

    def where(self) -> str:
        """Return the versions in words, such as TensorRT 10.0 to 10.16."""
        if self.until is None:
            return f'TensorRT >= {_dotted(self.since)}'
        last = _LAST_BEFORE[self.until]
        if self.since <= OLDEST:
            return f'TensorRT <= {_dotted(last)}'
        return f'TensorRT {_dotted(self.since)} to {_dotted(last)}'


_LAST_BEFORE: Mapping[Version, Version] = {(11,): (10, 16), (10,): (8, 6)}

_WEAK = Feature(until=(11,), rtx=False, remedy=_TYPED)
_CALIBRATION = Feature(
    until=(11,), rtx=False, remedy='put Q/DQ nodes into the model: calibration.route: qdq'
)

FEATURES: Mapping[str, Feature] = {
    'NetworkDefinitionCreationFlag.EXPLICIT_BATCH': Feature(until=(11,), rtx=False),
    'NetworkDefinitionCreationFlag.STRONGLY_TYPED': Feature((10,)),
    'BuilderFlag.FP16': _WEAK,
    'BuilderFlag.INT8': _WEAK,
    'BuilderFlag.BF16': Feature((10,), (11,), False, 'use fp16'),
    'BuilderFlag.FP8': _WEAK,
    'BuilderFlag.OBEY_PRECISION_CONSTRAINTS': _WEAK,
    'BuilderFlag.PREFER_PRECISION_CONSTRAINTS': _WEAK,
    'BuilderFlag.REFIT_IDENTICAL': Feature((10,), remedy='set strip_weights: false'),
    'BuilderFlag.STRIP_PLAN': Feature((10,), remedy='set strip_weights: false'),
    'BuilderFlag.WEIGHT_STREAMING': Feature((10,), remedy='set weight_streaming: false'),
    'ILayer.precision': _WEAK,
    'ILayer.set_output_type': _WEAK,
    'IInt8EntropyCalibrator2': _CALIBRATION,
    'IInt8MinMaxCalibrator': _CALIBRATION,
    'IInt8LegacyCalibrator': _CALIBRATION,
    'IBuilderConfig.int8_calibrator': _CALIBRATION,
    'IBuilderConfig.set_calibration_profile': _CALIBRATION,
    'MemoryPoolType.TACTIC_SHARED_MEMORY': Feature(
        (10,), remedy='remove memory_mib.tactic_shared_memory'
    ),
    'HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY': Feature(
        (10, 9), remedy='set hardware_compatibility: none or ampere_plus'
    ),
    'TacticSource.CUBLAS': Feature(until=(11,), rtx=False, remedy='remove it: it is never used'),
    'TacticSource.CUBLAS_LT': Feature(until=(11,), rtx=False, remedy='remove it: it is never used'),
    'TacticSource.CUDNN': Feature(until=(11,), rtx=False, remedy='remove it: it is never used'),
    'IProgressMonitor': Feature((10,)),
    'IBuilderConfig.progress_monitor': Feature((10,)),
    'OnnxParser.set_builder_config': Feature((10, 15)),
    'OnnxParserFlag.ENABLE_UINT8_AND_ASYMMETRIC_QUANTIZATION_DLA': Feature(
        (10, 11), remedy='quantise symmetrically, to INT8'
    ),
    'OnnxParserFlag.REPORT_CAPABILITY_DLA': Feature(
        (10, 15), remedy='see `trt_build dla-report`, which needs no TensorRT'
    ),
    'OnnxParserFlag.ENABLE_PLUGIN_OVERRIDE': Feature((10, 15)),
    'OnnxParserFlag.ADJUST_FOR_DLA': Feature((10, 16)),
    'PreviewFeature.PROFILE_SHARING_0806': Feature(until=(11,), rtx=False),
    'DataType.BF16': Feature((10,), remedy='use fp16'),
    'DataType.INT64': Feature((10,), remedy='use int32'),
    'ParserError.node_name': Feature((10,)),
    'ParserError.node_operator': Feature((10,)),
}


def parse_version(text: str) -> Version:
    """Return the numbers of a version such as 10.3.0.30.

    Raises:
        BuildRefusedError: It is none, or older than what this builder is written for.
    """
    found = re.match(r'\d+(?:\.\d+)+', text)
    version = tuple(int(part) for part in found[0].split('.')) if found else ()
    if not found:
        raise BuildRefusedError(f'{text!r} is no version of TensorRT; wanted such as 10.3.0.30')
    return version


def check_version(flavour: Flavour, version: Version) -> None:
    """Refuse what is older than this builder knows.

    Raises:
        BuildRefusedError: It is TensorRT before 8.6.
    """
    if flavour == 'tensorrt' and version < OLDEST:
        raise BuildRefusedError(
            f'TensorRT {_dotted(version)} is too old: wanted 8.6 (JetPack 6.0) or later; '
            'update JetPack'
        )


def has(symbol: str, flavour: Flavour, version: Version) -> bool:
    """Return whether that version has a name; one that is not in the table exists everywhere."""
    feature = FEATURES.get(symbol)
    return feature is None or feature.has(flavour, version)


def require(symbol: str, flavour: Flavour, version: Version, what: str, remedy: str = '') -> None:
    """Refuse what that version does not have.

    Args:
        symbol: The name that must exist, such as BuilderFlag.FP16.
        flavour: Which TensorRT.
        version: Its version.
        what: What it is needed for, in the user's words.
        remedy: What to do instead, where the table's own words do not fit.

    Raises:
        BuildRefusedError: Says what needs which version, and what to do.
    """
    if has(symbol, flavour, version):
        return
    feature = FEATURES[symbol]
    found = _dotted(version[:3]) if flavour == 'tensorrt' else describe(flavour, version)
    advice = remedy or feature.remedy
    raise BuildRefusedError(
        f'{what} needs {feature.where()}, found {found}' + (f'; {advice}' if advice else '')
    )


def find(module: Any, symbol: str) -> Any:
    """Return what a dotted name stands for in a TensorRT module; None where it does not exist."""
    return reduce(lambda owner, name: getattr(owner, name, None), symbol.split('.'), module)


def describe(flavour: Flavour, version: Version) -> str:
    """Return such as TensorRT 10.3.0."""
    return f'{TITLES[flavour]} {_dotted(version[:3])}'


def _dotted(version: Version) -> str:
    return '.'.join(str(part) for part in (version if len(version) > 1 else (*version, 0)))
