# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What is planned for a lidar, by hand; that it is what is reserved is in test_gpu_lidar.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tools.lidar_network import form
from tools.lidar_network.onnx_file import write
from tools.lidar_network.untrained import untrained
from trt_engine.card import ModelSource
from trt_engine.errors import ModelFileError
from trt_engine.errors import PointsError
from trt_engine.lidar.model import inside_pillars
from trt_engine.lidar.model import network_file
from trt_engine.memory.budget import Room
from trt_engine.memory.machine import MIB
from trt_engine.memory.network import onnx_memory
from trt_inference.detector.memory import loading_budget
from trt_inference.detector.memory import running_budget
from trt_inference.lidar.memory import Clouds
from trt_inference.lidar.memory import lidar_parts
from trt_inference.lidar.memory import UNSEEN

ROOM = Room('this machine', 4000, None, 'a test')
HEADS = {'cls_preds': 8 * len(form.CLASSES), 'box_preds': 8 * 7, 'dir_cls_preds': 8 * 2}
GRID = 80 * 64
ANCHORS = 40 * 32 * 8
# in blocks of 4096 bytes while these are small
EMPTY = 4096


@pytest.fixture(scope='module')
def card(tmp_path_factory):
    folder = tmp_path_factory.mktemp('lidar')
    spec = replace(
        form.POINTS, range_m=(-8.0, -6.4, -3.0, 8.0, 6.4, 3.0), voxel_m=(0.2, 0.2, 6.0),
        max_voxels=1024,
    )  # fmt: skip
    write(untrained(np.random.default_rng(1), HEADS), spec, folder / 'road.onnx')
    model = ModelSource(str(folder / 'road.onnx'), 'Apache-2.0')
    return replace(form.card(), model=model, input=spec)


