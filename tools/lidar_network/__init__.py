# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A small PointPillars for the demo: learned from simulated streets, exported as NVIDIA does."""
