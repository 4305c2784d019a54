#!/usr/bin/env python3
# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Checks our calls of TensorRT against the stubs of tensorrt-stubs, with mypy; `make lint` runs it.

The stubs are made by a program, and are no Python in a few places: those are mended in a copy that
lies apart from everything else, as the package would make an empty `tensorrt` importable.
"""

from __future__ import annotations

from pathlib import Path
import re
import subprocess
import sys

REPOSITORY = Path(__file__).resolve().parents[1]
STUBS = REPOSITORY / '.deps' / 'stubs'
PACKAGE = 'tensorrt-stubs==10.13.0.35.1'  # types of TensorRT's Python module (MIT); checks only
CHECKED = (
    'src/trt_builder/trt_builder/tensorrt_build.py',
    'src/trt_engine/trt_engine/backends/tensorrt.py',
)
CONFIG = """\
[mypy]
python_version = 3.10
strict = true
explicit_package_bases = true
mypy_path = {stubs}:src/trt_engine:src/trt_builder
[mypy-tensorrt.*,tensorrt_bindings.*]
ignore_errors = true
[mypy-tensorrt_libs.*,cv2.*,onnx.*,onnxruntime.*,cuda.*,google.*]
ignore_missing_imports = true
follow_imports = skip
"""


def mend(stub: str) -> str:
    """Return a stub that Python can read: no argument is called `in`, none lacks its default."""
    stub = re.sub(r'\bin: ', 'in_: ', stub)
    return re.sub(r'(= None, channel_axis: int)\)', r'\1 = ...)', stub)


def fetch() -> None:
    """Put mended stubs where mypy finds them, unless they are there."""
    done = STUBS / PACKAGE
    if done.exists():
        return
    pip = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--upgrade']
    subprocess.run([*pip, '--target', str(STUBS), PACKAGE], check=True)
    for path in STUBS.rglob('*.pyi'):
        path.write_text(mend(path.read_text()))
    done.touch()


def main() -> int:
    fetch()
    config = STUBS / 'mypy.ini'
    config.write_text(CONFIG.format(stubs=STUBS))
    mypy = [sys.executable, '-m', 'mypy', '--config-file', str(config), *CHECKED]
    return subprocess.run(mypy, cwd=REPOSITORY, check=False).returncode


if __name__ == '__main__':
    sys.exit(main())
