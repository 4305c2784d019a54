# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""JPEG onto the GPU, by the very calls that nvJPEG takes; a stand-in checks and answers them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
import ctypes
import ctypes.util
from pathlib import Path
import sys

import cv2
import numpy as np
import pytest

from trt_engine.card import ImageInput
from trt_engine.card import Resize
from trt_engine.cuda import nvjpeg
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Graph
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.memory import Pool
from trt_engine.cuda.nvjpeg import JpegDecoder
from trt_engine.cuda.preprocess import FramePlan
from trt_engine.cuda.runtime import Stream
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import ImageError
from trt_engine.errors import InferenceError
from trt_engine.picture import decode_picture
from trt_engine.preprocess import Preprocessor

pytestmark = pytest.mark.slow  # compiles

BAD_JPEG, NOT_SUPPORTED, ALLOCATOR_FAILURE, EXECUTION_FAILED, ARCH_MISMATCH = 3, 4, 5, 6, 7
INTERNAL_ERROR, IMPLEMENTATION_NOT_SUPPORTED, INCOMPLETE = 8, 9, 10


class Device:
    """Memory of the stand-in for a GPU."""

    def read(self, pointer: int, shape, dtype) -> np.ndarray:
        content = np.empty(shape, dtype)
        ctypes.memmove(content.ctypes.data, pointer, content.nbytes)
        return content


@pytest.fixture
def stream(fake_nvjpeg) -> Iterator[Stream]:
    stream = Stream()
    yield stream
    stream.close()


@pytest.fixture
def memory(fake_nvjpeg) -> Iterator[Lease]:
    pool = Pool()
    yield Lease(pool)
    pool.close()


@pytest.fixture
def decoder(fake_nvjpeg, stream, memory) -> Iterator[JpegDecoder]:
    decoder = JpegDecoder(libraries=[fake_nvjpeg.path])
    yield decoder
    decoder.close()


def picture(width: int = 50, height: int = 30, seed: int = 1) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def jpeg(pixels: np.ndarray | None = None, *options: int) -> bytes:
    done, data = cv2.imencode('.jpg', picture() if pixels is None else pixels, options)
    assert done
    return data.tobytes()


def decode_all(decoder: JpegDecoder, files, stream: Stream, memory: Lease) -> list[np.ndarray]:
    """Decode one after the other into memory of its own; return the pixels."""
    places = []
    for data in files:
        read = decoder.read(data)
        place = memory.take('device', int(np.prod(read.shape))).address
        places.append((place, read.shape))
        assert decoder.decode(read, place, stream)
    stream.synchronize()
    device = Device()
    return [device.read(place, shape, np.uint8) for place, shape in places]


