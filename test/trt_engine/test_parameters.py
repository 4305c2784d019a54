# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Settings as dataclass fields: limits, types, and what a refusal says."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from trt_engine.errors import ConfigError
from trt_engine.parameters import check
from trt_engine.parameters import setting
from trt_engine.parameters import settings
from trt_engine.parameters import validate
from trt_inference.replay.config import ReplayConfig
from trt_inference.watch.config import WatchConfig


@dataclass(frozen=True)
class Config:
    rate: float = setting(1.0, 'Speed.', minimum=0.5, maximum=4.0)
    count: int = setting(0, 'How many.', minimum=0)
    ceiling: int = setting(0, 'At most.', maximum=3, read_only=False)
    loop: bool = setting(False, 'Again.')
    mode: str = setting('a', 'Which.', choices=('a', 'b'))
    names: tuple[str, ...] = setting((), 'Who.')
    weights: tuple[float, ...] = setting((), 'How much.', maximum=1.0)
    private: int = 3


def test_settings_are_the_described_fields_in_order():
    known = settings(Config)
    assert list(known) == ['rate', 'count', 'ceiling', 'loop', 'mode', 'names', 'weights']
    assert known['rate'].description == 'Speed.'
    assert known['rate'].read_only
    assert not known['ceiling'].read_only


@pytest.mark.parametrize(
    ('name', 'given', 'kept'),
    [
        ('rate', 4.0, 4.0),
        ('rate', 1, 1.0),
        ('count', 10**12, 10**12),
        ('ceiling', -5, -5),
        ('loop', True, True),
        ('mode', 'b', 'b'),
        ('names', ['x', 'y'], ('x', 'y')),
        ('names', [''], ()),
        ('weights', [1, 0.5], (1.0, 0.5)),
    ],
)
def test_check_returns_what_the_field_holds(name, given, kept):
    got = check(Config, name, given)
    assert got == kept
    assert type(got) is type(kept)


@pytest.mark.parametrize(
    ('name', 'given', 'words'),
    [
        ('rate', 0.0, 'rate is 0.0; wanted 0.5 to 4 (Speed.)'),
        ('rate', float('nan'), 'rate is nan; wanted a finite number'),
        ('rate', float('inf'), 'wanted a finite number'),
        ('rate', True, 'rate is True; wanted a value of type float'),
        ('rate', '2', "rate is '2'; wanted a value of type float"),
        ('rate', None, 'rate is None; wanted a value of type float'),
        ('count', -1, 'count is -1; wanted at least 0'),
        ('count', 1.0, 'wanted a value of type int'),
        ('count', True, 'wanted a value of type int'),
        ('ceiling', 4, 'wanted at most 3'),
        ('loop', 1, 'wanted a value of type bool'),
        ('mode', 'c', "mode is 'c'; wanted one of a, b"),
        ('names', 'x', "names is 'x'; wanted a list of str"),
        ('names', ['x', 3], 'names[1] is 3; wanted a value of type str'),
        ('weights', [0.5, 2.0], 'weights[1] is 2.0; wanted at most 1'),
        ('speed', 1.0, 'speed: no such parameter; there are: rate, count,'),
    ],
)
def test_check_refuses(name, given, words):
    with pytest.raises(ConfigError) as error:
        check(Config, name, given)
    assert words in str(error.value)


def test_validate_looks_at_every_field():
    validate(Config())
    with pytest.raises(ConfigError, match='mode is'):
        validate(Config(mode='z'))


@pytest.mark.parametrize('cls', [ReplayConfig, WatchConfig])
def test_our_defaults_are_allowed_and_described(cls):
    validate(cls())
    for name, meaning in settings(cls).items():
        assert meaning.description.endswith('.'), name
    assert len(settings(cls)) == len(cls.__dataclass_fields__)


def test_replay_cannot_restamp_and_tell_the_recorded_time():
    with pytest.raises(ConfigError, match='restamp and publish_clock are both true'):
        ReplayConfig(restamp=True, publish_clock=True)


def test_topic_map_renames():
    config = ReplayConfig(topic_map=('/a:=/b', '/b:=/a'))
    assert config.published_names(['/a', '/b', '/c']) == {'/a': '/b', '/b': '/a', '/c': '/c'}


@pytest.mark.parametrize(
    ('entry', 'words'),
    [
        ('/a', "topic_map has '/a'; wanted `from:=to`"),
        (':=/x', 'wanted `from:=to`'),
        ('/nowhere:=/x', 'topic_map has /nowhere, which is not played; there are: /a, /b'),
        ('/a:=/b', 'topic_map gives two topics one name'),
    ],
)
def test_topic_map_refuses(entry, words):
    with pytest.raises(ConfigError) as error:
        ReplayConfig(topic_map=(entry,)).published_names(['/a', '/b'])
    assert words in str(error.value)
