# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Stands in for nvJPEG: a library of its calling convention, which has OpenCV decode."""

from __future__ import annotations

import ctypes
from pathlib import Path
import subprocess

from trt_engine.picture import decode_picture

SOURCE = Path(__file__).with_name('nvjpeg.cpp')


def make_library(compiler: str, folder: Path) -> Path:
    made = folder / 'libnvjpeg.so.12'
    flags = ('-shared', '-fPIC', '-std=c++17', '-O1', '-Wall', '-Wextra', '-Werror')
    subprocess.run([compiler, SOURCE, '-o', made, *flags], check=True)
    return made


class NvJpeg:
    """The stand-in, and what tests tell it: its decoding is done when the stream comes to it."""

    def __init__(self, path: Path, runtime) -> None:
        self.path = path
        self.library = ctypes.CDLL(str(path))
        self.library.fake_flags.restype = ctypes.c_uint
        self._runtime = runtime
        kind = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t,
            ctypes.c_void_p,
        )  # fmt: skip
        self._decode = kind(self._enqueue)
        self.will()

    def will(self, *, refuse_flags: int = 0, create: int = 0, decode: int = 0) -> None:
        self.library.fake_set(self._decode, ctypes.c_uint(refuse_flags), create, decode)

    def _enqueue(self, data, length, to, pitch, stream) -> int:
        def work() -> None:  # the file is read as late as it may be
            pixels = decode_picture(ctypes.string_at(data, length))
            rows = self._runtime.view(to, pitch * len(pixels)).reshape(len(pixels), pitch)
            rows[:, : pixels.shape[1] * 3] = pixels.reshape(len(pixels), -1)

        self._runtime.enqueue(stream, work)
        return 0
