# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What `make demo` and `make demo-lidar` run: replay, inference, a live summary, by launch file."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
import json
import os
from pathlib import Path
import random
import re
import signal
import subprocess
import sys
import time

from trt_engine.stop_signals import StopSignals

REPOSITORY = Path(__file__).resolve().parents[1]
LAUNCH_FILE = REPOSITORY / 'launch' / 'demo.launch.py'
LIDAR_HZ = 10.0  # of a lidar; it is played more slowly, for two cores to see nearly every sweep
LIDAR_PLAYED_HZ = 3.0
INTERRUPTED = 130
LOOK_UP_S = 0.1  # how often it looks whether something has ended
GRACE_S = 5.0  # for what is told to end, before it is killed
# In the log of launch, after which waiting for detections is in vain. A process that was killed has
# a negative exit code, and is started again.
HOPELESS = re.compile(r'configure failed: |process has died \[.* exit code [1-9]')
COLOUR = re.compile(r'\x1b\[[0-9;]*m')


@dataclass(frozen=True)
class Sensor:
    """What differs between the demo of a camera and that of a lidar.

    Attributes:
        drive: Name of the folder that is rendered where no source is given.
        render: Renders it, followed by the folder.
        words: Arguments of the launch file.
        watch: Parameters of the summary.
    """

    drive: str
    render: tuple[str, ...]
    words: Mapping[str, str]
    watch: Mapping[str, str]


CAMERA = Sensor('drive', (str(REPOSITORY / 'tools' / 'demo_network' / 'drive.py'), '--out'), {}, {})
LIDAR = Sensor(
    'lidar_drive',
    ('-m', 'tools.lidar_simulator.folder', '--drive', '--sweeps', '100', '--seed', '8', '--out'),
    {'sensors': 'lidar', 'frame_rate': str(LIDAR_PLAYED_HZ)},
    {'node': 'lidar_inference', 'points_topic': 'points', 'video_rate': str(LIDAR_HZ)},
)


