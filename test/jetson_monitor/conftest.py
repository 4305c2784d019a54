# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Boards made of files, which the tests of jetson_monitor read and change."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
from pathlib import Path

import pytest

from jetson_monitor.fake_board import FakeBoard


@pytest.fixture
def fake_board(tmp_path: Path) -> Iterator[Callable[[str], FakeBoard]]:
    """Return a function that builds a board: see jetson_monitor.fake_board.MODELS."""
    with contextlib.ExitStack() as stack:

        def build(model: str) -> FakeBoard:
            return stack.enter_context(contextlib.closing(FakeBoard(tmp_path / model, model)))

        yield build
