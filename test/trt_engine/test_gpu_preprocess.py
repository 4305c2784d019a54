# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The preprocessing kernel, run on the CPU, makes the same tensor as OpenCV, bit by bit."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest

from trt_engine.card import ImageInput
from trt_engine.card import Resize
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.memory import Pool
from trt_engine.cuda.preprocess import _taps
from trt_engine.cuda.preprocess import FramePlan
from trt_engine.cuda.runtime import Stream
from trt_engine.encodings import ENCODINGS
from trt_engine.errors import ImageError
from trt_engine.preprocess import Preprocessor

pytestmark = pytest.mark.slow  # compiles the kernel for the CPU, once for each format

RESIZES = (Resize('stretch'), Resize('letterbox', 'center'), Resize('letterbox', 'top_left'))


@pytest.fixture
def gpu(device, tmp_path):
    """Return kernels, memory and a stream."""
    kernels, pool, stream = Kernels(tmp_path / 'cubins'), Pool(), Stream()
    memory = Lease(pool)
    yield kernels, memory, stream
    memory.close()
    for each in (kernels, pool, stream):
        each.close()


@pytest.fixture
def fill(gpu, device):
    """Return a function that gives the network input that the kernel makes, and its geometry."""
    kernels, memory, stream = gpu

    def run(spec: ImageInput, pixels: np.ndarray, encoding: str):
        shape = (1, 3, spec.height, spec.width)
        shape = shape if spec.layout == 'nchw' else (1, spec.height, spec.width, 3)
        size = int(np.prod(shape)) * np.dtype(spec.dtype).itemsize
        tensor = memory.take('device', size).address
        try:
            plan = FramePlan(kernels, memory, stream, spec, tensor, pixels, encoding)
            plan.stage(pixels)
            plan.upload(stream)
            plan.convert(stream)
            stream.synchronize()
            return device.read(tensor, shape, np.dtype(spec.dtype)), plan.geometry
        finally:
            memory.close()

    return run


