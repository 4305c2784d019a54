# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Writes frames as a video file, in whichever form this OpenCV can."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from trt_engine.backend import Array
from trt_engine.errors import ConfigError

_FORMS = (('.mp4', 'mp4v'), ('.avi', 'MJPG'))


class VideoFile:
    """A video of one size; frames of another are scaled into it, with black at the sides.

    Args:
        path: Where to write, without suffix.
        rate: Frames per second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path: Path | None = None
        self._stem = path
        self._rate = rate
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def write(self, pixels: Array) -> None:
        """Append one frame, (height, width, 3) uint8, blue first.

        Raises:
            ConfigError: No file can be written there.
        """
        if self._writer is None:
            self._open((pixels.shape[1], pixels.shape[0]))
        assert self._writer is not None
        self._writer.write(fit(pixels, self._size))

    def close(self) -> None:
        """Finish the file; a second call does nothing."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None

    def _open(self, size: tuple[int, int]) -> None:
        for suffix, code in _FORMS:
            path = self._stem.with_suffix(suffix)
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), self._rate, size)
            if writer.isOpened():
                self.path, self._writer, self._size = path, writer, size
                return
        raise ConfigError(
            f'{self._stem}: OpenCV can write neither mp4 nor avi there; check that the folder is '
            'writable and that OpenCV was built with videoio'
        )


def fit(pixels: Array, size: tuple[int, int]) -> Array:
    """Return the picture scaled to fill `size` (width, height) as far as its shape allows."""
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return np.ascontiguousarray(pixels)
    scale = min(size[0] / width, size[1] / height)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size[0] - new_width) // 2, (size[1] - new_height) // 2
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    canvas[top : top + new_height, left : left + new_width] = cv2.resize(
        pixels, (new_width, new_height), interpolation=cv2.INTER_AREA
    )
    return canvas
