# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the builder says of itself in diagnostics: its store, and its builds."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trt_builder.jobs import Jobs
from trt_engine.entry import read_text
from trt_engine.errors import StoreError
from trt_engine.health import Health
from trt_engine.health import Level
from trt_engine.health import number
from trt_engine.store import REASON
from trt_engine.store import Store


@dataclass(frozen=True)
class Stock:
    """What a store holds.

    Attributes:
        root: Its folder.
        engines: How many engines it has.
        used_mib: What they take up.
        limit_mib: What they may take up.
        quarantined: Folders of damaged engines, the newest first.
        reason: Why the newest of those is there.
    """

    root: Path
    engines: int
    used_mib: float
    limit_mib: int
    quarantined: tuple[Path, ...] = ()
    reason: str = ''


def survey(store: Store) -> Stock:
    """Look through a store.

    Raises:
        StoreError: It cannot be read, or must not be used.
    """
    entries = store.entries()
    arrivals = []
    with suppress(OSError):  # none was ever there, or another process prunes the store
        for path in (store.root / 'quarantine').iterdir():
            arrivals.append((path.lstat().st_ctime, path))
    quarantined = tuple(path for _, path in sorted(arrivals, reverse=True))
    return Stock(
        root=store.root,
        engines=len(entries),
        used_mib=sum(entry.size_bytes for entry in entries) / 2**20,
        limit_mib=store.limit_mib,
        quarantined=quarantined,
        reason=_reason(quarantined[0]) if quarantined else '',
    )


def store_health(stock: Stock) -> Health:
    """Judge a store: an engine in quarantine is a warning until somebody has looked at it."""
    values = {
        'folder': str(stock.root),
        'engines': str(stock.engines),
        'used (MiB)': number(stock.used_mib),
        'limit (MiB)': str(stock.limit_mib),
        'in quarantine': str(len(stock.quarantined)),
    }
    if stock.quarantined:
        newest = stock.quarantined[0]
        return Health(
            Level.WARN,
            f'{len(stock.quarantined)} in quarantine, the newest: {stock.reason}',
            {**values, 'newest in quarantine': f'{newest}; delete it once you have looked at it'},
        )
    return Health(
        Level.OK,
        f'{stock.engines} engines, {number(stock.used_mib)} of {stock.limit_mib} MiB',
        values,
    )


def build_health(jobs: Jobs) -> Health:
    """Judge the builds: the last one counts until the next has ended."""
    values = {'queued': str(jobs.queued), 'last outcome': str(jobs.last or 'none yet')}
    if front := jobs.front:
        progress = front.progress
        values |= {
            'card': front.card,
            'phase': progress.phase,
            'progress': f'{progress.fraction:.0%}',
            'elapsed (s)': number(front.elapsed_s),
        }
    if jobs.last and jobs.last.status == 'refused':
        return Health(Level.WARN, f'no engine of {jobs.last.card}: {jobs.last.reason}', values)
    if front:
        return Health(Level.OK, f'building {front.card}: {front.progress.message}', values)
    return Health(Level.OK, 'idle', values)


def _reason(folder: Path) -> str:
    try:
        return read_text(folder / REASON).strip()
    except (OSError, StoreError):
        return 'unknown'
