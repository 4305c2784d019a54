# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Network inputs equal a plain reference, for every encoding, layout and odd size; at no cost."""

from __future__ import annotations

from contextlib import suppress
import tracemalloc

import cv2
import numpy as np
import pytest

from trt_engine.card import ImageInput
from trt_engine.card import Resize
from trt_engine.encodings import ENCODINGS
from trt_engine.errors import ImageError
from trt_engine.preprocess import Geometry
from trt_engine.preprocess import Preprocessor
from trt_engine.preprocess import to_bgr

STRETCH = Resize('stretch')
TOP_LEFT = Resize('letterbox', 'top_left')
CENTER = Resize('letterbox', 'center')
IMAGENET = {
    'scale': 1 / 255,
    'mean': (0.485, 0.456, 0.406),
    'std': (0.229, 0.224, 0.225),
}


def spec(resize: Resize = STRETCH, **changes) -> ImageInput:
    given = {'tensor': 'images', 'width': 64, 'height': 48, 'color': 'rgb', 'resize': resize}
    return ImageInput(**(given | changes))


def picture(height: int = 90, width: int = 160, channels: int = 3, seed: int = 7) -> np.ndarray:
    shape = (height, width, channels)[: 3 if channels > 1 else 2]
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, channels), np.uint8)
    return cv2.resize(small, (width, height)).reshape(shape)


def padded(pixels: np.ndarray, extra: int = 13) -> np.ndarray:
    """Return the same pixels, read-only, in rows with `extra` bytes of rubbish after each."""
    row = pixels[0].nbytes
    buffer = np.full((len(pixels), row + extra), 0xAB, np.uint8)
    buffer[:, :row] = np.ascontiguousarray(pixels).view(np.uint8).reshape(len(pixels), row)
    strides = (row + extra, *pixels.strides[1:])
    return np.ndarray(pixels.shape, pixels.dtype, buffer.tobytes(), 0, strides)


