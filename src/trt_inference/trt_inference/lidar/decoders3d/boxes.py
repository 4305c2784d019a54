# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Finished boxes: a row for each, in metres and radians, as a network with its own decoding ends.

They are decoded on the CPU: there are few of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import math
from typing import Annotated
from typing import Literal

import numpy as np

from trt_engine.backend import Array
from trt_engine.card import Card
from trt_engine.card import Thresholds
from trt_engine.cuda.readouts3d import Readout3d
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import DecodeError
from trt_engine.fields import Allow
from trt_engine.lidar_card import PointsInput
from trt_inference.detector.head import class_indices
from trt_inference.detector.head import head_key
from trt_inference.detector.head import read_options
from trt_inference.detector.head import read_outputs
from trt_inference.detector.head import take
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.decoders3d.head import assembled
from trt_inference.lidar.decoders3d.head import finish
from trt_inference.lidar.decoders3d.head import scored


@dataclass(frozen=True)
class BoxesOptions:
    """What the card says of the head beside its outputs."""

    form: Annotated[
        Literal['openpcdet', 'mmdet3d'],
        Allow(
            'openpcdet: x, y, z, length, width, height, yaw by REP-103, and velocity in x and y '
            'where there is one; mmdet3d: width before length, and yaw clockwise from the side, '
            'as mmdetection3d before 1.0 had it'
        ),
    ] = 'openpcdet'
    z: Annotated[
        Literal['middle', 'bottom'], Allow('Which height of a box its z is')
    ] = 'middle'  # fmt: skip
    logits: Annotated[bool, Allow('Whether scores are logits, before the sigmoid')] = False
    first_label: Annotated[int, Allow('The label of the first class; OpenPCDet has 1', 0, 1)] = 0


class BoxesDecoder:
    """Decodes `boxes` [M, 7 or 9] and `scores`.

    Scores are [M] beside `labels` [M], or [M, classes] without them. Where the card names a
    `count`, [1], only so many rows are boxes.
    """

    def __init__(self, card: Card, points: PointsInput) -> None:  # of points it needs nothing
        self._options = read_options(card, BoxesOptions)
        optional = [role for role in ('labels', 'count') if role in card.head.outputs]
        roles = dict.fromkeys(('boxes', 'scores', *optional), 1)
        names = read_outputs(card, **roles)
        self._names = {role: name for role, (name,) in zip(roles, names, strict=True)}
        self._classes = len(card.classes)
        if self._options.first_label and 'labels' not in roles:
            raise (head_key(card) / 'first_label').error(
                'is the label of the first class, and head.outputs has no labels; remove it'
            )

    @np.errstate(over='ignore', invalid='ignore')  # `finish` drops what is not finite
    def __call__(self, outputs: Mapping[str, Array], thresholds: Thresholds) -> Boxes3d:
        """Return what was seen; see `trt_inference.lidar.decoders3d.Decoder3d`."""
        names, options = self._names, self._options
        table = take(outputs, names['boxes'], ('M', 'N'))
        if table.shape[1] not in (7, 9):
            raise DecodeError(
                f'output {names["boxes"]!r} has {table.shape[1]} numbers a box; wanted 7, '
                'or 9 with the velocity'
            )
        labels = None
        if 'labels' in names:
            labels = take(outputs, names['labels'], (len(table),))
            scores = take(outputs, names['scores'], (len(table),))[:, None]
        else:
            scores = take(outputs, names['scores'], (len(table), self._classes))
        rows, classes, chosen = scored(
            scores[: self._count(outputs)], thresholds, logits=options.logits
        )
        if labels is not None:
            classes = class_indices(
                labels[rows], names['labels'], self._classes, first=options.first_label
            )
        found = table[rows].astype(np.float64)
        centers, sizes, yaws = found[:, :3], found[:, 3:6], found[:, 6]
        if options.form == 'mmdet3d':
            sizes = sizes[:, [1, 0, 2]]
            yaws = -yaws - math.pi / 2
        if options.z == 'bottom':
            centers[:, 2] += sizes[:, 2] / 2
        velocities = found[:, 7:] if found.shape[1] > 7 else None
        return finish(assembled(centers, sizes, yaws, velocities, chosen, classes), thresholds)

    def readout(self, outputs: Mapping[str, Array]) -> Readout3d:
        """Refuse: no kernel reads finished boxes.

        Raises:
            BackendUnavailableError: Always.
        """
        raise BackendUnavailableError('the head is boxes, which are decoded on the CPU')

    def _count(self, outputs: Mapping[str, Array]) -> int | None:
        """Return how many rows are boxes; None for all."""
        if 'count' not in self._names:
            return None
        (count,) = take(outputs, self._names['count'], (1,)).tolist()
        if not count >= 0:
            raise DecodeError(
                f'output {self._names["count"]!r} is {count}; wanted the number of boxes'
            )
        return int(count)
