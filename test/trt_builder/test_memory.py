# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Boards of several sizes, and what is said of a build on them."""

from __future__ import annotations

import pytest

from trt_builder.memory import check_disk
from trt_builder.memory import count_oom_kills
from trt_builder.memory import plan_memory
from trt_engine.errors import BuildRefusedError
from trt_engine.memory.machine import Memory
from trt_engine.memory.machine import MIB
from trt_engine.memory.machine import read_memory


def write(root, place, text):
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_machine_that_says_nothing_is_a_warning(tmp_path):
    plan = plan_memory('tensorrt', MIB, read_memory(tmp_path), integrated=True)
    assert plan.verdict == 'warning'
    assert 'not known' in plan.text
    plan.require()


@pytest.mark.parametrize(
    ('available', 'swap', 'integrated', 'verdict'),
    [
        (50_000, 0, True, 'ok'),
        (6000, 0, True, 'ok'),
        (2100, 0, True, 'warning'),
        (1500, 0, True, 'refused'),
        (1500, 4000, True, 'warning'),
        (1700, 0, False, 'warning'),
        (3000, 0, False, 'ok'),
    ],
)
def test_verdicts(available, swap, integrated, verdict):
    memory = Memory(available, 8000, swap)
    plan = plan_memory('tensorrt', 4 * MIB, memory, integrated=integrated)
    assert plan.verdict == verdict, plan.text
    assert f'{available} of 8000 MiB' in plan.text


def test_on_a_jetson_the_workspace_is_a_quarter_of_what_is_left():
    plan = plan_memory('tensorrt', 4 * MIB, Memory(6000, 8000, 0), integrated=True)
    assert plan.workspace_mib == (6000 - 1560) // 4
    assert plan.expected_mib == 1560 + plan.workspace_mib


def test_the_cards_own_workspace_is_left_alone_and_counted():
    memory = Memory(6000, 8000, 0)
    plan = plan_memory('tensorrt', 0, memory, integrated=True, workspace_mib=5000)
    assert plan.workspace_mib is None
    assert plan.verdict == 'refused'
    with pytest.raises(BuildRefusedError, match=r'lower memory_mib\.workspace'):
        plan.require()


def test_a_gpu_with_its_own_memory_has_no_limit():
    plan = plan_memory('tensorrt', 0, Memory(6000, 8000, 0), integrated=False, workspace_mib=5000)
    assert plan.verdict == 'ok'


def test_rtx_takes_less():
    memory = Memory(1000, 8000, 0)
    assert plan_memory('tensorrt_rtx', 0, memory, integrated=False).verdict == 'ok'
    assert plan_memory('tensorrt', 0, memory, integrated=False).verdict == 'refused'


def test_a_full_disk_is_said_before_the_build(tmp_path):
    check_disk(tmp_path / 'not' / 'there' / 'yet', 10 * MIB, free_bytes=200 * MIB)
    with pytest.raises(BuildRefusedError, match='50 MiB are free, and a build may write 104 MiB'):
        check_disk(tmp_path, 10 * MIB, free_bytes=50 * MIB)


def test_kills_of_the_kernel_are_counted(tmp_path):
    assert count_oom_kills(tmp_path) == 0
    write(tmp_path, 'proc/vmstat', 'nr_free_pages 1\noom_kill 3\n')
    assert count_oom_kills(tmp_path) == 3
    write(tmp_path, 'sys/fs/cgroup/memory.events', 'low 0\noom_kill 5\n')
    assert count_oom_kills(tmp_path) == 5
