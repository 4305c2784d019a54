# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""INT8: what its scales come from, and how they get into a model."""
