# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Image messages are read in place as their bytes say, or refused with the numbers."""

from __future__ import annotations

from contextlib import suppress
import random
import struct
import warnings

import cv2
from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies as st
import numpy as np
import pytest
from rosbags.typesys import get_typestore
from rosbags.typesys import Stores

from trt_engine import picture
from trt_engine.card import ImageInput
from trt_engine.card import Resize
from trt_engine.encodings import ENCODINGS
from trt_engine.errors import ImageError
from trt_engine.preprocess import Preprocessor
from trt_inference.camera.image_view import view_compressed_image
from trt_inference.camera.image_view import view_image

STORE = get_typestore(Stores.ROS2_HUMBLE)
TYPES = STORE.types
PREPROCESS = Preprocessor(ImageInput('images', 32, 32, 'rgb', Resize('letterbox')))


def header(frame_id: str = 'camera_optical', sec: int = 12, nanosec: int = 345):
    stamp = TYPES['builtin_interfaces/msg/Time'](sec, nanosec)
    return TYPES['std_msgs/msg/Header'](stamp, frame_id)


def image(
    encoding: str = 'bgr8',
    width: int = 6,
    height: int = 4,
    *,
    padding: int = 0,
    little: bool = True,
    big_endian: int = 0,
    frame_id: str = 'camera_optical',
) -> bytes:
    """Return a message by a serializer that is not ours."""
    row = width * ENCODINGS[encoding].channels * ENCODINGS[encoding].sample_bytes
    step = row + padding
    data = np.arange(step * ENCODINGS[encoding].rows(height), dtype=np.uint32).astype(np.uint8)
    kind = 'sensor_msgs/msg/Image'
    message = TYPES[kind](header(frame_id), height, width, encoding, big_endian, step, data)
    return bytes(STORE.serialize_cdr(message, kind, little_endian=little))


def compressed(data: bytes, format: str = 'jpeg', *, little: bool = True) -> bytes:
    kind = 'sensor_msgs/msg/CompressedImage'
    message = TYPES[kind](header(), format, np.frombuffer(data, np.uint8))
    return bytes(STORE.serialize_cdr(message, kind, little_endian=little))


def encode(suffix: str, height: int = 20, width: int = 30) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.imencode(suffix, pixels)[1].tobytes()


def by_hand(**changes) -> bytes:
    """Return a little-endian message written field by field, each of which may lie."""
    fields = {
        'height': 2,
        'width': 3,
        'encoding': b'mono8\0',
        'step': 4,
        'data': bytes(8),
    } | changes
    fields.setdefault('length', len(fields['data']))
    out = bytearray(struct.pack('<iII', 1, 2, 2) + b'c\0')
    out += bytes(-len(out) % 4)
    out += struct.pack('<II', fields['height'], fields['width'])
    out += struct.pack('<I', len(fields['encoding'])) + fields['encoding'] + b'\0'
    out += bytes(-len(out) % 4)
    out += struct.pack('<II', fields['step'], fields['length']) + fields['data']
    return b'\x00\x01\x00\x00' + bytes(out) + fields.get('after', b'')


@pytest.mark.parametrize('little', [True, False])
@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize('size', [(6, 4), (7, 5)])
@pytest.mark.parametrize('encoding', ENCODINGS)
def test_every_encoding_is_viewed_in_place(encoding, size, padding, little):
    width, height = size
    message = image(encoding, width, height, padding=padding, little=little)
    for serialized in (message, memoryview(message)):
        view = view_image(serialized)
        assert (view.stamp_sec, view.stamp_nanosec, view.frame_id) == (12, 345, 'camera_optical')
        assert (view.width, view.height, view.encoding) == (width, height, encoding)
        about = ENCODINGS[encoding]
        rows, row = about.rows(height), width * about.channels * about.sample_bytes
        assert view.step == row + padding
        assert view.pixels.shape[:2] == (rows, width)
        assert np.shares_memory(view.pixels, np.frombuffer(message, np.uint8))
        lines = np.arange(view.step * rows, dtype=np.uint32).astype(np.uint8)
        lines = lines.reshape(rows, view.step)[:, :row]
        assert view.pixels.tobytes() == lines.tobytes()
        PREPROCESS(view.pixels, view.encoding)


@pytest.mark.parametrize('little', [True, False])
@pytest.mark.parametrize('big_endian', [0, 1])
@pytest.mark.parametrize('encoding', ['mono16', '16UC1'])
def test_samples_have_their_own_byte_order(encoding, big_endian, little):
    view = view_image(image(encoding, 2, 1, big_endian=big_endian, little=little))
    assert view.pixels.tolist() == ([[0x0001, 0x0203]] if big_endian else [[0x0100, 0x0302]])


