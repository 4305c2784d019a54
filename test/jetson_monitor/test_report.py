# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A log as one HTML page that needs nothing else."""

from __future__ import annotations

from html.parser import HTMLParser
import re

import pytest

from jetson_monitor.plot import Chart
from jetson_monitor.plot import draw
from jetson_monitor.replay import read_log
from jetson_monitor.report import report
from jetson_monitor.sample import Sample

pytestmark = pytest.mark.slow

VOID = {'meta', 'line', 'polyline', 'rect'}


class Page(HTMLParser):
    """Fails on tags that are not closed in order; keeps the text."""

    def __init__(self, html):
        super().__init__()
        self.open, self.words, self.polylines = [], [], []
        self.feed(html)
        assert not self.open, f'never closed: {self.open}'

    def handle_starttag(self, tag, attributes):
        if tag == 'polyline':
            self.polylines.append(dict(attributes)['points'])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        if tag == 'polyline':
            self.polylines.append(dict(attributes)['points'])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.words.append(text.strip())


def afternoon():
    """Ten minutes: warming up, throttled from 300 s to 400 s, a gap from 500 s to 530 s."""
    for t in range(600):
        if 500 < t < 530:
            continue
        hot = 300 <= t < 400
        values = {
            'temp_tj_c': 96.0 if hot else 60.0 + t / 100, 'trip_tj_passive_c': 95.0,
            'rail_vdd_in_mw': 10_000.0, 'rail_vdd_in_average_mw': 1.0, 'gpu_load_percent': 50.0,
            'gpu_clock_mhz': 918.0, 'ram_used_mib': 3000.0, 'ram_total_mib': 7620.0,
            'throttle_gpu_state': float(hot), 'throttle_gpu_max_state': 3.0,
        }  # fmt: skip
        yield Sample(1_800_000_000 + t, 50 + t, values, {'power_mode': 'MAXN' if t < 100 else '7W'})


def test_the_page_tells_the_afternoon():
    html = report('robot <7> & "co".csv', list(afternoon()))
    page = Page(html)

    assert 'robot <7> & "co".csv' in page.words
    for words in (
        '2027-01-15 08:00:00 UTC', '571', '1, the longest 30 s', '100 s',
        '5690.0 J, 10.00 W on average (vdd_in)', 'throttled by gpu', 'full speed again after 100 s',
        'power mode MAXN became 7W', 'tj passive: 95 C', '7620 MiB in all',
        'Temperatures', 'Rails', 'Clocks', 'Load', 'Memory',
    ):  # fmt: skip
        assert words in page.words, words
    assert 'Fans' not in page.words, 'what the log has not is not drawn'
    assert html.count('class="band"') == 5, 'in each of the five charts'
    assert not re.search(r'https?://|<script|<link|<img|url\(', html), 'it needs nothing else'


def test_curves_are_open_where_nothing_is_known():
    page = Page(report('log', list(afternoon())))
    assert len(page.polylines) == 2 * 5, 'five curves, each with one gap'


@pytest.mark.parametrize('count', [1, 2])
def test_a_short_log_has_a_page_too(count):
    Page(report('short', list(afternoon())[:count]))


def test_a_log_without_values_has_a_page_too():
    Page(report('empty', [Sample(0, 0), Sample(1, 1)]))


def test_long_logs_stay_small_and_keep_their_peaks():
    points = [(float(t), 20.0) for t in range(100_000)]
    points[54_321] = (54_321.0, 99.0)
    html = draw(Chart('x', 'C', {'a': points}), (0.0, 99_999.0), [], 3.0)
    assert len(html) < 50_000
    assert re.search(r'<td>20.0</td><td>20.0</td><td>99.0</td>', html)
    ys = {float(each.split(',')[1]) for each in Page(html).polylines[0].split()}
    assert len(ys) == 2, 'the one peak is still there'


def test_thinned_curves_of_slow_logs_have_no_gaps():
    points = [(10.0 * t, float(t % 7)) for t in range(5000)]
    assert len(Page(draw(Chart('x', '', {'a': points}), (0, 50_000), [], 30.0)).polylines) == 1


@pytest.mark.parametrize('value', [0.0, -392.0, 1e-9, 1e12])
def test_any_value_can_be_drawn(value):
    html = draw(Chart('x', 'mW', {'a': [(0.0, value), (1.0, value)]}), (0.0, 1.0), [], 3.0)
    assert 'nan' not in html
    assert 'inf' not in html


def test_the_captured_lines_of_every_board_make_a_page(data):
    Page(report('lines', read_log(data / 'tegrastats' / 'lines.txt')))
