# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The builder node in a process of its own, with stand-ins for TensorRT and the GPU."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from importlib.util import find_spec
import json
import math
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest

from trt_engine.store import Store

pytestmark = pytest.mark.slow

NODE = 'import sys; from trt_builder.entry import builder; sys.exit(builder())'
DEFECTIVE = f"""
from trt_builder.builder import EngineBuilder
def build(*args, **kwargs):
    raise ZeroDivisionError('planted')
EngineBuilder.build = build
{NODE}
"""


class Running:
    """A builder node in a process of its own."""

    def __init__(self, code: str, words: list[str], log: Path) -> None:
        self.log = log
        with log.open('w') as output:
            self.process = subprocess.Popen(
                [sys.executable, '-c', code, '--ros-args', *words],
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors='replace')

    def children(self) -> list[int]:
        tasks = Path(f'/proc/{self.process.pid}/task').glob('*/children')
        return [int(pid) for task in tasks for pid in task.read_text().split()]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(10)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / 'engines')


@pytest.fixture
def start(fake_gpu, store, tmp_path, monkeypatch) -> Iterator[Callable[..., Running]]:
    """Start a builder whose TensorRT does that: `start('hang', timeout_s=1.0)`."""
    running: list[Running] = []
    monkeypatch.setenv('TMPDIR', str(tmp_path))  # for the lock that keeps builds apart

    def run(does: str = 'build', code: str = NODE, **parameters: object) -> Running:
        fake_gpu('10.3.0', does)
        given = {'store': store.root, **parameters}
        words = [word for name, value in given.items() for word in ('-p', f'{name}:={value}')]
        running.append(Running(code, words, tmp_path / f'node{len(running)}.log'))
        return running[-1]

    yield run
    for each in running:
        if each.process.poll() is None:
            assert each.stop() == 0, each.output


def has_rtx() -> bool:
    return all(find_spec(f'tensorrt_rtx_{part}') is not None for part in ('bindings', 'libs'))


class Goal:
    """A goal of the action, from the side of who asked."""

    def __init__(self, client, wait_until, **fields: object) -> None:
        from trt_interfaces.action import BuildEngine

        self.feedback: list = []
        self._wait_until = wait_until
        sent = client.send_goal_async(
            BuildEngine.Goal(**fields), lambda message: self.feedback.append(message.feedback)
        )
        wait_until(sent.done, 'the goal to be answered', 20)
        self.handle = sent.result()
        assert self.handle.accepted
        self._result = self.handle.get_result_async()

    def outcome(self) -> tuple[int, object]:
        """Return the status of the goal, and its result, once it is over."""
        self._wait_until(self._result.done, 'the result', 30)
        return self._result.result().status, self._result.result().result

    def phases(self) -> list[str]:
        return [each.phase for each in self.feedback]


@pytest.fixture
def ask(listener, wait_until) -> Iterator[Callable[..., Goal]]:
    """Send a goal: `ask(card='demo', force=True)`."""
    from rclpy.action import ActionClient

    from trt_interfaces.action import BuildEngine
    from trt_interfaces.srv import ListEngines

    client = ActionClient(listener.node, BuildEngine, 'build_engine')

    def send(**fields: object) -> Goal:
        assert client.wait_for_server(20)
        # once it answers it has found us: before, an answer or the first feedback would be lost
        listener.call(ListEngines, '/list_engines', ListEngines.Request())
        return Goal(client, wait_until, **fields)

    yield send
    listener.run(client.destroy)


@pytest.fixture
def listen_to_status(listener) -> Callable[[], list]:
    from rclpy.qos import QoSDurabilityPolicy

    from trt_interfaces.msg import BuilderStatus

    return lambda: listener.listen(
        BuilderStatus, '/builder/status', durability=QoSDurabilityPolicy.TRANSIENT_LOCAL
    )


@pytest.fixture
def diagnostics(listener) -> Callable[[str], tuple[int, str]]:
    """Return a function that gives level and message of a task's last status."""
    from diagnostic_msgs.msg import DiagnosticArray

    reports = listener.listen(DiagnosticArray, '/diagnostics')

    def last(task: str) -> tuple[int, str]:
        for report in reversed(reports):
            for status in report.status:
                if status.name == f'builder: {task}':
                    return ord(status.level), status.message
        return -1, ''

    return last


