# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Every launch file says what it takes, and takes it."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys

import pytest

EVERYWHERE = {'namespace', 'use_sim_time', 'log_level'}
NODES = EVERYWHERE | {'autostart', 'params_file'}


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('perception', NODES),
        ('demo', NODES),
        ('monitor', NODES),
        ('build', NODES | {'card', 'fetch'}),
    ],
)
def test_arguments_are_listed_and_described(repository, name, expected):
    path = repository / 'launch' / f'{name}.launch.py'
    shown = subprocess.run(
        ['ros2', 'launch', str(path), '--show-args'], capture_output=True, text=True, check=True
    ).stdout

    lines = [line.strip() for line in shown.splitlines() if line.strip()][1:]
    described = {
        line.strip("':"): following
        for line, following in zip(lines, [*lines[1:], ''], strict=True)
        if line.startswith("'")
    }
    assert expected <= set(described)
    assert all(text and text != 'no description given' for text in described.values()), described


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ({}, ['inference']),
        ({'sensors': 'lidar'}, ['lidar_inference']),
        ({'sensors': 'both'}, ['inference', 'lidar_inference']),
        ({'sensors': 'both', 'fusion': 'true'}, ['inference', 'lidar_inference', 'fusion']),
    ],
)
def test_perception_starts_the_nodes_of_the_sensors(repository, given, expected):
    assert [each.node_executable for each in nodes_of(repository, 'perception', given)] == expected


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        ({'sensors': 'lidar', 'card': 'mine'}, "card is 'mine'.*wanted lidar_card, or sensors:=b"),
        ({'sensors': 'lidar', 'onnx': 'a.onnx'}, 'wanted onnx of lidar_inference in params_file'),
        ({'sensors': 'lidar', 'image_topic': '/a'}, 'no node takes with sensors:=lidar'),
        ({'sensors': 'lidar', 'transport': 'raw'}, 'clouds have none'),
        ({'lidar_card': 'mine'}, 'no node takes with sensors:=camera; wanted card'),
        ({'points_topic': '/points'}, 'wanted image_topic'),
        ({'params_file': ''}, "params_file is ''"),
    ],
)
def test_perception_refuses_what_it_would_have_to_leave_out(repository, given, words):
    with pytest.raises(RuntimeError, match=words):
        nodes_of(repository, 'perception', given)


@pytest.mark.parametrize('name', ['perception', 'build', 'monitor'])
def test_a_file_of_parameters_that_is_not_there_is_refused(repository, name):
    with pytest.raises(RuntimeError, match='and there is no such file; check the path'):
        nodes_of(repository, name, {'params_file': '/no/such.yaml'})


@pytest.mark.parametrize('sensors', ['camera', 'lidar'])
def test_the_demo_gives_perception_what_its_sensor_takes(repository, sensors):
    from launch import LaunchContext
    from launch.actions import IncludeLaunchDescription

    context = LaunchContext()
    given = {'source': 'drive', 'sensors': sensors, 'card': 'mine'}
    (perception, *_) = entities_of(repository, 'demo', given, context)
    assert isinstance(perception, IncludeLaunchDescription)

    # as launch does it: what is not forwarded is there all the same
    forwarded = dict(perception.launch_arguments)
    (node,) = nodes_of(repository, 'perception', forwarded, context)
    assert node.node_executable == {'camera': 'inference', 'lidar': 'lidar_inference'}[sensors]


def nodes_of(repository, name, given, context=None):
    from launch_ros.actions import Node

    entities = entities_of(repository, name, given, context)
    return [each for each in entities if isinstance(each, Node)]


def entities_of(repository, name, given, context=None):
    """Return what a launch file starts when it is given arguments."""
    from launch import LaunchContext

    names = runpy.run_path(str(repository / 'launch' / f'{name}.launch.py'))
    context = context or LaunchContext()
    context.launch_configurations.update(given)
    for argument in names['ARGUMENTS']:
        argument.execute(context)
    return names['start'](context)


