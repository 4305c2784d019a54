# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What an engine was built from and for, and whether it still fits here, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
import hashlib
import json
from pathlib import Path
from typing import Annotated
from typing import Any
from typing import Literal
from typing import NoReturn

from trt_engine.card import Card
from trt_engine.errors import CardError
from trt_engine.errors import ModelFileError
from trt_engine.errors import StoreError
from trt_engine.external_data import external_files
from trt_engine.fields import Allow
from trt_engine.fields import as_mapping
from trt_engine.fields import Key
from trt_engine.fields import read_section
from trt_engine.lidar_card import PointsInput
from trt_engine.model_file import file_digest
from trt_engine.platform import Platform

Flavour = Literal['tensorrt', 'tensorrt_rtx']

FORMAT = 1
RECIPE = 1  # raised when the builder makes something else of the same ingredients

_SHA256 = '[0-9a-f]{64}'
_WANTED_SHA256 = '64 lower-case hexadecimal digits'
# they say where something lies; what lies there is hashed
_PLACES = ('plugins', 'calibration.data', 'calibration.cache')


@dataclass(frozen=True)
class FileDigest:
    """A file that went into an engine."""

    name: Annotated[str, Allow('Its name, without the folder', read=_read_text)]
    sha256: Annotated[str, Allow('Digest of its bytes', pattern=_SHA256, form=_WANTED_SHA256)]


