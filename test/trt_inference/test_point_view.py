# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Point clouds are read in place as their bytes say, or refused with the numbers."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
import random
import struct
import warnings

from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies as st
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.typesys import get_typestore
from rosbags.typesys import Stores

from trt_engine.errors import PointsError
from trt_engine.lidar.pillars import Pillarizer
from trt_engine.lidar_card import PointsInput
from trt_inference.lidar.birds_eye import draw
from trt_inference.lidar.birds_eye import places
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.point_view import high_intensity
from trt_inference.lidar.point_view import PointReader
from trt_inference.lidar.point_view import view_points

pytestmark = pytest.mark.slow

STORE = get_typestore(Stores.ROS2_HUMBLE)
TYPES = STORE.types
KIND = 'sensor_msgs/msg/PointCloud2'
CODES = {'i1': 1, 'u1': 2, 'i2': 3, 'u2': 4, 'i4': 5, 'u4': 6, 'f4': 7, 'f8': 8}
SPEC = PointsInput('voxels', (0, -40, -3, 70, 40, 1), (0.16, 0.16, 4), 32, 10_000, 'pillar10')

# The fields of drivers in the field: name, offset, type; then the bytes of a point.
LAYOUTS = {
    'plain': ('x 0 f4, y 4 f4, z 8 f4, intensity 12 f4', 16),
    'livox': (
        'x 0 f4, y 4 f4, z 8 f4, intensity 12 f4, tag 16 u1, line 17 u1, timestamp 18 f8',
        26,
    ),
    'velodyne': ('x 0 f4, y 4 f4, z 8 f4, intensity 12 f4, ring 16 u2, time 18 f4', 22),
    'ouster': (
        'x 0 f4, y 4 f4, z 8 f4, intensity 16 f4, t 20 u4, reflectivity 24 u2, ring 26 u2, '
        'ambient 28 u2, range 32 u4',
        48,
    ),
    'hesai': ('x 0 f4, y 4 f4, z 8 f4, intensity 16 u1, ring 18 u2, timestamp 24 f8', 32),
    'backwards': ('intensity 0 u2, z 4 f8, y 12 f8, x 20 f8', 28),
}


def fields_of(layout):
    text, point_step = LAYOUTS[layout]
    return [
        (n, int(offset), kind) for n, offset, kind in map(str.split, text.split(','))
    ], point_step


def cloud(
    layout='plain', values=None, *, rows=1, padding=0, big_endian=False, little=True, frame='lidar',
    **changes,
):  # fmt: skip
    """Return a message by a serializer that is not ours; `values`: field -> (height, width)."""
    fields, point_step = fields_of(layout)
    if values is None:
        values = {name: np.arange(1, 7) for name, _, _ in fields}
    shaped = {name: np.reshape(column, (rows, -1)) for name, column in values.items()}
    width = next(iter(shaped.values())).shape[1]
    row_step = width * point_step + padding
    data = np.full((rows, row_step), 0xA5, np.uint8)
    for name, offset, kind in fields:
        dtype = np.dtype(kind).newbyteorder('>' if big_endian else '<')
        for place in range(width):
            start = place * point_step + offset
            column = shaped[name][:, place : place + 1].astype(dtype)
            data[:, start : start + dtype.itemsize] = column.view(np.uint8)
    field = TYPES['sensor_msgs/msg/PointField']
    message = TYPES[KIND](
        TYPES['std_msgs/msg/Header'](TYPES['builtin_interfaces/msg/Time'](12, 345), frame),
        rows,
        width,
        [field(name, offset, CODES[kind], 1) for name, offset, kind in fields],
        big_endian,
        point_step,
        row_step,
        data.ravel(),
        True,
    )
    for name, value in changes.items():
        message = replace(message, **{name: value})
    return bytes(STORE.serialize_cdr(message, KIND, little_endian=little))


def point_field(name, offset, datatype=7, count=1):
    return TYPES['sensor_msgs/msg/PointField'](name, offset, datatype, count)


XYZ = [point_field(name, place * 4) for place, name in enumerate('xyz')]


