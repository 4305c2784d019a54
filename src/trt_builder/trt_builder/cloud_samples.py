# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Inputs for lidar networks, from clouds made up: what an engine and its model are compared on."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import closing
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from trt_engine.backend import Array
from trt_engine.backend import Backend
from trt_engine.backends import open_backend
from trt_engine.card import Card
from trt_engine.errors import BackendError
from trt_engine.errors import ModelFileError
from trt_engine.errors import NoReferenceError
from trt_engine.lidar.model import pillar_weights
from trt_engine.lidar.model import PillarWeights
from trt_engine.lidar.pillar_inputs import open_inputs
from trt_engine.lidar.pillar_inputs import open_pillarizer
from trt_engine.lidar_card import PointsInput
from trt_engine.model_file import resolve_model


def cloud_samples(card: Card, network: Backend, count: int = 4) -> Iterator[Mapping[str, Array]]:
    """Yield inputs of a lidar card's network, prepared as in inference from clouds made up.

    Args:
        card: Whose network.
        network: Has its inputs.
        count: How many; the same ones each time.

    Raises:
        NoReferenceError: What is inside the pillars cannot be run here.
    """
    spec = card.points
    with ExitStack() as stack:
        try:
            weights, encoder = _inside_pillars(card, network, stack)
            inputs = open_inputs(spec, weights, network, encoder)
        except (BackendError, ModelFileError) as exc:
            raise NoReferenceError(f'there is nothing to give the network: {exc}') from exc
        pillarize = open_pillarizer(spec)
        for seed in range(count):
            yield inputs(pillarize(_cloud(spec, seed)))


def _inside_pillars(
    card: Card, network: Backend, stack: ExitStack
) -> tuple[PillarWeights | None, Backend | None]:
    """Return what is inside the pillars as weights, or as a backend; neither where nothing is."""
    # an encoder that is built by itself takes pillars, and so do networks without one
    if any(each.name == card.points.tensor for each in network.tensors):
        return None, None
    try:
        return pillar_weights(card), None
    except ModelFileError:
        if card.encoder is None:
            raise
        # it is more than our own layer
        path = resolve_model(replace(card, model=card.encoder))
        return None, stack.enter_context(closing(open_backend('onnxruntime', path)))


def _cloud(spec: PointsInput, seed: int) -> Array:
    """Return points on a ground with bumps, and in heaps on it, as things have them."""
    random = np.random.default_rng(seed)
    low, high = np.array(spec.range_m[:3]), np.array(spec.range_m[3:])
    size = high - low
    ground = random.uniform(0, 1, (12_000, 3)) * (1, 1, 0.02) + (0, 0, 0.2)
    heaps = random.uniform(0, 1, (40, 1, 2))
    spread = random.uniform(-1, 1, (40, 150, 3)) * (2.0, 1.0, 0.8) / size
    spread += np.concatenate((heaps, np.full((40, 1, 1), 0.2 + 0.8 / size[2])), axis=2)
    places = np.concatenate((ground, spread.reshape(-1, 3))) * size + low
    channels = random.uniform(0, 1, (len(places), len(spec.channels)))
    points: Array = np.concatenate((places, channels), axis=1).astype(np.float32)
    return points
