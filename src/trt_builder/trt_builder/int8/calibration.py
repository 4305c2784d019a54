# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Calibration data: recorded pictures as the network will see them, the same in every run."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import asdict
from dataclasses import dataclass
import hashlib
import json
from pathlib import Path
import re
from typing import Any
from typing import Protocol
import warnings
import zipfile

import numpy as np

from trt_engine.backend import Array
from trt_engine.card import Card
from trt_engine.encodings import find_layout
from trt_engine.errors import CalibrationError
from trt_engine.errors import ImageError
from trt_engine.picture import decode_picture
from trt_engine.preprocess import Preprocessor

MIN_SAMPLES = 100
PICTURE_SUFFIXES = ('.jpg', '.jpeg', '.png')
BAG_SUFFIXES = ('.db3', '.mcap')
IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')

Inputs = Mapping[str, Array]
Warn = Callable[[str], object]


class Recording(Protocol):
    """Where samples come from."""

    @property
    def count(self) -> int:
        """Return how many samples there are."""

    @property
    def summary(self) -> str:
        """Return what it is, in a few words."""

    def names(self, chosen: tuple[int, ...]) -> Iterator[str]:
        """Yield what to call each chosen sample in a message."""

    def inputs(self, chosen: tuple[int, ...]) -> Iterator[Inputs]:
        """Yield the network inputs of the chosen samples, which rise."""

    def raw(self, chosen: tuple[int, ...]) -> Iterator[bytes]:
        """Yield the bytes of the chosen samples as they were recorded."""


