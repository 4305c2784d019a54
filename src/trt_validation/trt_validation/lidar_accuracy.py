# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Average precision of a lidar network on clouds with known boxes, run as the lidar node runs it.

The folder of clouds is described in trt_validation/sweeps.py. A box has found a thing by how much
their rectangles, seen from above and turned as they are, overlap; and, in a table of its own, by
how far their middles are apart. Figures are per class, and per distance from the sensor.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
import hashlib
import json
import math
from pathlib import Path
import sys

from rich.console import Console
from rich.progress import track

from trt_engine.card import Card
from trt_engine.card import load_card
from trt_engine.card import Thresholds
from trt_engine.card import with_overrides
from trt_engine.errors import ConfigError
from trt_engine.errors import SourceError
from trt_engine.lidar.model import network_file
from trt_engine.model_file import resolve_model
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.clouds import CloudOptions
from trt_inference.lidar.loading import LoadedLidar
from trt_inference.lidar.pipeline import CloudDetector
from trt_inference.lidar.pipeline import PlacedCloud
from trt_inference.lidar.point_view import PointView
from trt_inference.replay.cloud_files import Cloud
from trt_inference.replay.cloud_files import read_cloud
from trt_validation.accuracy import check_report
from trt_validation.accuracy import figure
from trt_validation.accuracy import mismatch
from trt_validation.accuracy import network_arguments
from trt_validation.accuracy import open_network
from trt_validation.accuracy import tell
from trt_validation.lidar_question import CENTRE_M
from trt_validation.lidar_question import IOU
from trt_validation.lidar_question import LEAST_POINTS
from trt_validation.lidar_question import Question
from trt_validation.lidar_question import RANGES_M
from trt_validation.lidar_question import Table
from trt_validation.sweeps import LabelledSweeps
from trt_validation.sweeps import read_sweeps

SCORE = 0.05  # precision is asked for down to where hardly anything is right any more


@dataclass(frozen=True)
class Report:
    """How well one network did, and what exactly was measured."""

    card: str
    onnx: str
    onnx_sha256: str
    backend: str
    sweeps: int
    boxes: int
    things: int
    thresholds: Thresholds
    ground_offset_m: float
    least_points: int
    iou: Mapping[str, float]
    centre_m: float
    unknown_labels: tuple[str, ...]
    absent_classes: tuple[str, ...]
    ap_by_iou: Table
    ap_by_centre: Table

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(asdict(self), indent=2) + '\n'

    def to_text(self) -> str:
        """Return the report as tables for people."""
        used = self.thresholds
        wanted = ', '.join(f'{name} {limit:g}' for name, limit in self.iou.items())
        lines = [
            f'{self.card} on {self.sweeps} sweeps: {self.boxes} boxes, {self.things} things that '
            f'count (at least {self.least_points} points on them)',
            f'  backend     {self.backend}',
            f'  onnx        {self.onnx} (sha256 {self.onnx_sha256[:12]}...)',
            f'  thresholds  score {used.score:g}, at most {used.max_detections} boxes',
            *([f'  raised by   {self.ground_offset_m:g} m'] if self.ground_offset_m else []),
            *mismatch('labels that are no class of the card, left out', self.unknown_labels),
            *mismatch('classes of the card of which nothing is there', self.absent_classes),
        ]
        for title, table in (
            (f'AP, rotated IoU from above of at least: {wanted}', self.ap_by_iou),
            (f'AP, centres at most {self.centre_m:g} m apart', self.ap_by_centre),
        ):
            heads = list(next(iter(table.values())))
            width = max(map(len, ('class', *table)))
            lines += ['', f'  {title}', f'  {"class":<{width}}  ' + '  '.join(heads)]
            for name, row in table.items():
                cells = (figure(row[head]).rjust(len(head)) for head in heads)
                lines.append(f'  {name:<{width}}  ' + '  '.join(cells))
        return '\n'.join(lines)


def measure(
    detector: CloudDetector, sweeps: LabelledSweeps, *, quiet: bool = False
) -> list[Boxes3d]:
    """Return what a detector sees in each cloud, one by one: none knows of the one before.

    Args:
        detector: Card, network and thresholds.
        sweeps: The clouds.
        quiet: Whether to show no progress.

    Raises:
        ConfigError: A cloud cannot be read; names it.
        PointsError: A cloud lacks a field that the network needs.
    """
    todo: Iterable[Path] = track(
        sweeps.clouds.values(),
        f'{detector.card.name}',
        len(sweeps.clouds),
        console=Console(stderr=True),
        transient=True,
        disable=quiet,
    )
    found = []
    for path in todo:
        try:
            cloud = read_cloud(path)
        except (OSError, SourceError) as exc:
            raise ConfigError(f'{path}: cannot be measured on: {exc}') from exc
        detector.forget()
        found.append(detector(as_placed(cloud)))
    return found


