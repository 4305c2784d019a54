# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A CameraInfo becomes a camera, or a refusal that says what is wrong with it."""

from __future__ import annotations

from dataclasses import replace

import cv2
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import numpy as np
import pytest

from trt_engine.errors import FusionError
from trt_inference.fusion.box_projection import enclosing_boxes
from trt_inference.fusion.camera_model import Calibration
from trt_inference.fusion.camera_model import camera_model

K = (500.0, 0.0, 320.0, 0.0, 400.0, 240.0, 0.0, 0.0, 1.0)
P = (450.0, 0.0, 300.0, -45.0, 0.0, 450.0, 250.0, 0.0, 0.0, 0.0, 1.0, 0.0)
GOOD = Calibration(640, 480, 'plumb_bob', (), K, P)
BARREL = (-0.3, 0.1, 0.001, -0.002, -0.01)
RATIONAL = (6.0, 2.0, 0.0001, -0.0002, 0.1, 6.4, 3.5, 0.7)


def at(*points):
    return np.array(points, np.float64)


def test_points_are_where_the_hand_puts_them():
    camera = camera_model(GOOD)
    pixels = camera.project(at((0, 0, 5), (1, 0, 5), (0, -2, 4), (0.5, 0.5, 1)))
    assert pixels.tolist() == [[320, 240], [420, 240], [320, 40], [570, 440]]


def test_a_rectified_image_has_its_own_matrix_and_shift():
    camera = camera_model(replace(GOOD, d=BARREL), rectified=True)
    # of the right camera of a pair: 45 px at 1 m
    assert camera.project(at((0, 0, 1), (1, 1, 10))).tolist() == [[255, 250], [340.5, 295]]
    assert len(camera.distortion) == 0


def test_what_was_binned_or_cut_out_has_other_pixels():
    camera = camera_model(replace(GOOD, binning=(2, 4), roi=(20, 40, 600, 400)))
    assert (camera.width, camera.height) == (300, 100)
    # (420, 240) of the whole image, less the corner of the part, then binned
    assert camera.project(at((1, 0, 5))).tolist() == [[200, 50]]


@pytest.mark.parametrize(
    ('model', 'd'),
    [
        ('plumb_bob', BARREL),
        ('plumb_bob', BARREL[:4]),
        ('rational_polynomial', RATIONAL),
        ('rational_polynomial', (*RATIONAL, 0.001, 0.0, -0.001, 0.0)),
        ('rational_polynomial', (*RATIONAL, 0.001, 0.0, -0.001, 0.0, 0.01, 0.0)),
    ],
)
def test_distortion_is_that_of_opencv(model, d):
    camera = camera_model(replace(GOOD, model=model, d=d))
    chance = np.random.default_rng(3)
    points = chance.uniform((-0.6, -0.5, 1), (0.6, 0.5, 1), (100, 3)) * chance.uniform(1, 50)
    still = np.zeros(3)
    expected, _ = cv2.projectPoints(points, still, still, np.reshape(K, (3, 3)), np.array(d))
    np.testing.assert_allclose(camera.project(points), expected[:, 0], atol=1e-9)


@pytest.mark.parametrize(('model', 'd'), [('plumb_bob', BARREL), ('rational_polynomial', RATIONAL)])
def test_the_outline_holds_all_of_the_image_and_nothing_that_folds_back(model, d):
    camera = camera_model(replace(GOOD, model=model, d=d))
    reach = np.hypot(*camera.outline.T)
    assert np.ptp(reach) < 1e-9
    # outwards from the axis, until the image ends
    angles, radii = np.linspace(0, 2 * np.pi, 361), np.linspace(0, 2, 2001)
    x, y = np.cos(angles)[:, None] * radii, np.sin(angles)[:, None] * radii
    pixels = camera.project(np.stack([x, y, np.ones_like(x)], axis=-1))
    outside = ((pixels < -0.5) | (pixels > (639.5, 479.5))).any(axis=-1)
    assert outside.any(axis=1).all()
    ends = radii[outside.argmax(axis=1)]
    assert 0.8 * reach[0] < ends.max() < reach[0] * np.cos(np.pi / 16)
    along = np.linspace(0, reach[0], 200)[:, None] * at((1, 0, 0)) + at((0, 0, 1))
    assert (np.diff(camera.project(along)[:, 0]) > 0).all()


