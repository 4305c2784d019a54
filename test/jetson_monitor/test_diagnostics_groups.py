# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The groups of config/diagnostics.yaml, by the matching rules of diagnostic_aggregator."""

from __future__ import annotations

import re

import pytest
import yaml

from jetson_monitor.health import COMPONENTS

LISTS = ('contains', 'startswith', 'expected', 'regex', 'find_and_remove_prefix', 'remove_prefix')
OTHERS = ('timeout', 'num_items', 'discard_stale')


def matches(analyzer, name):
    """Return whether a GenericAnalyzer takes a status: any of its criteria will do.

    find_and_remove_prefix is both a startswith and a remove_prefix.
    """
    begins = analyzer.get('startswith', []) + analyzer.get('find_and_remove_prefix', [])
    return (
        any(name.startswith(each) for each in begins)
        or any(each in name for each in analyzer.get('contains', []))
        or name in analyzer.get('expected', [])
        or any(re.fullmatch(each, name) for each in analyzer.get('regex', []))
    )


def shown(analyzer, name):
    prefixes = analyzer.get('remove_prefix', []) + analyzer.get('find_and_remove_prefix', [])
    for each in prefixes:
        name = name.removeprefix(each)
    return name


@pytest.fixture
def analyzers(repository):
    text = (repository / 'config' / 'diagnostics.yaml').read_text()
    return yaml.safe_load(text)['/**']['ros__parameters']['analyzers']


@pytest.mark.parametrize(
    ('name', 'group', 'as_shown'),
    [
        *((f'jetson_monitor: {each.name}', 'board', each.name) for each in COMPONENTS),
        ('jetson_monitor: board', 'board', 'board'),
        ('jetson_monitor: preflight', 'board', 'preflight'),
        ('jetson_monitor: recording', 'board', 'recording'),
        ('inference: backend', 'perception', 'backend'),
        ('inference: camera', 'perception', 'camera'),
        ('inference: camera front_left', 'perception', 'camera front_left'),
        ('lidar_inference: points', 'perception', 'points'),
        ('fusion: rate', 'perception', 'rate'),
        ('builder: store', 'engines', 'store'),
        ('builder: build', 'engines', 'build'),
    ],
)
def test_each_status_goes_to_one_group(analyzers, name, group, as_shown):
    assert [key for key, each in analyzers.items() if matches(each, name)] == [group]
    assert shown(analyzers[group], name) == as_shown
    assert '/' not in name, 'it would split the tree of rqt_robot_monitor'


@pytest.mark.parametrize(
    'name',
    ['motor: temperature', 'battery: power', 'my_jetson_monitor: thermal', 'Nav2: inference'],
)
def test_statuses_of_other_nodes_are_left_alone(analyzers, name):
    assert not [key for key, each in analyzers.items() if matches(each, name)]


def test_the_file_says_only_what_the_aggregator_knows(analyzers):
    for each in analyzers.values():
        assert each['type'] == 'diagnostic_aggregator/GenericAnalyzer'
        assert set(each) <= {'type', 'path', *LISTS, *OTHERS}
        assert all(isinstance(each[key], list) for key in LISTS if key in each)
        assert each['timeout'] >= 3.0, 'at 1 Hz, less would show healthy items as stale'
    paths = [each['path'] for each in analyzers.values()]
    assert len(paths) == len(set(paths))
