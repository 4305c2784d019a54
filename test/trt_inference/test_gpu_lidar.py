# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Whole clouds through stand-ins for TensorRT and CUDA that compute: the CPU path's boxes."""

from __future__ import annotations

from dataclasses import fields
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnx import numpy_helper
import pytest

from tools.lidar_network import form
from tools.lidar_network.onnx_file import write
from tools.lidar_network.untrained import untrained
from trt_engine.backends import open_backend
from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.build_settings import ShapeRange
from trt_engine.card import Card
from trt_engine.card import Head
from trt_engine.card import ModelSource
from trt_engine.card import Thresholds
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Pool
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import InferenceError
from trt_engine.errors import MemoryBudgetError
from trt_engine.errors import ModelFileError
from trt_engine.errors import PointsError
from trt_engine.lidar.model import network_file
from trt_engine.lidar.model import pillar_weights
from trt_engine.lidar_card import PointsInput
from trt_inference.lidar import gpu_pipeline as gpu_lidar
from trt_inference.lidar.boxes3d import Boxes3d
from trt_inference.lidar.budget import LidarBudget
from trt_inference.lidar.clouds import CloudOptions
from trt_inference.lidar.gpu_pipeline import GpuLidarDetector
from trt_inference.lidar.pipeline import LidarDetector
from trt_inference.lidar.pipeline import PlacedCloud
from trt_inference.lidar.point_view import PointView

pytestmark = pytest.mark.slow  # compiles kernels for the CPU

FLOAT, INT32, INT64 = (
    onnx.TensorProto.FLOAT, onnx.TensorProto.INT32, onnx.TensorProto.INT64,
)  # fmt: skip
ROAD = replace(
    form.POINTS, range_m=(-8.0, -6.4, -3.0, 8.0, 6.4, 3.0), max_voxels=900, max_points=6
)  # fmt: skip
HEADS = {'cls_preds': 8 * len(form.CLASSES), 'box_preds': 8 * 7, 'dir_cls_preds': 8 * 2}

CHANNELS = 6
PILLARS = PointsInput(
    'pillars', (-8, -8, -2, 8, 8, 2), (1, 1, 4), 8, 256, 'pillar9',
    channels=('time_lag',), places_tensor='places', sizes_tensor='sizes', count_tensor='count',
)  # fmt: skip
ALONE = replace(PILLARS, places_tensor=None, sizes_tensor=None, count_tensor=None)
ROLES = {'heatmap': 2, 'offset': 2, 'height': 1, 'size': 3, 'rotation': 2, 'velocity': 2}


