# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Prints the JSON schema of model cards, for editors: `> config/models/card.schema.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from dataclasses import is_dataclass
from dataclasses import MISSING
import json
from pathlib import Path
import sys
from typing import Annotated
from typing import Any
from typing import get_args
from typing import get_origin
from typing import get_type_hints
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'src' / 'trt_engine'))

from trt_engine import card
from trt_engine import fields as card_fields
from trt_engine.lidar_card import MAX_PILLAR_POINTS
from trt_engine.lidar_card import PointsInput

Schema = dict[str, Any]

TEXT: Schema = {'type': 'string', 'minLength': 1}
RATIO: Schema = {'type': 'string', 'pattern': r'^\d+(\.\d+)?\s*/\s*\d+(\.\d+)?$'}
TEXTS: Schema = {'anyOf': [TEXT, {'type': 'array', 'items': TEXT, 'minItems': 1}]}
OUTPUTS: Schema = {'type': 'object', 'additionalProperties': TEXTS}
OPTION: Schema = {
    'description': 'An option of the decoder that `type` names',
    'type': ['boolean', 'number', 'string', 'null', 'array'],
}
CLASSES: Schema = {
    'anyOf': [
        TEXT,
        {
            'type': 'array',
            'items': TEXT,
            'minItems': 1,
            'maxItems': card.MAX_CLASSES,
            'uniqueItems': True,
        },
    ]
}


def main() -> None:
    """Print the schema."""
    schema = {
        '$schema': 'https://json-schema.org/draft/2020-12/schema',
        'title': 'Model card of jetson_perception',
        **section(card.Card),
    }
    schema['properties'] = {
        'card': {'description': 'Version of the format', 'const': card.FORMAT},
        **schema['properties'],
    }
    schema['required'] = ['card', *schema['required']]
    print(json.dumps(schema, indent=2))


def section(cls: type) -> Schema:
    """Return the schema of one mapping of a card."""
    hints = get_type_hints(cls, include_extras=True)
    properties: dict[str, Schema] = {}
    required = []
    for field in fields(cls):
        allow = card_fields.allow_of(hints[field.name])
        if allow is None:
            continue
        name = allow.within or field.name
        has_default = field.default is not MISSING or field.default_factory is not MISSING
        if not has_default and name not in required:
            required.append(name)
        schema = value(hints[field.name])
        if allow.within:
            whole = properties.setdefault(name, {'description': '', 'type': 'array', 'items': {}})
            whole['description'] += f'{", " if whole["description"] else ""}{allow.about}'
            whole['items'] = {k: v for k, v in schema.items() if k != 'description'}
            whole['minItems'] = whole['maxItems'] = whole.get('minItems', 0) + 1
            continue
        properties[name] = schema
        if field.default is not MISSING and not is_dataclass(field.default):
            properties[name]['default'] = field.default
    return {
        'type': 'object',
        'properties': properties,
        'required': required,
        'additionalProperties': OPTION if cls is card.Head else False,
    }


def value(hint: Any) -> Schema:
    """Return the schema of one value."""
    allow = card_fields.allow_of(hint) or card_fields.Allow('')
    kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    about: Schema = {'description': allow.about} if allow.about else {}
    if type(None) in get_args(kind):
        inner = bare(get_args(kind)[0], allow)
        return {**about, 'anyOf': [inner, {'type': 'null'}]}
    return {**about, **bare(kind, allow)}


def inputs() -> Schema:
    """Return the schema of `input`, whose `kind` says which keys there are."""
    image, points = section(card.ImageInput), section(PointsInput)
    kind = {'description': 'What the network sees', 'enum': list(card.KINDS), 'default': 'image'}
    for each in (image, points):
        each['properties'] = {'kind': kind, **each['properties']}
    # as `trt_engine.lidar_card.read_points_input` has it
    whole = {'properties': {'features': {'const': 'points'}}, 'required': ['features']}
    points['required'] = [
        name for name in points['required'] if name not in ('voxel_m', 'max_voxels')
    ]
    points |= {
        'if': whole,
        'then': {
            'properties': {
                'max_voxels': {'const': 1},
                'places_tensor': {'type': 'null'},
                'sizes_tensor': {'type': 'null'},
            }
        },
        'else': {
            'properties': {
                'max_points': {'maximum': MAX_PILLAR_POINTS},
                'mask_tensor': {'type': 'null'},
                'padding': {'const': 'zero'},
            },
            'required': ['voxel_m', 'max_voxels'],
        },
    }
    of_points = {'properties': {'kind': {'const': 'points'}}, 'required': ['kind']}
    return {'if': of_points, 'then': points, 'else': image}


def bare(kind: Any, allow: card_fields.Allow) -> Schema:
    """Return the schema of a type within what is allowed."""
    if is_dataclass(kind) and isinstance(kind, type):
        return section(kind)
    origin = get_origin(kind)
    if origin is Literal:
        return {'enum': list(get_args(kind))}
    if allow.read is card_fields.read_strings:
        return OUTPUTS
    if allow.read is card._read_classes:
        return CLASSES
    if allow.read is card._read_input:
        return inputs()
    if origin is Mapping:
        names, inner = get_args(kind)
        members = {'type': 'object', 'additionalProperties': bare(inner, allow)}
        return members if names is str else {**members, 'propertyNames': bare(names, allow)}
    if origin is tuple:
        inner = get_args(kind)
        if inner[-1] is Ellipsis:
            return {'type': 'array', 'items': bare(inner[0], allow)}
        items = bare(inner[0], allow)
        return {'type': 'array', 'items': items, 'minItems': len(inner), 'maxItems': len(inner)}
    if kind is bool:
        return {'type': 'boolean'}
    if kind is str:
        return {**TEXT, **({'pattern': f'^({allow.pattern})$'} if allow.pattern else {})}
    limits = {'minimum': allow.low, 'maximum': allow.high, 'exclusiveMinimum': allow.above}
    number = {
        'type': 'integer' if kind is int else 'number',
        **{name: limit for name, limit in limits.items() if limit is not None},
    }
    return {'anyOf': [number, RATIO]} if allow.ratio else number


if __name__ == '__main__':
    main()
