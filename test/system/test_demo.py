# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a person meets who runs the demo: results, plain errors, and a Ctrl-C at any moment."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
import time
import uuid

import cv2
import pytest

from tools.lidar_simulator import folder as simulated

REPOSITORY = Path(__file__).resolve().parents[2]
SCENE = REPOSITORY / 'docs' / 'scene.jpg'
FRAMES = 20
END_WITHIN_S = 10.0


class Demo:
    """tools/demo.py as a shell starts it: a process group of its own, output to a file."""

    def __init__(self, folder: Path, *words: object) -> None:
        self.out = folder / 'out: of the #demo'  # nothing in a path may be taken for YAML
        self.mark = f'DEMO_TEST={uuid.uuid4()}'
        self._output = folder / 'terminal'
        name, _, value = self.mark.partition('=')
        with self._output.open('w') as output:
            self.process = subprocess.Popen(
                [sys.executable, str(REPOSITORY / 'tools' / 'demo.py'), '--out', str(self.out),
                 *map(str, words)],
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, name: value},
            )  # fmt: skip

    @property
    def terminal(self) -> str:
        return self._output.read_text(errors='replace')

    @property
    def log(self) -> str:
        path = self.out / 'launch.log'
        return path.read_text(errors='replace') if path.is_file() else ''

    def wait(self, timeout_s: float) -> int:
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pytest.fail(
                f'still running after {timeout_s:g} s:\n{self.terminal}\n{self.log[-3000:]}'
            )

    def processes(self, words: str = '') -> dict[int, str]:
        """Return everything that this demo started, in whatever session, by process id."""
        found = {}
        for folder in Path('/proc').glob('[0-9]*'):
            try:
                environment = (folder / 'environ').read_bytes()
                command = (folder / 'cmdline').read_bytes().replace(b'\0', b' ').decode()
            except OSError:
                continue
            if self.mark.encode() in environment and words in command:
                found[int(folder.name)] = command
        return found

    def end_with(self, number: int, *, group: bool = True) -> int:
        """Send a signal; return the exit status, once it is sure that nothing is left."""
        (os.killpg if group else os.kill)(self.process.pid, number)
        status = self.wait(END_WITHIN_S)
        assert self.processes() == {}
        assert 'Traceback' not in self.terminal
        return status


@pytest.fixture
def demo(tmp_path) -> Iterator[Callable[..., Demo]]:
    """Start the demo; whatever it leaves is killed after the test."""
    started: list[Demo] = []

    def start(*words: object) -> Demo:
        started.append(Demo(tmp_path, *words))
        return started[-1]

    yield start
    for each in started:
        for pid in each.processes():
            os.kill(pid, signal.SIGKILL)
        each.process.wait()


@pytest.fixture(scope='module')
def drive(tmp_path_factory) -> Path:
    """Return a folder of pictures: 1.3 s at the rate of the demo."""
    folder = tmp_path_factory.mktemp('drive')
    for index in range(FRAMES):
        (folder / f'{index:03}.jpg').symlink_to(SCENE)
    return folder


def frames_of(video: Path) -> list:
    capture, frames = cv2.VideoCapture(str(video)), []
    while (read := capture.read())[0]:
        frames.append(read[1])
    capture.release()
    return frames


def reported_frames(text: str) -> int:
    (report,) = re.findall(r'^(\d+) frames in .* 0 errors on \w+$', text, re.MULTILINE)
    return int(report)


def test_a_folder_of_pictures_gives_a_summary_a_video_and_a_picture(demo, drive):
    run = demo('--source', drive)
    assert run.wait(30) == 0, run.log

    assert f'demo: demo looks at {drive}' in run.terminal
    assert FRAMES * 0.8 <= reported_frames(run.terminal) <= FRAMES
    assert re.search(r'detections in all frames: .*traffic_cone \d+', run.terminal)
    scene, overlay = cv2.imread(str(SCENE)), cv2.imread(str(run.out / 'overlay.png'))
    assert overlay.shape == scene.shape
    assert (overlay != scene).any()
    (video,) = run.out.glob('overlay.[!p]*')
    frames = frames_of(video)
    assert FRAMES * 0.8 <= len(frames) <= FRAMES
    assert frames[0].shape == scene.shape
    assert run.processes() == {}


def test_any_card_network_and_bag(demo, data):
    bag = data / 'bags' / 'permissive_mix_db3'
    onnx = data / 'models' / 'yolox_nano_416.onnx'
    run = demo('--card', 'yolox_nano', '--onnx', onnx, '--source', bag)
    assert run.wait(30) == 0, run.log

    assert reported_frames(run.terminal) > 0
    assert 'person' in run.terminal
    assert (run.out / 'overlay.png').is_file()


