# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The memory of a lidar node, judged before its engines are loaded, after, and as clouds grow."""

from __future__ import annotations

from collections.abc import Callable

from trt_engine.card import Card
from trt_engine.entry import Entry
from trt_engine.errors import ModelFileError
from trt_engine.lidar.model import encoder_card
from trt_engine.lidar.model import inside_pillars
from trt_engine.lidar.model import network_file
from trt_engine.lidar.point_records import PointLayout
from trt_engine.memory.budget import Budget
from trt_engine.memory.budget import Part
from trt_engine.memory.network import built_memory
from trt_engine.memory.network import loaded_memory
from trt_inference.detector.engines import find_engine
from trt_inference.detector.memory import loading_budget
from trt_inference.detector.memory import room_here
from trt_inference.detector.memory import running_budget
from trt_inference.lidar.gpu_pipeline import GpuLidarDetector
from trt_inference.lidar.memory import Clouds
from trt_inference.lidar.memory import encoder_memory
from trt_inference.lidar.memory import lidar_parts
from trt_inference.lidar.memory import UNSEEN


def engine_budget(
    card: Card, engine: Entry, store: str = '', weight_streaming_mib: int = 0
) -> Budget:
    """Return what a node will take whose engine is about to be loaded.

    Args:
        card: Its card.
        engine: The engine.
        store: Folder of the engines; empty for the usual one. Where it lacks one of the network
            inside the pillars, and one is needed, clouds do not get to the GPU.
        weight_streaming_mib: How much of the weights stays on the GPU; 0: all.

    Raises:
        PerceptionError: The sizes are not known, or there is no GPU.
    """
    room = room_here()
    network = built_memory(card.name, card, network_file(card), engine)
    networks = [network.streaming(weight_streaming_mib)]
    inside = inside_pillars(card)
    if isinstance(inside, ModelFileError):
        entry = find_engine(encoder_card(card), store).entry
        if entry is None:
            return loading_budget(room, networks, ())
        networks.append(encoder_memory(card, entry))
    mapped = room.device_mib is None
    sensors = lidar_parts(card, network, inside, [UNSEEN], mapped=mapped)
    return loading_budget(room, networks, sensors)


class LidarBudget:
    """The budget of a node on the GPU path; it knows more once clouds come, and when they grow.

    Before the first it reckons with `memory.UNSEEN`, for which the GPU path takes the least that
    it ever does.

    Attributes:
        budget: Of the loaded node, before any cloud.
    """

    def __init__(
        self, card: Card, detector: GpuLidarDetector, judge: Callable[[Budget], None]
    ) -> None:
        """Reckon with what the loaded engines hold, and have the detector ask before it takes more.

        Args:
            card: The card.
            detector: What looks at clouds.
            judge: Called with a new budget before memory is taken for clouds of a new layout, or
                larger ones; if it raises, that cloud is refused.

        Raises:
            PerceptionError: The sizes are not known, or the GPU cannot be asked.
        """
        self._card = card
        self._detector = detector
        self._judge = judge
        self._inside = inside_pillars(card)
        self._networks = [loaded_memory(card.name, detector.backend)]
        if detector.encoder is not None:
            self._networks.append(loaded_memory(f'{card.name} encoder', detector.encoder))
        self.budget = self._reckon(UNSEEN)
        detector.before_plan = self._look_at

    def parts(self, *coming: Clouds) -> tuple[Part, ...]:
        """Return what the lidar takes, and will take once such clouds come."""
        detector = self._detector
        return lidar_parts(
            self._card,
            self._networks[0],
            self._inside,
            coming,
            mapped=detector.mapped,
            thresholds=detector.thresholds,
            in_flight=detector.in_flight,
            held=[Clouds(detector.capacity, layout.step) for layout in detector.layouts],
            loaded=True,
        )

    def _look_at(self, layout: PointLayout, capacity: int) -> None:
        # plans of one layout are reckoned with all at once
        if layout not in self._detector.layouts:
            self._judge(self._reckon(Clouds(capacity, layout.step)))

    def _reckon(self, clouds: Clouds) -> Budget:
        return running_budget(room_here(), self._networks, self.parts(clouds))
