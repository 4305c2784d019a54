# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the watcher says about a stream."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from trt_engine.errors import ConfigError
from trt_inference.watch.summary import Summary
from trt_inference.watch.video_file import fit
from trt_inference.watch.video_file import VideoFile


class Clock:
    def __init__(self):
        self.now_s = 50.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def summary(clock):
    return Summary(clock)


def test_before_the_first_frame(summary, clock):
    assert summary.line() == 'frames 0  - fps  p50 - ms  p99 - ms  no detections'
    assert summary.report() == 'no frames'
    clock.now_s += 7.0
    assert summary.idle_s == 7.0


def test_one_frame_has_no_rate(summary):
    summary.add_frame(['dog'])
    assert summary.report() == (
        '1 frames in 0.0 s, - fps, p50 - ms, p99 - ms, 0 dropped, 0 errors\n'
        'detections in all frames: dog 1'
    )


def test_a_stream(summary, clock):
    for index in range(61):
        summary.add_frame(['cone', 'ball', 'cone'] if index < 60 else ['ball'])
        summary.add_stats(10.0 if index else 20.0, dropped=2, errors=0, backend='onnxruntime')
        clock.now_s += 0.1
    assert summary.line() == 'frames 61  9.5 fps  p50 10.0 ms  p99 14.0 ms  dropped 2  ball 1'
    assert summary.report() == (
        '61 frames in 6.0 s, 10.0 fps, p50 10.0 ms, p99 14.0 ms, 2 dropped, 0 errors on '
        'onnxruntime\ndetections in all frames: cone 120, ball 61'
    )
    clock.now_s += 3.0
    assert summary.idle_s == pytest.approx(3.1)


def test_classes_are_listed_by_count_then_name(summary):
    summary.add_frame(['b', 'c', 'a', 'c'])
    assert summary.line().endswith('c 2, a 1, b 1')


def test_errors_show_and_an_unknown_latency_does_not_count(summary):
    summary.add_frame([])
    summary.add_stats(float('nan'), dropped=0, errors=4, backend='')
    assert summary.line() == 'frames 1  - fps  p50 - ms  p99 - ms  errors 4  no detections'


def test_fit_keeps_the_shape_of_the_picture():
    fitted = fit(np.full((10, 40, 3), 200, np.uint8), (80, 60))
    assert fitted.shape == (60, 80, 3)
    assert (fitted[20:40] == 200).all()
    assert (fitted[:20] == 0).all()
    assert (fitted[40:] == 0).all()
    same = np.zeros((60, 80, 3), np.uint8)[:, :, ::-1]
    assert fit(same, (80, 60)).flags.c_contiguous


def test_video_takes_frames_of_several_sizes(tmp_path):
    video = VideoFile(tmp_path / 'overlay', 10.0)
    for shape in ((48, 64, 3), (64, 48, 3), (48, 64, 3)):
        video.write(np.full(shape, 128, np.uint8))
    video.close()
    video.close()
    assert video.path == tmp_path / 'overlay.mp4'
    capture = cv2.VideoCapture(str(video.path))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert capture.get(cv2.CAP_PROP_FPS) == 10.0
    assert capture.read()[1].shape == (48, 64, 3)


def test_video_without_frames_is_no_file(tmp_path):
    video = VideoFile(tmp_path / 'overlay', 10.0)
    video.close()
    assert video.path is None
    assert not list(tmp_path.iterdir())


def test_video_that_cannot_be_written(tmp_path):
    video = VideoFile(tmp_path / 'missing' / 'overlay', 10.0)
    with pytest.raises(ConfigError, match='can write neither mp4 nor avi there'):
        video.write(np.zeros((48, 64, 3), np.uint8))
