# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Where engines live: a folder for each key, whole or absent, verified before it is handed out.

    <root>/<key>/engine.plan manifest.json layers.json build.log
    <root>/locks/                       what `lock` holds; the files stay, the locks do not
    <root>/partial/                     what is being written or deleted
    <root>/timing/                      kernel times of earlier builds, kept by the builder
    <root>/quarantine/<key>-<utc>/      damaged engines, with reason.txt; never run

Any process may be killed at any moment: what it was writing lies in `partial` and is deleted by
the next one that writes, and the kernel drops its locks.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace
import fcntl
import json
import os
from pathlib import Path
import re
import shutil
import tempfile
import time

from trt_engine.entry import check_access
from trt_engine.entry import Entry
from trt_engine.entry import read_entry
from trt_engine.entry import read_own_entry
from trt_engine.entry import read_text
from trt_engine.entry import sync_folder
from trt_engine.entry import write_entry
from trt_engine.entry import write_file
from trt_engine.errors import StoreError
from trt_engine.manifest import Ingredients
from trt_engine.manifest import Manifest

REASON = 'reason.txt'
LIMIT_MIB = 8192
MAX_PREFIX_BYTES = 1 << 20
POLL_S = 0.05
SUFFIXES = ('.engine', '.plan', '.trt')

_KEY = re.compile(r'[0-9a-f]{64}')
_LOCK_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,99}')
_MUTEX = '.folders'  # no name that `lock` takes


@dataclass(frozen=True)
class Found:
    """The engine that was asked for, or None; and why, as a sentence for log and diagnostics."""

    entry: Entry | None
    reason: str


