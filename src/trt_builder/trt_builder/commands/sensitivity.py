# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`trt_build sensitivity`: which layers lose most in INT8."""

from __future__ import annotations

from argparse import ArgumentParser
from argparse import Namespace
from dataclasses import asdict

from rich.console import Console
from rich.progress import Progress

from trt_builder.commands import arguments
from trt_builder.commands.show import print_json
from trt_builder.commands.show import warn
from trt_builder.int8.calibration import CalibrationSet
from trt_builder.int8.calibration import open_calibration
from trt_builder.int8.qdq import calibrate
from trt_builder.int8.qdq import FloatModel
from trt_builder.int8.qdq import Keep
from trt_builder.int8.qdq import SUGGESTED
from trt_builder.int8.sensitivity import before_sorting
from trt_builder.int8.sensitivity import measure_sensitivity
from trt_builder.int8.sensitivity import SAMPLES
from trt_builder.int8.sensitivity import to_text
from trt_engine.card import Card
from trt_engine.errors import CalibrationError
from trt_engine.lidar.model import network_file

SUMMARY = 'Measure what each layer loses in INT8; `mixed` keeps the worst in FP16.'
EXAMPLE = 'example: trt_build sensitivity demo --set calibration.data=pictures/ --top 10'


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    arguments.add_card(parser)
    parser.add_argument(
        '--samples', type=arguments.at_least(1), default=SAMPLES, metavar='N',
        help='samples to measure with (%(default)s); the scales come from all',
    )  # fmt: skip
    parser.add_argument(
        '--top', type=arguments.at_least(1), default=20, metavar='N',
        help='layers to show (%(default)s)',
    )  # fmt: skip
    parser.add_argument('--allow-few', action='store_true', help='calibrate with few samples, too')
    arguments.add_json(parser)


def run(args: Namespace) -> int:
    """Print the report; return the exit status."""
    card = arguments.read_card(args)
    source = FloatModel(network_file(card))
    given = card.build.calibration
    method = 'percentile' if given.method == 'auto' else given.method
    keep = SUGGESTED if given.keep_sensitive else Keep(depthwise=False, last=False)
    everything = _samples(card, given.samples, args.allow_few)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task('calibration', total=len(everything))
        scales, _ = calibrate(
            source,
            everything,
            method=method,
            progress=lambda done: bars.update(task, completed=done),
        )
        task = bars.add_task('layers', total=None)
        report = measure_sensitivity(
            source,
            scales,
            _samples(card, args.samples, True),
            keep=keep,
            compare=before_sorting(source),
            progress=lambda done, count: bars.update(task, completed=done, total=count),
        )
    if args.json:
        print_json({'card': card.name, 'layers': [asdict(each) for each in report[: args.top]]})
    else:
        print(to_text(report, args.top))
    return 0


def _samples(card: Card, count: int, allow_few: bool) -> CalibrationSet:
    given = card.build.calibration
    if given.data is None:
        raise CalibrationError(
            f'card {card.name!r} has no calibration data: name pictures, a rosbag or an .npz with '
            '--set calibration.data=...'
        )
    return open_calibration(
        card, given.data, topic=given.topic, samples=count, allow_few=allow_few, warn=warn
    )
