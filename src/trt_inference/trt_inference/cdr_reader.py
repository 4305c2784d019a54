# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Reads serialized messages in place, field by field: CDR of either byte order."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from trt_engine.errors import PerceptionError

Serialized = bytes | memoryview

# What may follow the last field is CDR's padding to a multiple of four.
_MAX_PADDING = 3


@dataclass(frozen=True)
class _Order:
    stamp: Struct
    number: Struct


_LITTLE = _Order(Struct('<iI'), Struct('<I'))
_BIG = _Order(Struct('>iI'), Struct('>I'))
# CDR and plain CDR2; they differ only in the alignment of eight-byte numbers, of which we have none
_ENCAPSULATIONS = {0: _BIG, 1: _LITTLE, 6: _BIG, 7: _LITTLE}


class CdrReader:
    """Reads the fields of a CDR message one after the other; alignment counts from byte 4.

    Args:
        buffer: The message, with its encapsulation.
        error: What to raise where the message is malformed or cut short.

    Raises:
        PerceptionError: Of the class `error`, here and by every method.
    """

    __slots__ = ('_buffer', '_error', '_order', '_place', '_size')

    def __init__(self, buffer: Serialized, error: type[PerceptionError]) -> None:
        self._buffer = buffer
        self._error = error
        self._size = len(buffer)
        if self._size < 4:
            raise self._error(f'the message has {self._size} bytes, not even an encapsulation of 4')
        order = _ENCAPSULATIONS.get(buffer[1]) if buffer[0] == 0 else None
        if order is None:
            identifier = f'{buffer[0]:02x}{buffer[1]:02x}'
            raise self._error(
                f'the message has encapsulation 0x{identifier}; supported: 0x0000 and 0x0001 '
                '(CDR), 0x0006 and 0x0007 (plain CDR2)'
            )
        self._order = order
        self._place = 4

    def stamp(self) -> tuple[int, int]:
        """Return seconds and nanoseconds."""
        place = self.take(8, 'header.stamp')
        sec, nanosec = self._order.stamp.unpack_from(self._buffer, place)
        return sec, nanosec

    def byte(self, name: str) -> int:
        """Return one byte."""
        return self._buffer[self.take(1, name)]

    def number(self, name: str) -> int:
        """Return an unsigned number of four bytes."""
        self._place += -self._place % 4
        place = self.take(4, name)
        value: int = self._order.number.unpack_from(self._buffer, place)[0]
        return value

    def string(self, name: str) -> str:
        """Return a text."""
        length = self.number(f'length of {name}')
        place = self.take(length, name)
        text = bytes(self._buffer[place : place + length])
        # some writers give an empty text no terminator at all
        if length and text[-1] != 0:
            raise self._error(f'{name} of {length} bytes does not end with a zero byte')
        try:
            return text[:-1].decode()
        except UnicodeDecodeError as exc:
            raise self._error(f'{name} is not UTF-8 text: {exc.reason}') from exc

    def end(self, what: str) -> None:
        """Refuse what follows `what`, the last field, beyond padding."""
        surplus = self._size - self._place
        if surplus > _MAX_PADDING:
            raise self._error(f'{surplus} bytes follow {what}; wanted at most {_MAX_PADDING}')

    def take(self, size: int, name: str) -> int:
        """Return where `size` bytes begin, and go past them."""
        place = self._place
        if place + size > self._size:
            raise self._error(
                f'the message of {self._size} bytes ends within {name}, '
                f'which takes {size} bytes from byte {place}'
            )
        self._place = place + size
        return place
