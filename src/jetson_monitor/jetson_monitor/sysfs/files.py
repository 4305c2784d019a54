# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Small files of the kernel, each read in one attempt; a file that says nothing now gives None."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from dataclasses import dataclass
import errno
import math
import os
from pathlib import Path
import re

_LIMIT = 1 << 24  # bytes, far above any of these files
_GONE = (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR)

# How the text of a file becomes a value.
Meaning = Callable[[str], 'float | None']


class GoneError(Exception):
    """A file that was there is there no longer: a device or a core was taken away."""


def read_text(path: Path) -> str:
    """Return what a file says, '' where it cannot be read now.

    One attempt: a sensor without power answers EAGAIN for as long as one asks.
    """
    try:
        return _read(path)
    except OSError:
        return ''


def _read(path: Path) -> str:
    # non-blocking: should somebody have put a pipe there, opening it must not hang
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        content = b''
        while len(content) < _LIMIT and (piece := os.read(descriptor, 65536)):
            content += piece
    finally:
        os.close(descriptor)
    return content.decode(errors='replace').strip('\0 \n')


def listed(folder: Path, pattern: str) -> list[Path]:
    """Return what is in a folder by name, the whole of which matches, 10 after 9."""
    try:
        found = os.listdir(folder)
    except OSError:
        return []
    names = [name for name in found if re.fullmatch(pattern, name)]
    names.sort(key=lambda name: ([int(n) for n in re.findall(r'[0-9]{1,9}', name)], name))
    return [folder / name for name in names]


def hwmons(root: Path, *names: str) -> Iterator[Path]:
    """Yield the folders of hardware monitors by name; their numbers change from boot to boot."""
    for folder in listed(root / 'sys/class/hwmon', r'hwmon\d+'):
        if read_text(folder / 'name') in names:
            yield folder


@dataclass(frozen=True)
class Gauge:
    """A value by its name, the file that says it, and what the text of that means."""

    name: str
    path: Path
    meaning: Meaning

    def read(self) -> float | None:
        """Return the value now, None where there is none.

        Raises:
            GoneError: The file is there no longer.
        """
        try:
            return self.meaning(_read(self.path))
        except OSError as error:
            if error.errno in _GONE:
                raise GoneError(self.path) from error
            return None


def readable(gauges: Iterable[Gauge]) -> list[Gauge]:
    """Return the gauges whose file may be read, whether or not it says something now."""
    return [gauge for gauge in gauges if os.access(gauge.path, os.R_OK)]


def constants(gauges: Iterable[Gauge]) -> dict[str, float]:
    """Return values that change seldom, such as limits; of several by one name, the lowest."""
    found: dict[str, float] = {}
    for gauge in gauges:
        value = gauge.meaning(read_text(gauge.path))
        if value is not None:
            found[gauge.name] = min(value, found.get(gauge.name, value))
    return found


# --- meanings ------------------------------------------------------------------------------------


def number(text: str) -> float | None:
    """Return the finite number that a text is, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def not_negative(text: str) -> float | None:
    """Return a number of 0 or more; kernels say -1 for unknown."""
    value = number(text)
    return value if value is not None and value >= 0 else None


def per(divisor: float, low: float = -math.inf, high: float = math.inf) -> Meaning:
    """Return the meaning of a number of so many to the unit; absent unless low < value <= high."""

    def meaning(text: str) -> float | None:
        value = number(text)
        return value / divisor if value is not None and low < value / divisor <= high else None

    return meaning


def yes_or_no(text: str) -> float | None:
    """Return 0 for 0 and 1 for any other number."""
    value = number(text)
    return None if value is None else float(value != 0)


HZ = per(1e6, low=-1)  # in MHz
KHZ = per(1e3, low=-1)  # in MHz
LIMIT = per(1, low=0)  # a limit of 0 or less is none
