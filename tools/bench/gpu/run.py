# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras at their rate for minutes, through the node's own worker: drops, latency, memory."""

from __future__ import annotations

import argparse
from pathlib import Path
import threading
import time

import numpy as np
from setting import head
from setting import row
from setting import Setting

from trt_engine.cuda.runtime import device_memory
from trt_inference.camera.frames import camera_frames
from trt_inference.cdr import serialize_image
from trt_inference.detector.config import Stream
from trt_inference.detector.realtime import calm_collector
from trt_inference.detector.worker import Worker

_MIB = 1 << 20
_SETTLED = 20  # frames of each camera before anything counts


def resident_mib() -> float:
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * 4096 / _MIB


def report(setting: Setting, args: argparse.Namespace) -> None:
    """Print latency from a message's arrival until its detections are there, and memory."""
    frames = [np.roll(setting.frame, 97 * number, 1) for number in range(args.cameras)]
    messages = [serialize_image(1, 'camera', frame) for frame in frames]
    times: list[float] = []
    failures: list[BaseException] = []
    latest, open_frame = camera_frames(args.cameras, compressed=False, takes_jpeg=False)
    worker = Worker(
        setting.detector,
        [Stream(str(number), '') for number in range(args.cameras)],
        latest=latest,
        open=open_frame,
        now_ns=time.time_ns,
        publish=lambda result: times.append(result.stages_ms['total']),
        on_error=lambda stream, error: failures.append(error),
        on_crash=failures.append,
    )
    stop = threading.Event()

    def feed() -> None:
        period_s = 1 / args.hz / args.cameras
        begun, turn = time.perf_counter(), 0
        while not stop.is_set():
            due = begun + turn * period_s
            if (left := due - time.perf_counter()) > 0:
                time.sleep(left)
            camera = turn % args.cameras

            worker.put(camera, messages[camera])
            turn += 1

    feeder = threading.Thread(target=feed, daemon=True)
    worker.start()
    calm_collector()
    feeder.start()
    while len(times) < _SETTLED * args.cameras and not failures:
        time.sleep(0.01)
    times.clear()
    dropped = sum(map(worker.dropped, range(args.cameras)))
    head(
        f'{args.cameras} cameras at {args.hz:g} Hz, after', 'frames', 'dropped', 'p50 ms', 'p99 ms',
        'max ms', 'device MiB in use', 'reserved MiB', 'resident MiB',
    )  # fmt: skip
    marks = [args.seconds * part for part in (0.02, 0.2, 0.6, 1.0)]
    begun = time.perf_counter()
    for mark in marks:
        while (time.perf_counter() - begun < mark or not times) and not failures:
            time.sleep(0.05)
        if failures:
            break
        seen = np.array(times)
        p50, p99 = (float(each) for each in np.percentile(seen, [50, 99]))
        free, total = device_memory()
        reserved = sum(setting.pool.reserved_bytes.values()) / _MIB
        row(
            f'{mark:g} s', len(seen), sum(map(worker.dropped, range(args.cameras))) - dropped, p50,
            p99, float(seen.max()), (total - free) / _MIB, reserved, resident_mib(),
        )  # fmt: skip
    stop.set()
    feeder.join()
    worker.stop()
    if failures:
        raise failures[0]
