# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Which layers lose most in INT8: each one quantised by itself, and what that does to the outputs.

The cost is one load of the network and one run of every sample per layer.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from trt_builder.int8.qdq import calibrate
from trt_builder.int8.qdq import choose_layers
from trt_builder.int8.qdq import FloatModel
from trt_builder.int8.qdq import Keep
from trt_builder.int8.qdq import open_model
from trt_builder.int8.qdq import QdqReport
from trt_builder.int8.qdq import SUGGESTED
from trt_builder.int8.qdq import write
from trt_engine.backend import Array
from trt_engine.backend import Backend
from trt_engine.errors import BuildRefusedError
from trt_engine.errors import CalibrationError

SAMPLES = 8  # more hardly change which layers are worst


@dataclass(frozen=True)
class Sensitivity:
    """What one layer costs.

    Attributes:
        layer: Name of the node.
        op: Its ONNX operator.
        error: Power of the change of the outputs over their power, mean over outputs and samples,
            when this layer alone is INT8; 0.01 is 20 dB of signal over noise.
        share: Part of the sum of all errors.
    """

    layer: str
    op: str
    error: float
    share: float


def measure_sensitivity(
    source: FloatModel,
    scales: Mapping[str, float],
    samples: Iterable[Mapping[str, Array]],
    *,
    keep: Keep = SUGGESTED,
    compare: Sequence[str] = (),
    progress: Callable[[int, int], object] | None = None,
) -> tuple[Sensitivity, ...]:
    """Return what each layer costs in INT8, the worst first.

    Args:
        source: The network.
        scales: Activation -> scale, as `trt_builder.int8.qdq.calibrate` gives.
        samples: Network inputs, batch 1; a few say enough, and all are kept in memory.
        keep: Layers that keep their precision anyway; they are not measured.
        compare: Tensors to compare instead of the outputs: those before a sorting, where the order
            of the outputs follows the values.
        progress: Told how many layers are done, and of how many.

    Raises:
        BuildRefusedError: No layer can be measured, or `compare` names what the network lacks.
        CalibrationError: There is no sample.
    """
    layers, _ = choose_layers(source, scales, keep)
    kept = [{name: each.copy() for name, each in inputs.items()} for inputs in samples]
    if not kept:
        raise CalibrationError('there is no sample to measure the sensitivity with; give a few')
    model = source.with_outputs(compare)
    names = list(compare) or [each.name for each in model.graph.output]
    made = {name for node in model.graph.node for name in node.output}
    if unknown := set(names) - made:
        raise BuildRefusedError(f'{source.path}: has no tensor {", ".join(sorted(unknown))}')
    with open_model(model) as backend:
        floats = [each.name for each in backend.tensors if each.dtype.kind == 'f']
        names = [name for name in names if name in floats]
        expected = [_outputs(backend, inputs, names) for inputs in kept]
    errors = []
    for done, layer in enumerate(layers, 1):
        with open_model(source.quantized([layer], scales, compare)) as backend:
            found = (_outputs(backend, inputs, names) for inputs in kept)
            errors.append(np.mean([_error(a, b) for a, b in zip(expected, found, strict=True)]))
        if progress is not None:
            progress(done, len(layers))
    total = sum(errors) or 1.0
    report = [
        Sensitivity(layer.name, layer.op, float(error), float(error / total))
        for layer, error in zip(layers, errors, strict=True)
    ]
    return tuple(sorted(report, key=lambda each: -each.error))


def choose_mixed(report: Sequence[Sensitivity], worst: int, keep: Keep = SUGGESTED) -> Keep:
    """Return what keeps its precision in `mixed`: the worst few of a report, and `keep`."""
    names = {each.layer for each in sorted(report, key=lambda each: -each.error)[:worst]}
    return replace(keep, names=keep.names | names)


def insert_mixed(
    model: Path,
    out: Path,
    samples: Iterable[Mapping[str, Array]],
    *,
    method: str,
    worst: int,
    keep: Keep = SUGGESTED,
    progress: Callable[[str], object],
) -> tuple[QdqReport, tuple[Sensitivity, ...]]:
    """Write a model with Q/DQ everywhere but around the layers that lose most by it.

    Args:
        model: An FP32 ONNX file.
        out: The file to write.
        samples: Network inputs, batch 1; read twice.
        method: How each range is cut: one of `trt_builder.int8.ranges.METHODS`.
        worst: How many layers keep their precision.
        keep: Layers that keep it anyway.
        progress: Told what is being done.

    Raises:
        BuildRefusedError: The model cannot be quantised.
        BuildFailedError: The written file does not run, or not to finite outputs.
        CalibrationError: The samples or the method cannot be used.
    """
    source = FloatModel(model)
    scales, first = calibrate(
        source, samples, method=method, progress=lambda done: progress(f'sample {done}')
    )
    report = measure_sensitivity(
        source,
        scales,
        islice(samples, SAMPLES),
        keep=keep,
        compare=before_sorting(source),
        progress=lambda done, count: progress(f'sensitivity of layer {done} of {count}'),
    )
    return write(source, out, scales, keep=choose_mixed(report, worst, keep), sample=first), report


def before_sorting(source: FloatModel) -> tuple[str, ...]:
    """Return the tensors that a network sorts its outputs by, which should be compared instead."""
    graph = source.proto.graph
    found = (node.input[0] for node in graph.node if node.op_type == 'TopK')
    return tuple(dict.fromkeys(found))


def to_text(report: Sequence[Sensitivity], worst: int = 20) -> str:
    """Return the worst layers as a table for people."""
    rows = [f'{each.share:6.1%}  {each.error:9.3g}  {each.op:<10} {each.layer}' for each in report]
    rest = sum(each.share for each in report[worst:])
    more = [f'{rest:6.1%}  the {len(report) - worst} others together'] if report[worst:] else []
    return '\n'.join([' share      error  op         layer', *rows[:worst], *more])


def _outputs(
    backend: Backend, inputs: Mapping[str, Array], names: Sequence[str]
) -> dict[str, Array]:
    outputs = backend.run(inputs)
    return {name: outputs[name].astype(np.float64) for name in names}


def _error(expected: Mapping[str, Array], found: Mapping[str, Array]) -> float:
    ratios = []
    for name, wanted in expected.items():
        power = float(np.square(wanted).sum())
        if power:
            ratios.append(float(np.square(found[name] - wanted).sum()) / power)
    return float(np.mean(ratios)) if ratios else 0.0
