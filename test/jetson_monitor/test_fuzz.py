# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Damaged lines and damaged boards by the thousand: nothing that is read ends the monitor."""

from __future__ import annotations

import contextlib
import math
import os
import random
import shutil

import pytest

from jetson_monitor.board import read_board
from jetson_monitor.config import MonitorConfig
from jetson_monitor.errors import SourceError
from jetson_monitor.fake_board import MODELS
from jetson_monitor.health import Judge
from jetson_monitor.sources import Sources
from jetson_monitor.sysfs import SysfsSource
from jetson_monitor.tegrastats import parse_line

pytestmark = pytest.mark.slow

LINES = {'written': 30_000, 'captured': 20_000}
TREES = 5_000
# Written after the grammar of each release, with numbers made up: no board printed these.
WRITTEN = (
    'RAM 812/1892MB (lfb 9x4MB) cpu [3%,0%,12%,off]@1224 EMC 4%@102 AVP 0%@80 VDE 0 GR3D 9%@72',
    'RAM 1400/3963MB (lfb 33x4MB) IRAM 0/252kB(lfb 252kB) CPU [11%@102,2%@102,off,off] EMC_FREQ '
    '5%@68 GR3D_FREQ 0%@76 APE 25 PLL@37C CPU@38.5C GPU@36C PMIC@100C POM_5V_IN 1512/1512',
    'RAM 2211/7852MB (lfb 70x4MB) CPU [7%@345,off,off,4%@345,5%@345,9%@345] MTS fg 0% bg 2% '
    'BCPU@41.5C Tboard@38C thermal@41.2C VDD_IN 3003/3120 VDD_SYS_GPU 152/152',
    'RAM 4100/15823MB (lfb 900x4MB) SWAP 5/7911MB (cached 1MB) CPU [9%@1190,8%@1190,off,off] '
    'GR3D_FREQ 21%@318 AUX@38C CPU@41C GPU 310/310 CV 0/0 SYS5V 1760/1801',
    '03-09-2025 11:02:07 RAM 5120/30536MB (lfb 5x4MB) CPU [5%@729,0%@729,off,off] EMC_FREQ 1%@2133 '
    'GR3D_FREQ 0%@0 GR3D2_FREQ 0%@0 VIC_FREQ 115 APE 174 CV0@-256C CPU@44.1C GPU@-256C NC 0mW/0mW',
    '03-09-2025 11:02:08 RAM 2000/7451MB (lfb 2x1MB) SWAP 90/3725MB (cached 3MB) CPU [20%@1344,1%@'
    '1344] GR3D_FREQ 63%@[509] NVENC off NVDEC off VIC off OFA off cpu@49C tj@50C VDD_IN 46mW/45mW',
    '03-09-2025 11:02:09  RAM  900/62841MB  (lfb 1x512kB)  CPU [1%@2201,off]  GR3D_FREQ '
    '4%@[306,306]  NVENC 61%@524 NVDLA0 off PVA0_FREQ off  gpu@41.5C  VDD_GPU_SOC 3210mW/3190mW',
    '03-09-2025 11:02:10 RAM 3301/125772MB (lfb 28x4MB) CPU [0%@972,3%@972] GR3D_FREQ @[314,0,0] '
    'NVENC0_FREQ @315 OFA_FREQ @315 soc012@37.4C tj@38.8C VDD_GPU -392mW/10mW VIN 21111mW/20990mW',
    '03-09-2025 11:02:11 RAM 6000/30600MB (lfb 4x2MB) CPU [0%@1113] GR3D_FREQ 12%@[1300,1300] '
    'NVDEC0 off cpu@52.9C/53.1C VDD_CPU_CV 1200mW/1100mW/3268mW VIN_SYS_5V0 4000mW/3900mW/4100mW',
    'RAM 1/2MB CPU [1%@2,off] PVA0_FREQ [7%,9%]@812 NVJPG 12%@627 EDP limit 1938 EMC_FREQ @3199 '
    'GR3D_FREQ 0% APE 174 ao@36C',
)
SNIPPETS = (
    '', ' ', '\0', '%', '@', 'C', 'mW', 'MB', '[', ']', '(', '/', ',', 'off', '-', '-256C', '.',
    '#', '9' * 400, '1e999', 'nan', '\u0663', '\ud800', '\r', '\n', 'RAM', 'CPU [', 'GR3D_FREQ ',
)  # fmt: skip


@pytest.fixture(params=['written', 'captured'])
def lines(request):
    if request.param == 'written':
        return WRITTEN, LINES['written']
    text = (request.getfixturevalue('data') / 'tegrastats' / 'lines.txt').read_text()
    read = (line for line in text.splitlines() if line.strip() and not line.startswith('#'))
    return tuple(read), LINES['captured']


