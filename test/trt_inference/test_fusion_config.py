# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the fusion node is told becomes rules and a transform, or is refused."""

from __future__ import annotations

import numpy as np
import pytest

from trt_engine.errors import ConfigError
from trt_inference.fusion.association import Rules
from trt_inference.fusion.config import FusionConfig

OPTICAL = (0.5, -0.5, 0.5, 0.5)


def test_everything_reaches_the_rules():
    config = FusionConfig(
        min_iou=0.4, max_center_distance=0.5, label_groups=('Car=Van',), score='mean',
        publish_unmatched=False, near_m=0.5,
    )  # fmt: skip
    assert config.rules() == Rules(0.4, 0.5, {'car': frozenset({'van'})}, 'mean', False, 0.5)


def test_the_labels_of_our_lidar_network_go_with_those_of_coco():
    table = (
        FusionConfig()
        .rules()
        .compatible(
            ['person', 'bicycle', 'car', 'truck', 'bus', 'dog'],
            ['pedestrian', 'cyclist', 'car', 'truck'],
        )
    )
    assert table.astype(int).tolist() == [
        [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0],
    ]  # fmt: skip


def test_seven_zeros_ask_tf_and_seven_numbers_do_not():
    assert FusionConfig().transform() is None
    matrix = FusionConfig(extrinsic=(1.0, 2.0, 3.0, *OPTICAL)).transform()
    np.testing.assert_allclose(
        matrix, [[0, -1, 0, 1], [0, 0, -1, 2], [1, 0, 0, 3], [0, 0, 0, 1]], atol=1e-12
    )


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        ({'extrinsic': (1.0, 2.0)}, r'extrinsic is \[1.0, 2.0\]; wanted x y z, then a quaternion'),
        ({'extrinsic': (1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0)}, 'or seven zeros'),
        ({'extrinsic': (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0)}, 'a quaternion x y z w of length 1'),
        ({'extrinsic': (float('nan'),) * 7}, r'extrinsic\[0\] is nan; wanted a finite number'),
        (
            {'extrinsic': (0.0, 0.0, 0.0, *OPTICAL), 'fixed_frame': 'odom'},
            "extrinsic is set and fixed_frame is 'odom', to which only TF leads",
        ),
        ({'label_groups': ('car',)}, "label_groups has 'car'; wanted the label of the image"),
        ({'min_iou': 1.5}, 'min_iou is 1.5; wanted 0 to 1'),
        ({'near_m': 0.0}, 'near_m is 0.0; wanted 0.001 to 100'),
        ({'score': 'sum'}, "score is 'sum'; wanted one of greater, mean, product, image, lidar"),
        ({'tolerance_ms': -1.0}, 'tolerance_ms is -1.0; wanted 0 to 10000'),
        ({'history': 0}, 'history is 0; wanted 1 to 10000'),
    ],
)
def test_what_cannot_be_is_refused(given, words):
    with pytest.raises(ConfigError, match=words):
        FusionConfig(**given)
