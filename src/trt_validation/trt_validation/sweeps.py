# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Point clouds with known boxes: a folder of clouds, and one table of what stands in them.

The clouds are .bin (x, y, z, intensity as little-endian float32) or .pcd files. `labels.csv` beside
them has a line for each thing:

    sweep,class,x,y,z,length,width,height,yaw,points
    000007,car,12.5,-3.1,-0.9,4.2,1.8,1.5,3.05,211

`sweep` is the cloud's name without suffix. x, y and z are the middle of the box, in metres and in
the frame of the cloud (x forward, y left, z up); yaw is its heading in radians, counter-clockwise,
0 along x. `points` is how many points are on it, or nothing where nobody counted. A cloud that no
line names holds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import csv
from dataclasses import dataclass
import math
from pathlib import Path

from trt_engine.errors import ConfigError
from trt_inference.replay.cloud_files import CLOUD_SUFFIXES

LABELS = 'labels.csv'
_NUMBERS = ('x', 'y', 'z', 'length', 'width', 'height', 'yaw')
COLUMNS = ('sweep', 'class', *_NUMBERS, 'points')


@dataclass(frozen=True)
class Thing:
    """What stands in a cloud.

    Attributes:
        label: Its class, by name.
        box: x, y, z of the middle, length, width, height in metres, yaw in radians.
        points: How many points are on it; None where nobody counted.
    """

    label: str
    box: tuple[float, ...]
    points: int | None


@dataclass(frozen=True)
class LabelledSweeps:
    """A folder of clouds with known boxes.

    Attributes:
        clouds: Name -> file, in the order of the names.
        things: Name -> what stands in that cloud; every name is there.
    """

    clouds: Mapping[str, Path]
    things: Mapping[str, Sequence[Thing]]

    def labels(self) -> tuple[str, ...]:
        """Return the names of the classes that occur, in alphabetical order."""
        return tuple(sorted({each.label for here in self.things.values() for each in here}))


def read_sweeps(folder: Path) -> LabelledSweeps:
    """Return what is in a folder; clouds are only listed, and read when their turn comes.

    Raises:
        ConfigError: There is no cloud or no `labels.csv`, or a line of it is not as this module's
            docstring says; names file and line.
    """
    try:
        files = sorted(each for each in folder.iterdir() if each.suffix.lower() in CLOUD_SUFFIXES)
        text = (folder / LABELS).read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(
            f'{folder}: cannot be read: {exc}; wanted a folder of clouds '
            f'({" ".join(CLOUD_SUFFIXES)}) with {LABELS} in it'
        ) from exc
    clouds = {each.stem: each for each in files}
    if len(clouds) < len(files) or not clouds:
        raise ConfigError(
            f'{folder}: has {len(files)} clouds of {len(clouds)} names; wanted at least one, each '
            f'in one file that ends in {" or ".join(CLOUD_SUFFIXES)}'
        )
    return LabelledSweeps(clouds, _read_labels(folder / LABELS, text, clouds))


def write_labels(folder: Path, things: Mapping[str, Iterable[Thing]]) -> None:
    """Write `labels.csv`.

    Args:
        folder: Where the clouds are.
        things: Name of a cloud -> what stands in it.

    Raises:
        OSError: It cannot be written.
    """
    with (folder / LABELS).open('w', newline='') as file:
        table = csv.writer(file, lineterminator='\n')
        table.writerow(COLUMNS)
        for name, here in things.items():
            for each in here:
                numbers = [f'{number:.4f}' for number in each.box]
                points = '' if each.points is None else each.points
                table.writerow([name, each.label, *numbers, points])


def _read_labels(
    path: Path, text: str, clouds: Mapping[str, Path]
) -> Mapping[str, Sequence[Thing]]:
    rows = csv.reader(text.splitlines())
    head = tuple(name.strip() for name in next(rows, ()))
    if sorted(head) != sorted(COLUMNS):
        raise ConfigError(
            f'{path}: its first line is {",".join(head)!r}; wanted the names {",".join(COLUMNS)}'
        )
    things: dict[str, list[Thing]] = {name: [] for name in clouds}
    for row in rows:
        if not row:
            continue
        where = f'{path}, line {rows.line_num}'
        if len(row) != len(head):
            raise ConfigError(f'{where}: has {len(row)} values; wanted {len(head)}')
        values = dict(zip(head, (each.strip() for each in row), strict=True))
        if values['sweep'] not in things:
            raise ConfigError(
                f'{where}: names the sweep {values["sweep"]!r}, of which there is no file; wanted '
                f'the name of a cloud of this folder, without suffix, such as {next(iter(clouds))}'
            )
        things[values['sweep']].append(_thing(values, where))
    return things


def _thing(values: Mapping[str, str], where: str) -> Thing:
    try:
        box = tuple(float(values[name]) for name in _NUMBERS)
        points = int(values['points']) if values['points'] else None
    except ValueError as exc:
        raise ConfigError(f'{where}: {exc}; wanted numbers from x to points') from exc
    if not all(map(math.isfinite, box)) or min(box[3:6]) <= 0 or not values['class']:
        raise ConfigError(
            f'{where}: class {values["class"]!r}, box {box}; wanted a name, finite numbers, and a '
            'length, width and height above 0'
        )
    return Thing(values['class'], box, points)