class CalibrationSet:
    """The samples that decide the scales of an INT8 engine.

    Each iteration reads them again, one at a time: what it yields is valid until the next.

    Args:
        card: Whose input they are for.
        recording: Where they come from.
        samples: At most this many are taken, evenly over the whole recording.
        allow_few: Whether fewer than MIN_SAMPLES will do.
        warn: Told about samples that say little.

    Raises:
        CalibrationError: There are too few.
    """

    def __init__(
        self, card: Card, recording: Recording, samples: int, allow_few: bool, warn: Warn
    ) -> None:
        if samples < 1:
            raise CalibrationError(f'{samples} samples are asked for; wanted at least 1')
        count = min(samples, recording.count)
        self._card = card
        self._recording = recording
        self._warn = warn
        self._checked = False
        self._chosen = tuple(i * recording.count // count for i in range(count)) if count else ()
        self.summary = f'{count} of {recording.summary}'
        if not count:
            raise CalibrationError(f'{recording.summary}: nothing there to calibrate from')
        if count < MIN_SAMPLES and not allow_few:
            raise CalibrationError(
                f'{self.summary}: {count} samples are too few to decide the scales of an INT8 '
                f'engine; wanted at least {MIN_SAMPLES}, from where it will work; record more, '
                'ask for more, or allow few'
            )

    def __len__(self) -> int:
        return len(self._chosen)

    def __iter__(self) -> Iterator[Inputs]:
        """Yield the network inputs of one sample after the other, batch 1.

        Raises:
            CalibrationError: A sample cannot be read or holds no finite numbers, or the image of
                every single one has one colour.
        """
        tensor = self._card.image.tensor
        flat = []
        samples = zip(
            self._recording.names(self._chosen), self._recording.inputs(self._chosen), strict=True
        )
        for name, inputs in samples:
            low, high = inputs[tensor].min(), inputs[tensor].max()
            if not np.isfinite(low) or not np.isfinite(high):
                raise CalibrationError(f'{name}: {tensor!r} holds numbers that are not finite')
            if low == high:
                flat.append(name)
            yield inputs
        self._report(flat)

    def digest(self) -> str:
        """Return a SHA-256 over the recorded bytes and the preprocessing, in hexadecimal.

        Raises:
            CalibrationError: A sample cannot be read.
        """
        spec = json.dumps(asdict(self._card.image), sort_keys=True)
        whole = hashlib.sha256(spec.encode())
        for raw in self._recording.raw(self._chosen):
            whole.update(hashlib.sha256(raw).digest())
        return whole.hexdigest()

    def _report(self, flat: list[str]) -> None:
        if len(flat) == len(self):
            raise CalibrationError(
                f'{self.summary}: in every one of {len(self)} samples all values are the same '
                f'(first: {flat[0]}); is the camera covered, or the topic the right one?'
            )
        if flat and not self._checked:
            self._warn(
                f'{len(flat)} of {len(self)} calibration samples are constant and say nothing '
                f'about scales (first: {flat[0]})'
            )
        self._checked = True


def open_calibration(
    card: Card,
    source: str | Path,
    *,
    topic: str | None = None,
    samples: int = 500,
    allow_few: bool = False,
    warn: Warn = warnings.warn,
) -> CalibrationSet:
    """Open what is there as calibration data for a card's network.

    Args:
        card: Says how pictures become network input; `trt_engine.preprocess` does it.
        source: A folder that holds JPEG or PNG files at any depth; a rosbag2 folder, .db3 or
            .mcap file; or an .npz with network inputs, one array (samples, ...) for each tensor.
        topic: Image or CompressedImage topic of a bag; needed where there are several.
        samples: At most this many are taken, evenly over all that there are.
        allow_few: Whether fewer than MIN_SAMPLES will do.
        warn: Told once about samples that say little.

    Raises:
        CalibrationError: There is nothing that can be used, or too little.
    """
    path = Path(source).expanduser()
    if topic is not None and not _is_bag(path):
        raise CalibrationError(f'{path}: topic {topic!r} is given, but this is not a rosbag2')
    recording: Recording
    with _system_errors(path):
        path.stat()
        if _is_bag(path):
            recording = _Bag(card, path, topic)
        elif path.is_dir():
            recording = _Folder(card, path)
        elif path.suffix == '.npz':
            recording = _Arrays(card, path)
        else:
            raise CalibrationError(
                f'{path}: cannot calibrate from it; wanted a folder of pictures '
                f'({" ".join(PICTURE_SUFFIXES)}), a rosbag2 ({" ".join(BAG_SUFFIXES)} or its '
                'folder) or an .npz of network inputs'
            )
    return CalibrationSet(card, recording, samples, allow_few, warn)


class _Folder:
    """JPEG and PNG files, in the order of their names."""

    def __init__(self, card: Card, path: Path) -> None:
        self._preprocess = Preprocessor(card.image)
        files = [each for each in path.rglob('*') if _is_visible(each.relative_to(path))]
        self._paths = sorted(
            (each for each in files if each.suffix.lower() in PICTURE_SUFFIXES),
            key=lambda each: _natural_key(each.relative_to(path).as_posix()),
        )
        self.count = len(self._paths)
        others = sum(each.is_file() for each in files) - self.count
        left_out = f' ({others} other files left out)' if others else ''
        self.summary = f'{self.count} JPEG and PNG files in {path}{left_out}'

    def names(self, chosen: tuple[int, ...]) -> Iterator[str]:
        return (str(self._paths[i]) for i in chosen)

    def inputs(self, chosen: tuple[int, ...]) -> Iterator[Inputs]:
        for name, data in zip(self.names(chosen), self.raw(chosen), strict=True):
            with _readable(name):
                self._preprocess(decode_picture(data), 'bgr8')
            yield self._preprocess.inputs

    def raw(self, chosen: tuple[int, ...]) -> Iterator[bytes]:
        for i in chosen:
            with _system_errors(self._paths[i]):
                data = self._paths[i].read_bytes()
            yield data


class _Bag:
    """The messages of one image topic, in the order in which they were received."""

    def __init__(self, card: Card, path: Path, topic: str | None) -> None:
        self._preprocess = Preprocessor(card.image)
        self._path = path
        with _opened_bag(path) as reader:
            counts = {(each.topic, each.msgtype): each.msgcount for each in reader.connections}
        self._topic, self._type = _choose_topic(path, counts, topic)
        self.count = counts[self._topic, self._type]
        self.summary = f'{self.count} messages on {self._topic} of {path}'

    def names(self, chosen: tuple[int, ...]) -> Iterator[str]:
        return (f'{self._path}: message {i} on {self._topic}' for i in chosen)

    def inputs(self, chosen: tuple[int, ...]) -> Iterator[Inputs]:
        from rosbags.typesys import get_typestore
        from rosbags.typesys import Stores

        store = get_typestore(Stores.ROS2_HUMBLE)
        for name, data in zip(self.names(chosen), self.raw(chosen), strict=True):
            try:
                message = store.deserialize_cdr(data, self._type)
            except Exception as exc:  # whatever reading past the end of a message raises
                raise CalibrationError(f'{name}: not a whole {self._type}: {exc}') from exc
            with _readable(name):
                self._preprocess(*_pixels(message, self._type))
            yield self._preprocess.inputs

    def raw(self, chosen: tuple[int, ...]) -> Iterator[bytes]:
        wanted = set(chosen)
        with _opened_bag(self._path) as reader:
            connections = [
                each
                for each in reader.connections
                if (each.topic, each.msgtype) == (self._topic, self._type)
            ]
            for i, (_, _, data) in enumerate(reader.messages(connections)):
                if i in wanted:
                    yield data


class _Arrays:
    """An .npz of network inputs; its arrays are read one sample at a time."""

    def __init__(self, card: Card, path: Path) -> None:
        expected = Preprocessor(card.image).inputs
        self._path = path
        self._headers: dict[str, _Header] = {}
        with self._opened() as archive:
            found = {name.removesuffix('.npy') for name in archive.namelist()}
            if found != set(expected):
                raise CalibrationError(
                    f'{path}: has arrays {_listed(found)}; wanted exactly the inputs of card '
                    f'{card.name!r}: {_listed(expected)}'
                )
            for name, array in expected.items():
                with archive.open(f'{name}.npy') as member:
                    header = _Header.read(member, f'{path}: array {name!r}')
                if header.shape[1:] != array.shape[1:] or header.dtype != array.dtype:
                    raise CalibrationError(
                        f'{path}: array {name!r} is {header.dtype} of shape {header.shape}; wanted '
                        f'{array.dtype} of shape (samples, {", ".join(map(str, array.shape[1:]))})'
                    )
                self._headers[name] = header
        counts = {name: header.shape[0] for name, header in self._headers.items()}
        if len(set(counts.values())) > 1:
            raise CalibrationError(f'{path}: arrays of different numbers of samples: {counts}')
        self.count = next(iter(counts.values()))
        self.summary = f'{self.count} samples in {path}'

    def names(self, chosen: tuple[int, ...]) -> Iterator[str]:
        return (f'{self._path}: sample {i}' for i in chosen)

    def inputs(self, chosen: tuple[int, ...]) -> Iterator[Inputs]:
        for parts in self._samples(chosen):
            yield {
                name: np.frombuffer(data, header.dtype).reshape(1, *header.shape[1:])
                for (name, header), data in zip(self._headers.items(), parts, strict=True)
            }

    def raw(self, chosen: tuple[int, ...]) -> Iterator[bytes]:
        return (b''.join(parts) for parts in self._samples(chosen))

    def _samples(self, chosen: tuple[int, ...]) -> Iterator[list[bytes]]:
        with self._opened() as archive:
            members = [archive.open(f'{name}.npy') for name in self._headers]
            for i in chosen:
                parts = []
                for member, header in zip(members, self._headers.values(), strict=True):
                    member.seek(header.start + i * header.sample_bytes)
                    parts.append(member.read(header.sample_bytes))
                    if len(parts[-1]) != header.sample_bytes:
                        raise CalibrationError(f'{self._path}: sample {i} is cut short')
                yield parts

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        with _system_errors(self._path):
            try:
                with zipfile.ZipFile(self._path) as archive:
                    yield archive
            except (zipfile.BadZipFile, EOFError) as exc:
                raise CalibrationError(f'{self._path}: not a whole .npz: {exc}') from exc


@dataclass(frozen=True)
class _Header:
    """What a .npy file says of its array, and the byte where its values begin."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int

    @property
    def sample_bytes(self) -> int:
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

    @classmethod
    def read(cls, member: Any, about: str) -> _Header:
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        try:
            shape, by_columns, dtype = readers[np.lib.format.read_magic(member)](member)
        except (ValueError, KeyError) as exc:
            raise CalibrationError(f'{about}: not an array that numpy.save wrote: {exc}') from exc
        if by_columns or dtype.hasobject or not shape:
            raise CalibrationError(
                f'{about}: {dtype} of shape {shape}{" by columns" if by_columns else ""}; wanted '
                'numbers by rows; save numpy.ascontiguousarray(...)'
            )
        return cls(shape, dtype, member.tell())


def _pixels(message: Any, kind: str) -> tuple[Array, str]:
    if kind == 'sensor_msgs/msg/CompressedImage':
        return decode_picture(message.data), 'bgr8'
    layout = find_layout(
        message.encoding,
        width=message.width,
        height=message.height,
        step=message.step,
        size=message.data.size,
        big_endian=bool(message.is_bigendian),
    )
    return layout.view(message.data), message.encoding


def _choose_topic(
    path: Path, counts: Mapping[tuple[str, str], int], wanted: str | None
) -> tuple[str, str]:
    images = [each for each in counts if each[1] in IMAGE_TYPES]
    chosen = [each for each in images if wanted in (None, each[0])]
    if len(chosen) == 1:
        return chosen[0]
    has = ', '.join(f'{topic} ({kind}, {counts[topic, kind]})' for topic, kind in sorted(counts))
    if wanted is not None:
        raise CalibrationError(f'{path}: no image topic {wanted!r} in the bag; it has: {has}')
    number = 'several image topics; say which' if images else 'no image topic'
    raise CalibrationError(f'{path}: {number}; the bag has: {has or "nothing"}')


def _is_bag(path: Path) -> bool:
    return path.suffix in BAG_SUFFIXES or (path / 'metadata.yaml').is_file()


def _is_visible(path: Path) -> bool:
    return not any(part.startswith('.') for part in path.parts)


def _natural_key(name: str) -> tuple[list[str | int], str]:
    """Return a sort key that puts `frame2` before `frame10`; equal only for equal names."""
    parts = re.split(r'(\d+)', name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _listed(names: Any) -> str:
    return ', '.join(sorted(map(repr, names))) or 'none'


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except ImageError as exc:
        raise CalibrationError(f'{name}: {exc}; mend it, or take it out') from exc


@contextmanager
def _opened_bag(path: Path) -> Iterator[Any]:
    from rosbags.rosbag2 import Reader

    try:
        with _system_errors(path), Reader(path) as reader:
            yield reader
    except CalibrationError:
        raise
    except Exception as exc:
        # A damaged file shows itself in rosbags as ReaderError, struct.error, apsw.Error,
        # AssertionError, or whatever its decompressors raise.
        reason = str(exc) or type(exc).__name__
        raise CalibrationError(f'{path}: cannot be read as a rosbag2: {reason}') from exc


@contextmanager
def _system_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as exc:
        raise CalibrationError(f'{path}: no such file or folder; check the path') from exc
    except OSError as exc:
        raise CalibrationError(f'{path}: cannot be read: {exc.strerror or exc}') from exc