@pytest.mark.parametrize(
    ('changed', 'rectified', 'words'),
    [
        ({'width': 0}, False, 'an image of 0x480 pixels; wanted its size'),
        ({'k': (0.0,) * 9}, False, 'K of CameraInfo is all zeros, so the camera is not calibrated'),
        ({'p': (0.0,) * 12}, True, 'P of CameraInfo is all zeros'),
        ({'k': K[:6]}, False, 'K of CameraInfo has 6 numbers; wanted 9'),
        ({'p': ()}, True, 'P of CameraInfo has 0 numbers; wanted 12'),
        ({'k': (float('nan'), *K[1:])}, False, 'K of CameraInfo is [nan, 0.0, 320.0'),
        ({'k': (-500.0, *K[1:])}, False, 'wanted focal lengths above zero, and 0 0 1'),
        ({'k': (*K[:8], 2.0)}, False, 'wanted focal lengths above zero, and 0 0 1'),
        ({'k': (1e300, *K[1:])}, False, 'wanted focal lengths above zero'),
        ({'p': (*P[:11], 1.0)}, True, 'wanted focal lengths above zero, and 0 0 1'),
        ({'d': BARREL[:3]}, False, '3 coefficients of plumb_bob; wanted 4 or 5'),
        (
            {'d': BARREL, 'model': 'rational_polynomial'},
            False,
            '5 coefficients of rational_polynomial; wanted 8 or 12 or 14',
        ),
        (
            {'d': BARREL[:4], 'model': 'equidistant'},
            False,
            "the distortion model 'equidistant'; known are plumb_bob, rational_polynomial; with a",
        ),
        ({'d': (float('inf'), 0, 0, 0)}, False, 'D of CameraInfo is [inf, 0, 0, 0]; wanted coeff'),
        ({'d': (float('nan'), 0, 0, 0)}, False, 'D of CameraInfo is [nan, 0, 0, 0]; wanted coeff'),
        ({'d': (-1e6, 0.0, 0.0, 0.0)}, False, 'turns back in the very middle of the image'),
        ({'binning': (700, 1)}, False, 'an image without pixels: roi (0, 0, 0, 0), binning (700'),
    ],
)
def test_a_calibration_that_is_none_is_refused(changed, rectified, words):
    with pytest.raises(FusionError) as error:
        camera_model(replace(GOOD, **changed), rectified=rectified)
    assert words in str(error.value)


def test_distortion_that_is_all_zeros_needs_no_known_model():
    camera = camera_model(replace(GOOD, d=(0.0,) * 4, model='equidistant'))
    assert len(camera.distortion) == 0


NUMBERS = st.one_of(
    st.floats(), st.sampled_from([0.0, 1.0, -1.0, 500.0, 320.0, 1e-9, 1e6, -1e6, 1e308])
)
SIZES = st.integers(0, 2**32 - 1)


@settings(max_examples=500, deadline=None)
@given(
    width=SIZES,
    height=SIZES,
    model=st.sampled_from(['plumb_bob', 'rational_polynomial', 'equidistant', '']),
    d=st.lists(st.one_of(NUMBERS, st.floats(-1, 1)), max_size=15),
    k=st.one_of(st.just(K), st.lists(NUMBERS, max_size=10)),
    p=st.one_of(st.just(P), st.lists(NUMBERS, max_size=13)),
    binning=st.tuples(SIZES, SIZES),
    roi=st.one_of(st.just((0, 0, 0, 0)), st.tuples(SIZES, SIZES, SIZES, SIZES)),
    rectified=st.booleans(),
)
def test_whatever_a_camera_info_says_there_is_a_camera_or_a_reason(
    width, height, model, d, k, p, binning, roi, rectified
):
    calibration = Calibration(width, height, model, tuple(d), tuple(k), tuple(p), binning, roi)
    try:
        camera = camera_model(calibration, rectified=rectified)
    except FusionError:
        return
    corners = np.random.default_rng(0).uniform(-20, 20, (5, 8, 3))
    boxes = enclosing_boxes(corners, camera, 0.1)
    seen = boxes[~np.isnan(boxes[:, 0])]
    assert (seen[:, :2] < seen[:, 2:]).all()
    assert (seen >= -0.5).all()
    assert (seen <= np.array([camera.width, camera.height] * 2) - 0.5).all()
