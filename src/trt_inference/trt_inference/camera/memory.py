# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the cameras of a node take of memory on the GPU path, and whether all of it fits here."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from heapq import nlargest
from itertools import chain

import numpy as np

from trt_engine.backend import Array
from trt_engine.card import Card
from trt_engine.card import Thresholds
from trt_engine.cuda.detections import plan_bytes
from trt_engine.cuda.preprocess import frame_bytes
from trt_engine.encodings import find_encoding
from trt_engine.encodings import find_layout
from trt_engine.errors import ImageError
from trt_engine.memory.budget import ASSUMED
from trt_engine.memory.budget import Assumptions
from trt_engine.memory.budget import Basis
from trt_engine.memory.budget import Budget
from trt_engine.memory.budget import Part
from trt_engine.memory.budget import Room
from trt_engine.memory.budget import Side
from trt_engine.memory.network import NetworkMemory
from trt_engine.preprocess import as_taken
from trt_inference.camera.decoders import GpuDecoder
from trt_inference.camera.decoders import open_decoder
from trt_inference.camera.gpu_pipeline import PLANS_KEPT
from trt_inference.camera.pipeline import JPEG
from trt_inference.detector.memory import IN_FLIGHT
from trt_inference.detector.memory import MESSAGES
from trt_inference.detector.memory import pool_part
from trt_inference.detector.memory import running_budget

_PICTURES = 3  # likewise, of a camera whose messages are decoded on the CPU


@dataclass(frozen=True)
class Frames:
    """The images of one camera.

    Attributes:
        width: Pixels of a row.
        height: Rows.
        encoding: One of `trt_engine.encodings.ENCODINGS`, or jpeg.
        assumed: Whether no image has come yet to tell.
    """

    width: int
    height: int
    encoding: str
    assumed: bool = False

    def __post_init__(self) -> None:
        """Refuse an encoding that is not read.

        Raises:
            ImageError: It is not.
        """
        if not (self.width > 0 and self.height > 0):
            raise ImageError(f'an image of {self.width}x{self.height}; wanted at least 1x1')
        if self.encoding != JPEG:
            find_encoding(self.encoding)

    def __str__(self) -> str:
        """Return size and encoding, as the command `plan` takes them."""
        return f'{self.width}x{self.height}:{self.encoding}'

    def is_of(self, width: int, height: int, encoding: str) -> bool:
        """Return whether an image is like these."""
        return (self.width, self.height, self.encoding) == (width, height, encoding)

    def pixels(self) -> Array:
        """Return an array as `Preprocessor` takes them, which takes no memory."""
        name = 'bgr8' if self.encoding == JPEG else self.encoding
        encoding = find_encoding(name)
        row = self.width * encoding.channels * encoding.sample_bytes
        layout = find_layout(
            name, width=self.width, height=self.height, step=row,
            size=row * encoding.rows(self.height), big_endian=False,
        )  # fmt: skip
        return np.broadcast_to(np.zeros((), layout.sample), layout.shape)

    def staged(self, nvjpeg: bool) -> Frames:
        """Return the images as they are brought to the GPU, where nvJPEG takes them or not."""
        return replace(self, encoding='bgr8') if self.encoding == JPEG and not nvjpeg else self


UNSEEN = Frames(1920, 1080, 'bgr8', assumed=True)


def camera_parts(
    card: Card,
    network: NetworkMemory,
    cameras: Mapping[str, Frames | None],
    *,
    mapped: bool,
    thresholds: Thresholds | None = None,
    staged: Collection[str] = (),
    in_flight: int = IN_FLIGHT,
    batch: int = 1,
    nvjpeg: bool = False,
) -> tuple[Part, ...]:
    """Return what the cameras of one node take.

    Args:
        card: The card of the node's network.
        network: What the network takes.
        cameras: Name -> images; None for those that have sent none, which count as `UNSEEN`.
        mapped: Whether the GPU reads the host's memory in place, as on a board with one memory.
        thresholds: What counts as a detection; the card's where not given.
        staged: Names of the cameras whose memory for such images was reserved already.
        in_flight: As of `GpuDetector`, likewise batch.
        batch: Most images that go through the network together.
        nvjpeg: Whether compressed images are decoded on the GPU; what nvJPEG takes for its own
            work is not counted.

    Raises:
        ImageError: The images cannot be read.
        CardError: The card's head is unknown, or its outputs or options are not what it takes.
        DecodeError: The outputs do not have the form that the card's head promises.
    """
    parts: list[Part] = []
    sent: dict[Frames, list[str]] = {}
    alike: dict[Frames, list[str]] = {}  # such cameras take turns in the same memory
    for camera, seen in cameras.items():
        frames = seen or UNSEEN
        sent.setdefault(frames, []).append(camera)
        alike.setdefault(frames.staged(nvjpeg), []).append(camera)
    for frames, names in sent.items():
        parts += _messages(_owner(network, names), frames, len(names), nvjpeg)
    wanted, had = (
        _image_plans({frames: sum(map(counts, names)) for frames, names in alike.items()}, batch)
        for counts in (lambda name: True, lambda name: name in staged)
    )
    for frames, names in alike.items():
        owner, have = _owner(network, names), had[frames]
        # memory for images that go together is taken once the last of their cameras sends
        more = wanted[frames] - have, f'{owner}, together' if have else owner, False
        for count, whose, held in ((have, owner, True), more):
            if count > 0:
                parts += _staging(
                    card, network, frames, whose,
                    mapped=mapped, thresholds=thresholds or card.thresholds,
                    times=in_flight * count, together=batch > 1, held=held,
                )  # fmt: skip
    return tuple(parts)


