# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Folders of labelled clouds are read whole, or refused with file, line and what is wanted."""

from __future__ import annotations

import numpy as np
import pytest

from trt_engine.errors import ConfigError
from trt_validation.sweeps import COLUMNS
from trt_validation.sweeps import read_sweeps
from trt_validation.sweeps import Thing
from trt_validation.sweeps import write_labels

HEAD = ','.join(COLUMNS)
CAR = Thing('car', (12.5, -3.1, -0.9, 4.2, 1.8, 1.5, 3.05), 211)
BUS = Thing('bus', (0.0, 9.0, 0.0, 12.0, 2.5, 3.0, -0.5), None)


@pytest.fixture
def folder(tmp_path):
    for name in ('b', 'a'):
        np.ones((3, 4), np.float32).tofile(tmp_path / f'{name}.bin')
    return tmp_path


def test_what_is_written_is_read_again(folder):
    write_labels(folder, {'b': [CAR, BUS]})
    sweeps = read_sweeps(folder)
    assert sweeps.clouds == {'a': folder / 'a.bin', 'b': folder / 'b.bin'}
    assert sweeps.things == {'a': [], 'b': [CAR, BUS]}
    assert sweeps.labels() == ('bus', 'car')


def test_columns_may_come_in_any_order_and_with_spaces(folder):
    text = 'class, sweep, yaw, x, y, z, length, width, height, points\n\ncar,a,1,2,3,4,5,6,7,\n'
    (folder / 'labels.csv').write_text(text)
    assert read_sweeps(folder).things['a'] == [Thing('car', (2, 3, 4, 5, 6, 7, 1), None)]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', "its first line is ''; wanted the names sweep,class,x"),
        ('x,y,z\n', "first line is 'x,y,z'; wanted"),
        (f'{HEAD}\na,car,1,2,3\n', 'line 2: has 5 values; wanted 10'),
        (f'{HEAD}\nc,car,1,2,3,4,5,6,7,8\n', "line 2: names the sweep 'c', of which there is no"),
        (f'{HEAD}\na,car,1,2,x,4,5,6,7,8\n', "line 2: could not convert string to float: 'x'"),
        (f'{HEAD}\na,car,1,2,3,4,5,6,7,8.5\n', 'line 2: invalid literal .*; wanted numbers'),
        (f'{HEAD}\na,car,1,2,3,4,0,6,7,8\n', 'width and height above 0'),
        (f'{HEAD}\na,car,nan,2,3,4,5,6,7,8\n', 'wanted a name, finite numbers'),
        (f'{HEAD}\na,,1,2,3,4,5,6,7,8\n', "class ''"),
    ],
)
def test_other_tables_are_refused(folder, text, message):
    (folder / 'labels.csv').write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_sweeps(folder)


def test_a_folder_without_clouds_or_labels_is_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match=r'labels\.csv.*wanted a folder of clouds'):
        read_sweeps(folder)
    write_labels(folder, {})
    (folder / 'a.pcd').write_text('')
    with pytest.raises(ConfigError, match='has 3 clouds of 2 names'):
        read_sweeps(folder)
    for path in folder.glob('?.*'):
        path.unlink()
    with pytest.raises(ConfigError, match='has 0 clouds of 0 names; wanted at least one'):
        read_sweeps(folder)
