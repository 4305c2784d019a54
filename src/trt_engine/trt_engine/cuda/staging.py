# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Copies of images to where the GPU takes them from: memory is faster than one thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
import os

import numpy as np

from trt_engine.backend import Array

_PART_BYTES = 3 << 20  # less is copied about as soon as another thread has begun
_MOST_PARTS = 4


def copy_rows(source: Array, target: Array, rows: Array | None = None) -> None:
    """Copy rows of an image.

    Args:
        source: (rows, ...).
        target: As many rows as are copied, of the same type, without gaps.
        rows: Which rows, ascending; None: all.
    """
    cores = len(os.sched_getaffinity(0))  # of this thread, which may have few
    count = max(1, min(_MOST_PARTS, cores // 2, target.nbytes // _PART_BYTES))
    ends = [len(target) * part // count for part in range(count + 1)]
    *parts, last = pairwise(ends)
    others = [_threads().submit(_copy, source, target, rows, *part) for part in parts]
    _copy(source, target, rows, *last)
    for each in others:
        each.result()


def _copy(source: Array, target: Array, rows: Array | None, begin: int, end: int) -> None:
    if rows is None:
        np.copyto(target[begin:end], source[begin:end])
    else:
        np.take(source, rows[begin:end], axis=0, out=target[begin:end], mode='clip')


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_MOST_PARTS - 1, 'staging')
