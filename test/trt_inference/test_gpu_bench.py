# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmarks of whole frames and clouds on the GPU run, with stand-ins and what is there."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys

import pytest

from trt_engine.card import load_card
from trt_engine.lidar.model import network_file

pytestmark = pytest.mark.slow  # compiles kernels for the CPU


@pytest.fixture
def bench(engines, repository, tmp_path, monkeypatch):
    """Return a function that runs a benchmark of the demo's engine, and gives its lines."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    folders = [repository, *sorted((repository / 'src').glob('trt_*'))]
    path = os.pathsep.join([os.environ.get('PYTHONPATH', ''), *map(str, folders)])

    def run(*words: str, model: Path) -> dict[str, str]:
        done = subprocess.run(
            [sys.executable, *words, '--plan', str(engines.build(model))],
            capture_output=True, text=True, check=False, cwd=repository,
            env=os.environ | {'PYTHONPATH': path},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        rows = (line.strip('| ').split(' | ', 1) for line in done.stdout.splitlines())
        return {row[0]: row[1] for row in rows if len(row) == 2}

    return run


@pytest.fixture
def frames(bench, repository, tmp_path):
    """Return the same for what bench/gpu reports."""
    common = ['--card', 'demo', '--picture', 'docs/scene.jpg', '--kernels', str(tmp_path / 'k')]
    model = repository / 'models' / 'demo.onnx'
    return lambda *words: bench('tools/bench/gpu', *words, *common, model=model)


def test_a_frame_is_taken_apart_beside_other_ways(frames):
    lines = frames('frame', '--rounds', '3', '--warm-up', '1')
    names = {
        'upload', 'preprocess', 'network', 'decode', 'download', 'graph',
        'floor: engine alone in a graph', 'floor: raw frame, pinned host to device',
        'ours, from pinned memory to detections', '**ours / floor**',
        'ours, from the bytes of a message', 'ours, a frame of many, two under way',
        'our CPU pre- and postprocessing',
        'cv2, NumPy, NumPy NMS; plain copies and enqueue',
    }  # fmt: skip
    assert names <= set(lines)
    assert all(float(lines[name]) > 0 for name in names)


def test_cameras_run_for_a_while(frames):
    lines = frames('run', '--cameras', '2', '--hz', '2', '--seconds', '6')
    looked_at, dropped, *times = lines['6 s'].split(' | ')
    assert int(looked_at) > 5
    assert 20 < int(looked_at) + int(dropped) < 30
    assert all(float(each) > 0 for each in times)


def test_no_geometry_differs(frames):
    lines = frames('equal', '--geometries', '20')
    assert [lines[str(count)].split(' | ')[0] for count in range(2, 21, 2)] == ['0'] * 10


def test_a_cloud_is_taken_apart(bench):
    words = ('-m', 'tools.bench.lidar_frame', '--points', '2000', '--rounds', '2')
    lines = bench(*words, model=network_file(load_card('demo_lidar')))
    for name in ('upload', 'pillars', 'network', 'decode', 'download', 'graph'):
        assert float(lines[f'{name}, by events']) > 0