def picture(encoding: str, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    about = ENCODINGS[encoding]
    shape = (about.rows(height), width, about.channels)[: 2 if about.channels == 1 else 3]
    order = rng.choice(['<', '>'])
    return rng.integers(0, 256**about.sample_bytes, shape).astype(f'{order}u{about.sample_bytes}')


def spec_of(rng: np.random.Generator) -> ImageInput:
    dtype = str(rng.choice(['float32', 'float16', 'uint8']))
    floats = {'scale': 1 / 255, 'mean': (0.1, 0.2, 0.3), 'std': (0.5, 0.6, 0.7)}
    return ImageInput(
        'images', int(rng.integers(1, 90)), int(rng.integers(1, 90)),
        str(rng.choice(['rgb', 'bgr'])), RESIZES[rng.integers(3)],
        layout=str(rng.choice(['nchw', 'nhwc'])), dtype=dtype,
        **({} if dtype == 'uint8' else floats),
    )  # fmt: skip


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_any_geometry_gives_the_bits_of_the_cpu_path(fill, encoding):
    rng = np.random.default_rng(len(encoding))
    for _ in range(40):
        width, height = (int(size) for size in rng.integers(3, 120, 2))
        spec, pixels = spec_of(rng), picture(encoding, width, height, rng)
        wanted = Preprocessor(spec)
        geometry = wanted(pixels, encoding)
        if ENCODINGS[encoding].sample_bytes == 2 and geometry.scale_x == geometry.scale_y == 0.5:
            continue  # OpenCV rounds another way: the next test

        made, placed = fill(spec, pixels, encoding)

        about = f'{encoding} {width}x{height} to {spec}'
        assert placed == geometry, about
        np.testing.assert_array_equal(made, wanted.tensor, err_msg=about)


def test_sixteen_bits_at_exactly_half_the_size_differ_by_one_level_at_most(fill):
    rng = np.random.default_rng(5)
    spec = ImageInput('images', 40, 30, 'rgb', Resize('stretch'), dtype='uint8')
    pixels = picture('mono16', 80, 60, rng)
    wanted = Preprocessor(spec)
    wanted(pixels, 'mono16')
    made = fill(spec, pixels, 'mono16')[0].astype(int)
    assert np.abs(made - wanted.tensor).max() == 1


@pytest.mark.parametrize('encoding', ['bgr8', 'nv12', 'bayer_rggb8'])
def test_a_camera_frame_gives_the_bits_of_the_cpu_path(fill, encoding):
    rng = np.random.default_rng(1)
    spec = ImageInput('images', 416, 416, 'bgr', Resize('letterbox', 'top_left'))
    pixels = picture(encoding, 1920, 1080, rng)
    wanted = Preprocessor(spec)
    wanted(pixels, encoding)
    np.testing.assert_array_equal(fill(spec, pixels, encoding)[0], wanted.tensor)


@pytest.mark.parametrize(
    ('encoding', 'width', 'height', 'share'),
    [
        ('bgr8', 1920, 1080, 468 / 1080),
        ('uyvy', 1920, 1080, 468 / 1080),
        ('mono16', 1920, 1080, 468 / 1080),
        ('nv12', 1920, 1080, None),  # in pairs of rows, with their colours
        ('bayer_rggb8', 1920, 1080, 1),
        ('bgr8', 640, 480, 1),
    ],
)
def test_of_a_large_image_the_rows_that_are_read_are_brought_alone(
    gpu, encoding, width, height, share
):
    kernels, memory, stream = gpu
    spec = ImageInput('images', 416, 416, 'bgr', Resize('letterbox', 'top_left'))
    tensor = memory.take('device', 3 * 416 * 416 * 4).address
    pixels = picture(encoding, width, height, np.random.default_rng(1))
    plan = FramePlan(kernels, memory, stream, spec, tensor, pixels, encoding)
    staged = plan.staged_bytes / pixels.nbytes
    assert staged == share if share else 0.6 < staged < 0.75


@pytest.mark.parametrize('dtype', [np.int64, np.int32])
def test_the_size_of_the_image_is_told_to_networks_that_ask(gpu, device, dtype):
    kernels, memory, stream = gpu
    spec = ImageInput('images', 32, 32, 'rgb', Resize('stretch'))
    tensor, size = (memory.take('device', nbytes).address for nbytes in (3 * 32 * 32 * 4, 16))
    device.write(size, np.full(4, 9, np.int32))
    pixels = picture('bgr8', 70, 40, np.random.default_rng(2))
    plan = FramePlan(
        kernels, memory, stream, spec, tensor, pixels, 'bgr8',
        size=size, size_bytes=np.dtype(dtype).itemsize,
    )  # fmt: skip
    plan.stage(pixels)
    plan.upload(stream)
    plan.convert(stream)
    stream.synchronize()
    assert device.read(size, (2,), dtype).tolist() == [70, 40]
    if dtype == np.int32:
        assert device.read(size, (4,), dtype).tolist() == [70, 40, 9, 9]


@pytest.mark.parametrize('encoding', ['bgr8', 'mono16', 'uyvy', 'nv12'])
def test_a_choice_of_rows_may_lie_any_distance_apart(fill, encoding):
    rng = np.random.default_rng(3)
    spec = ImageInput('images', 32, 32, 'rgb', Resize('stretch'))
    whole = picture(encoding, 200, 300, rng)
    pixels = whole[:, 4:104]
    tight, _ = fill(spec, pixels.copy(), encoding)
    np.testing.assert_array_equal(fill(spec, pixels, encoding)[0], tight)


def test_rows_with_gaps_between_them_are_staged_without_a_copy_of_the_image(gpu):
    kernels, memory, stream = gpu
    spec = ImageInput('images', 416, 416, 'bgr', Resize('letterbox', 'top_left'))
    tensor = memory.take('device', 3 * 416 * 416 * 4).address
    pixels = picture('bgr8', 1952, 1080, np.random.default_rng(1))[:, :1920]
    plan = FramePlan(kernels, memory, stream, spec, tensor, pixels, 'bgr8')
    tracemalloc.start()
    plan.stage(pixels)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 16


def test_rows_may_be_any_distance_apart(fill):
    rng = np.random.default_rng(2)
    spec = ImageInput('images', 32, 32, 'rgb', Resize('stretch'))
    whole = picture('bgr8', 70, 40, rng)
    pixels = whole[:, 3:61]
    tight, _ = fill(spec, pixels.copy(), 'bgr8')
    np.testing.assert_array_equal(fill(spec, pixels, 'bgr8')[0], tight)


def test_sampling_is_bilinear_within_one_level():
    """Holds OpenCV itself, and so the kernel that equals it, against exact arithmetic."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        height, width, rows, columns = (int(size) for size in rng.integers(2, 100, 4))
        pixels = rng.integers(0, 256, (height, width)).astype(np.uint8)
        wanted = pixels.astype(np.float64)
        for axis, size, fitted in ((0, height, rows), (1, width, columns)):
            place = np.clip((np.arange(fitted) + 0.5) * size / fitted - 0.5, 0, size - 1)
            low = np.floor(place).astype(int)
            part = np.expand_dims(place - low, 1 - axis)
            high = np.minimum(low + 1, size - 1)
            wanted = wanted.take(low, axis) * (1 - part) + wanted.take(high, axis) * part
        made = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_LINEAR)
        assert np.abs(made - wanted).max() < 1


def test_its_arithmetic_written_in_numpy_is_opencvs():
    """The one proof of the kernel where there is no compiler to run its source with."""
    rng = np.random.default_rng(6)
    for _ in range(40):
        height, width, rows, columns = (int(size) for size in rng.integers(1, 150, 4))
        pixels = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        across = _taps(width, columns, at_edges_alone=True)[:, :, None]
        down = _taps(height, rows, at_edges_alone=False)[:, :, None, None]
        mixed = (
            pixels[:, across[:, 0, 0]] * across[:, 2] + pixels[:, across[:, 1, 0]] * across[:, 3]
        )
        low, high = mixed[down[:, 0, 0, 0]], mixed[down[:, 1, 0, 0]]
        made = (((low >> 4) * down[:, 2] >> 16) + ((high >> 4) * down[:, 3] >> 16) + 2) >> 2
        wanted = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_array_equal(made, wanted)


@pytest.mark.parametrize('order', ['forward', 'reversed'])
def test_threads_may_run_in_any_order(fill, monkeypatch, order):
    monkeypatch.setenv('FAKE_GPU_ORDER', order)
    rng = np.random.default_rng(4)
    spec = ImageInput('images', 40, 30, 'rgb', Resize('letterbox'))
    pixels = picture('uyvy', 64, 48, rng)
    wanted = Preprocessor(spec)
    wanted(pixels, 'uyvy')
    np.testing.assert_array_equal(fill(spec, pixels, 'uyvy')[0], wanted.tensor)


def test_a_bayer_image_without_inner_pixels_is_refused(fill):
    spec = ImageInput('images', 8, 8, 'rgb', Resize('stretch'))
    with pytest.raises(ImageError, match=r'bayer_rggb8 of 2x9 is too small.* at least 3x3'):
        fill(spec, np.zeros((9, 2), np.uint8), 'bayer_rggb8')


def test_pixels_that_are_not_what_they_say_are_refused(fill):
    spec = ImageInput('images', 8, 8, 'rgb', Resize('stretch'))
    with pytest.raises(ImageError, match=r'wanted uint8 of shape \(height, width, 3\)'):
        fill(spec, np.zeros((9, 9), np.uint8), 'bgr8')