def mutated(line, others, chance):
    for _ in range(chance.randint(1, 4)):
        begin = chance.randint(0, len(line))
        end = min(begin + chance.randint(0, 12), len(line))
        kind = chance.randrange(6)
        if kind == 0:  # a part lost, or something in its place
            line = line[:begin] + chance.choice(SNIPPETS) + line[end:]
        elif kind == 1:  # one character is another
            line = line[:begin] + chr(chance.choice((chance.randrange(128), 0x20AC))) + line[end:]
        elif kind == 2:  # a part twice
            line = line[:end] + line[begin:]
        elif kind == 3:  # cut short, and run into another
            line = line[:begin] + chance.choice(others)[chance.randint(0, 80) :]
        elif kind == 4:  # tokens in another order
            tokens = line.split(' ')
            chance.shuffle(tokens)
            line = ' '.join(tokens)
        else:  # bytes flipped on the wire
            raw = bytearray(line.encode(errors='replace'))
            for _ in range(min(3, len(raw))):
                raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
            line = raw.decode(errors='replace')
    return line


def test_the_written_lines_are_understood_whole():
    for line in WRITTEN:
        assert parse_line(line).unknown_tokens == (), line


def test_no_damage_to_a_line_leaves_the_parser(lines):
    sound, count = lines
    chance = random.Random(20_250_309)
    for number in range(count):
        line = mutated(chance.choice(sound), sound, chance)
        try:
            parsed = parse_line(line)
            values = parsed.values.values()
            assert all(isinstance(value, float) and math.isfinite(value) for value in values)
            assert all(isinstance(token, str) and token for token in parsed.unknown_tokens)
        except Exception as exc:
            raise AssertionError(f'mutation {number}: {line!r}') from exc


@pytest.mark.parametrize('model', sorted(MODELS))
def test_no_damage_to_the_files_leaves_the_source(fake_board, tmp_path, model):
    """A board is damaged, read by a running source, at times by a new one, judged, and mended."""
    chance = random.Random(model)
    root = fake_board(model).root
    sound = tmp_path / 'sound'
    shutil.copytree(root, sound)
    files = sorted(path.relative_to(root) for path in root.rglob('*') if path.is_file())
    now_s = 0.0

    def monotonic():
        return now_s

    running = SysfsSource(root, monotonic=monotonic)
    judge = Judge(MonitorConfig(), read_board(root).soc)
    for number in range(TREES // len(MODELS) + 1):
        damaged = chance.sample(files, chance.randint(1, 12))
        try:
            for file in damaged:
                damage(root / file, chance)
            now_s += chance.choice((1, 10, 60))  # only after 10 or 60 are files looked up anew
            starts = fresh(root, monotonic) if number % 8 == 0 else ()
            for source in (running, *starts):
                sample = Sources([source], monotonic=monotonic).read()
                assert all(math.isfinite(value) for value in sample.values.values())
                judge.judge(sample)
            read_board(root)
        except Exception as exc:
            raise AssertionError(f'{model}, tree {number}: {list(map(str, damaged))}') from exc
        mend(root, sound, damaged)


def fresh(root, monotonic):
    """Yield a source that has never seen the board well, unless it refuses in words."""
    with contextlib.suppress(SourceError):
        yield SysfsSource(root, monotonic=monotonic)


def damage(path, chance):
    kind = chance.randrange(7)
    if not path.parent.is_dir() or path.is_dir():
        return  # gone with its folder, or so already
    if kind == 0:
        overwrite(path, chance.randbytes(chance.randrange(300)))
    elif kind == 1:
        texts = ('', '-1', '9' * 5000, '1e400', '0x10', '\u0663', '-', ',', '\0', 'nan', '-256000')
        overwrite(path, chance.choice(texts).encode())
    elif kind == 2 and path.is_file():
        raw = path.read_bytes()
        begin = chance.randint(0, len(raw))
        overwrite(path, raw[:begin] + chance.randbytes(2) + raw[begin + chance.randint(0, 5) :])
    else:
        path.unlink(missing_ok=True)
        if kind == 3:
            path.mkdir()
        elif kind == 4:
            path.symlink_to(path)
        elif kind == 5:
            os.mkfifo(path)
        elif kind == 6 and path.parent.name not in ('proc', 'etc'):
            shutil.rmtree(path.parent)


def overwrite(path, content):
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def mend(root, sound, damaged):
    for file in damaged:
        remove(root / file)
    for folder in {file.parent for file in damaged}:
        shutil.copytree(sound / folder, root / folder, dirs_exist_ok=True)


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
