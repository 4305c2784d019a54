# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The first profile that takes the shapes is used; where none does, all are named."""

from __future__ import annotations

import pytest

from trt_engine.backends.tensorrt_profiles import choose_profile
from trt_engine.build_settings import ShapeRange
from trt_engine.errors import InferenceError


def image(*batches: int) -> ShapeRange:
    return ShapeRange(*((batch, 3, 8, 8) for batch in batches))


SMALL = {'x': image(1, 1, 2), 'size': ShapeRange((1, 2), (1, 2), (2, 2))}
LARGE = {'x': image(2, 4, 8), 'size': ShapeRange((2, 2), (4, 2), (8, 2))}


def shapes(batch: int, sizes: int | None = None) -> dict[str, tuple[int, ...]]:
    return {'x': (batch, 3, 8, 8), 'size': (batch if sizes is None else sizes, 2)}


@pytest.mark.parametrize(
    ('given', 'explicit', 'wanted'),
    [
        (shapes(1), None, 0),
        (shapes(2), None, 0),
        (shapes(3), None, 1),
        (shapes(8), None, 1),
        (shapes(2), 1, 1),
        (shapes(1), 0, 0),
    ],
)
def test_the_first_that_fits_is_taken_or_the_one_asked_for(given, explicit, wanted):
    assert choose_profile((SMALL, LARGE), given, 'E', explicit) == wanted


def test_an_engine_of_fixed_shapes_has_a_profile_without_ranges():
    assert choose_profile(({},), {}, 'E') == 0


@pytest.mark.parametrize(
    ('given', 'explicit', 'wanted'),
    [
        (
            shapes(9, 8),
            None,
            "E: input 'x' got the shape [9, 3, 8, 8], the engine takes in profile 0 [1, 3, 8, 8] "
            'to [2, 3, 8, 8], or in profile 1 [2, 3, 8, 8] to [8, 3, 8, 8]; widen build.profiles',
        ),
        (shapes(1), 1, "got the shape [1, 2], the engine takes in profile 1 'x' [2, 3, 8, 8] to"),
        (shapes(1, 8), None, "profile 0 'x' [1, 3, 8, 8] to [2, 3, 8, 8] and 'size' [1, 2] to [2"),
        ({**shapes(1), 'x': (3, 8, 8)}, None, "'x' got the shape [3, 8, 8], the engine takes in"),
        (shapes(1), 2, 'E: profile 2 was asked for, the engine has 0..1; add it to build.profiles'),
        (shapes(1), -1, 'E: profile -1 was asked for'),
    ],
)
def test_shapes_that_no_profile_takes_are_refused_with_what_each_takes(given, explicit, wanted):
    with pytest.raises(InferenceError) as caught:
        choose_profile((SMALL, LARGE), given, 'E', explicit)
    assert wanted in str(caught.value)
