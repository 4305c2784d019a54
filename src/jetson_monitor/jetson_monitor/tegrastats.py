# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a line of tegrastats says, of any release from R21 to R39, by token and never by column.

The lines of one board differ in little but their numbers. So a line is split into its numbers and
its shape, which is the rest; what the numbers of a shape mean is worked out once and remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
import functools
import itertools
import re

from jetson_monitor.sample import slug

OFF_C = -256  # what a sensor that is powered down reads on R34 and R35

_STAMP = re.compile(r'\s*(\d\d)-(\d\d)-(\d{4}) (\d\d):(\d\d):(\d\d)(?=\s)', re.ASCII)
# a digit of a name (SOC2, 1V8AO) is no number, nor is the size in the lfb's 139x4MB
_NUMBER = re.compile(r'(?<![\w.])(-?\d{1,15}(?:\.\d{1,15})?)(?![\d.])', re.ASCII)
_GPU_UNIT = re.compile(r'gpu_unit\d+_clock_mhz')
_HOLE = '\0'  # stands in a shape where the line has a number


@dataclass(frozen=True)
class Parsed:
    """What one line said.

    Attributes:
        values: Name -> number, named as in a Sample.
        unknown_tokens: What was not understood, as it stood in the line; nothing else is lost.
        stamp: Local time of the board, to the second, where the line begins with it.
    """

    values: dict[str, float]
    unknown_tokens: tuple[str, ...] = ()
    stamp: datetime | None = None


def parse_line(line: str) -> Parsed:
    """Return what a line of tegrastats says; any text is taken, none is an error."""
    line = line.replace(_HOLE, ' ')
    stamp, start = _stamp(line)
    pieces = _NUMBER.split(line[start:])
    numbers = pieces[1::2]
    layout = _layout(_HOLE.join(pieces[::2]))
    values = {name: float(numbers[index]) for name, index in layout.fields}
    values.update(layout.constants)
    if '-256' in numbers:
        values = {
            name: value
            for name, value in values.items()
            if value != OFF_C or not name.startswith('temp_')
        }
    if layout.gpu_units:
        values['gpu_clock_mhz'] = max(values[name] for name in layout.gpu_units)
    unknown = tuple(_filled(token, numbers[index:]) for token, index in layout.unknown)
    return Parsed(values, unknown, stamp)


def _stamp(line: str) -> tuple[datetime | None, int]:
    if found := _STAMP.match(line):
        month, day, year, hour, minute, second = map(int, found.groups())
        try:
            return datetime(year, month, day, hour, minute, second), found.end()
        except ValueError:
            pass  # no such moment: it stays in the line, as an unknown token
    return None, 0


def _filled(token: str, numbers: list[str]) -> str:
    """Return a token of a shape as it stood in the line."""
    pieces = token.split(_HOLE)
    holes = [*numbers[: len(pieces) - 1], '']
    return ''.join(itertools.chain.from_iterable(zip(pieces, holes, strict=True)))


@dataclass(frozen=True)
class _Layout:
    """What a shape means: names and unknown tokens, each with the index of its first number.

    `gpu_units` are the names of the clocks of a GPU of several units.
    """

    fields: list[tuple[str, int]]
    constants: dict[str, float]
    unknown: list[tuple[str, int]]
    gpu_units: list[str]


@functools.lru_cache(maxsize=512)  # a board has a few dozen: engines and cores go on and off
def _layout(shape: str) -> _Layout:
    shape = ' '.join(shape.split())
    layout = _Layout([], {}, [], [])
    position = index = 0
    while position < len(shape):
        found, meaning = _token(shape, position)
        if meaning is None:
            layout.unknown.append((found[0], index))
        else:
            names, constants = meaning(found)
            holes = range(index, index + found[0].count(_HOLE))
            layout.fields.extend(
                (name, hole) for name, hole in zip(names, holes, strict=False) if name
            )
            layout.constants.update(constants)
        index += found[0].count(_HOLE)
        position = found.end() + 1
    layout.gpu_units.extend(name for name, _ in layout.fields if _GPU_UNIT.fullmatch(name))
    return layout


# --- the tokens of a shape -----------------------------------------------------------------------

# Names for the numbers of a token in turn, '' for one of no use; and values that words say. There
# may be more names than numbers.
_Meaning = tuple[list[str], dict[str, float]]


def _named(*names: str) -> Callable[[re.Match[str]], _Meaning]:
    return lambda _: (list(names), {})


