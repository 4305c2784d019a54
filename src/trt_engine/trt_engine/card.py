# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a network is, as a model card says it: tensors, input, head, classes, thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
import os
from pathlib import Path
from typing import Annotated
from typing import Any
from typing import Literal
from urllib.parse import urlsplit

from trt_engine.build_settings import Build
from trt_engine.build_settings import override
from trt_engine.build_settings import read_build
from trt_engine.coco import COCO80
from trt_engine.errors import CardError
from trt_engine.fields import Allow
from trt_engine.fields import allowed_names
from trt_engine.fields import as_mapping
from trt_engine.fields import as_text
from trt_engine.fields import Key
from trt_engine.fields import load_yaml
from trt_engine.fields import read_section
from trt_engine.fields import read_strings
from trt_engine.lidar_card import PointsInput
from trt_engine.lidar_card import read_points_input

FORMAT = 1
KINDS = ('image', 'points')
MAX_SIDE = 16384
MAX_CLASSES = 10000
MAX_CLASS_FILE_BYTES = 1 << 20
LOOPBACK = ('localhost', '127.0.0.1', '::1')


@dataclass(frozen=True)
class ModelSource:
    """Where the ONNX file comes from."""

    source: Annotated[
        str,
        Allow(
            'The ONNX file: a path relative to this card, package://<package>/<path in its share '
            "folder>, or the upstream project's https URL",
            read=_read_source,
        ),
    ]
    licence: Annotated[str, Allow('Licence of the weights, as an SPDX identifier')]
    sha256: Annotated[
        str | None,
        Allow(
            'SHA-256 of the file; null where nobody could verify it: the first download records it',
            pattern='[0-9a-f]{64}',
            form='64 lower-case hexadecimal digits, or null',
        ),
    ] = None

    @property
    def is_url(self) -> bool:
        """Return whether the file has to be downloaded."""
        return self.source.startswith(('https://', 'http://'))


@dataclass(frozen=True)
class Resize:
    """How an image gets the network's size."""

    mode: Annotated[
        Literal['stretch', 'letterbox'],
        Allow('stretch changes the aspect ratio; letterbox keeps it and fills the rest with `pad`'),
    ]
    anchor: Annotated[Literal['center', 'top_left'], Allow('Where a letterbox puts the image')] = (
        'center'
    )
    pad: Annotated[int, Allow('Value of the pixels around a letterboxed image', 0, 255)] = 114


@dataclass(frozen=True)
class ImageInput:
    """What the network's image input takes.

    Network value = (pixel * scale - mean) / std, the channels in `color` order.
    """

    tensor: Annotated[str, Allow('Name of the image input')]
    width: Annotated[int, Allow('Width in pixels', 1, MAX_SIDE, within='size')]
    height: Annotated[int, Allow('Height in pixels', 1, MAX_SIDE, within='size')]
    color: Annotated[Literal['rgb', 'bgr'], Allow('Order of the channels, and of mean and std')]
    resize: Annotated[Resize, Allow('How an image gets this size')]
    layout: Annotated[
        Literal['nchw', 'nhwc'], Allow('Order of batch, channel, height and width')
    ] = 'nchw'
    dtype: Annotated[Literal['float32', 'float16', 'uint8'], Allow('Element type of the input')] = (
        'float32'
    )
    scale: Annotated[float, Allow('Factor on each pixel (0 to 255)', above=0, ratio=True)] = 1.0
    mean: Annotated[tuple[float, float, float], Allow('Subtracted per channel, after `scale`')] = (
        0.0,
        0.0,
        0.0,
    )
    std: Annotated[
        tuple[float, float, float], Allow('Divides each channel, after `mean`', above=0)
    ] = (1.0, 1.0, 1.0)
    size_tensor: Annotated[
        str | None,
        Allow('Name of an int64 [N, 2] input that takes the original width and height'),
    ] = None


@dataclass(frozen=True)
class Head:
    """The form of the network's outputs; the decoder of `type` says which options there are.

    Lists in `options` arrive as tuples.
    """

    type: Annotated[
        str,
        Allow('The decoder: yolox, yolo, detr, gfl, ssd of images; pointpillars, centerpoint'),
    ]
    outputs: Annotated[
        Mapping[str, tuple[str, ...]],
        Allow('Role -> name of the output tensor, or a list of names', read=read_strings),
    ] = field(hash=False)
    options: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True)
class Thresholds:
    """What counts as a detection."""

    score: Annotated[float, Allow('Smallest score of a detection', 0, 1)]
    nms_iou: Annotated[
        float | None,
        Allow('Overlap above which the lower score goes; null: the network needs no NMS', 0, 1),
    ]
    class_agnostic: Annotated[bool, Allow('Whether boxes of different classes compete')] = False
    max_detections: Annotated[int, Allow('At most this many an image', 1, 100_000)] = 300
    multi_label: Annotated[
        bool, Allow('Whether a box counts once for each class that reaches the score, or once')
    ] = False


