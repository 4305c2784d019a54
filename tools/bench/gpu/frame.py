# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a camera frame costs: part by part, beside its floor, and in other ways."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from setting import head
from setting import row
from setting import Setting
from setting import SIZE
import ways

from trt_engine.cuda.memory import Event
from trt_engine.cuda.memory import Exchange
from trt_engine.cuda.memory import Graph
from trt_engine.cuda.memory import Lease
from trt_inference.camera.image_view import view_image
from trt_inference.camera.pipeline import Detector
from trt_inference.cdr import serialize_image


def floor(setting: Setting) -> tuple[float, float]:
    """Return ms of the engine alone in a graph, and of the raw frame from pinned memory."""
    stream = setting.backend.stream
    setting.backend.enqueue()  # what TensorRT does once cannot be recorded
    stream.synchronize()
    graph = Graph(stream, setting.backend.enqueue)
    engine = setting.median(setting.waited(lambda: graph.launch(stream)))
    graph.close()
    memory = Lease(setting.pool)
    raw = Exchange(memory, setting.frame.nbytes)
    copy = setting.median(setting.waited(lambda: raw.upload(stream)))
    memory.close()
    return engine, copy


def parts(setting: Setting) -> dict[str, float]:
    """Return the median ms that the GPU spends in each part of a frame, by events."""
    stream = setting.backend.stream
    before, after = Event(timing=True), Event(timing=True)
    medians = {}
    for name, put in setting.detector.parts(setting.frame, 'bgr8').items():
        times = []
        for _ in range(setting.warm_up + setting.rounds):
            before.record(stream)
            put()
            after.record(stream)
            after.synchronize()
            times.append(after.since(before))
        medians[name] = float(np.median(times[setting.warm_up :]))
    before.close()
    after.close()
    return medians


def from_pinned(setting: Setting) -> float:
    """Return ms from a frame that lies staged in pinned memory to its detections."""
    staging: list[float] = []  # bringing the frame there, which is left out

    def run() -> None:
        setting.detector(setting.frame, 'bgr8')
        staging.append(setting.detector.stages_ms['preprocess'])

    whole = setting.times(run)
    return float(np.median(np.array(whole) - np.array(staging[setting.warm_up :])))


def in_turn(setting: Setting) -> float:
    """Return ms a frame where the next is always begun before the one under way is waited for."""
    detector, picture = setting.detector, [(setting.frame, 'bgr8')]
    under_way = [detector.begin(picture)]

    def run() -> None:
        under_way.append(detector.begin(picture))
        under_way.pop(0)()

    each = setting.median(run)
    under_way.pop()()
    return each


def from_message(setting: Setting) -> float:
    """Return ms from the bytes of a serialized message to the detections."""
    message = serialize_image(1, 'camera', setting.frame)

    def run() -> None:
        view = view_image(message)
        setting.detector(view.pixels, view.encoding)

    return setting.median(run)


def other_ways(setting: Setting, plan: Path) -> dict[str, Callable[[], Any]]:
    """Return the same frame through the same engine, as others do it; by name."""
    card, backend, frame = setting.card, setting.backend, setting.frame
    on_cpu = Detector(card, backend)
    found: dict[str, Callable[[], Any]] = {
        'our CPU pre- and postprocessing': lambda: on_cpu(frame, 'bgr8')
    }
    if card.head.type != 'yolox':
        return found
    found['cv2, NumPy, NumPy NMS; plain copies and enqueue'] = ways.usual(
        card, frame, lambda tensor: next(iter(backend.run({card.image.tensor: tensor}).values()))
    )
    for name, make in (('Polygraphy', ways.polygraphy), ('trtutils', ways.trtutils)):
        try:
            infer = make(plan, card.image.tensor)
        except Exception as exc:  # noqa: BLE001  # whatever keeps it from running here
            row(f'{name}: does not run here: {exc!r}'[:160], '')
            continue
        found[f'cv2, NumPy, NumPy NMS; {name}'] = ways.usual(card, frame, infer)
    return found


def report(setting: Setting, args: argparse.Namespace) -> None:
    """Print parts, floor and ratios."""
    engine, copy = floor(setting)
    by_events = parts(setting)
    pinned, message = from_pinned(setting), from_message(setting)
    head('part, by events on the GPU', 'ms')
    for name, ms in by_events.items():
        row(name, ms)
    print()
    head(f'{SIZE[0]}x{SIZE[1]} bgr8, median of {setting.rounds}', 'ms')
    row('floor: engine alone in a graph', engine)
    row('floor: raw frame, pinned host to device', copy)
    row('ours, from pinned memory to detections', pinned)
    row('**ours / floor**', pinned / (engine + copy))
    row('gap: ours less the graph by events', pinned - by_events.get('graph', float('nan')))
    row('ours, from the bytes of a message', message)
    row('**more than from pinned memory**', message - pinned)
    row('ours, a frame of many, two under way', in_turn(setting))
    for name, work in other_ways(setting, args.plan).items():
        ms = setting.median(work)
        row(name, ms)
        row('that / ours from a message', ms / message)
        row('that less the engine / ours less the engine', (ms - engine) / (message - engine))