@pytest.mark.parametrize('options', [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
def test_pixels_come_to_the_gpu_row_by_row_blue_first(decoder, stream, memory, options):
    files = [jpeg(picture(*size), *options) for size in ((50, 30), (1, 1), (7, 90), (640, 480))]
    for made, data in zip(decode_all(decoder, files, stream, memory), files, strict=True):
        np.testing.assert_array_equal(made, decode_picture(data))
    assert (decoder.decoded, decoder.declined) == (4, 0)


def test_a_picture_waits_for_the_one_before_and_no_earlier(decoder, stream, memory, fake_cuda):
    read = decoder.read(jpeg())
    place = memory.take('device', 30 * 50 * 3).address
    decoder.decode(read, place, stream)
    assert len(fake_cuda.streams[stream.handle]) == 1, 'the host does not wait for the GPU'
    decoder.decode(read, place, stream)
    assert len(fake_cuda.streams[stream.handle]) == 1, 'the first is done'


@pytest.mark.parametrize('resize', [Resize('stretch'), Resize('letterbox', 'top_left')])
def test_from_a_jpeg_to_the_network_input_without_the_pixels_crossing(
    decoder, stream, memory, fake_cuda, tmp_path, resize
):
    """The bits are those of the CPU path, and only tables are copied to the GPU."""
    spec = ImageInput('images', 20, 16, 'rgb', resize, scale=1 / 255)
    kernels = Kernels(tmp_path / 'cubins')
    tensor = memory.take('device', 3 * 20 * 16 * 4).address
    wanted = Preprocessor(spec)
    read = decoder.read(jpeg())
    like = np.empty(read.shape, np.uint8)
    plan = FramePlan(kernels, memory, stream, spec, tensor, like, 'bgr8', resident=True)
    assert plan.staged_bytes == 0
    stream.synchronize()
    graph = Graph(stream, lambda: plan.convert(stream))
    fake_cuda.calls.clear()
    for seed in range(3):
        data = jpeg(picture(seed=seed))
        decoder.decode(decoder.read(data), plan.pointer, stream)
        graph.launch(stream)
        stream.synchronize()

        assert plan.geometry == wanted(decode_picture(data), 'bgr8')
        made = Device().read(tensor, wanted.tensor.shape, wanted.tensor.dtype)
        np.testing.assert_array_equal(made, wanted.tensor)
    assert 'upload' not in fake_cuda.calls
    with pytest.raises(InferenceError, match="put on the GPU by others; put it at the plan's"):
        plan.stage(like)
    graph.close()
    kernels.close()


def twelve_bits(data: bytes) -> bytes:
    at = data.index(b'\xff\xc0') + 4
    return data[:at] + b'\x0c' + data[at + 1 :]


@pytest.mark.parametrize(
    'data',
    [
        cv2.imencode('.png', picture())[1].tobytes(),
        jpeg(picture()[:, :, 0]),
        twelve_bits(jpeg()),
    ],
    ids=['png', 'grey', '12 bits'],
)
def test_what_nvjpeg_does_not_take_is_left_to_opencv_and_counted(decoder, data):
    assert decoder.read(data) is None
    assert (decoder.decoded, decoder.declined) == (0, 1)


def test_a_header_that_two_read_differently_is_left_to_opencv(decoder):
    """Else more might be written than there is room for: here a second frame header is larger."""
    data = jpeg()
    begin = data.index(b'\xff\xc0')
    size = 2 + int.from_bytes(data[begin + 2 : begin + 4], 'big')
    frame = bytearray(data[begin : begin + size])
    frame[5:9] = (4).to_bytes(2, 'big') * 2
    assert decoder.read(data[: begin + size] + frame + data[begin + size :]) is None
    assert decoder.declined == 1


@pytest.mark.parametrize(
    ('data', 'text'),
    [
        (b'', 'neither a JPEG nor a PNG'),
        (b'GIF89a', 'neither a JPEG nor a PNG'),
        (jpeg()[:-2], 'it is cut short'),
        (jpeg().replace(b'\x00\x1e\x00\x32', b'\xff\xff\xff\xff', 1), '65535x65535 pixels; wanted'),
    ],
)
def test_what_is_no_whole_picture_never_gets_to_nvjpeg(decoder, fake_nvjpeg, data, text):
    fake_nvjpeg.will(decode=INTERNAL_ERROR)
    with pytest.raises(ImageError, match=text):
        decoder.read(data)
    assert decoder.declined == 0


@pytest.mark.parametrize(
    'status', [BAD_JPEG, NOT_SUPPORTED, IMPLEMENTATION_NOT_SUPPORTED, INCOMPLETE]
)
def test_a_picture_that_turns_out_to_be_none_for_nvjpeg_is_followed_by_the_next(
    decoder, fake_nvjpeg, stream, memory, status
):
    read = decoder.read(jpeg())
    place = memory.take('device', 30 * 50 * 3).address
    fake_nvjpeg.will(decode=status)
    assert not decoder.decode(read, place, stream)
    fake_nvjpeg.will()
    assert decoder.decode(read, place, stream)
    assert (decoder.decoded, decoder.declined) == (1, 1)


@pytest.mark.parametrize(
    ('status', 'text'),
    [
        (2, 'INVALID_PARAMETER'),
        (ALLOCATOR_FAILURE, 'ALLOCATOR_FAILURE; is there a GPU with memory to spare'),
        (EXECUTION_FAILED, 'EXECUTION_FAILED'),
        (INTERNAL_ERROR, 'INTERNAL_ERROR'),
        (99, 'status 99'),
    ],
)
def test_other_failures_are_not_the_pictures(decoder, fake_nvjpeg, stream, memory, status, text):
    fake_nvjpeg.will(decode=status)
    with pytest.raises(InferenceError, match=f'nvjpegDecode failed with {text}'):
        decoder.decode(decoder.read(jpeg()), memory.take('device', 4500).address, stream)


def test_an_older_nvjpeg_is_asked_without_what_it_does_not_know(fake_nvjpeg):
    for refused, flags in ((0, 32), (32, 0)):
        fake_nvjpeg.will(refuse_flags=refused)
        JpegDecoder(libraries=[fake_nvjpeg.path]).close()
        assert fake_nvjpeg.library.fake_flags() == flags


@pytest.mark.parametrize(('name', 'number'), nvjpeg.BACKENDS.items())
def test_a_backend_may_be_chosen(fake_nvjpeg, name, number):
    decoder = JpegDecoder(name, libraries=[fake_nvjpeg.path])
    assert fake_nvjpeg.library.fake_backend() == number
    decoder.close()
    decoder.close()


@pytest.mark.parametrize(
    ('status', 'text'),
    [
        (EXECUTION_FAILED, r'nvjpegCreateEx failed with EXECUTION_FAILED; is there a GPU'),
        (ARCH_MISMATCH, r'nvjpegCreateEx: this GPU has not what the backend needs'),
    ],
)
def test_without_a_gpu_for_it_nvjpeg_is_unavailable(fake_nvjpeg, status, text):
    fake_nvjpeg.will(create=status)
    with pytest.raises(BackendUnavailableError, match=rf'pip install nvidia-nvjpeg-cu12 .*{text}'):
        JpegDecoder('hardware', libraries=[fake_nvjpeg.path])


def test_the_first_library_that_works_is_taken_and_the_others_are_told(fake_nvjpeg, tmp_path):
    """Among them one of that name that is another library: Jetson Linux has such."""
    damaged = tmp_path / 'libnvjpeg.so.13'
    damaged.write_bytes(b'no library')
    others = [tmp_path / 'missing.so', damaged, ctypes.util.find_library('m')]
    decoder = JpegDecoder(libraries=[*others, fake_nvjpeg.path])
    assert decoder.library == str(fake_nvjpeg.path)
    decoder.close()

    with pytest.raises(BackendUnavailableError) as told:
        JpegDecoder(libraries=others)
    for text in ('missing.so: cannot open', 'file too short', 'it lacks nvjpegCreateEx'):
        assert text in str(told.value)


def test_wheels_come_before_the_toolkit(monkeypatch, tmp_path):
    for name in ('cu13/lib/libnvjpeg.so.13', 'nvjpeg/lib/libnvjpeg.so.12', 'nvjpeg/lib/else.so'):
        file = tmp_path / 'nvidia' / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('')
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])
    monkeypatch.delitem(sys.modules, 'nvidia', raising=False)
    found = list(nvjpeg._find_libraries())
    assert [Path(each).name for each in found[:2]] == ['libnvjpeg.so.13', 'libnvjpeg.so.12']
    assert found[2:] == [*nvjpeg._SONAMES, nvjpeg._TOOLKIT]


def test_the_real_nvjpeg_has_every_function(tmp_path):
    """Where one is installed; whether it runs depends on the GPU."""
    for library in nvjpeg._find_libraries():
        with suppress(OSError):
            assert nvjpeg._load(library).keys() == nvjpeg._FUNCTIONS.keys()
            return
    pytest.skip('no nvJPEG here')
