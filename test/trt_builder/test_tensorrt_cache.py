# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""TensorRT's calibration cache is read exactly, or refused with the line."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from trt_builder.int8.tensorrt_cache import parse_cache
from trt_builder.int8.tensorrt_cache import read_cache
from trt_engine.errors import CalibrationError

TEXT = """TRT-8602-EntropyCalibration2
images: 3c010a14
(Unnamed Layer* 3) [Convolution]_output: 3d000000
scope/sub:0: 00000000
"""


def test_scales_are_big_endian_floats():
    cache = parse_cache(TEXT, 'x.cache')

    assert (cache.version, cache.algorithm) == ('8602', 'EntropyCalibration2')
    assert list(cache.scales) == [
        'images',
        '(Unnamed Layer* 3) [Convolution]_output',
        'scope/sub:0',
    ]
    assert cache.scales['images'] == pytest.approx(1 / 127, rel=2e-3)
    assert cache.scales['(Unnamed Layer* 3) [Convolution]_output'] == 0.03125
    assert cache.scales['scope/sub:0'] == 0


def test_windows_line_ends_and_empty_lines_do_not_matter():
    assert parse_cache(TEXT.replace('\n', '\r\n') + '\n\n', '') == parse_cache(TEXT, '')


@given(
    st.dictionaries(
        st.text(st.characters(codec='ascii', categories=['L', 'N', 'P']), min_size=1),
        st.floats(0, 2.0**100, width=32),
        min_size=1,
    )
)
def test_every_scale_is_read_as_it_was_written(scales):
    lines = [f'{name}: {struct.pack(">f", scale).hex()}\n' for name, scale in scales.items()]

    assert parse_cache(''.join(['TRT-100300-MinMaxCalibration\n', *lines]), '').scales == {
        name: float(np.float32(scale)) for name, scale in scales.items()
    }


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'line 1 is '),
        ('images: 3c010a14\n', "line 1 is 'images: 3c010a14'; wanted the head"),
        ('TRT-8602-EntropyCalibration2\n', 'has no scales'),
        ('TRT-8602-Entropy\nimages 3c010a14\n', 'line 2 .* wanted a tensor, a colon'),
        ('TRT-8602-Entropy\nimages: 3c010a1\n', 'line 2'),
        ('TRT-8602-Entropy\nimages: 3c010a1g\n', 'line 2'),
        ('TRT-8602-Entropy\n: 3c010a14\n', 'line 2'),
        ('TRT-8602-Entropy\na: 3c010a14\n\na: 3c010a14\n', "line 4 gives 'a' a second scale"),
        ('TRT-8602-Entropy\na: 7fc00000\n', "gives 'a' the scale nan"),
        ('TRT-8602-Entropy\na: 7f800000\n', 'the scale inf'),
        ('TRT-8602-Entropy\na: bc010a14\n', 'not negative'),
    ],
)
def test_other_text_is_refused_with_the_line(text, message):
    with pytest.raises(CalibrationError, match=message):
        parse_cache(text, 'int8.cache')


@pytest.mark.parametrize(
    ('content', 'message'),
    [(None, 'cannot be read'), (b'\xff\xfe\x00', 'binary data'), (bytes(1 << 25), 'more than')],
)
def test_a_file_that_is_none_is_refused(tmp_path, content, message):
    path = tmp_path / 'int8.cache'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CalibrationError, match=message):
        read_cache(path)
