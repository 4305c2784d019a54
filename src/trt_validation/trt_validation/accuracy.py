# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Average precision of a network on pictures with known boxes, run exactly as the node runs it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
import hashlib
import json
from pathlib import Path
import sys
from typing import Protocol

from rich.console import Console
from rich.progress import track

from trt_engine.backend import Backend
from trt_engine.backends import choose_backend
from trt_engine.backends import open_backend
from trt_engine.backends import PREFERENCES
from trt_engine.card import Card
from trt_engine.card import load_card
from trt_engine.card import Thresholds
from trt_engine.card import with_overrides
from trt_engine.command import end_well
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import ConfigError
from trt_engine.errors import ImageError
from trt_engine.model_file import resolve_model
from trt_engine.picture import decode_picture
from trt_inference.camera.detections import Detections
from trt_inference.camera.loading import CameraDetector
from trt_inference.camera.loading import Loaded
from trt_inference.detector.config import PIPELINES
from trt_inference.detector.engines import find_engine
from trt_inference.detector.engines import open_engine
from trt_validation.coco import Classes
from trt_validation.coco import Dataset
from trt_validation.coco import Precision

SCORE = 0.01  # precision is asked for down to where hardly anything is right any more


@dataclass(frozen=True)
class Report:
    """How well one network did, and what exactly was measured."""

    card: str
    onnx: str
    onnx_sha256: str
    backend: str
    images: int
    detections: int
    thresholds: Thresholds
    classes: Classes
    precision: Precision

    def to_json(self) -> str:
        """Return the report as JSON, `AP` and `AP50` at its top level."""
        content = {
            **asdict(self.precision),
            'card': self.card,
            'onnx': self.onnx,
            'onnx_sha256': self.onnx_sha256,
            'backend': self.backend,
            'images': self.images,
            'detections': self.detections,
            'thresholds': asdict(self.thresholds),
            'classes_not_in_dataset': self.classes.unknown_classes,
            'categories_not_in_card': self.classes.unknown_categories,
        }
        return json.dumps(content, indent=2) + '\n'

    def to_text(self) -> str:
        """Return the report as a table for people."""
        used = self.thresholds
        agnostic = 'class-agnostic' if used.class_agnostic else 'class-wise'
        nms = 'none' if used.nms_iou is None else f'{agnostic} above IoU {used.nms_iou:g}'
        lines = [
            f'{self.card} on {self.images} images: {self.detections} detections',
            f'  backend     {self.backend}',
            f'  onnx        {self.onnx} (sha256 {self.onnx_sha256[:12]}...)',
            f'  thresholds  score {used.score:g}, NMS {nms}, at most {used.max_detections} boxes',
            *mismatch(
                'classes of the card not in the dataset, not counted', self.classes.unknown_classes
            ),
            *mismatch(
                'categories of the dataset not in the card, left out',
                self.classes.unknown_categories,
            ),
            '',
        ]
        p = self.precision
        rows = [
            ('AP', p.AP, 'IoU 0.50 to 0.95'),
            ('AP50', p.AP50, 'IoU 0.50'),
            ('AP75', p.AP75, 'IoU 0.75'),
            ('AP small', p.AP_small, 'below 32 x 32 pixels'),
            ('AP medium', p.AP_medium, 'up to 96 x 96 pixels'),
            ('AP large', p.AP_large, 'above'),
        ]
        return '\n'.join(
            lines + [f'  {name:<10}  {figure(value)}  {about}' for name, value, about in rows]
        )


def measure(
    detector: CameraDetector,
    dataset: Dataset,
    images: Path,
    classes: Classes,
    *,
    quiet: bool = False,
) -> dict[int, Detections]:
    """Return what a detector sees in each image of a dataset.

    Args:
        detector: Card, network and thresholds.
        dataset: Names the images.
        images: The folder that they lie in.
        classes: Those that count.
        quiet: Whether to show no progress.

    Raises:
        ConfigError: An image is missing.
        ImageError: An image cannot be decoded; names it.
    """
    detector.class_filter = frozenset(classes.categories)
    todo: Iterable[tuple[int, str]] = track(
        dataset.images.items(),
        f'{detector.card.name}',
        len(dataset.images),
        console=Console(stderr=True),
        transient=True,
        disable=quiet,
    )
    found = {}
    for number, name in todo:
        path = images / name
        try:
            pixels = decode_picture(path.read_bytes())
        except OSError as exc:
            raise ConfigError(f'{path}: cannot be read: {exc.strerror or exc}') from exc
        except ImageError as exc:
            raise ImageError(f'{path}: {exc}') from exc
        found[number] = detector(pixels, 'bgr8')
    return found


class Told(Protocol):
    """What is said of a network."""

    def to_text(self) -> str:
        """Return it for people."""

    def to_json(self) -> str:
        """Return it for programs."""


def tell(run: Callable[[argparse.Namespace], Told], args: argparse.Namespace) -> int:
    """Print and write what `run` says of a network, or why it cannot; return the exit status."""

    def work() -> int:
        report = run(args)
        print(report.to_text())
        if args.json is not None:
            write_report(args.json, report.to_json())
        return 0

    return end_well(work)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure one card's network; return the exit status."""
    return tell(_run, _parser().parse_args(argv))


