# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Brings what a camera and what a lidar saw together: label from the image, box from the lidar."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trt_engine.backend import Array
from trt_engine.errors import ConfigError
from trt_engine.errors import FusionError
from trt_inference.fusion.box_projection import enclosing_boxes
from trt_inference.fusion.camera_model import CameraModel
from trt_inference.rigid import box_corners
from trt_inference.rigid import is_turn
from trt_inference.rigid import moved

ANY = '*'
_FARTHEST = 1e6  # metres or pixels: beyond it a number is no measurement

SCORES: Mapping[str, Callable[[float, float], float]] = {
    'greater': max,
    'mean': lambda image, lidar: (image + lidar) / 2,
    'product': lambda image, lidar: image * lidar,
    'image': lambda image, lidar: image,
    'lidar': lambda image, lidar: lidar,
}


@dataclass(frozen=True, eq=False)
class SeenInImage:
    """What was seen in one image.

    Attributes:
        boxes: (M, 4) float64, x1 y1 x2 y2 in pixels.
        labels: Of each, its class name.
        scores: (M,) float64.

    Raises:
        FusionError: A number is none, or a box ends before it begins.
    """

    boxes: Array
    labels: Sequence[str]
    scores: Array

    def __post_init__(self) -> None:
        """Refuse what is no box."""
        good = (np.abs(self.boxes) <= _FARTHEST).all(axis=1) & np.isfinite(self.scores)
        good &= (self.boxes[:, :2] <= self.boxes[:, 2:]).all(axis=1)
        if not good.all():
            bad = int(good.argmin())
            raise FusionError(
                f'box {bad} of the image is {self.boxes[bad].tolist()} with score '
                f'{self.scores[bad]}; wanted pixels x1 y1 x2 y2, and sizes of zero or more'
            )


@dataclass(frozen=True, eq=False)
class SeenByLidar:
    """What was seen in one cloud.

    Attributes:
        centers: (N, 3) float64, in metres.
        sizes: (N, 3) float64, along the axes of each box, in metres.
        quaternions: (N, 4) float64, x y z w, how each box is turned.
        labels: Of each, its class name.
        scores: (N,) float64.

    Raises:
        FusionError: A number is none, a size is below zero, or a quaternion turns nothing.
    """

    centers: Array
    sizes: Array
    quaternions: Array
    labels: Sequence[str]
    scores: Array

    def __post_init__(self) -> None:
        """Refuse what is no box."""
        numbers = np.concatenate([self.centers, self.sizes, self.quaternions], axis=1)
        good = (np.abs(numbers) <= _FARTHEST).all(axis=1) & np.isfinite(self.scores)
        good &= (self.sizes >= 0).all(axis=1)
        good[good] = is_turn(self.quaternions[good])
        if not good.all():
            bad = int(good.argmin())
            raise FusionError(
                f'box {bad} of the lidar has center {self.centers[bad].tolist()}, size '
                f'{self.sizes[bad].tolist()}, quaternion {self.quaternions[bad].tolist()} and '
                f'score {self.scores[bad]}; wanted metres, sizes of zero or more, and a '
                'quaternion of length 1'
            )


@dataclass(frozen=True)
class Rules:
    """What belongs together, and what comes of it.

    Attributes:
        min_iou: Least overlap, intersection over union, of a projected box and one in the image.
        max_center_distance: Boxes that overlap less are a pair too if their centres are at most
            this far apart, in diagonals of the box in the image; 0: never.
        groups: For a label of the image the labels of the lidar that may be the same thing, all in
            lower case; `*` stands for every label. Equal labels always may.
        score: Which of `SCORES` makes the score of a pair.
        unmatched: Whether boxes of the lidar without a partner are kept, as they are.
        near_m: What is nearer to the plane of the camera is not seen.
    """

    min_iou: float = 0.3
    max_center_distance: float = 0.0
    groups: Mapping[str, frozenset[str]] | None = None
    score: str = 'greater'
    unmatched: bool = True
    near_m: float = 0.1

    def compatible(self, image: Sequence[str], lidar: Sequence[str]) -> Array:
        """Return (M, N) bool, whether labels of the image and of the lidar may be one thing."""
        groups = self.groups or {}
        everywhere = groups.get(ANY, frozenset())
        table = np.zeros((len(image), len(lidar)), bool)
        # many boxes have few labels
        rows, columns = _places(image), _places(lidar)
        for label, row in rows.items():
            allowed = everywhere | groups.get(label, frozenset()) | {label}
            for other, column in columns.items():
                table[np.ix_(row, column)] = ANY in allowed or other in allowed
        return table


