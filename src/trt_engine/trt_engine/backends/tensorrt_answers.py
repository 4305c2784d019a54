# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What TensorRT means by what it says while an engine is loaded or run, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import re

REBUILD = 'build it again, here (ros2 run trt_builder trt_build --force)'


@dataclass(frozen=True)
class Answer:
    """A failure that others have met.

    Attributes:
        pattern: What the line holds.
        text: What it means, and what to do.
        foreign: Whether the engine will never load here; other reasons may pass, such as memory.
    """

    pattern: str
    text: str
    foreign: bool = False


# The first that fits a line answers it: the narrow ones stand before the wide ones.
ANSWERS = (
    Answer(
        'not compatible with this version of TensorRT|expecting library version',
        'The engine was built with another version of TensorRT than the one here; an engine fits '
        f'one version: {REBUILD}',
        foreign=True,
    ),
    Answer(
        'incompatible device|expecting compute',
        'The engine was built for another GPU than the one here; an engine fits one model of GPU: '
        f'{REBUILD}',
        foreign=True,
    ),
    Answer(
        'engine plan file across different models of devices',
        f'The engine was built on another model of GPU, and may be slow or fail here: {REBUILD}',
    ),
    Answer(
        r'could not find plugin|[Pp]lugin ?[cC]reator not found|getPluginCreator|getCreator',
        'The engine has a layer of a plugin that is not loaded: name its library in build.plugins '
        'of the card',
    ),
    Answer(
        r'Version tag does not match|[vV]ersionRead ==|[Mm]agic ?[Tt]ag|Serialization assertion',
        'The engine is of another version of TensorRT, or its file is cut short or damaged, as by '
        f'a copy in text mode: {REBUILD}',
        foreign=True,
    ),
    Answer(
        r'[Oo]ut ?[oO]f ?[mM]emory|[Rr]equested amount of GPU memory|bad_alloc|cudaMalloc',
        'There is not enough memory: close other programs, build for smaller shapes or a smaller '
        'batch, or have engines that run in turn share an arena',
    ),
    Answer(
        r'CUDA initialization failure|driver version is insufficient|no CUDA-capable device',
        'CUDA finds no GPU, or the driver is older than this TensorRT wants; a container is to be '
        'started with --runtime nvidia',
    ),
    Answer(
        'has been chosen by another IExecutionContext',
        'Each profile of this engine serves one context: build it with a profile for each context, '
        'or again with this builder, which lets contexts share them where TensorRT can',
    ),
    Answer(
        r'mOptimizationProfile|[Pp]rofile index must be set|set default profile',
        'The context has no profile of the engine to itself: build it with a profile for each '
        'context',
    ),
    Answer(
        'satisfyProfile|does not satisfy any optimization profile',
        'An input has a shape that no profile of the engine takes: widen build.profiles in the '
        'card and build again',
    ),
    Answer(
        'Not all dimensions are specified|not all (?:input )?dimensions',
        'An input has no shape yet: prepare the context with the shapes of all inputs that vary',
    ),
    Answer(
        'Neither address or allocator is set|set(?:Input)?TensorAddress before enqueue',
        'A tensor has no memory: fill in every input and prepare the context before a run',
    ),
    Answer(
        r'DLA engine, \d+ not available|number of DLA loadables|DLA.{0,60}loadable',
        'The DLA core is not there, or full: it holds 16 loadables of all engines together; in a '
        'container its device nodes may be missing; else build for the GPU: dla.core: null',
    ),
    Answer(
        'stream is capturing|StreamCapture',
        'The network does something that a CUDA graph cannot record: run it without a graph',
    ),
    Answer(
        r'illegal memory access|unspecified launch failure|misaligned address',
        'The GPU has stopped for this process, which must be started anew; if it comes again, '
        'look for memory that is freed or moved during a run',
    ),
    Answer(
        'logger passed into create',
        'TensorRT keeps the first logger of a process: what it says may be in the output of '
        'whoever loaded TensorRT first',
    ),
)
_COMPILED = tuple((re.compile(each.pattern), each) for each in ANSWERS)


def answer_to(line: str) -> Answer | None:
    """Return the answer to a line of TensorRT; None where none is known."""
    return next((answer for pattern, answer in _COMPILED if pattern.search(line)), None)


def is_foreign(lines: Sequence[str]) -> bool:
    """Return whether lines of TensorRT say that the engine will never load here."""
    answers = map(answer_to, lines)
    return any(answer is not None and answer.foreign for answer in answers)


def with_answers(what: str, lines: Sequence[str], otherwise: str = '') -> str:
    """Return a message: what failed, TensorRT's own words, and what to do.

    Args:
        what: What failed.
        lines: What TensorRT said of it.
        otherwise: What to do where no answer to any line is known.
    """
    said = f'{what}; TensorRT says: {"; ".join(lines)}' if lines else what
    answers = dict.fromkeys(answer.text for line in lines if (answer := answer_to(line)))
    return '. '.join(filter(None, (said, *(answers or (otherwise,)))))
