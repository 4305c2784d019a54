# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Jobs of the builder node: which is in front, and how much of their progress is told."""

from __future__ import annotations

import pytest

from trt_builder.build_process import Progress
from trt_builder.jobs import Job
from trt_builder.jobs import Jobs
from trt_builder.jobs import Thinned
from trt_engine.errors import CardError


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def at(phase: str, fraction: float) -> Progress:
    return Progress(phase, fraction, f'{phase} {fraction}', 0.0)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def told():
    return []


@pytest.fixture
def thinned(clock, told):
    return Thinned(lambda step: told.append((step.phase, step.fraction)), 0.1, clock)


def test_the_first_and_the_last_of_each_phase_are_told_at_once(thinned, told):
    for step in (at('parse', 0.1), at('parse', 0.2), at('parse', 0.3), at('build', 0.4)):
        thinned(step)
    assert told == [('parse', 0.1), ('parse', 0.3), ('build', 0.4)]


def test_in_between_ten_a_second_are_told(thinned, told, clock):
    for i in range(101):
        thinned(at('build', i / 100))
        clock.now_s += 0.01
    assert 10 <= len(told) <= 11
    assert told == sorted(told)


def test_what_was_held_back_is_told_in_the_end_and_once(thinned, told):
    thinned(at('build', 0.1))
    thinned(at('build', 0.9))
    assert told == [('build', 0.1)]
    thinned.flush()
    thinned.flush()
    assert told == [('build', 0.1), ('build', 0.9)]


def test_what_says_the_same_again_is_told_once(thinned, told, clock):
    for _ in range(3):
        thinned(at('waiting', 0.0))
        clock.now_s += 1.0
    thinned.flush()
    assert told == [('waiting', 0.0)]


def test_a_job_hands_its_wishes_to_the_builder_and_keeps_its_progress(clock, told, tmp_path):
    class Builder:
        def build(self, card, *, force, allow_few, progress, cancel):
            progress(at('build', 0.5))
            progress(at('build', 0.6))
            clock.now_s += 2
            return (card, force, allow_few, cancel)

    onnx = tmp_path / 'other.onnx'
    job = Job('demo', str(onnx), ('precision=int8',), force=True, clock=clock)

    card, force, allow_few, cancel = job.run(Builder(), allow_few=True, report=told.append)

    assert (card.name, card.model.source, card.build.precision) == ('demo', str(onnx), 'int8')
    assert (force, allow_few, cancel) == (True, True, job.cancel)
    assert told == [at('build', 0.5), at('build', 0.6)]
    assert job.progress == at('build', 0.6)
    assert job.elapsed_s == 2.0


def test_a_job_without_a_card_is_refused(told):
    with pytest.raises(CardError, match='no card was named; wanted the name or path of one'):
        Job('').run(None, allow_few=False, report=told.append)


def test_the_job_that_is_being_built_is_in_front():
    first, second = Job('first'), Job('second')
    jobs = Jobs()
    assert (jobs.front, jobs.queued) == (None, 0)

    jobs.in_hand += [first, second]
    assert (jobs.front, jobs.queued) == (first, 1)

    second.progress = at('build', 0.1)
    assert (jobs.front, jobs.queued) == (second, 1)