def test_sweeps_give_a_summary_and_a_video_from_above(demo, tmp_path):
    sweeps = tmp_path / 'sweeps'
    simulated.main(['--out', str(sweeps), '--drive', '--sweeps', '12'])
    run = demo('--card', 'demo_lidar', '--source', sweeps)
    assert run.wait(60) == 0, run.log

    assert f'demo: demo_lidar looks at {sweeps}' in run.terminal
    count = reported_frames(run.terminal)
    assert 2 <= count <= 12
    seen = re.search(r'detections in all frames: .*car (\d+)', run.terminal)
    assert seen is not None
    assert int(seen[1]) >= count
    (video,) = run.out.glob('overlay.[!p]*')
    frames = frames_of(video)
    assert 1 <= len(frames) <= count
    assert frames[0].shape == (900, 900, 3)
    last = cv2.imread(str(run.out / 'overlay.png'))
    # grey points and rings, and boxes in colour
    assert (last.max(axis=2).astype(int) - last.min(axis=2) > 60).sum() > 100
    assert (last.min(axis=2) > 200).sum() > 100
    assert run.processes() == {}


def test_real_sweeps_go_through_and_cars_are_seen(demo, data, tmp_path):
    sweeps = tmp_path / 'sweeps'
    sweeps.mkdir()
    for index in range(12):  # a busy machine sees few of them
        name = f'ouster_OS1128_{index % 3}.bin'
        (sweeps / f'{index:02}_{name}').symlink_to(data / 'lidar' / name)
    run = demo('--card', 'demo_lidar', '--source', sweeps)
    assert run.wait(60) == 0, run.log
    count = reported_frames(run.terminal)
    assert count >= 2
    assert '0 errors' in run.terminal
    # by eye there are about twenty beside this street, parked
    seen = re.search(r'detections in all frames: .*car (\d+)', run.terminal)
    assert seen is not None
    assert 5 * count <= int(seen[1]) <= 40 * count


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--card', 'yolox_nanno'], "demo: no card 'yolox_nanno'; did you mean"),
        (['--card', 'no/such.yaml'], 'demo: no/such.yaml: the card cannot be read'),
        (['--source', '/no/such'], 'demo: /no/such: no such file or device; check the path'),
        (['--onnx', '/no/such.onnx'], 'there is no model file /no/such.onnx'),
        (
            ['--out', '/dev/null/x'],
            'demo: --out /dev/null/x: no folder can be made there: Not a dir',
        ),
    ],
)
def test_what_cannot_work_is_said_in_a_line_at_once(demo, words, message):
    begun_s = time.monotonic()
    run = demo('--source', SCENE, *words)

    assert run.wait(5) == 1
    assert time.monotonic() - begun_s < 3
    assert message in run.terminal
    assert len(run.terminal.splitlines()) == 1


def test_a_broken_network_ends_the_demo_with_the_reason(demo, tmp_path):
    broken = tmp_path / 'broken.onnx'
    broken.write_bytes((REPOSITORY / 'models' / 'demo.onnx').read_bytes()[:3000])
    run = demo('--source', SCENE, '--onnx', broken)

    assert run.wait(12) == 1
    assert f'configure failed: {broken}: ONNX Runtime cannot load it' in run.terminal
    assert f'the whole log is {run.out}/launch.log' in run.terminal
    assert 'Traceback' not in run.terminal
    assert '\x1b' not in run.terminal
    assert run.processes() == {}


@pytest.mark.parametrize('delay_s', [0.2, 1.0, 2.5, 5.0])
def test_ctrl_c_ends_everything(demo, drive, delay_s):
    run = demo('--source', drive)
    time.sleep(delay_s)

    assert run.end_with(signal.SIGINT) in (0, 130)


def test_ctrl_c_pressed_again_and_again_still_leaves_a_whole_video(demo, drive, wait_until):
    run = demo('--source', drive)
    wait_until(lambda: '[replay]: done' in run.log, 'frames in the video', 20)
    for _ in range(5):
        os.killpg(run.process.pid, signal.SIGINT)
        time.sleep(0.05)

    assert run.wait(END_WITHIN_S) == 0
    assert run.processes() == {}
    assert 'Traceback' not in run.terminal
    assert reported_frames(run.terminal) > 0
    (video,) = run.out.glob('overlay.[!p]*')
    assert frames_of(video)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_rendering_leaves_no_half_drive(demo, wait_until, number):
    run = demo()
    wait_until(lambda: run.processes('drive.py'), 'the rendering to start', 10)
    time.sleep(0.5)

    assert run.end_with(number, group=number == signal.SIGINT) == 130
    assert not (run.out / 'drive').exists()


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_everything_too(demo, drive, wait_until, number):
    run = demo('--source', drive)
    wait_until(lambda: run.processes('/replay'), 'the nodes to start', 10)

    run.end_with(number, group=False)


def test_nothing_stays_behind_when_launch_is_killed(demo, drive, wait_until):
    run = demo('--source', drive)
    wait_until(lambda: run.processes('/replay'), 'the nodes to start', 10)
    (launch,) = run.processes('demo.launch.py')
    os.kill(launch, signal.SIGKILL)

    assert run.wait(END_WITHIN_S) == 1
    assert run.processes() == {}
