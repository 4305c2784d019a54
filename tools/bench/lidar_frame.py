# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a whole cloud costs with a real engine: part by part on the GPU, beside the CPU's path.

    python -m tools.bench.lidar_frame --card demo_lidar --plan ENGINE

The cloud is a simulated sweep of 128 beams, of as many points as asked for. Both ways run the same
engine. Prints Markdown for docs/performance.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
import statistics
import sys
import tempfile
import time

import numpy as np

from tools.bench.lidar import cloud
from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.card import load_card
from trt_engine.command import end_well
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Event
from trt_engine.cuda.memory import Pool
from trt_engine.lidar.model import pillar_weights
from trt_inference.lidar.gpu_pipeline import GpuLidarDetector
from trt_inference.lidar.pipeline import LidarDetector
from trt_inference.lidar.pipeline import PlacedCloud
from trt_inference.lidar.point_view import PointView


def placed(count: int) -> PlacedCloud:
    """Return a cloud as it lies in a message: x, y, z, intensity, float32."""
    records = np.ascontiguousarray(cloud(count))
    columns = {name: records[None, :, place] for place, name in enumerate('xyz')}
    columns['intensity'] = records[None, :, 3]
    size = records.itemsize * 4
    return PlacedCloud(PointView(0, 0, '', count, 1, size, size * count, columns, True))


def median_ms(work: Callable[[], object], rounds: int) -> float:
    """Return the median on the clock, the first tenth left out."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        times.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(times[rounds // 10 :])


def by_events(detector: GpuLidarDetector, lidar: PlacedCloud, rounds: int) -> dict[str, float]:
    """Return the median ms that the GPU spends in each part."""
    stream = detector.backend.stream
    before, after = Event(timing=True), Event(timing=True)
    medians = {}
    for name, put in detector.parts(lidar).items():
        times = []
        for _ in range(rounds):
            before.record(stream)
            put()
            after.record(stream)
            after.synchronize()
            times.append(after.since(before))
        medians[name] = statistics.median(times[rounds // 10 :])
    before.close()
    after.close()
    return medians


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--card', default='demo_lidar')
    parser.add_argument('--onnx', type=Path, help="ONNX file instead of the card's")
    parser.add_argument('--plan', type=Path, required=True, help='the engine')
    parser.add_argument('--points', type=int, default=120_000)
    parser.add_argument('--rounds', type=int, default=500)
    args = parser.parse_args()
    return end_well(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as closing:
        card = load_card(args.card, onnx=args.onnx)
        weights = pillar_weights(card)
        backend = TensorRtBackend(args.plan)
        closing.callback(backend.close)
        kernels, pool = Kernels(Path(folder)), Pool()
        closing.callback(kernels.close)
        closing.callback(pool.close)
        detector = GpuLidarDetector(card, backend, weights, kernels=kernels, pool=pool)
        closing.callback(detector.close)
        on_cpu = LidarDetector(card, backend, weights)
        lidar = placed(args.points)
        found, wanted = detector(lidar), on_cpu(lidar)
        parts = by_events(detector, lidar, args.rounds)
        whole = median_ms(lambda: detector(lidar), args.rounds)
        whole_cpu = median_ms(lambda: on_cpu(lidar), max(2, args.rounds // 10))
        stages = on_cpu.stages_ms
    print(f'{card.name}: {backend.identity}; {detector.no_graph or "graph"}')
    print(f'{len(found)} boxes on the GPU, {len(wanted)} on the CPU\n')
    print(f'| {args.points} points, median of {args.rounds} | ms |\n| --- | ---: |')
    for name, ms in parts.items():
        print(f'| {name}, by events | {ms:.3f} |')
    before_and_after = sum(parts[name] for name in ('pillars', 'decode', 'download'))
    print(f'| **before and after the network, without the upload** | {before_and_after:.3f} |')
    print(f'| whole, from the message to boxes on the host | {whole:.3f} |')
    print(f'| the same, prepared and decoded on the CPU | {whole_cpu:.3f} |')
    print(f'| of that: preprocess, decode | {stages["preprocess"]:.3f}, {stages["decode"]:.3f} |')
    return 0


if __name__ == '__main__':
    sys.exit(main())
