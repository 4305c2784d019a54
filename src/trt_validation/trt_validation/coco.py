# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures with known boxes in COCO's form, and average precision as pycocotools computes it."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from trt_engine.errors import ConfigError
from trt_inference.camera.detections import Detections

_FIELDS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    'images': {'id': int, 'file_name': str},
    'categories': {'id': int, 'name': str},
    'annotations': {
        'id': int,
        'image_id': int,
        'category_id': int,
        'bbox': list,
        'area': (int, float),
        'iscrowd': int,
    },
}


@dataclass(frozen=True)
class Classes:
    """Which class of a card is which category of a dataset; names decide, numbers differ.

    Attributes:
        categories: Index of the class -> id of the category.
        unknown_classes: Names that the card has and the dataset has not; never counted.
        unknown_categories: Names that the dataset has and the card has not; left out.
    """

    categories: Mapping[int, int]
    unknown_classes: tuple[str, ...]
    unknown_categories: tuple[str, ...]


@dataclass(frozen=True)
class Precision:
    """Average precision over the categories that the network knows; None: no such boxes there."""

    AP: float | None
    AP50: float | None
    AP75: float | None
    AP_small: float | None
    AP_medium: float | None
    AP_large: float | None
    per_class: Mapping[str, float | None]


class Dataset:
    """The pictures and boxes of one instances file."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            ConfigError: It cannot be read, or does not have COCO's form.
        """
        try:
            content = json.loads(path.read_bytes())
        except OSError as exc:
            raise ConfigError(f'{path}: cannot be read: {exc.strerror or exc}') from exc
        except ValueError as exc:
            raise ConfigError(f'{path}: is not JSON: {exc}') from exc
        self._content = _check(content, path)
        self._path = path
        self.images: Mapping[int, str] = {
            image['id']: image['file_name'] for image in content['images']
        }
        self._names = {_plain(each['name']): each for each in content['categories']}

    def match(self, classes: Sequence[str]) -> Classes:
        """Return which of the classes is which category.

        Raises:
            ConfigError: None of them is any.
        """
        plain = [_plain(name) for name in classes]
        found = {
            index: self._names[name]['id']
            for index, name in enumerate(plain)
            if name in self._names
        }
        if not found:
            raise ConfigError(
                f'none of the {len(classes)} classes of the card ({_some(classes)}) is a category '
                f'of {self._path} ({_some(list(self._names))})'
            )
        return Classes(
            found,
            tuple(name for name in classes if _plain(name) not in self._names),
            tuple(each['name'] for name, each in self._names.items() if name not in plain),
        )

    def precision(self, found: Mapping[int, Detections], classes: Classes) -> Precision:
        """Return how well detections agree with the boxes of the dataset.

        Args:
            found: Id of an image -> what was seen in it, in its pixels; the images to count.
            classes: Which class is which category.

        Raises:
            ConfigError: pycocotools is not installed.
        """
        try:
            from pycocotools.coco import COCO
            from pycocotools.cocoeval import COCOeval
        except ImportError as exc:
            raise ConfigError(f'pycocotools is needed: pip install pycocotools ({exc})') from exc
        with redirect_stdout(io.StringIO()):  # it reports its progress there
            truth = COCO()
            truth.dataset = self._content
            truth.createIndex()
            rows = _rows(found, classes)
            seen = truth.loadRes(rows) if len(rows) else COCO()
            evaluation = COCOeval(truth, seen, 'bbox')
            evaluation.params.imgIds = sorted(found)
            evaluation.params.catIds = sorted(classes.categories.values())
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        names = {each['id']: each['name'] for each in self._content['categories']}
        # IoU thresholds, recalls, categories, areas (all first), largest numbers (100 last)
        curves = evaluation.eval['precision'][:, :, :, 0, -1]
        per_class = {
            names[category]: _mean(curves[:, :, place])
            for place, category in enumerate(evaluation.params.catIds)
        }
        all_ious, at_50, at_75, small, medium, large = map(_or_none, evaluation.stats[:6])
        return Precision(all_ious, at_50, at_75, small, medium, large, per_class)


def _check(content: Any, path: Path) -> Mapping[str, Any]:
    for section, fields in _FIELDS.items():
        listed = content.get(section) if isinstance(content, dict) else None
        if not isinstance(listed, list) or (section != 'annotations' and not listed):
            raise ConfigError(f'{path}: has no list of {section}; wanted COCO instances')
        for place, entry in enumerate(listed):
            values = entry if isinstance(entry, dict) else {}
            wrong = [
                name for name, kind in fields.items() if not isinstance(values.get(name), kind)
            ]
            if wrong or len(values.get('bbox', range(4))) != 4:
                what = ', '.join(wrong) or 'bbox'
                raise ConfigError(
                    f'{path}: {section}[{place}] has no {what} as COCO instances have it'
                )
    checked: Mapping[str, Any] = content
    return checked


def _rows(found: Mapping[int, Detections], classes: Classes) -> Any:
    """Return what loadRes takes: image, x, y, width, height, score, category."""
    known = np.array(sorted(classes.categories), np.int32)
    parts = [np.zeros((0, 7))]
    for image, detections in found.items():
        kept = detections.select(np.isin(detections.classes, known))
        categories = [classes.categories[label] for label in kept.classes.tolist()]
        x1, y1, x2, y2 = kept.boxes.astype(np.float64).T
        images = np.full(len(kept), image, np.float64)
        parts.append(np.stack((images, x1, y1, x2 - x1, y2 - y1, kept.scores, categories), axis=1))
    return np.concatenate(parts)


def _plain(name: str) -> str:
    return name.strip().casefold()


def _some(names: Sequence[str]) -> str:
    return ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')


def _mean(curve: Any) -> float | None:
    counted = curve[curve > -1]
    return float(counted.mean()) if counted.size else None


def _or_none(value: float) -> float | None:
    return None if value < 0 else float(value)
