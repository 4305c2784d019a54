# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What is planned for a camera is what the GPU path reserves; and a node's budget as it goes on."""

from __future__ import annotations

from dataclasses import replace
import json

import numpy as np
import onnx
from onnx import helper
from onnx import numpy_helper
from onnx import TensorProto
import pytest

from trt_builder.settings import Resolved
from trt_builder.tensorrt_build import build
from trt_engine.backends import open_backend
from trt_engine.build_settings import Build
from trt_engine.build_settings import ShapeRange
from trt_engine.card import Head
from trt_engine.card import load_card
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Pool
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import ImageError
from trt_engine.errors import MemoryBudgetError
from trt_engine.health import Level
from trt_engine.memory.budget import Room
from trt_engine.memory.machine import MIB
from trt_engine.memory.network import largest_batch
from trt_engine.memory.network import loaded_memory
from trt_engine.memory.network import onnx_memory
from trt_engine.model_file import resolve_model
from trt_inference.camera.gpu_pipeline import GpuDetector
from trt_inference.camera.memory import camera_parts
from trt_inference.camera.memory import Frames
from trt_inference.camera.memory import node_budget
from trt_inference.detector.memory import budget_health
from trt_inference.detector.memory import IN_FLIGHT
from trt_inference.detector.memory import room_here

ROOM = Room('this machine', 4000, None, 'a test')
POOLED = ('images', 'decoding', 'detections')  # what comes out of the pool


@pytest.fixture
def card():
    return load_card('demo')


@pytest.fixture
def network(card):
    return onnx_memory('demo', card, resolve_model(card))


def pooled(parts):
    return {
        side: sum(part.nbytes for part in parts if part.side == side and part.what in POOLED)
        for side in ('device', 'host')
    }


@pytest.fixture
def make_detector(fake_cuda, tmp_path, card):
    """Return a function that opens the demo network on the GPU path, and gives its pool too."""
    closing = []

    def make(card=card, model=None, profiles=(), **settings):
        resolved = Resolved('tensorrt', (10, 3, 0), 'fp32', strongly_typed=False, profiles=profiles)
        plan = tmp_path / 'engine.plan'
        model = model or resolve_model(card)
        output = build(resolved, model, report=lambda *_: None, log=lambda *_: None)
        plan.write_bytes(output.plan)
        backend = open_backend('tensorrt', plan, own_arena='batch' in settings)
        pool, kernels = Pool(), Kernels(tmp_path / 'cubins')
        detector = GpuDetector(card, backend, kernels=kernels, pool=pool, **settings)
        closing.extend((backend, pool, kernels, detector))
        return detector, pool

    yield make
    for each in reversed(closing):
        each.close()


@pytest.mark.slow  # compiles kernels for the CPU
@pytest.mark.parametrize('integrated', [False, True])
def test_what_is_planned_is_what_the_gpu_path_reserves(
    make_detector, card, monkeypatch, integrated
):
    if integrated:
        monkeypatch.setenv('FAKE_GPU_INTEGRATED', '1')
    detector, pool = make_detector()
    assert detector.in_flight == IN_FLIGHT
    network = loaded_memory('demo', detector.backend)
    cameras = {}
    for name, frames in (
        ('front', Frames(64, 48, 'bgr8')),
        ('left', Frames(101, 75, 'mono8')),
        ('rear', Frames(64, 48, 'bgr8')),  # takes turns with the first
        ('right', Frames(128, 66, 'nv12')),
        ('wide', Frames(1280, 1100, 'bgr8')),  # of which not all rows are read
        ('high', Frames(700, 1500, 'nv12')),
    ):
        picture = (np.zeros_like(frames.pixels()), frames.encoding)
        under_way = [detector.begin([picture]) for _ in range(IN_FLIGHT)]
        for finish in under_way:
            finish()
        cameras[name] = frames
        reserved = pool.reserved_bytes
        assert pooled(camera_parts(card, network, cameras, mapped=integrated)) == {
            'device': reserved['device'],
            'host': reserved['pinned'] + reserved['mapped'],
        }
    assert bool(reserved['mapped']) == integrated


