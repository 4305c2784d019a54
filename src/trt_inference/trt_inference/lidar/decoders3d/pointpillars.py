# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""PointPillars: anchors in each cell, boxes relative to them, and a bin for the direction."""

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
from trt_engine.cuda.readouts3d import AnchorReadout
from trt_engine.cuda.readouts3d import CellGrid
from trt_engine.fields import Allow
from trt_engine.lidar_card import PointsInput
from trt_inference.detector.head import head_key
from trt_inference.detector.head import read_options
from trt_inference.detector.head import read_outputs
from trt_inference.detector.head import take
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.decoders3d.head import assembled
from trt_inference.lidar.decoders3d.head import finish
from trt_inference.lidar.decoders3d.head import read_cells
from trt_inference.lidar.decoders3d.head import scored

# Where the halves of the circle meet that the two direction bins stand for.
_DIRECTION_SEAM = 0.78539


@dataclass(frozen=True)
class PointPillarsOptions:
    """What the card says of the head beside its outputs."""

    anchor_sizes: Annotated[
        tuple[tuple[float, float, float], ...],
        Allow('Size of the anchor of each class in x, y and z at rotation 0, in metres', above=0),
    ]
    anchor_bottoms: Annotated[
        tuple[float, ...], Allow('Height of the bottom of the anchor of each class, in metres')
    ]
    anchor_yaws: Annotated[
        tuple[float, ...], Allow('Rotations at which each anchor stands, in radians')
    ] = (0.0, 1.57)
    stride: Annotated[int, Allow('Pillars from cell to cell', 1, 64)] = 2
    form: Annotated[
        Literal['openpcdet', 'mmdet3d'],
        Allow(
            'openpcdet: channels last, anchors from edge to edge, yaw by REP-103, as OpenPCDet '
            'and NVIDIA export it; mmdet3d: channels first, anchors in the middle of the cells, '
            'yaw clockwise from the side, as mmdetection3d before 1.0 had it'
        ),
    ] = 'openpcdet'


class PointPillarsDecoder:
    """Decodes raw `scores`, `boxes` and `directions`: 1, 7 or 2 numbers for each anchor."""

    def __init__(self, card: Card, points: PointsInput) -> None:
        options = read_options(card, PointPillarsOptions)
        (self._scores,), (self._boxes,), (self._directions,) = read_outputs(
            card, scores=1, boxes=1, directions=1
        )
        self._cells = read_cells(card, points, options.stride)
        self._classes = len(card.classes)
        self._openpcdet = options.form == 'openpcdet'
        for name in ('anchor_sizes', 'anchor_bottoms'):
            listed = len(getattr(options, name))
            if listed != self._classes:
                key = head_key(card) / name
                raise key.error(f'lists {listed} anchors; allowed: one for each of the '
                                f'{self._classes} classes')  # fmt: skip
        rotations = len(options.anchor_yaws)
        self._anchors = self._classes * rotations
        # anchors of a cell: those of the first class, one for each rotation, then of the next
        self._sizes = np.repeat(np.array(options.anchor_sizes, np.float64), rotations, axis=0)
        bottoms = np.repeat(np.array(options.anchor_bottoms, np.float64), rotations)
        self._heights = bottoms + self._sizes[:, 2] / 2
        self._yaws = np.tile(np.array(options.anchor_yaws, np.float64), self._classes)

    @np.errstate(over='ignore', invalid='ignore')  # `finish` drops what is not finite
    def __call__(self, outputs: Mapping[str, Array], thresholds: Thresholds) -> Boxes3d:
        """Return what was seen; see `trt_inference.lidar.decoders3d.Decoder3d`."""
        logits = self._take(outputs, self._scores, self._classes)
        deltas = self._take(outputs, self._boxes, 7)
        bins = self._take(outputs, self._directions, 2)
        rows, classes, scores = scored(logits, thresholds)
        deltas, bins = deltas[rows].astype(np.float64), bins[rows]

        cell, anchor = np.divmod(rows, self._anchors)
        sizes = self._sizes[anchor]
        across = np.hypot(sizes[:, 0], sizes[:, 1])
        scale = np.stack((across, across, sizes[:, 2]), axis=1)
        centers = deltas[:, :3] * scale + self._centers(cell, anchor)
        sizes = np.exp(deltas[:, 3:6]) * sizes
        yaws = deltas[:, 6] + self._yaws[anchor]
        if self._openpcdet:
            half = np.mod(yaws - _DIRECTION_SEAM, math.pi)
            yaws = half + _DIRECTION_SEAM + math.pi * (bins[:, 1] >= bins[:, 0])
        else:
            half = np.mod(yaws, math.pi) - math.pi
            # its angles run clockwise, and 0 has the width, its first size, along x
            yaws = -(half + math.pi * (bins[:, 0] >= bins[:, 1])) - math.pi / 2
            sizes = sizes[:, [1, 0, 2]]
        return finish(assembled(centers, sizes, yaws, None, scores, classes), thresholds)

    def readout(self, outputs: Mapping[str, Array]) -> AnchorReadout:
        """Return where the candidates are; see `trt_inference.lidar.decoders3d.Decoder3d`."""
        cells = self._cells
        step, shift = cells.size_m, 0.5
        if self._openpcdet:
            step, shift = (self._step(0), self._step(1)), 0.0
        return AnchorReadout(
            self._channels(outputs, self._scores, self._classes),
            self._channels(outputs, self._boxes, 7),
            self._channels(outputs, self._directions, 2),
            CellGrid(cells.columns, cells.rows, cells.low_m, step, shift),
            self._sizes,
            self._heights,
            self._yaws,
            clockwise=not self._openpcdet,
        )

    def _take(self, outputs: Mapping[str, Array], name: str, numbers: int) -> Array:
        """Return an output as one row of so many numbers for each anchor, cell by cell."""
        rows: Array = self._channels(outputs, name, numbers).reshape(-1, numbers)
        return rows

    def _channels(self, outputs: Mapping[str, Array], name: str, numbers: int) -> Array:
        """Return an output as one row for each cell, so many numbers for each anchor in it."""
        rows, columns = self._cells.rows, self._cells.columns
        channels = self._anchors * numbers
        if self._openpcdet:
            output = take(outputs, name, (rows, columns, channels)).reshape(-1, channels)
        else:
            output = take(outputs, name, (channels, rows, columns)).reshape(channels, -1).T
        return output

    def _step(self, axis: int) -> float:
        """Return the distance of anchors of which the first and the last stand on the edges."""
        count = (self._cells.columns, self._cells.rows)[axis]
        return self._cells.size_m[axis] * count / max(count - 1, 1)

    def _centers(self, cell: Array, anchor: Array) -> Array:
        cells = self._cells
        row, column = np.divmod(cell, cells.columns)
        centers = [self._heights[anchor]]
        for place, axis in ((row, 1), (column, 0)):
            if self._openpcdet:
                centers.insert(0, cells.low_m[axis] + place * self._step(axis))
            else:
                centers.insert(0, cells.low_m[axis] + (place + 0.5) * cells.size_m[axis])
        return np.stack(centers, axis=1)
