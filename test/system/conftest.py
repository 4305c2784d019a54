# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Real nodes from real launch files, and a listener to what they publish."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from collections.abc import Iterator
import gc
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# A shell starts background jobs with Ctrl-C ignored; what is launched here must hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


REPEAT_S = 2.0
AFTER = {
    'configure': 'inactive',
    'activate': 'active',
    'deactivate': 'inactive',
    'cleanup': 'unconfigured',
}


class Launched:
    """A running launch file; its output goes to a file that failing tests print."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.log = log
        with log.open('w') as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors='replace')

    def pids(self, executable: str) -> list[int]:
        """Return the processes of this launch that run an executable of ours."""
        found = []
        for folder in Path('/proc').glob('[0-9]*'):
            try:
                words = (folder / 'cmdline').read_bytes().split(b'\0')
                session = int((folder / 'stat').read_text().rsplit(')', 1)[1].split()[3])
            except (OSError, ValueError):
                continue
            if session == self.process.pid and any(
                word.decode(errors='replace').endswith(f'/{executable}') for word in words[:2]
            ):
                found.append(int(folder.name))
        return found

    def wait_for(self, text: str, timeout_s: float = 30.0) -> None:
        wait(lambda: text in self.output, f'{text!r} in the log', timeout_s, self)

    def stop(self) -> int:
        """Interrupt it as Ctrl-C does, and return its exit status."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        try:
            return self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise


def wait(
    condition: Callable[[], object],
    what: str,
    timeout_s: float,
    launched: Launched | None = None,
) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            log = f'; the log ends:\n{launched.output[-3000:]}' if launched else ''
            pytest.fail(f'waited {timeout_s:g} s for {what}{log}')
        time.sleep(0.02)


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Wait for a condition; fail with what was waited for and the end of a launch file's log."""
    return wait


@pytest.fixture(autouse=True)
def nodes_gone() -> Iterator[None]:
    """Have no node outlive its test: rclpy shows one, and its services, until it is collected."""
    yield
    gc.collect()


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    """Start launch files (`launch('demo', source=..., card=...)`) that end with the test."""
    running: list[Launched] = []

    def start(name: str, **arguments: object) -> Launched:
        words = [f'{key}:={value}' for key, value in arguments.items()]
        command = ['ros2', 'launch', str(REPOSITORY / 'launch' / f'{name}.launch.py'), *words]
        running.append(Launched(command, tmp_path / f'{name}{len(running)}.log'))
        return running[-1]

    yield start
    for each in running:
        each.stop()


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Start entry points of trt_inference with parameters; return where the log of each is."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    running = []

    def start(entry, **parameters):
        words = [word for name, value in parameters.items() for word in ('-p', f'{name}:={value}')]
        code = f'import sys; from trt_inference.entry import {entry}; sys.exit({entry}())'
        log = (tmp_path / f'{entry}.log').open('w')
        process = subprocess.Popen(
            [sys.executable, '-c', code, '--ros-args', *words], stdout=log, stderr=log
        )
        running.append((process, log))
        return tmp_path / f'{entry}.log'

    yield start
    for process, log in running:
        process.terminate()
        process.wait(20)
        log.close()


class Listener:
    """Collects messages by topic, in a thread of its own."""

    def __init__(self, node, executor) -> None:
        self.node = node
        self._executor = executor
        self.received = defaultdict(list)
        self._clients = {}

    def listen(self, kind: type, topic: str, depth: int = 1000, **kwargs: object) -> list:
        from rclpy.qos import QoSProfile

        self.node.create_subscription(
            kind, topic, self.received[topic].append, QoSProfile(depth=depth, **kwargs)
        )
        return self.received[topic]

    def run(self, action: Callable[[], None]) -> None:
        """Do something in the thread that spins: what it waits for must not go meanwhile."""
        task = self._executor.create_task(action)
        wait(task.done, action.__qualname__, 10)

    def call(self, kind: type, service: str, request: object, timeout_s: float = 20.0):
        """Call a service that may be called twice; return its answer.

        We may have found a server that has not found us yet: its answer is then lost, and nothing
        tells. So the call is repeated.
        """
        if service not in self._clients:
            client = self._clients[service] = self.node.create_client(kind, service)
            assert client.wait_for_service(timeout_s), f'no service {service}'
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            future = self._clients[service].call_async(request)
            asked = time.monotonic()
            while time.monotonic() < asked + REPEAT_S:
                if future.done():
                    return future.result()
                time.sleep(0.02)
        pytest.fail(f'no answer of {service} in {timeout_s:g} s')

    def set_parameter(self, node: str, name: str, value: object):
        """Set a parameter of another node; return the SetParametersResult."""
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        return self.call(SetParameters, f'{node}/set_parameters', request).results[0]

    def change_state(self, node: str, transition: str) -> bool:
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState

        request = ChangeState.Request(transition=Transition(label=transition))
        done = bool(self.call(ChangeState, f'{node}/change_state', request).success)
        # Of a call whose first answer was lost, the second is refused: the node is there already.
        return done or self.state(node) == AFTER[transition]

    def state(self, node: str) -> str:
        from lifecycle_msgs.srv import GetState

        return str(self.call(GetState, f'{node}/get_state', GetState.Request()).current_state.label)


@pytest.fixture
def listener() -> Iterator[Listener]:
    import threading

    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('listener', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    stopping = threading.Event()

    def spin() -> None:
        while not stopping.is_set():
            executor.spin_once(timeout_sec=0.05)

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    yield Listener(node, executor)
    stopping.set()
    thread.join()
    # it may hold what it was about to handle: an action server would live on, and never answer
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown(context=context)
