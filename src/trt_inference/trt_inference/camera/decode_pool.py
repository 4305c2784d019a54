# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Decodes the newest picture of each camera on threads of its own, before the worker takes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import os
import threading
import time

from trt_engine.backend import Array
from trt_inference.camera.image_view import CompressedView
from trt_inference.camera.image_view import view_compressed_image
from trt_inference.detector.latest import Frame
from trt_inference.detector.latest import LatestFrames

_MOST_THREADS = 4  # the other cores of a board have work of their own


@dataclass(frozen=True)
class DecodedFrame(Frame):
    """A frame with what its message held, or with what was wrong with it.

    Attributes:
        outcome: The message and its pixels, (height, width, 3) uint8, blue first; or the error.
        decode_ms: What reading the message and decoding the picture took.
    """

    outcome: tuple[CompressedView, Array] | Exception
    decode_ms: float

    @property
    def prepared_ms(self) -> float:
        """Return `decode_ms`."""
        return self.decode_ms

    def open(self) -> tuple[CompressedView, Array]:
        """Return the message and its pixels.

        Raises:
            ImageError: The message is malformed, or its picture cannot be decoded.
        """
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class DecodePool(LatestFrames):
    """`LatestFrames` for CompressedImage: `put` takes messages, `take` gives `DecodedFrame`s.

    While a frame is looked at, the next ones are decoded, of several cameras at once. One picture
    of a camera is decoded at a time, so that their order stays, and always the newest: pictures
    that came meanwhile are dropped undecoded, and one that was decoded and not taken is dropped for
    the next. Where the worker is slower than the cameras, this decodes some in vain; in return the
    worker gets a picture as fresh as decoding allows.

    Threads run from the start until `close`.
    """

    def __init__(
        self,
        streams: int,
        clock: Callable[[], float] = time.perf_counter,
        *,
        threads: int | None = None,
    ) -> None:
        """Start the threads.

        Args:
            streams: How many cameras.
            clock: Seconds, the clock of `Frame.arrived_s`.
            threads: How many pictures may be decoded at once; None: one of each camera, on as many
                cores as there are, up to 4.
        """
        super().__init__(streams, clock)
        self._messages = _Messages(streams)
        if threads is None:
            threads = min(streams, os.cpu_count() or 1, _MOST_THREADS)
        self._threads = [
            threading.Thread(target=self._run, name=f'decode_{number}', daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, frame: Frame) -> None:
        """Hand over a message as it arrived; one that waits to be decoded is dropped for it."""
        self._messages.put(frame)

    def dropped(self, stream: int) -> int:
        """Return how many frames of a camera were replaced before anyone took them."""
        return super().dropped(stream) + self._messages.dropped(stream)

    def close(self) -> None:
        """Wake who waits, for good, and end the threads, each after the picture in its hands."""
        self._messages.close()
        super().close()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        # The picture before is held until the next one is decoded. Were it let go first, malloc
        # would give its memory back to the system and ask for it anew: half of the time of a
        # 1920x1080 JPEG (docs/performance.md).
        while (frame := self._messages.take_one()) is not None:
            decoded = self._decode(frame)
            super().put(decoded)
            self._messages.done(frame.stream)

    def _decode(self, frame: Frame) -> DecodedFrame:
        begun = self._clock()
        outcome: tuple[CompressedView, Array] | Exception
        try:
            view = view_compressed_image(frame.serialized)
            outcome = view, view.decode()
        except Exception as exc:  # noqa: BLE001  # raised again where the frame is opened
            outcome = exc
        decode_ms = (self._clock() - begun) * 1e3
        return DecodedFrame(frame.stream, frame.serialized, frame.arrived_s, outcome, decode_ms)


class _Messages(LatestFrames):
    """The newest message of each camera, but of none that is in someone's hands."""

    def __init__(self, streams: int) -> None:
        super().__init__(streams)
        self._in_hand: set[int] = set()

    def take_one(self) -> Frame | None:
        """Wait for a message, which is in hand until `done`; return None once closed."""
        with self._changed:
            for frame in self.take():
                self._in_hand.add(frame.stream)
                return frame
            return None

    def done(self, stream: int) -> None:
        """Let the next message of a camera be taken."""
        with self._changed:
            self._in_hand.remove(stream)
            self._changed.notify()

    def _may_go(self, frame: Frame) -> bool:
        return frame.stream not in self._in_hand
