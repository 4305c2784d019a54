# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Where the images of cameras wait, and what a detector takes of them."""

from __future__ import annotations

from collections.abc import Callable
import time

from trt_inference.camera.decode_pool import DecodedFrame
from trt_inference.camera.decode_pool import DecodePool
from trt_inference.camera.image_view import CompressedView
from trt_inference.camera.image_view import ImageView
from trt_inference.camera.image_view import view_compressed_image
from trt_inference.camera.image_view import view_image
from trt_inference.camera.pipeline import JPEG
from trt_inference.camera.pipeline import Picture
from trt_inference.detector.latest import Frame
from trt_inference.detector.latest import LatestFrames
from trt_inference.detector.worker import Open


def camera_frames(
    cameras: int,
    *,
    compressed: bool,
    takes_jpeg: bool,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[LatestFrames, Open[Picture]]:
    """Return where frames wait, and what opens them, as `worker.Worker` takes both.

    Args:
        cameras: How many.
        compressed: Whether messages are CompressedImage rather than Image.
        takes_jpeg: Whether the detector takes files; else they are decoded while they wait.
        clock: Seconds, the clock of the worker.
    """
    if not compressed:
        return LatestFrames(cameras, clock), _open_image
    if takes_jpeg:
        return LatestFrames(cameras, clock), _open_file
    return DecodePool(cameras, clock), _open_decoded


def _open_image(frame: Frame) -> tuple[ImageView, Callable[[], Picture]]:
    view = view_image(frame.serialized)
    return view, lambda: (view.pixels, view.encoding)


def _open_file(frame: Frame) -> tuple[CompressedView, Callable[[], Picture]]:
    view = view_compressed_image(frame.serialized)
    return view, lambda: (view.picture, JPEG)


def _open_decoded(frame: Frame) -> tuple[CompressedView, Callable[[], Picture]]:
    assert isinstance(frame, DecodedFrame)
    view, pixels = frame.open()
    return view, lambda: (pixels, 'bgr8')
