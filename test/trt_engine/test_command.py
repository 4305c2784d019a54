# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""How commands end, as a shell sees it: status, one line on stderr, and never a traceback."""

from __future__ import annotations

from pathlib import Path
import subprocess
import sys

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / 'src' / 'trt_engine'
START = """
import sys
sys.path.insert(0, {package!r})
from trt_engine.command import end_well
from trt_engine.errors import ConfigError
from trt_engine.errors import StoreError

def work():
    {work}
    return 7

sys.exit(end_well(work, failed=3, misused=4))
"""


def started(work: str) -> list[str]:
    return [sys.executable, '-c', START.format(package=str(PACKAGE), work=work)]


@pytest.mark.parametrize(
    ('work', 'status', 'said'),
    [
        ('pass', 7, ''),
        ('raise StoreError("no key")', 3, 'error: no key\n'),
        ('raise ConfigError("--words")', 4, 'error: --words\n'),
        ('raise KeyboardInterrupt', 130, 'stopped\n'),
        ('open("/nowhere/file")', 3, 'error: /nowhere/file: No such file or directory\n'),
    ],
)
def test_what_goes_wrong_is_one_line(work, status, said):
    done = subprocess.run(started(work), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, said)


@pytest.mark.parametrize(
    ('output', 'status', 'said'),
    [
        ('| true', 0, ''),
        ('>&-', 7, ''),
        ('> /dev/full', 3, 'error: No space left on device\n'),
    ],
)
@pytest.mark.parametrize('length', [1, 100_000])
def test_output_that_goes_nowhere_is_no_traceback(output, status, said, length):
    wait = 'import time; time.sleep(0.2)'  # until the reader has gone
    shell = f'"$@" {output}; exit ${{PIPESTATUS[0]}}'
    words = ['bash', '-c', shell, 'bash', *started(f'{wait}; print("x" * {length})')]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, said)


@pytest.mark.parametrize(
    ('words', 'status', 'said'),
    [
        ((), 0, ''),
        (('--ros-args', '-p', 'loop:=true'), 0, ''),
        (('--help',), 0, 'usage: replay [--help] [--ros-args -p PARAMETER:=VALUE ...]'),
        (('street.mp4', '--ros-args'), 2, 'unrecognized arguments: street.mp4'),
        (('--loop',), 2, 'unrecognized arguments: --loop'),
    ],
)
def test_a_node_takes_parameters_alone(words, status, said):
    start = (
        f'import sys; sys.path.insert(0, {str(PACKAGE)!r}); '
        'from trt_engine.command import check_node_words; check_node_words("replay", "Plays.")'
    )
    done = subprocess.run(
        [sys.executable, '-c', start, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert said in done.stdout + done.stderr
