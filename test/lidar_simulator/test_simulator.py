# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Simulated sweeps: rays hit what they must, boxes lie around their points, one seed one sweep."""

from __future__ import annotations

from dataclasses import replace
import math
import subprocess
import sys

import cv2
import numpy as np
import pytest

from tools.lidar_simulator import sweep as sweeps
from tools.lidar_simulator.drive import drive
from tools.lidar_simulator.scenes import make_scene
from tools.lidar_simulator.scenes import Scene
from tools.lidar_simulator.scenes import Standing
from tools.lidar_simulator.sensor import Sensor
from tools.lidar_simulator.sensor import SENSORS
from tools.lidar_simulator.shapes import cast
from tools.lidar_simulator.shapes import Part
from tools.lidar_simulator.sweep import scan
from tools.lidar_simulator.sweep import simulate
from tools.lidar_simulator.things import CLUTTER
from tools.lidar_simulator.things import KINDS
from tools.lidar_simulator.things import LABELLED
from trt_inference.lidar.nms3d import rotated_iou

pytestmark = pytest.mark.slow  # seconds altogether

SMALL = Sensor(beams=32, columns=512, lowest_deg=-24.0, highest_deg=6.0)
EXACT = replace(SMALL, noise_m=0.0, dropout=0.0)
FLAT = Scene((), (0.0, 0.0), (0.0, 0.0), 5.0)
CHANCE = np.random.default_rng(1)


def rays(*directions):
    vectors = np.array(directions, float)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def local(points, box):
    """Return points in the frame of a box."""
    away = points[:, :3] - box[:3]
    cos, sin = np.cos(box[6]), np.sin(box[6])
    return np.stack(
        (away[:, 0] * cos + away[:, 1] * sin, away[:, 1] * cos - away[:, 0] * sin, away[:, 2]), 1
    )


@pytest.mark.parametrize('shape', ['box', 'cylinder', 'ellipsoid'])
def test_a_ray_through_the_middle_hits_the_near_side_squarely(shape):
    part = Part(shape, (10, 0, 0), (2, 1, 0.5))
    directions = rays((1, 0, 0), (-1, 0, 0), (0, 1, 0), (1, 0.3, 0), (1, 0, 0.2))
    distance, squarely = cast(part, directions, CHANCE)
    assert distance.tolist() == [8, *[math.inf] * 4]
    assert squarely.tolist() == [1, 0, 0, 0, 0]


@pytest.mark.parametrize('shape', ['box', 'cylinder', 'ellipsoid'])
def test_hits_lie_on_the_surface(shape):
    part = Part(shape, (3, 8, 1), (2, 1, 0.5), yaw=0.7)
    directions = rays(*np.random.default_rng(2).normal((3, 8, 1), 1.2, (2000, 3)))
    distance, squarely = cast(part, directions, CHANCE)
    hit = np.isfinite(distance)
    assert 100 < hit.sum() < 2000
    places = local(directions[hit] * distance[hit, None], np.array([3, 8, 1, 0, 0, 0, 0.7]))
    x, y, z = np.abs(places / part.half).T
    outside = {
        'box': np.maximum.reduce([x, y, z]),
        'cylinder': np.maximum(np.hypot(x, y), z),
        'ellipsoid': np.sqrt(x**2 + y**2 + z**2),
    }[shape]
    np.testing.assert_allclose(outside, 1, atol=1e-9)
    assert ((squarely[hit] >= 0) & (squarely[hit] <= 1 + 1e-9)).all()


def test_foliage_lets_rays_through_and_is_hit_inside():
    part = Part('ellipsoid', (10, 0, 0), (2, 2, 2), opacity=0.5)
    distance, _ = cast(part, np.repeat(rays((1, 0, 0)), 4000, axis=0), CHANCE)
    hit = distance[np.isfinite(distance)]
    assert 1800 < len(hit) < 2200
    assert ((hit >= 8) & (hit <= 12)).all()
    assert hit.std() > 0.5