def save(path, nodes, inputs, outputs, constants):
    graph = helper.make_graph(
        nodes,
        'part',
        [helper.make_tensor_value_info(name, *each) for name, each in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid('', 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))


def kernels_of(chance):
    return {
        f'{role}_k': chance.normal(0, 0.3, (count, CHANNELS, 1, 1)).astype(np.float32)
        for role, count in ROLES.items()
    }


def convolutions():
    return [helper.make_node('Conv', ['grid', f'{role}_k'], [role]) for role in ROLES]


OUTPUTS = {role: (1, count, 16, 16) for role, count in ROLES.items()}


def centerpoint_card(points, model, encoder=None):
    return Card(
        name='centerpoint',
        summary='A card for tests',
        model=ModelSource(str(model), 'Apache-2.0'),
        encoder=ModelSource(str(encoder), 'Apache-2.0') if encoder else None,
        input=points,
        head=Head('centerpoint', {role: (role,) for role in ROLES}, {'stride': 1}),
        classes=('car', 'truck'),
        thresholds=Thresholds(0.6, 0.1),
    )


def write_pointpillars(folder):
    """Write an untrained PointPillars in one file; what is in a pillar is for our kernel."""
    learned = untrained(np.random.default_rng(1), HEADS)
    write(learned, ROAD, folder / 'road.onnx')
    source = ModelSource(str(folder / 'road.onnx'), 'Apache-2.0')
    thresholds = Thresholds(score=0.6, nms_iou=0.1)
    return replace(form.card(), model=source, input=ROAD, thresholds=thresholds)


def write_two_files(folder, *, pillars=None, points=ALONE):
    """Write a CenterPoint whose encoder has two layers: that is for an engine of its own."""
    chance = np.random.default_rng(3)
    weight = chance.normal(size=(9, CHANNELS)).astype(np.float32)
    layers = ['MatMul', 'Relu', 'MatMul', 'Relu']
    others = [['weight'], [], ['same'], []]
    names = ['pillars', 't0', 't1', 't2', 't3']
    nodes = [
        helper.make_node(kind, [before, *more], [after])
        for kind, more, before, after in zip(layers, others, names, names[1:], strict=False)
    ]
    nodes.append(helper.make_node('ReduceMax', ['t3'], ['features'], axes=[1], keepdims=1))
    save(
        folder / 'encoder.onnx', nodes, {'pillars': (FLOAT, [pillars, 8, 9])},
        {'features': [pillars, 1, CHANNELS]},
        {'weight': weight, 'same': np.eye(CHANNELS, dtype=np.float32)},
    )  # fmt: skip
    grid = {'grid': (FLOAT, [1, CHANNELS, 16, 16])}
    save(folder / 'head.onnx', convolutions(), grid, OUTPUTS, kernels_of(chance))
    return centerpoint_card(points, folder / 'head.onnx', folder / 'encoder.onnx')


def write_whole(folder, *, pillars=256, points=PILLARS, integers=INT32):
    """Write a network that takes the pillars itself, and all that may be said of them."""
    chance = np.random.default_rng(4)
    constants = {
        'weight': chance.normal(0, 0.3, (9, CHANNELS)).astype(np.float32),
        'lay': np.array([1, 16, 16, CHANNELS]),
        'tenth': np.array(0.1, np.float32),
    }
    named = {'places': (4,), 'sizes': (), 'count': ()}
    inputs = {'pillars': (FLOAT, [pillars, 8, 9])}
    nodes = [
        helper.make_node('MatMul', ['pillars', 'weight'], ['t']),
        helper.make_node('ReduceMax', ['t'], ['layer0'], axes=[1], keepdims=0),
    ]
    last = 'layer0'
    for place, name in enumerate(named):
        if getattr(points, f'{name}_tensor') is None:
            continue
        inputs[name] = (integers, [1 if name == 'count' else pillars, *named[name]])
        nodes += [
            helper.make_node('Cast', [name], [f'{name}_f'], to=FLOAT),
            helper.make_node('ReduceMean', [f'{name}_f'], [f'{name}_m'], keepdims=0),
            helper.make_node('Mul', [f'{name}_m', 'tenth'], [f'{name}_t']),
            helper.make_node('Add', [last, f'{name}_t'], [f'layer{place + 1}']),
        ]
        last = f'layer{place + 1}'
    nodes += [
        helper.make_node('Reshape', [last, 'lay'], ['laid']),
        helper.make_node('Transpose', ['laid'], ['grid'], perm=[0, 3, 1, 2]),
        *convolutions(),
    ]
    save(folder / 'whole.onnx', nodes, inputs, OUTPUTS, constants | kernels_of(chance))
    return centerpoint_card(points, folder / 'whole.onnx')


ROUTES = {'kernel': write_pointpillars, 'engine': write_two_files, 'none': write_whole}


def profiles_of(model):
    ranges = {}
    for info in onnx.load(model).graph.input:
        dims = [each.dim_value for each in info.type.tensor_type.shape.dim]
        if 0 in dims:
            ranges[info.name] = ShapeRange(
                *(tuple(each or count for each in dims) for count in (1, 99, 256))
            )
    return (ranges,) if ranges else ()


@pytest.fixture(scope='module')
def compiled(tmp_path_factory):
    """Return where kernels are kept from test to test."""
    return tmp_path_factory.mktemp('cubins')


@pytest.fixture
def make(engines, tmp_path, monkeypatch, compiled):
    """Return a function that makes a detector of a card on the GPU, and one on the CPU."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    closing = []

    def opened(model):
        plan = engines.build(model, profiles_of(model))
        both = open_backend('tensorrt', plan), engines.golden(model, plan)
        closing.extend(both)
        return both

    def make(card='kernel', does='build', options=None, mapped=None, **settings):
        monkeypatch.setenv('FAKE_TENSORRT', f'10.3.0 {does}')
        card = ROUTES[card](tmp_path) if isinstance(card, str) else card
        encoders = None, None
        weights = None
        try:
            weights = pillar_weights(card)
        except ModelFileError:
            encoders = opened(Path(card.encoder.source))
        backend, golden = opened(network_file(card))
        pool, kernels = Pool(mapped=mapped), Kernels(compiled)
        closing.extend((pool, kernels))
        detector = GpuLidarDetector(
            card, backend, weights, kernels=kernels, pool=pool, encoder=encoders[0],
            options=options, **settings,
        )  # fmt: skip
        closing.append(detector)
        reference = LidarDetector(card, golden, weights, encoder=encoders[1], options=options)
        return detector, reference

    yield make
    for each in reversed(closing):
        each.close()


def cloud(seed, count=700, *, step=20, dtype='<f4', stamp_s=7, rows=1, **where):
    """Return a cloud in a message of its own, of which some points are no measurement."""
    chance = np.random.default_rng(seed)
    names = ('x', 'y', 'z', 'intensity')
    message = np.zeros(max(count, 1) * step, np.uint8)
    size = np.dtype(dtype).itemsize
    columns = {
        name: np.ndarray(
            (rows, count // rows), dtype, message, place * size, (count // rows * step, step)
        )
        for place, name in enumerate(names)
    }
    for name, reach in zip(names, (8.5, 7, 3.2, 1), strict=True):
        columns[name][:] = chance.normal(0, reach / 2.5, (rows, count // rows))
    if count > 10:
        columns['x'][0, 3] = np.nan
        columns['z'][-1, -1] = np.inf
        for name in names[:3]:
            columns[name][0, 5] = 0
    view = PointView(stamp_s, 0, 'lidar', count // rows, rows, step, 0, columns, False)
    return PlacedCloud(view, **where)


def same(detector, reference, *clouds):
    """Check that both see the same in clouds, and count the same; return how many boxes."""
    total = 0
    for each in clouds:
        found, wanted = detector(each), reference(each)
        if reference.backend.identity.startswith('TensorRT') and len(wanted):
            alike(found, wanted)
            total += len(found)
            continue
        assert len(found) == len(wanted)
        np.testing.assert_array_equal(found.classes, wanted.classes)
        # the features of a pillar are sums of ten products, added in another order
        for name in ('centers', 'sizes', 'scores', 'velocities'):
            np.testing.assert_allclose(
                getattr(found, name), getattr(wanted, name), rtol=1e-4, atol=1e-4
            )
        turned = np.exp(1j * found.yaws) - np.exp(1j * wanted.yaws)
        assert np.abs(turned).max(initial=0) < 1e-3
        assert counters(detector) == counters(reference)
        total += len(found)
    return total


def alike(found, wanted):
    """Check that nearly all have a partner: features that are rounded differently change ranks."""
    for mine, its in ((found, wanted), (wanted, found)):
        apart = np.abs(mine.centers[:, None] - its.centers).max(-1)
        apart = np.maximum(apart, np.abs(mine.scores[:, None] - its.scores))
        apart[mine.classes[:, None] != its.classes] = np.inf
        assert (apart.min(1) < 1e-3).mean() > 0.97


def counters(detector):
    names = ('clouds', 'counts', 'dropped', 'cropped', 'overflows')
    return [getattr(detector, name) for name in names]


def bits(boxes):
    return [getattr(boxes, each.name).tobytes() for each in fields(Boxes3d)]


@pytest.mark.parametrize('route', ROUTES)
def test_every_kind_of_network_sees_what_it_sees_on_the_cpu(make, route):
    detector, reference = make(route)
    # fuller and emptier ones in turn: what one left behind must be gone
    clouds = [cloud(1), cloud(2, 90), cloud(3, 6000), cloud(4, 0), cloud(5, 400, rows=4)]
    assert same(detector, reference, *clouds) > 20
    reference(clouds[2])
    assert reference.counts.over_points > 0, 'not all of the fullest was seen'
    assert detector.no_graph == ''
    assert detector.copies_left_out == 0
    assert list(detector.stages_ms) == list(reference.stages_ms)
    assert all(each >= 0 for each in detector.stages_ms.values())


@pytest.mark.parametrize('route', ROUTES)
def test_equal_clouds_give_equal_bits(make, route):
    detector, _ = make(route)
    first = detector(cloud(1))
    detector(cloud(2, 1500))
    assert bits(detector(cloud(1))) == bits(first)
    assert len(first)


@pytest.mark.parametrize('route', ROUTES)
def test_after_the_first_cloud_one_copy_and_one_launch_are_all(make, fake_cuda, route):
    detector, _ = make(route)
    detector(cloud(1))
    before = len(fake_cuda.calls)
    for seed in range(5):
        detector(cloud(seed, 100 + 300 * seed))
    assert fake_cuda.calls[before:] == ['upload', 'cudaGraphLaunch'] * 5


def test_memory_doubles_for_larger_clouds_and_then_stays(make, fake_cuda, monkeypatch):
    monkeypatch.setattr(gpu_lidar, 'FIRST_CAPACITY', 64)
    detector, reference = make()
    captures = []
    monkeypatch.setattr(
        fake_cuda, 'cudaGraphInstantiate',
        lambda graph, flags, make=fake_cuda.cudaGraphInstantiate: (
            captures.append(graph) or make(graph, flags)
        ),
    )  # fmt: skip
    counts = []
    for size in (64, 65, 128, 20, 1000, 1024, 900, 129):
        same(detector, reference, cloud(size, size))
        counts.append(len(captures))
    assert counts == [1, 2, 2, 2, 3, 3, 3, 3]


POOLED = (
    'clouds', 'pillars', 'decoding', 'boxes', 'filled pillars', 'network inside a pillar',
)  # fmt: skip


def pooled(parts):
    parts = [part for part in parts if part.what in POOLED]
    return {
        side: sum(part.nbytes for part in parts if part.side == side) for side in ('device', 'host')
    }


def reserved(detector):
    told = detector._pool.reserved_bytes
    return {'device': told['device'], 'host': told['pinned'] + told['mapped']}


@pytest.mark.parametrize('mapped', [False, True])
@pytest.mark.parametrize('route', ROUTES)
def test_what_the_budget_says_is_what_is_reserved(make, route, mapped):
    detector, _ = make(route, mapped=mapped)
    judged = []
    memory = LidarBudget(detector.card, detector, judged.append)
    held = [part for part in memory.budget.parts if part.held]
    assert pooled(held) == reserved(detector)
    assert {part.basis for part in memory.budget.parts if part.what == 'clouds'} == {'assumed'}

    for number, (count, step) in enumerate([(700, 20), (300, 24), (40_000, 20)], 1):
        finish = detector.begin([cloud(1, count, step=step)])
        detector.begin([cloud(2, count, step=step)])()
        finish()
        assert pooled(memory.parts()) == reserved(detector)
        assert len(judged) == number
    detector.thresholds = replace(detector.thresholds, max_detections=3000)
    under_way = [detector.begin([cloud(seed, 50_000, step=20)]) for seed in (1, 2)]
    for finish in under_way:
        finish()
    assert pooled(memory.parts()) == reserved(detector)
    assert [part.owner for part in judged[1].parts if part.what == 'pillars'] == [
        f'{detector.card.name}, points of {step} bytes' for step in (20, 24)
    ]
    detector.trim()
    assert pooled(held) == reserved(detector)


def test_memory_of_a_smaller_cloud_under_way_is_freed_once_it_is_finished(make):
    detector, _ = make()
    memory = LidarBudget(detector.card, detector, lambda budget: None)
    small = detector.begin([cloud(1, 700)])
    large = detector.begin([cloud(2, 40_000)])
    between = reserved(detector)
    small()
    assert reserved(detector)['device'] < between['device']
    again = detector.begin([cloud(2, 40_000)])
    large()
    again()
    assert pooled(memory.parts()) == reserved(detector)


def test_a_cloud_that_the_budget_refuses_does_not_spoil_the_next(make, monkeypatch):
    detector, reference = make()

    def judge(budget):
        if any('131072 points' in part.source for part in budget.parts):
            raise MemoryBudgetError('too large')

    LidarBudget(detector.card, detector, judge)
    same(detector, reference, cloud(1))
    for _ in range(2):
        with pytest.raises(MemoryBudgetError, match='too large'):
            detector(cloud(2, 70_000))
    assert same(detector, reference, cloud(1), cloud(3)) > 0


def test_a_cloud_that_memory_does_not_suffice_for_does_not_spoil_the_next(
    make, fake_cuda, monkeypatch
):
    monkeypatch.setattr(gpu_lidar, 'FIRST_CAPACITY', 64)
    detector, reference = make()
    same(detector, reference, cloud(1, 60))
    monkeypatch.setattr(fake_cuda, 'LARGEST', 1 << 22)
    for _ in range(2):
        with pytest.raises(InferenceError, match='out of memory'):
            detector(cloud(2, 1 << 20))
    assert same(detector, reference, cloud(1, 60), cloud(3, 400)) > 0


def test_clouds_of_layouts_without_end_need_memory_for_a_few(make, fake_cuda):
    detector, reference = make()
    counts = []
    for _ in range(2):
        for step in range(16, 22):
            same(detector, reference, cloud(step, 40, step=step))
        counts.append([fake_cuda.calls.count(each) for each in ('cudaMalloc', 'cudaHostAlloc')])
    assert counts[0] == counts[1]


@pytest.mark.parametrize('route', ROUTES)
@pytest.mark.parametrize('count', [0, 1])
def test_a_cloud_without_a_point_in_range_shows_nothing(make, count, route):
    detector, reference = make(route)
    away = cloud(1, count)
    for column in away.view.columns.values():
        column[:] = 100
    assert same(detector, reference, away) == 0
    assert same(detector, reference, cloud(1), away) > 0


FALLBACKS = {
    'doubles': (None, {'dtype': '<f8', 'step': 32}),
    'big-endian': (None, {'dtype': '>f4'}),
    'moved': (None, {'transform': np.array([[0, -1, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0.5],
                                            [0, 0, 0, 1.0]])}),
    'cropped': (CloudOptions(self_box_m=(-1, -1, -9, 1, 1, 9), near_m=0.2, far_m=6), {}),
    'raised': (CloudOptions(ground_offset_m=0.4), {}),
}  # fmt: skip


@pytest.mark.parametrize('kind', FALLBACKS)
def test_what_has_to_be_converted_first_gives_the_same(make, fake_cuda, kind):
    options, how = FALLBACKS[kind]
    detector, reference = make(options=options)
    assert same(detector, reference, cloud(1, **how), cloud(2, 0, **how), cloud(3, **how)) > 0
    before = len(fake_cuda.calls)
    detector(cloud(4, **how))
    assert fake_cuda.calls[before:] == ['upload', 'cudaGraphLaunch']


def test_a_point_that_is_moved_to_the_origin_counts_as_on_the_cpu(make):
    detector, reference = make()
    down = np.eye(4)
    down[2, 3] = -1.0
    placed = cloud(1, transform=down)
    for name, value in {'x': 0, 'y': 0, 'z': 1}.items():
        placed.view.columns[name][0, :9] = value
    same(detector, reference, placed)
    assert detector.counts.over_points >= 3


def test_earlier_sweeps_are_seen_where_they_are_now(make):
    detector, reference = make('engine', options=CloudOptions(sweeps=3, sweep_age_s=2))
    driven = np.eye(4)
    for second in range(4):
        driven = driven.copy()
        driven[0, 3] = second * 1.5
        assert same(detector, reference, cloud(second, 300, stamp_s=second, pose=driven)) > 0
    for each in (detector, reference):
        each.forget()
    assert detector.clouds == 0
    assert detector.counts is None
    same(detector, reference, cloud(9, 300, stamp_s=9, pose=driven))


def test_thresholds_and_class_filter_count_from_the_next_cloud_on(make):
    detector, reference = make()
    assert same(detector, reference, cloud(1)) > 3
    for each in (detector, reference):
        each.thresholds = replace(each.thresholds, score=0.3, max_detections=9)
        each.class_filter = frozenset({0, 2})
    assert same(detector, reference, cloud(1), cloud(2)) > 0
    for each in (detector, reference):
        each.class_filter = None
    assert same(detector, reference, cloud(1)) == 9
    detector.thresholds = replace(detector.thresholds, score=1.0)
    assert len(detector(cloud(1))) == 0


def test_a_cloud_is_brought_to_the_gpu_while_it_works_on_the_one_before(make):
    detector, reference = make()
    clouds = [cloud(seed, 300 * seed) for seed in (1, 2, 3)]
    wanted = [len(reference(each)) for each in clouds]
    first, second = (detector.begin([each]) for each in clouds[:2])
    with pytest.raises(InferenceError, match='begun with 2 not finished; allowed: 2'):
        detector.begin([clouds[2]])
    assert detector.counts is None, 'nothing is known of it yet'
    assert len(first()[0]) == wanted[0]
    assert detector.counts.points + detector.dropped == 300
    third = detector.begin([clouds[2]])
    assert len(second()[0]) == wanted[1]
    assert detector.counts.points + detector.dropped == 600
    assert len(third()[0]) == wanted[2]
    assert sum(wanted) > 0


def test_what_changes_while_a_cloud_is_under_way_does_not_harm_it(make, monkeypatch):
    monkeypatch.setattr(gpu_lidar, 'FIRST_CAPACITY', 1024)
    detector, _ = make()
    wanted = bits(detector(cloud(1)))
    finish = detector.begin([cloud(1)])
    detector.thresholds = replace(detector.thresholds, score=1.0)
    assert len(detector(cloud(2, 5000))) == 0
    assert bits(*finish()) == wanted


def test_a_cloud_that_nobody_waits_for_leaves_nothing_behind(make):
    detector, _ = make('engine')
    detector(cloud(1))
    detector.begin([cloud(1)])
    detector.close()  # the fixture looks for what is left


def test_a_bad_cloud_does_not_spoil_the_next(make):
    detector, reference = make()
    bare = cloud(1)
    columns = {name: column for name, column in bare.view.columns.items() if name != 'intensity'}
    with pytest.raises(PointsError, match="no field 'intensity'"):
        detector(PlacedCloud(replace(bare.view, columns=columns)))
    with pytest.raises(PointsError, match='the transform of the cloud is'):
        detector(cloud(1, transform=np.zeros((4, 4))))
    assert same(detector, reference, cloud(1)) > 0


@pytest.mark.parametrize('route', ROUTES)
def test_a_network_that_cannot_be_recorded_runs_in_streams_and_says_so(make, fake_cuda, route):
    detector, reference = make(route, does='loop')
    assert same(detector, reference, cloud(1), cloud(2)) > 0
    assert 'no CUDA graph of this network, work goes in streams: ' in detector.no_graph
    assert 'a loop cannot be captured' in detector.no_graph
    assert 'cudaGraphLaunch' not in fake_cuda.calls


def test_a_board_that_shares_its_memory_copies_nothing(make, fake_cuda):
    detector, reference = make(mapped=True, spin=True)
    before = len(fake_cuda.calls)
    assert same(detector, reference, cloud(1), cloud(2)) > 0
    assert not {'upload', 'download'} & set(fake_cuda.calls[before:])
    assert detector.copies_left_out == 6


@pytest.mark.parametrize('route', ROUTES)
def test_the_parts_of_a_cloud_are_the_cloud(make, route):
    detector, reference = make(route)
    parts = dict(detector.parts(cloud(1)))
    encoder = ['encoder', 'scatter'] if route == 'engine' else []
    assert list(parts) == [
        'upload', 'pillars', *encoder, 'network', 'decode', 'download', 'graph',
    ]  # fmt: skip
    for each in parts.values():
        each()
    detector.backend.stream.synchronize()
    assert same(detector, reference, cloud(1)) > 0


def test_a_network_for_any_number_of_pillars_must_be_told_how_many_are_real(
    make, fake_cuda, tmp_path
):
    counted = replace(ALONE, count_tensor='count')
    detector, _ = make(write_whole(tmp_path, pillars=None, points=counted))
    assert len(detector(cloud(1)))
    with pytest.raises(BackendUnavailableError, match=r'name input\.count_tensor or'):
        make(write_whole(tmp_path, pillars=None, points=ALONE))


def test_what_is_not_filled_on_the_gpu_is_refused(make, fake_cuda, tmp_path):
    with pytest.raises(BackendUnavailableError, match="'places' is int64; wanted int32"):
        make(write_whole(tmp_path, integers=INT64))
    smaller = replace(PILLARS, max_voxels=200)
    with pytest.raises(InferenceError, match=r"input 'pillars' got float32\[200, 8, 9\], wanted"):
        make(write_whole(tmp_path, points=smaller))
    with pytest.raises(InferenceError, match=r"input 'pillars' got float32\[256, 8, 9\], wanted"):
        make(write_two_files(tmp_path, pillars=200))


def test_an_output_of_a_size_that_is_not_known_is_refused(make, monkeypatch):
    monkeypatch.setattr(TensorRtBackend, 'varying', ('output',))
    with pytest.raises(BackendUnavailableError, match="'output' is known after each run only"):
        make()


def test_real_sweeps_give_the_boxes_of_the_cpu_path(make, data):
    detector, reference = make()
    for path in sorted((data / 'lidar').glob('*.bin')):
        points = np.fromfile(path, '<f4').reshape(-1, 4)
        columns = {name: points[None, :, n] for n, name in enumerate(('x', 'y', 'z', 'intensity'))}
        view = PointView(1, 0, 'lidar', len(points), 1, 16, 16 * len(points), columns, True)
        assert same(detector, reference, PlacedCloud(view)) > 0
        assert detector.counts.kept > 1000
