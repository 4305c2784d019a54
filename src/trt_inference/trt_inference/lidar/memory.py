# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the lidar of a node takes of memory on the GPU path, beside its networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trt_engine.card import Card
from trt_engine.card import Thresholds
from trt_engine.cuda.detections3d import plan_bytes as boxes_bytes
from trt_engine.cuda.pillar_targets import target_bytes
from trt_engine.cuda.pillar_targets import weights_bytes
from trt_engine.cuda.pillars import plan_bytes as pillar_bytes
from trt_engine.cuda.scatter import scatter_bytes
from trt_engine.entry import Entry
from trt_engine.errors import ModelFileError
from trt_engine.errors import PointsError
from trt_engine.lidar.model import encoder_card
from trt_engine.lidar.model import PillarWeights
from trt_engine.lidar.pillars import MAX_POINTS
from trt_engine.memory.budget import ASSUMED
from trt_engine.memory.budget import Assumptions
from trt_engine.memory.budget import Basis
from trt_engine.memory.budget import Part
from trt_engine.memory.budget import Side
from trt_engine.memory.network import built_memory
from trt_engine.memory.network import NetworkMemory
from trt_engine.memory.network import onnx_memory
from trt_engine.model_file import resolve_model
from trt_inference.detector.memory import IN_FLIGHT
from trt_inference.detector.memory import MESSAGES
from trt_inference.detector.memory import pool_part
from trt_inference.lidar.decoders3d import open_decoder3d
from trt_inference.lidar.gpu_pipeline import capacity_for

_ENCODER_CONTEXTS = 2  # the backend's own, and that which runs in the stream of the network


@dataclass(frozen=True)
class Clouds:
    """The clouds of a lidar, of one layout.

    Attributes:
        points: Most points of one.
        step: Bytes from one point to the next.
        assumed: Whether no cloud has come yet to tell.
    """

    points: int
    step: int = 32  # x, y, z, intensity as PCL lays them out
    assumed: bool = False

    def __post_init__(self) -> None:
        """Refuse what no cloud can be.

        Raises:
            PointsError: The number of points, or their size, is out of range.
        """
        if not (1 <= self.points <= MAX_POINTS and self.step >= 12):
            raise PointsError(
                f'clouds of {self}; wanted 1 to {MAX_POINTS} points of at least 12 bytes'
            )

    def __str__(self) -> str:
        """Return both numbers in words."""
        return f'{self.points} points of {self.step} bytes'

    @property
    def capacity(self) -> int:
        """Return for how many points the GPU path takes memory."""
        return capacity_for(self.points)


UNSEEN = Clouds(capacity_for(1), assumed=True)


def lidar_parts(
    card: Card,
    network: NetworkMemory,
    inside: PillarWeights | ModelFileError | None,
    clouds: Sequence[Clouds],
    *,
    mapped: bool,
    thresholds: Thresholds | None = None,
    in_flight: int = IN_FLIGHT,
    held: Sequence[Clouds] = (),
    loaded: bool = False,
) -> tuple[Part, ...]:
    """Return what the lidar of one node takes.

    Args:
        card: The card of the node's network.
        network: What the network takes.
        inside: The network inside a pillar, as `trt_engine.lidar.model.inside_pillars` says.
        clouds: What the lidar will send; each has a layout of its own.
        mapped: Whether the GPU reads the host's memory in place, as on a board with one memory.
        thresholds: What counts as a detection; the card's where not given.
        in_flight: As of `GpuLidarDetector`.
        held: Clouds of other layouts, whose memory was reserved already.
        loaded: Whether that was reserved which all clouds share.

    Raises:
        CardError: The card's head is unknown, or its outputs or options are not what it takes.
        DecodeError: The outputs do not have the form that the card's head promises.
    """
    name = network.name
    numbers = Counter((*held, *clouds))
    largest = max(numbers, key=lambda each: each.points * each.step)
    basis: Basis = 'assumed' if largest.assumed else 'estimate'
    nbytes = MESSAGES * largest.points * largest.step
    messages = Part(name, 'messages', nbytes, 'host', basis, f'{MESSAGES} of {largest} each')
    parts = [messages, *_shared(card, name, inside, mapped=mapped, held=loaded)]
    for each, number in numbers.items():
        owner = f'{name}, points of {each.step} bytes' if len(numbers) > 1 else name
        parts += _plans(
            card, network, each, owner, thresholds or card.thresholds,
            mapped=mapped, held=each not in clouds, times=in_flight * number,
        )  # fmt: skip
    return tuple(parts)


