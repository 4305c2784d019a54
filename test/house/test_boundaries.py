# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The arrows of the house: who may import what."""

from __future__ import annotations

from pathlib import Path
import re
import subprocess
import sys

import pytest

SOURCES = Path(__file__).resolve().parents[2] / 'src'
ROS_ROOMS = {'conversions', 'node'}
BLOCKED = (
    'rclpy', 'sensor_msgs', 'std_msgs', 'std_srvs', 'vision_msgs', 'diagnostic_msgs',
    'diagnostic_updater',
    'geometry_msgs', 'visualization_msgs', 'tf2_ros',
    'rcl_interfaces', 'builtin_interfaces', 'trt_interfaces', 'launch', 'launch_ros',
    'ament_index_python', 'tensorrt', 'cuda', 'pycuda', 'torch',
)  # fmt: skip
IMPORT_ALL = """
import importlib, sys
blocked, modules = sys.argv[1].split(','), sys.argv[2].split(',')
for name in blocked:
    sys.modules[name] = None
for module in modules:
    importlib.import_module(module)
"""


def pure_modules() -> list[str]:
    modules = []
    for path in sorted(SOURCES.glob('*/*/**/*.py')):
        relative = path.relative_to(SOURCES)
        if relative.parts[0] != relative.parts[1]:
            continue
        if path.stem in ROS_ROOMS or path.stem.endswith('_node'):
            continue
        parts = relative.parts[1:-1]
        modules.append('.'.join(parts if path.stem == '__init__' else (*parts, path.stem)))
    return modules


def run_with_blocked_imports(modules: list[str]) -> subprocess.CompletedProcess[str]:
    paths = [str(path) for path in sorted(SOURCES.iterdir())]
    return subprocess.run(
        [sys.executable, '-c', IMPORT_ALL, ','.join(BLOCKED), ','.join(modules)],
        capture_output=True, text=True, env={'PYTHONPATH': ':'.join(paths), 'PATH': ''},
        check=False,
    )  # fmt: skip


def test_every_other_module_imports_without_ros_and_without_gpu_libraries():
    modules = pure_modules()
    assert len(modules) > 20

    outcome = run_with_blocked_imports(modules)

    assert outcome.returncode == 0, outcome.stderr


def test_a_planted_import_would_be_caught(tmp_path):
    (tmp_path / 'planted.py').write_text('import rclpy\n')
    outcome = subprocess.run(
        [sys.executable, '-c', IMPORT_ALL, ','.join(BLOCKED), 'planted'],
        capture_output=True, text=True, env={'PYTHONPATH': str(tmp_path), 'PATH': ''}, check=False,
    )  # fmt: skip
    assert outcome.returncode != 0
    assert 'rclpy' in outcome.stderr


ARROWS = {
    'jetson_monitor': {'trt_interfaces'},
    'trt_builder': {'trt_engine', 'trt_interfaces'},
    'trt_engine': set(),
    'trt_inference': {'trt_engine', 'trt_interfaces'},
    'trt_validation': {'trt_engine', 'trt_inference'},
}


@pytest.mark.parametrize('package', sorted(ARROWS))
def test_packages_import_only_along_the_arrows(package):
    ours = {path.name for path in SOURCES.iterdir()}
    for path in sorted((SOURCES / package / package).rglob('*.py')):
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] in (['from'], ['import']) and words[1].split('.')[0] in ours:
                imported = words[1].split('.')[0]
                assert imported in ARROWS[package] | {package}, f'{path}: {line}'


ROOMS = {  # of trt_inference: what each may import besides itself and the modules beside them
    'camera': {'detector'},
    'detector': set(),
    'fusion': {'detector'},
    'lidar': {'detector'},
    'plan': {'camera', 'detector', 'lidar'},
    'replay': set(),
    'watch': {'camera', 'lidar'},
}


@pytest.mark.parametrize('room', sorted(ROOMS))
def test_nodes_know_of_each_other_only_what_they_share(room):
    folder = SOURCES / 'trt_inference' / 'trt_inference'
    assert {path.name for path in folder.iterdir() if (path / '__init__.py').exists()} == set(ROOMS)
    for path in sorted((folder / room).rglob('*.py')):
        for line in path.read_text().splitlines():
            found = re.match(r'\s*(?:from|import) trt_inference\.(\w+)', line)
            if found and found[1] in ROOMS:
                assert found[1] in ROOMS[room] | {room}, f'{path}: {line}'


def test_only_their_own_rooms_import_the_heavy_libraries():
    owners = {
        'onnxruntime': {'backends/onnxruntime.py'},
        'tensorrt': {'backends/tensorrt.py', 'trt_builder/tensorrt_build.py'},
        'cuda': {'cuda/runtime.py'},
    }
    for path in sorted(SOURCES.rglob('*.py')):
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] in (['from'], ['import']):
                owner = owners.get(words[1].split('.')[0])
                assert owner is None or any(str(path).endswith(each) for each in owner), path
