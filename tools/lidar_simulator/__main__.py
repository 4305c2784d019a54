# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Draws one simulated sweep from above, and writes its points where asked.

From the repository's root: python -m tools.lidar_simulator --seed 7 --beams 128 --out street.png
"""

from __future__ import annotations

import argparse
from pathlib import Path
import sys

import cv2
import numpy as np

from tools.lidar_simulator.sensor import SENSORS
from tools.lidar_simulator.sweep import simulate
from tools.lidar_simulator.things import KINDS
from trt_inference.lidar.birds_eye import draw


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog='python -m tools.lidar_simulator', description=__doc__)
    parser.add_argument('--seed', type=int, default=1, help='one seed, one street')
    parser.add_argument('--beams', type=int, choices=sorted(SENSORS), default=64)
    parser.add_argument('--out', type=Path, required=True, help='the picture, a .png')
    parser.add_argument('--points', type=Path, help='also write x y z intensity, float32, here')
    args = parser.parse_args()
    if args.seed < 0 or args.out.suffix != '.png':
        parser.error('wanted a seed of at least 0, and a .png for --out')
    sweep = simulate(args.seed, SENSORS[args.beams])
    shown = sweep.seen > 0
    picture = draw(sweep.points, sweep.truth(), KINDS)
    try:
        args.out.write_bytes(cv2.imencode('.png', picture)[1].tobytes())
        if args.points is not None:
            sweep.points.tofile(args.points)
    except OSError as exc:
        sys.exit(f'cannot write {exc.filename}: {exc.strerror}')
    counts = np.bincount(sweep.kinds[shown], minlength=len(KINDS))
    things = ', '.join(f'{count} {kind}' for kind, count in zip(KINDS, counts, strict=True))
    print(f'{len(sweep.points)} points; seen: {things}')


if __name__ == '__main__':
    main()