@pytest.mark.slow  # likewise
def test_images_that_go_together_are_planned_for_in_every_mix(
    make_detector, card, fake_cuda, tmp_path
):
    dims = ('N', 2, 6)  # one network output for each image: two boxes, made of the image
    graph = helper.make_graph(
        [
            helper.make_node('GlobalAveragePool', ['images'], ['mean']),
            helper.make_node('Reshape', ['mean', 'row'], ['rows']),
            helper.make_node('Concat', ['rows', 'rows'], ['wide'], axis=2),
            helper.make_node('Concat', ['wide', 'wide'], ['output'], axis=1),
        ],
        'net',
        [helper.make_tensor_value_info('images', TensorProto.FLOAT, ('N', 3, 48, 64))],
        [helper.make_tensor_value_info('output', TensorProto.FLOAT, dims)],
        [numpy_helper.from_array(np.array([-1, 1, 3]), 'row')],
    )
    model = tmp_path / 'net.onnx'
    opset = [helper.make_opsetid('', 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), model)
    profile = {'images': ShapeRange((1, 3, 48, 64), (2, 3, 48, 64), (2, 3, 48, 64))}
    head = Head('yolo', {'predictions': ('output',)}, {'form': 'end_to_end'})
    card = replace(
        card, input=replace(card.input, width=64, height=48), head=head,
        build=Build(profiles=(profile,)), thresholds=replace(card.thresholds, nms_iou=None),
    )  # fmt: skip
    detector, pool = make_detector(card, model, (profile,), batch=3, in_flight=1)
    assert detector.batch == largest_batch(card, 3) == 2
    small, large = Frames(64, 48, 'bgr8'), Frames(90, 70, 'bgr8')
    for mix in ([small], [large], [small, small], [large, small]):
        detector.begin([(np.zeros_like(each.pixels()), each.encoding) for each in mix])()

    network = loaded_memory('net', detector.backend)
    planned = camera_parts(
        card, network, {'a': small, 'b': large, 'c': small}, mapped=False, in_flight=1, batch=2
    )
    assert pooled(planned) == {
        'device': pool.reserved_bytes['device'], 'host': pool.reserved_bytes['pinned'],
    }  # fmt: skip
    assert {part.basis for part in planned if part.what in POOLED} == {'bound'}
    before = onnx_memory('net', card, model, batch=2)
    held, plan = (
        [part.nbytes for part in each.parts if part.what == 'inputs and outputs']
        for each in (network, before)
    )
    # that for one has on the GPU what the profile was tuned for
    assert held == plan == [count * (3 * 48 * 64 + 2 * 6) * 4 for count in (2 + 2, 1 + 2)]
    one = detector.backend.activation_bytes
    taken = sum(memory.nbytes for memory in fake_cuda.allocations.values())
    assert taken == held[0] + one + pool.reserved_bytes['device']
    detector.backend.context(stream=detector.backend.stream)
    assert detector.backend.activation_bytes == one > 0, 'one arena for all contexts'


def of_one(card, network, frames, **kwargs):
    return camera_parts(card, network, {'front': frames}, **{'mapped': False, **kwargs})


def test_a_full_hd_camera_by_hand(card, network):
    frames = Frames(1920, 1080, 'bgr8')
    parts = {(part.what, part.side): part for part in of_one(card, network, frames, in_flight=1)}
    images = parts['images', 'host']
    # two of six rows are read, 360 of 5760 bytes: 2,073,600 in blocks of 256 KiB; tables for 320
    # columns, 180 rows, 3 x 256 values: 11,072 bytes in blocks of 4096
    assert images.nbytes == 2 * MIB + 12_288
    assert parts['images', 'device'].nbytes == images.nbytes
    assert images.basis == 'exact'
    assert images.owner == 'demo, front'
    assert parts['messages', 'host'].nbytes == 3 * 6_220_800
    shared = of_one(card, network, frames, mapped=True)
    assert ('images', 'device') not in {(part.what, part.side) for part in shared}