def test_an_engine_is_built_then_reused_then_built_anew(start, ask, store):
    from action_msgs.msg import GoalStatus

    start()

    goal = ask(card='demo')
    status, result = goal.outcome()
    assert (status, result.status) == (GoalStatus.STATUS_SUCCEEDED, 'built'), result.reason
    (entry,) = store.entries()
    assert (result.engine, result.key) == (str(entry.plan), entry.key)
    assert json.loads(result.report)['status'] == 'built'
    assert {'prepare', 'parse', 'build', 'check', 'done'} <= set(goal.phases())
    fractions = [each.fraction for each in goal.feedback]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    elapsed = [each.elapsed_s for each in goal.feedback]
    assert 0 <= elapsed[0] <= elapsed[-1] <= result.seconds

    status, result = ask(card='demo').outcome()
    assert (status, result.status) == (GoalStatus.STATUS_SUCCEEDED, 'reused')
    assert result.key == entry.key

    assert ask(card='demo', force=True).outcome()[1].status == 'built'


def test_two_goals_at_once_for_one_card_make_one_build(start, ask, store):
    start()

    goals = [ask(card='demo') for _ in range(2)]

    assert sorted(goal.outcome()[1].status for goal in goals) == ['built', 'reused']
    assert len(store.entries()) == 1


def test_of_many_goals_that_come_at_once_none_is_lost(start, ask, listener, wait_until, store):
    from rclpy.action import ActionClient
    from rclpy.qos import QoSProfile

    from trt_interfaces.action import BuildEngine

    many = QoSProfile(depth=100)  # for the answers
    client = ActionClient(
        listener.node, BuildEngine, 'build_engine',
        goal_service_qos_profile=many, result_service_qos_profile=many,
    )  # fmt: skip
    start()
    assert ask(card='demo').outcome()[1].status == 'built'

    sent = [client.send_goal_async(BuildEngine.Goal(card='demo')) for _ in range(40)]
    wait_until(lambda: all(each.done() for each in sent), 'the goals to be answered', 20)
    results = [each.result().get_result_async() for each in sent]
    wait_until(lambda: all(each.done() for each in results), 'the results', 20)

    assert {each.result().result.status for each in results} == {'reused'}
    listener.run(client.destroy)


@pytest.mark.skipif(not has_rtx(), reason='TensorRT-RTX is not installed')
def test_the_real_thing_builds_an_engine(start, ask, store):
    start(flavour='tensorrt_rtx')

    result = ask(card='demo').outcome()[1]

    assert result.status == 'built', result.reason
    (entry,) = store.entries()
    assert entry.manifest.ingredients.flavour == 'tensorrt_rtx'
    assert entry.size_bytes > 100_000


@pytest.mark.parametrize(
    ('goal', 'words'),
    [
        ({'card': 'no_such_card'}, "no card 'no_such_card'"),
        ({'card': ''}, 'no card was named'),
        ({'card': 'demo', 'overrides': ['precision=fp7']}, 'precision'),
        ({'card': 'demo', 'onnx': '/no/such/file.onnx'}, '/no/such/file.onnx'),
        ({'card': 'yolox_nano'}, 'ros2 run trt_engine fetch_model'),
    ],
)
def test_what_cannot_be_built_is_aborted_with_the_reason(
    start, ask, goal, words, monkeypatch, tmp_path
):
    from action_msgs.msg import GoalStatus

    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))  # nothing was ever downloaded
    start()

    status, result = ask(**goal).outcome()

    assert (status, result.status) == (GoalStatus.STATUS_ABORTED, 'refused')
    assert words in result.reason
    assert json.loads(result.report)['reason'] == result.reason
    assert (result.engine, result.key) == ('', '')


def test_a_build_can_be_cancelled(start, ask, wait_until, listen_to_status):
    from action_msgs.msg import GoalStatus

    node = start('hang')
    statuses = listen_to_status()
    goal = ask(card='demo')
    wait_until(lambda: 'build' in goal.phases(), 'the build', 20)
    assert node.children()

    goal.handle.cancel_goal_async()

    status, result = goal.outcome()
    assert status == GoalStatus.STATUS_CANCELED
    assert 'cancelled' in result.reason
    assert node.children() == []
    wait_until(lambda: statuses[-1].state == 'idle', 'the status', 5)
    assert statuses[-1].last_outcome.startswith('demo: cancelled: ')


