# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters of the builder that cannot be are refused with what is allowed."""

from __future__ import annotations

import pytest

from trt_builder.compat import TITLES
from trt_builder.config import BuilderConfig
from trt_engine.errors import ConfigError
from trt_engine.parameters import settings


@pytest.mark.parametrize(
    ('field', 'value', 'words'),
    [
        ('limit_mib', 0, 'limit_mib is 0; wanted at least 1'),
        ('timeout_s', -1.0, r'timeout_s is -1.0; wanted at least 0'),
        ('timeout_s', float('inf'), 'timeout_s is inf; wanted a finite number'),
        ('flavour', 'rtx', "flavour is 'rtx'; wanted one of tensorrt, tensorrt_rtx"),
        ('cards', 'demo', "cards is 'demo'; wanted a list of str"),
    ],
)
def test_what_cannot_be_is_refused(field, value, words):
    with pytest.raises(ConfigError, match=words):
        BuilderConfig(**{field: value})


def test_every_flavour_that_builds_can_be_chosen():
    assert settings(BuilderConfig)['flavour'].choices == tuple(TITLES)
