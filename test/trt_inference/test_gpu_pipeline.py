# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Whole frames through stand-ins for TensorRT and CUDA that compute: the CPU path's detections."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import helper
from onnx import numpy_helper
from onnx import TensorProto
import onnxruntime
import pytest

from trt_engine.backends import open_backend
from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.build_settings import ShapeRange
from trt_engine.card import Card
from trt_engine.card import Head
from trt_engine.card import ImageInput
from trt_engine.card import load_card
from trt_engine.card import ModelSource
from trt_engine.card import Resize
from trt_engine.card import Thresholds
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Pool
from trt_engine.cuda.nvjpeg import JpegDecoder
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import DecodeError
from trt_engine.errors import ImageError
from trt_engine.errors import InferenceError
from trt_engine.picture import decode_picture
from trt_inference.camera.gpu_pipeline import GpuDetector
from trt_inference.camera.pipeline import Detector
from trt_inference.camera.pipeline import JPEG

pytestmark = pytest.mark.slow  # compiles kernels for the CPU

CARD = Card(
    name='fake',
    summary='A card for tests',
    model=ModelSource('fake.onnx', 'Apache-2.0'),
    input=ImageInput('images', 64, 48, 'rgb', Resize('letterbox'), scale=1 / 255),
    head=Head('yolo', {'predictions': ('output',)}, {'form': 'end_to_end'}),
    classes=('cone', 'ball', 'box'),
    thresholds=Thresholds(score=0.3, nms_iou=None),
)
RNG = np.random.default_rng(0)
FRAME = RNG.integers(0, 256, (80, 160, 3)).astype(np.uint8)
OTHER = RNG.integers(0, 256, (60, 50, 2)).astype(np.uint8)


