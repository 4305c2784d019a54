# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What `replay` can be told; the one place with its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

from trt_engine.errors import ConfigError
from trt_engine.parameters import setting
from trt_engine.parameters import validate


@dataclass(frozen=True)
class ReplayConfig:
    """Parameters of the replay node; all are read once, at the start."""

    source: str = setting(
        '',
        'What to play: rosbag2, picture or folder of pictures, point cloud (.bin, .pcd) or folder '
        'of them, video file, /dev/videoN.',
    )
    rate: float = setting(
        1.0, 'Speed: 2.0 is twice as fast; a camera has its own.', minimum=0.01, maximum=100.0
    )
    loop: bool = setting(False, 'Begin again at the end, until stopped.')
    frame_rate: float = setting(
        15.0, 'Frames per second of pictures and clouds, and of a video that does not say.',
        minimum=0.01, maximum=1000.0,
    )  # fmt: skip
    transport: str = setting(
        'raw',
        'How pictures, video and camera are sent: raw as sensor_msgs/Image, compressed as '
        'sensor_msgs/CompressedImage on `<image_topic>/compressed`.',
        choices=('raw', 'compressed', 'both'),
    )
    image_topic: str = setting('image', 'Topic of pictures, video and camera.')
    camera_info_topic: str = setting(
        'camera_info', 'Topic of their CameraInfo, which knows the size only; empty for none.'
    )
    frame_id: str = setting('camera', 'Coordinate frame of pictures, video and camera.')
    points_topic: str = setting('points', 'Topic of point clouds, as sensor_msgs/PointCloud2.')
    points_frame_id: str = setting('lidar', 'Coordinate frame of point clouds.')
    topics: tuple[str, ...] = setting(
        (), 'Topics of a bag to play; empty for every image, CameraInfo and PointCloud2.'
    )
    topic_map: tuple[str, ...] = setting((), 'Other names for topics of a bag, as `from:=to`.')
    restamp: bool = setting(
        False, 'Move the header stamps of a bag to now; what was simultaneous stays so.'
    )
    publish_clock: bool = setting(
        False, 'Publish /clock for nodes with use_sim_time: the time of the recording.'
    )
    wait_for_subscribers_s: float = setting(
        10.0,
        'Longest wait for a subscriber of an image or cloud (of a bag without images: any) before '
        'starting.',
        minimum=0.0, maximum=3600.0,
    )  # fmt: skip
    reliability: str = setting(
        'reliable',
        'QoS of what is published; reliable reaches every subscriber.',
        choices=('reliable', 'best_effort'),
    )

    def __post_init__(self) -> None:
        """Refuse what is not allowed.

        Raises:
            ConfigError: Names field, value, and what is wanted.
        """
        validate(self)
        if self.restamp and self.publish_clock:
            raise ConfigError(
                'restamp and publish_clock are both true, but /clock tells the time of the '
                'recording and restamped headers do not; set one of them'
            )

    def published_names(self, topics: Sequence[str]) -> Mapping[str, str]:
        """Return the name under which each topic of a bag is published.

        Raises:
            ConfigError: topic_map is malformed, names a topic that is not played, or gives two
                topics one name.
        """
        names = {topic: topic for topic in topics}
        for entry in self.topic_map:
            old, separator, new = entry.partition(':=')
            if not (old and separator and new):
                raise ConfigError(f'topic_map has {entry!r}; wanted `from:=to`')
            if old not in names:
                raise ConfigError(
                    f'topic_map has {old}, which is not played; there are: {", ".join(topics)}'
                )
            names[old] = new
        if len(set(names.values())) != len(names):
            raise ConfigError(
                f'topic_map gives two topics one name: {", ".join(sorted(names.values()))}; '
                'wanted a name for each'
            )
        return names
