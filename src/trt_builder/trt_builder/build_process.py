# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Builds in a process of its own: what kills it is an error with its reason, and nothing more.

The parent writes a job file, the child (`build_child`) sends JSON lines
through a pipe and leaves its results in the folder of the job. One build runs on a board at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import closing
from contextlib import contextmanager
from contextlib import ExitStack
from dataclasses import asdict
from dataclasses import dataclass
import fcntl
from importlib.util import find_spec
import json
import os
from pathlib import Path
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any
from typing import IO

from trt_builder.compat import Flavour
from trt_builder.compat import Version
from trt_builder.known_failures import with_remedies
from trt_builder.memory import count_oom_kills
from trt_builder.onnx_check import ModelReport
from trt_builder.onnx_check import Verdict
from trt_builder.settings import Resolved
from trt_builder.tensorrt_build import BuildOutput
from trt_builder.tensorrt_build import Probe
from trt_engine import errors
from trt_engine.card import Card
from trt_engine.errors import BuildFailedError
from trt_engine.errors import BuildRefusedError
from trt_engine.manifest import TensorRecord

LOCK = Path(tempfile.gettempdir(), 'jetson_perception_build.lock')
POLL_S = 0.2
GRACE_S = 2.0
TAIL_LINES = 25
PROBE_TIMEOUT_S = 120.0
CHECK_TIMEOUT_S = 60.0  # for one model
COMPARE_TIMEOUT_S = 600.0  # the first run of an engine may load a lot
INT8 = ('int8', 'mixed', 'best')  # what calibration data is for

PLAN, LAYERS, LOG = 'engine.plan', 'layers.json', 'build.log'
TIMING, TABLE, RESULT = 'timing.cache', 'calibration.cache', 'result.json'


@dataclass(frozen=True)
class Progress:
    """How far a build is; `fraction` is of the whole, from 0 to 1."""

    phase: str
    fraction: float
    message: str
    elapsed_s: float


@dataclass(frozen=True)
class CalibrationJob:
    """Where INT8 scales come from, as paths: the child opens them.

    Attributes:
        card: File of the model card.
        data: A folder of pictures, a rosbag or an .npz.
        topic: The topic of a rosbag.
        samples: How many to take.
        allow_few: Whether fewer than the usual least will do.
        cache: A calibration table, used in place of data.
        mixed: How many of the most sensitive layers keep their precision.
    """

    card: Path
    data: str | None = None
    topic: str | None = None
    samples: int = 500
    allow_few: bool = False
    cache: str | None = None
    mixed: int = 0


@dataclass(frozen=True)
class BuildResult:
    """What a build left, and what only its process knew.

    Attributes:
        output: The engine and what belongs to it.
        log: What was said, by TensorRT and others.
        peak_mib: The most memory that the process had.
    """

    output: BuildOutput
    log: str
    peak_mib: int


def build_in_process(
    resolved: Resolved,
    model: Path,
    *,
    folder: Path | None = None,
    calibration: CalibrationJob | None = None,
    timing_cache: bytes | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
    timeout_s: float | None = None,
    lock: Path = LOCK,
) -> BuildResult:
    """Build an engine in a child process, and wait for it.

    Args:
        resolved: What to tell TensorRT.
        model: The ONNX file.
        folder: For the files of the build, removed afterwards; on the disk of the store, by choice.
        calibration: For INT8.
        timing_cache: Kernel times of earlier builds.
        progress: Called on this thread.
        cancel: Ends the build once set.
        timeout_s: Ends the build after this many seconds, waiting for its turn not counted.
        lock: The file that keeps builds apart.

    Raises:
        BuildRefusedError: What is asked cannot be had here.
        BuildFailedError: TensorRT said no; or the process crashed, was killed, cancelled, or took
            too long. It ends with the last lines of the log.
        CalibrationError: The samples could not be read, or say nothing.
    """
    job = {
        'kind': 'build',
        'resolved': resolved.to_json(),
        'model': str(model.resolve()),
        'calibration': calibration and {**asdict(calibration), 'card': str(calibration.card)},
    }
    with ExitStack() as stack:
        parent = folder or Path(tempfile.gettempdir())
        parent.mkdir(parents=True, exist_ok=True)
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='build-', dir=parent)))
        if timing_cache:
            (work / TIMING).write_bytes(timing_cache)
        tell = _Teller(progress)
        held = stack.enter_context(_turn(lock, tell, cancel))
        child = _Child(job, work, resolved.flavour, keep_open=(held,))
        with closing(child.events(cancel, timeout_s)) as events:
            for event in events:
                tell(event['phase'], event['fraction'], event['message'])
        return _read_result(work, child.finish())


def probe_in_process(flavour: Flavour) -> Probe:
    """Return what TensorRT says of itself; importing it here could crash, and would stay in memory.

    Raises:
        BuildRefusedError: It is not installed, or does not start.
        BuildFailedError: The process died.
    """
    with tempfile.TemporaryDirectory(prefix='probe-') as name:
        child = _Child({'kind': 'probe', 'flavour': flavour}, Path(name), flavour)
        for _ in child.events(None, PROBE_TIMEOUT_S):
            pass
        found = child.finish()['probe']
    return Probe(flavour, tuple(found['version']), found['dla_cores'], found['sm'])


