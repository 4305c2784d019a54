# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What `ros2 run` starts; takes Ctrl-C before the imports, which are most of a start."""

from __future__ import annotations


def accuracy() -> int:
    """Run the command accuracy; return the exit status."""
    try:
        from trt_validation.accuracy import main

        return main()
    except KeyboardInterrupt:  # while it was still importing
        return 130


def lidar_accuracy() -> int:
    """Run the command lidar_accuracy; return the exit status."""
    try:
        from trt_validation.lidar_accuracy import main

        return main()
    except KeyboardInterrupt:
        return 130
