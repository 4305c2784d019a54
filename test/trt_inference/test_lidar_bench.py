# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the lidar kernels runs, and finds that they agree with the CPU path."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def test_it_runs_without_a_gpu_and_every_line_is_filled(fake_gpu, repository):
    fake_gpu()
    folders = [repository, *sorted((repository / 'src').glob('trt_*'))]
    path = os.pathsep.join([os.environ['PYTHONPATH'], *map(str, folders)])
    done = subprocess.run(
        [sys.executable, '-m', 'tools.bench.lidar_gpu', '--small', '--points', '300', '3000',
         '--candidates', '200', '--rounds', '2'],
        capture_output=True, text=True, check=False, cwd=repository,
        env=os.environ | {'PYTHONPATH': path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = dict(
        line.strip('| ').split(' | ', 1) for line in done.stdout.splitlines() if ' | ' in line
    )
    assert lines['points'] == '300 | 3000'
    assert lines['counts equal'] == 'yes | yes'
    assert lines['boxes equal'] == 'yes'
    names = {'upload', 'clear', 'locate', 'totals', 'rank', 'place', 'encode', 'copy back', 'whole',
             'candidates', 'strongest', 'decode', 'overlap', 'strike', 'finish', 'CPU'}  # fmt: skip
    assert names <= set(lines)
    assert all(float(lines[name].split(' | ')[0]) > 0 for name in names)
