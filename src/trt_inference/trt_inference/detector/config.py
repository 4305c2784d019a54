# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What every node that runs a network can be told; the one place with these defaults."""

from __future__ import annotations

from abc import ABC
from abc import abstractmethod
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
import re

from trt_engine.card import Card
from trt_engine.card import Thresholds
from trt_engine.errors import ConfigError
from trt_engine.parameters import setting
from trt_engine.parameters import validate

PIPELINES = (
    'auto',
    'gpu',
    'cpu',
)  # where inputs are prepared and outputs decoded
AS_THE_CARD_SAYS = -1.0
_CORES = re.compile(r'(\d+)(?:-(\d+))?')
_MOST_CORES = 4095
_MAPPED: Mapping[str, bool | None] = {'auto': None, 'mapped': True, 'copied': False}


@dataclass(frozen=True)
class DetectorConfig(ABC):
    """Parameters that the nodes share; those not read-only may change while a node runs."""

    card: str = setting('demo', 'Model card: a name in config/models, or a path of a card.')
    onnx: str = setting('', "ONNX file to run instead of the card's own; empty for the card's.")
    backend: str = setting(
        'auto',
        'What runs the network; auto takes TensorRT where it is, else ONNX Runtime on the CPU.',
        choices=('auto', 'tensorrt', 'onnxruntime'),
    )
    require_tensorrt: bool = setting(
        False, 'Fail to configure rather than fall back to the CPU: the setting for production.'
    )
    overrides: tuple[str, ...] = setting(
        (),
        "Build settings of the engine in place of the card's, such as precision=int8, dla.core=0.",
    )
    engine_store: str = setting(
        '', 'Folder of the engines; empty for TRT_ENGINE_STORE, or one in the home folder.'
    )
    builder: str = setting(
        'build_engine',
        'Action that is asked for a missing engine, relative to the namespace of the node; empty '
        'never asks.',
    )
    threads: int = setting(
        0, 'Threads of one CPU inference; 0 lets ONNX Runtime choose.', minimum=0, maximum=256
    )
    pipeline: str = setting(
        'auto',
        'With TensorRT, where images or clouds are prepared and outputs decoded; auto takes the '
        'GPU where it can, else the CPU, and says so.',
        choices=PIPELINES,
    )
    frame_memory: str = setting(
        'auto',
        'Whether the GPU reads images and clouds in the memory of the CPU, or copies of them; auto '
        'reads them in place where the two share their memory, as on a Jetson.',
        choices=tuple(_MAPPED),
    )
    memory_check: str = setting(
        'refuse',
        'What happens with TensorRT if the node will not fit into the free memory: refuse to '
        'configure, or to look at the frames that are too large; or warn, and try.',
        choices=('refuse', 'warn'),
    )
    weight_streaming_mib: int = setting(
        0,
        'Weights of the network that stay on the GPU, in MiB; the others are brought there in each '
        'run, for networks that do not fit. TensorRT 10.1 or later, and an engine that was built '
        'with weight_streaming; 0: all stay.',
        minimum=0, maximum=100_000,
    )  # fmt: skip
    spin_wait: bool = setting(
        False,
        'Wait for the GPU busily: no time to wake up (0.1 to 0.3 ms on an H200), and a core that '
        'does nothing else.',
    )
    cpu_affinity: str = setting(
        '', 'CPU cores of the inference thread, such as 4,5 or 4-7; empty: any.'
    )
    realtime_priority: int = setting(
        0,
        'SCHED_FIFO priority of the inference thread; 0: an ordinary thread.',
        minimum=0,
        maximum=99,
    )
    reliability: str = setting(
        'best_effort',
        'QoS of the subscriptions; best_effort hears every publisher.',
        choices=('best_effort', 'reliable'),
    )
    depth: int = setting(
        1, 'QoS depth of the subscriptions; the newest frame wins anyway.', minimum=1,
        maximum=100,
    )  # fmt: skip
    autostart: bool = setting(True, 'Configure and activate by itself when the node starts.')

    score_threshold: float = setting(
        AS_THE_CARD_SAYS,
        "Least score of a published detection, 0 to 1; -1 takes the card's.",
        minimum=-1.0, maximum=1.0, read_only=False,
    )  # fmt: skip
    nms_iou: float = setting(
        AS_THE_CARD_SAYS,
        "Overlap (IoU) above which the lower-scored box goes, 0 to 1; -1 takes the card's.",
        minimum=-1.0, maximum=1.0, read_only=False,
    )  # fmt: skip
    nms: str = setting(
        'card',
        'Whether boxes of different classes may suppress each other.',
        choices=('card', 'class_wise', 'class_agnostic'), read_only=False,
    )  # fmt: skip
    max_detections: int = setting(
        0, "Most detections in one message; 0 takes the card's.", minimum=0, maximum=10_000,
        read_only=False,
    )  # fmt: skip
    classes: tuple[str, ...] = setting(
        (), 'Publish only these class names; empty publishes all.', read_only=False
    )
    max_age_ms: float = setting(
        0.0,
        'Drop frames whose header stamp is older than this when their turn comes; 0 keeps all.',
        minimum=0.0, read_only=False,
    )  # fmt: skip
    expected_rate_hz: float = setting(
        0.0,
        'Frames per second below 90 % of which diagnostics warn; 0 expects nothing.',
        minimum=0.0, read_only=False,
    )  # fmt: skip
    latency_limit_ms: float = setting(
        0.0,
        'p99 of the time from arrival to published above which diagnostics warn; 0: no limit.',
        minimum=0.0, read_only=False,
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Refuse what no single field can see.

        Raises:
            ConfigError: A value is not allowed, or two fields contradict each other.
        """
        validate(self)
        for name in ('score_threshold', 'nms_iou'):
            value = getattr(self, name)
            if value < 0 and value != AS_THE_CARD_SAYS:
                raise ConfigError(f"{name} is {value}; wanted 0 to 1, or -1 for the card's own")
        self.cores()
        if self.weight_streaming_mib and self.backend == 'onnxruntime':
            raise ConfigError(
                f'weight_streaming_mib is {self.weight_streaming_mib} but backend is onnxruntime, '
                'whose weights are on the CPU; set it to 0, or backend to tensorrt'
            )
        if self.require_tensorrt and self.backend == 'onnxruntime':
            raise ConfigError(
                'require_tensorrt is true but backend is onnxruntime; set backend to auto or '
                'tensorrt, or require_tensorrt to false'
            )

    @abstractmethod
    def streams(self) -> tuple[Stream, ...]:
        """Return the sensors with the topics that they fill."""

    @property
    def mapped(self) -> bool | None:
        """Return `frame_memory` as `cuda.memory.Pool` takes it."""
        return _MAPPED[self.frame_memory]

    def cores(self) -> tuple[int, ...]:
        """Return the CPU cores of the inference thread; none for any.

        Raises:
            ConfigError: `cpu_affinity` is no list of cores.
        """
        chosen: set[int] = set()
        for part in self.cpu_affinity.split(',') if self.cpu_affinity else ():
            match = _CORES.fullmatch(part.strip())
            first, last = match.groups() if match else ('1', '0')
            cores = range(int(first), int(last or first) + 1)
            if not cores or cores[-1] > _MOST_CORES:
                raise ConfigError(
                    f'cpu_affinity is {self.cpu_affinity!r}; wanted cores and ranges of them, such '
                    'as 4,5 or 4-7'
                )
            chosen.update(cores)
        return tuple(sorted(chosen))

    def thresholds(self, card: Card) -> Thresholds:
        """Return the card's thresholds with those that this configuration overrides."""
        chosen = card.thresholds
        if self.score_threshold != AS_THE_CARD_SAYS:
            chosen = replace(chosen, score=self.score_threshold)
        if self.nms_iou != AS_THE_CARD_SAYS:
            chosen = replace(chosen, nms_iou=self.nms_iou)
        if self.nms != 'card':
            chosen = replace(chosen, class_agnostic=self.nms == 'class_agnostic')
        if self.max_detections:
            chosen = replace(chosen, max_detections=self.max_detections)
        return chosen

    def class_filter(self, card: Card) -> frozenset[int] | None:
        """Return the class indices to publish, or None for all.

        Raises:
            ConfigError: A name is not a class of the card.
        """
        if not self.classes:
            return None
        return frozenset(_index_of(name, card.classes) for name in self.classes)


@dataclass(frozen=True)
class Stream:
    """One sensor of a node: its name ('' for a single unnamed one) and the topic that it fills."""

    name: str
    source: str

    def topic(self, name: str) -> str:
        """Return the private topic `name` of this sensor."""
        return f'~/{self.name}/{name}' if self.name else f'~/{name}'


def _index_of(name: str, classes: Sequence[str]) -> int:
    try:
        return classes.index(name)
    except ValueError as exc:
        some = ', '.join(classes[:8]) + (', ...' if len(classes) > 8 else '')
        raise ConfigError(
            f'classes has {name!r}, which the model card does not know; it knows {some}'
        ) from exc
