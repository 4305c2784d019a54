# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the inference node can be told; the one place with its defaults."""

from __future__ import annotations

from dataclasses import dataclass

from trt_engine.errors import ConfigError
from trt_engine.parameters import setting
from trt_inference.detector.config import DetectorConfig
from trt_inference.detector.config import Stream


@dataclass(frozen=True)
class InferenceConfig(DetectorConfig):
    """Parameters of the inference node; those not read-only may change while it runs."""

    cameras: tuple[str, ...] = setting(
        (), 'Names of several cameras, one set of topics each; empty for a single unnamed one.'
    )
    image_topics: tuple[str, ...] = setting(
        (), 'Image topic of each camera, in their order; empty for `image` or `<camera>/image`.'
    )
    transport: str = setting(
        'raw',
        'raw reads sensor_msgs/Image; compressed reads sensor_msgs/CompressedImage from '
        '`<topic>/compressed`.',
        choices=('raw', 'compressed'),
    )
    jpeg_decoder: str = setting(
        'auto',
        'What decodes compressed images where the GPU prepares them; auto takes nvJPEG where it is '
        'installed, else OpenCV on threads of its own, as on the CPU.',
        choices=('auto', 'nvjpeg', 'opencv'),
    )
    overlay_transport: str = setting(
        'raw',
        '~/overlay as sensor_msgs/Image, or ~/overlay/compressed as JPEG.',
        choices=('raw', 'compressed'),
    )
    max_batch_wait_ms: float = setting(
        0.0,
        'How long after its arrival a frame may wait for those of other cameras, where the engine '
        'takes several at once; 0: not at all.',
        minimum=0.0, maximum=1000.0, read_only=False,
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Refuse what no single field can see.

        Raises:
            ConfigError: A value is not allowed, or two fields contradict each other.
        """
        super().__post_init__()
        if len(set(self.cameras)) != len(self.cameras):
            raise ConfigError(f'cameras is {list(self.cameras)}; wanted each name once')
        for camera in self.cameras:
            if not (camera.isascii() and camera.isidentifier()):
                raise ConfigError(
                    f'cameras has {camera!r}; wanted names that can stand in a topic: a-z, A-Z, '
                    '0-9 and underscores, not beginning with a digit'
                )
        if self.image_topics and len(self.image_topics) != max(1, len(self.cameras)):
            raise ConfigError(
                f'image_topics has {len(self.image_topics)} topics for {max(1, len(self.cameras))} '
                'cameras; wanted one for each, in their order, or none'
            )

    def streams(self) -> tuple[Stream, ...]:
        """Return the cameras with the topics that belong to them."""
        names = self.cameras or ('',)
        topics = self.image_topics or tuple(f'{name}/image' if name else 'image' for name in names)
        if self.transport == 'compressed':
            topics = tuple(
                topic if topic.endswith('/compressed') else f'{topic}/compressed'
                for topic in topics
            )
        return tuple(map(Stream, names, topics))
