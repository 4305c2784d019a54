# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The layers of a built engine, as TensorRT's inspector tells of them: where each really runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
import json
import re
from typing import Any
from typing import Literal

from trt_engine.errors import BuildRefusedError


@dataclass(frozen=True)
class Placed:
    """A layer of an engine, as TensorRT's inspector tells of it.

    Attributes:
        name: TensorRT's name, often of several layers fused.
        device: Where it runs; unknown where the engine kept too little to tell.
        kind: Its type, such as DLA, CaskConvolution, Reformat; None where only names were kept.
        precision: Of its first output, such as fp16; None where that is not told.
        tactic: The kernel that was chosen; None where that is not told.
    """

    name: str
    device: Literal['dla', 'gpu', 'unknown']
    kind: str | None
    precision: str | None
    tactic: str | None = None

    @property
    def moves_data(self) -> bool:
        """Return whether it computes nothing: a copy, or a change of format or device."""
        return self.kind in _MOVES or bool(re.search(r' (to|from) nvm$| copy finish$', self.name))


_MOVES = ('Reformat', 'NoOp', 'Copy', 'COPY', 'REFORMAT')
_PRECISIONS = (
    ('bf16', r'\bbf16|bfloat16'),
    ('fp16', r'\bfp16|\bhalf|\bfloat16'),
    ('fp8', r'\bfp8'),
    ('fp32', r'\bfp32|\bfloat'),
    ('int8', r'(?<!u)int8'),
    ('int64', r'int64'),
    ('int32', r'int32'),
    ('bool', r'\bbool'),
)


def placement(layers: str | Mapping[str, Any]) -> tuple[Placed, ...]:
    """Return where each layer of an engine runs.

    Args:
        layers: JSON of the engine inspector, or its values: up to TensorRT 10, which names
            `Bindings`, or from 11, which describes `I/O Tensors`; of any verbosity.

    Raises:
        BuildRefusedError: It is not what an inspector writes.
    """
    try:
        values = json.loads(layers) if isinstance(layers, str) else layers
        listed = values['Layers']
        if not isinstance(listed, list):
            raise TypeError('Layers is no list')
    except (ValueError, KeyError, TypeError) as exc:
        raise BuildRefusedError(
            f'this is no layer list of the engine inspector: {exc!r}; wanted JSON with "Layers"'
        ) from exc
    names = [str(each.get('Name', '') if isinstance(each, dict) else each) for each in listed]
    # only engines with DLA parts move tensors to and from its memory
    has_dla = any(re.search(r' (to|from) nvm$', name) for name in names)
    return tuple(_placed(each, name, has_dla) for each, name in zip(listed, names, strict=True))


def read_layers(layers: str | None) -> tuple[Placed, ...]:
    """Return the layers of an engine, none where the inspector could not be asked."""
    return () if layers is None else placement(layers)


def fallbacks(layers: Sequence[Placed]) -> tuple[Placed, ...]:
    """Return the layers that compute, and not (for sure) on the DLA."""
    return tuple(each for each in layers if each.device != 'dla' and not each.moves_data)


def summarise(layers: Sequence[Placed]) -> dict[str, Any]:
    """Return the layers in numbers: those that compute by precision and device, and the others."""
    computing = [each for each in layers if not each.moves_data]
    return {
        'count': len(layers),
        'precision': dict(Counter(each.precision or 'unknown' for each in computing)),
        'device': dict(Counter(each.device for each in computing)),
        'moves': len(layers) - len(computing),
    }


def _placed(layer: object, name: str, has_dla: bool) -> Placed:
    kind = precision = tactic = None
    if isinstance(layer, dict):
        kind = str(layer['LayerType']) if layer.get('LayerType') else None
        tactic = str(layer['TacticName']) if layer.get('TacticName') else None
        precision = _precision_of(layer)
    if kind is not None:
        return Placed(name, 'dla' if 'dla' in kind.lower() else 'gpu', kind, precision, tactic)
    # the GPU compiler of TensorRT calls its parts so, too
    if name.startswith('{ForeignNode['):
        return Placed(name, 'dla' if has_dla else 'unknown', None, precision)
    return Placed(name, 'gpu', None, precision)


def _precision_of(layer: Mapping[str, Any]) -> str | None:
    outputs = layer.get('Outputs')
    first = outputs[0] if isinstance(outputs, list) and outputs else None
    if not isinstance(first, dict):
        return None
    told = ' '.join(
        str(first[key]) for key in ('Datatype', 'DataType', 'Format/Datatype') if key in first
    ) or str(first.get('Format', ''))
    return next((name for name, form in _PRECISIONS if re.search(form, told, re.IGNORECASE)), None)