def network_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which network is measured, and what runs it."""
    parser.add_argument('--card', required=True, help='name of a model card, or path of its file')
    parser.add_argument('--onnx', type=Path, help="network to measure instead of the card's own")
    parser.add_argument('--backend', choices=PREFERENCES, default='auto', help='what runs it')
    parser.add_argument('--store', default='', help='folder of the engines, for tensorrt')
    parser.add_argument(
        '--set',
        dest='settings',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        help="build setting of the engine in place of the card's, such as precision=int8",
    )
    parser.add_argument(
        '--pipeline',
        choices=PIPELINES,
        default='auto',
        help='with tensorrt: where inputs are prepared and outputs decoded',
    )
    parser.add_argument('--threads', type=int, default=0, help='CPU threads; 0: as many as cores')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the report there as well')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='accuracy', description=__doc__)
    network_arguments(parser)
    parser.add_argument('--coco', required=True, type=Path, help='boxes: COCO instances, JSON')
    parser.add_argument('--images', required=True, type=Path, help='folder of the pictures')
    parser.add_argument('--score', type=float, default=SCORE, help='smallest score (%(default)s)')
    parser.add_argument(
        '--nms-iou', type=float, help="overlap above which NMS acts; else the card's"
    )
    parser.add_argument('--max-detections', type=int, help="most boxes an image; else the card's")
    return parser


def open_network(card: Card, onnx: Path, args: argparse.Namespace) -> Backend:
    """Return what runs a network, as the arguments `backend`, `store` and `threads` say.

    Args:
        card: The card, with what overrides it.
        onnx: What ONNX Runtime runs.
        args: The command line.

    Raises:
        BackendError: The backend cannot run here, refuses the network, or has no engine of it.
        ConfigError: There is no such backend, or number of threads.
    """
    if args.threads < 0:
        raise ConfigError(f'--threads is {args.threads}; allowed: 0 or more')
    choice = choose_backend(args.backend)
    if choice.name != 'tensorrt':
        return open_backend(choice.name, onnx, threads=args.threads)
    found = find_engine(card, args.store)
    if found.entry is None:
        raise BackendUnavailableError(
            f'there is no engine to measure: {found.reason}; build it (ros2 run trt_builder '
            'trt_build), or measure the model: --backend onnxruntime'
        )
    return open_engine(card, found.entry)


def check_report(path: Path | None) -> None:
    """Refuse a report that cannot be written, before anything is measured.

    Raises:
        ConfigError: There is no folder for it, or it is one.
    """
    if path is None:
        return
    if path.is_dir():
        raise ConfigError(f'--json {path}: is a folder; name a file')
    if not path.absolute().parent.is_dir():
        raise ConfigError(f'--json {path}: there is no folder {path.absolute().parent}')


def _run(args: argparse.Namespace) -> Report:
    check_report(args.json)
    card = with_overrides(load_card(args.card, onnx=args.onnx), args.settings)
    _ = card.image  # refuses a card for clouds
    thresholds = _thresholds(card, args)
    dataset = Dataset(args.coco)
    classes = dataset.match(card.classes)
    onnx = resolve_model(card)
    backend = open_network(card, onnx, args)
    loaded = Loaded(card, backend, pipeline=args.pipeline)
    try:
        loaded.detector.thresholds = thresholds
        found = measure(
            loaded.detector, dataset, args.images, classes, quiet=not sys.stderr.isatty()
        )
        return Report(
            card=card.name,
            onnx=str(onnx),
            onnx_sha256=hashlib.sha256(onnx.read_bytes()).hexdigest(),
            backend=f'{backend.identity}, pipeline {loaded}',
            images=len(found),
            detections=sum(map(len, found.values())),
            thresholds=thresholds,
            classes=classes,
            precision=dataset.precision(found, classes),
        )
    finally:
        loaded.close()


def _thresholds(card: Card, args: argparse.Namespace) -> Thresholds:
    for name, value in (('--score', args.score), ('--nms-iou', args.nms_iou)):
        if value is not None and not 0 <= value <= 1:
            raise ConfigError(f'{name} is {value}; allowed: a number from 0 up to 1')
    if args.max_detections is not None and args.max_detections < 1:
        raise ConfigError(f'--max-detections is {args.max_detections}; allowed: 1 or more')
    # as COCO's evaluators do: a box is a candidate for every class that it may be
    thresholds = replace(card.thresholds, score=args.score, multi_label=True)
    if args.nms_iou is not None:
        thresholds = replace(thresholds, nms_iou=args.nms_iou)
    if args.max_detections is not None:
        thresholds = replace(thresholds, max_detections=args.max_detections)
    return thresholds


def write_report(path: Path, text: str) -> None:
    """Write what `--json` asks for.

    Raises:
        ConfigError: It cannot be written.
    """
    try:
        path.write_text(text)
    except OSError as exc:
        raise ConfigError(f'--json {path}: cannot be written: {exc.strerror or exc}') from exc


def mismatch(what: str, names: Sequence[str]) -> list[str]:
    """Return the line of a report about names that do not match; none where there are none."""
    return [f'  {len(names)} {what}: {", ".join(names)}'] if names else []


def figure(value: float | None) -> str:
    """Return a precision for a table; None is what could not be measured."""
    return '     -' if value is None else f'{value:6.4f}'


if __name__ == '__main__':
    sys.exit(main())
