# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What `watch` can be told; the one place with its defaults."""

from __future__ import annotations

from dataclasses import dataclass

from trt_engine.parameters import setting
from trt_engine.parameters import validate


@dataclass(frozen=True)
class WatchConfig:
    """Parameters of the watch node; all are read once, at the start."""

    node: str = setting(
        'inference', 'The inference node to follow; of several cameras, `<node>/<camera>`.'
    )
    points_topic: str = setting(
        '',
        'Of a lidar node, its clouds: they are drawn from above with its boxes, and kept as '
        'overlay; empty: the node sees images.',
    )
    out: str = setting(
        '', 'Folder for the annotated video and the last overlay as PNG; empty for none.'
    )
    video_rate: float = setting(
        15.0, 'Frames per second of that video.', minimum=0.1, maximum=1000.0
    )
    frames: int = setting(0, 'Stop after so many frames; 0 never.', minimum=0)
    idle_timeout_s: float = setting(
        0.0, 'Stop when no frame has come for so long after the first; 0 never.', minimum=0.0
    )
    startup_timeout_s: float = setting(
        60.0, 'Give up when no first frame has come for so long; 0 never.', minimum=0.0
    )
    reliability: str = setting(
        'reliable',
        'QoS of the subscriptions; best_effort hears every publisher but may miss frames.',
        choices=('reliable', 'best_effort'),
    )

    def __post_init__(self) -> None:
        """Refuse what is not allowed.

        Raises:
            ConfigError: Names field, value, and what is wanted.
        """
        validate(self)
