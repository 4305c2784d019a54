# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""How pillars get into a network on the GPU: through our own encoder, an engine of one, or none."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np

from trt_engine.backends.checks import check_inputs
from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.backends.tensorrt_context import EngineContext
from trt_engine.backends.tensorrt_context import Memory
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.pillar_targets import Element
from trt_engine.cuda.pillar_targets import PillarGrid
from trt_engine.cuda.pillar_targets import PillarRows
from trt_engine.cuda.runtime import DeviceArray
from trt_engine.cuda.scatter import ScatterPlan
from trt_engine.errors import BackendUnavailableError
from trt_engine.lidar.model import PillarWeights
from trt_engine.lidar.pillar_inputs import network_shapes
from trt_engine.lidar_card import PointsInput

_ON_CPU = 'clouds of this network are prepared on the CPU'


@dataclass(frozen=True)
class PillarRoute:
    """The way of pillars into a network.

    Attributes:
        target: Where a `PillarPlan` writes.
        between: What comes after that and before the network, in order: name -> what puts it into
            the stream.
        encoder: What runs the encoder, where an engine does; to be closed.
        no_graph: Why that cannot be recorded; '' if nothing is known against it.
    """

    target: PillarGrid | PillarRows
    between: Mapping[str, Callable[[], None]]
    encoder: EngineContext | None = None
    no_graph: str = ''

    def enqueue(self) -> None:
        """Put what comes between pillars and network into the stream.

        Raises:
            InferenceError: CUDA or TensorRT refused it.
        """
        for part in self.between.values():
            part()

    def close(self) -> None:
        """Free what runs the encoder; a second call does nothing."""
        if self.encoder is not None:
            self.encoder.close()


