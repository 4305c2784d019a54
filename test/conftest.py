# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What every test may ask for: where the test data lies, and what this machine can do."""

from __future__ import annotations

import collections
from collections.abc import Callable
from collections.abc import Iterator
import importlib
import importlib.util
import os
from pathlib import Path
import re
import shutil
import sys
from types import ModuleType
import uuid

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SLOW_FILE = re.compile(r'^pytestmark = (\[\s*)?pytest\.mark\.slow', re.MULTILINE)
FAKE_GPU = REPOSITORY / 'test' / 'fake_gpu'
STAND_IN = '10.3.0'  # version of the stand-in for TensorRT, where none is asked for
ROS_DOMAINS = 100  # that are safe on every system, but for the one that everybody takes


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line('markers', 'slow: minutes, not milliseconds; left out of the unit pass')
    config.addinivalue_line('markers', 'ros: needs ROS 2: . tools/env.sh')
    os.environ.setdefault('TRT_CARD_PATH', str(REPOSITORY / 'config' / 'models'))
    # Before rclpy reads them; children inherit both. Each worker has a domain of its own: nodes of
    # two tests would meet, and those of two runs on one machine.
    run = os.environ.get('PYTEST_XDIST_TESTRUNUID') or uuid.uuid4().hex
    worker = int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw'))
    domain = 1 + (int(run, 16) + worker) % ROS_DOMAINS
    os.environ['ROS_DOMAIN_ID'] = str(domain)
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'


