# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Networks of standard operators that take points or voxels, against plain NumPy, end to end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tools.lidar_network.generic import CENTER_ROLES
from tools.lidar_network.generic import point_weights
from tools.lidar_network.generic import voxel_weights
from tools.lidar_network.generic import write_points
from tools.lidar_network.generic import write_voxels
from trt_builder.settings import Resolved
from trt_builder.tensorrt_build import build
from trt_engine.backends import open_backend
from trt_engine.build_settings import ShapeRange
from trt_engine.card import Card
from trt_engine.card import Head
from trt_engine.card import ModelSource
from trt_engine.card import Thresholds
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import ModelFileError
from trt_engine.lidar.model import network_file
from trt_engine.lidar.model import PillarWeights
from trt_engine.lidar.pillar_inputs import open_inputs
from trt_engine.lidar_card import PointsInput
from trt_inference.lidar.clouds import CloudOptions
from trt_inference.lidar.gpu_pillars import require_pillars
from trt_inference.lidar.loading import LoadedLidar
from trt_inference.lidar.pipeline import PlacedCloud
from trt_inference.lidar.point_view import PointView

pytestmark = pytest.mark.slow

RANGE = (-8, -8, -2, 8, 8, 2)
MOST = 300
POINTS = PointsInput('points', RANGE, (16, 16, 4), MOST, 1, 'points')
VOXELS = PointsInput(
    'voxels', RANGE, (1, 2, 1), 3, 200, 'voxel', places_tensor='places', sizes_tensor='sizes'
)
WEIGHTS, VOXEL_WEIGHTS = point_weights(), voxel_weights()
BOXES = Head('boxes', {'boxes': ('boxes',), 'scores': ('scores',)}, {})
CENTERS = Head(
    'centerpoint', {role: (role,) for role in CENTER_ROLES}, {'form': 'openpcdet', 'stride': 1}
)
SCORE = 0.51


def card(path, spec, head):
    return Card(
        name='generic',
        summary='A card for tests',
        model=ModelSource(str(path), 'Apache-2.0'),
        input=spec,
        head=head,
        classes=('car', 'truck'),
        thresholds=Thresholds(SCORE, None, max_detections=1000),
    )


@pytest.fixture(params=['free', 'masked'])
def points_card(request, tmp_path):
    """Return the card of a network of points: of any number, or of padded ones."""
    masked = request.param == 'masked'
    path = tmp_path / 'points.onnx'
    write_points(WEIGHTS, path, rows=MOST if masked else None)
    return card(path, replace(POINTS, mask_tensor='mask' if masked else None), BOXES)


@pytest.fixture
def voxels_card(tmp_path):
    write_voxels(VOXEL_WEIGHTS, VOXELS, tmp_path / 'voxels.onnx')
    return card(tmp_path / 'voxels.onnx', VOXELS, CENTERS)


@pytest.fixture
def load():
    """Return a function that loads a card's network in ONNX Runtime; it gives the detector."""
    loaded = []

    def one(given):
        backend = open_backend('onnxruntime', network_file(given))
        loaded.append(LoadedLidar(given, backend, CloudOptions()))
        return loaded[-1].detector

    yield one
    for each in loaded:
        each.close()


def rows_of(count, seed=5):
    chance = np.random.default_rng(seed)
    return chance.uniform((-8, -8, -2, 0), (8, 8, 2, 1), (count, 4)).astype(np.float32)


def cloud(rows):
    columns = dict(zip(('x', 'y', 'z', 'intensity'), rows.T[:, None].copy(), strict=True))
    return PlacedCloud(PointView(0, 0, 'lidar', len(rows), 1, 16, 16 * len(rows), columns, True))


def sigmoid(values):
    return 1 / (1 + np.exp(-values.astype(np.float64)))


def plain_points(rows):
    """Return what the network of points makes of a cloud: boxes, and a score for each class."""
    hidden = np.maximum(rows.astype(np.float64) @ WEIGHTS['layer'], 0)
    centers = rows[:, :3] + hidden.max(axis=0) @ WEIGHTS['shift']
    boxes = np.concatenate((centers, 1 + sigmoid(hidden @ WEIGHTS['rest'])), axis=1)
    return boxes, sigmoid(hidden @ WEIGHTS['classes'])


def assert_same(boxes, wanted, scores):
    best = scores.max(axis=1)
    order = np.argsort(-best, kind='stable')
    order = order[best[order] >= SCORE]
    assert 0 < len(order) == len(boxes)
    found = np.concatenate((boxes.centers, boxes.sizes, boxes.yaws[:, None]), axis=1)
    np.testing.assert_allclose(boxes.scores, best[order], atol=1e-5)
    np.testing.assert_allclose(found, wanted[order], atol=1e-4)
    assert boxes.classes.tolist() == scores.argmax(axis=1)[order].tolist()