def test_flat_ground_lies_where_it_is():
    sweep = scan(FLAT, EXACT, CHANCE)
    np.testing.assert_allclose(sweep.points[:, 2], -EXACT.height_m, atol=1e-5)
    assert (sweep.owners == -1).all()
    assert sweep.boxes.shape == (0, 7)
    assert 10 < np.hypot(*sweep.points[:, :2].T).max() < EXACT.farthest_m


@pytest.mark.parametrize('kind', LABELLED | CLUTTER)
def test_things_fill_their_boxes(kind):
    for seed in range(20):
        thing = (LABELLED | CLUTTER)[kind](np.random.default_rng(seed))
        low = np.min([np.subtract(p.center, p.half) for p in thing.parts], axis=0)
        high = np.max([np.add(p.center, p.half) for p in thing.parts], axis=0)
        assert low[2] >= -0.2
        if kind in LABELLED:
            length, width, height = thing.size
            allowed = np.array([length / 2, width / 2, height]) + 1e-9
            assert (high <= allowed).all()
            assert (low >= [-length / 2 - 1e-9, -width / 2 - 1e-9, -1e-9]).all()
            assert (high - low >= 0.75 * np.array(thing.size)).all()


@pytest.mark.parametrize('seed', range(4))
def test_points_of_a_thing_lie_in_its_box(seed):
    sweep = simulate(seed, SMALL)
    assert sweep.points.dtype == np.float32
    assert len(sweep.points) == len(sweep.rings) == len(sweep.owners)
    assert sweep.seen.sum() == (sweep.owners >= 0).sum() > 300
    for owner, box in enumerate(sweep.boxes):
        mine = local(sweep.points[sweep.owners == owner], box)
        assert len(mine) == sweep.seen[owner]
        assert (np.abs(mine) <= box[3:6] / 2 + 5 * SMALL.noise_m).all()


@pytest.mark.parametrize('seed', range(4))
def test_nothing_stands_in_something_else(seed):
    scene = make_scene(np.random.default_rng(seed), 1.8)
    places = np.array([[*thing.box[:2], *thing.box[3:5], thing.box[6]] for thing in scene.things])
    ious = rotated_iou(places[:, None], places) - np.eye(len(places))
    assert len(places) > 15
    assert ious.max() < 1e-9


def test_over_many_scenes_every_kind_occurs():
    kinds = {
        thing.kind
        for seed in range(30)
        for thing in make_scene(np.random.default_rng(seed), 1.8).things
    }
    assert kinds == set(LABELLED) | set(CLUTTER)


def test_one_seed_gives_one_sweep():
    first, second, other = (simulate(seed, SMALL) for seed in (5, 5, 6))
    for name in ('points', 'rings', 'owners', 'boxes', 'kinds', 'seen'):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert first.points.tobytes() != other.points.tobytes()


def test_the_nearer_thing_hides_the_farther_one():
    def standing(x, kind, half):
        box = (x, 0, 0, 1, 1, 1, 0)
        return Standing(kind, box, (Part('box', (x, 0, -0.5), (0.5, half, 1.3)),))

    for order in (1, -1):
        things = (standing(10, 'van', 3.0), standing(20, 'car', 0.8))[::order]
        sweep = scan(replace(FLAT, things=things), EXACT, CHANCE)
        seen = dict(zip((KINDS[kind] for kind in sweep.kinds), sweep.seen, strict=True))
        assert seen['van'] > 50
        assert seen['car'] == 0


def test_windows_of_rays_leave_no_hit_out(monkeypatch):
    solid = [
        thing for thing in make_scene(np.random.default_rng(3), 1.8).things
        if all(part.opacity == 1 for part in thing.parts)
    ]  # fmt: skip
    scene = replace(FLAT, things=tuple(solid))
    narrow = scan(scene, EXACT, np.random.default_rng(1))
    everywhere = np.ix_(np.arange(EXACT.beams), np.arange(EXACT.columns))
    monkeypatch.setattr(sweeps, '_window', lambda *_: everywhere)
    wide = scan(scene, EXACT, np.random.default_rng(1))
    assert narrow.points.tobytes() == wide.points.tobytes()


