# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A file that lines are appended to, which a crash costs at most the line in hand."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
import os
from pathlib import Path

from jetson_monitor.errors import RecordError

_BLOCK = 65536


class LineFile:
    """Appends lines, and begins a new file when one is full.

    Each line goes to the kernel in one write, so that a killed process loses none. The older
    files are `<stem>.1<suffix>`, the newest of them, to `<stem>.<files - 1><suffix>`.
    """

    def __init__(self, path: Path, max_bytes: int, files: int) -> None:
        """Open the file, and drop the half line that a crash may have left at its end.

        Args:
            path: The file; its folder is made where it is missing.
            max_bytes: Size at which a new file is begun.
            files: How many files are kept, the one being written included.

        Raises:
            RecordError: The file cannot be written.
        """
        self._path = path
        self._max_bytes = max_bytes
        self._files = files
        self._handle = -1
        self._open()

    @property
    def is_empty(self) -> bool:
        """Return whether nothing has been written to the newest file."""
        return os.fstat(self._handle).st_size == 0

    def append(self, line: str) -> None:
        """Write one line.

        Raises:
            RecordError: The disk is full, or the like.
        """
        data = line.encode() + b'\n'
        before = os.fstat(self._handle).st_size
        try:
            written = os.write(self._handle, data)
        except OSError as exc:
            raise RecordError(f'{self._path} cannot be written: {exc.strerror}') from exc
        if written < len(data):
            os.ftruncate(self._handle, before)
            raise RecordError(f'{self._path} cannot be written: the disk is full; make room')

    def is_full(self, line: str) -> bool:
        """Return whether the file would grow too large by this line; an empty one never does."""
        size = os.fstat(self._handle).st_size
        return size > 0 and size + len(line.encode()) + 1 > self._max_bytes

    def rotate(self) -> None:
        """Begin a new file.

        Raises:
            RecordError: The files cannot be renamed.
        """
        self.close()
        try:
            for number in range(self._files - 1, 0, -1):
                younger = self._numbered(number - 1)
                if younger.exists():
                    younger.replace(self._numbered(number))
            if self._files == 1:
                self._path.unlink()
        except OSError as exc:
            raise RecordError(f'{self._path} cannot be rotated: {exc.strerror}') from exc
        self._open()

    def rewrite(self, lines: Iterable[str]) -> None:
        """Put other lines in the place of all that are there, at once.

        Raises:
            RecordError: The file cannot be written.
        """
        new = self._path.with_name(f'{self._path.name}.new')
        try:
            new.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
            new.replace(self._path)
        except OSError as exc:
            raise RecordError(f'{self._path} cannot be written: {exc.strerror}') from exc
        self.close()
        self._open()

    def close(self) -> None:
        """Close the file; it can be used no more."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            self._drop_half_line()
        except OSError as exc:
            raise RecordError(
                f'{self._path} cannot be written: {exc.strerror}; name a file in a folder of yours'
            ) from exc

    def _drop_half_line(self) -> None:
        end = os.fstat(self._handle).st_size
        while end > 0:
            begin = max(0, end - _BLOCK)
            newline = os.pread(self._handle, end - begin, begin).rfind(b'\n')
            if newline >= 0:
                end = begin + newline + 1
                break
            end = begin
        os.ftruncate(self._handle, end)

    def _numbered(self, number: int) -> Path:
        if number == 0:
            return self._path
        return self._path.with_name(f'{self._path.stem}.{number}{self._path.suffix}')


def whole_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file without their ends; a last line without one is left out.

    Raises:
        RecordError: The file cannot be read, or is no text.
    """
    try:
        with path.open(encoding='utf-8', newline='\n') as file:
            for line in file:
                if line.endswith('\n'):
                    yield line.rstrip('\r\n')
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else 'it is not UTF-8 text'
        raise RecordError(f'{path} cannot be read: {reason}') from exc