@pytest.mark.parametrize('frame_id', ['', 'a', 'ab', 'abc', 'abcd', 'kamera/\u00fcber'])
@pytest.mark.parametrize('little', [True, False])
def test_alignment_follows_the_frame_id(frame_id, little):
    view = view_image(image('mono8', 3, 2, frame_id=frame_id, little=little))
    assert view.frame_id == frame_id
    assert view.pixels.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_our_own_serializer_is_understood():
    from trt_inference.cdr import serialize_image

    pixels = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    view = view_image(serialize_image(5_000_000_007, 'cam', pixels))
    assert (view.stamp_sec, view.stamp_nanosec) == (5, 7)
    np.testing.assert_array_equal(view.pixels, pixels)


def test_plain_cdr2_and_padding_are_understood():
    message = by_hand()
    for identifier in (1, 7):
        view_image(bytes([0, identifier, 0, 0]) + message[4:])
    for count in range(4):
        view_image(by_hand(after=bytes(count)))


def test_text_without_a_terminator_may_be_empty():
    out = b'\x00\x01\x00\x00' + struct.pack('<iII', 1, 2, 0) + struct.pack('<I', 0)
    view = view_compressed_image(out + struct.pack('<I', 3) + b'abc')
    assert (view.frame_id, view.format, view.data.tobytes()) == ('', '', b'abc')


@pytest.mark.parametrize(
    ('message', 'text'),
    [
        (b'', 'has 0 bytes, not even an encapsulation of 4'),
        (b'\x00\x03\x00\x00' + bytes(90), 'has encapsulation 0x0003; supported: 0x0000'),
        (b'\x12\x01\x00\x00' + bytes(90), 'has encapsulation 0x1201'),
        (b'\x00\x01\x00\x00abc', 'of 7 bytes ends within header.stamp, which takes 8 bytes'),
        (by_hand()[:30], 'ends within'),
        (by_hand()[:-1], 'ends within data, which takes 8 bytes from byte'),
        (by_hand(after=bytes(4)), '4 bytes follow the 8 bytes of data; wanted at most 3'),
        (by_hand(height=0, length=0, data=b''), 'no pixels: width 3, height 0'),
        (by_hand(width=0), 'no pixels: width 0, height 2'),
        (by_hand(step=2), 'step 2 is too short: 3 pixels of mono8 take 3 bytes'),
        (by_hand(data=bytes(7)), r'step 4 \* height 2 = 8 bytes, got 7'),
        (
            by_hand(height=20, step=100, data=bytes(1990)),
            r'step 100 \* height 20 = 2000 bytes, got 1990',
        ),
        (
            by_hand(encoding=b'nv12\0'),
            r'step 4 \* 3 rows \(height 2, nv12\) = 12 bytes, got 8',
        ),
        (
            by_hand(height=2**32 - 1, width=2**32 - 1, step=2**32 - 1),
            r'= 18446744065119617025 bytes, got 8',
        ),
        (by_hand(width=2**31, step=2**31), r'step 2147483648 \* height 2 = 4294967296 bytes'),
        (by_hand(length=2**32 - 1), 'got 4294967295'),
        (by_hand(encoding=b'mono8'), 'encoding of 5 bytes does not end with a zero byte'),
        (by_hand(encoding=b'\xff\xfe\0'), 'encoding is not UTF-8 text'),
        (by_hand(encoding=b'32FC1\0'), "unsupported encoding '32FC1'; supported: rgb8, bgr8"),
        (by_hand(encoding=b'\0'), "unsupported encoding ''"),
    ],
)
def test_lies_are_refused_with_the_numbers(message, text):
    with pytest.raises(ImageError, match=text):
        view_image(message)


def test_every_truncation_is_refused():
    for whole, view in ((image(), view_image), (compressed(encode('.png')), view_compressed_image)):
        for length in range(len(whole)):
            with pytest.raises(ImageError):
                view(whole[:length])


@pytest.mark.parametrize('little', [True, False])
@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_compressed_pictures_are_decoded(suffix, little):
    data = encode(suffix)
    view = view_compressed_image(compressed(data, 'bgr8; jpeg compressed bgr8', little=little))
    assert (view.stamp_sec, view.frame_id) == (12, 'camera_optical')
    assert view.format == 'bgr8; jpeg compressed bgr8'
    assert view.data.tobytes() == data
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(view.decode(), expected)


@pytest.mark.parametrize('shape', [(20, 30), (20, 30, 4)])
@pytest.mark.parametrize('kind', [np.uint8, np.uint16])
def test_gray_deep_and_transparent_pictures_become_bgr8(shape, kind):
    data = cv2.imencode('.png', np.full(shape, 200, kind))[1].tobytes()
    pixels = view_compressed_image(compressed(data)).decode()
    assert (pixels.shape, pixels.dtype) == ((20, 30, 3), np.uint8)


def test_orientation_of_the_file_is_ignored():
    plain = encode('.jpg')
    exif = b'Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0'
    turned = plain[:2] + b'\xff\xe1' + struct.pack('>H', len(exif) + 2) + exif + plain[2:]
    assert picture.decode_picture(turned).shape == (20, 30, 3)
    np.testing.assert_array_equal(picture.decode_picture(turned), picture.decode_picture(plain))


