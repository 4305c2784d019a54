# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What nodes that run a network share."""
