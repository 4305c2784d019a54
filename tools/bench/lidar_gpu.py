# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What stands before and after a lidar network costs on the GPU, kernel by kernel, beside the CPU.

    python -m tools.bench.lidar_gpu

Points and outputs are made up, of the sizes of NVIDIA's PointPillars on KITTI. Times on the GPU are
medians between CUDA events within one graph; what a stage costs contains its event. The network
itself is not run. Prints Markdown for docs/performance.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
import statistics
import sys
import tempfile
import time

import numpy as np

from trt_engine.backend import Array
from trt_engine.card import Card
from trt_engine.card import Head
from trt_engine.card import ModelSource
from trt_engine.card import Thresholds
from trt_engine.cuda.detections3d import DetectionsPlan3d
from trt_engine.cuda.kernel import Kernel
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.kernel import Size
from trt_engine.cuda.memory import Graph
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.memory import Pool
from trt_engine.cuda.pillar_targets import PillarGrid
from trt_engine.cuda.pillars import PillarPlan
from trt_engine.cuda.runtime import bindings
from trt_engine.cuda.runtime import call
from trt_engine.cuda.runtime import device_name
from trt_engine.cuda.runtime import Stream
from trt_engine.errors import PerceptionError
from trt_engine.lidar.pillars import BirdsEye
from trt_engine.lidar.pillars import Pillarizer
from trt_engine.lidar.pillars import PillarNet
from trt_engine.lidar.point_records import PointRecords
from trt_engine.lidar_card import PointsInput
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.decoders3d import Decoder3d
from trt_inference.lidar.decoders3d import open_decoder3d

KITTI = PointsInput(
    'voxels', (0, -39.68, -3, 69.12, 39.68, 1), (0.16, 0.16, 4), 32, 40_000, 'pillar10'
)
SMALL = PointsInput('voxels', (0, -1.28, -3, 5.12, 1.28, 1), (0.16, 0.16, 4), 32, 100, 'pillar10')
CHANNELS = 64
POINTS = (10_000, 30_000, 120_000, 300_000, 1_000_000, 2_000_000)
WARM_UP = 20


class Marks:
    """Points in a graph, and the time from each to the next."""

    def __init__(self) -> None:
        self._marks: list[tuple[str, object]] = []

    def __call__(self, stream: Stream, name: str) -> None:
        event = call('cudaEventCreateWithFlags', 0)
        external = bindings('cuda').cudaEventRecordExternal
        call('cudaEventRecordWithFlags', event, stream.handle, external)
        self._marks.append((name, event))

    def read_ms(self) -> dict[str, float]:
        """Return what passed until each mark since the one before it; of equal names the sum."""
        times: dict[str, float] = {}
        for (_, start), (name, end) in zip(self._marks, self._marks[1:], strict=False):
            taken = float(call('cudaEventElapsedTime', start, end))
            times[name] = times.get(name, 0.0) + taken
        return times

    def close(self) -> None:
        while self._marks:
            call('cudaEventDestroy', self._marks.pop()[1])


class MarkedKernel:
    """A kernel with a mark behind it."""

    def __init__(self, kernel: Kernel, name: str, marks: Marks) -> None:
        self._kernel, self._name, self._marks = kernel, name, marks

    def launch(self, stream: Stream, grid: Size, block: Size, given: object) -> None:
        self._kernel.launch(stream, grid, block, given)
        self._marks(stream, self._name)


class MarkedKernels:
    """Kernels, each with a mark behind it."""

    def __init__(self, kernels: Kernels, marks: Marks) -> None:
        self._kernels, self._marks = kernels, marks

    def load(self, name: str, *, source: str = '', **defines: str) -> MarkedKernel:
        return MarkedKernel(self._kernels.load(name, source=source, **defines), name, self._marks)


class Machine:
    """Kernels, memory and a stream for as long as a measurement takes."""

    def __init__(self, folder: Path) -> None:
        self.kernels, self.pool, self.stream = Kernels(folder), Pool(), Stream()

    def measure(
        self, prepare: Callable[[Marks], Callable[[], None]], rounds: int
    ) -> dict[str, float]:
        """Return medians in ms between the marks of the work that was prepared."""
        marks = Marks()
        work = prepare(marks)

        def recorded() -> None:
            marks(self.stream, 'begin')
            work()

        graph = Graph(self.stream, recorded)
        seen: dict[str, list[float]] = {}
        for turn in range(WARM_UP + rounds):
            graph.launch(self.stream)
            self.stream.synchronize()
            if turn >= WARM_UP:
                for name, taken in marks.read_ms().items():
                    seen.setdefault(name, []).append(taken)
        graph.close()
        marks.close()
        return {name: statistics.median(values) for name, values in seen.items()}

    def both_ways(self, make: Callable[[object], object], rounds: int) -> dict[str, float]:
        """Return what a plan's kernels take one by one, and `whole` without marks between."""

        def ends_with(name: str, kernels: object, marks: Marks) -> Callable[[], None]:
            plan = make(kernels)

            def work() -> None:
                plan.enqueue(self.stream)
                marks(self.stream, name)

            return work

        return self.measure(
            lambda marks: ends_with('copy back', MarkedKernels(self.kernels, marks), marks), rounds
        ) | self.measure(lambda marks: ends_with('whole', self.kernels, marks), rounds)

    def close(self) -> None:
        self.pool.close()
        self.kernels.close()
        self.stream.close()