def test_images_under_way_have_memory_each_and_messages_do_not_count_again(card, network):
    frames = Frames(640, 480, 'bgr8')
    one, two = (of_one(card, network, frames, in_flight=n) for n in (1, 2))
    assert pooled(two) == {side: 2 * nbytes for side, nbytes in pooled(one).items()}
    assert [p.nbytes for p in two if p.what == 'messages'] == [3 * 640 * 480 * 3]


def test_cameras_of_one_size_share_staging_and_have_messages_each(card, network):
    frames = Frames(640, 480, 'bgr8')
    one = of_one(card, network, frames)
    three = camera_parts(card, network, dict.fromkeys('abc', frames), mapped=False)
    assert pooled(three) == pooled(one)
    (messages,) = (part for part in three if part.what == 'messages')
    assert (messages.nbytes, messages.owner) == (3 * 3 * 640 * 480 * 3, 'demo, 3 cameras')


def test_a_compressed_camera_has_the_decoded_picture_besides(card, network):
    parts = of_one(card, network, Frames(640, 480, 'jpeg'))
    figures = {part.what: (part.nbytes, part.basis) for part in parts}
    assert figures['decoded JPEG'] == (3 * 640 * 480 * 3, 'estimate')
    assert figures['messages'] == (3 * 640 * 480 * 3, 'bound')
    assert pooled(parts) == pooled(of_one(card, network, Frames(640, 480, 'bgr8')))


def test_with_nvjpeg_the_picture_is_on_the_gpu_alone(card, network):
    parts = of_one(card, network, Frames(640, 480, 'jpeg'), nvjpeg=True, in_flight=1)
    figures = {(part.what, part.side): part.nbytes for part in parts}
    assert figures['decoded JPEG', 'device'] == 8 << 17  # 921,600 in blocks of 128 KiB
    assert ('decoded JPEG', 'host') not in figures
    assert figures['images', 'host'] == 12_288, 'the tables alone'


def test_a_head_that_the_gpu_does_not_decode_stages_nothing_there(card, network, monkeypatch):
    monkeypatch.setattr('trt_inference.camera.memory.open_decoder', lambda card: object())
    assert [p.what for p in of_one(card, network, Frames(640, 480, 'bgr8'))] == ['messages']


@pytest.mark.parametrize(
    ('width', 'height', 'encoding', 'text'),
    [(640, 480, 'h264', "unsupported encoding 'h264'"), (0, 480, 'bgr8', 'an image of 0x480')],
)
def test_images_that_are_not_read_are_refused(width, height, encoding, text):
    with pytest.raises(ImageError, match=text):
        Frames(width, height, encoding)


def test_cameras_that_sent_nothing_yet_are_assumed_and_then_known(card, network):
    first = node_budget(card, network, {'front': None, 'rear': None}, ROOM, mapped=True)
    assumed = [part for part in first.parts if part.what == 'images']
    assert [(part.owner, part.basis, part.source) for part in assumed] == [
        ('demo, 2 cameras', 'assumed', '2 x 1920x1080:bgr8, not seen yet')
    ]

    cameras = {'front': Frames(640, 480, 'bgr8'), 'rear': None}
    then = node_budget(card, network, cameras, ROOM, mapped=True, staged=['front'])
    front, rear = (part for part in then.parts if part.what == 'images')
    assert (front.basis, front.held) == ('exact', True)
    assert (rear.basis, rear.held) == ('assumed', False)
    assert front.nbytes < rear.nbytes


