# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Says beforehand whether networks, cameras and a lidar fit into the memory of a board."""
