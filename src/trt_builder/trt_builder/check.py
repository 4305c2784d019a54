# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Whether an engine computes what its model computes: both are given the same inputs.

TensorRT and ONNX Runtime are native code: `build_process.compare_in_process` runs this elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import closing
from contextlib import ExitStack
from dataclasses import asdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trt_builder.cloud_samples import cloud_samples
from trt_builder.compat import Flavour
from trt_engine.backend import Array
from trt_engine.backend import Backend
from trt_engine.backends import open_backend
from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.build_settings import Checks
from trt_engine.card import Card
from trt_engine.errors import BackendError
from trt_engine.errors import CheckFailedError
from trt_engine.errors import NoReferenceError
from trt_engine.lidar_card import PointsInput
from trt_engine.preprocess import Preprocessor

# Pairs of rows whose distance is reckoned, to find which are the same; more would fill the memory.
_MOST_PAIRS = 1 << 22

Inputs = Mapping[str, Array]
Infer = Callable[[Inputs], Mapping[str, Array]]


@dataclass(frozen=True)
class Limits:
    """How far an output may be off; shares are of the largest value that the model gives.

    Attributes:
        max_share: The largest difference.
        mean_share: The mean difference.
        cosine: The smallest cosine similarity.
    """

    max_share: float
    mean_share: float
    cosine: float


# Measured on good engines of TensorRT 8.6 (docs/engines.md): single values of raw box outputs jump
# far, means and cosines tell. BF16 has 8 times coarser steps than FP16.
LIMITS: Mapping[str, Limits] = {
    'fp32': Limits(0.01, 0.001, 0.9999),
    'tf32': Limits(0.50, 0.02, 0.999),
    'fp16': Limits(0.50, 0.02, 0.999),
    'bf16': Limits(0.80, 0.05, 0.99),
    'int8': Limits(1.50, 0.05, 0.95),
    'fp8': Limits(1.50, 0.05, 0.95),
    'mixed': Limits(1.50, 0.05, 0.95),
    'best': Limits(1.50, 0.05, 0.95),
}


@dataclass(frozen=True)
class Ranked:
    """Names of outputs whose rows are sorted by score: a tiny error changes their order.

    Attributes:
        scores: (batch, rows), or (rows,) where there is no batch.
        others: Outputs of the same rows, such as boxes (batch, rows, 4) and labels (batch, rows).
        floor: Rows of a lower score are not looked at.
    """

    scores: str
    others: tuple[str, ...]
    floor: float


@dataclass(frozen=True)
class TensorCheck:
    """What one output showed over all samples.

    Attributes:
        name: Its name.
        max_abs: Largest difference.
        mean_abs: Mean difference.
        cosine: Cosine similarity.
        scale: Largest absolute value that the model gave.
        problem: What is wrong with it; None if nothing is.
    """

    name: str
    max_abs: float
    mean_abs: float
    cosine: float
    scale: float
    problem: str | None


@dataclass(frozen=True)
class CheckReport:
    """What the comparison showed."""

    samples: int
    tensors: tuple[TensorCheck, ...]

    @property
    def passed(self) -> bool:
        """Return whether the engine may be handed out."""
        return all(each.problem is None for each in self.tensors)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a manifest."""
        return {'passed': self.passed, **asdict(self)}

    def summary(self) -> str:
        """Return one line."""
        worst = max(self.tensors, key=lambda each: each.mean_abs / max(each.scale, 1e-12))
        return (
            f'{self.samples} samples, {len(self.tensors)} outputs; furthest off: {worst.name!r}, '
            f'max {worst.max_abs:.4g}, mean {worst.mean_abs:.4g} of {worst.scale:.4g}, cosine '
            f'{worst.cosine:.6f}'
        )

    def require(self) -> None:
        """Refuse an engine that is off.

        Raises:
            CheckFailedError: Names each output that is off, by how much, and what to do.
        """
        problems = [f'{each.name!r} {each.problem}' for each in self.tensors if each.problem]
        if problems:
            raise CheckFailedError(
                f'the engine does not compute what the model computes: {"; ".join(problems)}; try '
                'a wider precision (layer_precision keeps single layers in fp32), other '
                'calibration data, or set checks in the card if this is near enough'
            )


def compare(
    infer: Infer,
    reference: Infer,
    samples: Iterable[Inputs],
    *,
    precision: str,
    checks: Checks | None = None,
    ranked: Ranked | None = None,
) -> CheckReport:
    """Return how far an engine is from its model.

    Args:
        infer: Runs the engine; the arrays it returns may be overwritten by the next run.
        reference: Runs the model, such as an OnnxRuntimeBackend's `run`.
        samples: Inputs of both.
        precision: That of the engine: how far it may be off.
        checks: The card's own limits, in units of the outputs; they replace the default ones.
        ranked: For outputs that are sorted by score.
    """
    sums: dict[str, _Sum] = {}
    count = 0
    for inputs in samples:
        wanted = {name: np.array(each) for name, each in reference(inputs).items()}
        found = {name: np.asarray(each) for name, each in infer(inputs).items()}
        if ranked is not None:
            wanted, found = _aligned(wanted, found, ranked)
        for name, array in wanted.items():
            sums.setdefault(name, _Sum()).add(array, found.get(name))
        count += 1
    limits = LIMITS[precision]
    return CheckReport(
        count, tuple(each.result(name, limits, checks or Checks()) for name, each in sums.items())
    )


def ranked_of(card: Card) -> Ranked | None:
    """Return which outputs of a card's network are sorted by score, if they are."""
    outputs = card.head.outputs
    # finished boxes without labels are not sorted: each has a score for every class
    sorted_heads = {'detr': {'scores', 'boxes'}, 'boxes': {'scores', 'boxes', 'labels'}}
    needed = sorted_heads.get(card.head.type)
    if needed is None or not needed <= outputs.keys():
        return None
    others = tuple(name for role in ('boxes', 'labels') for name in outputs.get(role, ()))
    return Ranked(outputs['scores'][0], others, card.thresholds.score)