def _largest_free_block(found: re.Match[str]) -> _Meaning:
    kib = float(found['size']) * {'k': 1, 'M': 1024}[found['unit']]
    return ['largest_free_block_count'], {'largest_free_block_kib': kib}


def _cores(found: re.Match[str]) -> _Meaning:
    names = []
    online = {}
    for core, state in enumerate(found['cores'].split(',')):
        online[f'cpu{core}_online'] = float(state != 'off')
        names += [f'cpu{core}_load_percent'] if '%' in state else []
        names += [f'cpu{core}_clock_mhz'] if '@' in state else []
    return [*names, 'cpu_clock_mhz'], online  # the last only where all cores have one clock


def _engine(found: re.Match[str]) -> _Meaning:
    name = _engine_name(found)
    loads = _of_units(name, 'load_percent', found['loads'] or '')
    clocks = _of_units(name, 'clock_mhz', found['clocks'] or '')
    # some have their numbers printed whether or not they have power
    is_on = not found['suffix'] and name not in ('gpu', 'emc', 'ape')
    return loads + clocks, {f'{name}_on': 1.0} if is_on else {}


def _of_units(name: str, quantity: str, numbers: str) -> list[str]:
    if '[' not in numbers:
        return [f'{name}_{quantity}'] * bool(numbers)
    return [f'{name}_unit{i}_{quantity}' for i in range(numbers.count(_HOLE))]


def _engine_off(found: re.Match[str]) -> _Meaning:
    return [], {f'{_engine_name(found)}_on': 0.0}


def _engine_name(found: re.Match[str]) -> str:
    return {'GR3D': 'gpu', 'GR3D2': 'gpu2'}.get(found['name'], slug(found['name']))


def _temperature(found: re.Match[str]) -> _Meaning:
    zone = slug(found['name'])
    return ([] if zone == 'pmic' else [f'temp_{zone}_c']), {}  # PMIC is the same 50 or 100 always


def _rail(found: re.Match[str]) -> _Meaning:
    rail = slug(found['name'])
    if rail == 'nc':  # a channel that is not connected
        return [], {}
    return [f'rail_{rail}_mw', f'rail_{rail}_average_mw', f'rail_{rail}_peak_mw'], {}


_ENGINES = (
    r'(?P<name>GR3D2?|EMC|APE|AVP|VDE|VIC|MSENC|(?:NVENC|NVDEC|NVJPG|OFA)\d*|(?:NVDLA|PVA)\d+)'
    r'(?P<suffix>_FREQ|_LOAD)?'
)
_NAME = r'(?P<name>[A-Za-z][\w.+-]*)'
_CORE = r'(?:off|#%(?:@#)?)'

# First match wins. In these # is a number; a space is any run of spaces.
_TOKENS = tuple(
    (re.compile(pattern.replace('#', _HOLE) + r'(?= |$)'), meaning)
    for pattern, meaning in (
        (r'RAM #/#MB', _named('ram_used_mib', 'ram_total_mib')),
        (r'\(lfb #x(?P<size>\d{1,9})(?P<unit>[kM])B\)', _largest_free_block),
        (r'SWAP #/#MB', _named('swap_used_mib', 'swap_total_mib')),
        (r'\(cached #MB\)', _named('swap_cached_mib')),
        (r'IRAM #/#kB ?\(lfb #kB\)', _named('iram_used_kib', 'iram_total_kib', '')),
        (rf'(?:CPU|cpu) \[(?P<cores>{_CORE}(?:,{_CORE})*)\](?:@#)?', _cores),
        (rf'{_ENGINES} off', _engine_off),
        (
            rf'{_ENGINES} (?=[#@\[])(?P<loads>#%|\[#%(?:,#%)*\])?'
            rf'(?P<clocks>@#|@\[#(?:,#)*\]|(?<= )#)?',
            _engine,
        ),
        (r'MTS fg #% bg #%', _named('mts_fg_load_percent', 'mts_bg_load_percent')),
        (r'EDP limit #', _named()),
        (rf'{_NAME}@#C(?:/#C)?', _temperature),
        (rf'{_NAME} #mW/#mW(?:/#mW)?', _rail),
        (rf'{_NAME} #/#', _rail),  # until R32 without the unit
        (r'\S+(?: [^\sA-Za-z(]\S*)*', None),  # a word, and what follows it until the next
    )
)


def _token(
    shape: str, position: int
) -> tuple[re.Match[str], Callable[[re.Match[str]], _Meaning] | None]:
    return next(
        (found, meaning)
        for pattern, meaning in _TOKENS
        if (found := pattern.match(shape, position))
    )
