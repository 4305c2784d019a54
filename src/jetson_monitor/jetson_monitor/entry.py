# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What `ros2 run` starts: the node, or with a verb one of the commands, which need no ROS."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the node, or the command that is named; return the exit status."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] != '--ros-args':
        try:
            from jetson_monitor.cli import main as command

            return command(arguments)
        except KeyboardInterrupt:  # while it was still importing
            return 1
    # Ctrl-C is taken before the imports, which are most of a start.
    from jetson_monitor.stop_signals import StopSignals

    told_to_stop = StopSignals()
    from jetson_monitor.node import main as node

    return node(told_to_stop)


if __name__ == '__main__':
    sys.exit(main())
