# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Writes a card of a lidar network as the YAML that config/models/ holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
import hashlib
from pathlib import Path
from typing import Any

import yaml

from trt_engine.card import Card
from trt_engine.card import FORMAT

HEAD = """\
# yaml-language-server: $schema=card.schema.json
# Trained by this project alone, on simulated streets: tools/lidar_network/train.py wrote this card.
"""


def write_card(
    card: Card, path: Path, *, onnx: Path | None = None, training: Mapping[str, Any] | None = None
) -> None:
    """Write a card of a network with one file.

    Args:
        card: What to write; of its build settings, nothing.
        path: The YAML file.
        onnx: The network, whose digest the card then names; None: the card names none.
        training: The section `training`; None: there is none.
    """
    digest = None if onnx is None else hashlib.sha256(onnx.read_bytes()).hexdigest()
    points = {name: value for name, value in asdict(card.points).items() if value is not None}
    thresholds = {
        name: value for name, value in asdict(card.thresholds).items() if value is not None
    }
    values = {
        'card': FORMAT,
        'name': card.name,
        'summary': card.summary,
        'model': {'source': card.model.source, 'licence': card.model.licence, 'sha256': digest},
        'input': {'kind': 'points', **points},
        'head': {'type': card.head.type, 'outputs': card.head.outputs, **card.head.options},
        'classes': card.classes,
        'thresholds': thresholds,
        **({'training': training} if training is not None else {}),
    }
    text = yaml.safe_dump(_plain(values), sort_keys=False, width=100, default_flow_style=None)
    path.write_text(HEAD + text)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value
