# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The engine of a card: from the store if one fits, else built, checked, and kept.

What the command line and the node share. Nothing here imports TensorRT or ROS: what may crash, or
take the memory, runs in `build_process`.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from pathlib import Path
import threading
import time
from typing import Any
from typing import Literal

from trt_builder.build_process import build_in_process
from trt_builder.build_process import BuildResult
from trt_builder.build_process import CalibrationJob
from trt_builder.build_process import check_in_process
from trt_builder.build_process import compare_in_process
from trt_builder.build_process import INT8
from trt_builder.build_process import LOCK
from trt_builder.build_process import probe_in_process
from trt_builder.build_process import Progress
from trt_builder.compat import Flavour
from trt_builder.compat import INSTALL
from trt_builder.compat import parse_version
from trt_builder.compat import TITLES
from trt_builder.int8.calibration import open_calibration
from trt_builder.layers import fallbacks
from trt_builder.layers import Placed
from trt_builder.layers import read_layers
from trt_builder.layers import summarise
from trt_builder.memory import check_disk
from trt_builder.memory import MemoryPlan
from trt_builder.memory import plan_memory
from trt_builder.onnx_check import ModelFacts
from trt_builder.onnx_check import ModelReport
from trt_builder.settings import GpuFacts
from trt_builder.settings import resolve
from trt_builder.settings import Resolved
from trt_builder.tensorrt_build import Probe
from trt_builder.timing_cache import timing_name
from trt_builder.timing_cache import TimingCache
from trt_engine.card import Card
from trt_engine.entry import Entry
from trt_engine.errors import BuildRefusedError
from trt_engine.errors import CalibrationError
from trt_engine.errors import CheckFailedError
from trt_engine.errors import NoReferenceError
from trt_engine.errors import PerceptionError
from trt_engine.lidar.model import network_file
from trt_engine.lidar.pillar_inputs import network_shapes
from trt_engine.lidar_card import PointsInput
from trt_engine.manifest import Ingredients
from trt_engine.manifest import Manifest
from trt_engine.memory.machine import read_memory
from trt_engine.model_file import file_digest
from trt_engine.platform import Platform
from trt_engine.platform import read_platform
from trt_engine.store import Found
from trt_engine.store import Store

MIB = 1 << 20
IMAGE_CHANNELS = 3
BUILD_SHARE = 0.9  # of all progress; what remains is the check


