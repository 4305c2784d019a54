# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The GPU path on a GPU: what a frame costs, whether it holds, and whether it sees the same.

    python tools/bench/gpu frame --card yolox_nano --onnx FILE --plan ENGINE --picture FILE
    python tools/bench/gpu run   ... --cameras 4 --hz 30 --seconds 300
    python tools/bench/gpu equal ... --coco FOLDER --geometries 10000

Needs TensorRT and no ROS. Prints Markdown for docs/performance.md.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

import equal
import frame
import run
from setting import Setting

from trt_engine.errors import PerceptionError

REPORTS = {'frame': frame.report, 'run': run.report, 'equal': equal.report}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('report', choices=REPORTS)
    parser.add_argument('--card', required=True)
    parser.add_argument('--onnx', type=Path, help="ONNX file instead of the card's")
    parser.add_argument('--plan', type=Path, required=True, help='the engine')
    parser.add_argument('--picture', type=Path, required=True, help='what to look at')
    parser.add_argument('--kernels', type=Path, help='folder of compiled kernels')
    parser.add_argument('--spin', action='store_true', help='wait for the GPU busily')
    parser.add_argument('--rounds', type=int, default=500, help='of frame')
    parser.add_argument('--warm-up', type=int, default=50, help='rounds of frame before these')
    parser.add_argument('--cameras', type=int, default=4, help='of run')
    parser.add_argument('--hz', type=float, default=30.0, help='of run, of each camera')
    parser.add_argument('--seconds', type=float, default=300.0, help='of run')
    parser.add_argument('--coco', type=Path, help='of equal: instances.json and images/')
    parser.add_argument('--geometries', type=int, default=10_000, help='of equal')
    args = parser.parse_args()
    try:
        with ExitStack() as closing:
            setting = Setting(args, closing)
            how = 'busy' if args.spin else 'asleep'
            graph = setting.detector.no_graph or 'graph'
            print(f'{setting.card.name}: {setting.backend.identity}; waits {how}; {graph}\n')
            REPORTS[args.report](setting, args)
    except PerceptionError as exc:
        print(f'gpu: {exc}')
        return 1
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