def card_samples(card: Card, pictures: Iterable[Array] = (), count: int = 4) -> Iterator[Inputs]:
    """Yield inputs of a card's network, preprocessed as in inference.

    Args:
        card: Whose network.
        pictures: (height, width, 3) uint8, blue first; without any, scenes of coloured shapes are
            drawn, the same ones each time.
        count: How many to draw.
    """
    preprocessor = Preprocessor(card.image)
    size = (card.image.height, card.image.width)
    for picture in pictures or (_scene(size, seed) for seed in range(count)):
        preprocessor(picture, 'bgr8')
        yield preprocessor.inputs


def check_engine(
    card: Card,
    model: Path,
    plan: Path,
    *,
    flavour: Flavour,
    precision: str,
    inputs: Iterable[Inputs] | None = None,
) -> CheckReport:
    """Return how far an engine is from ONNX Runtime on the CPU.

    Args:
        card: Whose network; its build settings say how the engine is loaded.
        model: The ONNX file that the engine was built from.
        plan: The engine.
        flavour: Which TensorRT runs it.
        precision: That of the engine.
        inputs: Recorded network inputs; without them pictures are drawn, or clouds made up.

    Raises:
        NoReferenceError: ONNX Runtime cannot run the model: there is nothing to compare with.
        BackendError: The engine does not load, or does not run.
    """
    with ExitStack() as stack:
        try:
            reference = stack.enter_context(closing(open_backend('onnxruntime', model)))
        except BackendError as exc:
            raise NoReferenceError(f'ONNX Runtime cannot run the model: {exc}') from exc
        engine = stack.enter_context(
            closing(
                TensorRtBackend(
                    plan,
                    flavour=flavour,
                    dla_core=card.build.dla.core,
                    plugins=card.build.plugins,
                    version_compatible=card.build.version_compatible,
                )
            )
        )
        dtypes = {each.name: each.dtype for each in engine.tensors}

        def infer(given: Inputs) -> Mapping[str, Array]:
            return engine.run({name: each.astype(dtypes[name]) for name, each in given.items()})

        def golden(given: Inputs) -> Mapping[str, Array]:
            try:
                return reference.run(given)
            except BackendError as exc:
                raise NoReferenceError(f'ONNX Runtime cannot run the model: {exc}') from exc

        return compare(
            infer,
            golden,
            _samples(card, reference) if inputs is None else inputs,
            precision='tf32' if precision == 'fp32' and card.build.tf32 else precision,
            checks=card.build.checks,
            ranked=ranked_of(card),
        )