def encoder_memory(
    card: Card, entry: Entry | None, assumptions: Assumptions = ASSUMED
) -> NetworkMemory:
    """Return what an engine of the network inside the pillars takes.

    Args:
        card: A card that has an `encoder`.
        entry: The engine; None where it is still to be built.
        assumptions: As for `trt_engine.memory.network.onnx_memory`.

    Raises:
        ModelFileError: The sizes of its tensors do not follow from the model.
        StoreError: The log of its build cannot be read.
    """
    alone, name = encoder_card(card), f'{card.name} encoder'
    onnx = resolve_model(alone)
    network = (
        onnx_memory(name, alone, onnx, assumptions=assumptions)
        if entry is None
        else built_memory(name, alone, onnx, entry, assumptions=assumptions)
    )
    return network.in_contexts(_ENCODER_CONTEXTS)


def _shared(
    card: Card,
    name: str,
    inside: PillarWeights | ModelFileError | None,
    *,
    mapped: bool,
    held: bool,
) -> list[Part]:
    """Return what there is once, however many clouds are under way."""
    lists = [*target_bytes(card.points)]
    weights = []
    if isinstance(inside, ModelFileError):
        lists += scatter_bytes(card.points)
    elif inside is not None:
        weights.append(weights_bytes(inside.weight, inside.bias))
    source = 'weights of our own kernel'
    return [
        pool_part(name, 'filled pillars', lists, 'device', 'exact', 'lists of cells', held=held),
        *(
            pool_part(name, 'network inside a pillar', weights, side, 'exact', source, held=held)
            for side in _sides(mapped)
            if weights
        ),
    ]


def _plans(
    card: Card,
    network: NetworkMemory,
    clouds: Clouds,
    owner: str,
    thresholds: Thresholds,
    *,
    mapped: bool,
    held: bool,
    times: int,
) -> list[Part]:
    """Return what there is for each run under way."""
    outputs = {
        info.name: np.empty(info.shape, info.dtype)
        for info in network.tensors
        if info.mode == 'output'
    }
    readout = open_decoder3d(card, card.points).readout(outputs)
    boxes, ranking = boxes_bytes(readout, classes=len(card.classes), thresholds=thresholds)
    records, cells = pillar_bytes(card.points, clouds.step, clouds.capacity)
    known: Basis = 'assumed' if clouds.assumed else 'exact'
    unseen = ', not seen yet' if clouds.assumed else ''
    room = f'room for {clouds.capacity} points'

    def part(what: str, sizes: Sequence[int], side: Side, basis: Basis, source: str) -> Part:
        return pool_part(owner, what, sizes, side, basis, source, times=times, held=held)

    sides = _sides(mapped)
    return [
        *(part('clouds', records, side, known, f'{room}, {clouds.step} bytes each{unseen}')
          for side in sides),
        part('pillars', cells, 'device', known, f'{room}, cells of the grid{unseen}'),
        part('decoding', ranking, 'device', 'exact', 'candidates, ranking'),
        *(part('boxes', boxes, side, 'exact', 'what comes back, anchors') for side in sides),
    ]  # fmt: skip


def _sides(mapped: bool) -> tuple[Side, ...]:
    return ('host',) if mapped else ('host', 'device')
