# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the kernel says of memory, in files of a machine that is not this one."""

from __future__ import annotations

import pytest

from trt_engine.memory.machine import Memory
from trt_engine.memory.machine import MIB
from trt_engine.memory.machine import read_memory

MEMINFO = 'MemTotal:        7800000 kB\nMemFree:  100 kB\nMemAvailable:    5120000 kB\n\
SwapFree:        2048000 kB\n'


def write(root, place, text):
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_memory_is_what_the_kernel_says(tmp_path):
    write(tmp_path, 'proc/meminfo', MEMINFO)
    assert read_memory(tmp_path) == Memory(5000, 7617, 2000)


@pytest.mark.parametrize(
    ('limit', 'used', 'available'), [('max', 0, 5000), (1000 * MIB, 300 * MIB, 700), (1, MIB, 0)]
)
def test_a_container_has_what_its_limit_leaves(tmp_path, limit, used, available):
    write(tmp_path, 'proc/meminfo', MEMINFO)
    write(tmp_path, 'sys/fs/cgroup/memory.max', f'{limit}\n')
    write(tmp_path, 'sys/fs/cgroup/memory.current', f'{used}\n')
    assert read_memory(tmp_path).available == available


def test_a_machine_that_says_nothing_has_none(tmp_path):
    assert read_memory(tmp_path) == Memory(0, 0, 0)
