# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Point clouds to boxes in space: the lidar node."""
