# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the lidar node can be told; the one place with its defaults."""

from __future__ import annotations

from dataclasses import dataclass

from trt_engine.errors import ConfigError
from trt_engine.parameters import setting
from trt_inference.detector.config import DetectorConfig
from trt_inference.detector.config import Stream
from trt_inference.lidar.clouds import CloudOptions
from trt_inference.lidar.clouds import Corners

_NO_BOX = (0.0,) * 6


@dataclass(frozen=True)
class LidarConfig(DetectorConfig):
    """Parameters of the lidar node; those not read-only may change while it runs."""

    card: str = setting('demo_lidar', 'Model card: a name in config/models, or a path of a card.')
    points_topic: str = setting('points', 'Topic of sensor_msgs/PointCloud2.')
    target_frame: str = setting(
        '', 'Frame to which TF takes the points, and of the boxes; empty: that of the cloud.'
    )
    fixed_frame: str = setting(
        '',
        'Frame that does not move, such as odom, through which TF takes earlier sweeps to where '
        'they are seen now; empty: the vehicle stands.',
    )
    tf_timeout_ms: float = setting(
        50.0, 'Longest wait for a transform before a cloud counts as unusable.', minimum=0.0,
        maximum=10_000.0,
    )  # fmt: skip
    sweeps: int = setting(
        1, 'Sweeps that the network sees at once: the newest, and those before it.', minimum=1,
        maximum=100,
    )  # fmt: skip
    sweep_age_s: float = setting(
        1.0, 'Earlier sweeps count while they are not older than this.', minimum=0.001,
        maximum=60.0,
    )  # fmt: skip
    self_box_m: tuple[float, ...] = setting(
        _NO_BOX,
        'Lowest x, y, z, then highest, in the frame of the boxes: points within are of the '
        'vehicle itself, and cut away; six zeros: none.',
    )
    near_m: float = setting(
        0.0, 'Points nearer than this, seen from above, are cut away.', minimum=0.0
    )
    far_m: float = setting(
        0.0, 'Points farther than this, seen from above, are cut away; 0: none.', minimum=0.0
    )
    ground_offset_m: float = setting(
        0.0,
        'Added to z for the network: height of the origin above the ground, less that of the '
        'sensor that the network was trained with.',
        minimum=-100.0, maximum=100.0,
    )  # fmt: skip
    marker_lifetime_s: float = setting(
        0.5, 'How long a viewer shows ~/markers; 0: until the next.', minimum=0.0, maximum=3600.0
    )

    def __post_init__(self) -> None:
        """Refuse what no single field can see.

        Raises:
            ConfigError: A value is not allowed, or two fields contradict each other.
        """
        super().__post_init__()
        self.options()
        if self.fixed_frame and self.sweeps == 1:
            raise ConfigError(
                f'fixed_frame is {self.fixed_frame!r}, and sweeps is 1, so that there is nothing '
                'to move; set sweeps, or fixed_frame to nothing'
            )

    def streams(self) -> tuple[Stream, ...]:
        """Return the one lidar."""
        return (Stream('', self.points_topic),)

    def options(self) -> CloudOptions:
        """Return what is done to each cloud.

        Raises:
            ConfigError: The box or the range is none.
        """
        return CloudOptions(
            self_box_m=self._box(),
            near_m=self.near_m,
            far_m=self.far_m or None,
            ground_offset_m=self.ground_offset_m,
            sweeps=self.sweeps,
            sweep_age_s=self.sweep_age_s,
        )

    def _box(self) -> Corners | None:
        box = self.self_box_m
        if len(box) != 6:
            raise ConfigError(
                f'self_box_m has {len(box)} numbers; wanted lowest x, y, z, then highest x, y, z'
            )
        return None if box == _NO_BOX else (box[0], box[1], box[2], box[3], box[4], box[5])