@pytest.mark.parametrize('count', [1, 40, MOST])
def test_points_become_boxes_as_in_numpy(points_card, load, count):
    rows = rows_of(count, seed=6)
    detector = load(points_card)
    detector(cloud(rows_of(MOST)))  # nothing of an earlier cloud is left
    assert_same(detector(cloud(rows)), *plain_points(rows))


def test_a_cloud_that_is_too_large_is_thinned_and_that_is_counted(points_card, load):
    rows = rows_of(3 * MOST)
    detector = load(points_card)
    assert_same(detector(cloud(rows)), *plain_points(rows[::3]))
    assert detector.counts.overflow() == '600 of 900 points are beyond max_points'
    assert (detector.overflows, detector.counts.kept) == (1, MOST)


def test_what_is_no_point_in_range_goes_before_the_network(points_card, load):
    rows = rows_of(60)
    bad = np.array([(np.nan, 0, 0, 0), (9, 0, 0, 0), (0, 0, 0, 1), (1, 1, np.inf, 0)], np.float32)
    detector = load(points_card)
    assert_same(detector(cloud(np.concatenate((bad, rows)))), *plain_points(rows))
    assert (detector.dropped, detector.counts.outside, detector.overflows) == (3, 1, 0)


@pytest.mark.parametrize('rows', [np.zeros((0, 4)), np.full((3, 4), np.nan), np.full((2, 4), 50)])
def test_without_a_point_nothing_is_seen(points_card, voxels_card, load, rows):
    for given in (points_card, voxels_card):
        detector = load(given)
        assert len(detector(cloud(rows.astype(np.float32)))) == 0
        assert detector.counts.kept == 0
        assert len(detector(cloud(rows_of(200))))


def test_equal_clouds_give_equal_bits(points_card, voxels_card, load):
    def as_bytes(boxes):
        names = ('centers', 'sizes', 'yaws', 'scores', 'classes')
        return [getattr(boxes, name).tobytes() for name in names]

    for given in (points_card, voxels_card):
        detector = load(given)
        first = as_bytes(detector(cloud(rows_of(700))))
        detector(cloud(rows_of(9, seed=1)))
        assert as_bytes(detector(cloud(rows_of(700)))) == first


def plain_voxels(rows):
    """Return centre, sizes and yaw in each cell, and a score for each class, from loops."""
    columns, lines = VOXELS.grid
    low, size = np.array(RANGE[:3]), np.array(VOXELS.voxel_m)
    held = {}
    for row in rows:
        x, y, z = np.floor((row[:3] - low) / size).astype(int)
        held.setdefault((z, y, x), []).append(row)
    above = np.zeros((lines, columns, 8))
    for (_, y, x), points in held.items():
        mean = np.mean(points[: VOXELS.max_points], axis=0)
        above[y, x] = np.maximum(above[y, x], np.maximum(mean @ VOXEL_WEIGHTS['layer'], 0))
    made = {role: above @ VOXEL_WEIGHTS[role].T for role in CENTER_ROLES}
    y, x = np.mgrid[:lines, :columns]
    centers = (
        (x + made['offset'][..., 0]) * size[0] + low[0],
        (y + made['offset'][..., 1]) * size[1] + low[1],
        made['height'][..., 0],
    )
    yaws = np.arctan2(made['rotation'][..., 1], made['rotation'][..., 0])
    boxes = np.stack((*centers, *np.moveaxis(np.exp(made['size']), -1, 0), yaws), axis=-1)
    return boxes.reshape(-1, 7), sigmoid(made['heatmap']).reshape(-1, 2)


@pytest.mark.parametrize('count', [30, 250])
def test_plain_voxels_in_layers_become_boxes_as_in_numpy(voxels_card, load, count):
    rows = rows_of(count)
    detector = load(voxels_card)
    detector(cloud(rows_of(9, seed=1)))
    assert_same(detector(cloud(rows)), *plain_voxels(rows))
    assert detector.counts.voxels > 25
    assert detector.counts.voxels_dropped == 0


