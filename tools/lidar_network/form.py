# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the network sees and says: grid, classes, anchors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trt_engine.backend import Array
from trt_engine.card import Card
from trt_engine.card import Head
from trt_engine.card import ModelSource
from trt_engine.card import Thresholds
from trt_engine.lidar_card import PointsInput

REACH_M = 40.0


def points_input(reach_m: float = REACH_M) -> PointsInput:
    """Return what a network sees that looks so far ahead, back, left and right."""
    return PointsInput(
        tensor='voxels',
        range_m=(-reach_m, -reach_m, -3.0, reach_m, reach_m, 3.0),
        voxel_m=(0.2, 0.2, 6.0),
        max_points=32,
        max_voxels=20_000,
        features='pillar10',
        intensity_max=1.0,
    )


POINTS = points_input()
STRIDE = 2
CLASSES = ('car', 'truck', 'pedestrian', 'cyclist')
CLASS_OF_KIND: Mapping[str, int] = {
    'car': 0, 'van': 0, 'truck': 1, 'pedestrian': 2, 'cyclist': 3,
}  # fmt: skip
ANCHOR_SIZES = ((4.5, 1.8, 1.7), (9.2, 2.4, 3.4), (0.6, 0.6, 1.6), (1.75, 0.62, 1.72))
ANCHOR_BOTTOMS = (-1.8, -1.8, -1.8, -1.8)
ANCHOR_YAWS = (0.0, 1.57)
DIRECTION_SEAM = 0.78539

# Overlap from which an anchor answers for a thing, and below which it answers for nothing.
MATCHED = (0.6, 0.55, 0.5, 0.5)
UNMATCHED = (0.45, 0.4, 0.35, 0.35)
LEAST_POINTS = 5  # on a thing, for the network to have to see it


def anchors(points: PointsInput = POINTS) -> Array:
    """Return (classes, rows, columns, rotations, 7): x, y, z, length, width, height, yaw."""
    columns, rows = (cells // STRIDE for cells in points.grid)
    low, high = points.range_m[:2], points.range_m[3:5]
    out = np.zeros((len(CLASSES), rows, columns, len(ANCHOR_YAWS), 7))
    out[..., 0] = np.linspace(low[0], high[0], columns)[None, None, :, None]
    out[..., 1] = np.linspace(low[1], high[1], rows)[None, :, None, None]
    out[..., 6] = ANCHOR_YAWS
    for kind, (size, bottom) in enumerate(zip(ANCHOR_SIZES, ANCHOR_BOTTOMS, strict=True)):
        out[kind, ..., 2] = bottom + size[2] / 2
        out[kind, ..., 3:6] = size
    return out.astype(np.float32)


def card(points: PointsInput = POINTS) -> Card:
    """Return what `trt_inference.lidar.decoders3d` must know of the network."""
    outputs = {
        'scores': ('cls_preds',), 'boxes': ('box_preds',), 'directions': ('dir_cls_preds',),
    }  # fmt: skip
    options = {
        'anchor_sizes': ANCHOR_SIZES,
        'anchor_bottoms': ANCHOR_BOTTOMS,
        'anchor_yaws': ANCHOR_YAWS,
        'stride': STRIDE,
    }
    return Card(
        name='demo_lidar',
        summary='Cars, trucks, pedestrians and cyclists in simulated streets',
        model=ModelSource('package://trt_bringup/models/demo_lidar.onnx', 'Apache-2.0'),
        input=points,
        head=Head('pointpillars', outputs, options),
        classes=CLASSES,
        thresholds=Thresholds(score=0.35, nms_iou=0.1, max_detections=200),
    )
