# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Takes the newest frames through the detector, in a thread of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
import math
import threading
import time
from typing import Generic
from typing import Protocol
from typing import TypeVar

from trt_engine.errors import DecodeError
from trt_engine.errors import PerceptionError
from trt_engine.timing import LatencyWindow
from trt_engine.timing import Rate
from trt_inference.detector.config import Stream
from trt_inference.detector.latest import Frame
from trt_inference.detector.latest import LatestFrames

_WINDOW = 256  # frames that percentiles are taken over

Taken = TypeVar('Taken')
Seen = TypeVar('Seen')
_Taken_contra = TypeVar('_Taken_contra', contravariant=True)
_Seen_co = TypeVar('_Seen_co', covariant=True)


class Stamped(Protocol):
    """What the worker, and those who publish, need of a message that was read."""

    @property
    def stamp_sec(self) -> int:
        """Return the seconds of the stamp."""

    @property
    def stamp_nanosec(self) -> int:
        """Return the nanoseconds of the stamp."""

    @property
    def frame_id(self) -> str:
        """Return the coordinate frame."""


# Gives the message of a frame, and what reads of it what the detector takes: that may take long,
# and is not called for frames that are too old.
Open = Callable[[Frame], tuple[Stamped, Callable[[], Taken]]]


class DetectorLike(Protocol[_Taken_contra, _Seen_co]):
    """What the worker needs of `pipeline.Detector` and `lidar_pipeline.CloudDetector`."""

    @property
    def batch(self) -> int:
        """Return how many of what it takes `begin` takes at most."""

    @property
    def in_flight(self) -> int:
        """Return how many runs may be begun and not finished."""

    @property
    def stages_ms(self) -> Mapping[str, float]:
        """Return what the last run spent in preprocess, inference and decode."""

    def begin(self, pictures: Sequence[_Taken_contra]) -> Callable[[], Sequence[_Seen_co]]:
        """Begin to look at pictures, or clouds; return what waits for what is in them."""


@dataclass(frozen=True)
class Result(Generic[Taken, Seen]):
    """One frame that was looked at, as the publisher needs it.

    Attributes:
        stream: Of which sensor.
        view: The message.
        taken: What the detector took of it.
        seen: What the detector saw.
        stages_ms: What each stage took.
        age_ms: How old the frame was when it was read; NaN where its stamp does not say.
    """

    stream: int
    view: Stamped
    taken: Taken
    seen: Seen
    stages_ms: Mapping[str, float]
    age_ms: float


@dataclass(frozen=True)
class _Read(Generic[Taken]):
    """A frame whose message was read."""

    frame: Frame
    view: Stamped
    taken: Taken
    age_ms: float
    read_ms: float


@dataclass(frozen=True)
class _Run(Generic[Taken, Seen]):
    """Frames that the detector is looking at."""

    frames: Sequence[_Read[Taken]]
    finish: Callable[[], Sequence[Seen]]


