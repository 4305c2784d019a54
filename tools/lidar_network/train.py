# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Simulates streets, trains on them, measures on others, writes the network as ONNX.

From the repository's root, on a machine with PyTorch and a GPU:

    PYTHONPATH=src/trt_engine:src/trt_inference python -m tools.lidar_network.train --out FOLDER

writes FOLDER/demo_lidar.onnx and FOLDER/training.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import json
import math
import os
from pathlib import Path
import platform
import time
from typing import Any

import numpy as np

from tools.lidar_network.average_precision import average_precision
from tools.lidar_network.average_precision import Truth
from tools.lidar_network.dataset import Example
from tools.lidar_network.dataset import examples
from tools.lidar_network.form import card
from tools.lidar_network.form import CLASSES
from tools.lidar_network.form import LEAST_POINTS
from tools.lidar_network.form import POINTS
from tools.lidar_network.onnx_file import write
from trt_inference.decoders3d import open_decoder3d

HELD_OUT_SEED = 10_000_000
EVALUATED_IOU = (0.7, 0.7, 0.5, 0.5)
RANGES_M = ((0.0, 40.0), (0.0, 15.0), (15.0, 30.0), (30.0, 40.0))


def train(args: argparse.Namespace, made: Sequence[Example], device: Any) -> tuple[Any, int]:
    """Train by the arguments; gives the network and the epochs done."""
    import torch

    from tools.lidar_network.batches import Batches
    from tools.lidar_network.losses import Assigner
    from tools.lidar_network.losses import loss
    from tools.lidar_network.network import PointPillars

    batches, assign = Batches(made, device), Assigner(device)
    network = PointPillars().to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=args.rate, weight_decay=0.01)
    per_epoch = len(batches) // args.batch
    total, warm = args.epochs * per_epoch, min(500, args.epochs * per_epoch // 10 + 1)
    order = np.random.default_rng(args.seed)
    began, step, epoch, spent = time.perf_counter(), 0, 0, 0.0
    for epoch in range(1, args.epochs + 1):
        network.train()
        sums = torch.zeros(3, device=device)
        shuffled = order.permutation(len(batches))[: per_epoch * args.batch]
        for chosen in shuffled.reshape(per_epoch, args.batch):
            # The clock ends a run that is slower than hoped with a full schedule all the same.
            spent = (time.perf_counter() - began) / (60 * args.minutes)
            done = min(max(step / total, spent), 1.0)
            rate = args.rate * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)
            for group in optimizer.param_groups:
                group['lr'] = rate * min(1.0, (step + 1) / warm)
            batch = batches.join(chosen.tolist())
            parts = loss(network(batch), assign(batch))
            optimizer.zero_grad(set_to_none=True)
            (parts[0] + 2 * parts[1] + 0.2 * parts[2]).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimizer.step()
            sums += torch.stack([part.detach() for part in parts])
            step += 1
            if spent >= 1:
                return network, epoch
        shown = ', '.join(f'{value:.3f}' for value in (sums / per_epoch).tolist())
        minutes = (time.perf_counter() - began) / 60
        print(f'epoch {epoch}: class, box, direction {shown}; {minutes:.1f} min', flush=True)
    return network, epoch


def measure(network: Any, made: Sequence[Example], device: Any) -> dict[str, dict[str, Any]]:
    """Return AP by range of distances and class, None where there is nothing of the class.

    It goes through the decoder that the node uses.
    """
    import torch

    from tools.lidar_network.batches import Batches

    network.eval()
    batches, decode = Batches(made, device), open_decoder3d(card(), POINTS)
    found = []
    with torch.no_grad():
        for place in range(len(batches)):
            outputs = network(batches.join([place]))
            arrays = {name: output.cpu().numpy() for name, output in outputs.items()}
            found.append(decode(arrays, card().thresholds))
    truth = [
        Truth(one.boxes[:, [0, 1, 3, 4, 6]].astype(float), one.classes, one.seen >= LEAST_POINTS)
        for one in made
    ]

    def measured(kind: int, within_m: tuple[float, float]) -> float | None:
        ap = average_precision(found, truth, kind, iou=EVALUATED_IOU[kind], within_m=within_m)
        return None if math.isnan(ap) else round(ap, 4)

    return {
        f'{low:.0f} to {high:.0f} m': {
            name: measured(kind, (low, high)) for kind, name in enumerate(CLASSES)
        }
        for low, high in RANGES_M
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True, help='folder for network and report')
    parser.add_argument('--sweeps', type=int, default=6000, help='to train on')
    parser.add_argument('--held-out', type=int, default=500, help='to measure on')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1)
    parser.add_argument('--epochs', type=int, default=16)
    parser.add_argument('--minutes', type=float, default=7.0, help='end the training earlier')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--rate', type=float, default=2e-3, help='highest learning rate')
    parser.add_argument('--seed', type=int, default=1)
    args = parser.parse_args()
    if min(args.sweeps, args.held_out, args.workers, args.epochs, args.batch) < 1:
        parser.error('all numbers must be at least 1')
    if args.batch > args.sweeps:
        parser.error(f'--batch {args.batch} is more than --sweeps {args.sweeps}')
    args.out.mkdir(parents=True, exist_ok=True)

    began = time.perf_counter()
    first = args.seed * 100_000
    made = examples(range(first, first + args.sweeps), args.workers)
    held_out = examples(range(HELD_OUT_SEED, HELD_OUT_SEED + args.held_out), args.workers)
    simulated = time.perf_counter()
    print(f'{len(made)} and {len(held_out)} sweeps in {simulated - began:.0f} s', flush=True)

    import torch  # only now: a process that holds a GPU must not be forked

    torch.manual_seed(args.seed)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    network, epochs = train(args, made, device)
    trained = time.perf_counter()
    path = args.out / 'demo_lidar.onnx'
    write(network.weights(), POINTS, path)
    report = {
        'seed': args.seed,
        'sweeps': len(made),
        'held_out_sweeps': len(held_out),
        'epochs': epochs,
        'simulation_s': round(simulated - began),
        'training_s': round(trained - simulated),
        'device': torch.cuda.get_device_name() if device.type == 'cuda' else platform.processor(),
        'torch': torch.__version__,
        'parameters': sum(parameter.numel() for parameter in network.parameters()),
        'onnx_bytes': path.stat().st_size,
        'iou': dict(zip(CLASSES, EVALUATED_IOU, strict=True)),
        'ap': measure(network, held_out, device),
    }
    text = json.dumps(report, indent=2)
    (args.out / 'training.json').write_text(text + '\n')
    print(text)


if __name__ == '__main__':
    main()