@dataclass(frozen=True)
class Training:
    """What a network of our own was trained on, and how well it does there."""

    note: Annotated[str, Allow('What the network is for, and what it is not for')]
    data: Annotated[str, Allow('What it was trained on')]
    script: Annotated[str | None, Allow('The script in this repository that trains it')] = None
    seed: Annotated[int | None, Allow('Seed of the data and of the training')] = None
    train_images: Annotated[int | None, Allow('Images trained on', 1)] = None
    test_images: Annotated[int | None, Allow('Held-out images that `ap` is from', 1)] = None
    train_sweeps: Annotated[int | None, Allow('Clouds trained on', 1)] = None
    test_sweeps: Annotated[int | None, Allow('Held-out clouds that the AP is from', 1)] = None
    epochs: Annotated[int | None, Allow('Passes over what it was trained on', 1)] = None
    ap: Annotated[float | None, Allow('COCO AP on the held-out images', 0, 1)] = None
    ap50: Annotated[float | None, Allow('The same at IoU 0.5', 0, 1)] = None
    iou: Annotated[
        Mapping[str, float], Allow('Class -> least rotated IoU from above, for `ap_by_range`', 0, 1)
    ] = field(default_factory=dict, hash=False)
    ap_by_range: Annotated[
        Mapping[str, Mapping[str, float]],
        Allow('Class -> distances from the sensor -> AP on the held-out clouds', 0, 1),
    ] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Card:
    """A model card: everything that the suite must know of a network."""

    name: Annotated[
        str,
        Allow(
            'Name of the card',
            pattern='[A-Za-z0-9][A-Za-z0-9_.-]{0,63}',
            form='letters, digits, _ . and -, at most 64, a letter or digit first',
        ),
    ]
    summary: Annotated[str, Allow('One line for people who choose a network')]
    model: Annotated[ModelSource, Allow('Where the ONNX file comes from')]
    input: Annotated[
        ImageInput | PointsInput, Allow('What the network takes, by its `kind`', read=_read_input)
    ]
    head: Annotated[Head, Allow('The form of the outputs', read=_read_head)]
    classes: Annotated[
        tuple[str, ...],
        Allow(
            'Class names in the order of the network: a list, coco80, or a text file beside the '
            'card with one name a line',
            read=_read_classes,
        ),
    ]
    thresholds: Annotated[Thresholds, Allow('What counts as a detection')]
    build: Annotated[Build, Allow('How its engine is built', read=read_build)] = field(
        default_factory=Build
    )
    training: Annotated[Training | None, Allow('What a network of our own was trained on')] = None
    encoder: Annotated[
        ModelSource | None,
        Allow('Where the network inside a pillar is a file of its own, as of CenterPoint: that'),
    ] = None
    path: Path | None = None

    @property
    def image(self) -> ImageInput:
        """Return what the network takes.

        Raises:
            CardError: It takes points.
        """
        if isinstance(self.input, ImageInput):
            return self.input
        raise self._other_kind('points, a network for clouds', 'image')

    @property
    def points(self) -> PointsInput:
        """Return what the network takes.

        Raises:
            CardError: It takes images.
        """
        if isinstance(self.input, PointsInput):
            return self.input
        raise self._other_kind('image, a network for pictures', 'points')

    def _other_kind(self, kind: str, wanted: str) -> CardError:
        key = Key(self.path or Path(self.name), 'input.kind')
        return key.error(f'is {kind}; wanted {wanted} here; choose another card')


def load_card(name_or_path: str | Path, *, onnx: str | Path | None = None) -> Card:
    """Return the card of that name, or in that file.

    Args:
        name_or_path: A name, looked up in the folders of TRT_CARD_PATH, then in those of the
            installed trt_bringup; or the path of a YAML file.
        onnx: A model file to use in place of the one that the card names.

    Raises:
        CardError: There is no such card, or it cannot be used as written.
    """
    path = _find_card(name_or_path)
    try:
        text = path.read_bytes().decode('utf-8-sig')
    except OSError as exc:
        raise CardError(f'{path}: the card cannot be read: {exc.strerror or exc}') from exc
    except UnicodeDecodeError as exc:
        raise CardError(f'{path}: the card is not UTF-8 text: {exc}') from exc
    card = parse_card(text, path)
    if onnx is None:
        return card
    model = replace(card.model, source=os.path.abspath(Path(onnx).expanduser()), sha256=None)
    return replace(card, model=model)


def parse_card(text: str, path: Path) -> Card:
    """Return the card that a YAML text holds.

    Args:
        text: The card.
        path: Its file, for messages and for paths relative to it; need not exist.

    Raises:
        CardError: Names the file, the key, the value and what is allowed.
    """
    key = Key(path)
    values = dict(as_mapping(load_yaml(text, key), key))
    version = values.pop('card', None)
    if version != FORMAT or isinstance(version, bool):
        raise (key / 'card').refuse(version, f'{FORMAT}, the version of the format')
    card = read_section(Card, values, key, path=path)
    if card.encoder is not None and not isinstance(card.input, PointsInput):
        raise (key / 'encoder').error('is for networks whose input.kind is points; remove it')
    return card


