# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""CenterPoint: a heat map whose peaks are the centres of boxes, with velocity where it has one."""

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
from trt_engine.cuda.readouts3d import CellGrid
from trt_engine.cuda.readouts3d import CenterReadout
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


@dataclass(frozen=True)
class CenterPointOptions:
    """What the card says of the head beside its outputs."""

    stride: Annotated[int, Allow('Pillars from cell to cell', 1, 64)] = 1
    form: Annotated[
        Literal['autoware', 'openpcdet'],
        Allow(
            'autoware: size is width, length, height, rotation is sine, cosine of a clockwise '
            'angle; openpcdet: size is length, width, height, rotation is cosine, sine of the yaw'
        ),
    ] = 'autoware'
    peaks: Annotated[
        bool, Allow('Whether only cells count that no neighbour exceeds in their class')
    ] = False
    circle_nms_m: Annotated[
        float | None, Allow('Distance of centres up to which the lower score goes; null: none', 0)
    ] = None
    yaw_norm: Annotated[
        tuple[float, ...],
        Allow('For each class, the least length of (sine, cosine) of a box that counts', 0, 1),
    ] = ()


class CenterPointDecoder:
    """Decodes `heatmap`, `offset`, `height`, `size`, `rotation`, and `velocity` where named.

    All are channels first; the heat map is in logits and the sizes are logarithms.
    """

    def __init__(self, card: Card, points: PointsInput) -> None:
        self._options = read_options(card, CenterPointOptions)
        self._cells = read_cells(card, points, self._options.stride)
        self._classes = len(card.classes)
        roles = dict.fromkeys(('heatmap', 'offset', 'height', 'size', 'rotation'), 1)
        if 'velocity' in card.head.outputs:
            roles['velocity'] = 1
        names = read_outputs(card, **roles)
        self._names = {role: name for role, (name,) in zip(roles, names, strict=True)}
        listed = len(self._options.yaw_norm)
        if listed not in (0, self._classes):
            key = head_key(card) / 'yaw_norm'
            raise key.error(f'lists {listed} numbers; allowed: one for each of the '
                            f'{self._classes} classes, or none')  # fmt: skip
        self._yaw_norm = np.array(self._options.yaw_norm or [0.0] * self._classes)

    @np.errstate(over='ignore', invalid='ignore')  # `finish` drops what is not finite
    def __call__(self, outputs: Mapping[str, Array], thresholds: Thresholds) -> Boxes3d:
        """Return what was seen; see `trt_inference.lidar.decoders3d.Decoder3d`."""
        heat = self._take(outputs, 'heatmap', self._classes)
        cells, classes, scores = scored(heat.reshape(self._classes, -1).T, thresholds)
        if self._options.peaks:
            top = _is_peak(heat, classes, *np.divmod(cells, self._cells.columns))
            cells, classes, scores = cells[top], classes[top], scores[top]

        def at_cells(role: str, channels: int) -> Array:
            values = self._take(outputs, role, channels).reshape(channels, -1)
            return values[:, cells].astype(np.float64)

        row, column = np.divmod(cells, self._cells.columns)
        offset = at_cells('offset', 2)
        (x_m, y_m), (low_x, low_y) = self._cells.size_m, self._cells.low_m
        x = (column + offset[0]) * x_m + low_x
        y = (row + offset[1]) * y_m + low_y
        centers = np.stack((x, y, at_cells('height', 1)[0]), axis=1)
        sizes = np.exp(at_cells('size', 3)).T
        first, second = at_cells('rotation', 2)
        if self._options.form == 'autoware':
            sizes = sizes[:, [1, 0, 2]]
            yaws = -np.arctan2(first, second) - math.pi / 2
        else:
            yaws = np.arctan2(second, first)
        velocities = at_cells('velocity', 2).T if 'velocity' in self._names else None
        boxes = assembled(centers, sizes, yaws, velocities, scores, classes)
        certain = np.hypot(first, second) >= self._yaw_norm[classes]
        return finish(boxes.select(certain), thresholds, circle_m=self._options.circle_nms_m)

    def readout(self, outputs: Mapping[str, Array]) -> CenterReadout:
        """Return where the candidates are; see `trt_inference.lidar.decoders3d.Decoder3d`."""
        cells, options = self._cells, self._options

        def by_cell(role: str, channels: int) -> Array:
            rows: Array = self._take(outputs, role, channels).reshape(channels, -1).T
            return rows

        return CenterReadout(
            by_cell('heatmap', self._classes),
            by_cell('offset', 2),
            by_cell('height', 1),
            by_cell('size', 3),
            by_cell('rotation', 2),
            by_cell('velocity', 2) if 'velocity' in self._names else None,
            CellGrid(cells.columns, cells.rows, cells.low_m, cells.size_m),
            clockwise=options.form == 'autoware',
            peaks=options.peaks,
            yaw_norm=self._yaw_norm,
            circle_m=options.circle_nms_m,
        )

    def _take(self, outputs: Mapping[str, Array], role: str, channels: int) -> Array:
        return take(outputs, self._names[role], (channels, self._cells.rows, self._cells.columns))


def _is_peak(heat: Array, classes: Array, rows: Array, columns: Array) -> Array:
    """Return which of the cells no neighbour exceeds; those on a plateau all stay."""
    mine = heat[classes, rows, columns]
    peak = np.ones(len(mine), bool)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            row = np.clip(rows + down, 0, heat.shape[1] - 1)
            column = np.clip(columns + right, 0, heat.shape[2] - 1)
            peak &= ~(heat[classes, row, column] > mine)
    return peak
