# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What NVML says of the GPU: on Thor the only way to its load, on a PC the only way to anything.

It goes through the module pynvml of nvidia-ml-py, which is optional.
"""

from __future__ import annotations

from collections.abc import Callable
import time
from typing import Any

from jetson_monitor.errors import SourceError
from jetson_monitor.sample import Sample

_MIB = 1 << 20


class NvmlSource:
    """Asks NVML about the first GPU.

    Args:
        clock: Returns seconds since the epoch.
        monotonic: Returns seconds that never go back.

    Raises:
        SourceError: The module is not installed, or there is no driver or no GPU.
    """

    name = 'nvml'
    problem = ''  # it is always asked in the moment of the sample

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        try:
            import pynvml
        except ImportError as error:
            raise SourceError(
                'the module pynvml is not installed: run pip install nvidia-ml-py'
            ) from error
        self._nvml: Any = pynvml
        self._clock = clock
        self._monotonic = monotonic
        try:
            pynvml.nvmlInit()
            self._gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
        except pynvml.NVMLError as error:
            raise SourceError(
                f'NVML cannot be used: {error}; see whether nvidia-smi works here'
            ) from error

    def read(self) -> Sample:
        """Return what NVML says now; what this GPU does not support is absent.

        Raises:
            SourceError: The GPU no longer answers.
        """
        values: dict[str, float] = {}
        for ask in (_load, _clock, _temperature, _memory):
            try:
                values |= ask(self._nvml, self._gpu)
            except self._nvml.NVMLError_NotSupported:
                continue
            except self._nvml.NVMLError as error:
                raise SourceError(f'NVML no longer answers: {error}') from error
        return Sample(self._clock(), self._monotonic(), values)

    def close(self) -> None:
        """Let go of NVML."""
        self._nvml.nvmlShutdown()


def _load(nvml: Any, gpu: Any) -> dict[str, float]:
    return {'gpu_load_percent': float(nvml.nvmlDeviceGetUtilizationRates(gpu).gpu)}


def _clock(nvml: Any, gpu: Any) -> dict[str, float]:
    return {'gpu_clock_mhz': float(nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_GRAPHICS))}


def _temperature(nvml: Any, gpu: Any) -> dict[str, float]:
    return {'temp_gpu_c': float(nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU))}


def _memory(nvml: Any, gpu: Any) -> dict[str, float]:
    memory = nvml.nvmlDeviceGetMemoryInfo(gpu)
    return {
        'gpu_memory_used_mib': memory.used / _MIB,
        'gpu_memory_total_mib': memory.total / _MIB,
    }
