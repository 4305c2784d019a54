# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Which optimisation profile of an engine takes which shapes."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence

from trt_engine.build_settings import ShapeRange
from trt_engine.errors import InferenceError

Shape = tuple[int, ...]
Profile = Mapping[str, ShapeRange]  # input whose shape varies -> what the profile takes


def choose_profile(
    profiles: Sequence[Profile],
    shapes: Mapping[str, Shape],
    identity: str,
    explicit: int | None = None,
) -> int:
    """Return the number of the first profile that takes these shapes, or of the one asked for.

    Args:
        profiles: Those of the engine, in its order.
        shapes: Input -> shape, of all inputs whose shapes vary.
        identity: Of the engine, for errors.
        explicit: The profile to use and no other.

    Raises:
        InferenceError: There is no such profile, or none takes them; names what each takes.
    """
    if explicit is not None:
        check_profile(profiles, explicit, identity)
    numbers = range(len(profiles)) if explicit is None else (explicit,)
    for number in numbers:
        if all(_fits(shapes[name], each) for name, each in profiles[number].items()):
            return number
    wrong = [
        name
        for name, shape in shapes.items()
        if not any(_fits(shape, profiles[number][name]) for number in numbers)
    ] or list(shapes)  # each fits somewhere, but no profile takes them all
    got = ', '.join(f'input {name!r} got the shape {list(shapes[name])}' for name in wrong)
    takes = ', or '.join(
        (f'in profile {number} ' if len(profiles) > 1 else '') + _describe(profiles[number], wrong)
        for number in numbers
    )
    raise InferenceError(
        f'{identity}: {got}, the engine takes {takes}; widen build.profiles in the card'
    )  # fmt: skip


def check_profile(profiles: Sequence[Profile], number: int, identity: str) -> None:
    """Refuse a profile that an engine does not have.

    Raises:
        InferenceError: Says which there are.
    """
    if not 0 <= number < len(profiles):
        raise InferenceError(
            f'{identity}: profile {number} was asked for, the engine has 0..{len(profiles) - 1}; '
            'add it to build.profiles in the card'
        )


def _describe(profile: Profile, names: Sequence[str]) -> str:
    ranges = ((name, profile[name]) for name in names)
    return ' and '.join(
        (f'{name!r} ' if len(names) > 1 else '') + f'{list(each.min)} to {list(each.max)}'
        for name, each in ranges
    )


def _fits(shape: Shape, takes: ShapeRange) -> bool:
    return len(shape) == len(takes.min) and all(
        low <= size <= high for low, size, high in zip(takes.min, shape, takes.max, strict=True)
    )
