# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the lidar node is told becomes what is done to clouds, or is refused."""

from __future__ import annotations

import pytest

from trt_engine.errors import ConfigError
from trt_inference.lidar.clouds import CloudOptions
from trt_inference.lidar.config import LidarConfig


def test_by_default_nothing_is_done_to_clouds():
    assert LidarConfig().options() == CloudOptions()
    (stream,) = LidarConfig().streams()
    assert (stream.name, stream.source, stream.topic('stats')) == ('', 'points', '~/stats')


def test_everything_reaches_the_options():
    box = (-1.0, -1.0, -2.0, 3.0, 1.0, 1.0)
    config = LidarConfig(
        self_box_m=box, near_m=1.5, far_m=60.0, ground_offset_m=-0.3, sweeps=4, sweep_age_s=0.5
    )
    assert config.options() == CloudOptions(box, 1.5, 60.0, -0.3, 4, 0.5)


@pytest.mark.parametrize(
    ('memory', 'mapped'), [('auto', None), ('mapped', True), ('copied', False)]
)
def test_the_way_of_clouds_to_the_gpu_is_said_as_for_images(memory, mapped):
    assert LidarConfig(frame_memory=memory).mapped is mapped


@pytest.mark.parametrize(
    ('given', 'text'),
    [
        ({'pipeline': 'dla'}, "pipeline is 'dla'; wanted one of auto, gpu, cpu"),
        ({'self_box_m': (1.0, 2.0)}, 'self_box_m has 2 numbers; wanted lowest x, y, z'),
        ({'self_box_m': (1.0, 0.0, 0.0, -1.0, 1.0, 1.0)}, 'self_box_m is'),
        ({'near_m': 9.0, 'far_m': 8.0}, 'near_m is 9 and far_m is 8'),
        ({'sweeps': 0}, 'sweeps is 0; wanted 1 to 100'),
        ({'fixed_frame': 'odom'}, "fixed_frame is 'odom', and sweeps is 1"),
        ({'score_threshold': -0.5}, 'score_threshold is -0.5; wanted 0 to 1'),
    ],
)
def test_what_cannot_be_is_refused(given, text):
    with pytest.raises(ConfigError, match=text):
        LidarConfig(**given)