def test_a_goal_that_waits_for_its_turn_can_be_cancelled(start, ask, wait_until):
    from action_msgs.msg import GoalStatus

    start('hang')
    first = ask(card='demo')
    wait_until(lambda: 'build' in first.phases(), 'the build', 20)
    second = ask(card='demo', overrides=['precision=fp32'])
    wait_until(lambda: 'waiting' in second.phases(), 'the second to wait', 20)

    second.handle.cancel_goal_async()

    assert second.outcome()[0] == GoalStatus.STATUS_CANCELED
    first.handle.cancel_goal_async()
    assert first.outcome()[0] == GoalStatus.STATUS_CANCELED


def test_the_node_answers_during_a_build(start, ask, wait_until, listener):
    from trt_interfaces.srv import ListEngines

    start('hang')
    goal = ask(card='demo')
    wait_until(lambda: 'build' in goal.phases(), 'the build', 20)

    response = listener.call(ListEngines, '/list_engines', ListEngines.Request())

    assert response.success
    assert goal.handle.status != 5, 'the build goes on'


def test_engines_are_listed_verified_and_removed(start, ask, store, listener):
    from trt_interfaces.srv import ListEngines
    from trt_interfaces.srv import RemoveEngine
    from trt_interfaces.srv import VerifyEngines

    start()
    key = ask(card='demo').outcome()[1].key
    other = ask(card='demo', overrides=['precision=fp32']).outcome()[1].key

    listed = listener.call(ListEngines, '/list_engines', ListEngines.Request())
    assert listed.success
    assert listed.message.startswith('2 engines')
    infos = {each.key: each for each in listed.engines}
    assert set(infos) == {key, other}
    assert (infos[other].card, infos[other].precision) == ('demo', 'fp32')
    assert infos[key].tensorrt == '10.3.0'
    assert Path(infos[key].engine).is_file()

    verified = listener.call(VerifyEngines, '/verify_engines', VerifyEngines.Request())
    assert verified.success
    assert [each.problem for each in verified.engines] == ['', '']

    plan = store.root / key / 'engine.plan'
    plan.write_bytes(plan.read_bytes()[:-1])
    verified = listener.call(VerifyEngines, '/verify_engines', VerifyEngines.Request())
    assert not verified.success
    problems = {each.key: each.problem for each in verified.engines}
    assert problems[other] == ''
    assert 'it was cut off' in problems[key]

    removed = listener.call(RemoveEngine, '/remove_engine', RemoveEngine.Request(key=other))
    assert removed.success
    assert store.entries() == []
    again = listener.call(RemoveEngine, '/remove_engine', RemoveEngine.Request(key='../locks'))
    assert not again.success
    assert "no engine of the key '../locks'" in again.message


def test_a_store_that_others_can_write_to_is_refused_with_the_reason(start, store, listener):
    from trt_interfaces.srv import ListEngines
    from trt_interfaces.srv import VerifyEngines

    store.root.mkdir(mode=0o777)
    store.root.chmod(0o777)
    start()

    for kind, name in ((ListEngines, '/list_engines'), (VerifyEngines, '/verify_engines')):
        response = listener.call(kind, name, kind.Request())
        assert not response.success
        assert 'other users can write to it' in response.message


def test_who_comes_late_hears_the_status(start, ask, wait_until, listen_to_status):
    start('hang')
    goal = ask(card='demo')
    wait_until(lambda: 'build' in goal.phases(), 'the build', 20)
    waiting = ask(card='demo', overrides=['precision=fp32'])

    statuses = listen_to_status()
    wait_until(lambda: statuses and statuses[-1].queued == 1, 'the status', 5)

    assert (statuses[-1].state, statuses[-1].card) == ('building', 'demo')
    assert statuses[-1].phase == 'build'
    assert statuses[-1].elapsed_s > 0
    for each in (waiting, goal):
        each.handle.cancel_goal_async()
        each.outcome()
    wait_until(lambda: statuses[-1].state == 'idle', 'the status', 5)
    assert math.isnan(statuses[-1].fraction)


