# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The inference node with TensorRT, for which stand-ins compute: engines found, built, or not."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import os
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

from trt_builder.settings import Resolved
from trt_builder.tensorrt_build import build
from trt_engine.backends import open_backend
from trt_engine.card import load_card
from trt_engine.entry import Entry
from trt_engine.manifest import Ingredients
from trt_engine.manifest import Manifest
from trt_engine.model_file import resolve_model
from trt_engine.platform import read_platform
from trt_engine.store import Store
from trt_inference.camera.pipeline import Detector
from trt_inference.cdr import serialize_image

pytestmark = pytest.mark.slow

NODE = """
import os
import sys
import trt_engine.backends
trt_engine.backends.has_gpu = lambda: True
if 'FREE_MIB' in os.environ:
    from trt_engine.memory.budget import Room
    from trt_inference.camera import budget as camera_budget
    camera_budget.room_here = lambda: Room('this test', int(os.environ['FREE_MIB']), None, 'it')
from trt_inference.entry import inference
sys.exit(inference())
"""


@pytest.fixture
def store(fake_gpu, tmp_path) -> Store:
    fake_gpu('10.3.0')
    return Store(tmp_path / 'engines')


@pytest.fixture
def put_engine(store) -> Callable[[], Entry]:
    """Return a function that builds the engine of the demo network, and keeps it."""

    def put(gpu: str = '8.7') -> Entry:
        card = load_card('demo')
        model = resolve_model(card)
        output = build(
            Resolved('tensorrt', (10, 3, 0), 'fp32', strongly_typed=False), model,
            report=lambda *_: None, log=lambda *_: None,
        )  # fmt: skip
        plan = output.plan.replace(b'"gpu": "8.7"', b'"gpu": "%s"' % gpu.encode())
        ingredients = Ingredients.collect(card, model, flavour='tensorrt', facts=read_platform())
        return store.put(Manifest(ingredients, '2026-01-31T12:00:00Z', 1.0), plan)

    return put


class Running:
    """An inference node in a process of its own."""

    def __init__(self, process: subprocess.Popen, log) -> None:
        self.process, self.log = process, log

    @property
    def output(self) -> str:
        return self.log.read_text(errors='replace')


@pytest.fixture
def start(store, tmp_path) -> Iterator[Callable[..., Running]]:
    """Start a node that believes in its GPU: `start(backend='auto', autostart=False)`."""
    (tmp_path / 'node.py').write_text(NODE)
    running: list[Running] = []

    def run(*arguments: str, **parameters: object) -> Running:
        given = {'backend': 'tensorrt', 'engine_store': store.root, **parameters}
        words = [word for name, value in given.items() for word in ('-p', f'{name}:={value}')]
        log = tmp_path / f'node{len(running)}.log'
        with log.open('w') as output:
            node = str(tmp_path / 'node.py')
            command = [sys.executable, node, *arguments, '--ros-args', *words]
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        running.append(Running(process, log))
        return running[-1]

    yield run
    for each in running:
        each.process.send_signal(signal.SIGINT)
        assert each.process.wait(20) == 0, each.output


@pytest.fixture
def real_builder(store, tmp_path) -> Iterator[Running]:
    log = tmp_path / 'builder.log'
    code = 'import sys; from trt_builder.entry import builder; sys.exit(builder())'
    with log.open('w') as output:
        command = [sys.executable, '-c', code, '--ros-args', '-p', f'store:={store.root}']
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    yield Running(process, log)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0, log.read_text()


@pytest.fixture
def builder(listener):
    """Return a stand-in for the builder node, whose builds end when the test says so."""
    from rclpy.action import ActionServer
    from rclpy.action import CancelResponse
    from rclpy.task import Future

    from trt_interfaces.action import BuildEngine

    class Builder:
        def __init__(self) -> None:
            self.goal = None
            self._ended = Future()
            self.server = ActionServer(
                listener.node, BuildEngine, 'build_engine', self._execute,
                cancel_callback=lambda _: CancelResponse.ACCEPT,
            )  # fmt: skip

        async def _execute(self, goal):
            self.goal = goal
            result = await self._ended
            if result.status == 'refused':
                goal.abort()
            else:
                goal.succeed()
            return result

        def tell(self, phase: str, fraction: float, message: str) -> None:
            self.goal.publish_feedback(
                BuildEngine.Feedback(phase=phase, fraction=fraction, message=message, elapsed_s=1.0)
            )

        def end(self, status: str, reason: str = '') -> None:
            self._ended.set_result(BuildEngine.Result(status=status, reason=reason))

        def leave(self) -> None:
            if self.server is not None:
                listener.run(self.server.destroy)
                self.server = None

    each = Builder()
    yield each
    if not each._ended.done():
        each.end('refused', 'the test is over')
    each.leave()  # or else the next test would find it


