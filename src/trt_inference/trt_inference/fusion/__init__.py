# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Boxes from the lidar, labels from the image: the fusion node."""
