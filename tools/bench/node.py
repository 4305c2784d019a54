# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The inference node as it is launched, with cameras that are processes: what arrives, and when.

    python tools/bench/node.py --cameras 4 --hz 30 --seconds 60 -p card:=yolox_nano

Each -p is a parameter of the node. An image is 1920x1080 bgr8; its age when its detections arrive
holds both ways through DDS. Prints Markdown for docs/performance.md.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
import os
from pathlib import Path
import subprocess
import sys
import time

import cv2
import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from trt_engine.cuda.runtime import device_memory
from trt_engine.errors import BackendError
from trt_inference.cdr import read_stamp_ns
from trt_inference.cdr import serialize_image
from trt_interfaces.msg import InferenceStats

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / 'docs' / 'scene.jpg'
SIZE = (1920, 1080)
MARKS = (0.02, 0.2, 0.6, 1.0)  # of the whole time
START_S = 120.0  # that the node may take until its first detections
NODE = 'from trt_inference.entry import inference; raise SystemExit(inference())'


def camera(name: str, hz: float) -> None:
    """Publish images at their rate, each with the time that it is made, until killed."""
    rclpy.init(args=[])
    node = rclpy.create_node(name)
    publisher = node.create_publisher(Image, f'/{name}/image', qos_profile_sensor_data)
    pixels = cv2.resize(cv2.imread(str(PICTURE)), SIZE)
    begun, turn = time.monotonic(), 0
    while True:
        publisher.publish(serialize_image(time.time_ns(), name, pixels))
        turn += 1
        time.sleep(max(0.0, begun + turn / hz - time.monotonic()))


class Listener:
    """Notes when detections arrive, and what the node says of each frame."""

    def __init__(self, node: Node, cameras: list[str]) -> None:
        self.ages_ms: list[float] = []
        self.stats: dict[str, list[InferenceStats]] = defaultdict(list)
        for name in cameras:
            node.create_subscription(
                Detection2DArray, f'/inference/{name}/detections', self._on_detections, 10, raw=True
            )
            node.create_subscription(
                InferenceStats, f'/inference/{name}/stats',
                lambda message, name=name: self._on_stats(name, message), 10, raw=True,
            )  # fmt: skip

    def _on_detections(self, message: bytes) -> None:
        self.ages_ms.append((time.time_ns() - read_stamp_ns(message)) / 1e6)

    def _on_stats(self, name: str, message: bytes) -> None:
        self.stats[name].append(deserialize_message(message, InferenceStats))


def measure(args: argparse.Namespace) -> None:
    """Start node and cameras, listen, print."""
    names = [f'camera{number}' for number in range(args.cameras)]
    topics = [f'/{name}/image' for name in names]
    parameters = [f'cameras:={names}', f'image_topics:={topics}', *args.parameter]
    node_command = [sys.executable, '-c', NODE, '--ros-args']
    for each in parameters:
        node_command += ['-p', each]
    rclpy.init(args=[])  # -p is for the node alone
    node = rclpy.create_node('bench_listener')
    listener = Listener(node, names)
    processes = [subprocess.Popen(node_command)]
    camera_command = [sys.executable, __file__, '--hz', str(args.hz), '--camera']
    processes += [subprocess.Popen([*camera_command, name]) for name in names]
    try:
        until = time.monotonic() + START_S
        while len(listener.stats) < len(names) or len(listener.ages_ms) < 100:
            rclpy.spin_once(node, timeout_sec=0.1)
            if time.monotonic() > until or processes[0].poll() is not None:
                raise SystemExit('bench: the node gave no detections; its log says why')
        report(listener, node, processes[0].pid, args)
    finally:
        for each in processes:
            each.kill()
    rclpy.shutdown()


def report(listener: Listener, node: Node, pid: int, args: argparse.Namespace) -> None:
    """Listen for as long as asked for; print what there was until several marks."""
    first = {name: each[-1] for name, each in listener.stats.items()}
    backend = next(iter(first.values())).backend
    for each in listener.stats.values():
        each.clear()
    listener.ages_ms.clear()
    print(f'{backend}; {os.cpu_count()} cores\n')
    names = (
        f'{args.cameras} cameras at {args.hz:g} Hz, after', 'looked at', 'dropped', 'heard',
        'age when heard, p50 / p99 / max ms', 'within the node, p50 / p99 / max ms',
        'resident MiB', 'device MiB in use',
    )  # fmt: skip
    print(f'| {" | ".join(names)} |\n| --- |{" ---: |" * (len(names) - 1)}')
    begun = time.monotonic()
    for mark in (args.seconds * part for part in MARKS):
        while time.monotonic() - begun < mark:
            rclpy.spin_once(node, timeout_sec=0.1)
        seen = {name: each[-1] for name, each in listener.stats.items()}
        totals = [stats.total_ms for each in listener.stats.values() for stats in each]
        cells = (
            f'{mark:g} s', sum(seen[name].frames - first[name].frames for name in seen),
            sum(seen[name].dropped - first[name].dropped for name in seen),
            len(listener.ages_ms), quantiles(listener.ages_ms), quantiles(totals),
            f'{resident_mib(pid):.1f}', device_mib(),
        )  # fmt: skip
        print(f'| {" | ".join(map(str, cells))} |', flush=True)


def quantiles(times_ms: list[float]) -> str:
    p50, p99 = np.percentile(times_ms, (50, 99))
    return f'{p50:.2f} / {p99:.2f} / {max(times_ms):.2f}'


def resident_mib(pid: int) -> float:
    pages = int(Path(f'/proc/{pid}/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / (1 << 20)


def device_mib() -> str:
    """Return what all processes have of the GPU's memory, where there is a GPU."""
    try:
        free, total = device_memory()
    except BackendError:
        return 'none'
    return f'{(total - free) / (1 << 20):.1f}'


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--cameras', type=int, default=4)
    parser.add_argument('--hz', type=float, default=30.0, help='of each camera')
    parser.add_argument('--seconds', type=float, default=60.0)
    parser.add_argument('-p', '--parameter', action='append', default=[], help='of the node')
    parser.add_argument('--camera', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cameras < 1:
        parser.error('wanted at least 1 camera')
    if args.camera is not None:
        camera(args.camera, args.hz)
    measure(args)


if __name__ == '__main__':
    main()
