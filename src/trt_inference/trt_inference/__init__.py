# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Camera and lidar messages to detections; ROS only in node files and conversions."""
