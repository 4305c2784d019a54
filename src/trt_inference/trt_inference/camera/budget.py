# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The memory of a camera node, judged before its engine is loaded, after, and as cameras begin."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence

from trt_engine.card import Card
from trt_engine.entry import Entry
from trt_engine.lidar.model import network_file
from trt_engine.memory.budget import Budget
from trt_engine.memory.network import built_memory
from trt_engine.memory.network import largest_batch
from trt_engine.memory.network import loaded_memory
from trt_engine.picture import picture_size
from trt_inference.camera.gpu_pipeline import GpuDetector
from trt_inference.camera.image_view import CompressedView
from trt_inference.camera.image_view import ImageView
from trt_inference.camera.memory import camera_parts
from trt_inference.camera.memory import Frames
from trt_inference.camera.memory import node_budget
from trt_inference.camera.pipeline import JPEG
from trt_inference.detector.memory import loading_budget
from trt_inference.detector.memory import room_here


def engine_budget(
    card: Card, engine: Entry, cameras: Sequence[str], weight_streaming_mib: int = 0
) -> Budget:
    """Return what a node will take whose engine is about to be loaded.

    Args:
        card: Its card.
        engine: The engine.
        cameras: Their names.
        weight_streaming_mib: How much of the weights stays on the GPU; 0: all.

    Raises:
        PerceptionError: The sizes are not known, or there is no GPU.
    """
    room = room_here()
    batch = largest_batch(card, len(cameras))
    network = built_memory(card.name, card, network_file(card), engine, batch=batch)
    mapped = room.device_mib is None
    sensors = camera_parts(card, network, dict.fromkeys(cameras), mapped=mapped, batch=batch)
    return loading_budget(room, [network.streaming(weight_streaming_mib)], sensors)


class CameraBudget:
    """The budget of a node on the GPU path; it knows more with each camera's first image.

    Attributes:
        budget: As last reckoned.
    """

    def __init__(
        self,
        card: Card,
        detector: GpuDetector,
        cameras: Sequence[str],
    ) -> None:
        """Reckon with what the loaded engine holds, and cameras that have sent nothing yet.

        Args:
            card: The card.
            detector: What looks at images.
            cameras: Their names.

        Raises:
            PerceptionError: As for `camera_memory.node_budget`.
        """
        self._card = card
        self._detector = detector
        self._cameras: dict[str, Frames | None] = dict.fromkeys(cameras)
        self._network = loaded_memory(card.name, detector.backend)
        self.budget = self._reckon(self._cameras)

    def look_at(
        self, camera: str, view: ImageView | CompressedView, judge: Callable[[Budget], None]
    ) -> None:
        """Reckon anew if the images of a camera are not those that it sent before.

        Args:
            camera: Its name.
            view: One of its images, which has not been brought to the GPU yet.
            judge: Called with a new budget; if it raises, the next image is looked at again.

        Raises:
            PerceptionError: The image cannot be read, or `judge` raised it.
        """
        before = self._cameras[camera]
        if isinstance(view, CompressedView):
            if before is not None:  # a look into each file would take longer than it is worth
                return
            frames = Frames(*picture_size(view.picture.tobytes()), JPEG)
        elif before and before.is_of(view.width, view.height, view.encoding):
            return
        else:
            frames = Frames(view.width, view.height, view.encoding)
        self.budget = self._reckon({**self._cameras, camera: frames})
        judge(self.budget)
        self._cameras[camera] = frames

    def _reckon(self, cameras: dict[str, Frames | None]) -> Budget:
        detector = self._detector
        # for images that are not like those before, memory is still to be taken
        staged = [name for name, seen in self._cameras.items() if seen and seen == cameras[name]]
        return node_budget(
            self._card,
            self._network,
            cameras,
            room_here(),
            mapped=detector.mapped,
            thresholds=detector.thresholds,
            staged=staged,
            in_flight=detector.in_flight,
            batch=detector.batch,
            nvjpeg=detector.takes_jpeg,
        )
