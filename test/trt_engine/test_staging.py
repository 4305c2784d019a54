# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Images are copied whole, by as many threads as there are cores for."""

from __future__ import annotations

import os

import numpy as np
import pytest

from trt_engine.cuda import staging


@pytest.mark.parametrize('cores', [1, 4, 6, 64])
@pytest.mark.parametrize('height', [1, 700, 1081, 2401])
def test_every_row_arrives(monkeypatch, cores, height):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda thread: set(range(cores)))
    pixels = np.random.default_rng(height).integers(0, 256, (height, 1920, 3)).astype(np.uint8)
    target = np.zeros_like(pixels)
    staging.copy_rows(pixels, target)
    np.testing.assert_array_equal(target, pixels)
    rows = np.arange(0, height, 3)
    chosen = np.zeros((len(rows), 1920, 3), np.uint8)
    staging.copy_rows(pixels[:, ::-1], chosen, rows)
    np.testing.assert_array_equal(chosen, pixels[::3, ::-1])


def test_a_failure_in_another_thread_is_not_lost(monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda thread: set(range(8)))
    pixels = np.zeros((4096, 1024, 2), np.uint8)
    with pytest.raises((ValueError, IndexError)):
        staging.copy_rows(pixels[:10], np.empty_like(pixels))
