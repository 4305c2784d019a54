# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Reports how the board is doing, and when to worry."""