@pytest.fixture
def diagnostics(listener) -> Callable[[], tuple[int, str, dict[str, str]]]:
    """Return a function that gives level, message and values of the backend's last status."""
    from diagnostic_msgs.msg import DiagnosticArray

    reports = listener.listen(DiagnosticArray, '/diagnostics')

    def last():
        for report in reversed(reports):
            for status in report.status:
                if status.name == 'inference: backend':
                    values = {each.key: each.value for each in status.values}
                    return status.level[0], status.message, values
        return 0, '', {}

    return last


@pytest.fixture
def detect(listener, wait_until, repository):
    """Return a function that sends a picture until detections come; gives boxes and scores."""
    from sensor_msgs.msg import Image
    from vision_msgs.msg import Detection2DArray

    found = listener.listen(Detection2DArray, '/inference/detections')
    camera = listener.node.create_publisher(Image, '/image', 1)
    picture = cv2.imread(str(repository / 'docs' / 'scene.jpg'))

    def ask(running: Running):
        def arrived() -> bool:
            camera.publish(serialize_image(1, 'camera', picture))
            return bool(found)

        wait_until(arrived, 'detections', 30, running)
        rows = [
            (
                each.bbox.center.position.x, each.bbox.center.position.y, each.bbox.size_x,
                each.bbox.size_y, each.results[0].hypothesis.score,
            )
            for each in found[-1].detections
        ]  # fmt: skip
        return np.array(rows)

    return ask


@pytest.fixture
def wanted(repository) -> np.ndarray:
    """Return what ONNX Runtime sees in the same picture."""
    card = load_card('demo')
    detector = Detector(card, open_backend('onnxruntime', resolve_model(card)))
    found = detector(cv2.imread(str(repository / 'docs' / 'scene.jpg')), 'bgr8')
    left, top, right, bottom = found.boxes.T
    assert len(found) > 1
    return np.stack(
        [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top, found.scores], axis=1
    )


def test_an_engine_of_the_store_sees_what_onnx_runtime_sees(
    put_engine, start, detect, wanted, diagnostics, listener, wait_until
):
    from trt_interfaces.msg import InferenceStats

    stats = listener.listen(InferenceStats, '/inference/stats')
    entry = put_engine()
    running = start()

    np.testing.assert_allclose(detect(running), wanted, atol=1e-3)

    assert f'on TensorRT 10.3.0, Stand-in, engine {entry.key[:12]}' in running.output
    wait_until(lambda: stats and 'pipeline' in diagnostics()[2], 'diagnostics', 10, running)
    assert stats[-1].backend == f'tensorrt {entry.key[:12]}'
    level, message, values = diagnostics()
    assert level == 0
    assert 'with an engine built 2026-01-31T12:00:00Z of exactly these ingredients' in message
    assert values['engine key'] == entry.key
    assert values['pipeline'] == 'gpu'


@pytest.mark.parametrize('memory', ['mapped', 'copied'])
def test_the_way_of_a_frame_is_the_users_choice(
    put_engine, start, detect, wanted, diagnostics, wait_until, memory
):
    put_engine()
    running = start(
        pipeline='gpu', frame_memory=memory, spin_wait=True, cpu_affinity="'0'",
        realtime_priority=0,
    )  # fmt: skip
    np.testing.assert_allclose(detect(running), wanted, atol=1e-3)
    wait_until(lambda: 'pipeline' in diagnostics()[2], 'diagnostics', 10, running)
    assert diagnostics()[2]['pipeline'].startswith('gpu, ' if memory == 'mapped' else 'gpu')


def test_two_networks_run_side_by_side_in_one_process(
    put_engine, start, detect, wanted, listener, wait_until
):
    from vision_msgs.msg import Detection2DArray

    put_engine()
    found = [listener.listen(Detection2DArray, f'/{name}/detections') for name in ('one', 'two')]
    running = start('--nodes', 'one', 'inference', 'two', **{'two:max_detections': 1})
    np.testing.assert_allclose(detect(running), wanted, atol=1e-3)
    wait_until(lambda: all(found), 'detections of all', 30, running)
    assert [len(each[-1].detections) for each in found] == [len(wanted), 1]


def test_what_the_node_takes_of_memory_is_told(put_engine, start, detect, listener, wait_until):
    from diagnostic_msgs.msg import DiagnosticArray

    reports = listener.listen(DiagnosticArray, '/diagnostics')
    put_engine()
    running = start()
    detect(running)

    def told() -> dict[str, str]:
        seen = {s.name: s for report in reports for s in report.status}
        status = seen.get('inference: memory')
        return {} if status is None else {each.key: each.value for each in status.values}

    camera = 'demo: images on host (MiB)'
    wait_until(lambda: 'exact' in told().get(camera, ''), 'the camera that was seen', 10, running)
    assert 'held' in told()['demo: weights on device (MiB)']
    assert 'memory:' in running.output
    assert '1920x1080:bgr8, not seen yet' in running.output


