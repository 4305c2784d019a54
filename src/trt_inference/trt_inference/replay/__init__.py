# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings as topics: the replay node."""
