# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Streets that a lidar sees: rays, things, noise, and boxes that are true by construction."""
