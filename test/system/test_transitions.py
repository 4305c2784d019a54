# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Transitions of the inference node that fail, in this process: none fails in silence."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import signal
import subprocess
import time

import pytest


@pytest.fixture
def make() -> Iterator[Callable]:
    """Return a function that makes an inference node with parameters as a command line has them."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from trt_inference.camera.node import InferenceNode

    nodes = []

    def start(*given: str) -> InferenceNode:
        words = ['--ros-args', *(word for each in given for word in ('-p', each))]
        rclpy.init(args=words, signal_handler_options=SignalHandlerOptions.NO)
        nodes.append(InferenceNode())
        return nodes[-1]

    yield start
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown()


@pytest.fixture
def result():
    """Return what a transition returns."""
    from rclpy.lifecycle import TransitionCallbackReturn

    return TransitionCallbackReturn


@pytest.mark.parametrize('topic', ['bad topic', '1cam/image', '/a//b', 'image/'])
def test_a_name_that_no_topic_can_have_fails_configure_with_the_reason(make, result, capfd, topic):
    node = make(f'image_topics:=["{topic}"]')

    assert node.trigger_configure() == result.FAILURE
    message = f"configure failed: '{topic}' cannot be the name of a topic of a camera"
    assert message in capfd.readouterr().err
    assert message in node._failure, 'diagnostics say so too'

    from rclpy.parameter import Parameter

    (outcome,) = node.set_parameters([Parameter('image_topics', value=['/good'])])
    assert outcome.successful
    assert node.trigger_configure() == result.SUCCESS


@pytest.mark.parametrize('transition', ['configure', 'activate'])
def test_a_defect_in_a_transition_is_logged(make, result, capfd, monkeypatch, transition):
    def fail(*_):
        raise ValueError('our own mistake')

    node = make()
    monkeypatch.setattr(node, f'_{transition}', fail)
    node.autostart()

    log = capfd.readouterr().err
    assert f'defect in {transition}, please report it' in log
    assert 'ValueError: our own mistake' in log


def test_a_whole_parameter_file_may_be_loaded_as_long_as_fixed_values_stay(make, result):
    from rclpy.parameter import Parameter

    node = make()
    assert node.trigger_configure() == result.SUCCESS

    outcomes = node.set_parameters(
        [
            Parameter('card', value='demo'),
            Parameter('depth', value=1),
            Parameter('score_threshold', value=0.7),
            Parameter('card', value='yolox_s'),
        ]
    )
    assert [each.successful for each in outcomes] == [True, True, True, False]
    assert 'card takes effect when the node is configured' in outcomes[-1].reason
    assert node.get_parameter('card').value == 'demo'


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_start_is_no_error(repository, tmp_path, wait_until, number):
    executable = repository / 'install' / 'trt_inference' / 'lib' / 'trt_inference' / 'inference'
    for delay_s in (0.0, 0.1, 0.25):
        output = tmp_path / f'output{delay_s}'
        with output.open('w') as file:
            process = subprocess.Popen([executable], stdout=file, stderr=subprocess.STDOUT)
        wait_until(lambda p=process: has_handler(p.pid, signal.SIGTERM), 'its signal handlers', 10)
        time.sleep(delay_s)
        process.send_signal(number)
        assert process.wait(10) == 0, output.read_text()
        assert 'Traceback' not in output.read_text()


def has_handler(pid: int, number: int) -> bool:
    with open(f'/proc/{pid}/status') as status:
        caught = next(line.split()[1] for line in status if line.startswith('SigCgt'))
    return bool(int(caught, 16) >> (number - 1) & 1)