def test_diagnostics_tell_of_refusals_and_quarantine(
    start, ask, store, wait_until, listener, diagnostics
):
    from trt_interfaces.srv import VerifyEngines

    start()
    wait_until(lambda: diagnostics('build') == (0, 'idle'), 'an idle builder', 20)
    ask(card='no_such_card').outcome()
    wait_until(lambda: diagnostics('build')[0] == 1, 'a warning', 5)
    assert "no card 'no_such_card'" in diagnostics('build')[1]

    key = ask(card='demo').outcome()[1].key
    wait_until(lambda: diagnostics('build') == (0, 'idle'), 'an idle builder', 5)
    wait_until(lambda: diagnostics('store')[1].startswith('1 engines'), 'the store', 10)
    assert diagnostics('store')[0] == 0

    (store.root / key / 'build.log').write_text('rewritten')
    listener.call(VerifyEngines, '/verify_engines', VerifyEngines.Request())
    wait_until(lambda: diagnostics('store')[0] == 1, 'a warning', 10)
    assert diagnostics('store')[1].startswith('1 in quarantine, the newest: ')
    assert 'build.log: sha256 is' in diagnostics('store')[1]


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_it_ends_the_build_and_says_so(start, ask, wait_until, number):
    from action_msgs.msg import GoalStatus

    node = start('hang')
    goal = ask(card='demo')
    wait_until(lambda: 'build' in goal.phases(), 'the build', 20)
    (child,) = node.children()

    began = time.monotonic()
    node.process.send_signal(number)
    time.sleep(0.01)
    node.process.send_signal(number)  # who is impatient gets nothing else

    assert node.process.wait(5) == 0, node.output
    assert time.monotonic() - began < 5
    assert not Path(f'/proc/{child}').exists()
    assert goal.outcome()[0] == GoalStatus.STATUS_ABORTED
    assert 'Traceback' not in node.output


def test_killed_it_leaves_no_build_behind(start, ask, wait_until):
    node = start('hang')
    goal = ask(card='demo')
    wait_until(lambda: 'build' in goal.phases(), 'the build', 20)
    (child,) = node.children()

    node.process.kill()
    node.process.wait()

    wait_until(lambda: not Path(f'/proc/{child}').exists(), 'the child to end', 5)


def test_the_cards_of_the_parameter_are_built_at_the_start(
    start, store, wait_until, listen_to_status
):
    statuses = listen_to_status()
    node = start(cards='[no_such_card, demo]')

    wait_until(store.entries, 'an engine', 30)
    wait_until(lambda: statuses and statuses[-1].state == 'idle', 'the end', 5)
    assert statuses[-1].last_outcome.startswith('demo: built: ')
    assert "no_such_card: refused: no card 'no_such_card'" in node.output


def test_a_parameter_that_cannot_be_is_refused_without_a_traceback(start):
    node = start(flavour='tensorrt_xyz')

    assert node.process.wait(20) == 1
    assert "builder: flavour is 'tensorrt_xyz'; wanted one of tensorrt, tensorrt_rtx" in node.output
    assert 'Traceback' not in node.output


def test_a_defect_ends_the_goal_and_not_the_node(start, ask):
    node = start(code=DEFECTIVE)

    for _ in range(2):
        status, result = ask(card='demo').outcome()
        assert (status, result.status) == (6, 'refused')
        assert "please report it: ZeroDivisionError('planted')" in result.reason
    assert '[FATAL]' in node.output
    assert 'Traceback' in node.output


def test_a_builder_that_was_destroyed_is_not_found_any_more(listener, wait_until):
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from trt_builder.node import BuilderNode

    def is_found() -> bool:
        names = [name for name, _ in listener.node.get_service_names_and_types()]
        return '/build_engine/_action/send_goal' in names

    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = BuilderNode()
        wait_until(is_found, 'the builder', 20)
        node.destroy_node()
        wait_until(lambda: not is_found(), 'the end of it', 10)
    finally:
        rclpy.try_shutdown()
