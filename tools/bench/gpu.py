#!/usr/bin/env python3
# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a camera frame costs on the GPU, part by part, beside its floor and the usual ways.

    python tools/bench/gpu.py --card yolox_nano --onnx FILE --plan ENGINE [--rounds 500]
    python tools/bench/gpu.py ... --cameras 4 --seconds 300      sustained, every camera saturated
    python tools/bench/gpu.py ... --geometries 10000             images of sizes without end

Needs a GPU, TensorRT and no ROS. Prints Markdown for docs/performance.md.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
import resource
import time

import cv2
import numpy as np

from trt_engine.backend import Array
from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.card import Card
from trt_engine.card import load_card
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Event
from trt_engine.cuda.memory import Exchange
from trt_engine.cuda.memory import Graph
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.memory import Pool
from trt_engine.errors import PerceptionError
from trt_inference.cdr import serialize_image
from trt_inference.detections import Detections
from trt_inference.gpu_pipeline import GpuDetector
from trt_inference.image_view import view_image
from trt_inference.pipeline import Detector

SIZE = (1920, 1080)
WARM_UP = 50
SLICES = 10  # that a sustained run is told in


class Bench:
    """One engine, one card, and the frame that is looked at."""

    def __init__(self, args: argparse.Namespace, closing: ExitStack) -> None:
        self.rounds = args.rounds
        self.card: Card = load_card(args.card, onnx=args.onnx)
        self.backend = TensorRtBackend(args.plan)
        closing.callback(self.backend.close)
        kernels, self.pool = Kernels(args.kernels), Pool()
        closing.callback(kernels.close)
        closing.callback(self.pool.close)
        self.detector = GpuDetector(
            self.card, self.backend, kernels=kernels, pool=self.pool, spin=args.spin
        )
        closing.callback(self.detector.close)
        picture = cv2.imread(str(args.picture))
        self.frame: Array = cv2.resize(picture, SIZE)
        self.spin = args.spin

    def median(self, work: Callable[[], object], rounds: int | None = None) -> float:
        """Return the median ms of a piece of work, the warm-up left out."""
        return float(np.median(self.times(work, rounds)))

    def times(self, work: Callable[[], object], rounds: int | None = None) -> list[float]:
        times = []
        for _ in range(WARM_UP + (rounds or self.rounds)):
            begun = time.perf_counter()
            work()
            times.append((time.perf_counter() - begun) * 1e3)
        return times[WARM_UP:]

    def waited(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return work that is also waited for, as the detector waits."""
        done = Event(spin=self.spin)

        def run() -> None:
            work()
            done.record(self.backend.stream)
            done.synchronize()

        return run

    def floor(self) -> tuple[float, float]:
        """Return ms of the engine alone in a graph, and of the raw frame from pinned memory."""
        graph = Graph(self.backend.stream, self.backend.enqueue)
        engine = self.median(self.waited(lambda: graph.launch(self.backend.stream)))
        graph.close()
        memory = Lease(self.pool)
        raw = Exchange(memory, self.frame.nbytes)
        copy = self.median(self.waited(lambda: raw.upload(self.backend.stream)))
        memory.close()
        return engine, copy

    def parts(self) -> dict[str, float]:
        """Return the median ms that the GPU spends in each part of a frame, by events."""
        stream, parts = self.backend.stream, self.detector.parts(self.frame, 'bgr8')
        before, after = Event(timing=True), Event(timing=True)
        medians = {}
        for name, put in parts.items():
            times = []
            for _ in range(WARM_UP + self.rounds):
                before.record(stream)
                put()
                after.record(stream)
                after.synchronize()
                times.append(after.since(before))
            medians[name] = float(np.median(times[WARM_UP:]))
        before.close()
        after.close()
        return medians

    def pinned(self) -> float:
        """Return ms from a frame that lies staged in pinned memory to its detections."""
        stage: list[float] = []  # bringing the frame there, which is left out

        def run() -> None:
            self.detector(self.frame, 'bgr8')
            stage.append(self.detector.stages_ms['preprocess'])

        whole = self.times(run)
        return float(np.median(np.array(whole) - np.array(stage[WARM_UP:])))

    def message(self) -> float:
        """Return ms from the bytes of a serialized message to the detections."""
        message = serialize_image(1, 'camera', self.frame)

        def run() -> None:
            view = view_image(message)
            self.detector(view.pixels, view.encoding)

        return self.median(run)


def usual(card: Card, backend: TensorRtBackend, frame: Array) -> Callable[[], object]:
    """Return the frame as most Python nodes do it: cv2, NumPy, copies in and out, cv2's NMS."""
    spec = card.input
    strides = (8, 16, 32)
    cells = [np.mgrid[: spec.height // each, : spec.width // each] for each in strides]
    grid = np.concatenate([np.stack([x.ravel(), y.ravel()], 1) for y, x in cells])
    scale = np.concatenate(
        [np.full((x.size, 1), s) for s, (_, x) in zip(strides, cells, strict=True)]
    )

    def run() -> object:
        ratio = min(spec.width / frame.shape[1], spec.height / frame.shape[0])
        small = cv2.resize(frame, (int(frame.shape[1] * ratio), int(frame.shape[0] * ratio)))
        padded = np.full((spec.height, spec.width, 3), 114, np.uint8)
        padded[: small.shape[0], : small.shape[1]] = small
        tensor = np.ascontiguousarray(padded.transpose(2, 0, 1)[None], np.float32)
        (output,) = backend.run({spec.tensor: tensor}).values()
        rows = output[0].copy()
        rows[:, :2] = (rows[:, :2] + grid) * scale
        rows[:, 2:4] = np.exp(rows[:, 2:4]) * scale
        scores = rows[:, 4:5] * rows[:, 5:]
        labels, best = scores.argmax(1), scores.max(1)
        seen = best > card.thresholds.score
        corners = np.concatenate([rows[seen, :2] - rows[seen, 2:4] / 2, rows[seen, 2:4]], 1) / ratio
        return cv2.dnn.NMSBoxesBatched(
            corners.tolist(), best[seen].tolist(), labels[seen].tolist(),
            card.thresholds.score, card.thresholds.nms_iou,
        )  # fmt: skip

    return run


def row(*cells: object) -> None:
    words = (f'{cell:.3f}' if isinstance(cell, float) else str(cell) for cell in cells)
    print(f'| {" | ".join(words)} |', flush=True)


def report_frame(bench: Bench) -> None:
    """Print a frame's parts, its floor, and the same engine in other ways."""
    engine, copy = bench.floor()
    parts = bench.parts()
    pinned, message = bench.pinned(), bench.message()
    row('part, by events', 'ms')
    row('---', '---:')
    for name, ms in parts.items():
        row(name, ms)
    print()
    row(f'{bench.card.name}, {SIZE[0]}x{SIZE[1]} bgr8, median of {bench.rounds}', 'ms')
    row('---', '---:')
    row('floor: engine alone in a graph', engine)
    row('floor: raw frame, pinned host to device', copy)
    row('ours, from pinned memory to detections', pinned)
    row('**ours / floor**', pinned / (engine + copy))
    row('gap: ours less the graph by events', pinned - parts.get('graph', float('nan')))
    row('ours, from the bytes of a message', message)
    row('**more than from pinned memory**', message - pinned)
    on_cpu = Detector(bench.card, bench.backend)
    ways = {'our CPU path, same engine': lambda: on_cpu(bench.frame, 'bgr8')}
    if bench.card.head.type == 'yolox':
        ways['the usual way: cv2, NumPy, same engine'] = usual(
            bench.card, bench.backend, bench.frame
        )  # type: ignore[assignment]
    for name, work in ways.items():
        ms = bench.median(work)
        row(name, ms)
        row('ours from a message / that', message / ms)


def report_sustained(bench: Bench, cameras: int, seconds: float) -> None:
    """Print latency and memory of frames that come as fast as they are taken."""
    messages = [
        serialize_image(1, 'camera', np.roll(bench.frame, 97 * n, 1)) for n in range(cameras)
    ]
    for message in messages:  # plans for as many runs as may be under way
        view = view_image(message)
        runs = [bench.detector.begin([(view.pixels, view.encoding)]) for _ in range(2)]
        for finish in runs:
            finish()
    row('of the run', 'frames/s', 'p50 ms', 'p99 ms', 'max ms', 'reserved MiB', 'resident MiB')
    row('---', *['---:'] * 6)
    end = time.perf_counter() + seconds
    for part in range(SLICES):
        until = end - seconds * (SLICES - 1 - part) / SLICES
        begun, times = time.perf_counter(), []
        under_way: deque[tuple[float, Callable[[], list[Detections]]]] = deque()
        turn = 0
        while time.perf_counter() < until or under_way:
            if time.perf_counter() < until:
                started = time.perf_counter()
                view = view_image(messages[turn % cameras])
                finish = bench.detector.begin([(view.pixels, view.encoding)])
                under_way.append((started, finish))
                turn += 1
                if len(under_way) < bench.detector.in_flight:
                    continue
            started, finish = under_way.popleft()
            finish()
            times.append((time.perf_counter() - started) * 1e3)
        reserved = sum(bench.pool.reserved_bytes.values()) / (1 << 20)
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        p50, p99 = (float(each) for each in np.percentile(times, [50, 99]))
        rate = len(times) / (time.perf_counter() - begun)
        row(f'{(part + 1) / SLICES:.0%}', rate, p50, p99, max(times), reserved, resident)


def report_geometries(bench: Bench, count: int) -> None:
    """Print memory along images of random sizes, each compared with the CPU path."""
    rng = np.random.default_rng(0)
    reference = Detector(bench.card, bench.backend)
    row('images', 'reserved MiB', 'resident MiB', 'boxes', 'furthest from the CPU path, px')
    row('---', *['---:'] * 4)
    furthest, boxes = 0.0, 0
    for number in range(1, count + 1):
        width, height = (int(each) for each in rng.integers(16, 2000, 2))
        pixels = cv2.resize(bench.frame, (width, height))
        found = bench.detector(pixels, 'bgr8')
        if number % 100 == 0:
            wanted = reference(pixels, 'bgr8')
            if len(found) != len(wanted):
                raise SystemExit(f'{width}x{height}: {len(found)} boxes, wanted {len(wanted)}')
            boxes += len(found)
            if len(found):
                furthest = max(furthest, float(np.abs(found.boxes - wanted.boxes).max()))
        if number % (count // SLICES or 1) == 0:
            reserved = sum(bench.pool.reserved_bytes.values()) / (1 << 20)
            resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            row(number, reserved, resident, boxes, furthest)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--card', required=True)
    parser.add_argument('--onnx', type=Path, help="ONNX file instead of the card's")
    parser.add_argument('--plan', type=Path, required=True, help='the engine')
    parser.add_argument('--picture', type=Path, required=True)
    parser.add_argument('--kernels', type=Path, help='folder of compiled kernels')
    parser.add_argument('--rounds', type=int, default=500)
    parser.add_argument('--spin', action='store_true', help='wait for the GPU busily')
    parser.add_argument('--cameras', type=int, default=0)
    parser.add_argument('--seconds', type=float, default=60)
    parser.add_argument('--geometries', type=int, default=0)
    args = parser.parse_args()
    try:
        with ExitStack() as closing:
            bench = Bench(args, closing)
            how = 'busy' if args.spin else 'asleep'
            print(f'{bench.backend.identity}; waits {how}; {bench.detector.no_graph or "graph"}\n')
            if args.cameras:
                report_sustained(bench, args.cameras, args.seconds)
            elif args.geometries:
                report_geometries(bench, args.geometries)
            else:
                report_frame(bench)
    except PerceptionError as exc:
        print(f'gpu: {exc}')
        return 1
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
