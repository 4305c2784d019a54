# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What `ros2 run` starts; takes Ctrl-C before the imports, which are most of a start."""

from __future__ import annotations

import signal
from types import FrameType

from trt_engine.stop_signals import StopSignals


def builder() -> int:
    """Run the builder node; return the exit status."""
    told_to_stop = StopSignals()
    from trt_engine.command import check_node_words

    check_node_words('builder', 'Builds the engines that it is asked for.')
    from trt_builder.node import main

    return main(told_to_stop)


def trt_build() -> int:
    """Run the command trt_build; return the exit status."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _stop_once)
    try:
        from trt_builder.cli import main

        return main()
    except KeyboardInterrupt:  # while it was still importing
        return 130


def _stop_once(number: int, frame: FrameType | None) -> None:
    """Stop as Ctrl-C does; a second one would stop the cleaning up."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt
