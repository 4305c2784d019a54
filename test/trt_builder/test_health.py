# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The builder's diagnostics: what is in the store, and how builds end."""

from __future__ import annotations

import pytest

from trt_builder.build_process import Progress
from trt_builder.health import build_health
from trt_builder.health import Stock
from trt_builder.health import store_health
from trt_builder.health import survey
from trt_builder.jobs import Ending
from trt_builder.jobs import Job
from trt_builder.jobs import Jobs
from trt_engine.errors import StoreError
from trt_engine.health import Level
from trt_engine.manifest import Ingredients
from trt_engine.manifest import Manifest
from trt_engine.store import Store


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / 'engines', limit_mib=10)


def put(store: Store, onnx: str) -> str:
    ingredients = Ingredients(
        card='my_card', onnx=onnx * 64, external_data=(), settings={}, plugins=(), scales='model',
        calibration=None, flavour='tensorrt', tensorrt=None, cuda=None, driver=None, gpu=None,
        sm=None, l4t=None, gpu_units=None,
    )  # fmt: skip
    entry = store.put(Manifest(ingredients, '2026-01-31T12:00:00Z', 1.0), bytes(1 << 20))
    return entry.key


def test_a_store_that_is_not_there_yet_is_empty(store):
    stock = survey(store)
    assert stock == Stock(store.root, 0, 0.0, 10)
    judged = store_health(stock)
    assert (judged.level, judged.message) == (Level.OK, '0 engines, 0.0 of 10 MiB')


def test_engines_are_counted_with_what_they_take_up(store):
    put(store, '0')
    put(store, '1')
    stock = survey(store)
    assert stock.engines == 2
    assert 2.0 < stock.used_mib < 2.1


def test_quarantine_is_a_warning_with_the_newest_reason(store):
    for onnx in '01':
        key = put(store, onnx)
        (store.root / key / 'engine.plan').write_bytes(onnx.encode())
        store.verify()

    judged = store_health(survey(store))

    assert judged.level == Level.WARN
    assert judged.message.startswith('2 in quarantine, the newest: ')
    assert f'{key}/engine.plan: has 1 bytes, wanted 1048576' in judged.message
    assert f'quarantine/{key}' in judged.values['newest in quarantine']


def test_without_its_reason_a_quarantined_folder_is_still_told(store):
    put(store, '0')
    (store.root / 'quarantine' / 'something').mkdir()
    judged = store_health(survey(store))
    assert (judged.level, judged.message) == (Level.WARN, '1 in quarantine, the newest: unknown')


def test_a_store_that_must_not_be_used_is_refused(store):
    put(store, '0')
    store.root.chmod(0o777)
    with pytest.raises(StoreError, match='other users can write to it'):
        survey(store)


def test_the_last_refusal_is_a_warning_until_the_next_engine_comes():
    jobs = Jobs()
    assert build_health(jobs).message == 'idle'
    assert build_health(jobs).values['last outcome'] == 'none yet'

    jobs.last = Ending('demo', 'refused', 'TensorRT is not installed here')
    judged = build_health(jobs)
    assert judged.level == Level.WARN
    assert judged.message == 'no engine of demo: TensorRT is not installed here'

    for status in ('cancelled', 'built', 'reused'):
        jobs.last = Ending('demo', status, 'why')
        assert build_health(jobs).level == Level.OK


def test_a_build_tells_how_far_it_is():
    job = Job('demo', clock=lambda: 5.0)
    job.progress = Progress('build', 0.25, 'timing conv_1', 3.0)

    judged = build_health(Jobs([job, Job('other')]))

    assert (judged.level, judged.message) == (Level.OK, 'building demo: timing conv_1')
    assert judged.values['progress'] == '25%'
    assert judged.values['queued'] == '1'
    assert judged.values['elapsed (s)'] == '0.0'