def bomb_png(width: int, height: int) -> bytes:
    data = encode('.png')
    return data[:16] + struct.pack('>II', width, height) + data[24:]


def long_chunk() -> bytes:
    """Return a picture whose data declares 4 GB, which OpenCV would ask for."""
    data = bytearray(encode('.png'))
    start = data.index(b'IDAT') - 4
    data[start : start + 4] = b'\xff\xff\xff\xf0'
    return bytes(data)


def bomb_jpeg(width: int, height: int) -> bytes:
    data = bytearray(encode('.jpg'))
    frame = data.index(b'\xff\xc0')
    data[frame + 5 : frame + 9] = struct.pack('>HH', height, width)
    return bytes(data)


@pytest.mark.parametrize(
    ('data', 'text'),
    [
        (b'', 'nothing are neither a JPEG nor a PNG'),
        (b'GIF89a' + bytes(90), 'begin with 47 49 46 38 39 61 00 00 are neither a JPEG nor a PNG'),
        (encode('.bmp'), 'neither a JPEG nor a PNG'),
        (encode('.jpg')[:-40], 'a JPEG of .* cut short'),
        (encode('.png')[:-5], 'a PNG of .* cut short'),
        (long_chunk(), 'a PNG of .* cut short'),
        (b'\xff\xd8\xff\xd9', 'no whole frame and end'),
        (b'\xff\xd8' + b'\xff' * 99, 'no whole frame and end'),
        (bomb_png(60000, 60000), 'declares 60000x60000 pixels; wanted 1 to 67108864 pixels'),
        (bomb_jpeg(60000, 60000), 'declares 60000x60000 pixels; wanted 1 to 67108864 pixels'),
        (bomb_jpeg(0, 60000), 'declares 0x60000'),
        (bomb_png(31, 20), 'PNG of .* declares 31x20 pixels'),
    ],
)
def test_pictures_that_cannot_be_are_refused(data, text):
    view = view_compressed_image(compressed(data))
    with pytest.raises(ImageError, match=text):
        view.decode()


def test_depth_is_refused():
    view = view_compressed_image(compressed(bytes(12) + encode('.png'), '16UC1; compressedDepth'))
    with pytest.raises(ImageError, match="'16UC1; compressedDepth' is depth; wanted a colour"):
        view.decode()


IMAGES = [
    image(encoding, width, height, padding=padding, little=little)
    for encoding in ENCODINGS
    for width, height, padding, little in ((6, 4, 0, True), (7, 5, 3, False))
]
PICTURES = [
    compressed(encode(suffix, 8, 9), format, little=little)
    for suffix in ('.jpg', '.png')
    for format, little in (('jpeg', True), ('bgr8; png compressed bgr8', False))
]
NUMBERS = (0, 1, 2, 3, 4, 255, 65535, 2**31 - 1, 2**31, 2**32 - 4, 2**32 - 1)


def mutate(message: bytes, chance: random.Random) -> bytes:
    """Return the message with a few of: bytes flipped, numbers replaced, parts cut or repeated."""
    out = bytearray(message)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(out) + 1)
        match chance.randrange(6):
            case 0:
                del out[place:]
            case 1:
                out[place:place] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 9)))
            case 2 if len(out) >= 4:
                place = place // 4 * 4
                number = struct.pack(chance.choice('<>') + 'I', chance.choice(NUMBERS))
                out[place : place + 4] = number
            case 3 if place < len(out):
                out[place] ^= 1 << chance.randrange(8)
            case 4:
                # most fields lie within the first 100 bytes
                early = chance.randrange(min(len(out), 100) + 1)
                out[early : early + 1] = bytes([chance.randrange(256)])
            case _:
                out[place : place + chance.randint(1, 8)] = b''
    return bytes(out)


def survives(seed: int) -> None:
    chance = random.Random(seed)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with suppress(ImageError):
            view = view_image(mutate(chance.choice(IMAGES), chance))
            PREPROCESS(view.pixels, view.encoding)
        with suppress(ImageError):
            view_compressed_image(mutate(chance.choice(PICTURES), chance)).decode()


FUZZ = {'deadline': 5000, 'suppress_health_check': list(HealthCheck)}


@settings(max_examples=300, **FUZZ)
@given(st.integers(0, 2**32))
def test_mutated_messages_are_read_or_refused(seed):
    survives(seed)


@pytest.mark.slow
@settings(max_examples=20_000, **FUZZ)
@given(st.integers(0, 2**32))
def test_twenty_thousand_mutated_messages_are_read_or_refused(seed):
    survives(seed)


@settings(max_examples=200, **FUZZ)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    for view in (view_image, view_compressed_image):
        for message in (data, b'\x00\x01\x00\x00' + data):
            with suppress(ImageError):
                view(message)