def as_placed(cloud: Cloud) -> PlacedCloud:
    """Return the cloud of a file as a detector takes it, in its own frame."""
    columns = {name: cloud.points[:, place][None] for place, name in enumerate(cloud.fields)}
    count, size = len(cloud.points), 4 * len(cloud.fields)
    return PlacedCloud(PointView(0, 0, '', count, 1, size, size * count, columns, True))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure one card's network; return the exit status."""
    return tell(_run, _parser().parse_args(argv))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='lidar_accuracy', description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    network_arguments(parser)
    parser.add_argument(
        '--sweeps', required=True, type=Path, help='folder of clouds with labels.csv'
    )
    parser.add_argument('--score', type=float, default=SCORE, help='smallest score (%(default)s)')
    parser.add_argument(
        '--iou', action='append', default=[], metavar='CLASS=IOU',
        help=f'least overlap for a class (else {IOU:g}), such as car=0.7; as often as needed',
    )  # fmt: skip
    parser.add_argument(
        '--rename', action='append', default=[], metavar='LABEL=CLASS',
        help='count what is labelled so as that class, such as van=car',
    )  # fmt: skip
    parser.add_argument(
        '--centre-m', type=float, default=CENTRE_M, help='most metres between centres (%(default)s)'
    )
    parser.add_argument(
        '--ranges-m', type=float, nargs='+', default=RANGES_M,
        help='ends of the ranges of distances, rising',
    )  # fmt: skip
    parser.add_argument(
        '--ground-offset-m', type=float, default=0.0,
        help='added to z for the network, as the parameter of the node (%(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--least-points', type=int, default=LEAST_POINTS,
        help='things with fewer points on them count neither way (%(default)s)',
    )  # fmt: skip
    return parser


def _run(args: argparse.Namespace) -> Report:
    check_report(args.json)
    card = with_overrides(load_card(args.card, onnx=args.onnx), args.settings)
    question = _question(card, args)
    sweeps = read_sweeps(args.sweeps)
    truth = [question.truth(things) for things in sweeps.things.values()]
    total = sum(int(each.counted.sum()) for each in truth)
    if not total:
        raise ConfigError(
            f'{args.sweeps}: nothing that counts is in it; its labels are '
            f'{", ".join(sweeps.labels()) or "none"}, the classes of the card '
            f'{", ".join(card.classes)}; name those that are meant with --rename'
        )
    backend = open_network(card, network_file(card), args)
    options = CloudOptions(ground_offset_m=args.ground_offset_m)
    loaded = LoadedLidar(card, backend, options, pipeline=args.pipeline, threads=args.threads)
    try:
        loaded.detector.thresholds = replace(card.thresholds, score=args.score)
        found = measure(loaded.detector, sweeps, quiet=not sys.stderr.isatty())
        onnx = resolve_model(card)
        labels = {label: question.renamed.get(label, label) for label in sweeps.labels()}
        return Report(
            card=card.name,
            onnx=str(onnx),
            onnx_sha256=hashlib.sha256(onnx.read_bytes()).hexdigest(),
            backend=f'{backend.identity}, pipeline {loaded}',
            sweeps=len(found),
            boxes=sum(map(len, found)),
            things=total,
            thresholds=loaded.detector.thresholds,
            ground_offset_m=options.ground_offset_m,
            least_points=question.least_points,
            iou={name: question.iou.get(name, IOU) for name in card.classes},
            centre_m=question.centre_m,
            unknown_labels=tuple(each for each in labels if labels[each] not in card.classes),
            absent_classes=tuple(each for each in card.classes if each not in labels.values()),
            ap_by_iou=question.answer(found, truth, question.iou_rules()),
            ap_by_centre=question.answer(found, truth, question.centre_rules()),
        )
    finally:
        loaded.close()


def _question(card: Card, args: argparse.Namespace) -> Question:
    ranges = tuple(args.ranges_m)
    if not all(a < b for a, b in zip((0.0, *ranges), ranges, strict=False)):
        raise ConfigError(f'--ranges-m is {ranges}; allowed: distances above 0 that rise')
    if not math.isfinite(args.ground_offset_m):
        raise ConfigError(f'--ground-offset-m is {args.ground_offset_m}; allowed: finite metres')
    if not 0 <= args.score <= 1 or not args.centre_m > 0 or args.least_points < 0:
        raise ConfigError(
            f'--score {args.score}, --centre-m {args.centre_m}, --least-points '
            f'{args.least_points}; allowed: 0 to 1, above 0, at least 0'
        )
    iou = {}
    for name, text in _pairs('--iou', args.iou, card.classes, of_class=0).items():
        try:
            iou[name] = float(text)
        except ValueError:
            iou[name] = math.nan
        if not 0 < iou[name] <= 1:
            raise ConfigError(f'--iou {name}={text}; allowed: a number above 0, up to 1')
    renamed = _pairs('--rename', args.rename, card.classes, of_class=1)
    x, y, bottom, *far, top = card.points.range_m
    offset = args.ground_offset_m
    range_m = (x, y, bottom - offset, *far, top - offset)
    return Question(card.classes, range_m, renamed, iou, args.centre_m, ranges, args.least_points)


def _pairs(
    option: str, given: Sequence[str], classes: Sequence[str], *, of_class: int
) -> dict[str, str]:
    pairs = {}
    for text in given:
        name, sign, value = text.partition('=')
        if not sign or (name, value)[of_class] not in classes:
            raise ConfigError(
                f'{option} {text}: wanted two words with = between them, the '
                f'{("first", "second")[of_class]} a class of the card: {", ".join(classes)}'
            )
        pairs[name] = value
    return pairs


if __name__ == '__main__':
    sys.exit(main())
