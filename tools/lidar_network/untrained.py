# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Weights of chance: networks that have the form and have learned nothing, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tools.lidar_network import form
from tools.lidar_network.card_file import write_card
from tools.lidar_network.onnx_file import Layer
from tools.lidar_network.onnx_file import Weights
from tools.lidar_network.onnx_file import write
from trt_engine.card import ModelSource
from trt_engine.card import Thresholds
from trt_engine.lidar_card import PointsInput


def untrained(
    chance: np.random.Generator,
    heads: Mapping[str, int],
    *,
    features: int = 10,
    pillar: int = 4,
    channels: tuple[int, ...] = (6, 8, 10),
    up: int = 5,
) -> Weights:
    """Return weights of chance.

    Args:
        chance: Where they come from.
        heads: Output -> its channels.
        features: Numbers of a decorated point.
        pillar: Channels of a pillar.
        channels: Of each block.
        up: Channels to which the output of each block is brought.
    """

    def layer(*shape: int, stride: int = 1, axis: int = 0) -> Layer:
        out = shape[axis]
        return Layer(
            chance.normal(0, 0.3, shape), chance.uniform(0.5, 2, out), chance.normal(size=out),
            chance.normal(size=out), chance.uniform(0.5, 2, out), stride,
        )  # fmt: skip

    blocks, before = [], pillar
    for count in channels:
        first = layer(count, before, 3, 3, stride=2)
        blocks.append((first, layer(count, count, 3, 3)))
        before = count
    ups = [
        layer(count, up, 2**place, 2**place, stride=2**place, axis=1)
        for place, count in enumerate(channels)
    ]
    ends = {
        name: (chance.normal(0, 0.3, (count, up * len(channels), 1, 1)), chance.normal(size=count))
        for name, count in heads.items()
    }
    return Weights(layer(features, pillar, axis=1), tuple(blocks), tuple(ups), ends)


def write_untrained(
    folder: Path,
    seed: int = 1,
    *,
    name: str = 'demo_lidar',
    points: PointsInput = form.POINTS,
    bias: float = -6.0,
    thresholds: Thresholds | None = None,
) -> Path:
    """Write a small network of the demo's form that sees things at random; return its card.

    Args:
        folder: Where the two files come to be.
        seed: Of its weights.
        name: Of the card, and of both files.
        points: What it takes.
        bias: Added to all scores before the sigmoid; as it is, nearly nothing is a thing.
        thresholds: Of the card; None: those of the demo.
    """
    anchors = len(form.CLASSES) * len(form.ANCHOR_YAWS)
    heads = {'cls_preds': len(form.CLASSES), 'box_preds': 7, 'dir_cls_preds': 2}
    learned = untrained(
        np.random.default_rng(seed), {name: anchors * count for name, count in heads.items()}
    )
    scores = learned.heads['cls_preds'][1]
    scores += bias
    onnx, path = folder / f'{name}.onnx', folder / f'{name}.yaml'
    write(learned, points, onnx)
    card = form.card(points)
    source = ModelSource(onnx.name, 'Apache-2.0')
    thresholds = thresholds or card.thresholds
    write_card(replace(card, name=name, model=source, thresholds=thresholds), path, onnx=onnx)
    return path
