# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Engines that are right, a little off, wrong, and broken."""

from __future__ import annotations

from dataclasses import replace
import json

import numpy as np
import pytest

from trt_builder.check import card_samples
from trt_builder.check import compare
from trt_builder.check import LIMITS
from trt_builder.check import Ranked
from trt_builder.check import ranked_of
from trt_engine.build_settings import Checks
from trt_engine.card import Head
from trt_engine.card import load_card
from trt_engine.errors import CheckFailedError

pytestmark = pytest.mark.slow  # seconds altogether

RANDOM = np.random.default_rng(0)
OUTPUT = RANDOM.normal(0, 2, (1, 100, 6)).astype(np.float32)
SAMPLES = [{'images': np.zeros((1, 3, 4, 4), np.float32)}] * 2
SCALE = float(np.abs(OUTPUT).max())


def run(outputs, *, reference=None, precision='fp16', checks=None, ranked=None):
    wanted = {'output': OUTPUT} if reference is None else reference
    return compare(
        lambda _: outputs, lambda _: wanted, SAMPLES,
        precision=precision, checks=checks, ranked=ranked,
    )  # fmt: skip


def test_the_same_outputs_pass():
    report = run({'output': OUTPUT.copy()}, precision='fp32')
    assert report.passed
    assert report.samples == 2
    (tensor,) = report.tensors
    assert (tensor.max_abs, tensor.mean_abs, tensor.problem) == (0, 0, None)
    assert tensor.cosine == pytest.approx(1)
    report.require()


@pytest.mark.parametrize('precision', sorted(LIMITS))
def test_limits_grow_with_coarser_precision(precision):
    limit = LIMITS[precision].max_share * SCALE
    for share, passes in ((0.9, True), (1.1, False)):
        off = OUTPUT.copy()
        off[0, 0, 0] += share * limit
        # one value so far off in a small output moves the cosine, too
        report = run({'output': off}, precision=precision, checks=Checks(cosine=0.0))
        assert report.passed is passes, report.summary()


def test_a_constant_offset_is_seen_in_the_mean():
    report = run({'output': OUTPUT + 0.03 * SCALE})
    assert 'a mean of' in report.tensors[0].problem
    assert 'at most' not in report.tensors[0].problem


def test_a_shuffled_output_is_seen_in_the_cosine():
    report = run({'output': OUTPUT[:, ::-1]}, precision='int8')
    with pytest.raises(CheckFailedError, match=r"'output' .*cosine .*wanted at least 0\.95"):
        report.require()


def test_the_cards_own_limits_count():
    off = {'output': OUTPUT + 0.01}
    assert run(off).passed
    assert not run(off, checks=Checks(max_abs=0.001)).passed
    assert not run(off, checks=Checks(mean_abs=0.001)).passed
    assert not run(off, checks=Checks(cosine=0.9999999)).passed
    assert run({'output': OUTPUT + 1}, checks=Checks(10, 10, 0.1)).passed


@pytest.mark.parametrize(
    ('outputs', 'wanted'),
    [
        ({}, 'is missing'),
        ({'output': OUTPUT[:, :50]}, r'has the shape \[1, 50, 6\], wanted \[1, 100, 6\]'),
        ({'output': np.where(OUTPUT > 1, np.nan, OUTPUT)}, 'not finite'),
        ({'output': np.where(OUTPUT > 1, np.inf, OUTPUT)}, r'values that are not finite, of 600'),
        ({'output': np.zeros_like(OUTPUT)}, 'cosine of 0.000000'),
    ],
)
def test_broken_outputs_are_named(outputs, wanted):
    with pytest.raises(CheckFailedError, match=wanted):
        run(outputs).require()


def test_outputs_without_values_and_of_zeros_pass():
    for array in (np.zeros((1, 0, 6), np.float32), np.zeros((1, 5), np.float32)):
        assert run({'output': array}, reference={'output': array}).passed


def test_arrays_that_the_next_run_overwrites_are_copied():
    array = np.zeros(4, np.float32)

    def reference(_):
        array[:] = 1
        return {'output': array}

    def infer(_):
        array[:] = 2
        return {'output': array}

    assert not compare(infer, reference, SAMPLES, precision='int8').passed


