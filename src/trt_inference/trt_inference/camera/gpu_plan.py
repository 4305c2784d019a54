# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""All that the GPU does with images that go through the network together."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from trt_engine.backend import Array
from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.backends.tensorrt_context import EngineContext
from trt_engine.cuda.detections import DetectionsPlan
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.nvjpeg import Jpeg
from trt_engine.cuda.preprocess import FramePlan
from trt_engine.cuda.runtime import Stream
from trt_inference.detector.gpu_runs import Plan


@dataclass(frozen=True)
class Incoming:
    """A picture on its way to the GPU.

    Attributes:
        pixels: Its pixels; of a JPEG that is decoded on the GPU, only their shape and type count.
        encoding: Of the pixels.
        jpeg: The file to decode there; None where the pixels are here.
    """

    pixels: Array
    encoding: str
    jpeg: Jpeg | None = None

    @property
    def key(self) -> tuple[str, tuple[int, ...], str, bool]:
        """Return what decides how it gets into the network input."""
        return self.encoding, self.pixels.shape, self.pixels.dtype.str, self.jpeg is not None


@dataclass(frozen=True)
class ImagePlan:
    """What is done with one image before the network and after it."""

    frame: FramePlan
    detections: DetectionsPlan


class BatchPlan(Plan):
    """The work on some images, from raw bytes to detections.

    Attributes:
        images: The work on each.
    """

    def __init__(
        self,
        network: TensorRtBackend | EngineContext,
        images: Sequence[ImagePlan],
        memory: Lease,
        *,
        spin: bool = False,
    ) -> None:
        """Take over what it consists of.

        Args:
            network: What runs the network on so many images.
            images: The work on each.
            memory: What they took.
            spin: Whether to wait for it busily.
        """
        super().__init__(network.stream, memory, spin=spin)
        self.images = images
        self._network = network

    def upload(self, stream: Stream) -> None:
        """Put the copies of the images into a stream; see `Plan.upload`."""
        for image in self.images:
            image.frame.upload(stream)

    def compute(self) -> None:
        """Put the work on the images into the stream; see `Plan.compute`."""
        for image in self.images:
            image.frame.convert(self.stream)
        self._network.enqueue()
        for image in self.images:
            image.detections.enqueue(self.stream)

    def parts(self) -> dict[str, Callable[[], None]]:
        """Return what puts each part of the work on a single image into the stream."""
        (image,) = self.images
        parts: dict[str, Callable[[], None]] = {
            'upload': partial(image.frame.upload, self.stream),
            'preprocess': partial(image.frame.convert, self.stream),
            'network': self._network.enqueue,
            'decode': partial(image.detections.decode, self.stream),
            'download': partial(image.detections.download, self.stream),
        }
        if self.graph is not None:
            parts['graph'] = partial(self.graph.launch, self.stream)
        return parts