@pytest.mark.parametrize(
    ('given', 'state', 'sim_time'),
    [({}, 'unconfigured', True), ({'autostart': 'true', 'use_sim_time': 'false'}, 'active', False)],
)
def test_what_is_not_given_is_as_the_parameters_file_says(
    launch, listener, tmp_path, given, state, sim_time
):
    from rcl_interfaces.srv import GetParameters

    path = tmp_path / 'parameters.yaml'
    path.write_text('/**: {ros__parameters: {autostart: false, use_sim_time: true}}')
    launch('perception', params_file=path, **given)

    request = GetParameters.Request(names=['use_sim_time'])
    answer = listener.call(GetParameters, '/inference/get_parameters', request, 40)
    assert answer.values[0].bool_value == sim_time
    assert listener.state('/inference') == state


@pytest.fixture
def engines(tmp_path, monkeypatch, fake_gpu):
    """Return the folder in which builders with a stand-in for TensorRT keep engines."""
    monkeypatch.setenv('TMPDIR', str(tmp_path))  # for the lock that keeps builds apart
    monkeypatch.setenv('TRT_ENGINE_STORE', str(tmp_path / 'engines'))
    fake_gpu('10.3.0')
    return tmp_path / 'engines'


def test_build_launch_file_fetches_the_network_of_a_card_then_builds_its_engine(launch, engines):
    running = launch('build', card='demo', fetch='true', namespace='robot1')

    running.wait_for('[robot1.builder]: demo: built: ')

    assert running.output.index('demo.onnx') < running.output.index('[robot1.builder]')
    assert list(engines.glob('*/engine.plan'))


def test_build_launch_file_builds_nothing_by_itself_when_told_not_to(launch, listener, engines):
    from trt_interfaces.srv import ListEngines

    running = launch('build', card='demo', autostart='false')

    answer = listener.call(ListEngines, '/list_engines', ListEngines.Request())

    assert answer.message.startswith('0 engines')
    assert 'demo' not in running.output


def test_a_builder_that_dies_is_started_again(launch, listener, wait_until, engines):
    from trt_interfaces.srv import ListEngines

    running = launch('build')
    wait_until(lambda: running.pids('builder'), 'the builder', 20, running)
    (first,) = running.pids('builder')

    os.kill(first, signal.SIGKILL)

    wait_until(lambda: set(running.pids('builder')) - {first}, 'another builder', 20, running)
    answer = listener.call(ListEngines, '/list_engines', ListEngines.Request(), 40)
    assert answer.message.startswith('0 engines')


# Ctrl-C while launch is inside subprocess.Popen, as it may be when a node is started again
INTERRUPTED = """
import os
import signal
import subprocess
from launch import LaunchDescription
from launch.actions import ExecuteProcess

class Popen(subprocess.Popen):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        os.killpg(0, signal.SIGINT)

subprocess.Popen = Popen

def generate_launch_description():
    return LaunchDescription([ExecuteProcess(cmd=['sleep', '60'], emulate_tty=True)])
"""

VERB = """
import argparse
import sys
from tools.ros2_launch import LaunchCommand
parser = argparse.ArgumentParser()
command = LaunchCommand()
command.add_arguments(parser, 'ros2')
sys.exit(command.main(parser=parser, args=parser.parse_args()))
"""


def test_ctrl_c_ends_our_launch_verb_also_while_it_starts_a_process(repository, tmp_path):
    (tmp_path / 'sleep.launch.py').write_text(INTERRUPTED)
    ended = subprocess.run(
        [sys.executable, '-c', VERB, str(tmp_path / 'sleep.launch.py')],
        check=False, cwd=repository, capture_output=True, text=True, timeout=30,
        start_new_session=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert 'user interrupted with ctrl-c' in ended.stdout + ended.stderr
    assert 'KeyboardInterrupt' not in ended.stderr


def test_namespace_moves_the_node(launch, listener):
    running = launch('perception', namespace='robot1')
    running.wait_for('active: looking at /robot1/image')

    assert listener.state('/robot1/inference') == 'active'
