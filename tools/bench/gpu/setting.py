# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""An engine on the GPU path, a frame to look at, and how times are taken and printed."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
import time

import cv2
import numpy as np

from trt_engine.backend import Array
from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.card import load_card
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Event
from trt_engine.cuda.memory import Pool
from trt_inference.camera.gpu_pipeline import GpuDetector

SIZE = (1920, 1080)


class Setting:
    """What all reports need."""

    def __init__(self, args: argparse.Namespace, closing: ExitStack) -> None:
        self.card = load_card(args.card, onnx=args.onnx)
        self.backend = TensorRtBackend(args.plan)
        closing.callback(self.backend.close)
        self.kernels, self.pool = Kernels(args.kernels), Pool()
        closing.callback(self.kernels.close)
        closing.callback(self.pool.close)
        self.detector = GpuDetector(
            self.card, self.backend, kernels=self.kernels, pool=self.pool, spin=args.spin
        )
        closing.callback(self.detector.close)
        self.frame: Array = cv2.resize(cv2.imread(str(args.picture)), SIZE)
        self.rounds: int = args.rounds
        self.warm_up: int = args.warm_up
        self._spin: bool = args.spin

    def median(self, work: Callable[[], object]) -> float:
        """Return the median ms of a piece of work, the warm-up left out."""
        return float(np.median(self.times(work)))

    def times(self, work: Callable[[], object]) -> list[float]:
        """Return the ms of each round after the warm-up."""
        times = []
        for _ in range(self.warm_up + self.rounds):
            begun = time.perf_counter()
            work()
            times.append((time.perf_counter() - begun) * 1e3)
        return times[self.warm_up :]

    def waited(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return work that is also waited for, as the detector waits."""
        done = Event(spin=self._spin)

        def run() -> None:
            work()
            done.record(self.backend.stream)
            done.synchronize()

        return run


def row(*cells: object) -> None:
    words = (f'{cell:.3f}' if isinstance(cell, float) else str(cell) for cell in cells)
    print(f'| {" | ".join(words)} |', flush=True)


def head(*cells: str) -> None:
    row(*cells)
    row('---', *['---:'] * (len(cells) - 1))