@dataclass(frozen=True)
class Ingredients:
    """Everything that an engine depends on; what is not known here is None.

    Settings carry the names that the card gives them, never the numbers of TensorRT's enums: those
    moved from version to version.
    """

    card: Annotated[str, Allow('Name of the card; no ingredient itself', read=_read_text)] = field(
        compare=False
    )
    onnx: Annotated[str, Allow('Digest of the ONNX file', pattern=_SHA256, form=_WANTED_SHA256)]
    external_data: Annotated[tuple[FileDigest, ...], Allow('Files beside it that hold its weights')]
    settings: Annotated[Mapping[str, Any], Allow('Build settings by name', read=_read_json)] = (
        field(hash=False)
    )
    plugins: Annotated[tuple[FileDigest, ...], Allow('Plugin libraries, in the order of loading')]
    scales: Annotated[Literal['model', 'data', 'cache'], Allow('Where INT8 scales come from')]
    calibration: Annotated[str | None, Allow('Digest of that data or cache', read=_read_optional)]
    flavour: Annotated[Flavour, Allow('Which TensorRT')]
    tensorrt: Annotated[str | None, Allow('Full version of TensorRT', read=_read_optional)]
    cuda: Annotated[str | None, Allow('Version of CUDA', read=_read_optional)]
    driver: Annotated[str | None, Allow('Version of the driver', read=_read_optional)]
    gpu: Annotated[str | None, Allow('Name of the GPU, or of the board', read=_read_optional)]
    sm: Annotated[str | None, Allow('Compute capability', read=_read_optional)]
    l4t: Annotated[str | None, Allow('Release of Jetson Linux', read=_read_optional)]
    gpu_units: Annotated[
        str | None, Allow('Which units of the GPU the power mode gates', read=_read_optional)
    ]
    recipe: Annotated[int, Allow('Version of what the builder makes of these', 0)] = RECIPE

    @classmethod
    def collect(
        cls,
        card: Card,
        onnx: Path,
        *,
        flavour: Flavour,
        facts: Platform,
        calibration_digest: str | None = None,
    ) -> Ingredients:
        """Return the ingredients of the engine that a card asks for on this machine.

        Args:
            card: The card, with what overrides it.
            onnx: Its model file, as `resolve_model` finds it.
            flavour: Which TensorRT builds and runs it.
            facts: This machine; `tensorrt` is the version of that flavour.
            calibration_digest: Digest of what the card's calibration data or cache holds.

        Raises:
            ModelFileError: The model, a file with its weights, or a plugin cannot be read.
        """
        calibration = card.build.calibration
        return cls(
            card=card.name,
            onnx=_digest_of(onnx, 'the model'),
            external_data=tuple(
                FileDigest(path.relative_to(onnx.parent).as_posix(), _digest_of(path, 'weights'))
                for path in external_files(onnx)
            ),
            settings=_by_name(asdict(card.build)) | _clouds(card),
            plugins=tuple(
                FileDigest(Path(path).name, _digest_of(Path(path), 'a plugin of the card'))
                for path in card.build.plugins
            ),
            scales='cache' if calibration.cache else 'data' if calibration.data else 'model',
            calibration=calibration_digest,
            flavour=flavour,
            tensorrt=facts.tensorrt,
            cuda=facts.cuda,
            driver=facts.driver,
            gpu=facts.gpu_name or facts.board,
            sm=facts.sm,
            l4t=facts.l4t,
            # where the masks are not known, any other mode may gate other units
            gpu_units=facts.gpu_masks or facts.power_mode,
        )

    @property
    def key(self) -> str:
        """Return the name of this engine in a store: SHA-256 over all but the card's name."""
        values = {name: value for name, value in asdict(self).items() if name != 'card'}
        text = json.dumps(values, sort_keys=True, separators=(',', ':'), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def difference(self, other: Ingredients) -> list[str]:
        """Return what an engine of these ingredients is not for, as sentences; [] if it fits.

        Args:
            other: What is here, or what is asked for.
        """
        sentences = []
        for name, sentence in _SENTENCES.items():
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                absent = 'none' if name == 'calibration' else 'unknown'
                sentences.append(sentence.format(_show(mine, absent), _show(theirs, absent)))
        if (self.gpu, self.sm) != (other.gpu, other.sm):
            sentences.append(f'built for GPU {_gpu(self)}, here is {_gpu(other)}')
        for label, mine, theirs in (
            ('the weights', self.external_data, other.external_data),
            ('the plugin', self.plugins, other.plugins),
        ):
            sentences += _files_differ(label, mine, theirs)
        for name in sorted(self.settings.keys() | other.settings.keys()):
            mine, theirs = (
                json.dumps(one.settings[name]) if name in one.settings else 'not set'
                for one in (self, other)
            )
            if mine != theirs:
                sentences.append(f'built with {name} {mine}, wanted is {theirs}')
        return sentences


@dataclass(frozen=True)
class TensorRecord:
    """An input or output of an engine; a dimension that varies is -1."""

    name: Annotated[str, Allow('Its name', read=_read_text)]
    mode: Annotated[Literal['input', 'output'], Allow('Which way')]
    dtype: Annotated[str, Allow("Element type, by TensorRT's name", read=_read_text)]
    shape: Annotated[tuple[int, ...], Allow('Its shape', -1)]


@dataclass(frozen=True)
class Manifest:
    """What is kept of an engine beside its plan.

    The store fills in plan_sha256, plan_bytes and log_sha256.
    """

    ingredients: Annotated[Ingredients, Allow('What the engine depends on')]
    created_utc: Annotated[
        str,
        Allow(
            'When it was built or imported',
            pattern=r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ',
            form='a time such as 2026-01-31T12:00:00Z',
        ),
    ]
    seconds: Annotated[float, Allow('How long the build took', 0)]
    tensors: Annotated[tuple[TensorRecord, ...], Allow('Its inputs and outputs')] = ()
    checks: Annotated[
        Mapping[str, Any], Allow('What the checks after the build measured', read=_read_json)
    ] = field(default_factory=dict, hash=False)
    layers: Annotated[
        Mapping[str, Any], Allow('Its layers in numbers: by precision, by device', read=_read_json)
    ] = field(default_factory=dict, hash=False)
    provenance: Annotated[Literal['built', 'imported'], Allow('Where it comes from')] = 'built'
    note: Annotated[
        str | None, Allow('What is said of where it comes from', read=_read_optional)
    ] = None
    plan_sha256: Annotated[
        str | None, Allow('Digest of the plan', pattern=_SHA256, form=_WANTED_SHA256)
    ] = None
    plan_bytes: Annotated[int | None, Allow('Size of the plan', 1)] = None
    log_sha256: Annotated[
        str | None, Allow('Digest of the build log', pattern=_SHA256, form=_WANTED_SHA256)
    ] = None

    def to_json(self) -> str:
        """Return the text of manifest.json."""
        values = {'format': FORMAT, 'key': self.ingredients.key, **asdict(self)}
        return json.dumps(values, indent=2, allow_nan=False) + '\n'

    @classmethod
    def from_json(cls, text: str, path: Path) -> Manifest:
        """Return the manifest that a text holds.

        Args:
            text: What `to_json` gave.
            path: Its file, for messages.

        Raises:
            StoreError: It is no manifest, one of another format, or was changed by hand.
        """
        key = Key(path, whole='the manifest')
        try:
            values = json.loads(
                text, object_pairs_hook=_without_repeats, parse_constant=_no_constant
            )
            values = dict(as_mapping(values, key))
            found = values.pop('format', None)
            if found != FORMAT or isinstance(found, bool):
                raise (key / 'format').refuse(found, str(FORMAT))
            stated = values.pop('key', None)
            manifest = read_section(cls, values, key)
        except CardError as exc:
            raise StoreError(str(exc)) from exc
        except (ValueError, RecursionError) as exc:
            raise StoreError(f'{path}: the manifest is not JSON, or is damaged: {exc}') from exc
        if stated != manifest.ingredients.key:
            raise StoreError(
                f'{path}: the key is not that of the ingredients, which have '
                f'{manifest.ingredients.key}: somebody changed the file'
            )
        return manifest


_SENTENCES = {
    'onnx': 'built from the ONNX file with sha256 {}, here is one with {}',
    'scales': 'built with INT8 scales from the {}, wanted are those from the {}',
    'calibration': 'built with the calibration {}, here is {}',
    'flavour': 'built by {}, wanted is {}',
    'tensorrt': 'built by TensorRT {}, here is {}',
    'cuda': 'built with CUDA {}, here is {}',
    'driver': 'built with the driver {}, here is {}',
    'l4t': 'built on Jetson Linux {}, here is {}',
    'gpu_units': 'built while the power mode gated the GPU units {}, now it gates {}',
    'recipe': 'built by recipe {} of trt_builder, this one has recipe {}',
}


def _show(value: object, absent: str = 'unknown') -> str:
    if value is None:
        return absent
    text = str(value)
    return f'{text[:12]}...' if len(text) == 64 else text


def _gpu(of: Ingredients) -> str:
    name = of.gpu or 'unknown'
    return f'{name} (sm_{of.sm.replace(".", "")})' if of.sm else name


def _files_differ(
    label: str, mine: Sequence[FileDigest], theirs: Sequence[FileDigest]
) -> list[str]:
    if mine == theirs:
        return []
    for built, here in zip(mine, theirs, strict=False):
        if built.name == here.name and built.sha256 != here.sha256:
            return [
                f'built with {label} {built.name} of sha256 {_show(built.sha256)}, here it has '
                f'{_show(here.sha256)}'
            ]
    named = [', '.join(file.name for file in files) or 'none' for files in (mine, theirs)]
    return [f'built with {label} {named[0]}, here is {named[1]}']


def _digest_of(path: Path, what: str) -> str:
    try:
        return file_digest(path)
    except OSError as exc:
        raise ModelFileError(f'{path}: {what} cannot be read: {exc.strerror or exc}') from exc


def _clouds(card: Card) -> dict[str, Any]:
    """Return what of a lidar card sets the shapes that its engine takes, where they are free."""
    spec = card.input
    if not isinstance(spec, PointsInput):
        return {}
    return {'input.max_points': spec.max_points, 'input.max_voxels': spec.max_voxels}


def _by_name(values: Mapping[str, Any], within: str = '') -> dict[str, Any]:
    """Return nested settings as one level, a.b: value, in the plain types of JSON."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        place = f'{within}{name}'
        if isinstance(value, Mapping) and value:
            flat.update(_by_name(value, f'{place}.'))
        elif place not in _PLACES:
            flat[place] = json.loads(json.dumps(value))
    return flat


def _read_text(value: object, key: Key) -> str:
    if not isinstance(value, str):
        raise key.refuse(value, 'a text')
    return value


def _read_optional(value: object, key: Key) -> str | None:
    return None if value is None else _read_text(value, key)


def _read_json(value: object, key: Key) -> Mapping[str, Any]:
    return as_mapping(value, key)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError('a key stands twice in one mapping')
    return values


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f'{name} is no JSON')
