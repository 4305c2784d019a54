# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the fusion node can be told; the one place with its defaults."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trt_engine.backend import Array
from trt_engine.errors import ConfigError
from trt_engine.parameters import setting
from trt_engine.parameters import validate
from trt_inference.fusion.association import read_groups
from trt_inference.fusion.association import Rules
from trt_inference.fusion.association import SCORES
from trt_inference.rigid import is_turn
from trt_inference.rigid import transform

_ASK_TF = (0.0,) * 7


@dataclass(frozen=True)
class FusionConfig:
    """Parameters of the fusion node; all are read once, at the start."""

    image_detections_topic: str = setting(
        'inference/detections', 'Topic of what is seen in images, vision_msgs/Detection2DArray.'
    )
    lidar_detections_topic: str = setting(
        'lidar_inference/detections',
        'Topic of what is seen in clouds, vision_msgs/Detection3DArray.',
    )
    camera_info_topic: str = setting(
        'camera_info', 'Topic of the calibration of the camera, sensor_msgs/CameraInfo.'
    )
    rectified: bool = setting(
        False,
        'Whether the images are rectified: then P of CameraInfo holds, else K and the distortion.',
    )
    extrinsic: tuple[float, ...] = setting(
        _ASK_TF,
        'Takes a point from the frame of the boxes to the optical frame of the camera: x y z in '
        'metres, then the quaternion x y z w; seven zeros ask TF.',
    )
    fixed_frame: str = setting(
        '',
        'Frame that does not move, such as odom, through which TF takes boxes to when the image '
        'was taken; empty: the vehicle stands.',
    )
    tf_timeout_ms: float = setting(
        50.0, 'Longest wait for a transform before a pair counts as unusable.', minimum=0.0,
        maximum=10_000.0,
    )  # fmt: skip
    tolerance_ms: float = setting(
        50.0, 'Most that the header stamps of image and cloud may differ.', minimum=0.0,
        maximum=10_000.0,
    )  # fmt: skip
    wait_ms: float = setting(
        50.0,
        'How long boxes wait for a nearer image where there is one within tolerance_ms already.',
        minimum=0.0, maximum=10_000.0,
    )  # fmt: skip
    history: int = setting(
        50, 'Most messages of each topic that wait for those of the other.', minimum=1,
        maximum=10_000,
    )  # fmt: skip
    near_m: float = setting(
        0.1, 'What is nearer to the plane of the camera, or behind it, is not seen.',
        minimum=0.001, maximum=100.0,
    )  # fmt: skip
    min_iou: float = setting(
        0.3, 'Least overlap (IoU) of a projected box with its partner in the image.',
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
    max_center_distance: float = setting(
        0.0,
        'Boxes that overlap less are partners too when their centres are at most this far apart, '
        'in diagonals of the box in the image; 0: never.',
        minimum=0.0, maximum=10.0,
    )  # fmt: skip
    label_groups: tuple[str, ...] = setting(
        (
            'person=pedestrian,cyclist', 'bicycle=cyclist', 'motorcycle=cyclist', 'bus=truck',
            'car=van', 'truck=van',
        ),
        'Which labels of the lidar may be a label of the image: image=lidar,lidar; * is any; equal '
        'ones always may, and upper and lower case are one.',
    )  # fmt: skip
    score: str = setting(
        'greater',
        'Score of a pair: the greater of the two, their mean, their product, or one of them.',
        choices=tuple(SCORES),
    )
    publish_unmatched: bool = setting(
        True, 'Publish boxes without a partner too, with the label and score of the lidar.'
    )
    expected_rate_hz: float = setting(
        0.0, 'Pairs per second below 90 % of which diagnostics warn; 0 expects nothing.',
        minimum=0.0,
    )  # fmt: skip
    min_matched_percent: float = setting(
        0.0,
        'Diagnostics warn when fewer of the boxes that the camera can see have a partner; 0: '
        'never.',
        minimum=0.0, maximum=100.0,
    )  # fmt: skip
    reliability: str = setting(
        'best_effort',
        'QoS of the subscriptions; best_effort hears every publisher.',
        choices=('best_effort', 'reliable'),
    )

    def __post_init__(self) -> None:
        """Refuse what is not allowed.

        Raises:
            ConfigError: Names field, value, and what is wanted.
        """
        validate(self)
        self.rules()
        if self.transform() is not None and self.fixed_frame:
            raise ConfigError(
                f'extrinsic is set and fixed_frame is {self.fixed_frame!r}, to which only TF '
                'leads; set one of them'
            )

    def rules(self) -> Rules:
        """Return what belongs together.

        Raises:
            ConfigError: `label_groups` has an entry that is none.
        """
        return Rules(
            min_iou=self.min_iou,
            max_center_distance=self.max_center_distance,
            groups=read_groups(self.label_groups),
            score=self.score,
            unmatched=self.publish_unmatched,
            near_m=self.near_m,
        )

    def transform(self) -> Array | None:
        """Return `extrinsic` as 4x4 float64; None where TF is to be asked.

        Raises:
            ConfigError: It is not seven numbers that turn and shift.
        """
        numbers = np.array(self.extrinsic, np.float64)
        if len(numbers) != len(_ASK_TF) or (numbers.any() and not is_turn(numbers[3:])):
            raise ConfigError(
                f'extrinsic is {list(self.extrinsic)}; wanted x y z, then a quaternion x y z w of '
                'length 1, or seven zeros'
            )
        return transform(numbers[:3], numbers[3:]) if numbers.any() else None
