# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What all heads share, of cameras and lidars: options and outputs, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from trt_engine.backend import Array
from trt_engine.card import Card
from trt_engine.errors import DecodeError
from trt_engine.fields import allowed_names
from trt_engine.fields import Key
from trt_engine.fields import read_section

T = TypeVar('T')


def head_key(card: Card) -> Key:
    """Return where in the card's file its head stands, for errors."""
    return Key(card.path or Path(card.name), 'head')


def read_options(card: Card, options: type[T]) -> T:
    """Return the head's options as a dataclass whose fields carry `trt_engine.fields.Allow`.

    Raises:
        CardError: An option is unknown or missing, or its value is not allowed.
    """
    return read_section(options, dict(card.head.options), head_key(card))


def read_outputs(card: Card, **roles: int) -> tuple[tuple[str, ...], ...]:
    """Return the names of the tensors that play each role, in the order asked for.

    Args:
        card: The card.
        roles: Role -> how many tensors play it.

    Raises:
        CardError: A role is missing or unknown, or has another number of tensors.
    """
    key = head_key(card) / 'outputs'
    outputs = card.head.outputs
    for role in outputs:
        if role not in roles:
            raise key.error(f'has an unknown role {role!r}; {allowed_names(role, roles)}')
    for role, count in roles.items():
        if role not in outputs:
            raise key.error(f'lacks the role {role!r}; needed: {", ".join(roles)}')
        if len(outputs[role]) != count:
            raise (key / role).error(f'names {len(outputs[role])} tensors; allowed: {count}')
    return tuple(outputs[role] for role in roles)


def take(outputs: Mapping[str, Array], name: str, wanted: tuple[int | str, ...]) -> Array:
    """Return an output without its batch dimension of 1, where it has one.

    Args:
        outputs: What the backend returned.
        name: The tensor.
        wanted: Its shape without the batch dimension; a letter stands for any number.

    Raises:
        DecodeError: There is no such output, or it has another shape.
    """
    output = outputs.get(name)
    if output is None:
        raise DecodeError(f'the network has no output {name!r}; it has: {", ".join(outputs)}')
    batched = output.ndim == len(wanted) + 1 and output.shape[0] == 1
    found: Array = output[0] if batched else output
    if found.ndim != len(wanted) or any(
        isinstance(want, int) and got != want for got, want in zip(found.shape, wanted, strict=True)
    ):
        shape = ', '.join(map(str, (1, *wanted)))
        raise DecodeError(
            f'output {name!r} has shape {list(output.shape)}; the card promises [{shape}]'
        )
    return found


def reaching(scores: Array, threshold: float) -> Array:
    """Return the indices of the scores, (N,), that reach the threshold; NaN and inf do not."""
    return np.flatnonzero((scores >= threshold) & (scores < np.inf))


def class_indices(labels: Array, name: str, count: int, *, first: int = 0) -> Array:
    """Return labels that a network gives as class indices, (N,) int32.

    Args:
        labels: (N,), of any type.
        name: Of the output that they are from.
        count: Classes of the card.
        first: The label of the first of them.

    Raises:
        DecodeError: One of them is no class of the card.
    """
    known = (labels >= first) & (labels < first + count)
    if not known.all():
        label = labels[~known][0]
        raise DecodeError(
            f'output {name!r} has class {label:g}; the card has classes '
            f'{first}..{first + count - 1}'
        )
    indices: Array = labels.astype(np.int32) - np.int32(first)
    return indices
