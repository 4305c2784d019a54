# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""`trt_build dla-report`: what of an ONNX file a DLA can run, and whether there is one."""

from __future__ import annotations

from argparse import ArgumentParser
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from trt_builder.build_process import ask_dla_in_process
from trt_builder.commands import arguments
from trt_builder.commands.show import print_json
from trt_builder.commands.show import print_table
from trt_builder.compat import check_version
from trt_builder.compat import parse_version
from trt_builder.dla.process import report_in_process
from trt_builder.dla.report import Availability
from trt_builder.dla.report import DlaReport
from trt_builder.dla.report import explain_availability
from trt_builder.dla.report import JETSON_6
from trt_engine.build_settings import DLA_PRECISIONS
from trt_engine.platform import read_platform

SUMMARY = 'Say what of an ONNX file a DLA of Orin can run, and why not the rest; on any machine.'
EXAMPLE = "example: trt_build dla-report yolox_nano.onnx --board 'Jetson AGX Orin'"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument('onnx', type=Path, help='the ONNX file')
    parser.add_argument('--precision', choices=DLA_PRECISIONS, default='fp16')
    parser.add_argument(
        '--shape',
        dest='shapes',
        type=arguments.read_shape,
        action='append',
        default=[],
        metavar='INPUT=1x3x416x416',
        help='shape of an input that the file leaves open; may be given again',
    )
    arguments.add_tensorrt(parser, 'version whose rules apply')
    parser.add_argument(
        '--ask-tensorrt', action='store_true', help='on a board: what TensorRT says, beside it'
    )
    parser.add_argument('--board', metavar='NAME', help='board to ask about; else this machine')
    arguments.add_json(parser)


def run(args: Namespace) -> int:
    """Print the report; return the exit status."""
    version = JETSON_6
    if args.tensorrt is not None:
        version = parse_version(args.tensorrt)
        check_version('tensorrt', version)
    report = report_in_process(
        args.onnx, args.precision, shapes=dict(args.shapes), tensorrt=version
    )
    here = availability(args.board, args.tensorrt)
    said = ask_dla_in_process(args.onnx, args.precision) if args.ask_tensorrt else None
    if args.json:
        print_json({**report.to_json(), 'availability': asdict(here), 'tensorrt_says': said})
        return 0
    print(f'{report.to_text()}\n\n{describe_availability(here)}')
    if said is not None:
        _print_verdicts(report, said)
    return 0


def _print_verdicts(report: DlaReport, said: Mapping[str, bool]) -> None:
    """Print where TensorRT, which has the last word, is of another mind."""
    print(f'\nTensorRT would run {sum(said.values())} of its {len(said)} layers on the DLA')
    names = {True: 'dla', False: 'gpu'}
    print_table(
        'TensorRT is of another mind about',
        ('layer', 'operator', 'this report', 'TensorRT'),
        [
            (each.name, each.op, each.device, names[said[each.name]])
            for each in report.layers
            if each.name in said and names[said[each.name]] != each.device
        ],
    )


def availability(board: str | None, tensorrt: str | None) -> Availability:
    """Return whether a board, or else this machine, has a DLA for that version of TensorRT."""
    if board is not None:
        return explain_availability(board, None, tensorrt, None)
    here = read_platform()
    return explain_availability(here.board, here.jetpack, tensorrt or here.tensorrt, here.dla_cores)


def describe_availability(found: Availability) -> str:
    """Return it in a line."""
    answer = {True: 'yes', False: 'no', None: 'not known'}[found.available]
    return f'Is there a DLA: {answer}; {found.reason}'
