# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Clouds to network inputs on the CPU, and the files of lidar networks."""
