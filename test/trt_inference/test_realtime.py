# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Cores, priority and the garbage collector, of threads that end with the test."""

from __future__ import annotations

import gc
import os
import threading

import pytest

from trt_engine.errors import ConfigError
from trt_inference.detector.realtime import calm_collector
from trt_inference.detector.realtime import pin_thread
from trt_inference.detector.realtime import raise_priority
from trt_inference.detector.realtime import wake_collector


def in_a_thread(work):
    """Run in a thread of its own; return what it gives, or raises."""
    told = []

    def run():
        try:
            told.append(work())
        except ConfigError as exc:
            told.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return told[0]


def test_a_thread_stays_on_its_cores_and_the_others_where_they_were():
    allowed = os.sched_getaffinity(0)
    core = max(allowed)
    assert in_a_thread(lambda: (pin_thread([core]), os.sched_getaffinity(0))[1]) == {core}
    assert in_a_thread(lambda: (pin_thread([]), os.sched_getaffinity(0))[1]) == allowed
    assert os.sched_getaffinity(0) == allowed


def test_a_core_that_is_not_there_is_refused_with_those_that_are():
    refused = in_a_thread(lambda: pin_thread([4000]))
    assert isinstance(refused, ConfigError)
    assert 'cpu_affinity is [4000]: Invalid argument' in str(refused)
    assert str(sorted(os.sched_getaffinity(0))) in str(refused)


def test_priority_is_raised_or_refused_with_what_to_do():
    told = in_a_thread(lambda: (raise_priority(7), os.sched_getparam(0).sched_priority)[1])
    if isinstance(told, ConfigError):
        assert 'realtime_priority is 7: Operation not permitted' in str(told)
        assert 'rtprio' in str(told)
    else:
        assert told == 7
    assert in_a_thread(lambda: (raise_priority(0), os.sched_getscheduler(0))[1]) == os.SCHED_OTHER


def test_the_collector_looks_no_more_at_what_is_there():
    calm_collector()
    try:
        assert gc.get_freeze_count() > 1000
    finally:
        wake_collector()
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize('priority', [1, 99])
def test_a_refused_priority_leaves_the_thread_as_it_was(priority, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, 'Operation not permitted')

    monkeypatch.setattr(os, 'sched_setscheduler', refuse)
    with pytest.raises(ConfigError, match=f'realtime_priority is {priority}'):
        raise_priority(priority)
