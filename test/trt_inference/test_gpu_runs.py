# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Plans of work on the GPU give back what they took, also where they cannot be made."""

from __future__ import annotations

import pytest

from trt_engine.cuda.memory import Lease
from trt_engine.cuda.memory import Pool
from trt_engine.cuda.runtime import Stream
from trt_engine.errors import InferenceError
from trt_inference.detector.gpu_runs import Plan


class Nothing(Plan):
    """A plan without work."""

    def upload(self, stream):
        pass

    def compute(self):
        pass


@pytest.mark.parametrize('made', [0, 1])
def test_a_plan_without_all_its_events_leaves_none(fake_cuda, monkeypatch, made):
    stream, pool = Stream(), Pool()
    create = fake_cuda.cudaEventCreateWithFlags

    def refuse(flags):
        if len(fake_cuda.events) == made:
            return fake_cuda.cudaError_t.cudaErrorMemoryAllocation, None
        return create(flags)

    monkeypatch.setattr(fake_cuda, 'cudaEventCreateWithFlags', refuse)
    with pytest.raises(InferenceError, match=r'cudaEventCreateWithFlags failed with .* memory'):
        Nothing(stream, Lease(pool))
    assert len(fake_cuda.events) == 0
    stream.close()
    pool.close()
