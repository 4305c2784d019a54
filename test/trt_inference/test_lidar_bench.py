# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmarks of the lidar path run, and find that what they compare agrees."""

from __future__ import annotations

import os
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from tools.bench import lidar

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


def test_voxelisation_is_measured_beside_np_unique(tmp_path, capsys):
    plot = tmp_path / 'plot.svg'
    lidar.main(['--points', '3000', '300', '--rounds', '2', '--plot', str(plot)])
    rows = [line.strip('| ').split(' | ') for line in capsys.readouterr().out.splitlines()[-2:]]
    assert [row[0] for row in rows] == ['300', '3,000']
    assert all(float(cell) > 0 for row in rows for cell in row[2:4])
    curves = ElementTree.parse(plot).getroot().findall('{http://www.w3.org/2000/svg}polyline')
    assert [len(each.get('points').split()) for each in curves] == [2, 2]