class StreamStatistics:
    """Counts and times of one sensor since activation; written by the worker thread only."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.total_ms = LatencyWindow(_WINDOW)
        self.rate = Rate(clock)
        self.frames = 0
        self.too_old = 0
        self.errors = 0
        self.last_error = ''
        self.age_ms = math.nan
        self.publish_ms = 0.0


class Worker(Generic[Taken, Seen]):
    """The thread between the subscriptions and the publishers.

    A frame that cannot be used is counted and reported, and the next one is taken. Anything that is
    not a PerceptionError is a defect: it ends the thread, and `on_crash` hears of it.

    Attributes:
        max_age_ms: Frames with an older stamp are dropped when their turn comes; 0 keeps all.
        max_batch_wait_ms: How long after its arrival a frame may wait for those of other sensors,
            where the detector takes several at once.
        statistics: Of each sensor.
        latest: The frames that wait.
    """

    def __init__(
        self,
        detector: DetectorLike[Taken, Seen],
        streams: Sequence[Stream],
        *,
        latest: LatestFrames,
        open: Open[Taken],
        now_ns: Callable[[], int],
        publish: Callable[[Result[Taken, Seen]], None],
        on_error: Callable[[int, PerceptionError], None],
        on_crash: Callable[[BaseException], None],
        on_start: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Prepare; nothing runs before `start`.

        Args:
            detector: What looks at a frame.
            streams: The sensors.
            latest: Where frames wait; closed by `stop`.
            open: Opens a frame; called in the worker thread, and may raise PerceptionError.
            now_ns: The clock that header stamps are of.
            publish: Called in the worker thread for each frame that was looked at.
            on_error: Called in the worker thread for each frame that could not be used.
            on_crash: Called in the worker thread when a defect ends it.
            on_start: Called in the worker thread before all else.
            clock: Seconds, for durations.
        """
        self.max_age_ms = 0.0
        self.max_batch_wait_ms = 0.0
        self.statistics = [StreamStatistics(clock) for _ in streams]
        self.latest = latest
        self._detector = detector
        self._open = open
        self._now_ns = now_ns
        self._publish = publish
        self._on_error = on_error
        self._on_crash = on_crash
        self._on_start = on_start
        self._under_way: deque[_Run[Taken, Seen]] = deque()
        self._clock = clock
        self._thread = threading.Thread(target=self._run, name='inference', daemon=True)

    def start(self) -> None:
        """Begin to take frames."""
        self._thread.start()

    def put(self, stream: int, serialized: bytes) -> None:
        """Hand over a message as it arrived; returns at once."""
        self.latest.put(Frame(stream, serialized, self._clock()))

    def stop(self) -> None:
        """Finish the frames in hand, and end the thread."""
        self.latest.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def dropped(self, stream: int) -> int:
        """Return how many frames nobody looked at: replaced by a newer one, or too old."""
        return self.latest.dropped(stream) + self.statistics[stream].too_old

    def _run(self) -> None:
        try:
            self._on_start()
            while not self.latest.closed:
                self._turn()
            while self._under_way:
                self._finish(self._under_way.popleft())
        except BaseException as exc:
            self._on_crash(exc)
            raise

    def _turn(self) -> None:
        """Begin a run if frames wait, and finish one if there are enough, or nothing else to do."""
        idle = not self._under_way
        linger_s = self.max_batch_wait_ms / 1e3 if idle else 0.0
        frames = self.latest.take(self._detector.batch, wait=idle, linger_s=linger_s)
        self._begin([read for frame in frames if (read := self._read(frame)) is not None])
        if self._under_way and (not frames or len(self._under_way) >= self._detector.in_flight):
            self._finish(self._under_way.popleft())

    def _read(self, frame: Frame) -> _Read[Taken] | None:
        begun = self._clock()
        try:
            view, take = self._open(frame)
            age_ms = self._age_ms(view)
            if self.max_age_ms and age_ms > self.max_age_ms:
                self.statistics[frame.stream].too_old += 1
                return None
            taken = take()
        except PerceptionError as exc:
            self._fail(frame, exc)
            return None
        read_ms = (self._clock() - begun) * 1e3
        read_ms += frame.prepared_ms
        return _Read(frame, view, taken, age_ms, read_ms)

    def _begin(self, frames: Sequence[_Read[Taken]]) -> None:
        if not frames:
            return
        while len(self._under_way) >= self._detector.in_flight:
            self._finish(self._under_way.popleft())
        try:
            finish = self._detector.begin([each.taken for each in frames])
        except PerceptionError as exc:
            if len(frames) == 1:
                self._fail(frames[0].frame, exc)
                return
            # one of them spoils it for all: let each stand alone
            for each in frames:
                self._begin([each])
            return
        self._under_way.append(_Run(frames, finish))

    def _finish(self, run: _Run[Taken, Seen]) -> None:
        try:
            seen = run.finish()
        except PerceptionError as exc:
            # what the network made of one of them spoils it for all
            alone = isinstance(exc, DecodeError) and len(run.frames) > 1
            for each in run.frames:
                if alone:
                    self._look_again(each)
                else:
                    self._fail(each.frame, exc)
            return
        stages_ms = self._detector.stages_ms
        for each, what in zip(run.frames, seen, strict=True):
            self._hand_over(each, what, dict(stages_ms))

    def _look_again(self, read: _Read[Taken]) -> None:
        """Look at one frame of a run that failed; the run has left room for another."""
        try:
            finish = self._detector.begin([read.taken])
        except PerceptionError as exc:
            self._fail(read.frame, exc)
        else:
            self._finish(_Run([read], finish))

    def _hand_over(self, read: _Read[Taken], seen: Seen, stages_ms: dict[str, float]) -> None:
        frame, statistics = read.frame, self.statistics[read.frame.stream]
        stages_ms['preprocess'] += read.read_ms
        stages_ms['publish'] = statistics.publish_ms
        detected = self._clock()
        stages_ms['total'] = (detected - frame.arrived_s) * 1e3
        statistics.frames += 1
        statistics.rate.tick()
        statistics.age_ms = read.age_ms
        self._publish(Result(frame.stream, read.view, read.taken, seen, stages_ms, read.age_ms))
        published = self._clock()
        statistics.publish_ms = (published - detected) * 1e3
        statistics.total_ms.add((published - frame.arrived_s) * 1e3)

    def _fail(self, frame: Frame, error: PerceptionError) -> None:
        statistics = self.statistics[frame.stream]
        statistics.errors += 1
        statistics.last_error = str(error)
        self._on_error(frame.stream, error)

    def _age_ms(self, view: Stamped) -> float:
        stamp_ns = view.stamp_sec * 1_000_000_000 + view.stamp_nanosec
        age_ms = (self._now_ns() - stamp_ns) / 1e6
        return age_ms if stamp_ns > 0 and age_ms >= 0 else math.nan
