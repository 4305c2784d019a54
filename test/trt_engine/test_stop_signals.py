# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM as a flag."""

from __future__ import annotations

import signal

import pytest

from trt_engine.stop_signals import StopSignals

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def handlers_as_before():
    before = [signal.getsignal(each) for each in BOTH]
    yield
    for each, handler in zip(BOTH, before, strict=True):
        signal.signal(each, handler)


@pytest.mark.parametrize('number', BOTH)
def test_a_signal_is_remembered_and_does_not_interrupt(number):
    told_to_stop = StopSignals()
    assert not told_to_stop()
    signal.raise_signal(number)
    signal.raise_signal(number)
    assert told_to_stop()


@pytest.mark.parametrize('number', BOTH)
def test_at_the_end_signals_are_ignored(number):
    told_to_stop = StopSignals()
    told_to_stop.ignore()
    signal.raise_signal(number)
    assert not told_to_stop()