def node_budget(
    card: Card,
    network: NetworkMemory,
    cameras: Mapping[str, Frames | None],
    room: Room,
    *,
    mapped: bool,
    thresholds: Thresholds | None = None,
    staged: Collection[str] = (),
    in_flight: int = IN_FLIGHT,
    batch: int = 1,
    nvjpeg: bool = False,
    assumptions: Assumptions = ASSUMED,
) -> Budget:
    """Return the budget of a configured camera node.

    Call it once the network is loaded, and again with each camera's first image.

    Args:
        card: The card of its network.
        network: What the network takes, as `trt_engine.memory.network.loaded_memory` says.
        cameras: As for `camera_parts`, likewise what follows `room` but for the assumptions.
        room: What is free, read after the network was loaded; see `room_here`.
        mapped: Whether the GPU reads the host's memory in place.
        thresholds: What counts as a detection.
        staged: Names of the cameras whose memory for such images was reserved before `room` was
            read.
        in_flight: Runs that may be begun and not finished.
        batch: Most images that go through the network together, as the detector says.
        nvjpeg: Whether the detector takes JPEG.
        assumptions: What the process takes; it runs already, so nothing depends on it.

    Raises:
        PerceptionError: As for `camera_parts`.
    """
    parts = camera_parts(
        card, network, cameras,
        mapped=mapped, thresholds=thresholds, staged=staged, in_flight=in_flight, batch=batch,
        nvjpeg=nvjpeg,
    )  # fmt: skip
    return running_budget(room, [network], parts, assumptions)


def _owner(network: NetworkMemory, cameras: Sequence[str]) -> str:
    if len(cameras) > 1:
        return f'{network.name}, {len(cameras)} cameras'
    return f'{network.name}, {cameras[0]}' if cameras[0] else network.name


def _messages(owner: str, frames: Frames, cameras: int, nvjpeg: bool) -> list[Part]:
    size = frames.pixels().nbytes * cameras
    basis: Basis = 'assumed' if frames.assumed else 'estimate'
    if frames.encoding != JPEG:
        source = f'{MESSAGES} of {frames} each'
        return [Part(owner, 'messages', MESSAGES * size, 'host', basis, source)]
    source = f'{MESSAGES} each, of at most the pixels'
    messages = Part(owner, 'messages', MESSAGES * size, 'host', 'bound', source)
    if nvjpeg:
        return [messages]
    source = f'{_PICTURES} of {frames} each'
    return [messages, Part(owner, 'decoded JPEG', _PICTURES * size, 'host', basis, source)]


def _staging(
    card: Card,
    network: NetworkMemory,
    frames: Frames,
    owner: str,
    *,
    mapped: bool,
    thresholds: Thresholds,
    times: int,
    together: bool,
    held: bool,
) -> list[Part]:
    """Return what the GPU path takes for images of one size; none where it cannot take the head."""
    decoder = open_decoder(card)
    if not isinstance(decoder, GpuDecoder):
        return []
    taken = as_taken(card.image, {info.name: info.dtype for info in network.tensors})
    resident = frames.encoding == JPEG
    image, on_gpu = frame_bytes(
        taken, frames.pixels(), 'bgr8' if resident else frames.encoding, resident=resident
    )
    outputs = {
        info.name: np.empty(info.shape, info.dtype)
        for info in network.tensors
        if info.mode == 'output'
    }
    shared, scratch = plan_bytes(
        decoder.readouts(outputs), classes=len(card.classes), thresholds=thresholds
    )
    exact: Basis = 'bound' if together else 'exact'  # some mixes of cameras may never occur
    known: Basis = 'assumed' if frames.assumed else exact
    unseen = ', not seen yet' if frames.assumed else ''

    def part(what: str, sizes: Sequence[int], side: Side, basis: Basis, source: str) -> Part:
        return pool_part(owner, what, sizes, side, basis, source, times=times, held=held)

    sides: tuple[Side, ...] = ('host',) if mapped else ('host', 'device')
    return [
        *(part('images', image, side, known, f'{frames}{unseen}') for side in sides),
        *(part('decoded JPEG', [size], 'device', known, f'{frames}{unseen}') for size in on_gpu),
        part('decoding', scratch, 'device', exact, 'candidates, ranking'),
        *(part('detections', shared, side, exact, 'what comes back') for side in sides),
    ]


def _image_plans(numbers: Mapping[Frames, int], batch: int) -> dict[Frames, int]:
    """Return for how many images of each size a detector may have memory, for one run under way.

    It keeps memory for each mix of sizes that went through the network together, up to a limit.

    Args:
        numbers: How many cameras send each size.
        batch: Most images that go through the network together.
    """
    limit = PLANS_KEPT * batch
    # Of each number of images the largest mixes, of some sizes and then of one more: there are as
    # many of all as a power of the number of sizes.
    kept: dict[int, list[tuple[int, tuple[int, ...]]]] = {0: [(0, ())]}
    for frames, number in numbers.items():
        nbytes = frames.pixels().nbytes
        larger: dict[int, list[tuple[int, tuple[int, ...]]]] = {}
        for images, mixes in kept.items():
            for more in range(min(number, batch - images) + 1):
                larger.setdefault(images + more, []).extend(
                    (whole + more * nbytes, (*mix, more)) for whole, mix in mixes
                )
        kept = {images: nlargest(limit, mixes) for images, mixes in larger.items()}
    del kept[0]
    chosen = nlargest(limit, chain.from_iterable(kept.values()))
    return {frames: sum(mix[place] for _, mix in chosen) for place, frames in enumerate(numbers)}
