# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Which anchors answer for which thing, and how wrong they are."""

from __future__ import annotations

from dataclasses import dataclass
import math

import torch
from torch import nn
from torch import Tensor

from tools.lidar_network.batches import Batch
from tools.lidar_network.form import ANCHOR_YAWS
from tools.lidar_network.form import anchors
from tools.lidar_network.form import CLASSES
from tools.lidar_network.form import DIRECTION_SEAM
from tools.lidar_network.form import LEAST_POINTS
from tools.lidar_network.form import MATCHED
from tools.lidar_network.form import POINTS
from tools.lidar_network.form import UNMATCHED
from trt_engine.lidar_card import PointsInput


@dataclass(frozen=True)
class Targets:
    """What the anchors of a batch are to say, in the order of the network's outputs.

    Attributes:
        classes: (B, N) int64: the class, len(CLASSES) for nothing, -1 for anything.
        boxes: (B, N, 7) float32; like the next, it holds only where an anchor answers.
        directions: (B, N) int64.
    """

    classes: Tensor
    boxes: Tensor
    directions: Tensor


class Assigner:
    """Matches things to anchors of their class by overlap, both turned to the nearest axis."""

    def __init__(self, device: torch.device, points: PointsInput = POINTS) -> None:
        self._anchors = torch.from_numpy(anchors(points)).to(device)  # (C, rows, columns, R, 7)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Targets:
        """Return the targets; what has few points on it the network need not see."""
        parts = [self._of_class(kind, batch) for kind in range(len(CLASSES))]
        # from (class, B, rows * columns, R, ...) to the order of the outputs
        joined = (torch.stack(tensors, dim=2).flatten(1, 3) for tensors in zip(*parts, strict=True))
        return Targets(*joined)

    def _of_class(self, kind: int, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        anchor, boxes = self._anchors[kind].reshape(-1, 7), batch.boxes
        mine = batch.classes == kind
        ious = _upright_iou(boxes, anchor) * mine[..., None]  # (B, M, N)
        wanted = mine & (batch.seen >= LEAST_POINTS)
        clear = ious * wanted[..., None]
        best, owner = clear.max(dim=1)
        # each thing also has its own best anchors, however little they overlap
        most = clear.amax(dim=2, keepdim=True)
        chosen = (clear == most) & (most > 0)
        owner = torch.where(chosen.any(dim=1), chosen.int().argmax(dim=1), owner)
        answers = (best >= MATCHED[kind]) | chosen.any(dim=1)

        nothing = ious.amax(dim=1) < UNMATCHED[kind]
        classes = torch.full_like(owner, -1)
        classes[nothing] = len(CLASSES)
        classes[answers] = kind
        truth = boxes.gather(1, owner[..., None].expand(-1, -1, 7))
        deltas, directions = encode(truth, anchor)
        shape = (len(boxes), -1, len(ANCHOR_YAWS))
        return classes.view(shape), deltas.view(*shape, 7), directions.view(shape)


def encode(boxes: Tensor, anchor: Tensor) -> tuple[Tensor, Tensor]:
    """Return boxes relative to anchors, (..., 7), and the direction bin (...)."""
    size = anchor[..., 3:6]
    across = torch.hypot(size[..., 0], size[..., 1])
    scale = torch.stack((across, across, size[..., 2]), dim=-1)
    centers = (boxes[..., :3] - anchor[..., :3]) / scale
    sizes = (boxes[..., 3:6].clamp(min=1e-3) / size).log()
    turns = boxes[..., 6:] - anchor[..., 6:]
    from_seam = torch.remainder(boxes[..., 6] - DIRECTION_SEAM, 2 * math.pi)
    directions = (from_seam >= math.pi).long()
    return torch.cat((centers, sizes, turns), dim=-1), directions


def _upright_iou(boxes: Tensor, anchor: Tensor) -> Tensor:
    """Return IoU (B, M, N) from above, each rectangle turned to the nearest axis."""

    def sides(rectangles: Tensor) -> tuple[Tensor, Tensor]:
        lying = torch.remainder(rectangles[..., 6] + math.pi / 4, math.pi) < math.pi / 2
        length, width = rectangles[..., 3], rectangles[..., 4]
        size = torch.stack(
            (torch.where(lying, length, width), torch.where(lying, width, length)), dim=-1
        )
        return rectangles[..., :2] - size / 2, rectangles[..., :2] + size / 2

    low, high = sides(boxes[:, :, None])
    other_low, other_high = sides(anchor)
    shared = (torch.minimum(high, other_high) - torch.maximum(low, other_low)).clamp(min=0).prod(-1)
    whole = (high - low).prod(-1) + (other_high - other_low).prod(-1)
    return shared / (whole - shared).clamp(min=1e-6)


def loss(outputs: dict[str, Tensor], targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss of classes, boxes and directions, each per answering anchor."""
    count = len(targets.classes)
    logits = outputs['cls_preds'].reshape(count, -1, len(CLASSES))
    answers = (targets.classes >= 0) & (targets.classes < len(CLASSES))
    total = answers.sum().clamp(min=1)

    told = nn.functional.one_hot(targets.classes.clamp(min=0), len(CLASSES) + 1)[..., :-1]
    told = told.to(logits.dtype)
    sure = torch.where(told > 0, logits.sigmoid(), 1 - logits.sigmoid())
    weight = torch.where(told > 0, 0.25, 0.75) * (1 - sure) ** 2  # focal loss
    wrong = nn.functional.binary_cross_entropy_with_logits(logits, told, reduction='none')
    classes = (weight * wrong)[targets.classes >= 0].sum() / total

    found = outputs['box_preds'].reshape(count, -1, 7)[answers]
    wanted = targets.boxes[answers]
    # The sine of the difference: a box that points backwards is as good, the bin says which.
    turn = torch.sin(found[:, 6] - wanted[:, 6])
    off = torch.cat((found[:, :6] - wanted[:, :6], turn[:, None]), dim=1)
    boxes = nn.functional.smooth_l1_loss(
        off, torch.zeros_like(off), reduction='sum', beta=1 / 9
    )  # fmt: skip
    bins = outputs['dir_cls_preds'].reshape(count, -1, 2)[answers]
    directions = nn.functional.cross_entropy(bins, targets.directions[answers], reduction='sum')
    return classes, boxes / total, directions / total
