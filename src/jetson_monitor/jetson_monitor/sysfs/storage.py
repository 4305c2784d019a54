# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Disks: how full those are that matter here, and whether they can be written."""

from __future__ import annotations

from collections.abc import Iterable
import os
from pathlib import Path

from jetson_monitor.sample import slug
from jetson_monitor.sysfs.files import read_text


def read_disks(root: Path, mounts: Iterable[str]) -> dict[str, float]:
    """Return how full the disks of these folders are; a folder that is not there has no values."""
    values: dict[str, float] = {}
    mounted = parse_mounts(read_text(root / 'proc/mounts'))
    for mount in mounts:
        name = f'disk_{slug(mount) or "root"}'
        try:
            disk = os.statvfs(root / mount.lstrip('/'))
        except OSError:
            continue
        usable = disk.f_blocks - disk.f_bfree + disk.f_bavail  # root alone may use the rest
        if usable > 0:
            values[f'{name}_used_percent'] = 100 * (usable - disk.f_bavail) / usable
            values[f'{name}_free_mib'] = disk.f_bavail * disk.f_frsize / (1 << 20)
        if disk.f_files:  # some file systems have no count of them
            inodes = 100 * (disk.f_files - disk.f_favail) / disk.f_files
            values[f'{name}_inodes_used_percent'] = inodes
        options = _options_at(mount, mounted)
        if options is not None:
            values[f'{name}_read_only'] = float('ro' in options)
    return values


def parse_mounts(text: str) -> dict[str, list[str]]:
    """Return the options of each mount point; of several mounts at one, those of the last."""
    rows = (line.split() for line in text.splitlines())
    return {row[1]: row[3].split(',') for row in rows if len(row) >= 4}


def _options_at(folder: str, mounted: dict[str, list[str]]) -> list[str] | None:
    """Return the options of the file system that holds a folder."""
    place = Path('/') / folder
    return next((mounted[str(p)] for p in (place, *place.parents) if str(p) in mounted), None)
