# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the builder node can be told; the one place with its defaults."""

from __future__ import annotations

from dataclasses import dataclass

from trt_engine.parameters import setting
from trt_engine.parameters import validate
from trt_engine.store import LIMIT_MIB


@dataclass(frozen=True)
class BuilderConfig:
    """Parameters of the builder node; all are fixed once it has started."""

    cards: tuple[str, ...] = setting(
        (), 'Model cards, by name or path, whose engines are built when the node starts.'
    )
    store: str = setting(
        '', 'Folder of the engines; empty for TRT_ENGINE_STORE, or one in the home folder.'
    )
    limit_mib: int = setting(
        LIMIT_MIB,
        'What the engines may take up before those that were not used for longest go.',
        minimum=1,
    )
    flavour: str = setting(
        'tensorrt', 'Which TensorRT builds.', choices=('tensorrt', 'tensorrt_rtx')
    )
    timeout_s: float = setting(
        0.0,
        'End a build after so long, waiting for its turn not counted; 0: no limit.',
        minimum=0.0,
    )
    allow_few_samples: bool = setting(
        False, 'Calibrate INT8 also with fewer than 100 samples: for trials, not for robots.'
    )

    def __post_init__(self) -> None:
        """Refuse values that are not allowed.

        Raises:
            ConfigError: Names the parameter, its value, and what is allowed.
        """
        validate(self)
