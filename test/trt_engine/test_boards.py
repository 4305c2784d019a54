# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The boards by name, held against what else is known of them."""

from __future__ import annotations

import re

import pytest

from trt_engine.errors import ConfigError
from trt_engine.memory.boards import BOARDS
from trt_engine.memory.boards import find_board


@pytest.mark.parametrize(
    ('name', 'found', 'cores'),
    [
        ('Orin Nano 8GB', 'Orin Nano 8GB', 0),
        ('orin-nano-4gb', 'Orin Nano 4GB', 0),
        ('Jetson Orin NX 8 GB', 'Orin NX 8GB', 1),
        ('orin_nx_16gb', 'Orin NX 16GB', 2),
        ('NVIDIA Jetson AGX Orin 32GB', 'AGX Orin 32GB', 2),
        ('AGX ORIN 64GB', 'AGX Orin 64GB', 2),
        ('Thor T5000', 'Thor T5000', 0),
        ('thor t4000', 'Thor T4000', 0),
    ],
)
def test_boards_are_found_however_they_are_written(name, found, cores):
    board = find_board(name)
    assert board.name == found
    assert board.dla_cores == cores


def test_an_unknown_board_names_those_there_are():
    with pytest.raises(ConfigError, match=r"did you mean 'Orin Nano 8GB'\? .*Thor T5000, or this"):
        find_board('Orin Nano 16GB')


@pytest.mark.parametrize('board', BOARDS.values(), ids=lambda board: board.name)
def test_a_kernel_has_less_than_the_module_and_the_name_says_the_module(board):
    assert 0.9 * board.module_mib < board.memory_mib < board.module_mib
    if size := re.search(r'(\d+)GB', board.name):
        assert board.module_mib == int(size[1]) * 1024
    assert f'{board.memory_mib} MiB' in board.memory_source
    assert ('assumed' in board.memory_source) == (board.seen_mib is None)


def test_what_kernels_were_seen_to_have_is_in_the_samples(data):
    lines = (data / 'tegrastats' / 'lines.txt').read_text()
    seen = [board for board in BOARDS.values() if board.seen_mib is not None]
    assert len(seen) == 5
    for board in seen:
        assert f'/{board.seen_mib}MB' in lines, board.name