def test_an_engine_that_does_not_fit_is_not_loaded(put_engine, start, monkeypatch, wait_until):
    monkeypatch.setenv('FREE_MIB', '100')
    put_engine()
    running = start()
    wait_until(lambda: 'configure failed' in running.output, 'the refusal', 30, running)
    assert '100 MiB are free' in running.output
    assert 'MiB too few; the largest parts: ' in running.output
    assert 'configured' not in running.output


def test_the_user_may_try_what_does_not_fit(put_engine, start, detect, wanted, monkeypatch):
    monkeypatch.setenv('FREE_MIB', '100')
    put_engine()
    running = start(memory_check='warn')
    np.testing.assert_allclose(detect(running), wanted, atol=1e-3)
    assert 'MiB too few' in running.output


def test_two_cameras_share_an_engine(put_engine, start, wanted, listener, wait_until, repository):
    from sensor_msgs.msg import Image
    from vision_msgs.msg import Detection2DArray

    put_engine()
    running = start(cameras='[front, rear]', max_batch_wait_ms=5.0)
    names = ('front', 'rear')
    found = [listener.listen(Detection2DArray, f'/inference/{name}/detections') for name in names]
    cameras = [listener.node.create_publisher(Image, f'/{name}/image', 1) for name in names]
    picture = cv2.imread(str(repository / 'docs' / 'scene.jpg'))

    def both() -> bool:
        for name, camera in zip(names, cameras, strict=True):
            camera.publish(serialize_image(1, name, picture))
        return all(found)

    wait_until(both, 'detections of both cameras', 30, running)
    assert [each[-1].header.frame_id for each in found] == list(names)
    assert [len(each[-1].detections) for each in found] == [len(wanted)] * 2
    assert 'pictures at once' not in running.output, 'its network takes one'


