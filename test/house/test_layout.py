# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The rules of the house that a file listing can show."""

from __future__ import annotations

import configparser
from dataclasses import fields
import importlib
from pathlib import Path
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = sorted(path.parent for path in (REPOSITORY / 'src').glob('*/package.xml'))
OURS = ('src', 'test', 'tools', 'launch')


def test_no_package_at_the_top():
    assert not (REPOSITORY / 'package.xml').exists(), 'it would hide every package below'


@pytest.mark.parametrize('package', PACKAGES, ids=lambda path: path.name)
def test_package_is_named_as_its_folder_and_can_be_released(package):
    root = ET.parse(package / 'package.xml').getroot()
    assert root.findtext('name') == package.name
    assert root.findtext('license') == 'Apache-2.0'
    # colcon takes a package with an invalid e-mail for plain Python, without a word
    assert re.fullmatch(r'[\w.+-]+@[\w-]+\.[a-z]{2,}', root.find('maintainer').get('email'))


@pytest.mark.parametrize('package', PACKAGES, ids=lambda path: path.name)
def test_colcon_test_would_find_tests(package):
    tests = REPOSITORY / 'test' / ('system' if package.name == 'trt_bringup' else package.name)
    assert list(tests.glob('test_*.py')), f'{tests} has no tests'
    if (package / 'setup.py').exists():
        config = configparser.ConfigParser()
        config.read(package / 'setup.cfg')
        assert (package / config['tool:pytest']['testpaths']).resolve() == tests
        assert "extras_require={'test': ['pytest']}" in (package / 'setup.py').read_text()
    else:
        assert f'../../test/{tests.name}' in (package / 'CMakeLists.txt').read_text()


def source_files() -> list[Path]:
    files = [path for folder in OURS for path in (REPOSITORY / folder).rglob('*.py')]
    return sorted(path for path in files if '__pycache__' not in path.parts)


def test_every_file_names_its_owner_and_licence():
    for path in source_files():
        text = path.read_text()
        if text.strip():
            assert 'Copyright 2026 the jetson_perception authors' in text[:200], path
            assert 'SPDX-License-Identifier: Apache-2.0' in text[:200], path


@pytest.mark.parametrize(
    ('room', 'name'),
    [
        ('jetson_monitor', 'MonitorConfig'),
        ('trt_builder', 'BuilderConfig'),
        ('trt_inference.camera', 'InferenceConfig'),
    ],
)
def test_parameters_file_lists_exactly_the_fields_with_their_defaults(room, name):
    config = getattr(importlib.import_module(f'{room}.config'), name)
    package = room.partition('.')[0]
    text = (REPOSITORY / 'config' / f'{package}.yaml').read_text()
    listed = yaml.safe_load(text)['/**']['ros__parameters']
    assert listed == as_in_yaml(config)


def test_parameters_file_lists_what_the_lidar_node_has_beside_the_shared_ones():
    config = importlib.import_module('trt_inference.lidar.config').LidarConfig
    shared = importlib.import_module('trt_inference.detector.config').DetectorConfig
    text = (REPOSITORY / 'config' / 'trt_inference.yaml').read_text()
    listed = yaml.safe_load(text)['/**/lidar_inference']['ros__parameters']
    common = as_in_yaml(shared)
    assert listed == {
        name: value
        for name, value in as_in_yaml(config).items()
        if name not in common or value != common[name]
    }


def test_parameters_file_lists_those_of_fusion():
    config = importlib.import_module('trt_inference.fusion.config').FusionConfig
    text = (REPOSITORY / 'config' / 'trt_inference.yaml').read_text()
    assert yaml.safe_load(text)['/**/fusion']['ros__parameters'] == as_in_yaml(config)


def as_in_yaml(config):
    """Return the defaults, where lists cannot be empty."""
    return {
        each.name: (list(each.default) or ['']) if isinstance(each.default, tuple) else each.default
        for each in fields(config)
    }


@pytest.mark.ros
def test_the_image_installs_the_dependencies_of_every_package():
    # rosdep stops at one that trt_bringup needs and that is not there
    lines = (REPOSITORY / 'Dockerfile').read_text().splitlines()
    paths = [str(package.relative_to(REPOSITORY) / 'package.xml') for package in PACKAGES]
    assert [path for path in paths if f'COPY {path} {path}' not in lines] == []


def test_colcon_sees_every_package_as_a_ros_package():
    colcon = shutil.which('colcon')
    assert colcon, 'colcon is not in this environment: . tools/env.sh'
    listing = subprocess.run(
        [colcon, 'list', '--base-paths', str(REPOSITORY)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    kinds = {line.split()[0]: line.split()[-1] for line in listing.splitlines()}
    assert set(kinds) == {path.name for path in PACKAGES}
    assert all(kind.startswith('(ros.') for kind in kinds.values()), listing
