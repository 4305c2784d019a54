#!/usr/bin/env python3
# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Builds engines of some cards in several precisions, runs them, and writes what came of it.

    python tools/engines.py --models FOLDER --coco FOLDER --out FOLDER [--set a=b ...]

FOLDER of --models holds the ONNX files, that of --coco instances.json and images/. Needs a GPU.
The first build is timed three times: cold, with the timing cache of the first, and from the store;
after that several builds run side by side, and their times are no measure. Engines of a calibrator
skip the limits of the check after the build, which would put them away unmeasured.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
import json
from pathlib import Path
import sys
import time
from typing import Any

from trt_builder.builder import EngineBuilder
from trt_builder.builder import Outcome
from trt_engine.backend import Backend
from trt_engine.backends import open_backend
from trt_engine.card import Card
from trt_engine.card import load_card
from trt_engine.card import with_overrides
from trt_engine.command import end_well
from trt_engine.errors import PerceptionError
from trt_engine.store import Store
from trt_inference.camera.pipeline import Detector
from trt_validation.accuracy import measure
from trt_validation.accuracy import SCORE
from trt_validation.coco import Dataset

CARDS = Path(__file__).resolve().parents[1] / 'config' / 'models'
MODELS = {
    'yolox_nano': 'yolox_nano_416.onnx',
    'nanodet_m': 'nanodet_m_416.onnx',
    'deimv2_femto': 'deimv2_femto_coco.onnx',
}
TIMED = 'yolox_nano', 'fp16'
PARALLEL = 12
UNLIMITED = ('checks.max_abs=1000000.0', 'checks.mean_abs=1000000.0', 'checks.cosine=0.0')


@dataclass(frozen=True)
class Case:
    """One engine to build."""

    card: str
    name: str
    settings: tuple[str, ...]


def cases(pictures: Path) -> Iterator[Case]:
    int8 = ('precision=int8', f'calibration.data={pictures}', 'calibration.samples=64')
    mixed = ('precision=mixed', *int8[1:])
    calibrator = (*int8, 'calibration.route=calibrator', *UNLIMITED)
    for card in MODELS:
        for precision in ('fp32', 'fp16'):
            yield Case(card, precision, (f'precision={precision}',))
        yield Case(card, 'int8 by calibrator', calibrator)
        yield Case(card, 'int8 by Q/DQ', (*int8, 'calibration.route=qdq'))
    yield Case(
        'yolox_nano',
        'int8 by calibrator, all layers',
        (*calibrator, 'calibration.keep_sensitive=false'),
    )
    yield Case('deimv2_femto', 'mixed', mixed)


class Bench:
    """Builds and measures one case after the other, or several at once."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._store = Store(args.out / 'store')
        self._dataset = Dataset(args.coco / 'instances.json')

    def card(self, case: Case, *more: str) -> Card:
        card = load_card(CARDS / f'{case.card}.yaml', onnx=self._args.models / MODELS[case.card])
        return with_overrides(card, [*self._args.set, *case.settings, *more])

    def build(self, case: Case, *more: str, force: bool = False) -> Outcome:
        lock = self._args.out / f'{case.card}-{case.name.replace("/", "")}.lock'
        builder = EngineBuilder(self._store, lock=lock)
        return builder.build(self.card(case, *more), force=force, allow_few=True)

    def timed(self) -> Iterator[dict[str, Any]]:
        case = Case(TIMED[0], TIMED[1], (f'precision={TIMED[1]}',))
        for how, force in (('cold', True), ('with timing cache', True), ('store hit', False)):
            start = time.monotonic()
            outcome = self.build(case, force=force)
            yield {
                'case': f'{case.card} {case.name}, {how}',
                'status': outcome.status,
                'seconds': round(time.monotonic() - start, 3),
                'phases': outcome.to_json()['phases'],
            }

    def one(self, case: Case) -> dict[str, Any]:
        row: dict[str, Any] = {'case': f'{case.card} {case.name}'}
        try:
            # side by side, the builds would wait for the timing cache of one another
            outcome = self.build(case, 'timing_cache=false')
            row |= outcome.to_json()
            plan = open_backend('tensorrt', outcome.entry.plan, label=outcome.entry.key[:12])
            row['precision'] = self.precision(self.card(case), plan)
        except PerceptionError as exc:
            row |= {'status': 'failed', 'reason': str(exc)}
        return row

    def precision(self, card: Card, backend: Backend) -> dict[str, float | None]:
        with closing(backend):
            detector = Detector(card, backend)
            detector.thresholds = replace(card.thresholds, score=SCORE, multi_label=True)
            classes = self._dataset.match(card.classes)
            images = self._args.coco / 'images'
            found = measure(detector, self._dataset, images, classes, quiet=True)
            return asdict(self._dataset.precision(found, classes))

    def reference(self, name: str) -> dict[str, Any]:
        card = self.card(Case(name, 'fp32', ()))
        backend = open_backend('onnxruntime', self._args.models / MODELS[name])
        return {
            'case': f'{name} ONNX Runtime',
            'precision': self.precision(card, backend),
        }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--models', type=Path, required=True, help='folder of the ONNX files')
    parser.add_argument('--coco', type=Path, required=True, help='instances.json and images/')
    parser.add_argument('--out', type=Path, required=True, help='store and results')
    parser.add_argument('--set', action='append', default=[], help='build setting for all')
    parser.add_argument('--parallel', type=int, default=PARALLEL, help='builds at a time')
    args = parser.parse_args()
    return end_well(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    args.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(args)

    def tell(row: dict[str, Any]) -> None:
        print(json.dumps(row), flush=True)
        with (args.out / 'engines.jsonl').open('a') as file:
            file.write(json.dumps(row) + '\n')

    for row in bench.timed():
        tell(row)
    with ThreadPoolExecutor(args.parallel) as pool:
        for row in pool.map(bench.one, cases(args.coco / 'images')):
            tell(row)
    for name in MODELS:
        tell(bench.reference(name))
    return 0


if __name__ == '__main__':
    sys.exit(main())
