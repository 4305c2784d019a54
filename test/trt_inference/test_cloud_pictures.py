# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Clouds and boxes of one stamp make a picture, in whichever order they come."""

from __future__ import annotations

import numpy as np

from trt_inference.cdr import serialize_points
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.watch.cloud_pictures import CloudPictures

POINTS = np.array([[10, 0, -1], [0, 10, 1]], np.float32)


def cloud(stamp_ns):
    return serialize_points(stamp_ns, 'lidar', POINTS, ('x', 'y', 'z'))


def boxes(pictures, stamp_ns, frame='lidar'):
    return pictures.add_boxes(stamp_ns, frame, Boxes3d.none(), ('car',))


def test_either_may_come_first():
    pictures = CloudPictures()
    assert pictures.add_cloud(cloud(1)) is None
    first = boxes(pictures, 1)
    assert boxes(pictures, 2) is None
    second = pictures.add_cloud(cloud(2))
    assert first is not None
    assert (first == second).all()
    assert first.max() == 255
    assert boxes(pictures, 1) is None, 'a cloud is drawn once'


def test_points_of_another_frame_than_the_boxes_are_not_drawn():
    pictures = CloudPictures()
    pictures.add_cloud(cloud(1))
    pictures.add_cloud(cloud(2))
    with_points, without = boxes(pictures, 1), boxes(pictures, 2, 'map')
    assert (with_points != without).any(axis=2).sum() == len(POINTS)


def test_what_finds_no_partner_is_forgotten_after_a_while():
    pictures = CloudPictures()
    for stamp_ns in range(40):
        pictures.add_cloud(cloud(stamp_ns))
    assert boxes(pictures, 9) is None
    assert boxes(pictures, 10) is not None
