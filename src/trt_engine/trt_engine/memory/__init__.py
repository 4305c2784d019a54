# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What networks and cameras take of memory, and what a machine has."""
