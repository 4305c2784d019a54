# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What looks at images: on the GPU where it can, else on the CPU, and it says why."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest

from trt_builder.settings import Resolved
from trt_builder.tensorrt_build import build
from trt_engine.backends import open_backend
from trt_engine.card import load_card
from trt_engine.cuda import nvjpeg
from trt_engine.cuda import nvrtc
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import ConfigError
from trt_engine.errors import InferenceError
from trt_engine.model_file import resolve_model
from trt_inference.camera import gpu_pipeline
from trt_inference.camera.budget import CameraBudget
from trt_inference.camera.decoders.yolox import YoloxDecoder
from trt_inference.camera.gpu_pipeline import GpuDetector
from trt_inference.camera.image_view import view_image
from trt_inference.camera.loading import GpuOptions
from trt_inference.camera.loading import Loaded
from trt_inference.camera.pipeline import Detector
from trt_inference.cdr import serialize_image

pytestmark = pytest.mark.slow  # compiles kernels for the CPU

SIDES = ('device', 'host')


@pytest.fixture
def card():
    return load_card('demo')


@pytest.fixture
def engine(fake_cuda, card, tmp_path, monkeypatch):
    """Return a function that opens an engine of the demo network, made by the stand-in."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))

    def open_engine(does: str = 'build'):
        monkeypatch.setenv('FAKE_TENSORRT', f'10.3.0 {does}')
        resolved = Resolved('tensorrt', (10, 3, 0), 'fp32', strongly_typed=False)
        output = build(
            resolved, resolve_model(card), report=lambda *_: None, log=lambda *_: None
        )  # fmt: skip
        plan = tmp_path / 'engine.plan'
        plan.write_bytes(output.plan)
        return open_backend('tensorrt', plan)

    return open_engine


@pytest.fixture
def picture(repository) -> np.ndarray:
    return cv2.imread(str(repository / 'docs' / 'scene.jpg'))


def test_an_engine_has_everything_on_the_gpu(engine, card, picture):
    loaded = Loaded(card, engine())
    try:
        assert isinstance(loaded.detector, GpuDetector)
        assert str(loaded) == loaded.pipeline == 'gpu'
        found = loaded.detector(picture, 'bgr8')
    finally:
        loaded.close()
    reference = Detector(card, open_backend('onnxruntime', resolve_model(card)))
    wanted = reference(picture, 'bgr8')
    assert len(wanted)
    np.testing.assert_allclose(found.boxes, wanted.boxes, atol=1e-2)


@pytest.mark.parametrize('mapped', [False, True])
def test_what_the_trial_took_is_free_again_and_the_budget_is_what_is_reserved(
    engine, card, picture, mapped
):
    loaded = Loaded(card, engine(), options=GpuOptions(mapped=mapped))
    detector = loaded.detector
    try:
        assert not any(detector._pool.reserved_bytes.values())
        memory = CameraBudget(card, detector, ('front',))
        view = view_image(serialize_image(1, 'camera', picture))
        memory.look_at('front', view, lambda budget: None)
        for finish in [detector.begin([(picture, 'bgr8')]) for _ in range(2)]:
            finish()
        reserved = detector._pool.reserved_bytes
        assert reserved['pinned' if mapped else 'mapped'] == 0
        parts = [p for p in memory.budget.parts if p.what in ('images', 'decoding', 'detections')]
        planned = {side: sum(p.nbytes for p in parts if p.side == side) for side in SIDES}
        assert planned == {
            'device': reserved['device'], 'host': reserved['pinned'] + reserved['mapped'],
        }  # fmt: skip
    finally:
        loaded.close()


def test_the_user_may_have_it_on_the_cpu(engine, card, picture):
    loaded = Loaded(card, engine(), pipeline='cpu')
    try:
        assert isinstance(loaded.detector, Detector)
        assert str(loaded) == 'cpu'
        assert len(loaded.detector(picture, 'bgr8'))
    finally:
        loaded.close()


def test_without_nvrtc_the_cpu_does_it_and_that_is_said(engine, card, picture, monkeypatch):
    def missing():
        raise BackendUnavailableError('NVRTC, which compiles our kernels, is not found')

    monkeypatch.setattr(nvrtc, 'nvrtc_version', missing)
    loaded = Loaded(card, engine())
    try:
        assert str(loaded) == (
            'cpu: images are prepared and outputs decoded on the CPU: NVRTC, which compiles our '
            'kernels, is not found'
        )
        assert len(loaded.detector(picture, 'bgr8'))
    finally:
        loaded.close()
    with pytest.raises(BackendUnavailableError, match='NVRTC'):
        Loaded(card, engine(), pipeline='gpu')


def test_a_head_without_a_decoder_for_the_gpu_is_decoded_on_the_cpu(
    engine, card, picture, monkeypatch
):
    monkeypatch.setattr(gpu_pipeline, 'open_decoder', lambda card: partial(YoloxDecoder(card)))
    loaded = Loaded(card, engine())
    try:
        assert loaded.pipeline == 'cpu'
        assert 'the decoder of head.type yolox has no readouts' in loaded.remark
        assert len(loaded.detector(picture, 'bgr8'))
    finally:
        loaded.close()


def test_a_network_that_cannot_be_recorded_is_said_too(engine, card):
    loaded = Loaded(card, engine('loop'))
    loaded.close()
    assert str(loaded).startswith('gpu: no CUDA graph of this network')


def test_that_images_of_one_size_cannot_be_recorded_is_said_when_they_come(
    engine, card, picture, fake_cuda, monkeypatch
):
    loaded = Loaded(card, engine())
    try:
        assert str(loaded) == 'gpu'
        failure = fake_cuda.cudaError_t.cudaErrorMemoryAllocation
        monkeypatch.setattr(fake_cuda, 'cudaGraphInstantiate', lambda *_: (failure, None))
        assert len(loaded.detector(picture, 'bgr8'))
        assert str(loaded).startswith('gpu: no CUDA graph of this network')
    finally:
        loaded.close()


def test_what_the_cpu_cannot_mend_is_an_error_and_leaves_nothing(engine, card, fake_cuda):
    backend = engine()
    other = replace(card, input=replace(card.input, width=96))
    with pytest.raises(InferenceError, match='got'):
        Loaded(other, backend)
    assert fake_cuda.audit() == []


def test_onnx_runtime_has_no_pipeline_on_the_gpu(card):
    with pytest.raises(ConfigError, match='pipeline is gpu, and onnxruntime runs the network'):
        Loaded(card, open_backend('onnxruntime', resolve_model(card)), pipeline='gpu')


@pytest.mark.parametrize(
    ('wanted', 'there', 'text'),
    [
        ('auto', True, 'gpu, JPEG by nvJPEG'),
        ('nvjpeg', True, 'gpu, JPEG by nvJPEG'),
        ('auto', False, 'gpu'),
        ('opencv', True, 'gpu'),
    ],
)
def test_jpegs_are_decoded_by_nvjpeg_where_it_is(
    engine, card, picture, fake_nvjpeg, monkeypatch, wanted, there, text
):
    found = [str(fake_nvjpeg.path)] if there else []
    monkeypatch.setattr(nvjpeg, '_find_libraries', lambda: iter(found))
    loaded = Loaded(card, engine(), options=GpuOptions(jpeg=wanted))
    try:
        assert str(loaded) == text
        assert loaded.detector.takes_jpeg == ('JPEG' in text)
        assert len(loaded.detector(picture, 'bgr8'))
    finally:
        loaded.close()


def test_nvjpeg_that_is_asked_for_and_not_there_is_an_error(engine, card, monkeypatch):
    monkeypatch.setattr(nvjpeg, '_find_libraries', lambda: iter(()))
    with pytest.raises(BackendUnavailableError, match='pip install nvidia-nvjpeg'):
        Loaded(card, engine(), options=GpuOptions(jpeg='nvjpeg'))