@pytest.mark.parametrize('little', [True, False])
@pytest.mark.parametrize('big_endian', [True, False])
@pytest.mark.parametrize(('height', 'padding'), [(1, 0), (1, 5), (2, 0), (3, 7)])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_every_layout_is_viewed_in_place(layout, height, padding, big_endian, little):
    fields, point_step = fields_of(layout)
    values = {name: np.arange(6) * 3 + place for place, (name, _, _) in enumerate(fields)}
    message = cloud(
        layout, values, rows=height, padding=padding, big_endian=big_endian, little=little
    )
    for serialized in (message, memoryview(message)):
        view = view_points(serialized)
        assert (view.stamp_sec, view.stamp_nanosec, view.frame_id) == (12, 345, 'lidar')
        assert (view.width, view.height, len(view)) == (6 // height, height, 6)
        assert view.point_step == point_step
        assert view.is_dense
        assert list(view.columns) == [name for name, _, _ in fields]
        for name, _, kind in fields:
            column = view.columns[name]
            assert column.dtype.newbyteorder('=') == np.dtype(kind)
            np.testing.assert_array_equal(column, values[name].reshape(height, -1))
            assert np.shares_memory(column, np.frombuffer(message, np.uint8))


@pytest.mark.parametrize('height', [1, 2])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_points_have_the_order_that_the_card_wants(layout, height):
    points = PointReader(SPEC)(view_points(cloud(layout, rows=height, padding=3)))
    assert (points.shape, points.dtype) == ((6, 4), np.float32)
    np.testing.assert_array_equal(points, np.repeat(np.arange(1, 7), 4).reshape(6, 4))


@pytest.mark.parametrize(('layout', 'scale'), [('hesai', 1 / 255), ('backwards', 1 / 65535)])
def test_intensity_is_scaled(layout, scale):
    top = round(1 / scale)
    values = {name: np.array([5, 6]) for name, _, _ in fields_of(layout)[0]}
    values['intensity'] = np.array([0, top])
    reader = PointReader(replace(SPEC, intensity_scale=scale))
    assert reader(view_points(cloud(layout, values)))[:, 3].tolist() == [0, 1]


@pytest.mark.parametrize(
    ('layout', 'changes', 'high'),
    [
        ('plain', {}, 99.0),
        ('ouster', {'fields': {'intensity': 'reflectivity'}, 'intensity_scale': 0.5}, 49.5),
        ('backwards', {}, 99.0),
        ('plain', {'channels': ('time_lag',)}, None),
        ('plain', {'fields': {'intensity': 'reflectivity'}}, None),
    ],
)
def test_the_intensities_of_nearly_all_points_stay_below_a_number(layout, changes, high):
    values = {name: np.arange(101) for name, _, _ in fields_of(layout)[0]}
    view = view_points(cloud(layout, values, big_endian=layout == 'backwards'))
    assert high_intensity(view, replace(SPEC, **changes)) == high


def test_what_is_no_number_has_no_intensity_and_a_large_cloud_is_looked_at_in_places():
    values = {name: np.arange(3.0) for name in ('x', 'y', 'z', 'intensity')}
    nothing = values | {'intensity': np.full(3, np.nan)}
    assert high_intensity(view_points(cloud(values=nothing)), SPEC) is None
    assert (
        high_intensity(view_points(cloud(width=0, height=0, data=np.zeros(0, np.uint8))), SPEC)
        is None
    )
    many = {name: np.tile(np.arange(10.0), 1000) for name in values}
    many['intensity'][1::3] = 7e9  # between those that are looked at
    assert high_intensity(view_points(cloud(values=many)), SPEC) == 9


def test_another_field_may_hold_the_intensity_and_time_lag_comes_with_the_sweep():
    values = {name: np.array([5, 6]) for name, _, _ in fields_of('ouster')[0]}
    values |= {'reflectivity': np.array([51, 255]), 'ring': np.array([3, 4])}
    spec = replace(
        SPEC, channels=('intensity', 'time_lag', 'ring'), intensity_scale=1 / 255,
        fields={'intensity': 'reflectivity'},
    )  # fmt: skip
    points = PointReader(spec)(view_points(cloud('ouster', values)), time_lag_s=0.5)
    np.testing.assert_allclose(points[:, 3:], [[0.2, 0.5, 3], [1, 0.5, 4]], rtol=1e-6)


@pytest.mark.parametrize('layout', ['plain', 'livox'])
def test_a_missing_field_is_explained_unless_the_card_allows_a_default(layout):
    view = view_points(cloud(layout))
    spec = replace(SPEC, channels=('intensity', 'ring'))
    text = r"no field 'ring', which the network needs as ring; it has: x, y, z, intensity.*missing"
    with pytest.raises(PointsError, match=text):
        PointReader(spec)(view)
    points = PointReader(replace(spec, missing={'ring': 7.0}))(view)
    assert points[:, 4].tolist() == [7] * 6


def test_a_cloud_without_intensity_gets_the_default_unscaled():
    fields = [point_field('z', 0), point_field('y', 4), point_field('x', 8)]
    data = np.array([3, 2, 1], '<f4').view(np.uint8)
    message = cloud(fields=fields, point_step=12, width=1, row_step=12, data=data)
    spec = replace(SPEC, missing={'intensity': 0.25}, intensity_scale=1 / 255)
    assert PointReader(spec)(view_points(message)).tolist() == [[1, 2, 3, 0.25]]
    no_x = cloud(fields=fields[:2], point_step=12, width=1, row_step=12, data=data)
    with pytest.raises(PointsError, match="no field 'x'; it has: z, y"):
        PointReader(spec)(view_points(no_x))


@pytest.mark.parametrize('height', [1, 2])
@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('field', ['x', 'z', 'intensity'])
def test_points_that_are_no_measurement_are_dropped_and_counted(field, bad, height):
    values = {name: np.arange(1.0, 9.0) for name in ('x', 'y', 'z', 'intensity')}
    values[field][[0, 5]] = bad
    for name in 'xyz':
        values[name][7] = 0
    reader = PointReader(SPEC)
    points = reader(view_points(cloud('plain', values, rows=height)))
    np.testing.assert_array_equal(points[:, 0], [2, 3, 4, 5, 7])
    assert reader.dropped == 3
    reader(view_points(cloud('plain')))
    assert reader.dropped == 0


def test_numbers_beyond_float32_are_dropped_in_silence():
    values = {name: np.array([1.0, 1e300]) for name in ('x', 'y', 'z')} | {'intensity': [1, 2]}
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        points = PointReader(SPEC)(view_points(cloud('backwards', values)))
    assert points.tolist() == [[1, 1, 1, 1]]


@pytest.mark.parametrize(('height', 'width'), [(1, 0), (0, 1), (0, 0), (2**32 - 1, 0)])
@pytest.mark.parametrize('step', [0, 16])
def test_an_empty_cloud_has_no_points(height, width, step):
    changes = {'height': height, 'width': width, 'point_step': step, 'row_step': width * step}
    fields = {'fields': []} if step == 0 else {}
    view = view_points(cloud(data=np.zeros(0, np.uint8), **changes, **fields))
    assert len(view) == 0
    if step:
        assert PointReader(SPEC)(view).shape == (0, 4)


def test_one_row_may_have_any_row_step_and_more_data_than_it_needs():
    for row_step in (0, 1, 2**32 - 1):
        assert len(PointReader(SPEC)(view_points(cloud(row_step=row_step)))) == 6
    assert len(view_points(cloud(data=np.zeros(999, np.uint8)))) == 6


def test_fields_of_several_numbers_are_left_out():
    fields = [*XYZ, point_field('normal', 0, count=4), point_field('w', 12, count=0)]
    assert list(view_points(cloud(fields=fields)).columns) == ['x', 'y', 'z', 'w']


def test_buffers_are_used_again():
    reader = PointReader(SPEC)
    first = reader(view_points(cloud(values=dict.fromkeys(LAYOUT_NAMES, np.ones(50)))))
    second = reader(view_points(cloud()))
    assert np.shares_memory(first, second)


LAYOUT_NAMES = ('x', 'y', 'z', 'intensity')


@pytest.mark.parametrize(
    ('message', 'text'),
    [
        (b'', 'has 0 bytes, not even an encapsulation'),
        (cloud()[:-1], 'ends within is_dense'),
        (cloud()[:60], 'ends within'),
        (cloud() + bytes(4), '4 bytes follow is_dense; wanted at most 3'),
        (
            cloud(point_step=12),
            "field 'intensity' ends at byte 16 of a point, but point_step is 12",
        ),
        (
            cloud(row_step=5, height=2, width=3),
            r'row_step 5 is too short: width 3 \* point_step 16 ',
        ),
        (cloud(width=7), r'= 112 bytes of data \(width 7, height 1, point_step 16\), got 96'),
        (cloud(width=2**31, height=2**31), 'points; wanted at most 16000000'),
        (cloud(fields=[point_field('x', 0, 9)]), "'x' has datatype 9; wanted 1"),
        (cloud(fields=[point_field('x', 0, 0)]), "'x' has datatype 0; wanted 1"),
        (cloud(fields=[*XYZ, XYZ[0]]), "two fields 'x'"),
        (cloud(fields=XYZ * 30), 'declares 90 fields; wanted at most 64'),
        (cloud(fields=[point_field('x', 2**32 - 4)]), 'ends at byte 4294967296 of a point'),
        (cloud(fields=[point_field('x', 0, 7, 2**32 - 1)]), 'ends at byte 17179869180 of a point'),
    ],
)
def test_lies_are_refused_with_the_numbers(message, text):
    with pytest.raises(PointsError, match=text):
        view_points(message)


def test_every_truncation_is_refused():
    whole = cloud('ouster', rows=2)
    for length in range(len(whole)):
        with pytest.raises(PointsError):
            view_points(whole[:length])


@pytest.mark.slow
def test_two_million_points_are_read():
    count = 2_000_000
    data = np.random.default_rng(1).normal(0, 30, (count, 4)).astype('<f4')
    message = cloud(data=data.view(np.uint8).ravel(), width=count, row_step=count * 16)
    np.testing.assert_array_equal(PointReader(SPEC)(view_points(message)), data)


@pytest.mark.slow
def test_recorded_clouds_are_read(data):
    with AnyReader([data / 'bags' / 'permissive_mix_db3'], default_typestore=STORE) as reader:
        clouds = [c for c in reader.connections if c.msgtype == KIND]
        messages = [(raw, reader.deserialize(raw, KIND)) for _, _, raw in reader.messages(clouds)]
    assert messages
    for raw, message in messages:
        view = view_points(raw)
        assert len(view) == message.width * message.height
        table = message.data.reshape(-1, message.point_step)
        for field in message.fields:
            size = view.columns[field.name].itemsize
            column = np.ascontiguousarray(table[:, field.offset : field.offset + size])
            assert view.columns[field.name].tobytes() == column.tobytes()
        points = PointReader(replace(SPEC, missing={'intensity': 0.0}))(view)
        assert np.isfinite(points).all()


CLOUDS = [
    cloud(layout, rows=height, padding=padding, big_endian=big, little=little)
    for layout in LAYOUTS
    for height, padding, big, little in ((1, 0, False, True), (2, 5, True, False))
]
# near as the numbers of these clouds are, so that pillars and their limits are met
PILLARIZE = Pillarizer(
    PointsInput(
        'voxels', (0, 0, 0, 8, 8, 8), (1, 1, 8), 2, 3, 'pillar10', missing={'intensity': 0.0}
    )
)
NUMBERS = (0, 1, 2, 3, 4, 7, 255, 65535, 2**31 - 1, 2**31, 2**32 - 4, 2**32 - 1)


def mutated(message, chance):
    """Return the message with a few bytes flipped, numbers replaced, parts cut or repeated."""
    out = bytearray(message)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(out) + 1)
        match chance.randrange(5):
            case 0:
                del out[place:]
            case 1:
                out[place:place] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 9)))
            case 2 if len(out) >= 4:
                place = place // 4 * 4
                number = struct.pack(chance.choice('<>') + 'I', chance.choice(NUMBERS))
                out[place : place + 4] = number
            case 3 if place < len(out):
                out[place] ^= 1 << chance.randrange(8)
            case _:
                out[place : place + chance.randint(1, 8)] = b''
    return bytes(out)


def survives(seed):
    chance = random.Random(seed)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with suppress(PointsError):
            view = view_points(mutated(chance.choice(CLOUDS), chance))
            points = PointReader(replace(SPEC, missing={'intensity': 0.0}))(view)
            assert np.isfinite(points).all()
            pillars = PILLARIZE(points)
            counts = pillars.counts
            parts = (counts.outside, counts.over_points, counts.over_voxels, counts.kept)
            assert sum(parts) == counts.points == len(points)
            assert np.isfinite(pillars.features).all()
            assert draw(places(view), Boxes3d.none(), (), pixels=40).shape == (40, 40, 3)


FUZZ = {'deadline': 5000, 'suppress_health_check': list(HealthCheck)}


@settings(max_examples=300, **FUZZ)
@given(st.integers(0, 2**32))
def test_mutated_clouds_are_read_or_refused(seed):
    survives(seed)


@pytest.mark.slow
@settings(max_examples=10_000, **FUZZ)
@given(st.integers(0, 2**32))
def test_ten_thousand_mutated_clouds_are_read_or_refused(seed):
    survives(seed)


@settings(max_examples=200, **FUZZ)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    for message in (data, b'\x00\x01\x00\x00' + data):
        with suppress(PointsError):
            view_points(message)
