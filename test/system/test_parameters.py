# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What nodes declare is what their configuration classes say, no more and no less."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
import subprocess
import sys
from typing import get_type_hints

import pytest

from trt_builder.config import BuilderConfig
from trt_engine.errors import ConfigError
from trt_engine.parameters import settings
from trt_inference.camera.config import InferenceConfig
from trt_inference.fusion.config import FusionConfig
from trt_inference.lidar.config import LidarConfig
from trt_inference.replay.config import ReplayConfig
from trt_inference.watch.config import WatchConfig

CONFIGS = {
    'builder': BuilderConfig,
    'fusion': FusionConfig,
    'inference': InferenceConfig,
    'lidar_inference': LidarConfig,
    'replay': ReplayConfig,
    'watch': WatchConfig,
}
# a lifecycle node takes read-only settings at the next configure
FIXED = {'builder', 'fusion', 'replay', 'watch'}
EXTRINSIC = 'extrinsic:=[0.0, 0.0, 0.0, 0.5, -0.5, 0.5, 0.5]'  # without it fusion asks TF
NEEDED = ('source', 'extrinsic')
NOT_OURS = ('use_sim_time', 'start_type_description_service', 'diagnostic_updater.')


@contextmanager
def running(name: str, *given: str, file: Path | None = None) -> Iterator:
    """Make a node in this process, with parameters as a command line gives them."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    words = ['--ros-args', *(word for each in given for word in ('-p', each))]
    if file is not None:
        words += ['--params-file', str(file)]
    rclpy.init(args=words, signal_handler_options=SignalHandlerOptions.NO)
    try:
        if name == 'builder':
            from trt_builder.node import BuilderNode as Kind
        elif name == 'fusion':
            from trt_inference.fusion.node import FusionNode as Kind
        elif name == 'inference':
            from trt_inference.camera.node import InferenceNode as Kind
        elif name == 'lidar_inference':
            from trt_inference.lidar.node import LidarNode as Kind
        elif name == 'replay':
            from trt_inference.replay.node import ReplayNode as Kind
        else:
            from trt_inference.watch.node import WatchNode as Kind
        node = Kind()
        yield node
        node.destroy_node()
    finally:
        rclpy.try_shutdown()


@pytest.fixture(scope='module', params=[*CONFIGS])
def declared(request, repository):
    """Return a node's name, its configuration class, and its parameters with descriptors."""
    source = repository / 'docs' / 'scene.jpg'
    given = {'replay': f'source:={source}', 'fusion': EXTRINSIC}.get(request.param)
    with running(request.param, *filter(None, [given])) as node:
        parameters = {
            name: parameter
            for name, parameter in node.get_parameters_by_prefix('').items()
            if not name.startswith(NOT_OURS)
        }
        descriptors = node.describe_parameters(list(parameters))
    return (
        request.param,
        CONFIGS[request.param],
        parameters,
        dict(zip(parameters, descriptors, strict=True)),
    )


def test_parameters_are_the_fields_of_the_configuration(declared):
    _, cls, parameters, _ = declared
    assert set(parameters) == {each.name for each in fields(cls)}


def test_parameters_begin_with_the_defaults(declared):
    _, cls, parameters, _ = declared
    begun = {name: each.value for name, each in parameters.items() if name not in NEEDED}
    defaults = {each.name: each.default for each in fields(cls) if each.name not in NEEDED}
    # [''] is how ROS writes an empty list
    assert {name: as_tuple(each) for name, each in begun.items()} == {
        name: ('',) if each == () else each for name, each in defaults.items()
    }


def as_tuple(value):
    return value if isinstance(value, (str, bool, int, float)) else tuple(value)


def test_every_parameter_is_described(declared):
    _, cls, _, descriptors = declared
    for name, meaning in settings(cls).items():
        assert descriptors[name].description == meaning.description
        assert len(descriptors[name].description) > 10, name


def test_limits_are_declared_so_that_tools_can_show_them(declared):
    _, cls, _, descriptors = declared
    kinds = get_type_hints(cls)
    for name, meaning in settings(cls).items():
        shown = descriptors[name]
        limits = [*shown.integer_range, *shown.floating_point_range]
        if meaning.minimum is None and meaning.maximum is None:
            assert limits == [], name
        else:
            (limit,) = limits
            assert type(limit.from_value) is kinds[name], name
            assert limit.from_value == meaning.minimum, name
            if meaning.maximum is None:
                assert limit.to_value >= sys.maxsize, name
            else:
                assert limit.to_value == meaning.maximum, name
        assert shown.additional_constraints == (meaning.wanted if meaning.choices else ''), name


def test_what_cannot_change_while_it_runs_is_declared_so(declared):
    node, cls, _, descriptors = declared
    for name, meaning in settings(cls).items():
        assert descriptors[name].read_only == (node in FIXED and meaning.read_only), name