@dataclass(frozen=True)
class Plan:
    """What a build would do, found out without building.

    Attributes:
        card: What was asked for.
        onnx: Its model file.
        ingredients: All that the engine depends on.
        found: What the store has of it.
        model: What the checks say of the model file.
        resolved: What TensorRT would be told; None where something stands in the way.
        memory: What the build would take.
        refusals: Why it cannot be built here; none if it can.
    """

    card: Card
    onnx: Path
    ingredients: Ingredients
    found: Found
    model: ModelReport
    resolved: Resolved | None
    memory: MemoryPlan | None
    refusals: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """Return why each choice that was not the card's was made."""
        return () if self.resolved is None else self.resolved.notes

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what may go wrong."""
        model = (each.text for each in self.model.verdicts if each.level == 'warning')
        settings = () if self.resolved is None else self.resolved.warnings
        tight = self.memory is not None and self.memory.verdict == 'warning'
        return (*model, *settings, *((self.memory.text,) if self.memory and tight else ()))

    def to_json(self) -> dict[str, Any]:
        """Return plain values, for a program."""
        entry = self.found.entry
        status = 'reused' if entry else 'refused' if self.refusals else 'would build'
        return {
            'status': status,
            'reason': '; '.join(self.refusals) if status == 'refused' else self.found.reason,
            'engine': None if entry is None else str(entry.plan),
            'key': self.ingredients.key,
            'ingredients': asdict(self.ingredients),
            'model': self.model.to_json(),
            'settings': None if self.resolved is None else self.resolved.to_json(),
            'memory': None if self.memory is None else asdict(self.memory),
            'notes': list(self.notes),
            'warnings': list(self.warnings),
        }


@dataclass(frozen=True)
class Outcome:
    """An engine that may be run.

    Attributes:
        status: Whether it was made now.
        reason: Why, as a sentence.
        entry: The engine.
        seconds: How long it took to get it.
        notes: Why each choice that was not the card's was made.
        warnings: What the user should know of it.
        phases: Seconds of each phase of the build.
    """

    status: Literal['built', 'reused']
    reason: str
    entry: Entry
    seconds: float
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    phases: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def checks(self) -> Mapping[str, Any]:
        """Return what the comparison with ONNX Runtime measured, when it was built."""
        return self.entry.manifest.checks

    def to_json(self) -> dict[str, Any]:
        """Return plain values, for a program."""
        return {
            'status': self.status,
            'reason': self.reason,
            'engine': str(self.entry.plan),
            'key': self.entry.key,
            'seconds': round(self.seconds, 3),
            'checks': dict(self.checks),
            'layers': dict(self.entry.manifest.layers),
            'phases': {name: round(each, 3) for name, each in self.phases.items()},
            'notes': list(self.notes),
            'warnings': list(self.warnings),
        }


def refusal(error: PerceptionError, key: str | None = None) -> dict[str, Any]:
    """Return what `Outcome.to_json` gives, for an engine that does not come."""
    return {
        'status': 'refused',
        'reason': str(error),
        'error': type(error).__name__,
        'engine': None,
        'key': key,
        'seconds': 0.0,
        'checks': {},
    }


@dataclass(frozen=True)
class _Order:
    """What is asked for, and all that it depends on."""

    card: Card
    onnx: Path
    facts: Platform
    ingredients: Ingredients
    calibration: CalibrationJob | None


@dataclass(frozen=True)
class _Ready:
    """What nothing stands against any more."""

    model: ModelFacts
    resolved: Resolved
    memory: MemoryPlan


class EngineBuilder:
    """Builds engines into a store, each once.

    Any number of threads and processes may ask at the same time: one builds, the others wait for
    it and take what it made.

    Args:
        store: Where engines are kept.
        flavour: Which TensorRT builds them.
        assume: Version to plan for in place of the one that is installed; only `plan` takes it.
        lock: The file that keeps the builds of a machine apart.
        timeout_s: Ends a build after this many seconds, waiting for its turn not counted.
    """

    def __init__(
        self,
        store: Store,
        flavour: Flavour = 'tensorrt',
        *,
        assume: str | None = None,
        lock: Path = LOCK,
        timeout_s: float | None = None,
    ) -> None:
        self.store, self.flavour = store, flavour
        self._assume, self._lock, self._timeout_s = assume, lock, timeout_s

    def plan(self, card: Card, *, allow_few: bool = False) -> Plan:
        """Return what `build` would do; writes nothing.

        Args:
            card: The card, with what overrides its build settings.
            allow_few: Whether few calibration samples will do.

        Raises:
            PerceptionError: The card, its model or its calibration data cannot be read.
        """
        order = self._order(card, allow_few)
        found = self.store.find(order.ingredients)
        probe = self._assumed(order) or self._probe(order)
        report = self._report(order, probe)
        try:
            ready = self._ready(order, probe, report)
        except BuildRefusedError as exc:
            resolved = memory = None
            refusals: tuple[str, ...] = (str(exc),)
        else:
            resolved, memory, refusals = ready.resolved, ready.memory, ()
        return Plan(card, order.onnx, order.ingredients, found, report, resolved, memory, refusals)

    def build(
        self,
        card: Card,
        *,
        force: bool = False,
        allow_few: bool = False,
        progress: Callable[[Progress], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> Outcome:
        """Return the engine of a card: the store's, or else a new one.

        Args:
            card: The card, with what overrides its build settings.
            force: Whether to build even if the store has it.
            allow_few: Whether few calibration samples will do.
            progress: Told how far it is, on this thread.
            cancel: Ends it once set.

        Raises:
            BuildRefusedError: What is asked cannot be had here.
            BuildFailedError: The build did not end well, or was cancelled.
            CalibrationError: The calibration data cannot be used.
            CheckFailedError: The engine does not compute what the model computes; it is in
                quarantine.
            StoreError: The store cannot be used.
            PerceptionError: The card or its model cannot be read.
        """
        if self._assume is not None:
            raise BuildRefusedError(
                f'TensorRT {self._assume} is assumed, not asked: that is for plans; build without'
            )
        tell = _Teller(progress)
        tell('prepare', 0.0, 'looking into the store')
        order = self._order(card, allow_few)
        found = self.store.find(order.ingredients)
        if found.entry is not None and not force:
            return _reused(found, tell)

        def cancelled() -> bool:
            tell('waiting', 0.0, 'another process builds this engine')
            return cancel is not None and cancel.is_set()

        with self.store.lock(order.ingredients.key, cancelled=cancelled):
            # somebody may have built it while we waited
            found = self.store.find(order.ingredients)
            if found.entry is not None and not force:
                return _reused(found, tell)
            reason = 'built anew, as asked' if found.entry else found.reason
            return self._build(order, reason, tell, cancel)

    # -- before ----------------------------------------------------------------------------------

    def _order(self, card: Card, allow_few: bool) -> _Order:
        if card.path is None:
            raise BuildRefusedError(f'card {card.name!r} is in no file; save it and load it again')
        onnx = network_file(card)
        facts = read_platform(flavour=self.flavour)
        if self._assume is not None:
            facts = replace(facts, tensorrt=self._assume)
        digest, job = _calibration(card, card.path, allow_few)
        ingredients = Ingredients.collect(
            card, onnx, flavour=self.flavour, facts=facts, calibration_digest=digest
        )
        return _Order(card, onnx, facts, ingredients, job)

    def _assumed(self, order: _Order) -> Probe | None:
        if self._assume is None:
            return None
        return Probe(self.flavour, parse_version(self._assume), order.facts.dla_cores)

    def _probe(self, order: _Order) -> Probe:
        if order.facts.tensorrt is None:
            raise BuildRefusedError(
                f'{TITLES[self.flavour]} is not installed here; {INSTALL[self.flavour]}; '
                '`trt_build --dry-run` works without it'
            )
        return probe_in_process(self.flavour)

    def _report(self, order: _Order, probe: Probe) -> ModelReport:
        (report,) = check_in_process([order.onnx], self.flavour, probe.version)
        return report

    def _ready(self, order: _Order, probe: Probe, report: ModelReport) -> _Ready:
        model = report.require()
        shapes, least = _input_shapes(order.card, model), _least_shapes(order.card, model)
        for name in shapes:
            if name not in model.inputs:
                raise BuildRefusedError(
                    f'{order.onnx}: has the inputs {", ".join(model.inputs)}, and the card names '
                    f'{name!r}; give input.tensor and input.size_tensor the names in the model'
                )
        facts = order.facts
        resolved = resolve(
            order.card.build,
            flavour=self.flavour,
            version=probe.version,
            gpu=GpuFacts(facts.sm or probe.sm, probe.dla_cores, facts.l4t is not None, facts.board),
            model=model,
            shapes=shapes,
            least=least,
        )
        memory = plan_memory(
            self.flavour,
            model.weight_bytes,
            read_memory(),
            integrated=facts.l4t is not None,
            workspace_mib=resolved.pools.get('WORKSPACE'),
        )
        if memory.workspace_mib is not None:
            note = f'workspace: {memory.workspace_mib} MiB, as {memory.text}'
            resolved = replace(
                resolved,
                pools={**resolved.pools, 'WORKSPACE': memory.workspace_mib},
                notes=(*resolved.notes, note),
            )
        memory.require()
        check_disk(self.store.root, model.weight_bytes)
        return _Ready(model, resolved, memory)

    # -- during ----------------------------------------------------------------------------------

    def _build(
        self, order: _Order, reason: str, tell: _Teller, cancel: threading.Event | None
    ) -> Outcome:
        tell('prepare', 0.0, f'asking {TITLES[self.flavour]}, and checking the model')
        probe = self._probe(order)
        ready = self._ready(order, probe, self._report(order, probe))
        with self.store.workspace('build') as folder:
            with self._timing_cache(order, ready.resolved, tell, cancel) as timing:
                result = build_in_process(
                    ready.resolved,
                    order.onnx,
                    folder=folder,
                    calibration=order.calibration,
                    timing_cache=timing.read(),
                    progress=lambda step: tell(
                        step.phase if step.fraction < 1 else 'built',
                        BUILD_SHARE * step.fraction,
                        step.message,
                    ),
                    cancel=cancel,
                    timeout_s=self._timeout_s,
                    lock=self._lock,
                )
                timing.write(result.output.timing_cache)
            tell('check', BUILD_SHARE, 'comparing with ONNX Runtime')
            plan = folder / 'engine.plan'
            plan.write_bytes(result.output.plan)
            entry = self._keep(order, result, plan, tell.elapsed_s(), cancel)
        tell('done', 1.0, f'{entry.size_bytes / MIB:.1f} MiB in {entry.path}')
        layers = read_layers(result.output.layers)
        return Outcome(
            'built',
            reason,
            entry,
            tell.elapsed_s(),
            ready.resolved.notes,
            (*ready.resolved.warnings, *_warn(ready, layers, entry)),
            result.output.seconds,
        )

    @contextmanager
    def _timing_cache(
        self,
        order: _Order,
        resolved: Resolved,
        tell: _Teller,
        cancel: threading.Event | None,
    ) -> Iterator[TimingCache]:
        """Hold the kernel times of this TensorRT, device and power mode for one build.

        A build reads all of them and leaves all of them with its own: two at a time would lose
        those of one.
        """
        if not resolved.timing_cache:
            yield TimingCache(None)
            return
        facts = order.facts
        device = facts.gpu_name or facts.board or 'gpu'
        name = timing_name(facts.tensorrt, device, facts.power_mode)

        def cancelled() -> bool:
            tell('waiting', 0.0, 'another build uses the timing cache')
            return cancel is not None and cancel.is_set()

        with self.store.lock(name, cancelled=cancelled):
            yield TimingCache(self.store.root / 'timing' / f'{name}.cache')

    # -- after -----------------------------------------------------------------------------------

    def _keep(
        self,
        order: _Order,
        result: BuildResult,
        plan: Path,
        seconds: float,
        cancel: threading.Event | None,
    ) -> Entry:
        """Check a new engine and put it into the store, or into quarantine."""
        output = result.output
        layers = output.layers or '{}'
        manifest = Manifest(
            order.ingredients,
            created_utc=time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()),
            seconds=round(seconds, 3),
            tensors=output.tensors,
            layers={} if output.layers is None else summarise(read_layers(output.layers)),
        )
        skipped = _why_unchecked(order.card, output.layers, self.flavour)
        try:
            checks = (
                {'passed': None, 'skipped': skipped}
                if skipped
                else compare_in_process(order.card, order.onnx, plan, self.flavour, cancel=cancel)
            )
        except NoReferenceError as exc:
            checks = {'passed': None, 'skipped': str(exc)}
        except PerceptionError as exc:
            if cancel is not None and cancel.is_set():
                raise
            reason = f'the check after the build failed: {exc}'
            place = self.store.put_away(manifest, plan, layers, result.log, reason)
            raise CheckFailedError(f'{reason}; the engine is in quarantine: {place}') from exc
        return self.store.put(replace(manifest, checks=checks), plan, layers, result.log)


class _Teller:
    """Hands progress on; the fraction never falls."""

    def __init__(self, progress: Callable[[Progress], None] | None) -> None:
        self._progress, self._start, self._fraction = progress, time.monotonic(), 0.0

    def __call__(self, phase: str, fraction: float, message: str) -> None:
        self._fraction = max(self._fraction, fraction)
        if self._progress is not None:
            self._progress(Progress(phase, self._fraction, message, self.elapsed_s()))

    def elapsed_s(self) -> float:
        return time.monotonic() - self._start


def _reused(found: Found, tell: _Teller) -> Outcome:
    assert found.entry is not None
    tell('done', 1.0, 'the store has it')
    return Outcome('reused', found.reason, found.entry, tell.elapsed_s())


def _calibration(
    card: Card, path: Path, allow_few: bool
) -> tuple[str | None, CalibrationJob | None]:
    """Return the digest of what INT8 scales come from, and the order to read it."""
    given = card.build.calibration
    if card.build.precision not in INT8 or (given.data is None and given.cache is None):
        return None, None
    job = CalibrationJob(
        path,
        given.data,
        given.topic,
        given.samples,
        allow_few,
        given.cache,
        card.build.mixed_layers if card.build.precision == 'mixed' else 0,
    )
    if given.cache is not None:
        try:
            return file_digest(Path(given.cache)), job
        except OSError as exc:
            raise CalibrationError(
                f'{given.cache}: the calibration cache cannot be read: {exc.strerror or exc}'
            ) from exc
    assert given.data is not None
    samples = open_calibration(
        card,
        given.data,
        topic=given.topic,
        samples=given.samples,
        allow_few=allow_few,
        warn=lambda text: None,  # said again, and heard, when the samples are used
    )
    return samples.digest(), job


def _input_shapes(card: Card, model: ModelFacts) -> dict[str, tuple[int, ...]]:
    """Return the shapes that a card's images give its network's inputs, batch 1, or its clouds."""
    spec = card.input
    if isinstance(spec, PointsInput):
        return network_shapes(spec, {name: each.shape for name, each in model.inputs.items()})
    size = (spec.height, spec.width)
    nchw = spec.layout == 'nchw'
    shapes: dict[str, tuple[int, ...]] = {
        spec.tensor: (1, IMAGE_CHANNELS, *size) if nchw else (1, *size, IMAGE_CHANNELS)
    }
    if spec.size_tensor is not None:
        shapes[spec.size_tensor] = (1, 2)
    return shapes


def _least_shapes(card: Card, model: ModelFacts) -> dict[str, tuple[int, ...]]:
    """Return the shapes that the smallest of clouds gives; of images, none are smaller."""
    spec = card.input
    if not isinstance(spec, PointsInput):
        return {}
    inputs = {name: each.shape for name, each in model.inputs.items()}
    return network_shapes(spec, inputs, fewest=True)


def _why_unchecked(card: Card, layers: str | None, flavour: Flavour) -> str | None:
    """Return why a new engine cannot be compared with its model here; None if it can be."""
    if layers is None and flavour == 'tensorrt_rtx':
        return f'this machine cannot run engines of {TITLES[flavour]}: it has no GPU for them'
    for name, form in card.build.io.items():
        if form.format not in (None, 'linear'):
            return f'{name!r} has the layout {form.format}, which is not filled from here'
    for profile in card.build.profiles[:1]:
        for name, shapes in profile.items():
            if shapes.min[:1] > (1,):
                return f'{name!r} takes at least {shapes.min[0]} images at once, the check has 1'
    return 'the engine has no weights in it' if card.build.strip_weights else None


def _warn(ready: _Ready, layers: Sequence[Placed], entry: Entry) -> Iterator[str]:
    if ready.memory.verdict == 'warning':
        yield ready.memory.text
    if ready.resolved.dla.core is not None and (fell := fallbacks(layers)):
        names = ', '.join(each.name for each in fell)
        yield f'{len(fell)} of {len(layers)} layers fell back from the DLA to the GPU: {names}'
    if skipped := entry.manifest.checks.get('skipped'):
        yield f'the engine was not checked: {skipped}'
