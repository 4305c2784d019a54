# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Simulates streets, trains on them, measures on others, writes network, card and report.

From the repository's root, on a machine with PyTorch and a GPU:

    export PYTHONPATH=src/trt_engine:src/trt_inference:src/trt_validation OMP_NUM_THREADS=1
    python -m tools.lidar_network.train --out FOLDER

writes FOLDER/demo_lidar.onnx, demo_lidar.yaml (the card), training.json and weights.pt, each
minute while it trains and at the end, which comes after --minutes whatever the machine. The two
files of the network belong into models/ and config/models/. OMP_NUM_THREADS is for the simulation:
it has a process on every core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
import json
import math
import os
from pathlib import Path
import platform
import time
from typing import Any

import numpy as np

from tools.lidar_network.card_file import write_card
from tools.lidar_network.dataset import Example
from tools.lidar_network.dataset import examples
from tools.lidar_network.form import card
from tools.lidar_network.form import CLASSES
from tools.lidar_network.form import LEAST_POINTS
from tools.lidar_network.form import points_input
from tools.lidar_network.form import REACH_M
from tools.lidar_network.form import STRIDE
from tools.lidar_network.onnx_file import write
from trt_engine.lidar_card import PointsInput
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.decoders3d import open_decoder3d
from trt_validation.lidar_precision import Truth
from trt_validation.lidar_question import Question
from trt_validation.lidar_question import RANGES_M

HELD_OUT_SEED = 10_000_000
EVALUATED_IOU = dict(zip(CLASSES, (0.7, 0.7, 0.5, 0.5), strict=True))
EVALUATED_SCORE = 0.05  # as in trt_validation.lidar_accuracy
SIMULATE = 0.3  # share of the time after which no more sweeps are simulated
MEASURE = 0.12  # share of the time that is kept for the held-out sweeps
SAVE_EVERY_S = 60.0
NOTE = 'This is a demo and not a product. It has seen simulated streets only, never a real cloud.'
DATA = 'Streets simulated by tools/lidar_simulator; the held-out ones have seeds of their own'


@dataclass(frozen=True)
class Clock:
    """How the time of the whole run is spent.

    Attributes:
        began_s: When it began, as `time.perf_counter` says.
        length_s: How long all of it may take.
    """

    began_s: float
    length_s: float

    def spent(self) -> float:
        """Return the share of the time that is over."""
        return (time.perf_counter() - self.began_s) / self.length_s


class Trainer:
    """A network, and what teaches it.

    Args:
        args: The command line.
        made: What to train on.
        points: What the network sees.
        device: Where.
    """

    def __init__(
        self, args: argparse.Namespace, made: Sequence[Example], points: PointsInput, device: Any
    ) -> None:
        import torch

        from tools.lidar_network.batches import Batches
        from tools.lidar_network.losses import Assigner
        from tools.lidar_network.network import PointPillars

        torch.manual_seed(args.seed)
        self._args = args
        self._device = device
        self._batches = Batches(made, device, points)
        self._assign = Assigner(device, points)
        self.network = PointPillars(points)
        if args.weights is not None:
            self.network.load_state_dict(torch.load(args.weights, map_location='cpu'))
        self.network.to(device, memory_format=torch.channels_last)
        self.epochs = 0
        self.losses: list[list[float]] = []

    def run(self, clock: Clock, end: float, save: Callable[[], None]) -> None:
        """Train for the epochs that are wanted, or until that share of the time is over."""
        import torch

        from tools.lidar_network.losses import loss

        args = self._args
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=args.rate, weight_decay=0.01)
        per_epoch = len(self._batches) // args.batch
        total, warm = args.epochs * per_epoch, min(500, args.epochs * per_epoch // 10 + 1)
        chance = np.random.default_rng(args.seed)
        start, saved_s, step = clock.spent(), time.perf_counter(), 0
        for _ in range(args.epochs):
            self.network.train()
            sums, steps = torch.zeros(3, device=self._device), 0
            shuffled = chance.permutation(len(self._batches))[: per_epoch * args.batch]
            for chosen in shuffled.reshape(per_epoch, args.batch):
                # The clock ends a run that is slower than hoped with a full schedule all the same.
                spent = (clock.spent() - start) / max(end - start, 1e-9)
                done = min(max(step / total, spent), 1.0)
                rate = args.rate * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)
                # at first slowly, for so many steps or for a twentieth of the time
                rate *= min(1.0, max((step + 1) / warm, 20 * done))
                for group in optimizer.param_groups:
                    group['lr'] = rate
                mirrored = chance.random((args.batch, 2)) < 0.5
                batch = self._batches.join(chosen.tolist(), mirrored.tolist())
                parts = loss(self.network(batch), self._assign(batch))
                optimizer.zero_grad(set_to_none=True)
                (parts[0] + 2 * parts[1] + 0.2 * parts[2]).backward()
                torch.nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
                optimizer.step()
                sums += torch.stack([part.detach() for part in parts])
                step, steps = step + 1, steps + 1
                if time.perf_counter() - saved_s >= SAVE_EVERY_S:
                    save()
                    saved_s = time.perf_counter()
                if spent >= 1:
                    break
            self.epochs += steps == per_epoch
            self.losses.append((sums / steps).tolist())
            shown = ', '.join(f'{value:.3f}' for value in self.losses[-1])
            minutes = clock.spent() * clock.length_s / 60
            print(
                f'{self.epochs} epochs, {step} steps: class, box, direction {shown}; '
                f'{minutes:.1f} min',
                flush=True,
            )
            if steps < per_epoch:
                return