def make_network(path: Path, batch: int | str = 1) -> Path:
    """Write a network whose three scores are the means of the image's channels."""
    boxes = np.array([[[0, 0, 32, 16, 0], [8, 8, 16, 30, 2], [4, 9, 60, 40, 1]]], np.float32)
    constants = {'boxes': boxes[..., :4], 'labels': boxes[..., 4:], 'shape': [-1, 3, 1]}
    constants['none'] = np.zeros((), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node('GlobalAveragePool', ['images'], ['mean']),
            helper.make_node('Reshape', ['mean', 'shape'], ['scores']),
            helper.make_node('Mul', ['scores', 'none'], ['zeros']),  # for each image of a batch
            helper.make_node('Add', ['zeros', 'boxes'], ['each_boxes']),
            helper.make_node('Add', ['zeros', 'labels'], ['each_labels']),
            helper.make_node('Concat', ['each_boxes', 'scores', 'each_labels'], ['output'], axis=2),
        ],
        'net',
        [helper.make_tensor_value_info('images', TensorProto.FLOAT, (batch, 3, 48, 64))],
        [helper.make_tensor_value_info('output', TensorProto.FLOAT, (batch, 3, 6))],
        [numpy_helper.from_array(np.asarray(each), name) for name, each in constants.items()],
    )
    opset = [helper.make_opsetid('', 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def profiles_of(model: Path) -> tuple[dict[str, ShapeRange], ...]:
    """Return a profile for one to four images, tuned for two, where their number varies."""
    ranges = {}
    for info in onnx.load(model, load_external_data=False).graph.input:
        dims = info.type.tensor_type.shape.dim
        if any(each.dim_param for each in dims):
            sizes = [tuple(each.dim_value or count for each in dims) for count in (1, 2, 4)]
            ranges[info.name] = ShapeRange(*sizes)
    return (ranges,) if ranges else ()


@pytest.fixture
def make_detector(engines, tmp_path, monkeypatch):
    """Return a function that makes a detector for a card and its network."""
    closing = []

    def make(card: Card = CARD, model: Path | None = None, does: str = 'build', **settings):
        model = model or make_network(tmp_path / 'net.onnx')
        monkeypatch.setenv('FAKE_TENSORRT', f'10.3.0 {does}')
        plan = engines.build(model, profiles_of(model))
        backend, golden = open_backend('tensorrt', plan), engines.golden(model, plan)
        closing.extend((backend, golden))
        pool, kernels = Pool(), Kernels(tmp_path / 'cubins')
        closing.extend((pool, kernels))
        detector = GpuDetector(card, backend, kernels=kernels, pool=pool, **settings)
        closing.append(detector)
        reference = Detector(card, golden)
        return detector, reference

    yield make
    for each in reversed(closing):
        each.close()


def same(found, wanted) -> None:
    assert len(found) == len(wanted)
    np.testing.assert_array_equal(found.classes, wanted.classes)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-6)
    np.testing.assert_allclose(found.boxes, wanted.boxes, atol=1e-2)


def test_a_frame_gives_the_detections_of_the_cpu_path(make_detector):
    detector, reference = make_detector()
    for _ in range(3):
        found = detector(FRAME, 'bgr8')
        assert len(found) == 3
        same(found, reference(FRAME, 'bgr8'))
    assert detector.no_graph == ''
    assert detector.copies_left_out == 0
    assert all(each >= 0 for each in detector.stages_ms.values())
    assert set(detector.stages_ms) == set(reference.stages_ms)


def test_frames_may_come_in_a_thread_that_never_called_cuda(make_detector):
    detector, reference = make_detector()
    with ThreadPoolExecutor(1) as worker:
        same(worker.submit(detector, FRAME, 'bgr8').result(), reference(FRAME, 'bgr8'))


def test_after_the_first_frame_one_launch_and_no_memory_is_all(make_detector, fake_cuda):
    detector, _ = make_detector()
    detector(FRAME, 'bgr8')
    before = len(fake_cuda.calls)
    for _ in range(5):
        detector(FRAME, 'bgr8')
    assert fake_cuda.calls[before:] == ['cudaGraphLaunch'] * 5


def test_cameras_of_different_sizes_take_turns(make_detector, fake_cuda):
    detector, reference = make_detector()
    for _ in range(3):
        same(detector(FRAME, 'bgr8'), reference(FRAME, 'bgr8'))
        same(detector(OTHER, 'uyvy'), reference(OTHER, 'uyvy'))
    assert fake_cuda.calls.count('cudaGraphLaunch') == 6


def test_photographs_of_sizes_without_end_need_memory_for_a_few(make_detector, fake_cuda):
    detector, reference = make_detector()
    counts = []
    for _ in range(3):
        for side in range(20, 60):
            picture = FRAME[:side, : side + 9]
            same(detector(picture, 'rgb8'), reference(picture, 'rgb8'))
        counts.append([fake_cuda.calls.count(each) for each in ('cudaMalloc', 'cudaHostAlloc')])
    assert counts[0] == counts[1] == counts[2]


def test_thresholds_and_class_filter_count_from_the_next_frame(make_detector):
    detector, reference = make_detector()
    assert len(detector(FRAME, 'bgr8')) == 3
    for each in (detector, reference):
        each.thresholds = replace(CARD.thresholds, max_detections=2)
        each.class_filter = frozenset({0, 2})
    same(detector(FRAME, 'bgr8'), reference(FRAME, 'bgr8'))
    detector.thresholds = replace(CARD.thresholds, score=0.99)
    assert len(detector(FRAME, 'bgr8')) == 0


def test_a_network_that_cannot_be_recorded_runs_in_streams_and_says_so(make_detector, fake_cuda):
    detector, reference = make_detector(does='loop')
    for _ in range(2):
        same(detector(FRAME, 'bgr8'), reference(FRAME, 'bgr8'))
        same(detector(OTHER, 'uyvy'), reference(OTHER, 'uyvy'))
    assert 'no CUDA graph' in detector.no_graph
    assert 'a loop cannot be captured' in detector.no_graph
    assert 'cudaGraphLaunch' not in fake_cuda.calls


def test_a_network_that_is_known_not_to_be_recorded_is_not_tried(
    make_detector, fake_cuda, monkeypatch
):
    monkeypatch.setattr(
        TensorRtBackend, 'no_graph', property(lambda backend: 'weights are streamed')
    )
    monkeypatch.setattr(fake_cuda, 'cudaStreamBeginCapture', None)
    detector, reference = make_detector()
    assert detector.no_graph == (
        'no CUDA graph of this network, work goes in streams: weights are streamed'
    )
    for _ in range(2):
        same(detector(FRAME, 'bgr8'), reference(FRAME, 'bgr8'))
    assert 'cudaGraphLaunch' not in fake_cuda.calls


def test_an_output_of_a_size_that_is_not_known_is_refused(make_detector, monkeypatch):
    monkeypatch.setattr(TensorRtBackend, 'varying', ('output',))
    with pytest.raises(BackendUnavailableError, match="'output' is known after each run only"):
        make_detector()


def test_a_board_that_shares_its_memory_copies_neither_frame_nor_detections(
    make_detector, fake_cuda, monkeypatch
):
    monkeypatch.setenv('FAKE_GPU_INTEGRATED', '1')
    detector, reference = make_detector(spin=True)
    for _ in range(2):
        same(detector(FRAME, 'bgr8'), reference(FRAME, 'bgr8'))
    assert not {'upload', 'download'} & set(fake_cuda.calls)
    assert detector.copies_left_out == 4


def test_an_image_that_cannot_be_read_costs_no_memory(make_detector):
    detector, reference = make_detector()
    held = detector._pool.reserved_bytes
    for pixels, encoding in (
        (FRAME, 'yuv9'),
        (FRAME, 'mono8'),
        (np.zeros((2, 2), np.uint8), 'bayer_rggb8'),
    ):
        with pytest.raises(ImageError):
            detector(pixels, encoding)
    assert detector._pool.reserved_bytes == held
    same(detector(FRAME, 'bgr8'), reference(FRAME, 'bgr8'))


def test_no_memory_for_a_frame_is_an_error_and_takes_none(make_detector, fake_cuda, monkeypatch):
    detector, reference = make_detector()
    monkeypatch.setattr(fake_cuda, 'LARGEST', FRAME.nbytes // 2)
    for _ in range(3):
        with pytest.raises(InferenceError, match='out of memory'):
            detector(FRAME, 'bgr8')
    assert fake_cuda.calls.count('cudaHostAlloc') == 1
    monkeypatch.setattr(fake_cuda, 'LARGEST', 1 << 30)
    same(detector(FRAME, 'bgr8'), reference(FRAME, 'bgr8'))


def test_an_engine_of_another_shape_is_refused(make_detector):
    with pytest.raises(InferenceError, match=r"input 'images' got float32\[1, 3, 48, 32\]"):
        make_detector(replace(CARD, input=replace(CARD.input, width=32)))


def test_an_engine_of_another_head_is_refused(make_detector):
    head = Head('yolo', {'predictions': ('output',)}, {'form': 'anchor_free'})
    with pytest.raises(DecodeError, match="output 'output' has shape"):
        make_detector(replace(CARD, head=head))


MODELS = {
    'yolox_nano': 'yolox_nano_416.onnx',
    'nanodet_m': 'nanodet_m_416.onnx',
    'deimv2_femto': 'deimv2_femto_coco.onnx',
}


def of_one_image(model: Path, path: Path) -> Path:
    """Return a network whose shapes are all known: itself, or a copy for batches of one."""
    if not profiles_of(model):
        return model
    whole = onnx.load(model)
    for info in whole.graph.input:
        for dim in info.type.tensor_type.shape.dim:
            dim.dim_value = dim.dim_value or 1
    session = onnxruntime.InferenceSession(whole.SerializeToString())
    feeds = {
        each.name: np.ones(each.shape, np.int64 if 'int64' in each.type else np.float32)
        for each in session.get_inputs()
    }
    for info, array in zip(whole.graph.output, session.run(None, feeds), strict=True):
        kind = info.type.tensor_type.elem_type
        info.CopyFrom(helper.make_tensor_value_info(info.name, kind, array.shape))
    onnx.save(whole, path)
    return path


@pytest.mark.parametrize('name', MODELS)
def test_a_real_network_gives_the_detections_of_the_cpu_path(
    make_detector, data, repository, tmp_path, name
):
    card = load_card(repository / 'config' / 'models' / f'{name}.yaml')
    model = of_one_image(data / 'models' / MODELS[name], tmp_path / 'model.onnx')
    detector, reference = make_detector(card, model)
    seen = 0
    for path in sorted(data.rglob('*.jpg'))[:3]:
        pixels = decode_picture(np.frombuffer(path.read_bytes(), np.uint8))
        expected = reference(pixels, 'bgr8')
        same(detector(pixels, 'bgr8'), expected)
        seen += len(expected)
    assert seen


def test_an_engine_for_any_number_of_images_takes_one(make_detector, tmp_path):
    detector, reference = make_detector(model=make_network(tmp_path / 'net.onnx', batch='N'))
    same(detector(FRAME, 'bgr8'), reference(FRAME, 'bgr8'))


def test_a_frame_is_brought_to_the_gpu_while_it_works_on_the_one_before(make_detector, fake_cuda):
    detector, reference = make_detector()
    first = detector.begin([(FRAME, 'bgr8')])
    assert len(fake_cuda.streams) == 1
    second = detector.begin([(FRAME[::-1], 'bgr8')])
    assert len(fake_cuda.streams) == 2, 'it is copied beside the first'
    with pytest.raises(InferenceError, match='begun with 2 not finished; allowed: 2'):
        detector.begin([(FRAME, 'bgr8')])
    same(*first(), reference(FRAME, 'bgr8'))
    third = detector.begin([(FRAME[:, ::-1], 'bgr8')])
    same(*second(), reference(FRAME[::-1], 'bgr8'))
    same(*third(), reference(FRAME[:, ::-1], 'bgr8'))


def test_thresholds_that_change_while_a_frame_is_under_way_do_not_harm_it(make_detector):
    detector, reference = make_detector()
    wanted = reference(FRAME, 'bgr8')
    detector(FRAME, 'bgr8')
    finish = detector.begin([(FRAME, 'bgr8')])
    detector.thresholds = replace(CARD.thresholds, score=0.99)
    assert len(detector(FRAME, 'bgr8')) == 0
    same(*finish(), wanted)


def test_thresholds_that_are_set_while_a_plan_is_made_and_taken_back_leave_nothing(
    make_detector, monkeypatch
):
    detector, reference = make_detector()
    wanted = reference(FRAME, 'bgr8')
    detector.thresholds = replace(CARD.thresholds, max_detections=3)
    load = detector._kernels.load

    def change(*args: str, **defines: str):
        detector.thresholds = replace(CARD.thresholds, score=0.99)
        return load(*args, **defines)

    monkeypatch.setattr(detector._kernels, 'load', change)
    detector(FRAME, 'bgr8')
    detector.thresholds = replace(CARD.thresholds, max_detections=3)
    same(detector(FRAME, 'bgr8'), wanted)


def test_a_frame_that_nobody_waits_for_leaves_nothing_behind(make_detector):
    detector, _ = make_detector()
    detector.begin([(FRAME, 'bgr8')])
    detector.close()  # the fixture looks for what is left


def test_the_parts_of_a_frame_are_the_frame(make_detector, fake_cuda):
    detector, reference = make_detector()
    parts = dict(detector.parts(FRAME, 'bgr8'))
    assert list(parts) == ['upload', 'preprocess', 'network', 'decode', 'download', 'graph']
    for each in parts.values():
        each()
    detector.backend.stream.synchronize()
    same(detector(FRAME, 'bgr8'), reference(FRAME, 'bgr8'))


PICTURES = [
    (FRAME, 'bgr8'),
    (OTHER, 'uyvy'),
    (FRAME[::-1].copy(), 'rgb8'),
    (FRAME[:, ::-1], 'bgr8'),
]


@pytest.fixture
def make_batches(make_detector, tmp_path):
    """Return a function that makes a detector for several pictures at once."""
    model = make_network(tmp_path / 'net.onnx', batch='N')
    return lambda **settings: make_detector(model=model, **settings)


def test_pictures_of_several_cameras_go_through_the_network_together(make_batches, fake_cuda):
    detector, reference = make_batches(batch=8)
    assert detector.batch == 4, 'what the profile of the engine allows'
    wanted = [reference(*each) for each in PICTURES]
    for count in (1, 2, 3, 4):
        for found, expected in zip(detector.begin(PICTURES[:count])(), wanted, strict=False):
            same(found, expected)
    assert detector.no_graph == ''
    before = len(fake_cuda.calls)
    detector.begin(PICTURES)()
    assert fake_cuda.calls[before:] == ['cudaGraphLaunch']


def test_the_order_of_the_cameras_needs_no_other_plan(make_batches, fake_cuda):
    detector, reference = make_batches(batch=2)
    detector.begin(PICTURES[:2])()
    before = len(fake_cuda.calls)
    for found, picture in zip(detector.begin(PICTURES[1::-1])(), PICTURES[1::-1], strict=True):
        same(found, reference(*picture))
    assert fake_cuda.calls[before:] == ['cudaGraphLaunch']


def test_no_more_pictures_at_once_than_there_will_be(make_batches):
    detector, _ = make_batches(batch=2)
    assert detector.batch == 2


def test_an_engine_for_one_picture_takes_one(make_detector):
    detector, reference = make_detector(batch=4)
    assert detector.batch == 1
    same(detector(FRAME, 'bgr8'), reference(FRAME, 'bgr8'))


def test_a_picture_that_cannot_be_read_leaves_the_batch_without_harm(make_batches):
    detector, reference = make_batches(batch=4)
    with pytest.raises(ImageError):
        detector.begin([PICTURES[0], (FRAME, 'mono8')])
    for found, picture in zip(detector.begin(PICTURES)(), PICTURES, strict=True):
        same(found, reference(*picture))


def test_without_memory_for_all_batches_what_the_smaller_ones_took_is_free(
    make_batches, monkeypatch
):
    opened = []
    open_context = TensorRtBackend.context

    def short(backend, *args, **settings):
        opened.append(backend)
        if len(opened) > 1:
            raise InferenceError('out of memory')
        return open_context(backend, *args, **settings)

    monkeypatch.setattr(TensorRtBackend, 'context', short)
    with pytest.raises(InferenceError, match='out of memory'):
        make_batches(batch=4)
    assert len(opened[0].contexts) == 1, 'its own, which the CPU path goes on with'


@pytest.fixture
def make_jpegs(fake_nvjpeg, make_batches):
    """Return a function that makes a detector that takes JPEG files; the stand-in decodes them."""
    made = []

    def make(count: int = 1):
        made.extend(JpegDecoder(libraries=[fake_nvjpeg.path]) for _ in range(count))
        return make_batches(batch=count, jpegs=made)

    yield make
    for each in made:
        each.close()


def jpeg(pixels: np.ndarray, kind: str = '.jpg') -> tuple[np.ndarray, str]:
    return cv2.imencode(kind, pixels)[1], JPEG


SMOOTH = cv2.resize(FRAME[:8, :12], (160, 80))


def test_a_jpeg_is_decoded_where_it_is_needed(make_jpegs, fake_cuda):
    detector, reference = make_jpegs()
    wanted = reference(decode_picture(jpeg(SMOOTH)[0]), 'bgr8')
    for _ in range(3):
        same(detector(*jpeg(SMOOTH)), wanted)
    before = len(fake_cuda.calls)
    same(detector(*jpeg(SMOOTH)), wanted)
    assert fake_cuda.calls[before:] == ['cudaGraphLaunch'], 'no pixels are copied'


def test_files_that_nvjpeg_does_not_take_are_decoded_by_opencv(make_jpegs, fake_nvjpeg):
    detector, reference = make_jpegs()
    same(detector(*jpeg(FRAME, '.png')), reference(FRAME, 'bgr8'))
    grey = jpeg(SMOOTH[..., 0])
    same(detector(*grey), reference(decode_picture(grey[0]), 'bgr8'))
    fake_nvjpeg.will(decode=4)  # finds out late that it does not
    same(detector(*jpeg(SMOOTH)), reference(decode_picture(jpeg(SMOOTH)[0]), 'bgr8'))
    fake_nvjpeg.will()
    same(detector(*jpeg(SMOOTH)), reference(decode_picture(jpeg(SMOOTH)[0]), 'bgr8'))
    with pytest.raises(ImageError):
        detector(np.zeros(100, np.uint8), JPEG)


def test_files_and_pixels_go_together(make_jpegs):
    detector, reference = make_jpegs(3)
    pictures = [jpeg(SMOOTH), (FRAME, 'bgr8'), jpeg(SMOOTH[:, ::-1])]
    wanted = [
        reference(decode_picture(pixels) if encoding == JPEG else pixels, 'bgr8')
        for pixels, encoding in pictures
    ]
    for _ in range(2):
        for found, expected in zip(detector.begin(pictures)(), wanted, strict=True):
            same(found, expected)
