# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""One image in, detections out: the path that node, accuracy and calibration share."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import time

import numpy as np

from trt_engine.backend import Array
from trt_engine.backend import Backend
from trt_engine.card import Card
from trt_engine.card import Thresholds
from trt_engine.preprocess import Preprocessor
from trt_inference.camera.decoders import open_decoder
from trt_inference.camera.detections import Detections

# Pixels and their encoding; or a whole file, (N,) uint8, and JPEG, for who takes that.
Picture = tuple[Array, str]
JPEG = 'jpeg'


class Detector:
    """A network with what comes before and after it; one thread at a time may call it.

    Attributes:
        card: The model card.
        backend: What runs the network; whoever opened it closes it.
        batch: Most pictures that `begin` takes at once.
        in_flight: Most runs that may be begun and not finished.
        takes_jpeg: Whether pictures may be files.
        thresholds: What counts as a detection, from the next call on; at first the card's.
        class_filter: Indices of the classes to report, from the next call on; None for all.
        stages_ms: What the last call spent in preprocess, inference and decode.
    """

    batch = 1
    in_flight = 1
    takes_jpeg = False

    def __init__(
        self, card: Card, backend: Backend, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Prepare the buffers.

        Raises:
            CardError: The card's head is unknown, or its outputs or options are not what it takes.
        """
        self.card = card
        self.backend = backend
        self.thresholds: Thresholds = card.thresholds
        self.class_filter: frozenset[int] | None = None
        self.stages_ms: Mapping[str, float] = {'preprocess': 0.0, 'inference': 0.0, 'decode': 0.0}
        self._preprocess = Preprocessor(
            card.image, {info.name: info.dtype for info in backend.tensors}
        )
        self._decode = open_decoder(card)
        self._clock = clock

    def __call__(self, pixels: Array, encoding: str) -> Detections:
        """Return what is in one image, in its own pixels.

        Args:
            pixels: As `trt_engine.preprocess.Preprocessor` takes them.
            encoding: One of `trt_engine.encodings.ENCODINGS`.

        Raises:
            ImageError: The image cannot be read.
            InferenceError: The network failed.
            DecodeError: The outputs do not have the form that the card's head promises.
        """
        begun = self._clock()
        geometry = self._preprocess(pixels, encoding)
        prepared = self._clock()
        outputs = self.backend.run(self._preprocess.inputs)
        inferred = self._clock()
        detections = self._decode(outputs, self.thresholds, geometry)
        if self.class_filter is not None:
            wanted = np.array(sorted(self.class_filter), np.int32)
            detections = detections.select(np.isin(detections.classes, wanted))
        decoded = self._clock()
        self.stages_ms = {
            'preprocess': (prepared - begun) * 1e3,
            'inference': (inferred - prepared) * 1e3,
            'decode': (decoded - inferred) * 1e3,
        }
        return detections

    def begin(self, pictures: Sequence[Picture]) -> Callable[[], list[Detections]]:
        """Return what looks at the pictures, as `GpuDetector.begin` does; nothing is begun yet."""
        return lambda: [self(pixels, encoding) for pixels, encoding in pictures]
