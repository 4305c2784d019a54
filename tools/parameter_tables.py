# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the parameter tables of README.md from the configuration classes.

What the lidar node shares with the camera's stands in the table of that one only.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
import re

from jetson_monitor.config import MonitorConfig
from trt_builder.config import BuilderConfig
from trt_engine.parameters import settings
from trt_inference.camera.config import InferenceConfig
from trt_inference.fusion.config import FusionConfig
from trt_inference.lidar.config import LidarConfig
from trt_inference.replay.config import ReplayConfig
from trt_inference.watch.config import WatchConfig

README = Path(__file__).resolve().parents[1] / 'README.md'
NODES: dict[str, type] = {
    'inference': InferenceConfig,
    'lidar_inference': LidarConfig,
    'fusion': FusionConfig,
    'builder': BuilderConfig,
    'replay': ReplayConfig,
    'watch': WatchConfig,
    'jetson_monitor': MonitorConfig,
}


def table(cls: type, name: str) -> str:
    """Return the parameters of one node as a Markdown table."""
    told = rows(InferenceConfig, 'inference') if name == 'lidar_inference' else []
    shown = [row for row in rows(cls, name) if row not in told]
    return '\n'.join(['| parameter | default | meaning |', '|---|---|---|', *shown])


def rows(cls: type, name: str) -> list[str]:
    """Return a row for each parameter of one node."""
    defaults = {each.name: each.default for each in fields(cls)}
    rows = []
    for parameter, meaning in settings(cls).items():
        default = defaults[parameter]
        shown = '[]' if default == () else str(default).lower() if default in (True, False) else (
            repr(default)
        )  # fmt: skip
        allowed = f' ({meaning.wanted})' if meaning.wanted else ''
        live = ' ⟳' if name.endswith('inference') and not meaning.read_only else ''
        rows.append(f'| `{parameter}`{live} | `{shown}` | {meaning.description}{allowed} |')
    return rows


def filled(text: str) -> str:
    """Return the README with each table between its markers made anew."""
    for name, cls in NODES.items():
        marker = f'<!-- parameters of {name} -->'
        pattern = re.compile(f'{re.escape(marker)}\n(.*?\n)?{re.escape(marker)}', re.DOTALL)
        text = pattern.sub(lambda _: f'{marker}\n{table(cls, name)}\n{marker}', text)  # noqa: B023
    return text


if __name__ == '__main__':
    README.write_text(filled(README.read_text()))
