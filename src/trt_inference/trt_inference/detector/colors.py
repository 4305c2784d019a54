# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Colours of classes, wherever boxes are drawn."""

from __future__ import annotations

import colorsys
from functools import cache

Color = tuple[int, int, int]

_GOLDEN_RATIO = 0.618034
_TONES = ((0.75, 0.95), (0.55, 1.0), (0.85, 0.75))  # saturation, value


@cache
def class_color(label: int) -> Color:
    """Return the colour of a class, blue first; near numbers get colours far apart."""
    saturation, value = _TONES[label % len(_TONES)]
    hue = (0.02 + label * _GOLDEN_RATIO) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(blue * 255), round(green * 255), round(red * 255)
