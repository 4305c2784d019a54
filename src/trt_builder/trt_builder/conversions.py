# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Between ROS messages and this package."""

from __future__ import annotations

import json
import math

from trt_builder.build_process import Progress
from trt_builder.builder import Outcome
from trt_builder.builder import refusal
from trt_builder.jobs import Job
from trt_builder.jobs import Jobs
from trt_engine.entry import Entry
from trt_engine.errors import PerceptionError
from trt_interfaces.action import BuildEngine
from trt_interfaces.msg import BuilderStatus
from trt_interfaces.msg import EngineInfo


def job(goal: BuildEngine.Goal) -> Job:
    """Return what a goal asks for."""
    return Job(goal.card, goal.onnx, tuple(goal.overrides), goal.force)


def feedback(progress: Progress, elapsed_s: float) -> BuildEngine.Feedback:
    """Return how far a job is, so long after it was asked for."""
    return BuildEngine.Feedback(
        phase=progress.phase,
        fraction=progress.fraction,
        message=progress.message,
        elapsed_s=elapsed_s,
    )


def result(outcome: Outcome | PerceptionError, seconds: float) -> BuildEngine.Result:
    """Return how a job ended after so many seconds."""
    report = refusal(outcome) if isinstance(outcome, PerceptionError) else outcome.to_json()
    return BuildEngine.Result(
        status=report['status'],
        reason=report['reason'],
        engine=str(report['engine'] or ''),
        key=report['key'] or '',
        seconds=seconds,
        report=json.dumps(report),
    )


def status(jobs: Jobs) -> BuilderStatus:
    """Return what the builder is doing."""
    message = BuilderStatus(
        state='idle',
        fraction=math.nan,
        elapsed_s=math.nan,
        queued=jobs.queued,
        last_outcome=str(jobs.last or ''),
    )
    if front := jobs.front:
        message.state = 'building'
        message.card = front.card
        message.phase = front.progress.phase
        message.fraction = front.progress.fraction
        message.message = front.progress.message
        message.elapsed_s = front.elapsed_s
    return message


def engine_info(key: str, entry: Entry | None, problem: str = '') -> EngineInfo:
    """Return what is known of an engine; `entry` is None if its manifest cannot be read."""
    if entry is None:
        return EngineInfo(key=key, last_use=math.nan, problem=problem)
    manifest, ingredients = entry.manifest, entry.manifest.ingredients
    return EngineInfo(
        key=key,
        card=ingredients.card,
        precision=str(ingredients.settings.get('precision', '')),
        flavour=ingredients.flavour,
        tensorrt=ingredients.tensorrt or '',
        gpu=ingredients.gpu or '',
        provenance=manifest.provenance,
        created_utc=manifest.created_utc,
        last_use=entry.last_use,
        size_bytes=entry.size_bytes,
        engine=str(entry.plan),
        problem=problem,
    )
