# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Network outputs to detections: one file a head, chosen by the card's `head.type`.

To add a head, write `decoders/<type>.py` with a class that takes a card and is a `Decoder`, and
add one line to `HEADS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import cast
from typing import Protocol
from typing import runtime_checkable

from trt_engine.backend import Array
from trt_engine.card import Card
from trt_engine.card import Thresholds
from trt_engine.cuda.detections import Readout
from trt_engine.fields import allowed_names
from trt_engine.preprocess import Geometry
from trt_inference.camera.detections import Detections
from trt_inference.detector.head import head_key

HEADS: Mapping[str, str] = {
    'detr': 'DetrDecoder',
    'gfl': 'GflDecoder',
    'ssd': 'SsdDecoder',
    'yolo': 'YoloDecoder',
    'yolox': 'YoloxDecoder',
}


class Decoder(Protocol):
    """What makes detections of the outputs of one network."""

    def __call__(
        self, outputs: Mapping[str, Array], thresholds: Thresholds, geometry: Geometry
    ) -> Detections:
        """Return what was seen, in pixels of the image, clipped to it, the highest score first.

        At most `thresholds.max_detections` of at least `thresholds.score`, after NMS where
        `thresholds.nms_iou` is not None. The outputs are read, not kept.

        Raises:
            DecodeError: The outputs do not have the form that the card's head promises.
        """


@runtime_checkable
class GpuDecoder(Protocol):
    """A decoder whose work the GPU can do, from what it says of the outputs."""

    def readouts(self, outputs: Mapping[str, Array]) -> tuple[Readout, ...]:
        """Return where in the outputs candidates are, level by level, for decoding on the GPU.

        Raises:
            DecodeError: The outputs do not have the form that the card's head promises.
        """


def open_decoder(card: Card) -> Decoder:
    """Return the decoder for the card's head.

    Raises:
        CardError: There is no such head, or its outputs or options are not what it takes.
    """
    name = HEADS.get(card.head.type)
    if name is None:
        key = head_key(card) / 'type'
        raise key.error(f'is {card.head.type!r}; {allowed_names(card.head.type, HEADS)}')
    module = import_module(f'{__name__}.{card.head.type}')
    return cast('Decoder', getattr(module, name)(card))
