# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Outputs of lidar networks to boxes: one file a head, chosen by the card's `head.type`.

To add a head, write `decoders3d/<type>.py` with a class that takes a card and its input of kind
points and is a `Decoder3d`, and add one line to `HEADS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import cast
from typing import Protocol

from trt_engine.backend import Array
from trt_engine.card import Card
from trt_engine.card import Thresholds
from trt_engine.cuda.readouts3d import Readout3d
from trt_engine.fields import allowed_names
from trt_engine.lidar_card import PointsInput
from trt_inference.detector.head import head_key
from trt_inference.lidar.boxes3d import Boxes3d

HEADS: Mapping[str, str] = {
    'boxes': 'BoxesDecoder',
    'centerpoint': 'CenterPointDecoder',
    'pointpillars': 'PointPillarsDecoder',
}


class Decoder3d(Protocol):
    """What makes boxes of the outputs of one lidar network."""

    def __call__(self, outputs: Mapping[str, Array], thresholds: Thresholds) -> Boxes3d:
        """Return what was seen, the highest score first.

        At most `thresholds.max_detections` of at least `thresholds.score`, after NMS where
        `thresholds.nms_iou` is not None. The outputs are read, not kept.

        Raises:
            DecodeError: The outputs do not have the form that the card's head promises.
        """

    def readout(self, outputs: Mapping[str, Array]) -> Readout3d:
        """Return where in the outputs a GPU finds the candidates for the same boxes.

        Its arrays are views into the outputs.

        Raises:
            BackendUnavailableError: No kernel reads this head.
            DecodeError: The outputs do not have the form that the card's head promises.
        """


def open_decoder3d(card: Card, points: PointsInput) -> Decoder3d:
    """Return the decoder for the card's head.

    Raises:
        CardError: There is no such head, or its outputs or options are not what it takes.
    """
    name = HEADS.get(card.head.type)
    if name is None:
        key = head_key(card) / 'type'
        raise key.error(f'is {card.head.type!r}; {allowed_names(card.head.type, HEADS)}')
    module = import_module(f'{__name__}.{card.head.type}')
    return cast('Decoder3d', getattr(module, name)(card, points))
