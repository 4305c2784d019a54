# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Images to detections in the plane: the camera node."""