def cloud_of(spec: PointsInput, count: int) -> Array:
    """Return what 128 beams see of a ground and of walls, forward of a lidar; (N, 4) float32."""
    chance = np.random.default_rng(count)
    turns = -(-count // 128)
    rise = np.tan(np.deg2rad(np.linspace(-25, 15, 128)))
    angle = np.repeat(np.linspace(-np.pi / 3, np.pi / 3, turns), 128)[:count]
    rise = np.tile(rise, turns)[:count]
    walls = np.repeat(chance.uniform(0.05, 1, 64) * spec.range_m[3], -(-turns // 64))[:turns]
    away = np.repeat(walls, 128)[:count]
    height = 1.8
    away = np.where(rise < 0, np.minimum(away, height / np.maximum(-rise, 1e-6)), away)
    away = away + chance.normal(0, 0.02, count)
    columns = (away * np.cos(angle), away * np.sin(angle), away * rise, chance.random(count))
    return np.stack(columns, axis=1).astype(np.float32)


def cpu_ms(work: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        times.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(times)


def measure_points(
    machine: Machine, spec: PointsInput, count: int, rounds: int
) -> Mapping[str, object]:
    """Return what turning points into the grid costs."""
    chance = np.random.default_rng(1)
    weight = chance.normal(0, 0.3, (spec.feature_size, CHANNELS)).astype(np.float32)
    bias = chance.normal(0, 0.3, CHANNELS).astype(np.float32)
    cloud = cloud_of(spec, count)
    records = PointRecords.of(cloud)
    columns, rows = spec.grid
    memory = Lease(machine.pool)
    shape = (1, CHANNELS, rows, columns)
    tensor = memory.take('device', int(np.prod(shape)) * 4).address
    target = PillarGrid(memory, machine.stream, spec, tensor, weight, bias)
    plans: list[PillarPlan] = []

    def make(kernels: Kernels) -> PillarPlan:
        plan = PillarPlan(kernels, memory, target, records.layout, count)
        plan.stage(records)
        plan.upload(machine.stream)
        plans.append(plan)
        return plan

    def upload(marks: Marks) -> Callable[[], None]:
        plan = make(machine.kernels)

        def work() -> None:
            plan.upload(machine.stream)
            marks(machine.stream, 'upload')

        return work

    times = machine.measure(upload, rounds)
    times |= machine.both_ways(make, rounds)
    counts, _ = plans[-1].read()
    grid = np.empty(shape, np.float32)
    direction = bindings('cuda').cudaMemcpyKind.cudaMemcpyDeviceToHost
    call('cudaMemcpy', grid.ctypes.data, tensor, grid.nbytes, direction)
    memory.close()

    pillarize, net = Pillarizer(spec), PillarNet(weight, bias, spec.max_points)
    birds_eye = BirdsEye(spec, CHANNELS)
    pillars = pillarize(cloud)
    layer = net(pillars)
    turns = max(3, min(50, 4_000_000 // count))
    same = counts == pillars.counts
    apart = float(np.abs(grid - birds_eye(layer, pillars.cells)).max())
    return {
        'points': count,
        'pillars': len(pillars),
        **times,
        'CPU: pillars': cpu_ms(lambda: pillarize(cloud), turns),
        'CPU: network, grid': cpu_ms(lambda: birds_eye(net(pillars), pillars.cells), turns),
        'counts equal': 'yes' if same else f'NO: {counts}, CPU {pillars.counts}',
        'grid apart by at most': f'{apart:.1e}',
    }


def anchor_card(spec: PointsInput) -> Card:
    head = Head(
        'pointpillars',
        {'scores': ('scores',), 'boxes': ('boxes',), 'directions': ('directions',)},
        {
            'anchor_sizes': ((3.9, 1.6, 1.56), (0.8, 0.6, 1.73), (1.76, 0.6, 1.73)),
            'anchor_bottoms': (-1.78, -0.6, -0.6),
        },
    )
    return Card(
        'bench', 'PointPillars on KITTI', ModelSource('none.onnx', 'Apache-2.0'), spec, head,
        ('Car', 'Pedestrian', 'Cyclist'), Thresholds(score=0.1, nms_iou=0.01, max_detections=500),
    )  # fmt: skip


def outputs_of(spec: PointsInput, candidates: int) -> dict[str, Array]:
    """Return outputs of a network that sees about so many boxes, some 40 around each of things."""
    chance = np.random.default_rng(2)
    columns, rows = (each // 2 for each in spec.grid)
    shape = (1, rows, columns, 6)
    scores = np.full((*shape, 3), -6.0, np.float32)
    things = max(1, candidates // 40)
    for row, column in zip(
        chance.integers(0, rows, things), chance.integers(0, columns, things), strict=True
    ):
        near = (slice(max(row - 1, 0), row + 2), slice(max(column - 2, 0), column + 3))
        spot = scores[0, near[0], near[1], :, chance.integers(3)]
        chosen = chance.random(spot.shape) < 0.45
        spot[chosen] = chance.uniform(-2, 3, int(chosen.sum()))
    boxes = chance.normal(0, 0.1, (*shape, 7)).astype(np.float32)
    directions = chance.normal(0, 1, (*shape, 2)).astype(np.float32)
    outputs = {'scores': scores, 'boxes': boxes, 'directions': directions}
    return {name: array.reshape(1, rows, columns, -1) for name, array in outputs.items()}


def measure_boxes(
    machine: Machine, spec: PointsInput, candidates: int, rounds: int
) -> Mapping[str, object]:
    """Return what turning outputs into boxes costs."""
    card = anchor_card(spec)
    decoder: Decoder3d = open_decoder3d(card, spec)
    outputs = outputs_of(spec, candidates)
    memory = Lease(machine.pool)
    direction = bindings('cuda').cudaMemcpyKind.cudaMemcpyHostToDevice
    addresses = {}
    for array in outputs.values():
        place = memory.take('device', array.nbytes).address
        call('cudaMemcpy', place, array.ctypes.data, array.nbytes, direction)
        addresses[array.ctypes.data] = place
    plans: list[DetectionsPlan3d] = []

    def make(kernels: Kernels) -> DetectionsPlan3d:
        plan = DetectionsPlan3d(
            kernels, memory, machine.stream, decoder.readout(outputs),
            lambda view: addresses[view.ctypes.data],
            classes=len(card.classes), thresholds=card.thresholds,
        )  # fmt: skip
        plans.append(plan)
        return plan

    times = machine.both_ways(make, rounds)
    boxes = Boxes3d(*plans[-1].read())
    memory.close()
    wanted = decoder(outputs, card.thresholds)
    scores = outputs['scores'].reshape(-1, 3).max(axis=1)
    same = len(boxes) == len(wanted) and np.allclose(boxes.centers, wanted.centers, atol=1e-5)
    return {
        'reach the score': int((scores > np.log(0.1 / 0.9)).sum()),
        'boxes': len(boxes),
        **times,
        'CPU': cpu_ms(lambda: decoder(outputs, card.thresholds), 10),
        'boxes equal': 'yes' if same else f'NO: the CPU has {len(wanted)}',
    }


def table(columns: list[Mapping[str, object]]) -> None:
    """Print one line a measure; times in ms."""
    names = list(dict.fromkeys(name for column in columns for name in column))
    for place, name in enumerate(names):
        cells = (
            f'{value:.4f}' if isinstance(value, float) else str(value)
            for value in (column.get(name, '') for column in columns)
        )
        print(f'| {name} | {" | ".join(cells)} |')
        if place == 0:
            print(f'| --- |{" ---: |" * len(columns)}')


def main() -> int:
    """Run everything; the exit status says only whether it ran."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--points', type=int, nargs='+', default=POINTS)
    parser.add_argument('--candidates', type=int, nargs='+', default=(500, 2000, 6000))
    parser.add_argument('--rounds', type=int, default=500)
    parser.add_argument('--small', action='store_true', help='a grid of 32 * 16, to try this out')
    arguments = parser.parse_args()
    spec = SMALL if arguments.small else KITTI
    try:
        with tempfile.TemporaryDirectory() as folder:
            machine = Machine(Path(folder))
            try:
                print(f'{date.today()}: {device_name()}, medians of {arguments.rounds}, in ms\n')
                table([
                    measure_points(machine, spec, count, arguments.rounds)
                    for count in arguments.points
                ])  # fmt: skip
                print()
                table([
                    measure_boxes(machine, spec, count, arguments.rounds)
                    for count in arguments.candidates
                ])  # fmt: skip
            finally:
                with suppress(PerceptionError):  # the failure at hand says more
                    machine.close()
    except PerceptionError as exc:
        print(f'lidar_gpu: {exc}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