def find_data() -> Path | None:
    """Return the folder of real models, pictures and bags, or None where there is none."""
    named = os.environ.get('TEST_DATA')
    folder = Path(named) if named else REPOSITORY.parent / 'shared' / 'data'
    return folder if (folder / 'models').is_dir() else None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave slow files unread in the unit pass: their imports alone take seconds."""
    if collection_path.suffix != '.py' or 'not slow' not in config.option.markexpr:
        return None
    return True if SLOW_FILE.search(collection_path.read_text()) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Engines are of both kinds; a test that looks into the stand-in has engines of that alone."""
    if 'engines' in metafunc.fixturenames:
        kinds = ['stand-in', 'gpu'][: 1 if 'fake_cuda' in metafunc.fixturenames else 2]
        metafunc.parametrize('engines', kinds, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in folders that need ROS are marked so; without ROS they are skipped, and listed."""
    has_ros = importlib.util.find_spec('rclpy') is not None
    for item in items:
        if {'system', 'trt_interfaces'} & set(item.path.relative_to(REPOSITORY).parts):
            item.add_marker('ros')
        if item.get_closest_marker('ros'):
            reason = 'ROS 2 is not in this environment'
            item.add_marker(pytest.mark.skipif(not has_ros, reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say plainly what was not run, also when that is nothing."""
    reasons = collections.Counter(
        report.longrepr[2].removeprefix('Skipped: ')
        for report in terminalreporter.stats.get('skipped', [])
    )
    terminalreporter.section('not run')
    for reason, count in sorted(reasons.items()):
        terminalreporter.line(f'{count} tests: {reason}')
    deselected = len(terminalreporter.stats.get('deselected', []))
    if deselected:
        terminalreporter.line(f'{deselected} tests: left out by -m or -k')
    if not reasons and not deselected:
        terminalreporter.line('nothing: every test ran')


@pytest.fixture(scope='session')
def data() -> Path:
    folder = find_data()
    if folder is None:
        pytest.skip('test data not found: neither $TEST_DATA nor ../shared/data beside the project')
    return folder


@pytest.fixture(scope='session')
def repository() -> Path:
    return REPOSITORY


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Have this process, and those that it starts, find the stand-ins for TensorRT and CUDA.

    `fake_gpu('10.3.0', 'crash', gpu='8.7')` chooses the version, what its builder does, and the
    compute capability.
    """

    def forget() -> None:
        for name in [
            name for name in sys.modules if name.split('.')[0] in ('tensorrt', 'cuda', 'nvjpeg')
        ]:
            del sys.modules[name]
        if (runtime := sys.modules.get('trt_engine.cuda.runtime')) is not None:
            runtime.bindings.cache_clear()
            vars(runtime._thread).clear()

    def choose(version: str = STAND_IN, does: str = 'build', gpu: str = '8.7') -> None:
        metadata = tmp_path / 'fake_gpu' / version / f'tensorrt-{version}.dist-info' / 'METADATA'
        metadata.parent.mkdir(parents=True, exist_ok=True)
        metadata.write_text(f'Metadata-Version: 2.1\nName: tensorrt\nVersion: {version}\n')
        for folder in (FAKE_GPU, metadata.parents[1]):
            monkeypatch.syspath_prepend(str(folder))
            monkeypatch.setenv('PYTHONPATH', str(folder), prepend=os.pathsep)
        monkeypatch.setenv('FAKE_TENSORRT', f'{version} {does}')
        monkeypatch.setenv('FAKE_GPU', gpu)
        forget()

    yield choose
    forget()


@pytest.fixture
def fake_cuda(fake_gpu: Callable[..., None]) -> Iterator[ModuleType]:
    """Return the stand-in for the CUDA runtime, of a GPU that runs our kernels' very source.

    Afterwards nothing may be left in its memory, and nothing written outside of it.
    """
    if shutil.which(os.environ.get('CXX', 'g++')) is None:
        pytest.skip('no C++ compiler to run CUDA kernels with: neither g++ nor $CXX')
    fake_gpu()
    runtime = importlib.import_module('cuda.bindings.runtime')
    yield runtime
    assert runtime.audit() == []


@pytest.fixture(scope='session')
def nvjpeg_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the stand-in for nvJPEG is made, once."""
    return tmp_path_factory.mktemp('nvjpeg')


@pytest.fixture
def fake_nvjpeg(fake_cuda: ModuleType, nvjpeg_folder: Path) -> Iterator[object]:
    """Return the stand-in for nvJPEG: its `path`, and what it `will` say; nothing may be left."""
    module = importlib.import_module('nvjpeg')
    path = nvjpeg_folder / 'libnvjpeg.so.12'
    if not path.exists():
        module.make_library(os.environ.get('CXX', 'g++'), nvjpeg_folder)
    stand_in = module.NvJpeg(path, fake_cuda)
    yield stand_in
    assert stand_in.library.fake_handles() == 0, 'handles left'


class Device:
    """Memory of a GPU, or of what stands in for one, as tests look into it."""

    def write(self, pointer, content):
        self._copy(pointer, content.ctypes.data, content.nbytes, 'cudaMemcpyHostToDevice')

    def read(self, pointer, shape, dtype):
        import numpy as np

        content = np.empty(shape, dtype)
        self._copy(content.ctypes.data, pointer, content.nbytes, 'cudaMemcpyDeviceToHost')
        return content

    def _copy(self, to, source, size, kind):
        from trt_engine.cuda.runtime import bindings
        from trt_engine.cuda.runtime import call

        call('cudaMemcpy', to, source, size, getattr(bindings('cuda').cudaMemcpyKind, kind))


@pytest.fixture(params=['stand-in', 'gpu'])
def device(request: pytest.FixtureRequest) -> Device:
    """Have kernels run on the CPU, and where there is a GPU, there too."""
    if request.param == 'stand-in':
        request.getfixturevalue('fake_cuda')
        return Device()
    require_gpu()
    return Device()


def require_gpu() -> None:
    from trt_engine.cuda.runtime import call
    from trt_engine.errors import BackendUnavailableError

    try:
        call('cudaGetDevice')
    except BackendUnavailableError:
        pytest.skip('no GPU here')


class Engines:
    """Engines of the stand-in for TensorRT, or of TensorRT itself for the GPU that is here.

    Attributes:
        real: Whether they are TensorRT's.
    """

    def __init__(self, version: str, folder: Path, built: dict[tuple[object, ...], bytes]) -> None:
        self.real = version != STAND_IN
        self._version = version
        self._folder = folder
        self._built = built  # real ones take seconds each, and tests share models

    def build(self, model: Path, profiles: tuple[object, ...] = ()) -> Path:
        from trt_builder.settings import Resolved
        from trt_builder.tensorrt_build import build

        numbers = tuple(int(part) for part in self._version.split('.')[:3])
        resolved = Resolved(
            'tensorrt', numbers, 'fp32', strongly_typed=numbers >= (11,), profiles=profiles,
            cleared=('TF32',), optimization_level=0, tactic_sources=(),
        )  # fmt: skip
        key = (self._version, model.read_bytes(), repr(profiles))
        if key not in self._built:
            output = build(resolved, model, report=lambda *_: None, log=lambda *_: None)
            self._built[key] = output.plan
        path = self._folder / f'{model.stem}.plan'
        path.write_bytes(self._built[key])
        return path

    def golden(self, model: Path, plan: Path):
        """Return what gives the very outputs of an engine, for the CPU's path."""
        from trt_engine.backends import open_backend

        return open_backend('tensorrt', plan) if self.real else open_backend('onnxruntime', model)


@pytest.fixture(scope='session')
def built() -> dict[tuple[object, ...], bytes]:
    """Return the engines so far."""
    return {}


@pytest.fixture
def engines(
    request: pytest.FixtureRequest, tmp_path: Path, built: dict[tuple[object, ...], bytes]
) -> Engines:
    """Have engines of the stand-in, and where there are TensorRT and a GPU, of these too."""
    if request.param == 'stand-in':
        request.getfixturevalue('fake_cuda')
        return Engines(STAND_IN, tmp_path, built)
    require_gpu()
    library = pytest.importorskip('tensorrt', reason='no TensorRT here')
    return Engines(library.__version__, tmp_path, built)
