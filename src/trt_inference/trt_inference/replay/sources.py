# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What can be replayed: a rosbag2, pictures, point clouds, a video file, a camera."""

from __future__ import annotations

from abc import ABC
from abc import abstractmethod
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
import math
import os
from pathlib import Path
import re
import stat
import time
from typing import Any
from typing import Protocol
import warnings

import cv2
import numpy as np

from trt_engine.backend import Array
from trt_engine.errors import SourceError
from trt_inference.replay.cloud_files import Cloud
from trt_inference.replay.cloud_files import CLOUD_SUFFIXES
from trt_inference.replay.cloud_files import read_cloud

BAG_SUFFIXES = ('.db3', '.mcap')
VIDEO_SUFFIXES = ('.avi', '.gif', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm')
PICTURE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
CLOUD_TYPE = 'sensor_msgs/msg/PointCloud2'
SENSOR_TYPES = (*IMAGE_TYPES, 'sensor_msgs/msg/CameraInfo', CLOUD_TYPE)

_NSEC = 1_000_000_000
# What sensor_msgs/CompressedImage.format calls the files that may be sent as they are.
_FORMATS = {'.jpg': 'jpeg', '.jpeg': 'jpeg', '.png': 'png'}


@dataclass(frozen=True)
class Recorded:
    """A message of a bag, as it was recorded: `data` is its CDR, `t_ns` when it was received."""

    t_ns: int
    topic: str
    type: str
    data: bytes


@dataclass(frozen=True)
class Picture:
    """A frame of a camera, video or folder.

    Attributes:
        t_ns: Time since the first frame; of a camera, on the monotonic clock.
        pixels: (height, width, 3) uint8, blue first.
        file: The bytes of the JPEG or PNG file that it came from, if it did.
        format: `jpeg` or `png`, of `file`.
    """

    t_ns: int
    pixels: Array
    file: bytes | None = None
    format: str = ''

    def encoded(self) -> tuple[str, bytes]:
        """Return format and bytes as CompressedImage holds them: the file itself, or a new JPEG."""
        if self.file is not None:
            return self.format, self.file
        _, data = cv2.imencode('.jpg', self.pixels)
        return 'jpeg', data.tobytes()


@dataclass(frozen=True)
class Sweep:
    """A point cloud of a folder; `t_ns` is the time since the first."""

    t_ns: int
    cloud: Cloud


Item = Recorded | Picture | Sweep
Warn = Callable[[str], object]


class Source(Protocol):
    """Something to play; each iteration is one lap from its beginning."""

    @property
    def summary(self) -> str:
        """Return one line for a person: what it is, and how much."""

    @property
    def topics(self) -> Mapping[str, str]:
        """Return the topics of a recording with their types; empty for what was not recorded."""

    @property
    def period_ns(self) -> int:
        """Return the usual time between two frames."""

    @property
    def live(self) -> bool:
        """Return whether items come when they happen, so that there is nothing to schedule."""

    def __iter__(self) -> Iterator[Item]:
        """Yield items in the order of their times.

        Raises:
            SourceError: It cannot be read any further.
        """


def open_source(
    uri: str,
    *,
    frame_rate: float = 15.0,
    topics: Sequence[str] = (),
    warn: Warn = warnings.warn,
) -> Source:
    """Open what is there.

    Args:
        uri: A rosbag2 folder, .db3 or .mcap file; a picture or folder of pictures; a point cloud
            or folder of point clouds; a video file; /dev/videoN or its bare number.
        frame_rate: Frames per second of pictures and clouds, and of a video that does not say.
        topics: Topics of a bag to play; empty for all that carry SENSOR_TYPES.
        warn: Told once about each thing that is left out.

    Raises:
        SourceError: There is nothing there that can be played.
    """
    if not uri:
        raise SourceError(
            'no source given; wanted a rosbag2, pictures or point clouds, a video file or '
            '/dev/videoN; set the parameter `source`'
        )
    period_ns = round(_NSEC / frame_rate)
    path = Path(uri).expanduser()
    with _system_errors(path):
        if uri.isascii() and uri.isdigit() and not path.exists():
            return CameraSource(Path(f'/dev/video{uri}'))
        mode = path.stat().st_mode
        if stat.S_ISCHR(mode):
            return CameraSource(path)
        if stat.S_ISDIR(mode):
            return _open_folder(path, period_ns, topics, warn)
        suffix = path.suffix.lower()
        if suffix in BAG_SUFFIXES:
            return BagSource(path, period_ns, topics)
        if suffix in PICTURE_SUFFIXES:
            return PictureSource([path], period_ns, warn)
        if suffix in CLOUD_SUFFIXES:
            return CloudSource([path], period_ns, warn)
        if suffix in VIDEO_SUFFIXES:
            return VideoSource(path, period_ns)
    raise SourceError(
        f'{path}: cannot play a file that ends in {suffix!r}; wanted a bag '
        f'({" ".join(BAG_SUFFIXES)}), a video ({" ".join(VIDEO_SUFFIXES)}), a picture '
        f'({" ".join(PICTURE_SUFFIXES)}) or a point cloud ({" ".join(CLOUD_SUFFIXES)})'
    )


class BagSource:
    """A rosbag2, read through `rosbags`: messages as they lie there, never deserialized."""

    live = False

    def __init__(self, path: Path, period_ns: int, topics: Sequence[str]) -> None:
        self._path = path
        with _opened_bag(path) as reader:
            types = {each.topic: each.msgtype for each in reader.connections}
            self.topics = self._choose(types, topics)
            counts = [each.msgcount for each in self._chosen(reader)]
            duration_ns = reader.duration
        total, busiest = sum(counts), max(counts)
        if total == 0:
            raise SourceError(
                f'{path}: the bag has no message on {", ".join(self.topics)}; play another bag, or '
                f'name other topics: {_listed(types)}'
            )
        self.period_ns = duration_ns // (busiest - 1) if busiest > 1 else period_ns
        self.summary = (
            f'bag {path.name}: {total} messages on {len(self.topics)} topics, '
            f'{duration_ns / _NSEC:.1f} s'
        )

    def _choose(self, types: Mapping[str, str], wanted: Sequence[str]) -> Mapping[str, str]:
        if unknown := [name for name in wanted if name not in types]:
            raise SourceError(
                f'{self._path}: the bag has no topic {", ".join(unknown)}; it has: {_listed(types)}'
            )
        if wanted:
            return {name: types[name] for name in wanted}
        chosen = {name: kind for name, kind in types.items() if kind in SENSOR_TYPES}
        if not chosen:
            raise SourceError(
                f'{self._path}: the bag has no image or point cloud; it has: {_listed(types)}; '
                'name the topics to play in `topics`'
            )
        return chosen

    def _chosen(self, reader: Any) -> list[Any]:
        known = self.topics.items()
        return [each for each in reader.connections if (each.topic, each.msgtype) in known]

    def __iter__(self) -> Iterator[Item]:
        """Yield the messages of the chosen topics in the order in which they were received."""
        with _opened_bag(self._path) as reader:
            for connection, t_ns, data in reader.messages(self._chosen(reader)):
                if len(data) < 4 or data[0] != 0:
                    raise SourceError(
                        f'{self._path}: a message on {connection.topic} is not CDR but begins with '
                        f'{data[:4].hex(" ") or "nothing"}; if the bag is compressed, play its '
                        'folder rather than one file of it'
                    )
                yield Recorded(t_ns, connection.topic, connection.msgtype, data)


class _Files(ABC):
    """Files at a steady rate; one that cannot be read is left out, with one warning."""

    live = False
    topics: Mapping[str, str] = {}
    noun = ''

    def __init__(self, paths: Sequence[Path], period_ns: int, warn: Warn) -> None:
        self.period_ns = period_ns
        self.skipped: list[Path] = []
        self._paths = tuple(paths)
        self._warn = warn
        where = paths[0].name if len(paths) == 1 else f'{paths[0].parent.name}/'
        self.summary = f'{len(paths)} {self.noun}{"s" * (len(paths) > 1)} of {where}'

    @abstractmethod
    def _read(self, path: Path, t_ns: int) -> Item:
        """Return what is in a file; OSError and SourceError leave it out."""

    def __iter__(self) -> Iterator[Item]:
        """Yield what is in the files in the order of their names."""
        shown = 0
        for path in self._paths:
            if path in self.skipped:
                continue
            try:
                item = self._read(path, shown * self.period_ns)
            except (OSError, SourceError) as exc:
                self.skipped.append(path)
                self._warn(f'{exc}; left out ({len(self.skipped)} of {len(self._paths)} so far)')
                continue
            yield item
            shown += 1
        if not shown:
            raise SourceError(
                f'{self._paths[0]}: none of {len(self._paths)} {self.noun}s could be read; '
                'wanted at least one that is whole'
            )


class PictureSource(_Files):
    """Pictures, as OpenCV decodes them."""

    noun = 'picture'

    def _read(self, path: Path, t_ns: int) -> Item:
        data, pixels = _read_picture(path)
        format = _FORMATS.get(path.suffix.lower(), '')
        return Picture(t_ns, pixels, data if format else None, format)


class CloudSource(_Files):
    """Point clouds, as `cloud_files` reads them."""

    noun = 'cloud'

    def _read(self, path: Path, t_ns: int) -> Item:
        return Sweep(t_ns, read_cloud(path))


class VideoSource:
    """A video file, as OpenCV decodes it, at its own mean frame rate."""

    live = False
    topics: Mapping[str, str] = {}

    def __init__(self, path: Path, period_ns: int) -> None:
        self._path = path
        with self._opened() as capture:
            rate = capture.get(cv2.CAP_PROP_FPS)
            width, height = (
                int(capture.get(each))
                for each in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
            )
            if not capture.read()[0]:
                raise SourceError(f'{path}: not one frame could be read; wanted a whole video file')
        self.period_ns = round(_NSEC / rate) if math.isfinite(rate) and rate > 0 else period_ns
        self.summary = f'video {path.name}: {width}x{height}, {_NSEC / self.period_ns:.4g} fps'

    def __iter__(self) -> Iterator[Item]:
        """Yield the frames until the last, or until one cannot be read."""
        index = 0
        with self._opened() as capture:
            while True:
                there, pixels = capture.read()
                if not there:
                    return
                yield Picture(index * self.period_ns, pixels)
                index += 1

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        with _system_errors(self._path):
            self._path.open('rb').close()
        capture = cv2.VideoCapture(str(self._path))
        try:
            if not capture.isOpened():
                raise SourceError(
                    f'{self._path}: OpenCV cannot read it as a video; it may be cut short, or of a '
                    'codec that is missing here; convert it: ffmpeg -i IN -c:v libx264 OUT.mp4'
                )
            yield capture
        finally:
            capture.release()


class CameraSource:
    """A V4L2 camera; frames come when it takes them, and it can be played once."""

    live = True
    topics: Mapping[str, str] = {}
    period_ns = 0

    def __init__(self, path: Path) -> None:
        self._path = path
        with _system_errors(path):
            path.stat()
            if not os.access(path, os.R_OK | os.W_OK):
                raise SourceError(
                    f'{path}: this user may not open it; join the group that owns it, usually '
                    '`video`: sudo usermod -aG video $USER, then log in again'
                )
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise SourceError(
                f'{path}: it does not open as a V4L2 camera; it may be in use by another program, '
                'or be the metadata node of a camera; see `v4l2-ctl --list-devices`'
            )
        # What waits in the driver's queue is old: a camera is wanted as it sees now.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        width, height = (
            int(self._capture.get(each))
            for each in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        self.summary = f'camera {path}: {width}x{height}'

    def __iter__(self) -> Iterator[Item]:
        """Yield frames until the camera gives none, which is an error."""
        try:
            while True:
                there, pixels = self._capture.read()
                if not there:
                    raise SourceError(
                        f'{self._path}: the camera stopped giving frames; is it still plugged in?'
                    )
                yield Picture(time.monotonic_ns(), pixels)
        finally:
            self._capture.release()


def natural_key(path: Path) -> list[str | int]:
    """Return a sort key that puts `frame2` before `frame10`."""
    parts = re.split(r'(\d+)', path.name.lower())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


def _open_folder(path: Path, period_ns: int, topics: Sequence[str], warn: Warn) -> Source:
    if (path / 'metadata.yaml').exists():
        return BagSource(path, period_ns, topics)
    files = sorted(
        (each for each in path.iterdir() if not each.name.startswith('.')), key=natural_key
    )
    pictures = [each for each in files if each.suffix.lower() in PICTURE_SUFFIXES]
    if pictures:
        return PictureSource(pictures, period_ns, warn)
    if clouds := [each for each in files if each.suffix.lower() in CLOUD_SUFFIXES]:
        return CloudSource(clouds, period_ns, warn)
    if bags := [each for each in files if each.suffix.lower() in BAG_SUFFIXES]:
        raise SourceError(
            f'{path}: a bag without metadata.yaml, so its recording was cut short; play its file '
            f'{bags[0].name}, or repair it: ros2 bag reindex {path}'
        )
    raise SourceError(
        f'{path}: {len(files)} files in the folder, but neither a rosbag2 (metadata.yaml) nor a '
        f'picture ({" ".join(PICTURE_SUFFIXES)}) or point cloud ({" ".join(CLOUD_SUFFIXES)})'
    )


def _read_picture(path: Path) -> tuple[bytes, Array]:
    data = path.read_bytes()
    try:
        # Not turned as EXIF may say: a CompressedImage of the same file is not turned either.
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as exc:
        raise SourceError(f'{path}: not a picture that can be read ({len(data)} bytes)') from exc
    if pixels is None:
        raise SourceError(f'{path}: not a picture that can be read ({len(data)} bytes)')
    return data, pixels


def _listed(types: Mapping[str, str]) -> str:
    return ', '.join(f'{name} ({kind})' for name, kind in sorted(types.items())) or 'nothing'


@contextmanager
def _opened_bag(path: Path) -> Iterator[Any]:
    from rosbags.rosbag2 import Reader

    with _system_errors(path):
        try:
            with Reader(path) as reader:
                yield reader
        except (SourceError, OSError):
            raise
        except Exception as exc:
            # A damaged file shows itself in rosbags as ReaderError, struct.error, apsw.Error,
            # AssertionError, or whatever its decompressors raise.
            reason = str(exc) or type(exc).__name__
            raise SourceError(
                f'{path}: cannot be read as a rosbag2: {reason}; if its recording was cut short, '
                'repair it: ros2 bag reindex'
            ) from exc


@contextmanager
def _system_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as exc:
        missing = exc.filename or path
        raise SourceError(f'{missing}: no such file or device; check the path') from exc
    except PermissionError as exc:
        raise SourceError(
            f'{path}: this user may not read it; change its permissions or owner'
        ) from exc
    except OSError as exc:
        raise SourceError(f'{path}: cannot be read: {exc.strerror or exc}') from exc
