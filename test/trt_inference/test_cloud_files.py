# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Clouds in files are read whole, or refused with file, numbers and what is wanted."""

from __future__ import annotations

import numpy as np
import pytest

from trt_engine.errors import SourceError
from trt_inference.replay.cloud_files import read_cloud

ROWS = np.array([[1.5, -2, 3, 7], [4, 5, -6.25, 255]], np.float32)
HEADER = """# .PCD v0.7 - Point Cloud Data file format
VERSION 0.7
FIELDS x y z intensity
SIZE 4 4 4 4
TYPE F F F F
COUNT 1 1 1 1
WIDTH 2
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS 2
DATA ascii
"""
ASCII = HEADER + '1.5 -2 3 7\n4 5 -6.25 255\n'


def save(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_bin(tmp_path):
    cloud = read_cloud(save(tmp_path, 'a.bin', ROWS.tobytes()))
    assert cloud.fields == ('x', 'y', 'z', 'intensity')
    assert cloud.points.tolist() == ROWS.tolist()


@pytest.mark.parametrize('count', ['COUNT 1 1 1 1\n', ''])
def test_ascii_pcd(tmp_path, count):
    cloud = read_cloud(save(tmp_path, 'a.PCD', ASCII.replace('COUNT 1 1 1 1\n', count)))
    assert cloud.fields == ('x', 'y', 'z', 'intensity')
    assert cloud.points.dtype == np.float32
    assert cloud.points.tolist() == ROWS.tolist()


def test_binary_pcd_of_mixed_types(tmp_path):
    record = np.dtype([('intensity', 'u1'), ('x', '<f8'), ('y', '<f4'), ('z', '<i2')])
    records = np.array([(7, 1.5, -2, 3), (255, 4, 5, -6)], record)
    header = HEADER.replace('x y z intensity', 'intensity x y z').replace('ascii', 'binary')
    header = header.replace('SIZE 4 4 4 4', 'SIZE 1 8 4 2').replace('F F F F', 'U F F I')
    cloud = read_cloud(save(tmp_path, 'a.pcd', header.encode() + records.tobytes()))
    assert cloud.fields == ('intensity', 'x', 'y', 'z')
    assert cloud.points.tolist() == [[7, 1.5, -2, 3], [255, 4, 5, -6]]


def test_padding_and_fields_of_several_numbers_are_left_out(tmp_path):
    # as the Point Cloud Library writes points that are aligned in memory
    record = np.dtype([
        ('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('gap', 'u1', 4), ('intensity', '<f4'),
        ('ring', '<u2'), ('more', 'u1', 10), ('normal', '<f4', 3),
    ])  # fmt: skip
    records = np.zeros(2, record)
    for place, name in enumerate(('x', 'y', 'z', 'intensity')):
        records[name] = ROWS[:, place]
    records['ring'] = 5, 127
    records['gap'] = records['more'] = 0xFF
    header = (
        HEADER.replace('x y z intensity', 'x y z _ intensity ring _ normal')
        .replace('SIZE 4 4 4 4', 'SIZE 4 4 4 1 4 2 1 4')
        .replace('TYPE F F F F', 'TYPE F F F U F U U F')
        .replace('COUNT 1 1 1 1', 'COUNT 1 1 1 4 1 1 10 3')
    )
    binary = header.replace('ascii', 'binary').encode() + records.tobytes()
    lines = '1.5 -2 3 0 0 0 0 7 5 {0} 1 2 3\n4 5 -6.25 0 0 0 0 255 127 {0} 1 2 3\n'
    for content in (binary, header + lines.format('0 ' * 10)):
        cloud = read_cloud(save(tmp_path, 'a.pcd', content))
        assert cloud.fields == ('x', 'y', 'z', 'intensity', 'ring')
        assert cloud.points.tolist() == [[*ROWS[0], 5], [*ROWS[1], 127]]


@pytest.mark.parametrize(
    ('name', 'content', 'text'),
    [
        ('a.bin', b'', '0 bytes; wanted 16 for each'),
        ('a.bin', ROWS.tobytes()[:-1], '31 bytes; wanted 16'),
        ('a.pcd', b'\x00' * 9000, 'no PCD header'),
        ('a.pcd', 'DATA ascii\n', 'the PCD header lacks FIELDS, SIZE, TYPE, POINTS'),
        ('a.pcd', ASCII.replace('x y z', 'x y w'), 'has the fields x y w intensity, .*; wanted x'),
        ('a.pcd', ASCII.replace('x y z intensity', 'x y z x'), 'FIELDS x y z x, .*; wanted each'),
        ('a.pcd', ASCII.replace('1 1 1 1', '1 1 2 1'), 'COUNT 1 1 2 1; wanted x, y, z and others'),
        ('a.pcd', ASCII.replace('1 1 1 1', '1 1 1 0'), 'COUNT 1 1 1 0; wanted .* 1 to 1024'),
        ('a.pcd', ASCII.replace('1 1 1 1', '1 1 1 -1'), 'COUNT 1 1 1 -1; wanted .* 1 to 1024'),
        ('a.pcd', ASCII.replace('1 1 1 1', '1 1 1 9999'), 'COUNT 1 1 1 9999; wanted .* 1 to 1024'),
        ('a.pcd', ASCII.replace('SIZE 4', 'SIZE 2'), 'SIZE 2 4 4 4, '),
        ('a.pcd', ASCII.replace('SIZE 4', 'SIZE'), 'wanted x, y, z and others'),
        ('a.pcd', ASCII.replace('POINTS 2', 'POINTS -2'), 'POINTS is -2; wanted 1 to'),
        ('a.pcd', ASCII.replace('POINTS 2', 'POINTS 3'), '8 numbers follow .*; wanted 3 points'),
        ('a.pcd', ASCII.replace('-6.25', 'six'), 'a point is not made of numbers'),
        ('a.pcd', ASCII.replace('ascii', 'binary_compressed'), 'binary_compressed; wanted ascii'),
        ('a.pcd', HEADER.replace('ascii', 'binary') + 31 * ' ', '31 bytes follow .*; wanted 32'),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, name, content, text):
    with pytest.raises(SourceError, match=f'{name}: .*{text}'):
        read_cloud(save(tmp_path, name, content))


def test_mutated_headers_are_read_or_refused(tmp_path):
    chance = np.random.default_rng(1)
    whole = np.frombuffer(ASCII.encode(), np.uint8)
    outcomes = {True: 0, False: 0}
    for _ in range(300):
        mutated = whole.copy()
        mutated[chance.integers(0, len(whole), 2)] = chance.integers(0, 256, 2)
        try:
            cloud = read_cloud(save(tmp_path, 'a.pcd', mutated.tobytes()))
        except SourceError:
            outcomes[False] += 1
        else:
            outcomes[True] += 1
            assert cloud.points.shape == (len(cloud.points), len(cloud.fields))
    assert min(outcomes.values()) > 30


def test_the_real_files(data):
    for path in sorted((data / 'lidar').iterdir()):
        cloud = read_cloud(path)
        assert cloud.fields == ('x', 'y', 'z', 'intensity')
        assert len(cloud.points) > 60_000
        assert np.isfinite(cloud.points).all()
