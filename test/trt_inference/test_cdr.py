# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Our images and clouds, read back by an independent deserializer."""

from __future__ import annotations

import numpy as np
import pytest
from rosbags.typesys import get_typestore
from rosbags.typesys import Stores

from trt_engine.errors import ImageError
from trt_engine.errors import PointsError
from trt_inference.cdr import read_stamp_ns
from trt_inference.cdr import restamp
from trt_inference.cdr import serialize_compressed_image
from trt_inference.cdr import serialize_image
from trt_inference.cdr import serialize_points
from trt_inference.lidar.point_view import view_points

STAMP_NS = 1_700_000_000_123_456_789
FRAMES = ['', 'c', 'cam', 'camera', 'optical_frame', 'Kamera vorn: grün']


@pytest.fixture(scope='module')
def types():
    return get_typestore(Stores.ROS2_JAZZY)


@pytest.mark.parametrize('frame_id', FRAMES)
@pytest.mark.parametrize('shape', [(1, 1, 3), (3, 5, 3), (48, 64, 3)])
def test_image_reads_back(types, frame_id, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    serialized = serialize_image(STAMP_NS, frame_id, pixels)
    got = types.deserialize_cdr(serialized, 'sensor_msgs/msg/Image')
    assert (got.header.stamp.sec, got.header.stamp.nanosec) == (1_700_000_000, 123_456_789)
    assert got.header.frame_id == frame_id
    assert (got.height, got.width, got.step) == (shape[0], shape[1], shape[1] * 3)
    assert (got.encoding, got.is_bigendian) == ('bgr8', 0)
    assert np.array_equal(got.data.reshape(shape), pixels)
    assert bytes(types.serialize_cdr(got, 'sensor_msgs/msg/Image')).startswith(serialized)


def test_image_takes_a_view_with_gaps(types):
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)[::2, ::-1]
    got = types.deserialize_cdr(serialize_image(0, 'c', pixels), 'sensor_msgs/msg/Image')
    assert np.array_equal(got.data.reshape(2, 6, 3), pixels)


@pytest.mark.parametrize(
    'pixels',
    [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2, 3), np.uint16)],
)
def test_image_refuses_other_arrays(pixels):
    with pytest.raises(ImageError, match='wanted uint8 of shape'):
        serialize_image(0, 'c', pixels)


@pytest.mark.parametrize('frame_id', FRAMES)
@pytest.mark.parametrize('format', ['jpeg', 'png'])
def test_compressed_image_reads_back(types, frame_id, format):
    data = bytes(range(7))
    serialized = serialize_compressed_image(STAMP_NS, frame_id, format, data)
    got = types.deserialize_cdr(serialized, 'sensor_msgs/msg/CompressedImage')
    assert got.header.stamp.sec * 10**9 + got.header.stamp.nanosec == STAMP_NS
    assert (got.header.frame_id, got.format, got.data.tobytes()) == (frame_id, format, data)


@pytest.mark.parametrize('frame_id', FRAMES)
@pytest.mark.parametrize('fields', [('x', 'y', 'z'), ('x', 'y', 'z', 'intensity', 'ring'), ()])
@pytest.mark.parametrize('count', [0, 1, 7])
def test_cloud_reads_back(types, frame_id, fields, count):
    kind = 'sensor_msgs/msg/PointCloud2'
    points = np.random.default_rng(0).normal(size=(count, len(fields))).astype(np.float32)
    serialized = serialize_points(STAMP_NS, frame_id, points, fields)
    got = types.deserialize_cdr(serialized, kind)
    assert got.header.stamp.sec * 10**9 + got.header.stamp.nanosec == STAMP_NS
    assert (got.header.frame_id, got.height, got.width) == (frame_id, 1, count)
    assert [(f.name, f.offset, f.datatype, f.count) for f in got.fields] == [
        (name, 4 * place, 7, 1) for place, name in enumerate(fields)
    ]
    size = 4 * len(fields)
    assert (got.point_step, got.row_step) == (size, size * count)
    assert (got.is_bigendian, got.is_dense) == (False, True)
    assert got.data.tobytes() == points.tobytes()
    assert bytes(types.serialize_cdr(got, kind)).startswith(serialized)


def test_cloud_is_what_we_read_ourselves_nan_and_all():
    points = np.array([[1, 2, 3, 0.5], [np.nan, 0, 0, 0]], np.float32).T.copy().T
    view = view_points(serialize_points(STAMP_NS, 'lidar', points, ('x', 'y', 'z', 'intensity')))
    assert (view.stamp_sec, view.stamp_nanosec) == (1_700_000_000, 123_456_789)
    assert not view.is_dense
    read = np.concatenate([view.columns[name] for name in ('x', 'y', 'z', 'intensity')]).T
    assert read.tobytes() == points.tobytes()


@pytest.mark.parametrize(
    'points', [np.zeros((2, 3), np.float32), np.zeros((2, 4)), np.zeros(4, np.float32)]
)
def test_cloud_refuses_other_arrays(points):
    with pytest.raises(PointsError, match=r'of shape .* wanted float32 of shape \(points, 4\)'):
        serialize_points(0, 'lidar', points, ('x', 'y', 'z', 'intensity'))


@pytest.mark.parametrize('little_endian', [True, False])
@pytest.mark.parametrize('new_ns', [0, 1, STAMP_NS, 2**31 * 10**9 - 1, -1])
def test_restamp_changes_the_stamp_and_nothing_else(types, little_endian, new_ns):
    kind = 'sensor_msgs/msg/CompressedImage'
    message = types.deserialize_cdr(serialize_compressed_image(5, 'cam', 'png', b'abc'), kind)
    before = bytes(types.serialize_cdr(message, kind, little_endian=little_endian))
    after = restamp(before, new_ns)
    assert read_stamp_ns(before) == 5
    assert read_stamp_ns(after) == new_ns
    assert (after[:4], after[12:]) == (before[:4], before[12:])
    assert types.deserialize_cdr(after, kind).header.frame_id == 'cam'


@pytest.mark.parametrize('length', [0, 1, 4, 11])
def test_a_message_without_room_for_a_stamp_is_refused(length):
    for act in (read_stamp_ns, lambda message: restamp(message, 0)):
        with pytest.raises(ImageError, match=f'a message of {length} bytes has no header'):
            act(bytes(length))


def test_a_stamp_that_does_not_fit_is_refused():
    with pytest.raises(ImageError, match='does not fit a stamp of 32-bit seconds'):
        restamp(bytes(12), 2**31 * 10**9)
