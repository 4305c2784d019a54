# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What `ros2 run` starts; takes Ctrl-C before the imports, which are most of a start."""

from __future__ import annotations

from trt_engine.stop_signals import StopSignals


def fusion() -> int:
    """Run the fusion node; return the exit status."""
    told_to_stop = StopSignals()
    from trt_engine.command import check_node_words

    check_node_words('fusion', 'Brings together what a camera and a lidar have found.')
    from trt_inference.fusion.node import main

    return main(told_to_stop)


def inference() -> int:
    """Run the inference node; return the exit status."""
    told_to_stop = StopSignals()
    from trt_inference.camera.node import main

    return main(told_to_stop)


def lidar_inference() -> int:
    """Run the lidar node; return the exit status."""
    told_to_stop = StopSignals()
    from trt_engine.command import check_node_words

    check_node_words('lidar_inference', 'Turns the clouds of a lidar into detections.')
    from trt_inference.lidar.node import main

    return main(told_to_stop)


def plan() -> int:
    """Run the command plan; return the exit status."""
    try:
        from trt_inference.plan.command import main

        return main()
    except KeyboardInterrupt:  # while it was still importing
        return 130


def replay() -> int:
    """Run the replay node; return the exit status."""
    told_to_stop = StopSignals()
    from trt_engine.command import check_node_words

    check_node_words('replay', 'Publishes a rosbag2, pictures, point clouds, a video or a camera.')
    from trt_inference.replay.node import main

    status = main(told_to_stop)
    told_to_stop.ignore()
    return status


def watch() -> int:
    """Run the watch node; return the exit status."""
    told_to_stop = StopSignals()
    from trt_engine.command import check_node_words

    check_node_words('watch', 'Tells what one inference node sees, and keeps it as a video.')
    from trt_inference.watch.node import main

    status = main(told_to_stop)
    told_to_stop.ignore()
    return status
