# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a node may be told: settings as dataclass fields that carry their description and limits."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
import math
from typing import Any
from typing import get_args
from typing import get_origin
from typing import get_type_hints

from trt_engine.errors import ConfigError

_KEY = 'setting'


@dataclass(frozen=True)
class Setting:
    """What a field of a configuration means, and which values it takes.

    Of a tuple, limits and choices hold for each element.
    """

    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] = ()
    read_only: bool = True

    @property
    def wanted(self) -> str:
        """Return the allowed values as words; empty where every value of the type will do."""
        if self.choices:
            return 'one of ' + ', '.join(str(choice) for choice in self.choices)
        if self.minimum is not None and self.maximum is not None:
            return f'{self.minimum:g} to {self.maximum:g}'
        if self.minimum is not None:
            return f'at least {self.minimum:g}'
        if self.maximum is not None:
            return f'at most {self.maximum:g}'
        return ''


def setting(
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[Any] = (),
    read_only: bool = True,
) -> Any:
    """Return a dataclass field that is also a parameter.

    Args:
        default: What holds unless the user says otherwise; lists are written as tuples.
        description: One sentence, as `ros2 param describe` shows it.
        minimum: Least number allowed.
        maximum: Greatest number allowed.
        choices: All values allowed, where they can be listed.
        read_only: Whether the value is fixed once the node has started.
    """
    meaning = Setting(description, minimum, maximum, tuple(choices), read_only)
    return field(default=default, metadata={_KEY: meaning})


def settings(cls: type) -> Mapping[str, Setting]:
    """Return every parameter of a configuration class by name, in the order of its fields."""
    return {each.name: each.metadata[_KEY] for each in fields(cls) if _KEY in each.metadata}


def check(cls: type, name: str, value: Any) -> Any:
    """Return `value` as the field `name` of `cls` holds it: an integer as float, a list as tuple.

    Empty strings in a list are left out, since ROS cannot say of which type an empty list is:
    `['']` stands for it.

    Raises:
        ConfigError: The value is of another type, not finite, out of range, or not a choice.
    """
    known = settings(cls)
    if name not in known:
        raise ConfigError(f'{name}: no such parameter; there are: {", ".join(known)}')
    meaning = known[name]
    kind = get_type_hints(cls)[name]
    if get_origin(kind) is tuple:
        element = get_args(kind)[0]
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise _refusal(name, value, f'a list of {element.__name__}', meaning)
        return tuple(
            _check_one(f'{name}[{i}]', one, element, meaning)
            for i, one in enumerate(value)
            if one != ''
        )
    return _check_one(name, value, kind, meaning)


def validate(config: Any) -> None:
    """Check every field of a configuration.

    Raises:
        ConfigError: The first value that is not allowed; names field, value, and what is.
    """
    for name in settings(type(config)):
        check(type(config), name, getattr(config, name))


def _check_one(name: str, value: Any, kind: Any, meaning: Setting) -> Any:
    if kind is float and type(value) is int:
        return _check_one(name, float(value), kind, meaning)
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
