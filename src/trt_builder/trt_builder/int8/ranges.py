# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The range of each tensor over calibration data, and where INT8 should cut it."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from trt_engine.backend import Array
from trt_engine.backend import Backend
from trt_engine.errors import CalibrationError

METHODS = ('entropy', 'minmax', 'percentile')
PERCENTILE = 99.99
INT8_MAX = 127

_BINS = 2048
_LEVELS = 128  # magnitudes that INT8 tells apart


class Histogram:
    """How often each magnitude occurs in one tensor; grows with what it sees, in constant memory.

    The entropy threshold is the one that NVIDIA published for TensorRT: the cut at which the
    distribution, once quantised, loses the least information (Migacz, 8-bit Inference with
    TensorRT, GTC 2017).
    """

    def __init__(self) -> None:
        self.amax = 0.0
        self._top = 0.0
        self._counts: Array = np.zeros(_BINS, np.int64)

    def add(self, magnitudes: Array) -> None:
        """Count the values of one array, none of them negative."""
        amax = float(magnitudes.max(initial=0))
        if amax == 0:
            return
        self.amax = max(self.amax, amax)
        self._top = self._top or amax
        while self._top < amax:
            self._counts[: _BINS // 2] = self._counts.reshape(-1, 2).sum(axis=1)
            self._counts[_BINS // 2 :] = 0
            self._top *= 2
        # zeros are exact in INT8 and tell nothing about where to cut
        seen = magnitudes[magnitudes > 0].astype(np.float32)
        places = np.minimum(seen * np.float32(_BINS / self._top), _BINS - 1).astype(np.int32)
        self._counts += np.bincount(places, minlength=_BINS)

    def threshold(self, method: str, percentile: float = PERCENTILE) -> float:
        """Return the magnitude that becomes the largest INT8 value; 0 where all was zero."""
        if method == 'minmax' or self.amax == 0:
            return self.amax
        edge = self._percentile(percentile) if method == 'percentile' else self._entropy()
        return min(edge * self._top / _BINS, self.amax)

    def _percentile(self, percentile: float) -> int:
        part = np.cumsum(self._counts) / self._counts.sum()
        return int(np.searchsorted(part, percentile / 100)) + 1

    def _entropy(self) -> int:
        used = int(np.flatnonzero(self._counts)[-1]) + 1
        counts = self._counts.astype(np.float64)
        beyond = counts.sum() - np.cumsum(counts)
        losses = {
            edge: _loss(counts[:edge], beyond[edge - 1])
            for edge in range(min(_LEVELS, used), used + 1)
        }
        return min(losses, key=lambda edge: losses[edge])


def _loss(kept: Array, beyond: float) -> float:
    """Return the Kullback-Leibler divergence that cutting and quantising costs."""
    reference = kept.copy()
    reference[-1] += beyond
    level = np.arange(kept.size) * _LEVELS // kept.size
    filled = kept > 0
    share = np.bincount(level, kept, _LEVELS) / np.maximum(np.bincount(level, filled, _LEVELS), 1)
    quantized = np.where(filled, share[level], 0)
    there = reference > 0
    p = reference[there] / reference.sum()
    q = np.maximum(quantized[there] / quantized.sum(), 1e-12) if quantized.any() else 1e-12
    return float(np.sum(p * np.log(p / q)))


def measure_thresholds(
    backend: Backend,
    tensors: Sequence[str],
    samples: Iterable[Mapping[str, Array]],
    *,
    method: str,
    percentile: float = PERCENTILE,
    progress: Callable[[int], object] | None = None,
) -> dict[str, float]:
    """Run all samples and return, for each tensor, the magnitude that INT8 should still reach.

    One sample's tensors are in memory at a time.

    Args:
        backend: A network that has the tensors among its outputs.
        tensors: Their names.
        samples: Network inputs.
        method: One of METHODS.
        percentile: Part of the magnitudes that is kept, in percent; only of that method.
        progress: Told the number of samples done.

    Raises:
        CalibrationError: The method is unknown, there is no sample, or a tensor is not finite.
        InferenceError: The network failed.
    """
    if method not in METHODS:
        raise CalibrationError(
            f'method {method!r} is not known here; allowed: {", ".join(METHODS)}'
        )
    if not 0 < percentile <= 100:
        raise CalibrationError(f'percentile is {percentile}; allowed: above 0, up to 100')
    histograms = {name: Histogram() for name in tensors}
    done = 0
    for done, inputs in enumerate(samples, 1):
        outputs = {**inputs, **backend.run(inputs)}
        for name, histogram in histograms.items():
            magnitudes = np.abs(outputs[name])
            amax = float(magnitudes.max(initial=0))
            if not np.isfinite(amax):
                raise CalibrationError(
                    f'tensor {name!r} is not finite in sample {done}: the network overflows on its '
                    'calibration data; check preprocessing and model'
                )
            if method == 'minmax':
                histogram.amax = max(histogram.amax, amax)
            else:
                histogram.add(magnitudes)
        if progress is not None:
            progress(done)
    if not done:
        raise CalibrationError('there is no calibration sample; wanted at least one')
    return {name: each.threshold(method, percentile) for name, each in histograms.items()}