def look(
    network: Any, made: Sequence[Example], points: PointsInput, device: Any, clock: Clock
) -> list[Boxes3d]:
    """Return what the network sees, through the node's decoder, as far as the time goes."""
    import torch

    from tools.lidar_network.batches import Batches

    network.eval()
    batches, decode = Batches(made, device, points), open_decoder3d(card(points), points)
    thresholds = replace(card(points).thresholds, score=EVALUATED_SCORE)
    found: list[Boxes3d] = []
    with torch.no_grad():
        for place in range(len(batches)):
            if found and clock.spent() >= 1:
                break
            outputs = network(batches.join([place]))
            arrays = {name: output.cpu().numpy() for name, output in outputs.items()}
            found.append(decode(arrays, thresholds))
    return found


def precision(found: Sequence[Boxes3d], made: Sequence[Example]) -> dict[str, Any]:
    """Return AP by class and range, where there is something of the class."""
    truth = [
        Truth(one.boxes[:, [0, 1, 3, 4, 6]].astype(float), one.classes, one.seen >= LEAST_POINTS)
        for one in made[: len(found)]
    ]
    question = Question(CLASSES, (), {}, EVALUATED_IOU, ranges_m=RANGES_M)

    def rounded(table: Any) -> dict[str, dict[str, float]]:
        return {
            name: {where: round(ap, 4) for where, ap in row.items() if ap is not None}
            for name, row in table.items()
        }

    return {
        'ap_by_range': rounded(question.answer(found, truth, question.iou_rules())),
        'ap_by_centre': rounded(question.answer(found, truth, question.centre_rules())),
    }


def save(out: Path, network: Any, points: PointsInput, report: dict[str, Any]) -> None:
    """Write network, card, report and weights, as they are now."""
    import torch

    path = out / 'demo_lidar.onnx'
    write(network.weights(), points, path)
    torch.save(network.state_dict(), out / 'weights.pt')
    report['onnx_bytes'] = path.stat().st_size
    (out / 'training.json').write_text(json.dumps(report, indent=2) + '\n')
    training = {
        'note': NOTE,
        'data': DATA,
        'script': 'tools/lidar_network/train.py',
        'seed': report['seed'],
        'train_sweeps': report['sweeps'],
        **({'epochs': report['epochs']} if report['epochs'] else {}),
    }  # fmt: skip
    if 'ap_by_range' in report:
        training |= {
            'test_sweeps': report['held_out_sweeps'],
            'iou': EVALUATED_IOU,
            'ap_by_range': report['ap_by_range'],
        }
    write_card(card(points), out / 'demo_lidar.yaml', onnx=path, training=training)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    clock_begin = time.perf_counter()
    args = _arguments(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    clock, points = Clock(clock_begin, args.minutes * 60), points_input(args.reach_m)

    held = range(HELD_OUT_SEED, HELD_OUT_SEED + args.held_out)
    held_out = examples(held, args.workers, points)
    first = args.seed * 100_000
    seeds = range(first, first + args.sweeps)
    made = examples(seeds, args.workers, points, more=lambda: clock.spent() < SIMULATE)
    simulation_s = time.perf_counter() - clock_begin
    print(f'{len(made)} and {len(held_out)} sweeps in {simulation_s:.0f} s', flush=True)
    if len(made) < args.batch:
        raise SystemExit(f'only {len(made)} sweeps could be simulated; allow more --minutes')

    import torch  # only now: a process that holds a GPU must not be forked

    torch.backends.cudnn.benchmark = True
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    trainer = Trainer(args, made, points, device)
    report: dict[str, Any] = {
        'seed': args.seed,
        'sweeps': len(made),
        'simulation_s': round(simulation_s),
        'device': torch.cuda.get_device_name() if device.type == 'cuda' else platform.machine(),
        'torch': torch.__version__,
        'parameters': sum(parameter.numel() for parameter in trainer.network.parameters()),
    }

    def keep(**more: Any) -> None:
        trained_s = round(time.perf_counter() - clock_begin - simulation_s)
        now = {'epochs': trainer.epochs, 'training_s': trained_s, 'losses': trainer.losses}
        save(args.out, trainer.network, points, report | now | more)

    trainer.run(clock, 1 - MEASURE, keep)
    keep()
    found = look(trainer.network, held_out, points, device, clock)
    keep(held_out_sweeps=len(found), iou=EVALUATED_IOU, **precision(found, held_out))
    print((args.out / 'training.json').read_text())


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=Path, required=True, help='folder for what is written')
    parser.add_argument('--sweeps', type=int, default=6000, help='to train on')
    parser.add_argument('--held-out', type=int, default=400, help='to measure on')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1)
    parser.add_argument('--epochs', type=int, default=24)
    parser.add_argument('--minutes', type=float, default=9.0, help='for all of it')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--rate', type=float, default=2e-3, help='highest learning rate')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--weights', type=Path, help='weights.pt of an earlier run, to begin with')
    parser.add_argument(
        '--reach-m',
        type=float,
        default=REACH_M,
        help='how far it looks to each side',
    )
    args = parser.parse_args(argv)
    numbers = (args.sweeps, args.held_out, args.workers, args.epochs, args.batch)
    if min(numbers) < 1 or args.minutes <= 0:
        parser.error('all numbers must be at least 1, and --minutes above 0')
    if args.batch > args.sweeps:
        parser.error(f'--batch {args.batch} is more than --sweeps {args.sweeps}')
    # three blocks that halve the grid, whose outputs are joined again
    cells, wanted = 2 * args.reach_m / 0.2, STRIDE * 4
    if args.reach_m <= 0 or abs(cells / wanted - round(cells / wanted)) > 1e-6:
        parser.error(
            f'--reach-m {args.reach_m} makes {cells:g} cells; wanted a multiple of {wanted}'
        )
    return args


if __name__ == '__main__':
    main()