def check_in_process(
    models: Sequence[Path], flavour: Flavour, version: Version
) -> Iterator[ModelReport]:
    """Yield what stands between ONNX files and engines; a file that crashes the check is refused.

    Args:
        models: Files of whatever origin.
        flavour: Which TensorRT they are for.
        version: Its version.
    """
    left = list(models)
    with tempfile.TemporaryDirectory(prefix='check-') as name:
        while left:
            job = {
                'kind': 'check',
                'models': [str(path) for path in left],
                'flavour': flavour,
                'version': version,
            }
            child = _Child(job, Path(name), flavour)
            try:
                with closing(child.events(None, CHECK_TIMEOUT_S, restart_clock=True)) as events:
                    for event in events:
                        yield ModelReport.from_json(event['report'])
                        del left[0]
                child.finish()
            except BuildFailedError as exc:
                if not left:
                    return
                text = f'its structure cannot be checked, so it is refused: {_first(str(exc))}'
                yield ModelReport(left.pop(0), None, (Verdict('file', 'error', text),))


def ask_dla_in_process(model: Path, precision: str) -> dict[str, bool]:
    """Return layer -> whether TensorRT would run it on the DLA of this board.

    Raises:
        BuildRefusedError: TensorRT is missing, or finds no DLA here.
        BuildFailedError: The ONNX parser refuses the file, or the process died.
    """
    job = {'kind': 'dla', 'model': str(model.resolve()), 'precision': precision}
    with tempfile.TemporaryDirectory(prefix='dla-') as name:
        child = _Child(job, Path(name), 'tensorrt')
        for _ in child.events(None, PROBE_TIMEOUT_S):
            pass
        layers: dict[str, bool] = child.finish()['layers']
    return layers


def compare_in_process(
    card: Card,
    model: Path,
    plan: Path,
    flavour: Flavour,
    *,
    cancel: threading.Event | None = None,
    timeout_s: float | None = COMPARE_TIMEOUT_S,
) -> dict[str, Any]:
    """Return how far an engine is from its model, as `CheckReport.to_json` tells it.

    Args:
        card: Whose network, with what overrides its build settings.
        model: The ONNX file that the engine was built from.
        plan: The engine.
        flavour: Which TensorRT runs it.
        cancel: Ends it once set.
        timeout_s: Ends it after this many seconds.

    Raises:
        CheckFailedError: It is too far off; the message says where.
        NoReferenceError: ONNX Runtime cannot run the model.
        BackendError: The engine does not load, or does not run.
        BuildFailedError: The process died.
    """
    given = card.build.calibration
    job = {
        'kind': 'compare',
        'card': str(card.path),
        'build': asdict(card.build),
        'source': asdict(card.model),
        'model': str(model.resolve()),
        'plan': str(plan.resolve()),
        'flavour': flavour,
        'data': given.data if card.build.precision in INT8 else None,
        'topic': given.topic,
    }
    with tempfile.TemporaryDirectory(prefix='compare-') as name:
        child = _Child(job, Path(name), flavour)
        for _ in child.events(cancel, timeout_s):
            pass
        report: dict[str, Any] = child.finish()['report']
        return report


class _Teller:
    """Hands progress on, with the time since the start."""

    def __init__(self, progress: Callable[[Progress], None] | None) -> None:
        self._progress, self._start = progress, time.monotonic()

    def __call__(self, phase: str, fraction: float, message: str) -> None:
        if self._progress is not None:
            elapsed = time.monotonic() - self._start
            self._progress(Progress(phase, fraction, message, elapsed))


