# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What one network takes of memory: as it is loaded, as its build said, or as its ONNX file says.

The three agree in form, so that a plan made beforehand and the figures of a running node can be
laid side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
import math
from pathlib import Path
import re

import numpy as np

from trt_engine.backend import TensorInfo
from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.build_settings import Build
from trt_engine.card import Card
from trt_engine.entry import Entry
from trt_engine.entry import read_text
from trt_engine.lidar.pillar_inputs import network_shapes
from trt_engine.lidar_card import PointsInput
from trt_engine.memory.budget import ACTIVATIONS
from trt_engine.memory.budget import ASSUMED
from trt_engine.memory.budget import Assumptions
from trt_engine.memory.budget import Basis
from trt_engine.memory.budget import Part
from trt_engine.memory.budget import SCRATCH
from trt_engine.memory.machine import MIB
from trt_engine.memory.onnx_sizes import read_input_shapes
from trt_engine.memory.onnx_sizes import read_onnx_memory

_WEIGHT_BITS: Mapping[str, int] = {'fp32': 32, 'int8': 8, 'fp8': 8}  # all others: 16
_NUMPY = {
    'fp32': 'float32', 'fp16': 'float16', 'int8': 'int8', 'int32': 'int32', 'int64': 'int64',
    'uint8': 'uint8', 'bool': 'bool',
}  # fmt: skip
WEIGHTS = 'weights'
_TOLD = r'Total {} Memory: (\d+)'  # bytes; 8.6 tells of activations and the persistent alone


@dataclass(frozen=True)
class NetworkMemory:
    """What one network takes before it has any camera.

    Attributes:
        name: What to call it.
        tensors: Its inputs and outputs for one image.
        parts: Weights, activations with the kernels' scratch, inputs and outputs.
        notes: What the figures leave out.
    """

    name: str
    tensors: tuple[TensorInfo, ...]
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()

    def renamed(self, name: str) -> NetworkMemory:
        """Return the same of another instance of the network."""
        parts = tuple(replace(part, owner=name) for part in self.parts)
        return replace(self, name=name, parts=parts)

    def in_contexts(self, number: int) -> NetworkMemory:
        """Return the same with so many contexts of one engine, each with memory of its own."""
        parts = tuple(
            part
            if part.what == WEIGHTS
            else replace(part, nbytes=part.nbytes * number, source=f'{number} x {part.source}')
            for part in self.parts
        )
        return replace(self, parts=parts)

    def streaming(self, budget_mib: int) -> NetworkMemory:
        """Return the same with no more of the weights on the GPU, the others on the CPU; 0: all."""
        parts: list[Part] = []
        for part in self.parts:
            over = part.nbytes - budget_mib * MIB
            if part.what != WEIGHTS or part.side != 'device' or budget_mib == 0 or over <= 0:
                parts.append(part)
                continue
            kept = replace(
                part, nbytes=budget_mib * MIB, basis='estimate', source='weight_streaming_mib'
            )
            parts += (kept, _streamed(self.name, over, 'estimate'))
        return replace(self, parts=tuple(parts))


def loaded_memory(name: str, backend: TensorRtBackend) -> NetworkMemory:
    """Return what a loaded engine holds, all its contexts together.

    Args:
        name: What to call it.
        backend: The engine, prepared for the shapes that it will run with.
    """
    tensors = tuple(
        replace(info, shape=backend.memory[info.name].host.shape)
        for info in backend.tensors
        if info.name in backend.memory
    )
    reserved = [each for context in backend.contexts for each in context.memory.values()]
    streamed = backend.streamed_bytes
    parts = (
        _weights(name, backend.plan_bytes - streamed, 'bound', 'the engine file, with its kernels'),
        *((_streamed(name, streamed, 'exact'),) if streamed else ()),
        _activations(name, backend.activation_bytes, 'exact', 'TensorRT says so, scratch included'),
        *_both_sides(
            name,
            sum(each.device_bytes for each in reserved),
            sum(each.host.nbytes for each in reserved),
            f'{len(reserved)} tensors',
        ),
    )
    notes = tuple(f'{each} of {name}, which grows as it must' for each in backend.varying)
    return NetworkMemory(name, tensors, tuple(replace(part, held=True) for part in parts), notes)


def built_memory(
    name: str,
    card: Card,
    onnx: Path,
    entry: Entry,
    *,
    assumptions: Assumptions = ASSUMED,
    batch: int = 1,
) -> NetworkMemory:
    """Return what an engine of the store will take; TensorRT told of it in the build's log.

    Args:
        name: What to call it.
        card: Its card.
        onnx: The model that it was built from.
        entry: The engine.
        assumptions: As for `onnx_memory`, where the log does not tell.
        batch: Most images that go through it together.

    Raises:
        ModelFileError: The sizes of its tensors do not follow from the model.
        StoreError: The log cannot be read.
    """
    log = read_text(entry.log)
    activations, weights, persistent = (
        _told(log, what) for what in ('Activation', 'Weights', 'Device Persistent')
    )
    source = f'the build of engine {entry.key[:12]}'
    if activations is None:  # an engine from elsewhere, or one that was built in silence
        return onnx_memory(name, card, onnx, assumptions=assumptions, batch=batch)
    size = entry.manifest.plan_bytes or entry.size_bytes
    tensors = _as_built(card.build, read_onnx_memory(onnx, input_shapes(card, onnx)).tensors)
    parts = (
        _weights(name, size, 'bound', 'the engine file, with its kernels')
        if weights is None
        else _weights(name, weights, 'exact', source),
        _activations(name, activations, 'exact', f'{source}, scratch included'),
        *(
            Part(name, 'state of kernels', nbytes, 'device', 'exact', source)
            for nbytes in (persistent,)
            if nbytes is not None
        ),
        *_exchanges(name, card.build, tensors, batch),
    )
    return NetworkMemory(name, tensors, parts, _notes(card))