def test_voxels_beyond_the_card_are_counted(voxels_card, load):
    detector = load(voxels_card)
    detector(cloud(rows_of(4000)))
    counts = detector.counts
    assert (counts.voxels, counts.voxels_dropped, detector.overflows) == (512, 312, 1)
    assert min(counts.over_points, counts.over_voxels) > 0


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        ({'max_points': MOST + 1}, r'max_points and input\.channels of the card make \[301, 4\]'),
        ({'channels': ()}, r'make \[300, 3\] or \[1, 300, 3\]'),
        ({'mask_tensor': None}, 'takes points, mask; .* of the card name points$'),
        ({'tensor': 'cloud'}, 'takes points, mask; .* of the card name cloud, mask$'),
    ],
)
def test_a_card_that_does_not_fit_the_file_is_refused(tmp_path, load, changes, text):
    write_points(WEIGHTS, tmp_path / 'points.onnx', rows=MOST)
    spec = replace(POINTS, mask_tensor='mask', channels=('intensity',))
    spec = replace(spec, **changes)
    with pytest.raises(ModelFileError, match=text):
        load(card(tmp_path / 'points.onnx', spec, BOXES))


@pytest.mark.parametrize('spec', [POINTS, VOXELS])
def test_an_encoder_needs_pillars_as_tall_as_the_range(tmp_path, spec):
    write_points(WEIGHTS, tmp_path / 'points.onnx')
    backend = open_backend('onnxruntime', tmp_path / 'points.onnx')
    weights = PillarWeights(np.ones((4, 2), np.float32), np.ones(2, np.float32))
    with pytest.raises(ModelFileError, match=rf'input\.features is {spec.features}; remove'):
        open_inputs(spec, weights, backend, None)
    backend.close()


@pytest.mark.parametrize(
    ('changes', 'shape', 'text'),
    [
        ({'features': 'voxel'}, (-1, 4), r'input\.features is voxel'),
        ({'features': 'pillar9'}, (-1, 3), r"'places' is \[V, 3\], and the GPU kernels make"),
    ],
)
def test_the_kernels_are_not_asked_for_what_they_do_not_make(changes, shape, text):
    flat = replace(VOXELS, voxel_m=(1, 2, 4), **changes)
    with pytest.raises(BackendUnavailableError, match=text):
        require_pillars(flat, {'places': shape})
    require_pillars(replace(flat, features='pillar10'), {'places': (-1, 4)})


# --- with TensorRT, for which a stand-in computes ----------------------------------------------


@pytest.fixture
def load_engine(fake_cuda, monkeypatch):
    """Return a function that loads an engine of a card's network."""
    loaded = []

    def one(given, ranges, **settings):
        monkeypatch.setenv('FAKE_TENSORRT', '10.3.0 build')
        model = network_file(given)
        profiles = ({name: ShapeRange(*shapes) for name, shapes in ranges.items()},)
        settled = Resolved('tensorrt', (10, 3, 0), 'fp32', strongly_typed=False, profiles=profiles)
        output = build(settled, model, report=lambda *_: None, log=lambda *_: None)
        model.with_suffix('.plan').write_bytes(output.plan)
        backend = open_backend('tensorrt', model.with_suffix('.plan'))
        loaded.append(LoadedLidar(given, backend, CloudOptions(), **settings))
        return loaded[-1]

    yield one
    for each in loaded:
        each.close()


def test_an_engine_of_points_runs_between_what_the_cpu_does_and_that_is_said(load_engine, tmp_path):
    path = tmp_path / 'points.onnx'
    write_points(WEIGHTS, path)
    given = card(path, POINTS, BOXES)
    ranges = {'points': ((1, 1, 4), (1, MOST, 4), (1, MOST, 4))}
    loaded = load_engine(given, ranges)
    assert str(loaded) == (
        'cpu: clouds are prepared and outputs decoded on the CPU: clouds of this network are '
        'prepared on the CPU: input.features is points, and the GPU kernels make pillars with '
        'their offsets only'
    )
    for count in (MOST, 17, 60):
        rows = rows_of(count)
        assert_same(loaded.detector(cloud(rows)), *plain_points(rows))
    with pytest.raises(BackendUnavailableError, match=r'input\.features is points'):
        load_engine(given, ranges, pipeline='gpu')


def test_an_engine_of_voxels_likewise(load_engine, voxels_card):
    ranges = {
        'voxels': ((1, 3, 4), (200, 3, 4), (200, 3, 4)),
        'places': ((1, 3), (200, 3), (200, 3)),
        'sizes': ((1,), (200,), (200,)),
    }
    loaded = load_engine(voxels_card, ranges)
    assert 'input.features is voxel' in loaded.remark
    for count in (30, 200):
        rows = rows_of(count)
        assert_same(loaded.detector(cloud(rows)), *plain_voxels(rows))
