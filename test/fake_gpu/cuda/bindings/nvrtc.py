# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Stands in for NVRTC: compiles kernels for the CPU, so that `driver` can run their very source.

What it gives for a cubin is a shared library with functions `run_NAME`, and `size_NAME` for the
bytes of what it takes, for each kernel NAME.
"""

from __future__ import annotations

import enum
import hashlib
import os
from pathlib import Path
import re
import shutil
import subprocess
import tempfile
from types import SimpleNamespace

HEADER = Path(__file__).parents[2] / 'host_cuda.h'
LIBRARIES = Path(tempfile.gettempdir()) / f'fake_gpu_{os.geteuid()}'
_KERNEL = re.compile(
    r'extern "C" __global__ void (?:__launch_bounds__\(\w+\) )?(\w+)\(const (\w+) \w+\)'
)
_RUN = """
extern "C" void run_%(name)s(void** arguments, const unsigned* size)
{
    const %(kind)s& given = *static_cast<%(kind)s*>(arguments[0]);
    host::run({size[0], size[1], size[2]}, {size[3], size[4], size[5]}, %(barriers)d,
              [&] { %(name)s(given); });
}

extern "C" size_t size_%(name)s() { return sizeof(%(kind)s); }
"""


class nvrtcResult(enum.IntEnum):
    NVRTC_SUCCESS = 0
    NVRTC_ERROR_INVALID_OPTION = 5
    NVRTC_ERROR_COMPILATION = 6


def compiler() -> str | None:
    return shutil.which(os.environ.get('CXX', 'g++'))


def nvrtcVersion():
    return nvrtcResult.NVRTC_SUCCESS, 12, 6


def nvrtcGetSupportedArchs():
    return nvrtcResult.NVRTC_SUCCESS, [72, 75, 80, 86, 87, 89, 90]


def nvrtcGetErrorString(status):
    return nvrtcResult.NVRTC_SUCCESS, nvrtcResult(status).name.encode()


def nvrtcCreateProgram(source, name, headers, texts, names):
    program = SimpleNamespace(source=source.decode(), name=name.decode(), log='', library=b'')
    return nvrtcResult.NVRTC_SUCCESS, program


def nvrtcDestroyProgram(program):
    assert program.source
    program.source = ''
    return (nvrtcResult.NVRTC_SUCCESS,)


def nvrtcCompileProgram(program, count, options):
    assert count == len(options)
    defines = [each.decode() for each in options if each.startswith(b'-D')]
    text = f'#include "{HEADER}"\n#line 1 "{program.name}"\n{program.source}'
    # a kernel that calls nothing that waits runs as plain loops
    barriers = '__syncthreads' in program.source
    for name, kind in _KERNEL.findall(program.source):
        text += _RUN % {'name': name, 'kind': kind, 'barriers': barriers}
    key = hashlib.sha256(f'{HEADER.read_text()} {text} {defines}'.encode()).hexdigest()
    library = LIBRARIES / f'{key}.so'
    if not library.exists():
        LIBRARIES.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=LIBRARIES) as folder:
            made = Path(folder) / 'kernels.so'
            done = subprocess.run(
                [compiler(), '-x', 'c++', '-', '-o', made, '-shared', '-fPIC', '-std=c++17', '-O1',
                 '-ffp-contract=off', '-Wall', '-Wextra', '-Werror', '-Wno-unused-function',
                 '-Wno-comment', *defines],
                input=text, text=True, capture_output=True, check=False,
            )  # fmt: skip
            if done.returncode:
                program.log = done.stderr
                return (nvrtcResult.NVRTC_ERROR_COMPILATION,)
            made.replace(library)
    program.library = library.read_bytes()
    return (nvrtcResult.NVRTC_SUCCESS,)


def nvrtcGetProgramLogSize(program):
    return nvrtcResult.NVRTC_SUCCESS, len(program.log.encode()) + 1


def nvrtcGetProgramLog(program, buffer):
    buffer[:] = program.log.encode() + b'\0'
    return (nvrtcResult.NVRTC_SUCCESS,)


def nvrtcGetCUBINSize(program):
    return nvrtcResult.NVRTC_SUCCESS, len(program.library)


def nvrtcGetCUBIN(program, buffer):
    buffer[:] = program.library
    return (nvrtcResult.NVRTC_SUCCESS,)
