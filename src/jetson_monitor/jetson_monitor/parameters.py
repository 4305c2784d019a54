# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the monitor may be told: settings as dataclass fields with their description and limits."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from functools import cache
import math
from typing import Any
from typing import get_type_hints

from jetson_monitor.errors import ConfigError

_KEY = 'setting'


@dataclass(frozen=True)
class Setting:
    """What a field means, and which values it takes; the choices of a tuple are each element's."""

    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def wanted(self) -> str:
        """Return the allowed values as words; empty where every value of the type will do."""
        if self.choices:
            return 'one of ' + ', '.join(self.choices)
        if self.minimum is not None and self.maximum is not None:
            return f'{self.minimum:g} to {self.maximum:g}'
        return '' if self.minimum is None else f'at least {self.minimum:g}'


def setting(
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] = (),
) -> Any:
    """Return a dataclass field that is also a parameter.

    Args:
        default: What holds unless the user says otherwise; lists are written as tuples.
        description: One sentence, as `ros2 param describe` shows it.
        minimum: Least number allowed.
        maximum: Greatest number allowed; only together with `minimum`.
        choices: All texts allowed, where they can be listed.
    """
    meaning = Setting(description, minimum, maximum, tuple(choices))
    return field(default=default, metadata={_KEY: meaning})


def settings(cls: type) -> Mapping[str, Setting]:
    """Return every parameter of a configuration class by name, in the order of its fields."""
    return {each.name: each.metadata[_KEY] for each in fields(cls)}


def check(cls: type, name: str, value: Any) -> Any:
    """Return `value` as the field `name` of `cls` holds it: an integer as float, a list as tuple.

    Empty texts in a list are left out: ROS cannot say of which type an empty list is, so that
    `['']` stands for it.

    Raises:
        ConfigError: The value is of another type, not finite, out of range, or not a choice.
    """
    meaning = settings(cls)[name]
    kind = _kinds(cls)[name]
    if kind == tuple[str, ...]:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise _refusal(name, value, 'a list of texts', meaning)
        return tuple(
            _check_one(f'{name}[{i}]', each, str, meaning) for i, each in enumerate(value) if each
        )
    return _check_one(name, value, kind, meaning)


@cache
def _kinds(cls: type) -> Mapping[str, Any]:
    return get_type_hints(cls)


def _check_one(name: str, value: Any, kind: Any, meaning: Setting) -> Any:
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise _refusal(name, value, f'a value of type {kind.__name__}', meaning)
    if kind is float and not math.isfinite(value):
        raise _refusal(name, value, 'a finite number', meaning)
    too_small = meaning.minimum is not None and value < meaning.minimum
    too_large = meaning.maximum is not None and value > meaning.maximum
    if too_small or too_large or (meaning.choices and value not in meaning.choices):
        raise _refusal(name, value, meaning.wanted, meaning)
    return value


def _refusal(name: str, value: Any, wanted: str, meaning: Setting) -> ConfigError:
    return ConfigError(f'{name} is {value!r}; wanted {wanted} ({meaning.description})')