def require_pillars(spec: PointsInput, inputs: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse networks that take what the kernels do not make.

    Args:
        spec: What the card says of the points.
        inputs: Name -> shape of the network's inputs.

    Raises:
        BackendUnavailableError: Says what they take.
    """
    if spec.features in ('voxel', 'points'):
        raise BackendUnavailableError(
            f'{_ON_CPU}: input.features is {spec.features}, and the GPU kernels make pillars with '
            'their offsets only'
        )
    places = spec.places_tensor
    if places is not None and inputs.get(places, ())[1:] == (3,):
        raise BackendUnavailableError(
            f'{_ON_CPU}: {places!r} is [V, 3], and the GPU kernels make [V, 4], with the batch'
        )


def open_route(
    kernels: Kernels,
    memory: Lease,
    spec: PointsInput,
    network: TensorRtBackend,
    weights: PillarWeights | None,
    encoder: TensorRtBackend | None,
) -> PillarRoute:
    """Return the way of pillars into a network that is prepared for as many as there may be.

    `trt_engine.lidar.pillar_inputs.open_inputs` has found nothing wrong with the same arguments.

    Args:
        kernels: Where the kernels come from.
        memory: Where the memory comes from.
        spec: What the card says of the points.
        network: Takes the grid seen from above, or the pillars where neither of the others is.
        weights: The network inside a pillar where it is known.
        encoder: Runs the network inside a pillar where `weights` does not hold it.

    Raises:
        BackendUnavailableError: A tensor is not of a form that is filled on the GPU.
        InferenceError: An engine takes other shapes than the card says, or memory is short.
    """
    check_shapes(spec, network)
    if encoder is None and weights is None:
        return PillarRoute(_rows_of_network(memory, spec, network), {})
    (grid,) = (info.name for info in network.tensors if info.mode == 'input')
    dtype = _element(network.memory, grid)
    place = network.memory[grid].pointer
    if encoder is None:
        assert weights is not None
        target = PillarGrid(
            memory, network.stream, spec, place, weights.weight, weights.bias, dtype
        )  # fmt: skip
        return PillarRoute(target, {})
    check_shapes(spec, encoder)
    context = encoder.context(_shapes(spec, encoder), stream=network.stream)
    try:
        return _route_through(kernels, memory, spec, network, encoder, context)
    except BaseException:
        context.close()
        raise


def check_shapes(spec: PointsInput, engine: TensorRtBackend) -> None:
    """Refuse an engine that does not take as many pillars, or such a grid, as the card says.

    Raises:
        InferenceError: Names the input, what it gets and what it wants.
        ModelFileError: The network takes neither one grid nor the card's pillars.
    """
    shapes = _shapes(spec, engine)
    arrays = {
        info.name: np.empty(shapes[info.name], info.dtype)
        for info in engine.tensors if info.name in shapes
    }  # fmt: skip
    check_inputs(engine.tensors, arrays, engine.identity)


def _shapes(spec: PointsInput, engine: TensorRtBackend) -> dict[str, tuple[int, ...]]:
    inputs = {info.name: info.shape for info in engine.tensors if info.mode == 'input'}
    return network_shapes(spec, inputs)


def _rows_of_network(memory: Lease, spec: PointsInput, network: TensorRtBackend) -> PillarRows:
    known = {info.name: info for info in network.tensors}
    free = known[spec.tensor].shape[0] < 0
    if free and spec.count_tensor is None and spec.sizes_tensor is None:
        raise BackendUnavailableError(
            f'{_ON_CPU}: on the GPU it always gets input.max_voxels pillars, and nothing tells it '
            'how many are real; name input.count_tensor or input.sizes_tensor in the card'
        )
    memories = network.memory
    return PillarRows(
        memory,
        network.stream,
        spec,
        memories[spec.tensor].pointer,
        places=_integers(memories, spec.places_tensor),
        sizes=_integers(memories, spec.sizes_tensor),
        number=_integers(memories, spec.count_tensor),
        dtype=_element(memories, spec.tensor),
    )


def _route_through(
    kernels: Kernels,
    memory: Lease,
    spec: PointsInput,
    network: TensorRtBackend,
    encoder: TensorRtBackend,
    context: EngineContext,
) -> PillarRoute:
    """Return the way through an engine that encodes pillars, and the grid."""
    (grid,) = (info.name for info in network.tensors if info.mode == 'input')
    (output,) = (info.name for info in encoder.tensors if info.mode == 'output')
    channels = network.memory[grid].host.shape[1]
    features = context.memory.get(output)
    if features is None or features.host.size != spec.max_voxels * channels:
        got = 'of a size known after each run only' if features is None else features.host.shape
        raise BackendUnavailableError(
            f'{_ON_CPU}: output {output!r} of the encoder is {got}; wanted {spec.max_voxels} '
            f'pillars of {channels} numbers'
        )
    dtype = _element(network.memory, grid)
    if _element(context.memory, output) != dtype:
        raise BackendUnavailableError(
            f'{_ON_CPU}: output {output!r} of the encoder is {features.host.dtype}, and the grid '
            f'{grid!r} is {dtype}; build both engines with one element type'
        )
    stream = network.stream
    rows = PillarRows(
        memory,
        stream,
        spec,
        context.memory[spec.tensor].pointer,
        dtype=_element(context.memory, spec.tensor),
    )
    scatter = ScatterPlan(
        kernels, memory, stream, rows, features.pointer, network.memory[grid].pointer,
        channels, dtype,
    )  # fmt: skip
    between: dict[str, Callable[[], None]] = {
        'encoder': context.enqueue,
        'scatter': partial(scatter.enqueue, stream),
    }
    return PillarRoute(rows, between, context, context.no_graph)


def _element(memories: Mapping[str, Memory], name: str) -> Element:
    dtype = _on_device(memories, name).host.dtype.name
    if dtype not in ('float32', 'float16'):
        raise BackendUnavailableError(
            f'{_ON_CPU}: {name!r} is {dtype}; wanted float32 or float16; set '
            f'build.io.{name}.dtype in the card'
        )
    return cast('Element', dtype)


def _integers(memories: Mapping[str, Memory], name: str | None) -> int | None:
    if name is None:
        return None
    memory = _on_device(memories, name)
    if memory.host.dtype != np.int32:
        raise BackendUnavailableError(
            f'{_ON_CPU}: {name!r} is {memory.host.dtype}; wanted int32; export it so'
        )
    return memory.pointer


def _on_device(memories: Mapping[str, Memory], name: str) -> DeviceArray:
    memory = memories[name]
    if not isinstance(memory, DeviceArray):
        raise BackendUnavailableError(f'{_ON_CPU}: TensorRT takes {name!r} from the CPU')
    return memory