@pytest.mark.parametrize(
    ('node', 'given', 'words'),
    [
        ('builder', 'limit_mib:=0', 'limit_mib'),
        ('builder', 'flavour:=rtx', "flavour is 'rtx'; wanted one of tensorrt, tensorrt_rtx"),
        ('fusion', 'min_iou:=2.0', 'min_iou'),
        ('fusion', 'extrinsic:=[1.0]', 'extrinsic is [1.0]; wanted x y z, then a quaternion'),
        ('fusion', 'label_groups:=[car]', "label_groups has 'car'; wanted the label of the image"),
        ('inference', 'threads:=-1', 'threads'),
        ('inference', 'threads:=many', 'threads'),
        ('inference', 'score_threshold:=2.0', 'score_threshold'),
        ('inference', 'backend:=cuda', "backend is 'cuda'; wanted one of auto, tensorrt, onnxrun"),
        ('inference', 'cameras:=[a, a]', "cameras is ['a', 'a']; wanted each name once"),
        ('watch', 'video_rate:=0.0', 'video_rate'),
        ('watch', 'video_rate:=10', 'wanted 0.1 to 1000, written with a decimal point'),
        ('watch', 'reliability:=often', "reliability is 'often'; wanted one of reliable, best_"),
        ('replay', 'rate:=1000.0', 'rate'),
        ('replay', 'transport:=both_of_them', "transport is 'both_of_them'; wanted one of raw"),
    ],
)
def test_a_value_of_the_command_line_that_cannot_be_is_refused(node, given, words):
    with pytest.raises(ConfigError) as error, running(node, given):
        pass
    assert words in str(error.value)
    assert 'wanted' in str(error.value)


@pytest.mark.parametrize(
    'entry',
    [
        'trt_builder.entry.builder',
        'trt_inference.entry.fusion',
        'trt_inference.entry.inference',
        'trt_inference.entry.replay',
        'trt_inference.entry.watch',
        'jetson_monitor.entry.main',
    ],
)
def test_a_parameters_file_that_is_no_yaml_is_told_without_a_traceback(entry, tmp_path):
    path = tmp_path / 'parameters.yaml'
    path.write_text('/**:\n  ros__parameters\n    threads: 2\n')
    module, _, function = entry.rpartition('.')
    code = f'import sys; from {module} import {function}; sys.exit({function}())'
    command = [sys.executable, '-c', code, '--ros-args', '--params-file', str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert 'ROS cannot start as it was told to: ' in line
    assert 'Traceback' not in done.stderr
    assert f"Couldn't parse params file: '--params-file {path}'" in line


def test_a_node_to_watch_that_is_no_name_is_refused():
    words = ['-c', 'import sys; from trt_inference.entry import watch; sys.exit(watch())']
    done = subprocess.run(
        [sys.executable, *words, '--ros-args', '-p', 'node:=a b'],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("watch: node is 'a b' and points_topic '', of which one names no")


@pytest.mark.parametrize('given', ["classes:=['']", 'classes:=[]', 'classes:=[person]'])
def test_lists_may_be_empty(given):
    with running('inference', given) as node:
        assert node._config.classes == (('person',) if 'person' in given else ())


def test_an_empty_list_stands_for_itself_also_where_the_default_is_another():
    with running('fusion', EXTRINSIC, 'label_groups:=[]') as node:
        assert node._config.label_groups == ()
    with (
        pytest.raises(ConfigError, match=r'extrinsic is \[\]; wanted x y z'),
        running('fusion', 'extrinsic:=[]'),
    ):
        pass


def test_fusion_takes_its_own_section_of_the_parameters_file(repository, tmp_path):
    text = (repository / 'config' / 'trt_inference.yaml').read_text()
    path = tmp_path / 'parameters.yaml'
    zeros = ', '.join(['0.0'] * 7)
    assert f'[{zeros}]' in text
    path.write_text(
        text.replace(f'[{zeros}]', '[1.0, 0.0, 0.0, 0.5, -0.5, 0.5, 0.5]').replace(
            'history: 50', 'history: 7'
        )
    )
    with running('fusion', file=path) as node:
        assert node._config.history == 7
        assert node._config.transform()[0, 3] == 1
        assert node._config.label_groups == FusionConfig().label_groups


def test_the_lidar_node_takes_its_own_section_of_the_parameters_file(repository, tmp_path):
    text = (repository / 'config' / 'trt_inference.yaml').read_text()
    path = tmp_path / 'parameters.yaml'
    path.write_text(text.replace('points_topic: points', 'points_topic: ouster/points'))
    for name, card in (('inference', 'demo'), ('lidar_inference', 'demo_lidar')):
        with running(name, file=path) as node:
            assert node.get_parameter('card').value == card
            assert node.has_parameter('points_topic') == (name == 'lidar_inference')
            if name == 'lidar_inference':
                assert node.get_parameter('points_topic').value == 'ouster/points'
