# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The right backend is chosen, with the reason; no silent fallback."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

from trt_engine import backends
from trt_engine.backend import TensorInfo
from trt_engine.backends import choose_backend
from trt_engine.backends import open_backend
from trt_engine.backends.fake import FakeBackend
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import ConfigError
from trt_engine.errors import InferenceError

X = TensorInfo('x', 'input', np.dtype('float32'), (1, 4))
Y = TensorInfo('y', 'output', np.dtype('float32'), (1, 4))


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, 'tensorrt_version', lambda: None)
    monkeypatch.setattr(backends, 'has_gpu', lambda: False)


@pytest.mark.usefixtures('bare_machine')
def test_auto_falls_back_and_says_why() -> None:
    choice = choose_backend('auto')
    assert choice.name == 'onnxruntime'
    assert 'TensorRT cannot run here' in choice.reason
    assert 'python3-libnvinfer' in choice.reason
    assert 'no NVIDIA GPU device' in choice.reason
    assert ('cuda-bindings is not installed' in choice.reason) == (find_spec('cuda') is None)


@pytest.mark.usefixtures('bare_machine')
@pytest.mark.parametrize(('preference', 'required'), [('auto', True), ('tensorrt', False)])
def test_required_tensorrt_fails_with_what_to_install(preference: str, required: bool) -> None:
    with pytest.raises(BackendUnavailableError, match='sudo apt install python3-libnvinfer'):
        choose_backend(preference, require_tensorrt=required)


def test_tensorrt_wins_where_nothing_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, 'find_spec', lambda name: object())
    monkeypatch.setattr(backends, 'tensorrt_version', lambda: '10.3.0')
    monkeypatch.setattr(backends, 'has_gpu', lambda: True)
    assert choose_backend('auto').name == 'tensorrt'
    assert choose_backend('onnxruntime').name == 'onnxruntime'


@pytest.mark.parametrize(
    ('name', 'required', 'message'),
    [
        ('cuda', False, "backend is 'cuda'; allowed: auto, tensorrt, onnxruntime"),
        ('onnxruntime', True, 'require_tensorrt is true; drop one'),
    ],
)
def test_contradictions_are_refused(name: str, required: bool, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_backend(name, require_tensorrt=required)


def test_auto_is_nothing_to_open(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="backend is 'auto'; allowed: tensorrt, onnxruntime"):
        open_backend('auto', tmp_path / 'x.onnx')


def test_choosing_loads_no_library() -> None:
    code = (
        'import sys; from trt_engine.backends import choose_backend; choose_backend("auto"); '
        'print([m for m in ("onnxruntime", "tensorrt", "cv2") if m in sys.modules])'
    )
    ran = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        check=True,
        env={'PYTHONPATH': str(Path(backends.__file__).parents[2])},
    )
    assert ran.stdout.strip() == '[]'


def test_fake_answers_checks_fails_and_closes() -> None:
    ones = np.ones((1, 4), np.float32)
    fake = FakeBackend([Y, X], lambda inputs: {'y': inputs['x'] * 2})
    assert [info.name for info in fake.tensors] == ['x', 'y']
    assert fake.name == 'fake'
    assert 'no device' in fake.identity
    assert fake.run({'x': ones})['y'].tolist() == [[2, 2, 2, 2]]
    with pytest.raises(InferenceError, match=r"got the inputs \['z'\], wanted \['x'\]"):
        fake.run({'z': ones})
    fake.fail_with = 'out of memory'
    with pytest.raises(InferenceError, match='out of memory'):
        fake.run({'x': ones})
    fake.fail_with = None
    assert fake.run({'x': ones})['y'].shape == (1, 4)
    assert fake.runs == 2
    fake.close()
    fake.close()
    with pytest.raises(InferenceError, match='after close'):
        fake.run({'x': ones})


def test_fake_takes_time_when_told() -> None:
    import time

    fake = FakeBackend([X, Y], {'y': np.zeros((1, 4), np.float32)}, latency_s=0.02)
    start_s = time.perf_counter()
    fake.run({'x': np.zeros((1, 4), np.float32)})
    assert time.perf_counter() - start_s >= 0.02
