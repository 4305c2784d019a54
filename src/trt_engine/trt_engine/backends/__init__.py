# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Picks the backend that runs a network here; loads its library only then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from trt_engine.backend import Backend
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import ConfigError
from trt_engine.platform import has_gpu
from trt_engine.platform import tensorrt_version

PREFERENCES = ('auto', 'tensorrt', 'onnxruntime')


@dataclass(frozen=True)
class Choice:
    """The backend to open, and why it is this one, as a sentence for log and diagnostics."""

    name: str
    reason: str


def choose_backend(preference: str = 'auto', require_tensorrt: bool = False) -> Choice:
    """Return the backend to use on this machine.

    Args:
        preference: auto takes TensorRT where it can run, else ONNX Runtime on the CPU.
        require_tensorrt: Whether to fail rather than to run without TensorRT.

    Raises:
        ConfigError: There is no such backend, or the two settings contradict each other.
        BackendUnavailableError: TensorRT is wanted and cannot run here; says what is missing.
    """
    if preference not in PREFERENCES:
        raise ConfigError(f'backend is {preference!r}; allowed: {", ".join(PREFERENCES)}')
    if preference == 'onnxruntime':
        if require_tensorrt:
            raise ConfigError('backend is onnxruntime, but require_tensorrt is true; drop one')
        return Choice('onnxruntime', 'ONNX Runtime on the CPU, as configured')
    lacks = _what_tensorrt_lacks()
    if not lacks:
        return Choice('tensorrt', 'TensorRT on the GPU')
    why = '; '.join(lacks)
    if require_tensorrt or preference == 'tensorrt':
        raise BackendUnavailableError(
            f'TensorRT cannot run here: {why}. To run on the CPU meanwhile, set backend to '
            'onnxruntime and require_tensorrt to false'
        )
    return Choice('onnxruntime', f'ONNX Runtime on the CPU, as TensorRT cannot run here: {why}')


def open_backend(
    name: str,
    model: Path,
    *,
    threads: int = 0,
    dla_core: int | None = None,
    plugins: Sequence[str] = (),
    version_compatible: bool = False,
    label: str = '',
    own_arena: bool = False,
    weight_streaming_mib: int | None = None,
) -> Backend:
    """Return a backend with the network loaded.

    Args:
        name: tensorrt or onnxruntime.
        model: The serialized engine for tensorrt, the ONNX file for onnxruntime.
        threads: For onnxruntime: CPU threads for one run; 0 leaves it to the library.
        dla_core: For tensorrt, as all that follows: the DLA core that the engine is for.
        plugins: Plugin libraries that the engine needs.
        version_compatible: Whether the engine was built to be.
        label: What to call the engine in diagnostics; its file is called engine.plan, as all are.
        own_arena: As for `TensorRtBackend`.
        weight_streaming_mib: Likewise.

    Raises:
        ConfigError: There is no such backend.
        BackendUnavailableError: This machine lacks what it needs.
        ModelLoadError: It refuses the network.
    """
    if name == 'onnxruntime':
        from trt_engine.backends.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(model, threads=threads)
    if name == 'tensorrt':
        from trt_engine.backends.tensorrt import TensorRtBackend

        return TensorRtBackend(
            model,
            dla_core=dla_core,
            plugins=plugins,
            version_compatible=version_compatible,
            label=label,
            own_arena=own_arena,
            weight_streaming_mib=weight_streaming_mib,
        )
    raise ConfigError(f'backend is {name!r}; allowed: tensorrt, onnxruntime')


def _what_tensorrt_lacks() -> list[str]:
    lacks = []
    if tensorrt_version() is None:
        lacks.append(
            'the Python package tensorrt is not installed (on a Jetson: sudo apt install '
            'python3-libnvinfer; elsewhere: pip install tensorrt)'
        )
    if not _has_cuda_bindings():
        lacks.append(
            'the Python package cuda-bindings is not installed (JetPack 6: pip install '
            '"cuda-bindings<13"; elsewhere: pip install cuda-bindings)'
        )
    if not has_gpu():
        lacks.append(
            'no NVIDIA GPU device is visible (in a container: start it with --runtime nvidia)'
        )
    return lacks


def _has_cuda_bindings() -> bool:
    # of a dotted name find_spec imports the first part; until 12.6 the bindings were cuda.cudart
    return find_spec('cuda') is not None and (
        find_spec('cuda.bindings') is not None or find_spec('cuda.cudart') is not None
    )