def test_noise_dropout_and_range_do_what_they_say():
    car = LABELLED['car'](np.random.default_rng(1))
    parts = tuple(part.placed(10, 2, -1.8, 0.3) for part in car.parts)
    scene = replace(FLAT, things=(Standing('car', (10, 2, -1, *car.size, 0.3), parts),))
    exact = scan(scene, EXACT, np.random.default_rng(1))
    lossy = scan(scene, replace(EXACT, dropout=0.5), np.random.default_rng(1))
    assert len(lossy.points) == pytest.approx(len(exact.points) / 2, rel=0.05)
    noisy = scan(scene, replace(EXACT, noise_m=0.1), np.random.default_rng(1))
    ranges = [np.linalg.norm(sweep.points[:, :3], axis=1) for sweep in (exact, noisy)]
    assert np.std(ranges[1] - ranges[0]) == pytest.approx(0.1, rel=0.05)
    near = scan(scene, replace(EXACT, farthest_m=20.0), np.random.default_rng(1))
    assert np.linalg.norm(near.points[:, :3], axis=1).max() < ranges[0].max()
    assert ((exact.points[:, 3] >= 0) & (exact.points[:, 3] <= 1)).all()


@pytest.mark.parametrize('beams', SENSORS)
def test_both_sensors_see_a_street(beams):
    sweep = simulate(7, SENSORS[beams])
    assert 50_000 < len(sweep.points) < SENSORS[beams].beams * SENSORS[beams].columns
    assert set(np.unique(sweep.rings)) <= set(range(beams))
    assert (sweep.seen > 20).sum() > 8


def test_on_a_drive_everything_stays_where_it_is_and_nothing_is_in_the_way():
    first, second, third = drive(4, EXACT, 3, step_m=2.0)
    assert len(first.boxes) > 5
    went = first.boxes - second.boxes
    assert np.hypot(went[:, 0], went[:, 1]) == pytest.approx(2.0, abs=1e-4)
    assert went[:, :3].std(axis=0).max() < 1e-4
    assert went[:, 3:].tolist() == np.zeros((len(went), 4)).tolist()
    np.testing.assert_allclose(first.boxes - third.boxes, 2 * went, atol=1e-4)
    for sweep in (first, second, third):
        inside = [np.abs(local(sweep.points[:, :3] * 0, box)) < box[3:6] / 2 for box in sweep.boxes]
        assert not any(each[0, :2].all() for each in inside)
        for place in np.flatnonzero(sweep.seen > 3):
            near = local(sweep.points[sweep.owners == place], sweep.boxes[place])
            assert (np.abs(near) < sweep.boxes[place, 3:6] / 2 + 0.05).all()


def test_the_command_writes_picture_and_points(tmp_path, repository):
    out, points = tmp_path / 'street.png', tmp_path / 'street.bin'
    outcome = subprocess.run(
        [sys.executable, '-m', 'tools.lidar_simulator', '--beams', '128', '--out', str(out),
         '--points', str(points)],
        cwd=repository, capture_output=True, text=True, check=True,
    )  # fmt: skip
    count = points.stat().st_size // 16
    assert outcome.stdout.startswith(f'{count} points; seen: ')
    assert cv2.imread(str(out)).shape == (900, 900, 3)
    outcome = subprocess.run(
        [sys.executable, '-m', 'tools.lidar_simulator', '--out', str(tmp_path / 'no' / 'x.png')],
        cwd=repository, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert outcome.returncode == 1
    assert 'cannot write' in outcome.stderr
    assert 'Traceback' not in outcome.stderr
