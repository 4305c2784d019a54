# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Every way the monitor can fail, as a tree.

* MonitorError
  + SourceError    a source that cannot be read here, or has stopped
  + ConfigError    a parameter or command-line value that is not allowed
  + RecordError    a recording that cannot be written or read
  + ControlError   a change of the board that was refused or did not work

Each message says what went wrong, what was found, what was wanted, and what to do next.
"""

from __future__ import annotations


class MonitorError(Exception):
    """Base of every error that the monitor raises on purpose."""


class SourceError(MonitorError):
    """A source that cannot be read here, or has stopped."""


class ConfigError(MonitorError):
    """A parameter or command-line value that is not allowed."""


class RecordError(MonitorError):
    """A recording that cannot be written or read."""


class ControlError(MonitorError):
    """A change of the board that was refused, or did not work."""