def test_of_images_that_go_together_those_of_cameras_still_to_send_are_to_be_taken(card, network):
    cameras = dict.fromkeys(('front', 'rear', 'left'), Frames(640, 480, 'bgr8'))
    of_one = [part.nbytes for part in _images(card, network, cameras, staged=(), batch=1)]
    for staged, held in ((), 0), (['rear'], 1), (['rear', 'left'], 3), (cameras, 6):
        parts = _images(card, network, cameras, staged=staged, batch=3)
        assert sum(part.nbytes for part in parts if part.held) == held * of_one[0]
        assert sum(part.nbytes for part in parts if not part.held) == (6 - held) * of_one[0]
        assert len({part.owner for part in parts}) == len(parts), 'diagnostics name each apart'


def test_many_cameras_of_different_sizes_are_reckoned_with_at_once(card, network):
    cameras = {f'camera {width}': Frames(width, 480, 'bgr8') for width in range(600, 640)}
    for batch, largest in ((1, 8), (4, 32)):
        parts = _images(card, network, cameras, batch=batch)
        times = [int(part.source.split(' x ')[0]) // IN_FLIGHT for part in parts]
        assert sum(times) == batch * largest, 'the mixes that take most'


def test_images_larger_than_the_memory_here_are_reckoned_with(card, network):
    camera = {'': Frames(99_999, 99_999, 'bgra8')}
    budget = node_budget(card, network, camera, ROOM, mapped=True)
    messages = next(part for part in budget.parts if part.what == 'messages')
    assert messages.nbytes == 3 * 4 * 99_999**2
    with pytest.raises(MemoryBudgetError, match='messages'):
        budget.require()


def _images(card, network, cameras, **settings):
    parts = camera_parts(card, network, cameras, mapped=True, **settings)
    return [part for part in parts if part.what == 'images']


def test_a_camera_larger_than_assumed_can_be_refused_at_its_first_image(card, network):
    room = Room('this machine', 150, None, 'a test')
    node_budget(card, network, {'': None}, room, mapped=True).require()
    seen = {'': Frames(8000, 6000, 'bgra8')}
    with pytest.raises(
        MemoryBudgetError, match=r'demo messages 549\.3, demo scratch of kernels 64\.0'
    ):
        node_budget(card, network, seen, room, mapped=True).require()


def test_process_and_cuda_are_held_by_a_node_that_runs(card, network):
    budget = node_budget(card, network, {'': None}, ROOM, mapped=True)
    assert all(part.held for part in budget.parts[:2])
    assert [part.nbytes for part in budget.parts[:2]] == [512 * MIB, 160 * MIB]


@pytest.mark.parametrize(
    ('free', 'level'), [(4000, Level.OK), (200, Level.WARN), (50, Level.ERROR)]
)
def test_diagnostics_carry_the_verdict_and_every_part(card, network, free, level):
    room = Room('this machine', free, None, 'a test')
    budget = node_budget(card, network, {'front': None}, room, mapped=True)
    health = budget_health(budget)
    assert health.level == level
    assert f'{free} MiB are free' in health.message
    assert health.values['demo: activations on device (MiB)'] == '2.5 (bound)'
    assert health.values['demo: process on host (MiB)'] == '160.0 (assumed, held)'
    assert len(health.values) == len(budget.parts) + 1
    json.dumps(health.values)


def test_a_gpu_with_its_own_memory_is_asked_for_what_is_free(fake_gpu):
    fake_gpu()
    room = room_here()
    assert room.device_mib == 8192
    assert 'cudaMemGetInfo' in room.source


def test_a_gpu_that_shares_memory_has_no_figure_of_its_own(fake_gpu, monkeypatch):
    monkeypatch.setenv('FAKE_GPU_INTEGRATED', '1')
    fake_gpu()
    assert room_here().device_mib is None


def test_without_a_gpu_nothing_is_made_up(fake_gpu):
    fake_gpu(gpu='none')
    with pytest.raises(BackendUnavailableError, match='no CUDA-capable device'):
        room_here()
