# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Curves over time as SVG, written by hand: a report needs no library and no network."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from html import escape
import math

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 960, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 12, 28
_MOST_POINTS = 1200  # more than there are pixels
# Okabe and Ito's colours, which most colour-blind people can tell apart
_COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#666666')
_DASHES = ('', '6 3', '2 3')


@dataclass(frozen=True)
class Chart:
    """Curves with one unit.

    Attributes:
        title: What is seen.
        unit: Their unit.
        curves: Name -> points (seconds, value), in the order of time.
        limits: Name -> value of a level line.
        from_zero: Whether the axis has the zero in it, too.
    """

    title: str
    unit: str
    curves: Mapping[str, Points]
    limits: Mapping[str, float] = field(default_factory=dict, hash=False)
    from_zero: bool = True


def draw(
    chart: Chart, span_s: tuple[float, float], bands: Sequence[tuple[float, float]], gap_s: float
) -> str:
    """Return a chart as HTML: the plot, and a legend with lowest, mean and highest values.

    Args:
        chart: What to draw; without any point it is ''.
        span_s: First and last second of the time axis.
        bands: Times that are marked.
        gap_s: A longer time between two points is left open.
    """
    curves = {name: points for name, points in chart.curves.items() if points}
    if not curves:
        return ''
    values = [value for points in curves.values() for _, value in points]
    shown = [*values, *chart.limits.values(), *([0.0] if chart.from_zero else [])]
    scale = _Scale(span_s, min(shown), max(shown))
    parts = [*_grid(scale), *_bands(scale, bands)]
    for name, value in chart.limits.items():
        y = scale.y(value)
        parts.append(f'<line class="limit" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="limit" x="{_LEFT + 4}" y="{y - 3}">{escape(name)}</text>')
    legend = []
    for index, (name, points) in enumerate(curves.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        dash = _DASHES[index // len(_COLOURS) % len(_DASHES)]
        style = f'stroke="{colour}" stroke-dasharray="{dash}"'
        size = math.ceil(2 * len(points) / _MOST_POINTS)
        for line in _lines(points, gap_s):
            path = ' '.join(
                f'{scale.x(time_s)},{scale.y(value)}' for time_s, value in _thinned(line, size)
            )
            parts.append(f'<polyline {style} points="{path}"/>')
        legend.append(_legend(name, [value for _, value in points], style))
    return (
        f'<section><h2>{escape(chart.title)}</h2>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(chart.title, quote=True)}">{"".join(parts)}</svg>'
        f'<table class="legend"><tr><th></th><th>{escape(chart.unit)}</th>'
        f'<th>lowest</th><th>mean</th><th>highest</th></tr>{"".join(legend)}</table></section>'
    )


class _Scale:
    """From seconds and values to the pixels of the plot."""

    def __init__(self, span_s: tuple[float, float], low: float, high: float) -> None:
        self.start_s, end_s = span_s
        self.length_s = max(end_s - self.start_s, 1e-9)
        self.ticks = list(_ticks(low, high if high > low else low + 1.0))
        self._low, self._high = self.ticks[0], self.ticks[-1]

    def x(self, time_s: float) -> float:
        share = (time_s - self.start_s) / self.length_s
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)


def _ticks(low: float, high: float, about: int = 5) -> Iterator[float]:
    """Yield round values from at most `low` to at least `high`."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    for index in range(math.floor(low / step), math.ceil(high / step) + 1):
        yield index * step


def _grid(scale: _Scale) -> Iterator[str]:
    for value in scale.ticks:
        y = scale.y(value)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<text text-anchor="end" x="{_LEFT - 6}" y="{y + 4}">{value:g}</text>'
    name, size_s = next(
        (name, size_s)
        for name, size_s in (('h', 3600.0), ('min', 60.0), ('s', 1.0))
        if scale.length_s >= 3 * size_s or name == 's'
    )
    for elapsed in _ticks(0.0, scale.length_s / size_s, 8):
        if elapsed * size_s <= scale.length_s:
            x = scale.x(scale.start_s + elapsed * size_s)
            label = f'{elapsed:g} {name}'
            yield f'<text text-anchor="middle" x="{x}" y="{_HEIGHT - 8}">{label}</text>'


def _bands(scale: _Scale, bands: Sequence[tuple[float, float]]) -> Iterator[str]:
    for begin_s, end_s in bands:
        left = scale.x(begin_s)
        width = max(round(scale.x(end_s) - left, 1), 1.0)
        height = _HEIGHT - _TOP - _BOTTOM
        yield f'<rect class="band" x="{left}" y="{_TOP}" width="{width}" height="{height}"/>'


def _thinned(points: Points, size: int) -> Iterator[tuple[float, float]]:
    """Yield of each so many points the lowest and the highest: few enough to draw."""
    for begin in range(0, len(points), size):
        stretch = points[begin : begin + size]
        yield from sorted({min(stretch, key=_value), max(stretch, key=_value)})


def _value(point: tuple[float, float]) -> float:
    return point[1]


def _lines(points: Points, gap_s: float) -> Iterator[Points]:
    """Yield stretches without gaps; nobody knows what was in one."""
    begin = 0
    for index in range(1, len(points) + 1):
        if index == len(points) or points[index][0] - points[index - 1][0] > gap_s:
            yield points[begin:index]
            begin = index


def _legend(name: str, values: Sequence[float], style: str) -> str:
    mark = f'<svg viewBox="0 0 24 8" class="mark"><line x2="24" y1="4" y2="4" {style}/></svg>'
    mean = sum(values) / len(values)
    cells = ''.join(f'<td>{value:.1f}</td>' for value in (min(values), mean, max(values)))
    return f'<tr><td>{mark}</td><td>{escape(name)}</td>{cells}</tr>'
