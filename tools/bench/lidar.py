# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What sorting points into pillars costs on the CPU, beside `np.unique`, and how it grows.

    python -m tools.bench.lidar --plot docs/voxelisation.svg

Clouds are simulated sweeps, put on top of each other with some noise until there are points enough,
or thinned. Both ways make the same pillars of the same points, in turns within each round. Prints
Markdown for docs/performance.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
import math
import os
from pathlib import Path
import statistics
import time

import numpy as np

from tools.lidar_network.form import POINTS
from tools.lidar_simulator.sensor import SENSORS
from tools.lidar_simulator.sweep import simulate
from trt_engine.backend import Array
from trt_engine.lidar.pillars import Pillarizer

COUNTS = (10_000, 30_000, 120_000, 300_000, 1_000_000, 2_000_000)
ROUNDS = 15
SPEC = POINTS


@dataclass(frozen=True)
class Figures:
    """Medians of the rounds, of one number of points."""

    points: int
    pillars: int
    ours_ms: float
    unique_ms: float
    ratio: float


def cloud(count: int) -> Array:
    """Return (count, 4) float32 points, column by column, as `PointReader` gives them."""
    chance = np.random.default_rng(1)
    sweeps = [simulate(seed, SENSORS[128]).points for seed in (1, 2, 3)]
    points = np.concatenate([each[np.abs(each[:, :2]).max(axis=1) < 40] for each in sweeps])
    # a sweep comes beam by beam, and so do these points
    if count < len(points):
        chosen = points[np.sort(chance.permutation(len(points))[:count])]
    else:
        chosen = points[np.arange(count) % len(points)]
    moved = chosen + chance.normal(0, 0.02, chosen.shape) * (1, 1, 1, 0)
    return np.asfortranarray(moved, np.float32)


def with_unique(points: Array) -> tuple[Array, Array]:
    """Return features (K, 10) and cells (V,) as one writes them with `np.unique`."""
    low, high = np.array(SPEC.range_m[:3], np.float32), np.array(SPEC.range_m[3:], np.float32)
    size = np.array(SPEC.voxel_m, np.float32)
    points = points[((points[:, :3] >= low) & (points[:, :3] < high)).all(axis=1)]
    places = ((points[:, :2] - low[:2]) / size[:2]).astype(np.int64)
    cells = places[:, 1] * SPEC.grid[0] + places[:, 0]
    found, owner, counts = np.unique(cells, return_inverse=True, return_counts=True)
    order = np.argsort(owner, kind='stable')
    owner = owner[order]
    rank = np.arange(len(order)) - (np.cumsum(counts) - counts)[owner]
    kept = (rank < SPEC.max_points) & (owner < SPEC.max_voxels)
    points, owner, found = points[order[kept]], owner[kept], found[: SPEC.max_voxels]
    counts = np.bincount(owner)
    sums = [np.bincount(owner, values) for values in points[:, :3].T]
    means = (np.stack(sums, axis=1) / counts[:, None]).astype(np.float32)
    middles = np.zeros((len(found), 3), np.float32)
    middles[:, 0], middles[:, 1] = found % SPEC.grid[0], found // SPEC.grid[0]
    middles = middles * size + (size / 2 + low)
    features = np.concatenate(
        (points, points[:, :3] - means[owner], points[:, :3] - middles[owner]), axis=1
    )
    return features, found


def measure(count: int, rounds: int) -> Figures:
    """Run both in turns."""
    points, pillarize = cloud(count), Pillarizer(SPEC)
    pillars = pillarize(points)
    features, cells = with_unique(points)
    np.testing.assert_array_equal(cells, pillars.cells)
    np.testing.assert_allclose(features, pillars.features, atol=1e-4)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(_taken_ms(lambda: pillarize(points)))
        theirs.append(_taken_ms(lambda: with_unique(points)))
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    medians = map(statistics.median, (ours, theirs, ratios))
    return Figures(count, len(pillars), *medians)


def _taken_ms(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return (time.perf_counter() - begun) * 1e3


def plot(rows: Sequence[Figures]) -> str:
    """Return the growth as SVG, both axes logarithmic."""
    width, height, left, bottom = 640, 360, 60, 40
    curves = {
        'np.unique': ('#d55e00', [row.unique_ms for row in rows]),
        'ours': ('#0072b2', [row.ours_ms for row in rows]),
    }
    times = [value for _, values in curves.values() for value in values]
    ends_x = math.log10(rows[0].points), math.log10(rows[-1].points)
    ends_y = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))

    def x(points: int) -> float:
        share = (math.log10(points) - ends_x[0]) / max(ends_x[1] - ends_x[0], 1e-9)
        return round(left + share * (width - left - 20), 1)

    def y(value_ms: float) -> float:
        share = (math.log10(value_ms) - ends_y[0]) / max(ends_y[1] - ends_y[0], 1)
        return round(height - bottom - share * (height - bottom - 20), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for power in range(ends_y[0], ends_y[1] + 1):
        at = y(10.0**power)
        parts += [
            f'<line x1="{left}" x2="{width - 20}" y1="{at}" y2="{at}" stroke="#ddd"/>',
            f'<text x="{left - 6}" y="{at + 4}" text-anchor="end">{10.0**power:g} ms</text>',
        ]
    for row in rows:
        text = f'{row.points // 1000:,}k'
        parts.append(
            f'<text x="{x(row.points)}" y="{height - 18}" text-anchor="middle">{text}</text>'
        )
    parts.append(f'<text x="{width / 2}" y="{height - 3}" text-anchor="middle">points</text>')
    for place, (name, (colour, values)) in enumerate(curves.items()):
        line = ' '.join(f'{x(row.points)},{y(v)}' for row, v in zip(rows, values, strict=True))
        parts += [
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>',
            f'<text x="{left + 12}" y="{34 + 18 * place}" fill="{colour}">{escape(name)}</text>',
        ]
    return '\n'.join([*parts, '</svg>', ''])


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table; write the plot where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument('--points', type=int, nargs='+', default=COUNTS)
    parser.add_argument('--rounds', type=int, default=ROUNDS)
    parser.add_argument('--plot', type=Path, help='an .svg')
    args = parser.parse_args(argv)
    load = os.getloadavg()[0]
    if min(args.points) < 1 or args.rounds < 1:
        parser.error('wanted at least 1 point, and 1 round')
    rows = [measure(count, args.rounds) for count in sorted(args.points)]
    print(f'{os.cpu_count()} cores; load {load:.1f} before, {os.getloadavg()[0]:.1f} after\n')
    print('| points | pillars | ours, ms | `np.unique`, ms | ours / `np.unique` |')
    print('| ---: | ---: | ---: | ---: | ---: |')
    for row in rows:
        print(
            f'| {row.points:,} | {row.pillars:,} | {row.ours_ms:.2f} | {row.unique_ms:.2f} '
            f'| **{row.ratio:.3f}** |'
        )
    if args.plot is not None:
        args.plot.write_text(plot(rows))


if __name__ == '__main__':
    main()