@pytest.fixture
def network(card, tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    return onnx_memory('road', card, network_file(card))


@pytest.fixture
def sizes(card, network):
    """Return a function that gives the parts for clouds, by what they are for and where."""

    def parts(*clouds: Clouds, **settings):
        told = lidar_parts(
            card, network, inside_pillars(card), clouds, **{'mapped': False, **settings}
        )
        return {(part.what, part.side): part for part in told}

    return parts


def test_a_lidar_of_120000_points_by_hand(sizes):
    told = sizes(Clouds(120_000, 22), in_flight=1)
    assert told['messages', 'host'].nbytes == 3 * 120_000 * 22
    # room for 131,072 points: 2,883,600 bytes in blocks of 256 KiB; counts in one of 4096 bytes
    records = 12 * 256 * 1024 + EMPTY
    for side in ('host', 'device'):
        assert told['clouds', side].nbytes == records
        assert told['clouds', side].basis == 'exact'
    # two numbers of each point; the grid, which is 20 KiB; then three lists of 1024 pillars
    assert told['pillars', 'device'].nbytes == 2 * 131_072 * 4 + GRID * 4 + EMPTY + 3 * EMPTY
    # a key for each anchor, 80 KiB, in blocks of 16; 4096 candidates: ranks, boxes, overlaps
    assert told['decoding', 'device'].nbytes == (
        ANCHORS * 8 + 4096 * 8 + 4096 * 48 + 4096 * 64 * 8 + EMPTY
    )
    assert told['filled pillars', 'device'].nbytes == 2 * EMPTY
    assert told['network inside a pillar', 'device'].nbytes == EMPTY


@pytest.mark.parametrize(
    ('points', 'capacity'), [(1, 32_768), (32_768, 32_768), (32_769, 65_536), (200_000, 262_144)]
)
def test_memory_is_taken_for_a_power_of_two(points, capacity):
    assert Clouds(points).capacity == capacity


def test_where_memory_is_shared_each_thing_is_there_once(sizes):
    told = sizes(UNSEEN, mapped=True)
    assert ('clouds', 'device') not in told
    assert ('pillars', 'device') in told


def test_what_has_not_come_is_assumed(sizes):
    told = sizes(UNSEEN)
    assert told['clouds', 'host'].basis == told['messages', 'host'].basis == 'assumed'
    assert told['clouds', 'host'].source == (
        '2 x room for 32768 points, 32 bytes each, not seen yet'
    )
    assert told['decoding', 'device'].basis == 'exact'


def test_clouds_under_way_have_memory_each_and_what_is_shared_is_there_once(sizes):
    one, two = (sizes(UNSEEN, in_flight=number) for number in (1, 2))
    for what in ('clouds', 'pillars', 'decoding', 'boxes'):
        assert two[what, 'device'].nbytes == 2 * one[what, 'device'].nbytes
    for what in ('filled pillars', 'network inside a pillar'):
        assert two[what, 'device'].nbytes == one[what, 'device'].nbytes


def test_what_is_reserved_does_not_count_again(sizes, card, network):
    seen = Clouds(32_768, 16)
    told = sizes(held=[seen], loaded=True)
    assert all(part.held for key, part in told.items() if key[0] != 'messages')
    parts = lidar_parts(
        card, network, None, [Clouds(32_768, 22)], mapped=True, held=[seen], loaded=True
    )
    assert [(part.owner, part.held) for part in parts if part.what == 'clouds'] == [
        ('road, points of 16 bytes', True), ('road, points of 22 bytes', False),
    ]  # fmt: skip


def test_a_second_layout_of_equal_size_is_still_to_be_taken(sizes):
    seen = Clouds(32_768, 16)
    both = sizes(seen, held=[seen])['clouds', 'device']
    assert not both.held
    assert both.nbytes == 2 * sizes(seen)['clouds', 'device'].nbytes


def test_an_encoder_of_its_own_needs_lists_for_the_scatter(card, network):
    why = ModelFileError('two layers')
    (lists,) = (
        part
        for part in lidar_parts(card, network, why, [UNSEEN], mapped=True)
        if part.what in ('filled pillars', 'network inside a pillar')
    )
    assert lists.nbytes == 4 * EMPTY


@pytest.mark.parametrize('wrong', [{'points': 0}, {'points': 1 << 30}, {'points': 9, 'step': 8}])
def test_clouds_that_cannot_be_are_refused(wrong):
    with pytest.raises(PointsError, match=r'wanted 1 to .* points of at least 12 bytes'):
        Clouds(**wrong)


def test_the_grid_that_the_network_takes_is_counted(card, network):
    planned = {part.what: part.nbytes for part in network.parts}
    outputs = 40 * 32 * sum(HEADS.values())
    channels = len(inside_pillars(card).bias)
    assert planned['inputs and outputs'] == (channels * GRID + outputs) * 4


def test_before_loading_the_engines_are_to_come_and_after_it_the_process_is_held(network):
    before = loading_budget(ROOM, [network, network.renamed('encoder')], ())
    assert (before.parts[0].what, before.parts[0].side) == (
        'CUDA, TensorRT, their kernels',
        'device',
    )
    assert {part.owner for part in before.parts} == {'road', 'encoder'}
    assert not any(part.held for part in before.parts)
    after = running_budget(ROOM, [network], ())
    assert [part.held for part in after.parts[:2]] == [True, True]


def test_streamed_weights_are_on_the_cpu(network):
    weights = next(part.nbytes for part in network.parts if part.what == 'weights')
    large = replace(
        network,
        parts=tuple(
            replace(part, nbytes=weights + 5 * MIB) if part.what == 'weights' else part
            for part in network.parts
        ),
    )
    told = {p.side: p for p in large.streaming(2).parts if p.what == 'weights'}
    assert (told['device'].nbytes, told['device'].basis) == (2 * MIB, 'estimate')
    assert told['host'].nbytes == weights + 3 * MIB
    assert large.streaming(0) == large == large.streaming(100)


def test_each_context_has_memory_of_its_own_and_the_weights_are_there_once(network):
    one, two = (
        {(part.what, part.side): part.nbytes for part in each.parts}
        for each in (network, network.in_contexts(2))
    )
    assert two == {
        key: nbytes if key[0] == 'weights' else 2 * nbytes for key, nbytes in one.items()
    }