@dataclass(frozen=True, eq=False)
class Fused:
    """What a camera and a lidar saw together, the highest score first.

    Attributes:
        boxes: (K,) indices of the boxes of the lidar that are kept.
        partners: (K,) indices of what was seen in the image; -1 where nothing belongs to a box.
        labels: Of each, its class name: of its partner, or its own where it has none.
        scores: (K,) float64.
        visible: How many boxes of the lidar the camera can see at all.
        matched: How many of these have a partner, kept or not.
    """

    boxes: Array
    partners: Array
    labels: Sequence[str]
    scores: Array
    visible: int
    matched: int


def read_groups(entries: Sequence[str]) -> Mapping[str, frozenset[str]]:
    """Return the table of labels that may be one thing, written as `image=lidar,lidar`.

    Raises:
        ConfigError: An entry is written otherwise.
    """
    groups: dict[str, frozenset[str]] = {}
    for entry in entries:
        image, separator, rest = entry.partition('=')
        lidar = frozenset(each.strip().lower() for each in rest.split(','))
        image = image.strip().lower()
        if not (separator and image and all(lidar)):
            raise ConfigError(
                f'label_groups has {entry!r}; wanted the label of the image, then those of the '
                'lidar, such as person=pedestrian,cyclist'
            )
        groups[image] = groups.get(image, frozenset()) | lidar
    return groups


def fuse(
    image: SeenInImage,
    lidar: SeenByLidar,
    camera: CameraModel,
    transform: Array,
    rules: Rules,
) -> Fused:
    """Give boxes of the lidar the labels of what is seen at their place in the image.

    Args:
        image: What was seen in the image.
        lidar: What was seen in the cloud.
        camera: The camera of the image.
        transform: 4x4 float64, takes a point from the frame of the lidar to the camera's optical
            frame.
        rules: What belongs together.

    Raises:
        FusionError: The transform is none.
    """
    if transform.shape != (4, 4) or not (np.abs(transform) <= _FARTHEST).all():
        raise FusionError(
            f'the transform from lidar to camera is {transform.tolist()}; wanted 4x4 numbers'
        )
    corners = moved(box_corners(lidar.centers, lidar.sizes, lidar.quaternions), transform)
    projected = enclosing_boxes(corners, camera, rules.near_m)
    pairs = _pairs(
        _fit(image.boxes, projected, rules) * rules.compatible(image.labels, lidar.labels)
    )
    partners = np.full(len(lidar.labels), -1)
    labels = list(lidar.labels)
    scores = lidar.scores.astype(np.float64)
    for seen, box in pairs:
        partners[box] = seen
        labels[box] = image.labels[seen]
        scores[box] = SCORES[rules.score](float(image.scores[seen]), float(lidar.scores[box]))
    kept = np.flatnonzero((partners >= 0) | rules.unmatched)
    kept = kept[np.argsort(-scores[kept], kind='stable')]
    visible = int((~np.isnan(projected[:, 0])).sum())
    return Fused(
        kept, partners[kept], [labels[each] for each in kept], scores[kept], visible, len(pairs)
    )


def _places(labels: Sequence[str]) -> Mapping[str, list[int]]:
    """Return where each label is, in lower case."""
    places: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        places.setdefault(label.lower(), []).append(index)
    return places


def _fit(seen: Array, projected: Array, rules: Rules) -> Array:
    """Return (M, N), how well boxes fit: above 1 by overlap, 0.5 to 1 by distance, 0 not at all."""
    first, second = seen[:, None], projected[None]
    shared = np.minimum(first[..., 2:], second[..., 2:])
    shared = np.maximum(shared - np.maximum(first[..., :2], second[..., :2]), 0).prod(axis=-1)
    sizes, others = seen[:, 2:] - seen[:, :2], projected[:, 2:] - projected[:, :2]
    union = sizes.prod(axis=-1)[:, None] + others.prod(axis=-1) - shared
    iou = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    fit = np.where((iou > 0) & (iou >= rules.min_iou), 1 + iou, 0)
    if rules.max_center_distance:
        apart = (first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]) / 2
        distances = np.hypot(*np.moveaxis(apart, -1, 0))
        reach = rules.max_center_distance * np.hypot(*sizes.T)[:, None]
        near = np.divide(distances, 2 * reach, out=np.ones_like(distances), where=reach > 0)
        fit = np.where((fit == 0) & (near <= 0.5), 1 - near, fit)
    return fit


def _pairs(fit: Array) -> list[tuple[int, int]]:
    """Return the pairs, the best first; each row and each column is in one at most.

    Of pairs that fit equally well the one with the lower row, then column, comes first, so that
    equal inputs give equal pairs. That the best pair is taken first is what a person would do; the
    sum over all pairs may be a little less than the greatest there is.
    """
    rows, columns = np.nonzero(fit > 0)
    order = np.argsort(-fit[rows, columns], kind='stable')
    free_rows, free_columns = (np.ones(count, bool) for count in fit.shape)
    pairs = []
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if free_rows[row] and free_columns[column]:
            free_rows[row] = free_columns[column] = False
            pairs.append((row, column))
    return pairs