class Store:
    """A folder of engines, shared by the processes of one user."""

    def __init__(self, root: str | Path | None = None, *, limit_mib: int = LIMIT_MIB) -> None:
        """Name a store; the folder is made by the first write.

        Args:
            root: The folder; None takes TRT_ENGINE_STORE, or jetson_perception/engines in the
                user's data folder.
            limit_mib: What engines may take up before those that were not used for longest go.
        """
        # the store may be a link to a larger disk; in it there are none
        self.root = Path(root if root is not None else default_root()).expanduser().resolve()
        self.limit_mib = limit_mib

    def find(self, ingredients: Ingredients, *, any_calibration: bool = False) -> Found:
        """Return the engine of these ingredients, its bytes verified; else why there is none.

        A damaged entry is moved to quarantine, and said to be none.

        Args:
            ingredients: What is asked for.
            any_calibration: Whether an engine that differs in its calibration alone will do: for
                a robot that has the engine, but not the pictures that it was calibrated with.

        Raises:
            StoreError: The store must not be used, as others can write to it; or a damaged entry
                cannot be moved.
        """
        with self._mapped_errors(ingredients.key):
            if not self._is_made():
                return Found(None, f'{self.root} holds no engine yet')
            path = self.root / ingredients.key
            taken = self._take(path)
            if not taken:
                # it may be absent only while another process puts a new one in its place
                with suppress(StoreError), self._mutex():
                    pass
                taken = self._take(path)
            if isinstance(taken, Entry):
                return self._used(taken, 'of exactly these ingredients')
            relatives = [
                (difference, entry)
                for entry in self.entries()
                if ingredients.card == entry.manifest.ingredients.card
                or ingredients.onnx == entry.manifest.ingredients.onnx
                if (difference := entry.manifest.ingredients.difference(ingredients))
            ]
            for _, near in relatives if any_calibration else ():
                theirs = near.manifest.ingredients
                same = replace(theirs, calibration=ingredients.calibration) == ingredients
                if same and isinstance(entry := self._take(near.path), Entry):
                    digest = (theirs.calibration or 'none')[:12]
                    return self._used(entry, f'of these ingredients, with calibration {digest}')
            if taken:
                return Found(None, taken)
            if not relatives:
                return Found(None, f'{self.root} holds no engine of {ingredients.card}')
            difference, near = min(relatives, key=lambda relative: len(relative[0]))
            return Found(None, f'the nearest engine, {near.key[:12]}, was {"; ".join(difference)}')

    def put(
        self, manifest: Manifest, plan: bytes | Path, layers: str = '{}', log: str = ''
    ) -> Entry:
        """Keep an engine, in place of any other of its key, and drop those beyond the limit.

        Args:
            manifest: What it is; the digests of plan and log are filled in here.
            plan: The serialized engine, or the file that holds it.
            layers: The JSON text of TensorRT's inspector.
            log: The log of the build.

        Raises:
            StoreError: It cannot be written, or must not be: nothing of it is kept then.
        """
        key = manifest.ingredients.key
        with self._mapped_errors(key), self.workspace(key) as folder:
            write_entry(folder, manifest, plan, layers, log)
            with self._mutex():
                with self._doomed() as doomed:
                    if os.path.lexists(self.root / key):
                        os.rename(self.root / key, doomed / key)
                    os.rename(folder, self.root / key)
                    sync_folder(self.root)
                entry = read_own_entry(self.root / key)
        self.prune(keep=key)
        return entry

    @contextmanager
    def lock(
        self,
        name: str,
        *,
        timeout_s: float | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[None]:
        """Hold a lock between all threads and processes that use this store.

        A child that was forked meanwhile holds it too, until it ends or runs another program.

        Args:
            name: What is locked: the key of an engine, or a word such as board.
            timeout_s: How long to wait; None waits for as long as it takes.
            cancelled: Asked while waiting, some times a second, whether to give up.

        Raises:
            StoreError: Waiting was given up, or the store must not be used.
        """
        if not _LOCK_NAME.fullmatch(name):
            raise StoreError(f'{name!r} is no name of a lock; allowed: letters, digits, _ . and -')
        with self._flock(name, timeout_s, cancelled):
            yield

    def entries(self) -> list[Entry]:
        """Return what is there, last used first, without verifying the bytes.

        Entries that cannot be read, or must not be used, are left out; `verify` finds them.
        """
        found = []
        for path in self._folders():
            with suppress(StoreError):
                found.append(read_own_entry(path))
        return sorted(found, key=lambda entry: entry.last_use, reverse=True)

    def verify(self) -> Mapping[str, str | None]:
        """Return what is wrong with each entry, or None; those are moved to quarantine."""
        results: dict[str, str | None] = {}
        for path in self._folders():
            taken = self._take(path, deep=True)
            results[path.name] = None if isinstance(taken, Entry) else taken
        return results

    def prune(self, *, keep: str | None = None) -> list[str]:
        """Delete leftovers, then what is in quarantine, then engines, until the limit is kept.

        Args:
            keep: A key that stays, whatever its size.

        Returns:
            The names of the folders that went, those not used for longest first.
        """
        if not self._is_made():
            return []
        gone = []
        with self._mapped_errors('prune'), self._mutex():
            self._delete_leftovers()
            quarantined = sorted((self.root / 'quarantine').iterdir(), key=_last_use)
            engines = sorted(self._folders(), key=_last_use)
            sizes = {path: _size(path) for path in (*quarantined, *engines)}
            total = sum(sizes.values())
            for path, size in sizes.items():
                if total > self.limit_mib << 20 and path.name != keep:
                    self._delete(path)
                    total -= size
                    gone.append(path.name)
        return gone

    def remove(self, key: str) -> None:
        """Delete an engine.

        Raises:
            StoreError: There is none of that key.
        """
        path = self._existing(key)
        with self._mapped_errors(key), self._mutex():
            self._delete(path)

    def quarantine(self, entry: Entry, reason: str) -> Path | None:
        """Move an engine to where it is never run, and say why in its reason.txt.

        Returns:
            Where it is now; None if it is no longer there, or was replaced meanwhile.

        Raises:
            StoreError: It cannot be moved.
        """
        with self._mapped_errors(entry.key), self._mutex():
            with suppress(StoreError):
                if read_own_entry(entry.path).manifest != entry.manifest:
                    return None
            return self._put_away(entry.path, reason)

    def put_away(
        self, manifest: Manifest, plan: bytes | Path, layers: str, log: str, reason: str
    ) -> Path:
        """Keep an engine in quarantine from the start, to be looked at and never run.

        Args:
            manifest: What it is; the digests of plan and log are filled in here.
            plan: The serialized engine, or the file that holds it.
            layers: The JSON text of TensorRT's inspector.
            log: The log of the build.
            reason: Why it must not be run; for its reason.txt.

        Returns:
            Where it is.

        Raises:
            StoreError: It cannot be written.
        """
        key = manifest.ingredients.key
        with self._mapped_errors(key), self.workspace(key) as folder:
            write_entry(folder, manifest, plan, layers, log)
            with self._mutex():
                return self._move_away(folder, key, reason)

    def import_engine(
        self, path: str | Path, note: str, ingredients: Ingredients | None = None
    ) -> Entry:
        """Take in an engine that something else built, or that `export` wrote.

        The JSON that Ultralytics puts before its engines is moved to the log.

        Args:
            path: A .engine, .plan or .trt file, or a folder that `export` wrote.
            note: Where it comes from, for the manifest.
            ingredients: What the engine is said to be of; None for a folder, which knows.

        Raises:
            StoreError: It is no such file, or is damaged.
        """
        path = Path(path)
        if not note.strip():
            raise StoreError(f'{path}: say where the engine comes from')
        now = _utc('%Y-%m-%dT%H:%M:%SZ')
        with self._mapped_errors(str(path)):
            if path.is_dir():
                entry = read_entry(path)
                entry.check(deep=True)
                manifest = replace(
                    entry.manifest, provenance='imported', note=note, created_utc=now
                )
                return self.put(manifest, entry.plan, read_text(entry.layers), read_text(entry.log))
            if path.suffix not in SUFFIXES or not path.is_file():
                raise StoreError(
                    f'{path}: is no engine; allowed: a {", ".join(SUFFIXES)} file, or a folder '
                    'that export wrote'
                )
            if ingredients is None:
                raise StoreError(
                    f'{path}: does not say what it was built from; name the card that it is for'
                )
            content = path.read_bytes()
            prefix = _ultralytics_prefix(content)
            log = f'imported from {path.name}: {note}\n'
            if prefix:
                log += f'Ultralytics says: {content[4:prefix].decode()}\n'
            manifest = Manifest(ingredients, now, 0.0, provenance='imported', note=note)
            return self.put(manifest, content[prefix:], log=log)

    def export(self, key: str, folder: str | Path) -> Path:
        """Copy an engine, with all that is known of it, to a folder that `import_engine` reads.

        Returns:
            The new folder, named after card and key.

        Raises:
            StoreError: There is no such engine, it is damaged, or the folder exists.
        """
        entry = self._take(self._existing(key))
        if not isinstance(entry, Entry):
            raise StoreError(entry)
        target = Path(folder) / f'{entry.manifest.ingredients.card}-{key[:12]}'
        with self._mapped_errors(key):
            shutil.copytree(entry.path, target)
        return target

    def _existing(self, key: str) -> Path:
        path = self.root / key
        if not _KEY.fullmatch(key) or not path.is_dir():
            raise StoreError(f'{self.root} has no engine of the key {key!r}')
        check_access(self.root)
        return path

    def _is_made(self) -> bool:
        if self.root.is_dir():
            return True
        if self.root.exists():
            raise StoreError(f'{self.root} is a file; wanted a folder of engines; name another')
        return False

    def _folders(self) -> list[Path]:
        with self._mapped_errors('list'):
            if not self._is_made():
                return []
            check_access(self.root)
            return [path for path in self.root.iterdir() if _KEY.fullmatch(path.name)]

    def _used(self, entry: Entry, how: str) -> Found:
        with suppress(OSError):  # a store that cannot be written to can still be read
            os.utime(entry.path)
        made = entry.manifest
        verb = f'imported ({made.note})' if made.provenance == 'imported' else 'built'
        return Found(entry, f'{verb} {made.created_utc} {how}')

    def _take(self, path: Path, *, deep: bool = False) -> Entry | str:
        """Return a verified entry; else what is wrong with it, now in quarantine; '' if absent."""
        check_access(self.root)
        looked = _look(path, deep)
        if isinstance(looked, Entry) or not looked:
            return looked
        problem = looked
        try:
            with self._mapped_errors(path.name), self._mutex():
                # it may have been replaced while we looked at it; now nobody can
                looked = _look(path, deep)
                if isinstance(looked, Entry) or not looked:
                    return looked
                return f'{looked}; moved to {self._put_away(path, looked)}'
        except StoreError as exc:
            raise StoreError(f'{problem}; and it stays there, as {exc}') from exc

    def _put_away(self, path: Path, reason: str) -> Path | None:
        """Move what stands in the place of an entry to quarantine; needs the mutex."""
        return self._move_away(path, path.name, reason) if os.path.lexists(path) else None

    def _move_away(self, path: Path, key: str, reason: str) -> Path:
        name = f'{key}-{_utc("%Y%m%dT%H%M%SZ")}'
        place = self.root / 'quarantine' / name
        copies = 1
        while os.path.lexists(place):
            copies += 1
            place = place.with_name(f'{name}-{copies}')
        if path.is_dir() and not path.is_symlink():
            (path / REASON).unlink(missing_ok=True)
            write_file(path / REASON, f'{reason}\n'.encode(errors='replace'))
        os.rename(path, place)
        return place

    @contextmanager
    def workspace(self, name: str) -> Iterator[Path]:
        """Give an empty folder on the disk of the store; it is deleted unless it was moved away.

        Should this process be killed, the next one that writes deletes it.

        Args:
            name: What the name of the folder begins with.
        """
        with self._mutex():
            self._delete_leftovers()
            folder = Path(tempfile.mkdtemp(prefix=f'{name}-', dir=self.root / 'partial'))
            file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            _try_lock(file)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(file)

    def _delete(self, path: Path) -> None:
        """Make an entry absent at once, then delete it; needs the mutex."""
        with self._doomed() as doomed:
            if os.path.lexists(path):
                os.rename(path, doomed / path.name)

    @contextmanager
    def _doomed(self) -> Iterator[Path]:
        """Give a folder whose content is deleted, now or after a crash; needs the mutex."""
        folder = Path(tempfile.mkdtemp(prefix='deleted-', dir=self.root / 'partial'))
        try:
            yield folder
        finally:
            shutil.rmtree(folder)

    def _delete_leftovers(self) -> None:
        """Delete what killed processes left; needs the mutex, as new folders are made under it."""
        for folder in (self.root / 'partial').iterdir():
            if not folder.is_dir() or folder.is_symlink():
                folder.unlink()
                continue
            file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                if _try_lock(file):
                    shutil.rmtree(folder)
            finally:
                os.close(file)

    @contextmanager
    def _mutex(self) -> Iterator[None]:
        """Hold the lock for changes of folders: renames and deletions, nothing that takes long."""
        with self._flock(_MUTEX, None, lambda: False):
            yield

    @contextmanager
    def _flock(
        self, name: str, timeout_s: float | None, cancelled: Callable[[], bool]
    ) -> Iterator[None]:
        with self._mapped_errors(name):
            self._make_folders()
            path = self.root / 'locks' / f'{name}.lock'
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            start = time.monotonic()
            while not _try_lock(file):
                holder = os.pread(file, 20, 0).decode(errors='replace') or 'unknown'
                if cancelled():
                    raise StoreError(f'{name}: waiting for process {holder} was cancelled')
                if timeout_s is not None and time.monotonic() - start >= timeout_s:
                    raise StoreError(
                        f'{name}: process {holder} has held the lock for all of {timeout_s:g} s; '
                        'wait for it to finish its build, or stop it'
                    )
                time.sleep(POLL_S)
            with suppress(OSError):  # a courtesy to those who wait; a full disk may refuse it
                os.ftruncate(file, 0)
                os.pwrite(file, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(file)

    def _make_folders(self) -> None:
        for folder in (self.root, *(self.root / n for n in ('locks', 'partial', 'quarantine'))):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_access(folder)

    @contextmanager
    def _mapped_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise StoreError(
                f'{exc.filename or self.root}: {exc.strerror or exc} ({what}); is the disk full, '
                'or the folder not writable?'
            ) from exc


def default_root() -> Path:
    """Return the folder of the store where none is named."""
    if named := os.environ.get('TRT_ENGINE_STORE'):
        return Path(named)
    data = os.environ.get('XDG_DATA_HOME') or Path.home() / '.local' / 'share'
    return Path(data, 'jetson_perception', 'engines')


def _look(path: Path, deep: bool) -> Entry | str:
    """Return a verified entry, or what is wrong with it, or '' where there is nothing."""
    if not os.path.lexists(path):
        return ''
    try:
        entry = read_own_entry(path)
        entry.check(deep=deep)
    except StoreError as exc:
        return str(exc)
    return entry


def _ultralytics_prefix(content: bytes) -> int:
    """Return how many bytes Ultralytics put before the plan: a length, then so much JSON."""
    length = int.from_bytes(content[:4], 'little')
    if not 2 <= length <= min(MAX_PREFIX_BYTES, len(content) - 4):
        return 0
    try:
        metadata = json.loads(content[4 : 4 + length].decode())
    except (ValueError, RecursionError):
        return 0
    return 4 + length if isinstance(metadata, dict) else 0


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _last_use(path: Path) -> float:
    return path.lstat().st_mtime


def _size(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.iterdir()) if folder.is_dir() else 0


def _utc(form: str) -> str:
    return time.strftime(form, time.gmtime())
