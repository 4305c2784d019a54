# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Writes simulated sweeps as a folder that replay plays and lidar_accuracy measures on.

From the repository's root: python -m tools.lidar_simulator.folder --out FOLDER --sweeps 100

Each sweep is a street of its own; with --drive they are one drive along one street.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path
import sys

from tools.lidar_simulator.drive import drive
from tools.lidar_simulator.sensor import SENSORS
from tools.lidar_simulator.sweep import simulate
from tools.lidar_simulator.sweep import Sweep
from tools.lidar_simulator.things import KINDS
from trt_validation.sweeps import Thing
from trt_validation.sweeps import write_labels

STEP_M = 0.6


def things(sweep: Sweep) -> list[Thing]:
    """Return what stands in a sweep and has a point on it."""
    return [
        Thing(KINDS[kind], tuple(map(float, box)), int(seen))
        for box, kind, seen in zip(sweep.boxes, sweep.kinds, sweep.seen, strict=True)
        if seen > 0
    ]


def write(folder: Path, sweeps: Iterator[Sweep]) -> int:
    """Write sweeps and their labels; return how many.

    Raises:
        OSError: They cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    labels = {}
    for place, sweep in enumerate(sweeps):
        name = f'{place:06d}'
        sweep.points.astype('<f4').tofile(folder / f'{name}.bin')
        labels[name] = things(sweep)
    write_labels(folder, labels)
    return len(labels)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=Path, required=True, help='the folder')
    parser.add_argument('--sweeps', type=int, default=100)
    parser.add_argument('--seed', type=int, default=1, help='of the first street')
    parser.add_argument('--beams', type=int, choices=sorted(SENSORS), default=64)
    parser.add_argument('--drive', action='store_true', help='one drive along one street')
    args = parser.parse_args(argv)
    if args.sweeps < 1 or args.seed < 0:
        parser.error('wanted at least 1 sweep, and a seed of at least 0')
    sensor = SENSORS[args.beams]
    sweeps = (
        drive(args.seed, sensor, args.sweeps, STEP_M)
        if args.drive
        else (simulate(args.seed + place, sensor) for place in range(args.sweeps))
    )
    try:
        count = write(args.out, sweeps)
    except OSError as exc:
        sys.exit(f'cannot write {exc.filename or args.out}: {exc.strerror}')
    print(f'{count} sweeps in {args.out}')


if __name__ == '__main__':
    main()