class _Sum:
    """Gathers what one output shows, sample by sample."""

    def __init__(self) -> None:
        self.max = self.total = self.scale = self.dot = self.mine = self.theirs = 0.0
        self.count = 0
        self.problem: str | None = None

    def add(self, wanted: Array, found: Array | None) -> None:
        if found is None:
            self.problem = 'is missing'
        elif found.shape != wanted.shape:
            self.problem = f'has the shape {list(found.shape)}, wanted {list(wanted.shape)}'
        elif not np.isfinite(found).all():
            bad = int(found.size - np.isfinite(found).sum())
            self.problem = f'has {bad} values that are not finite, of {found.size}'
        if self.problem is not None or not wanted.size:
            return
        assert found is not None
        a, b = wanted.astype(np.float64).ravel(), found.astype(np.float64).ravel()
        difference = np.abs(a - b)
        self.max = max(self.max, float(difference.max()))
        self.scale = max(self.scale, float(np.abs(a).max()))
        self.total += float(difference.sum())
        self.count += a.size
        self.dot += float(a @ b)
        self.mine += float(a @ a)
        self.theirs += float(b @ b)

    def result(self, name: str, limits: Limits, checks: Checks) -> TensorCheck:
        mean = self.total / max(self.count, 1)
        norm = float(np.sqrt(self.mine * self.theirs))
        cosine = self.dot / norm if norm else float(self.mine == self.theirs)
        problem = self.problem
        if problem is None:
            off = [
                f'is off by {what} {value:.4g}, allowed {allowed:.4g}'
                for what, value, allowed in (
                    ('at most', self.max, _limit(checks.max_abs, limits.max_share * self.scale)),
                    ('a mean of', mean, _limit(checks.mean_abs, limits.mean_share * self.scale)),
                )
                if value > allowed
            ]
            least = _limit(checks.cosine, limits.cosine)
            if cosine < least:
                off.append(f'has a cosine of {cosine:.6f}, wanted at least {least:.6f}')
            problem = ', '.join(off) or None
        return TensorCheck(name, self.max, mean, cosine, self.scale, problem)


def _limit(own: float | None, default: float) -> float:
    return default if own is None else own


def _aligned(
    wanted: Mapping[str, Array], found: Mapping[str, Array], ranked: Ranked
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the rows of the model that matter, and for each the nearest row of the engine."""
    names = (ranked.scores, *ranked.others)
    if any(
        name not in found
        or found[name].shape != wanted[name].shape
        or not np.isfinite(found[name]).all()
        for name in names
    ):
        return dict(wanted), dict(found)
    if wanted[ranked.scores].ndim == 1:
        wanted, found = (
            {**each, **{name: each[name][None] for name in names}} for each in (wanted, found)
        )
    batch = wanted[ranked.scores].shape[0]
    rows = [np.flatnonzero(wanted[ranked.scores][i] >= ranked.floor) for i in range(batch)]
    if max(map(len, rows), default=0) * wanted[ranked.scores].shape[1] > _MOST_PAIRS:
        return dict(wanted), dict(found)
    nearest = []
    for image in range(batch):
        distance = np.zeros((len(rows[image]), wanted[ranked.scores].shape[1]))
        for name in names:
            a = wanted[name][image][rows[image]].astype(np.float64)
            b = found[name][image].astype(np.float64)
            scale = np.abs(wanted[name]).max() or 1.0
            gap = np.abs(a[:, None] - b[None]) / scale
            distance += gap.reshape(*distance.shape, -1).max(axis=-1)
        nearest.append(distance.argmin(axis=1))
    mine, theirs = dict(wanted), dict(found)
    for name in names:
        mine[name] = np.concatenate([wanted[name][i][rows[i]] for i in range(batch)])
        theirs[name] = np.concatenate([found[name][i][nearest[i]] for i in range(batch)])
    # where nothing scores high, the best scores themselves still can be compared
    mine['best scores'] = np.sort(wanted[ranked.scores], axis=1)[:, ::-1]
    theirs['best scores'] = np.sort(found[ranked.scores], axis=1)[:, ::-1]
    return mine, theirs


def _scene(size: tuple[int, int], seed: int) -> Array:
    """Return a picture with soft and sharp edges; noise alone would excite no detector."""
    random = np.random.default_rng(seed)
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    ramps = [random.uniform(0, 1, 3) for _ in range(2)]
    sky = ramps[0] * (y / height)[..., None] + ramps[1] * (x / width)[..., None]
    picture: Array = (sky / 2 * 255).astype(np.uint8)
    for _ in range(12):
        cx, cy = random.uniform(0, width), random.uniform(0, height)
        rx, ry = random.uniform(0.03, 0.25, 2) * (width, height)
        color = random.integers(0, 256, 3)
        if random.random() < 0.5:
            inside = (np.abs(x - cx) < rx) & (np.abs(y - cy) < ry)
        else:
            inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
        picture[inside] = color
    return picture


def _samples(card: Card, network: Backend) -> Iterator[Inputs]:
    if isinstance(card.input, PointsInput):
        return cloud_samples(card, network)
    return card_samples(card)