def with_overrides(card: Card, settings: Sequence[str]) -> Card:
    """Return the card with some of its build settings replaced.

    Args:
        card: What to start from.
        settings: Such as `precision=int8` or `dla.core=0`: the key below `build:`, then a value
            in YAML. Paths are relative to the working directory.

    Raises:
        CardError: As for a card; the messages name --set in place of the file.
    """
    return replace(card, build=override(card.build, settings))


def find_cards() -> dict[str, Path]:
    """Return every card that can be loaded by name, the first found of each name."""
    found: dict[str, Path] = {}
    for folder in _card_folders():
        for path in sorted(folder.glob('*.yaml')):
            found.setdefault(path.stem, path)
    return found


def _card_folders() -> list[Path]:
    named = os.environ.get('TRT_CARD_PATH', '').split(os.pathsep)
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    return [Path(folder) for folder in named if folder] + [
        Path(prefix, 'share/trt_bringup/config/models') for prefix in prefixes if prefix
    ]


def _find_card(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.suffix in ('.yaml', '.yml') or len(path.parts) != 1:
        return path
    cards = find_cards()
    if path.name in cards:
        return cards[path.name]
    if not cards:
        folders = ', '.join(map(str, _card_folders())) or 'any known folder'
        raise CardError(
            f'no card {path.name!r}: no cards in {folders}; source the workspace, set '
            'TRT_CARD_PATH, or give the path of a .yaml file'
        )
    raise CardError(f'no card {path.name!r}; {allowed_names(path.name, cards)}')


def _read_source(value: object, key: Key) -> str:
    source = as_text(value, key, Allow(''))
    wanted = 'a path, package://<package>/<path>, or an https URL'
    if '://' not in source:
        return source
    try:
        url = urlsplit(source)
        host = url.hostname
    except ValueError as exc:
        raise key.refuse(source, wanted) from exc
    if not host or not url.path.strip('/') or '..' in url.path.split('/'):
        raise key.refuse(source, wanted)
    # http from this very machine cannot be tampered with on its way
    if url.scheme in ('https', 'package') or (url.scheme == 'http' and host in LOOPBACK):
        return source
    raise key.refuse(source, wanted)


def _read_head(value: object, key: Key) -> Head:
    values = as_mapping(value, key)
    named = {name: values[name] for name in ('type', 'outputs') if name in values}
    options = {
        name: _frozen(option, key / name) for name, option in values.items() if name not in named
    }
    return read_section(Head, named, key, options=options)


def _frozen(value: object, key: Key) -> object:
    if isinstance(value, list):
        return tuple(_frozen(item, key) for item in value)
    if isinstance(value, dict) or (isinstance(value, float) and not -1e300 < value < 1e300):
        raise key.refuse(value, 'true, false, a finite number, a text, or a list of them')
    return value


def _read_classes(value: object, key: Key) -> tuple[str, ...]:
    if value == 'coco80':
        return COCO80
    listed = value if isinstance(value, list) else _class_file(value, key)
    if not 1 <= len(listed) <= MAX_CLASSES:
        raise key.refuse(value, f'1 to {MAX_CLASSES} class names')
    names = [as_text(name, key / str(place), Allow('')) for place, name in enumerate(listed)]
    seen: dict[str, int] = {}
    for place, name in enumerate(names):
        if name in seen:
            raise (key / str(place)).error(f'is {name!r}, and so is number {seen[name]}')
        seen[name] = place
    return tuple(names)


def _class_file(value: object, key: Key) -> list[str]:
    wanted = 'a list of class names, coco80, or a text file with one name a line'
    if not isinstance(value, str):
        raise key.refuse(value, wanted)
    path = key.file.parent / as_text(value, key, Allow(''))
    try:
        if not path.is_file():
            raise key.refuse(value, f'{wanted}; there is no such file')
        if path.stat().st_size > MAX_CLASS_FILE_BYTES:
            raise key.refuse(value, f'{wanted} of at most {MAX_CLASS_FILE_BYTES} bytes')
        return path.read_text('utf-8-sig').rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, 'strerror', None) or str(exc)
        raise key.refuse(value, f'{wanted}; {reason}') from exc


def _read_input(value: object, key: Key) -> ImageInput | PointsInput:
    values = dict(as_mapping(value, key))
    kind = values.pop('kind', 'image')
    if kind == 'points':
        return read_points_input(values, key)
    if kind != 'image':
        raise (key / 'kind').refuse(kind, f'{" or ".join(KINDS)}')
    spec = read_section(ImageInput, values, key)
    if spec.size_tensor == spec.tensor:
        raise (key / 'size_tensor').refuse(spec.size_tensor, 'another input than input.tensor')
    untouched = (spec.scale, *spec.mean, *spec.std) == (1, 0, 0, 0, 1, 1, 1)
    if spec.dtype == 'uint8' and not untouched:
        raise (key / 'dtype').refuse('uint8', 'only with scale 1, mean 0 and std 1')
    return spec
