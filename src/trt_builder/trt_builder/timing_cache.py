# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Kernel times of earlier builds: one file for each TensorRT, device and power mode."""

from __future__ import annotations

import os
from pathlib import Path
import re

from trt_engine.entry import check_access
from trt_engine.entry import write_file
from trt_engine.errors import StoreError

MAX_NAME = 90  # a lock of that name must fit, too


class TimingCache:
    """The file of one device; whoever uses it holds the lock of its name.

    Args:
        path: The file; None for a TensorRT that keeps no times.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def read(self) -> bytes | None:
        """Return what earlier builds left; None if there is nothing.

        Raises:
            StoreError: Others can write to it, or it cannot be read.
        """
        if self._path is None or not os.path.lexists(self._path):
            return None
        check_access(self._path)
        try:
            return self._path.read_bytes()
        except OSError as exc:
            raise StoreError(f'{self._path}: cannot be read: {exc.strerror or exc}') from exc

    def write(self, data: bytes | None) -> None:
        """Keep the times of a build and of those before it, whole or not at all.

        Raises:
            StoreError: It cannot be written.
        """
        if self._path is None or data is None:
            return
        temporary = self._path.with_suffix('.new')
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            temporary.unlink(missing_ok=True)
            write_file(temporary, data)
            os.replace(temporary, self._path)
        except OSError as exc:
            raise StoreError(f'{self._path}: cannot be written: {exc.strerror or exc}') from exc


def timing_name(tensorrt: str | None, device: str, power_mode: str | None) -> str:
    """Return the name of the cache, and of its lock: kernel times hold for nothing else."""
    parts = ('timing', tensorrt or 'unknown', device, power_mode or 'default')
    return '-'.join(re.sub(r'[^A-Za-z0-9.]+', '_', part) for part in parts)[:MAX_NAME]