@pytest.mark.parametrize(
    ('arguments', 'status', 'words'),
    [
        (['--nodes', 'one', 'one'], 2, 'wanted each name once'),
        (['--nodes', 'o-n-e'], 1, 'o-n-e'),
        (['--node'], 2, 'expected at least one argument'),
    ],
)
def test_names_that_cannot_be_are_refused(arguments, status, words):
    code = 'import sys; from trt_inference.entry import inference; sys.exit(inference())'
    done = subprocess.run(
        [sys.executable, '-c', code, *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == status
    assert words in done.stderr
    assert 'Traceback' not in done.stderr


def test_without_engine_and_builder_configure_fails_with_the_command(
    start, store, listener, diagnostics, wait_until
):
    running = start(overrides='[precision=fp16]')
    wait_until(lambda: 'configure failed' in running.output, 'the failure', 30, running)
    command = f'ros2 run trt_builder trt_build demo --set precision=fp16 --store {store.root}'
    assert f'{store.root} holds no engine yet. To build it: {command}' in running.output
    assert 'ros2 launch trt_bringup build.launch.py' in running.output
    assert listener.state('/inference') == 'unconfigured'
    wait_until(lambda: diagnostics()[0] == 2, 'an error in diagnostics', 10, running)
    assert command in diagnostics()[1]


def test_an_engine_of_another_gpu_goes_to_quarantine_and_counts_as_missing(
    put_engine, store, start, wait_until
):
    put_engine(gpu='7.5')
    node = start()
    wait_until(lambda: 'there is no engine' in node.output, 'the failure', 30, node)
    assert 'expecting compute 8.7 got compute 7.5' in node.output
    assert 'it is moved to quarantine' in node.output
    assert 'ros2 run trt_builder trt_build demo' in node.output
    assert store.entries() == []
    (reason,) = store.root.glob('quarantine/*/reason.txt')
    assert 'incompatible device' in reason.read_text()


def test_auto_runs_on_the_cpu_meanwhile_and_warns(start, detect, wanted, diagnostics, wait_until):
    running = start(backend='auto')
    np.testing.assert_allclose(detect(running), wanted, atol=1e-3)
    wait_until(lambda: 'pipeline' in diagnostics()[2], 'diagnostics', 10, running)
    level, message, _ = diagnostics()
    assert level == 1
    assert 'ONNX Runtime on the CPU, as there is no engine' in message
    assert 'trt_build demo' in message
    assert 'onnxruntime: ONNX Runtime on the CPU, as there is no engine' in running.output


def test_a_builder_is_asked_and_the_node_goes_on_when_it_has_built(
    builder, start, detect, wanted, put_engine, diagnostics, listener, wait_until
):
    running = start(overrides='[timing_iterations=1]')
    wait_until(lambda: builder.goal, 'the goal', 30, running)
    assert asks_builder(listener)
    assert builder.goal.request.card == 'demo'
    assert list(builder.goal.request.overrides) == ['timing_iterations=1']
    assert listener.state('/inference') == 'inactive'

    builder.tell('build', 0.43, 'timing convolutions')
    text = 'engine is being built: build 43 %: timing convolutions'
    wait_until(lambda: diagnostics()[:2] == (1, text), 'progress in diagnostics', 10, running)
    assert text in running.output
    assert listener.state('/inference') == 'inactive'

    put_engine()
    builder.end('built')
    np.testing.assert_allclose(detect(running), wanted, atol=1e-3)
    assert listener.state('/inference') == 'active'


def test_the_builder_node_builds_what_the_inference_node_wants(
    real_builder, start, store, detect, wanted, wait_until, listener
):
    wait_until(lambda: '/build_engine/_action/send_goal' in services(listener), 'builder', 30)
    running = start()
    np.testing.assert_allclose(detect(running), wanted, atol=1e-3)
    (entry,) = store.entries()
    assert f'engine {entry.key[:12]}' in running.output
    assert 'asking build_engine for an engine of demo' in running.output


def services(listener) -> set[str]:
    return {name for name, _ in listener.node.get_service_names_and_types()}


def test_the_node_activates_itself_if_that_was_asked_while_it_waited(
    builder, start, put_engine, listener, wait_until
):
    running = start(autostart=False)
    assert listener.change_state('/inference', 'configure')
    wait_until(lambda: builder.goal, 'the goal', 30, running)
    assert not listener.change_state('/inference', 'activate')
    assert 'not active yet: engine is being built' in running.output
    assert listener.state('/inference') == 'inactive'
    outcome = listener.set_parameter('/inference', 'card', 'yolox_nano')
    assert 'clean up first' in outcome.reason

    put_engine()
    builder.end('built')
    wait_until(lambda: 'active: looking at' in running.output, 'the node', 20, running)
    assert listener.state('/inference') == 'active'


@pytest.mark.parametrize(
    ('end', 'reason'),
    [
        (lambda builder: builder.end('refused', 'FP8 needs another GPU'), 'FP8 needs another GPU'),
        (lambda builder: builder.end('built'), 'holds no engine yet; has it the same store'),
        (lambda builder: builder.leave(), 'the builder is gone'),
    ],
)
def test_a_build_that_brings_no_engine_is_said(
    builder, start, listener, diagnostics, wait_until, end, reason
):
    running = start()
    wait_until(lambda: builder.goal, 'the goal', 30, running)
    end(builder)
    wait_until(lambda: 'configure failed' in running.output, 'the failure', 30, running)
    assert reason in running.output
    assert listener.state('/inference') == 'unconfigured'
    wait_until(
        lambda: diagnostics()[0] == 2 and reason in diagnostics()[1], 'diagnostics', 10, running
    )
    wait_until(lambda: not asks_builder(listener), 'the request to be forgotten', 10, running)


def asks_builder(listener) -> bool:
    clients = listener.node.get_client_names_and_types_by_node('inference', '/')
    return any('build_engine' in name for name, _ in clients)


@pytest.mark.parametrize('transition', ['cleanup', 'shutdown'])
def test_an_end_of_the_waiting_cancels_the_build(builder, start, listener, wait_until, transition):
    running = start()
    wait_until(lambda: builder.goal, 'the goal', 30, running)
    builder.tell('build', 0.1, 'timing convolutions')
    wait_until(lambda: 'timing convolutions' in running.output, 'progress', 10, running)
    if transition == 'cleanup':
        assert listener.change_state('/inference', 'cleanup')
        assert listener.state('/inference') == 'unconfigured'
    else:
        os.kill(running.process.pid, signal.SIGINT)
    wait_until(lambda: builder.goal.is_cancel_requested, 'the request to cancel', 10, running)


@pytest.mark.parametrize(
    ('parameter', 'value', 'reason'),
    [
        ('builder', 'not a name', "'not a name' cannot be the name of an action"),
        ('overrides', '[precision=fp99]', "build.precision is 'fp99'; allowed: fp32, fp16"),
    ],
)
def test_what_cannot_be_asked_for_fails_configure(start, wait_until, parameter, value, reason):
    running = start(**{parameter: value})
    wait_until(lambda: 'configure failed' in running.output, 'the failure', 30, running)
    assert reason in running.output


def test_no_builder_is_asked_where_none_is_named(builder, start, wait_until):
    running = start(builder="''")
    wait_until(lambda: 'configure failed' in running.output, 'the failure', 30, running)
    assert builder.goal is None