def onnx_memory(
    name: str, card: Card, onnx: Path, *, assumptions: Assumptions = ASSUMED, batch: int = 1
) -> NetworkMemory:
    """Return what an engine will take that is still to be built.

    Args:
        name: What to call it.
        card: Its card.
        onnx: Its model.
        assumptions: What its kernels take beside tensors, where the card sets no limit.
        batch: Most images that go through it together.

    Raises:
        ModelFileError: The sizes of its tensors do not follow from the model.
    """
    sizes = read_onnx_memory(onnx, input_shapes(card, onnx))
    tensors = _as_built(card.build, sizes.tensors)
    largest = read_onnx_memory(onnx, input_shapes(card, onnx, largest=True))
    bits = _WEIGHT_BITS.get(card.build.precision, 16)
    limit = card.build.memory_mib.get('workspace')
    parts = (
        _weights(
            name, sizes.floats * bits // 8 + sizes.other_bytes, 'estimate',
            f'{sizes.floats} numbers of the ONNX file as {card.build.precision}',
        ),
        _activations(
            name, largest.live_bytes, 'bound', 'tensors of the ONNX file alive at once, in FP32'
        ),
        Part(name, SCRATCH, assumptions.scratch_mib * MIB, 'device', 'assumed',
             'known once the engine is built')
        if limit is None
        else Part(name, SCRATCH, limit * MIB, 'device', 'bound',
                  "the card's memory_mib.workspace"),
        *_exchanges(name, card.build, tensors, batch),
    )  # fmt: skip
    return NetworkMemory(name, tensors, parts, _notes(card, largest.unknown))


def input_shapes(card: Card, onnx: Path, *, largest: bool = False) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the inputs that the card knows of.

    Of a lidar network these are those for as many pillars as there may be.

    Args:
        card: The card.
        onnx: The model, or the encoder, which only a lidar network is asked for.
        largest: Whether to take the largest of its optimisation profiles, in place of one image.

    Raises:
        ModelFileError: The file cannot be read, or takes neither a grid nor the card's pillars.
    """
    if isinstance(card.input, PointsInput):
        inputs = read_input_shapes(onnx)
        known = network_shapes(card.input, inputs)
        return {name: shape for name, shape in known.items() if name in inputs}
    spec = card.image
    size = (spec.height, spec.width)
    shapes: dict[str, tuple[int, ...]] = {
        spec.tensor: (1, 3, *size) if spec.layout == 'nchw' else (1, *size, 3)
    }
    if spec.size_tensor is not None:
        shapes[spec.size_tensor] = (1, 2)
    return {**shapes, **_largest(card.build)} if largest else shapes


def largest_batch(card: Card, cameras: int) -> int:
    """Return how many images of so many cameras go through the card's engine together."""
    shape = _largest(card.build).get(card.image.tensor, (1,))
    return max(1, min(cameras, shape[0]))


def _largest(build: Build) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for profile in build.profiles:
        for name, shapes in profile.items():
            before = found.get(name, shapes.max)
            found[name] = tuple(map(max, before, shapes.max))
    return found


def _as_built(build: Build, tensors: tuple[TensorInfo, ...]) -> tuple[TensorInfo, ...]:
    """Return inputs and outputs with the element types that the build gives them."""
    types = {name: form.dtype for name, form in build.io.items() if form.dtype in _NUMPY}
    return tuple(
        replace(info, dtype=np.dtype(_NUMPY[types[info.name]])) if info.name in types else info
        for info in tensors
    )


def _weights(name: str, nbytes: int, basis: Basis, source: str) -> Part:
    return Part(name, WEIGHTS, nbytes, 'device', basis, source)


def _streamed(name: str, nbytes: int, basis: Basis) -> Part:
    return Part(name, WEIGHTS, nbytes, 'host', basis, 'brought to the GPU in each run')


def _activations(name: str, nbytes: int, basis: Basis, source: str) -> Part:
    return Part(name, ACTIVATIONS, nbytes, 'device', basis, source)


def _exchanges(
    name: str, build: Build, tensors: Sequence[TensorInfo], batch: int
) -> tuple[Part, ...]:
    """Return inputs and outputs, which the backend has on both sides and for each batch size.

    Of the GPU's memory a single image keeps what the profile was tuned for: with that it begins.
    """
    of_one = sum(math.prod(info.shape) * info.dtype.itemsize for info in tensors)
    profile = build.profiles[0] if build.profiles else {}
    tuned = max(
        (profile[each.name].opt[0] // each.shape[0] for each in tensors if each.name in profile),
        default=1,
    )
    host = of_one * batch * (batch + 1) // 2
    device = host + of_one * (max(1, tuned) - 1)
    more = f', for 1 to {batch} images' if batch > 1 else ''
    return _both_sides(name, device, host, f'{len(tensors)} tensors{more}')


def _both_sides(name: str, device: int, host: int, source: str) -> tuple[Part, ...]:
    return (
        Part(name, 'inputs and outputs', device, 'device', 'exact', source),
        Part(name, 'inputs and outputs', host, 'host', 'exact', source),
    )


def _told(log: str, what: str) -> int | None:
    found = re.findall(_TOLD.format(what), log)
    return int(found[-1]) if found else None


def _notes(card: Card, unknown: int = 0) -> tuple[str, ...]:
    notes = []
    if unknown:
        notes.append(f'{unknown} tensors of {card.name} whose sizes do not follow from its inputs')
    if card.build.dla.core is not None:
        notes.append(f'what the DLA keeps for {card.name}, of which the build does not tell')
    return tuple(notes)
