# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The DLA report in a process of its own: the shape inference of ONNX has crashed on bad files."""

from __future__ import annotations

from collections.abc import Mapping
import json
from pathlib import Path
import subprocess
import sys
from typing import Any

from trt_builder.build_process import child_environment
from trt_builder.compat import Version
from trt_builder.dla.report import Crossing
from trt_builder.dla.report import DlaReport
from trt_builder.dla.report import JETSON_6
from trt_builder.dla.report import Layer
from trt_builder.dla.report import report
from trt_engine.errors import ModelFileError

TIMEOUT_S = 60.0
REFUSED = 3  # exit status: the file cannot be used, and the standard output says why


def report_in_process(
    path: Path,
    precision: str = 'fp16',
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    tensorrt: Version = JETSON_6,
    timeout_s: float = TIMEOUT_S,
) -> DlaReport:
    """Return what `trt_builder.dla.report` does, of a file of whatever origin.

    Raises:
        ModelFileError: The file cannot be read, crashes what reads it, or takes it too long.
    """
    job = {'path': str(path), 'precision': precision, 'shapes': shapes, 'tensorrt': tensorrt}
    try:
        child = subprocess.run(
            [sys.executable, '-m', 'trt_builder.dla.process', json.dumps(job)],
            capture_output=True,
            env=child_environment('tensorrt'),
            timeout=timeout_s,
            start_new_session=True,  # Ctrl-C is for the parent, which ends the child
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise ModelFileError(
            f'{path}: the DLA report took longer than {timeout_s:g} s and was ended'
        ) from exc
    if child.returncode == REFUSED:
        raise ModelFileError(child.stdout.decode(errors='replace'))
    if child.returncode:
        last = child.stderr.decode(errors='replace').strip().rpartition('\n')[2]
        raise ModelFileError(
            f'{path}: cannot be looked at, so it is refused: the process of the DLA report ended '
            f'with status {child.returncode}; {last or "it said nothing"}'
        )
    return _read(json.loads(child.stdout))


def _read(values: dict[str, Any]) -> DlaReport:
    del values['summary']  # follows from the rest
    layers = tuple(
        Layer(**{**each, 'reasons': tuple(each['reasons'])}) for each in values.pop('layers')
    )
    crossings = tuple(
        Crossing(**{**each, 'targets': tuple(each['targets'])}) for each in values.pop('crossings')
    )
    return DlaReport(**values, layers=layers, crossings=crossings)


def main() -> int:
    """Print the report that the first argument asks for, as JSON; return the exit status."""
    job = json.loads(sys.argv[1])
    try:
        found = report(
            Path(job['path']),
            job['precision'],
            shapes=job['shapes'] and {name: tuple(each) for name, each in job['shapes'].items()},
            tensorrt=tuple(job['tensorrt']),
        )
    except ModelFileError as exc:
        sys.stdout.write(str(exc))
        return REFUSED
    json.dump(found.to_json(), sys.stdout)
    return 0


if __name__ == '__main__':
    sys.exit(main())