def reference(bgr: np.ndarray, to: ImageInput) -> np.ndarray:
    """Resize, then normalise in float64: what any textbook does, NCHW."""
    height, width = bgr.shape[:2]
    new_width, new_height, left, top = to.width, to.height, 0, 0
    if to.resize.mode == 'letterbox':
        ratio = min(to.width / width, to.height / height)
        if to.resize.anchor == 'top_left':
            new_width, new_height = int(width * ratio), int(height * ratio)
        else:
            new_width, new_height = round(width * ratio), round(height * ratio)
            left = round((to.width - new_width) / 2 - 0.1)
            top = round((to.height - new_height) / 2 - 0.1)
    canvas = np.full((to.height, to.width, 3), to.resize.pad, np.uint8)
    small = cv2.resize(bgr, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    canvas[top : top + new_height, left : left + new_width] = small
    ordered = canvas[..., ::-1] if to.color == 'rgb' else canvas
    values = (ordered.astype(np.float64) * to.scale - np.array(to.mean)) / np.array(to.std)
    return values.transpose(2, 0, 1)[None]


@pytest.mark.parametrize('layout', ['nchw', 'nhwc'])
@pytest.mark.parametrize('color', ['rgb', 'bgr'])
@pytest.mark.parametrize('resize', [STRETCH, TOP_LEFT, CENTER, Resize('letterbox', 'center', 0)])
@pytest.mark.parametrize('shape', [(90, 160), (160, 90), (48, 64), (31, 17), (333, 500)])
def test_normalised_input_is_the_reference(layout, color, resize, shape):
    wanted = spec(resize, color=color, layout=layout, **IMAGENET)
    preprocess = Preprocessor(wanted)
    bgr = picture(*shape)
    preprocess(padded(bgr), 'bgr8')
    tensor = preprocess.tensor if layout == 'nchw' else preprocess.tensor.transpose(0, 3, 1, 2)
    assert preprocess.tensor.flags.c_contiguous
    assert tensor.dtype == np.float32
    np.testing.assert_array_equal(tensor, reference(bgr, wanted).astype(np.float32))


@pytest.mark.parametrize('layout', ['nchw', 'nhwc'])
def test_half_precision_rounds_once(layout):
    wanted = spec(CENTER, dtype='float16', layout=layout, **IMAGENET)
    preprocess = Preprocessor(wanted)
    preprocess(picture(), 'bgr8')
    tensor = preprocess.tensor if layout == 'nchw' else preprocess.tensor.transpose(0, 3, 1, 2)
    assert tensor.dtype == np.float16
    np.testing.assert_array_equal(tensor, reference(picture(), wanted).astype(np.float16))


@pytest.mark.parametrize('layout', ['nchw', 'nhwc'])
def test_bytes_stay_bytes(layout):
    wanted = spec(TOP_LEFT, dtype='uint8', layout=layout, color='bgr')
    preprocess = Preprocessor(wanted)
    preprocess(picture(), 'bgr8')
    tensor = preprocess.tensor if layout == 'nchw' else preprocess.tensor.transpose(0, 3, 1, 2)
    assert tensor.dtype == np.uint8
    np.testing.assert_array_equal(tensor, reference(picture(), wanted).astype(np.uint8))


def encoded(encoding: str, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image in an encoding, and its bgr8 by other means than the suite's."""
    bgr = picture(height, width)
    gray = picture(height, width, 1)
    if encoding in ('bgr8', '8UC3'):
        return bgr, bgr
    if encoding == 'rgb8':
        return bgr[..., ::-1].copy(), bgr
    if encoding in ('bgra8', '8UC4', 'rgba8'):
        ordered = bgr[..., ::-1] if encoding == 'rgba8' else bgr
        return np.dstack((ordered, np.full((height, width), 99, np.uint8))), bgr
    if encoding in ('mono8', '8UC1'):
        return gray, np.dstack((gray, gray, gray))
    if encoding in ('mono16', '16UC1'):
        return gray.astype('<u2') * 256 + 200, np.dstack((gray, gray, gray))
    even_height, even_width = height - height % 2, width - width % 2
    noise = np.random.default_rng(3).integers(16, 236, (height * 2, width * 2), np.uint8)
    if encoding.startswith('bayer'):
        mosaic = np.empty((height, width), np.uint8)
        for place, letter in enumerate(encoding[6:10]):
            rows, columns = slice(place // 2, None, 2), slice(place % 2, None, 2)
            mosaic[rows, columns] = {'r': 200, 'g': 120, 'b': 40}[letter]
        return mosaic, np.full((height, width, 3), (40, 120, 200), np.uint8)
    if encoding in ('uyvy', 'yuv422', 'yuv422_yuy2'):
        pairs = noise[:height, :].reshape(height, width, 2).copy()
        code = cv2.COLOR_YUV2BGR_YUY2 if encoding == 'yuv422_yuy2' else cv2.COLOR_YUV2BGR_UYVY
        return pairs, cv2.cvtColor(np.ascontiguousarray(pairs[:, :even_width]), code)
    planes = noise[: height + (height + 1) // 2, :width]
    whole = np.vstack(
        (planes[:even_height, :even_width], planes[height : height + even_height // 2, :even_width])
    )
    code = cv2.COLOR_YUV2BGR_NV12 if encoding == 'nv12' else cv2.COLOR_YUV2BGR_NV21
    return planes, cv2.cvtColor(whole, code)


@pytest.mark.parametrize('size', [(90, 160), (91, 161), (6, 4)])
@pytest.mark.parametrize('encoding', ENCODINGS)
def test_every_encoding_gives_the_picture(encoding, size):
    pixels, bgr = encoded(encoding, *size)
    wanted = spec(TOP_LEFT, color='bgr')
    preprocess = Preprocessor(wanted)
    geometry = preprocess(padded(pixels), encoding)
    assert (geometry.image_height, geometry.image_width) == bgr.shape[:2]
    np.testing.assert_array_equal(preprocess.tensor, reference(bgr, wanted).astype(np.float32))
    np.testing.assert_array_equal(to_bgr(padded(pixels), encoding), bgr)


@pytest.mark.parametrize('order', ['<u2', '>u2'])
def test_sixteen_bits_keep_the_high_byte_in_either_byte_order(order):
    pixels = np.array([[0x00FF, 0x01FF], [0x7F00, 0xFFFF]], order)
    preprocess = Preprocessor(spec(width=2, height=2))
    preprocess(pixels, 'mono16')
    for plane in preprocess.tensor[0]:
        np.testing.assert_array_equal(plane, [[0, 1], [0x7F, 0xFF]])


@pytest.mark.parametrize(
    ('resize', 'size', 'geometry'),
    [
        (STRETCH, (160, 90), Geometry(160, 90, 64 / 160, 48 / 90, 0, 0)),
        (TOP_LEFT, (160, 90), Geometry(160, 90, 0.4, 0.4, 0, 0)),
        (CENTER, (160, 90), Geometry(160, 90, 0.4, 0.4, 0, 6)),
        (CENTER, (90, 160), Geometry(90, 160, 27 / 90, 0.3, 18, 0)),
        (TOP_LEFT, (100, 73), Geometry(100, 73, 0.64, 46 / 73, 0, 0)),
        (CENTER, (100, 73), Geometry(100, 73, 0.64, 47 / 73, 0, 0)),
        (TOP_LEFT, (10000, 1), Geometry(10000, 1, 0.0064, 1, 0, 0)),
        (CENTER, (1, 10000), Geometry(1, 10000, 1, 0.0048, 31, 0)),
    ],
)
def test_geometry_says_what_was_resized(resize, size, geometry):
    width, height = size
    assert Preprocessor(spec(resize))(np.zeros((height, width, 3), np.uint8), 'bgr8') == geometry


@pytest.mark.parametrize('resize', [STRETCH, TOP_LEFT, CENTER])
@pytest.mark.parametrize('size', [(2, 2), (1, 10000), (10000, 1), (2, 70000)])
@pytest.mark.parametrize('encoding', ['bgr8', 'mono8', 'mono16', 'bayer_rggb8', 'rgba8'])
def test_thin_and_tiny_images_do_no_harm(resize, size, encoding):
    channels = ENCODINGS[encoding].channels
    shape = (*size, channels) if channels > 1 else size
    kind = np.uint16 if encoding == 'mono16' else np.uint8
    preprocess = Preprocessor(spec(resize))
    preprocess(np.full(shape, 7, kind), encoding)
    assert np.isfinite(preprocess.tensor).all()


def test_a_single_pixel_is_resized_or_refused():
    preprocess = Preprocessor(spec())
    with suppress(ImageError):  # OpenCV 4.5 does not take it
        preprocess(np.full((1, 1, 3), 7, np.uint8), 'bgr8')
        assert (preprocess.tensor == 7).all()


def test_boxes_come_back_to_where_they_were():
    boxes = np.array([[10, 20, 110, 80], [0, 0, 160, 90]], np.float32)
    for resize in (STRETCH, TOP_LEFT, CENTER):
        g = Preprocessor(spec(resize))(picture(), 'bgr8')
        there = boxes * np.array([g.scale_x, g.scale_y] * 2) + np.array([g.pad_x, g.pad_y] * 2)
        there = there.astype(np.float32)
        back = g.boxes_to_image(there)
        assert back is there
        np.testing.assert_allclose(back, boxes, atol=1e-4)


def test_boxes_are_clipped_to_the_image():
    geometry = Geometry(160, 90, 0.4, 0.4, 0, 6)
    boxes = np.array([[-50, -50, 999, 999]], np.float32)
    np.testing.assert_array_equal(geometry.boxes_to_image(boxes), [[0, 0, 160, 90]])


def test_size_tensor_is_the_original_width_and_height():
    preprocess = Preprocessor(spec(size_tensor='orig_target_sizes'))
    sizes = preprocess.inputs['orig_target_sizes']
    preprocess(picture(), 'bgr8')
    assert sizes.dtype == np.int64
    assert sizes.tolist() == [[160, 90]]
    assert list(preprocess.inputs) == ['images', 'orig_target_sizes']
    assert preprocess.inputs['images'] is preprocess.tensor


def test_border_is_right_when_cameras_take_turns():
    wanted = spec(CENTER)
    preprocess = Preprocessor(wanted)
    shapes = [(90, 160), (160, 90), (48, 64)]
    for shape in shapes * 2 + [(20 + k, 90) for k in range(20)] + shapes:
        bgr = picture(*shape)
        preprocess(bgr, 'bgr8')
        expected = reference(bgr, wanted).astype(np.float32)
        np.testing.assert_array_equal(preprocess.tensor, expected)


@pytest.mark.parametrize('encoding', ENCODINGS)
@pytest.mark.parametrize('layout', ['nchw', 'nhwc'])
def test_second_frame_allocates_no_picture(encoding, layout):
    first = padded(encoded(encoding, 480, 640)[0])
    second = padded(encoded(encoding, 240, 320)[0])
    preprocess = Preprocessor(spec(CENTER, layout=layout, width=416, height=416))
    for pixels in (first, second):
        preprocess(pixels, encoding)
    peaks = []
    tracemalloc.start()
    try:
        for pixels in (first, second) * 3:
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            preprocess(pixels, encoding)
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    # other threads of this process may allocate meanwhile, but not each time
    assert min(peaks[::2]) < 8192
    assert min(peaks[1::2]) < 8192


@pytest.mark.parametrize(
    ('pixels', 'encoding', 'text'),
    [
        (np.zeros((4, 4, 3), np.uint8), 'hsv8', "unsupported encoding 'hsv8'; supported: rgb8"),
        (np.zeros((4, 4), np.uint8), 'bgr8', r'shape \(4, 4\); wanted uint8 of shape \(height, w'),
        (np.zeros((4, 4, 4), np.uint8), 'bgr8', r'\(height, width, 3\), not empty'),
        (np.zeros((4, 4, 3), np.float32), 'bgr8', 'pixels are float32'),
        (np.zeros((4, 4), np.uint8), 'mono16', 'wanted uint16'),
        (np.zeros((0, 4, 3), np.uint8), 'bgr8', 'not empty'),
        (np.zeros((4, 4), np.uint8), 'nv12', r'\(height \* 3/2, width\)'),
        (np.zeros((4, 1, 2), np.uint8), 'uyvy', 'uyvy of 1x4 has no whole colour sample'),
        (np.zeros((2, 4), np.uint8), 'nv21', 'nv21 of 4x1 has no whole colour sample'),
    ],
)
def test_wrong_arrays_are_refused(pixels, encoding, text):
    preprocess = Preprocessor(spec())
    with pytest.raises(ImageError, match=text):
        preprocess(pixels, encoding)
    with pytest.raises(ImageError, match=text):
        to_bgr(pixels, encoding)


def test_what_the_backend_takes_goes_before_what_the_card_says() -> None:
    given = spec(size_tensor='sizes', scale=1 / 255)
    plain = Preprocessor(given)
    plain(picture(), 'bgr8')
    taken = Preprocessor(given, {'images': np.dtype(np.float16), 'sizes': np.dtype(np.int32)})
    taken(picture(), 'bgr8')
    assert taken.inputs['images'].dtype == np.float16
    np.testing.assert_allclose(
        taken.inputs['images'].astype(np.float32), plain.inputs['images'], atol=1e-3
    )
    assert taken.inputs['sizes'].dtype == np.int32
    assert taken.inputs['sizes'].tolist() == plain.inputs['sizes'].tolist() == [[160, 90]]
