# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a card as backends take them: a lidar network's without what no backend can run."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace
import hashlib
import os
from pathlib import Path
import tempfile
from typing import Any

from trt_engine.backend import Array
from trt_engine.card import Card
from trt_engine.card import ImageInput
from trt_engine.errors import ModelFileError
from trt_engine.lidar_card import PointsInput
from trt_engine.model_file import resolve_model

_FORMAT = 1  # of what is written; another makes other files


@dataclass(frozen=True, eq=False)
class PillarWeights:
    """The network inside a pillar, as `trt_engine.lidar.pillars.PillarNet` takes it.

    Attributes:
        weight: (feature_size, C) float32, normalisation folded in.
        bias: (C,) float32.
    """

    weight: Array
    bias: Array


def network_file(card: Card) -> Path:
    """Return the ONNX file that a backend loads, and an engine is built from.

    It is the card's own. A PointPillars file with a scatter plugin is split, and the rest of it,
    from the grid on, is kept in the cache folder.

    Raises:
        ModelNotFetchedError: The card names a URL that has not been downloaded yet.
        ModelFileError: The file is missing, not the one meant, or cannot be split.
    """
    path = resolve_model(card)
    if isinstance(card.input, ImageInput):
        return path
    from trt_engine.lidar.pillar_file import has_scatter
    from trt_engine.lidar.pillar_file import split

    model = _load(path)
    if not has_scatter(model):
        return path
    with_sizes = repr((_FORMAT, card.points.grid, card.points.max_points, card.points.tensor))
    digest = hashlib.sha256(path.read_bytes() + with_sizes.encode()).hexdigest()
    rest = _cache_folder() / digest / f'{path.stem}_rest.onnx'
    if not rest.is_file():
        _write_whole(rest, split(model, card.points).rest.SerializeToString(deterministic=True))
    return rest


def pillar_weights(card: Card) -> PillarWeights | None:
    """Return the network inside a pillar; None where the ONNX file takes the pillars itself.

    Raises:
        ModelNotFetchedError: The card names a URL that has not been downloaded yet.
        ModelFileError: A file is missing, not the one meant, or has another form.
    """
    from trt_engine.lidar.pillar_file import has_scatter
    from trt_engine.lidar.pillar_file import read_encoder
    from trt_engine.lidar.pillar_file import split

    points: PointsInput = card.points
    if card.encoder is not None:
        path = resolve_model(replace(card, model=card.encoder))
        return PillarWeights(*read_encoder(_load(path), points))
    model = _load(resolve_model(card))
    if not has_scatter(model):
        return None
    network = split(model, points)
    return PillarWeights(network.weight, network.bias)


def inside_pillars(card: Card) -> PillarWeights | ModelFileError | None:
    """Return the network inside a pillar; why only a backend can run it; None where there is none.

    Raises:
        ModelNotFetchedError: As `pillar_weights`.
        ModelFileError: As `pillar_weights`, of a card that names no `encoder`.
    """
    try:
        return pillar_weights(card)
    except ModelFileError as exc:
        if card.encoder is None:
            raise
        return exc


def encoder_card(card: Card) -> Card:
    """Return the card of the network inside the pillars, of a card that has an `encoder`."""
    assert card.encoder is not None
    return replace(card, model=card.encoder, encoder=None)


def _load(path: Path) -> Any:
    from google.protobuf.message import DecodeError
    import onnx

    try:
        return onnx.load(str(path))
    except (OSError, DecodeError) as exc:
        raise ModelFileError(
            f'{path}: cannot be read as ONNX: {exc}; fetch or export it again'
        ) from exc


def _cache_folder() -> Path:
    cache = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(cache, 'jetson_perception', 'parts')


def _write_whole(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # several processes may do this at once; each writes the same
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(data)
        os.replace(file.name, path)
    except OSError as exc:
        raise ModelFileError(
            f'{path}: the plain part of a lidar network cannot be kept: {exc.strerror or exc}; '
            'make the folder writable, or set XDG_CACHE_HOME'
        ) from exc
