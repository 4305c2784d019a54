# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What decoding JPEG ahead on a thread pool brings, beside decoding it where frames are looked at.

All take the same messages from the same number of cameras, each of which has its next message
ready as soon as one is taken. Looking at a frame is a wait, as it is for the thread that waits for
a GPU. They run in turns within one run.
"""

from __future__ import annotations

from dataclasses import dataclass
import os
from pathlib import Path
import statistics
import time

import cv2

from trt_engine.backend import Array
from trt_inference.camera.decode_pool import DecodedFrame
from trt_inference.camera.decode_pool import DecodePool
from trt_inference.camera.image_view import view_compressed_image
from trt_inference.cdr import serialize_compressed_image
from trt_inference.detector.latest import Frame

PICTURE = Path(__file__).resolve().parents[2] / 'docs' / 'scene.jpg'
SIZE = (1920, 1080)
QUALITY = 95  # what image_transport's compressed plugin sends by default
CAMERAS = (1, 2, 4)
WAITS_MS = (0, 10)
PICTURES = 60
ROUNDS = 5


@dataclass(frozen=True)
class Throughput:
    """Pictures a second, and ratios of them within a round: medians of the rounds."""

    in_line: float
    keeping: float
    pool: float
    over_in_line: float
    over_keeping: float


def in_line(message: bytes, cameras: int, wait_ms: int) -> None:
    """Decode and look at each picture in one thread; it is let go before the next is decoded."""
    for _ in range(PICTURES):
        view_compressed_image(message).decode()
        time.sleep(wait_ms / 1e3)


def keeping(message: bytes, cameras: int, wait_ms: int) -> None:
    """Do the same, but let a picture go after the next is decoded: its memory stays with us."""
    before: list[Array] = []
    for _ in range(PICTURES):
        before[:] = [view_compressed_image(message).decode()]
        time.sleep(wait_ms / 1e3)


def pooled(message: bytes, cameras: int, wait_ms: int) -> None:
    """Look at each picture in one thread, while others decode the next ones."""
    pool = DecodePool(cameras)
    for camera in range(cameras):
        pool.put(Frame(camera, message, 0.0))
    for _ in range(PICTURES):
        (frame,) = pool.take()
        assert isinstance(frame, DecodedFrame)
        pool.put(Frame(frame.stream, message, 0.0))
        frame.open()
        time.sleep(wait_ms / 1e3)
    pool.close()


def measure(message: bytes, cameras: int, wait_ms: int) -> Throughput:
    """Run all of them in turns."""
    paths = (in_line, keeping, pooled)
    rounds = []
    for _ in range(ROUNDS):
        figures = []
        for path in paths:
            begun = time.perf_counter()
            path(message, cameras, wait_ms)
            figures.append(PICTURES / (time.perf_counter() - begun))
        one, kept, pool = figures
        rounds.append((one, kept, pool, pool / one, pool / kept))
    return Throughput(*(statistics.median(figures) for figures in zip(*rounds, strict=True)))


def report() -> None:
    """Print the table."""
    pixels = cv2.resize(cv2.imread(str(PICTURE)), SIZE)
    data = cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    message = serialize_compressed_image(1, 'camera', 'jpeg', data)
    for _ in range(10):
        view_compressed_image(message).decode()
    print(
        f'| {SIZE[0]}x{SIZE[1]} JPEG of {len(data) / 1024:.0f} KiB, pictures a second '
        '| in line | in line, keeping | pool | pool / in line | pool / in line, keeping |\n'
        '| --- | ---: | ---: | ---: | ---: | ---: |'
    )
    for wait_ms in WAITS_MS:
        for cameras in CAMERAS:
            seen = measure(message, cameras, wait_ms)
            looked_at = f'looked at for {wait_ms} ms' if wait_ms else 'decoded only'
            print(
                f'| {cameras} camera{"s" if cameras > 1 else ""}, {looked_at} '
                f'| {seen.in_line:.1f} | {seen.keeping:.1f} | {seen.pool:.1f} '
                f'| **{seen.over_in_line:.2f}** | **{seen.over_keeping:.2f}** |'
            )


if __name__ == '__main__':
    print(f'{os.cpu_count()} cores; load before: {os.getloadavg()[0]:.1f}\n')
    report()