def ranked_outputs(order):
    random = np.random.default_rng(1)
    scores = np.sort(random.uniform(0, 1, (1, 20)).astype(np.float32), axis=1)[:, ::-1]
    boxes = random.uniform(0, 416, (1, 20, 4)).astype(np.float32)
    labels = random.integers(0, 80, (1, 20))
    return {'scores': scores[:, order], 'boxes': boxes[:, order], 'labels': labels[:, order]}


RANKED = Ranked('scores', ('boxes', 'labels'), 0.3)


def test_rows_that_changed_places_are_the_same_rows():
    order = np.arange(20)
    swapped = order.copy()
    swapped[[0, 1]] = [1, 0]
    outputs = ranked_outputs(swapped), ranked_outputs(order)
    assert not run(outputs[0], reference=outputs[1]).passed
    assert run(outputs[0], reference=outputs[1], ranked=RANKED).passed


def test_rows_need_no_batch():
    order = np.arange(20)
    swapped = order[::-1]
    found, wanted = (
        {name: each[0] for name, each in ranked_outputs(way).items()} for way in (swapped, order)
    )
    assert not run(found, reference=wanted).passed
    assert run(found, reference=wanted, ranked=RANKED).passed
    found['boxes'] = np.roll(found['boxes'], 7, axis=0)
    assert not run(found, reference=wanted, ranked=RANKED).passed


def test_too_many_rows_are_compared_in_their_order():
    many = {
        'scores': np.ones((1, 3000)), 'boxes': np.arange(12000.0).reshape(1, 3000, 4),
        'labels': np.zeros((1, 3000)),
    }  # fmt: skip
    turned = {**many, 'boxes': many['boxes'][:, ::-1].copy()}
    assert run(many, reference=many, ranked=RANKED).passed
    assert not run(turned, reference=many, ranked=RANKED).passed


def test_rows_of_low_scores_do_not_count():
    wanted, found = ranked_outputs(np.arange(20)), ranked_outputs(np.arange(20))
    low = wanted['scores'][0] < 0.3
    assert low.any()
    found['boxes'][0, low] = 0
    assert run(found, reference=wanted, ranked=RANKED).passed


@pytest.mark.parametrize('name', ['scores', 'boxes', 'labels'])
def test_a_row_that_is_wrong_is_found(name):
    wanted, found = ranked_outputs(np.arange(20)), ranked_outputs(np.arange(20))
    found[name] = np.roll(found[name], 7, axis=1)
    assert not run(found, reference=wanted, ranked=RANKED).passed


def test_rows_without_numbers_are_found():
    wanted, found = ranked_outputs(np.arange(20)), ranked_outputs(np.arange(20))
    found['boxes'][0, 0] = np.nan
    with pytest.raises(CheckFailedError, match="'boxes' has 4 values that are not finite"):
        run(found, reference=wanted, ranked=RANKED).require()


def test_the_card_says_which_outputs_are_ranked():
    assert ranked_of(load_card('deimv2_femto')) == Ranked('scores', ('boxes', 'labels'), 0.3)
    yolox = load_card('yolox_nano')
    assert ranked_of(yolox) is None
    outputs = {'boxes': ('b',), 'scores': ('s',), 'labels': ('l',), 'count': ('n',)}
    finished = replace(yolox, head=Head('boxes', outputs, {}))
    assert ranked_of(finished) == Ranked('s', ('b', 'l'), yolox.thresholds.score)
    del outputs['labels']
    assert ranked_of(finished) is None


def test_samples_are_preprocessed_as_the_card_says_and_always_the_same():
    card = load_card('demo')
    first, second = ([x[card.input.tensor].copy() for x in card_samples(card)] for _ in range(2))
    assert len(first) == 4
    assert first[0].shape == (1, 3, card.input.height, card.input.width)
    assert not np.array_equal(first[0], first[1])
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    black = next(iter(card_samples(card, [np.zeros((40, 30, 3), np.uint8)])))
    assert not np.array_equal(black[card.input.tensor], first[0])


def test_a_report_can_be_kept():
    values = json.loads(json.dumps(run({'output': OUTPUT}).to_json()))
    assert values['passed'] is True
    assert values['tensors'][0]['name'] == 'output'
