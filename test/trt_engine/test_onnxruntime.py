# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Networks on the CPU: right results, no memory made per run, errors that say what is wrong."""

from __future__ import annotations

from pathlib import Path
import tracemalloc

import numpy as np
import pytest

from trt_engine.backend import Array
from trt_engine.backends import open_backend
from trt_engine.errors import InferenceError
from trt_engine.errors import ModelLoadError

pytestmark = pytest.mark.slow

pytest.importorskip('onnxruntime')
onnx = pytest.importorskip('onnx')

FLOAT = onnx.TensorProto.FLOAT
INT64 = onnx.TensorProto.INT64


def write(path: Path, nodes: list, inputs: dict, outputs: dict) -> Path:
    def infos(shapes: dict) -> list:
        return [
            onnx.helper.make_tensor_value_info(name, kind, shape)
            for name, (kind, shape) in shapes.items()
        ]

    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(op, ins, outs) for op, ins, outs in nodes],
        'test',
        infos(inputs),
        infos(outputs),
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid('', 13)], ir_version=8
    )
    onnx.save(model, path)
    return path


@pytest.fixture
def fixed(tmp_path: Path) -> Path:
    shape = (FLOAT, [1, 3, 4, 4])
    return write(tmp_path / 'fixed.onnx', [('Relu', ['x'], ['y'])], {'x': shape}, {'y': shape})


@pytest.fixture
def image() -> Array:
    return np.random.default_rng(1).normal(size=(1, 3, 4, 4)).astype(np.float32)


def test_runs_and_keeps_its_output_array(fixed: Path, image: Array) -> None:
    backend = open_backend('onnxruntime', fixed, threads=1)
    assert [(t.name, t.mode, t.dtype.name, t.shape) for t in backend.tensors] == [
        ('x', 'input', 'float32', (1, 3, 4, 4)),
        ('y', 'output', 'float32', (1, 3, 4, 4)),
    ]
    first = backend.run({'x': image})['y']
    assert np.array_equal(first, np.maximum(image, 0))
    image[:] = 7
    assert backend.run({'x': image})['y'] is first
    assert (first == 7).all()
    other = np.full_like(image, 3)
    assert (backend.run({'x': other})['y'] == 3).all()
    assert (backend.run({'x': image})['y'] == 7).all()


def test_identity_names_library_device_threads_and_file(fixed: Path) -> None:
    assert 'CPU, 1 threads, fixed.onnx' in open_backend('onnxruntime', fixed, threads=1).identity
    assert 'all threads' in open_backend('onnxruntime', fixed).identity


def test_batch_becomes_one_beside_an_image(tmp_path: Path) -> None:
    path = write(
        tmp_path / 'batch.onnx',
        [('Relu', ['x'], ['y']), ('Identity', ['sizes'], ['z'])],
        {'x': (FLOAT, ['N', 3, 4, 4]), 'sizes': (INT64, ['M', 2])},
        {'y': (FLOAT, ['N', 3, 4, 4]), 'z': (INT64, ['M', 2])},
    )
    shapes = {t.name: t.shape for t in open_backend('onnxruntime', path).tensors}
    assert shapes == {'x': (1, 3, 4, 4), 'sizes': (1, 2), 'y': (1, 3, 4, 4), 'z': (1, 2)}


def test_outputs_may_change_their_shape(tmp_path: Path) -> None:
    path = write(
        tmp_path / 'points.onnx',
        [('NonZero', ['x'], ['found']), ('Relu', ['x'], ['y'])],
        {'x': (FLOAT, ['points', 8])},
        {'found': (INT64, [2, 'k']), 'y': (FLOAT, ['points', 8])},
    )
    backend = open_backend('onnxruntime', path)
    assert {t.name: t.shape for t in backend.tensors}['x'] == (-1, 8)
    for rows, count in ((1, 3), (1, 8), (2, 0), (3, 5)):
        x = np.zeros((rows, 8), np.float32)
        x[0, :count] = 1
        outputs = backend.run({'x': x})
        assert outputs['found'].tolist() == [[0] * count, list(range(count))]
        assert np.array_equal(outputs['y'], x)


@pytest.mark.parametrize(
    ('inputs', 'message'),
    [
        ({}, r"got the inputs \[\], wanted \['x'\]"),
        (
            {'x': np.zeros((1, 3, 4, 4), np.float32), 'w': np.zeros(1)},
            r"got the inputs \['w', 'x'\]",
        ),
        (
            {'x': np.zeros((1, 4, 4, 3), np.float32)},
            r'got float32\[1, 4, 4, 3\], wanted float32\[1, 3',
        ),
        ({'x': np.zeros((3, 4, 4), np.float32)}, r'got float32\[3, 4, 4\]'),
        ({'x': np.zeros((1, 3, 4, 4))}, r'got float64\[1, 3, 4, 4\], wanted float32'),
        ({'x': np.zeros((1, 3, 4, 8), np.float32)[..., ::2]}, "input 'x' is not contiguous"),
    ],
)
def test_wrong_inputs_are_named(
    fixed: Path, image: Array, inputs: dict[str, Array], message: str
) -> None:
    backend = open_backend('onnxruntime', fixed)
    with pytest.raises(InferenceError, match=message):
        backend.run(inputs)
    assert np.array_equal(backend.run({'x': image})['y'], np.maximum(image, 0))


def test_close_is_final_and_may_be_repeated(fixed: Path, image: Array) -> None:
    backend = open_backend('onnxruntime', fixed)
    backend.run({'x': image})
    backend.close()
    backend.close()
    with pytest.raises(InferenceError, match='run after close'):
        backend.run({'x': image})


@pytest.mark.parametrize('content', [b'', b'no network', None])
def test_damaged_files_are_refused(fixed: Path, content: bytes | None) -> None:
    fixed.write_bytes(fixed.read_bytes()[:-20] if content is None else content)
    with pytest.raises(ModelLoadError, match=r'fixed\.onnx: ONNX Runtime cannot load it') as error:
        open_backend('onnxruntime', fixed)
    assert error.value.__cause__ is not None


def test_absent_files_and_unknown_operators_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match='there is no such model file'):
        open_backend('onnxruntime', tmp_path / 'absent.onnx')
    shape = (FLOAT, [1, 2])
    path = write(tmp_path / 'odd.onnx', [('Odd', ['x'], ['y'])], {'x': shape}, {'y': shape})
    with pytest.raises(ModelLoadError, match='Odd'):
        open_backend('onnxruntime', path)


def test_a_failing_run_keeps_its_cause(tmp_path: Path) -> None:
    path = write(
        tmp_path / 'gather.onnx',
        [('Gather', ['x', 'i'], ['y'])],
        {'x': (FLOAT, [4]), 'i': (INT64, [1])},
        {'y': (FLOAT, [1])},
    )
    backend = open_backend('onnxruntime', path)
    with pytest.raises(InferenceError, match='the run failed') as error:
        backend.run({'x': np.zeros(4, np.float32), 'i': np.array([9])})
    assert error.value.__cause__ is not None


@pytest.mark.parametrize('name', ['yolox_nano_416', 'nanodet_m_416', 'deimv2_femto_coco'])
def test_real_networks_allocate_next_to_nothing(data: Path, name: str) -> None:
    backend = open_backend('onnxruntime', data / 'models' / f'{name}.onnx', threads=1)
    inputs = {t.name: np.full(t.shape, 64, t.dtype) for t in backend.tensors if t.mode == 'input'}
    for _ in range(2):
        backend.run(inputs)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        backend.run(inputs)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 4096