def run(arguments: argparse.Namespace, told_to_stop: Callable[[], bool]) -> int:
    """Get ready what is missing, and run the demo; return the exit status."""
    from trt_engine.card import load_card
    from trt_engine.errors import ConfigError
    from trt_engine.errors import ModelNotFetchedError
    from trt_engine.lidar_card import PointsInput
    from trt_engine.model_file import resolve_model

    out = arguments.out.resolve()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f'--out {out}: no folder can be made there: {exc.strerror}') from exc
    card = load_card(arguments.card, onnx=arguments.onnx or None)
    sensor = LIDAR if isinstance(card.input, PointsInput) else CAMERA
    if sensor is LIDAR and arguments.onnx:
        raise ConfigError('--onnx is for cards of cameras; of a lidar, name a card: --card')
    try:
        resolve_model(card)
    except ModelNotFetchedError:
        fetch = [sys.executable, '-m', 'trt_engine.fetch_model', arguments.card]
        if status := run_to_end(fetch, signal.SIGINT, told_to_stop):
            return status
    source, drive = arguments.source, out / sensor.drive
    if not source:
        source = str(drive)
        if not drive.is_dir():
            print('demo: rendering a short drive ...', flush=True)
            part = drive.with_suffix('.part')
            render = [sys.executable, *sensor.render, str(part)]
            if status := run_to_end(render, signal.SIGTERM, told_to_stop):
                return status
            part.replace(drive)
    if Path(source).exists():
        source = str(Path(source).resolve())
    words = {
        'source': source,
        'card': arguments.card,
        'onnx': arguments.onnx and str(Path(arguments.onnx).resolve()),
        'watch': 'false',
        **sensor.words,
        **topic_arguments(source),
    }
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    # A domain of its own: the demo must not hear, or disturb, a robot in the same network.
    os.environ.setdefault('ROS_DOMAIN_ID', str(random.randint(1, 100)))
    print(f'demo: {card.name} looks at {source}', flush=True)
    log = out / 'launch.log'
    with log.open('w') as output:
        launch = subprocess.Popen(
            ['ros2', 'launch', str(LAUNCH_FILE),
             *(f'{name}:={value}' for name, value in words.items() if value)],
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    # the topic of the clouds of a bag has a name of its own
    parameters = {name: words.get(name, value) for name, value in sensor.watch.items()}
    try:
        status = watch(out, parameters, launch, log, told_to_stop)
    finally:
        # As from a terminal, to the whole group: launch leaves the processes that it started to
        # hear Ctrl-C by themselves.
        end(launch, signal.SIGINT)
    if status != 0 and not told_to_stop():
        lines = COLOUR.sub('', log.read_text(errors='replace')).splitlines()
        troubles = [line for line in lines if 'ERROR' in line or 'FATAL' in line]
        print('\n'.join(troubles[-5:]), file=sys.stderr)
        print(f'demo: failed; the whole log is {log}', file=sys.stderr)
    return status


def topic_arguments(source: str) -> dict[str, str]:
    """Return the launch arguments that make the inference node listen to what will be played."""
    from trt_inference.replay.sources import CLOUD_TYPE
    from trt_inference.replay.sources import IMAGE_TYPES
    from trt_inference.replay.sources import open_source

    words: dict[str, str] = {}
    # What it leaves out, the replay says in its log.
    for topic, kind in open_source(source, warn=lambda _: None).topics.items():
        if kind in IMAGE_TYPES and 'image_topic' not in words:
            compressed = kind.endswith('/CompressedImage')
            words |= {'image_topic': topic, 'transport': 'compressed' if compressed else 'raw'}
        if kind == CLOUD_TYPE:
            words.setdefault('points_topic', topic)
    return words


def watch(
    out: Path,
    parameters: Mapping[str, str],
    launch: subprocess.Popen[bytes],
    log: Path,
    told_to_stop: Callable[[], bool],
) -> int:
    """Show the live summary until the replay is over; return the exit status."""
    from ament_index_python.packages import get_package_prefix

    # Not through `ros2 run`, which would not hand on the signal that ends it.
    summary = subprocess.Popen(
        [f'{get_package_prefix("trt_inference")}/lib/trt_inference/watch', '--ros-args',
         '-p', f'out:={json.dumps(str(out))}',
         '-p', 'idle_timeout_s:=3.0', '-p', 'startup_timeout_s:=30.0',
         *(word for name, value in parameters.items() for word in ('-p', f'{name}:={value}'))],
        start_new_session=True,
    )  # fmt: skip
    failed = False
    while summary.poll() is None and not (failed or told_to_stop()):
        time.sleep(LOOK_UP_S)
        failed = launch.poll() is not None or bool(HOPELESS.search(log.read_text(errors='replace')))
    end(summary, signal.SIGTERM)
    if told_to_stop():
        return INTERRUPTED if summary.returncode else 0
    return 1 if failed else summary.returncode


def run_to_end(
    command: Sequence[str], stop_with: signal.Signals, told_to_stop: Callable[[], bool]
) -> int:
    """Run a command; return its exit status, or INTERRUPTED where it had to stop before its end."""
    # In a session of its own Ctrl-C reaches us alone: one process decides how to end.
    process = subprocess.Popen(command, start_new_session=True)
    while process.poll() is None:
        if told_to_stop():
            end(process, stop_with)
            return INTERRUPTED
        time.sleep(LOOK_UP_S)
    return INTERRUPTED if told_to_stop() else process.returncode


def end(process: subprocess.Popen[bytes], stop_with: signal.Signals) -> None:
    """Tell a process and all that it started to end, and be sure that nothing stays behind."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, stop_with)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def main() -> int:
    """Run the demo; return 0 when detections came out of it."""
    # Before the imports, which are most of a start.
    told_to_stop = StopSignals()
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # a closed terminal, without nohup
        signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))
    from trt_engine.errors import PerceptionError

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--card', default='demo', help='model card: a name or a path')
    parser.add_argument('--source', default='', help='pictures, clouds, video, bag or /dev/videoN')
    parser.add_argument('--onnx', default='', help="ONNX file to run instead of the card's")
    parser.add_argument('--out', type=Path, default=REPOSITORY / 'out', help='where results go')
    try:
        return run(parser.parse_args(), told_to_stop)
    except (PerceptionError, OSError) as exc:
        print(f'demo: {exc}', file=sys.stderr)
        return 1
    finally:
        told_to_stop.ignore()


if __name__ == '__main__':
    sys.exit(main())
