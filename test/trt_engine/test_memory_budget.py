# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Budgets worked by hand: one memory and two, what is held, and the words of a refusal."""

from __future__ import annotations

import json

import pytest

from trt_engine.errors import MemoryBudgetError
from trt_engine.memory.budget import Assumptions
from trt_engine.memory.budget import Budget
from trt_engine.memory.budget import Part
from trt_engine.memory.budget import process_parts
from trt_engine.memory.budget import Room
from trt_engine.memory.budget import share_arena
from trt_engine.memory.machine import MIB

JETSON = Room('Orin Nano 8GB', 6000, None, 'a plan')
PC = Room('this machine', 16000, 4000, 'a plan')


def part(mib, side='device', basis='exact', *, what='weights', owner='net', held=False):
    return Part(owner, what, int(mib * MIB), side, basis, 'a test', held)


@pytest.mark.parametrize(
    ('room', 'device', 'host', 'verdict'),
    [
        (JETSON, 1000, 1000, 'ok'),
        (JETSON, 3000, 2488, 'ok'),
        (JETSON, 3000, 2489, 'warning'),
        (JETSON, 3000, 3000, 'warning'),
        (JETSON, 3000, 3001, 'refused'),
        (PC, 3000, 3001, 'ok'),
        (PC, 3600, 0, 'warning'),
        (PC, 4001, 0, 'refused'),
        (PC, 0, 15_600, 'warning'),
        (PC, 4001, 15_600, 'refused'),
        (Room('this machine', None, None, ''), 1, 1, 'warning'),
        (Room('this machine', None, 4000, ''), 1, 1, 'warning'),
    ],
)
def test_verdicts(room, device, host, verdict):
    budget = Budget(room, (part(device), part(host, 'host')))
    assert budget.verdict == verdict, budget.text


def test_where_cpu_and_gpu_share_their_memory_both_sides_come_out_of_one_pool():
    (pool,) = Budget(JETSON, (part(100), part(23, 'host'))).pools
    assert (pool.needed_bytes, pool.spare_mib) == (123 * MIB, 6000 - 123)
    device, host = Budget(PC, (part(100), part(23, 'host'))).pools
    assert (device.spare_mib, host.spare_mib) == (3900, 15_977)


def test_what_is_held_already_is_shown_and_not_counted_again():
    budget = Budget(PC, (part(3900, held=True), part(400)))
    assert budget.pools[0].needed_bytes == 400 * MIB
    assert budget.verdict == 'ok'
    assert '400.0 MiB are needed beside 3900.0 MiB that are held (400.0 exact)' in budget.text
    assert any('3900.0 device exact    net: weights (a test, held)' in e for e in budget.lines())


def test_a_refusal_says_the_numbers_how_each_is_known_and_what_to_do():
    parts = (
        part(4000, what='activations', basis='bound'),
        part(3000, owner='demo, 4 cameras', what='messages', side='host', basis='estimate'),
        part(0.5),
    )
    with pytest.raises(MemoryBudgetError) as caught:
        Budget(JETSON, parts).require()
    assert str(caught.value) == (
        'memory of Orin Nano 8GB, which CPU and GPU share: 7000.5 MiB are needed (0.5 exact, '
        '4000.0 bound, 3000.0 estimate), 6000 MiB are free, 1000 MiB too few; the largest parts: '
        'net activations 4000.0, demo, 4 cameras messages 3000.0, net weights 0.5; to make it '
        'fit, close other programs, or take fewer networks or cameras, smaller images, or '
        'networks of a smaller input; a bound becomes the real figure once the engine is built'
    )


def test_on_two_memories_the_full_one_is_named():
    with pytest.raises(MemoryBudgetError, match=r"GPU's memory .* 5000\.0 .* 1000 MiB too few"):
        Budget(PC, (part(5000), part(1, 'host'))).require()


def test_a_tight_fit_is_told_and_not_refused():
    budget = Budget(JETSON, (part(5900),))
    budget.require()
    assert 'it fits with 100 MiB to spare, and below 512' in budget.text


def test_unknown_memory_is_not_taken_for_none():
    budget = Budget(Room('this machine', None, None, ''), (part(5900),))
    budget.require()
    assert 'how much is free is not known' in budget.text


def test_an_arena_is_as_large_as_the_largest_network_needs():
    parts = [
        part(10, owner='a', what='activations'),
        part(64, owner='a', what='scratch of kernels', basis='assumed'),
        part(70, owner='b', what='activations'),
        part(5, owner='b'),
    ]
    shared = share_arena(parts)
    assert sum(each.nbytes for each in shared) == (5 + 74) * MIB
    assert {each.owner for each in shared} == {'b', 'arena of 2 networks'}
    assert share_arena([part(5)]) == (part(5),)


def test_a_process_takes_what_is_assumed_of_it():
    device, host = process_parts('net', Assumptions(cuda_mib=300, process_mib=100), held=True)
    assert (device.nbytes, device.side, host.nbytes, host.side) == (
        300 * MIB, 'device', 100 * MIB, 'host',
    )  # fmt: skip
    assert {device.basis, host.basis} == {'assumed'}
    assert device.held
    assert host.held


def test_all_of_it_as_json():
    values = json.loads(json.dumps(Budget(JETSON, (part(7000),), ('a note',)).to_json()))
    assert values['verdict'] == 'refused'
    assert values['pools'][0]['free_mib'] == 6000
    assert values['parts'][0] == {
        'owner': 'net', 'what': 'weights', 'nbytes': 7000 * MIB, 'side': 'device',
        'basis': 'exact', 'source': 'a test', 'held': False,
    }  # fmt: skip
    assert values['notes'] == ['a note']
