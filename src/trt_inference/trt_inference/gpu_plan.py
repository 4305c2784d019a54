# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""All that the GPU does with images that go through the network together."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.backends.tensorrt_context import EngineContext
from trt_engine.cuda.detections import DetectionsPlan
from trt_engine.cuda.memory import Event
from trt_engine.cuda.memory import Graph
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.preprocess import FramePlan


@dataclass(frozen=True)
class ImagePlan:
    """What is done with one image before the network and after it."""

    frame: FramePlan
    detections: DetectionsPlan


class BatchPlan:
    """The work on some images, from raw bytes to detections.

    Attributes:
        images: The work on each.
        retired: Whether it is of no more use once the run under way is finished.
        graph: The work, recorded; None where it is not.
        done: Reached when the last launch is done.
    """

    def __init__(
        self,
        network: TensorRtBackend | EngineContext,
        images: Sequence[ImagePlan],
        memory: Lease,
        done: Event,
    ) -> None:
        """Take over what it consists of.

        Args:
            network: What runs the network on so many images.
            images: The work on each.
            memory: What they took.
            done: To be recorded after each launch.
        """
        self.images = images
        self.graph: Graph | None = None
        self.retired = False
        self.done = done
        self._network = network
        self._stream = network.stream
        self._memory = memory

    def enqueue(self) -> None:
        """Put the work into the stream piece by piece.

        Raises:
            InferenceError: CUDA or TensorRT refused it.
        """
        for image in self.images:
            image.frame.enqueue(self._stream)
        self._network.enqueue()
        for image in self.images:
            image.detections.enqueue(self._stream)

    def launch(self) -> None:
        """Put the work into the stream, as a graph where it was recorded.

        Raises:
            InferenceError: CUDA or TensorRT refused it.
        """
        if self.graph is not None:
            self.graph.launch(self._stream)
        else:
            self.enqueue()
        self.done.record(self._stream)

    def parts(self) -> dict[str, Callable[[], None]]:
        """Return what puts each part of the work on a single image into the stream."""
        (image,) = self.images
        parts: dict[str, Callable[[], None]] = {
            'upload': partial(image.frame.upload, self._stream),
            'preprocess': partial(image.frame.convert, self._stream),
            'network': self._network.enqueue,
            'decode': partial(image.detections.decode, self._stream),
            'download': partial(image.detections.download, self._stream),
        }
        if self.graph is not None:
            parts['graph'] = partial(self.graph.launch, self._stream)
        return parts

    def close(self) -> None:
        """Give back everything; nothing of it may be under way."""
        if self.graph is not None:
            self.graph.close()
        self.done.close()
        self._memory.close()