class _Child:
    """A running job."""

    def __init__(
        self,
        job: Mapping[str, Any],
        work: Path,
        flavour: Flavour,
        keep_open: tuple[int, ...] = (),
    ) -> None:
        self._kind = job['kind']
        self._log = work / LOG
        self._oom_kills = count_oom_kills()
        self._last: dict[str, Any] = {}
        self._why: str | None = None
        (work / 'job.json').write_text(json.dumps(job))
        self._pipe, their_end = os.pipe()
        try:
            with self._log.open('ab') as log:
                self._process = subprocess.Popen(
                    [sys.executable, '-m', 'trt_builder.build_child', str(work), str(their_end)],
                    stdin=subprocess.PIPE,  # its end tells the child that its parent is gone
                    stdout=log,
                    stderr=log,
                    env=child_environment(flavour),
                    pass_fds=(their_end, *keep_open),
                    start_new_session=True,  # Ctrl-C is for the parent, which ends the child
                )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(their_end)

    def events(
        self, cancel: threading.Event | None, timeout_s: float | None, restart_clock: bool = False
    ) -> Generator[dict[str, Any], None, None]:
        """Yield what the child sends, but its last word; end it when it must end."""
        start = time.monotonic()
        try:
            with os.fdopen(self._pipe, 'rb') as pipe:
                for line in _lines(pipe):
                    now = time.monotonic()
                    if line is None:
                        if cancel is not None and cancel.is_set():
                            self._why = 'was cancelled'
                            return
                        if timeout_s is not None and now - start > timeout_s:
                            self._why = f'took longer than {timeout_s:g} s and was ended'
                            return
                        continue
                    event = json.loads(line)
                    if event['event'] in ('done', 'failed'):
                        self._last = event
                        return
                    if restart_clock:
                        start = now
                    yield event
        except GeneratorExit:
            self._why = 'was given up'  # whoever listened has gone
            raise
        finally:
            self._end()

    def finish(self) -> dict[str, Any]:
        """Return the child's last word.

        Raises:
            PerceptionError: What the child raised.
            BuildFailedError: It had no last word.
        """
        if self._last.get('event') == 'done':
            return self._last
        if self._last.get('event') == 'failed':
            kind = getattr(errors, str(self._last['kind']), BuildFailedError)
            raise kind(self._last['message'])
        what = f'the {self._kind} {self._reason()}'
        if self._why is not None:
            raise BuildFailedError(what)
        tail = self._log.read_text(errors='replace').splitlines()[-TAIL_LINES:]
        raise BuildFailedError(with_remedies(what, tail, 'The log ends with', TAIL_LINES))

    def _reason(self) -> str:
        if self._why is not None:
            return self._why
        code = self._process.returncode
        if code >= 0:
            return f'process ended with status {code} and without a result'
        name = signal.Signals(-code).name
        if -code != signal.SIGKILL:
            return f'process crashed ({name})'
        if count_oom_kills() > self._oom_kills:
            return (
                'process was ended by the kernel: out of memory; close other programs, add swap, '
                'or lower memory_mib.workspace'
            )
        return 'process was killed (SIGKILL), by hand or for want of memory'

    def _end(self) -> None:
        """Let a child that said its last word end by itself; end any other."""
        if self._why is not None or not self._last:
            # one that crashed is over already: its own status must not be hidden
            if self._why is None and self._wait(GRACE_S):
                return
            self._process.terminate()
        if not self._wait(GRACE_S):
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _wait(self, timeout_s: float) -> bool:
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True


def _lines(pipe: IO[bytes]) -> Iterator[bytes | None]:
    """Yield the lines of a pipe, and None whenever none came for a while."""
    rest = b''
    while True:
        ready, _, _ = select.select([pipe], [], [], POLL_S)
        if not ready:
            yield None
            continue
        chunk = os.read(pipe.fileno(), 1 << 16)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b'\n')
        yield from lines
        yield None  # a child that talks without end can be ended too


@contextmanager
def _turn(lock: Path, tell: _Teller, cancel: threading.Event | None) -> Iterator[int]:
    """Wait until no other build runs here; the child inherits the lock, and holds it to its end."""
    try:
        try:
            handle = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except PermissionError:
        handle = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        raise BuildRefusedError(f'{lock}: cannot be opened: {exc.strerror or exc}') from exc
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                tell('waiting', 0.0, 'another build runs on this machine')
            if cancel is not None and cancel.is_set():
                raise BuildFailedError('the build was cancelled while it waited for another one')
            time.sleep(POLL_S)
        yield handle
    finally:
        os.close(handle)


def child_environment(flavour: Flavour) -> dict[str, str]:
    """Return the child's environment: our packages, and the libraries of a wheel."""
    environment = dict(os.environ)
    environment['PYTHONPATH'] = os.pathsep.join(path for path in sys.path if path)
    environment['PYTHONUNBUFFERED'] = '1'
    if flavour == 'tensorrt_rtx' and (spec := find_spec('tensorrt_rtx_libs')) is not None:
        folders = [*(spec.submodule_search_locations or ())]
        if before := environment.get('LD_LIBRARY_PATH'):
            folders.append(before)
        environment['LD_LIBRARY_PATH'] = os.pathsep.join(folders)
    return environment


def _read_result(work: Path, done: Mapping[str, Any]) -> BuildResult:
    result = json.loads((work / RESULT).read_text())

    def optional(name: str) -> bytes | None:
        return (work / name).read_bytes() if (work / name).is_file() else None

    layers = optional(LAYERS)
    output = BuildOutput(
        plan=(work / PLAN).read_bytes(),
        layers=None if layers is None else layers.decode(),
        tensors=tuple(
            TensorRecord(each['name'], each['mode'], each['dtype'], tuple(each['shape']))
            for each in result['tensors']
        ),
        seconds=result['seconds'],
        timing_cache=optional(TIMING) if result['timing_cache'] else None,
        calibration_cache=optional(TABLE),
    )
    return BuildResult(output, (work / LOG).read_text(errors='replace'), done['peak_mib'])


def _first(text: str) -> str:
    return text.partition('\n')[0]
