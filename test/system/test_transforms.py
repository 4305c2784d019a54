# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""TF's transforms become matrices, or errors that say what is missing; tf2_ros is a stand-in."""

from __future__ import annotations

import math
import sys
from types import ModuleType
from types import SimpleNamespace

import numpy as np
import pytest

from trt_engine.errors import ConfigError
from trt_engine.errors import PointsError
from trt_inference.detector.latest import Frame


def quaternion(yaw=0.0, roll=0.0):
    """Return x, y, z, w of a roll, then a turn."""
    a, b = yaw / 2, roll / 2
    return (
        math.cos(a) * math.sin(b),
        math.sin(a) * math.sin(b),
        math.sin(a) * math.cos(b),
        math.cos(a) * math.cos(b),
    )


def transform(x=0.0, y=0.0, z=0.0, turn=(0.0, 0.0, 0.0, 1.0)):
    from geometry_msgs.msg import Quaternion
    from geometry_msgs.msg import Transform
    from geometry_msgs.msg import Vector3

    return Transform(
        translation=Vector3(x=x, y=y, z=z),
        rotation=Quaternion(**dict(zip('xyzw', turn, strict=True))),
    )


@pytest.fixture
def tf2(monkeypatch):
    """Have `import tf2_ros` find a module that knows the transforms in `known`."""
    module = ModuleType('tf2_ros')
    module.known, module.asked, module.listeners = {}, [], []

    class TransformException(Exception):
        pass

    class Buffer:
        def lookup_transform(self, target, source, time, timeout):
            module.asked.append((target, source, time.nanoseconds, timeout.nanoseconds))
            if (target, source) not in module.known:
                raise TransformException(f'{source} is unknown')
            return SimpleNamespace(transform=module.known[target, source])

    class TransformListener:
        def __init__(self, buffer, node):
            self.node = node
            module.listeners.append(self)

        def unregister(self):
            module.listeners.remove(self)

    module.TransformException = TransformException
    module.Buffer, module.TransformListener = Buffer, TransformListener
    monkeypatch.setitem(sys.modules, 'tf2_ros', module)
    return module


@pytest.mark.parametrize(
    ('given', 'point', 'expected'),
    [
        ({}, (3, 1, 2), (3, 1, 2)),
        ({'x': 10.0, 'y': -20.0, 'z': 30.0}, (3, 1, 2), (13, -19, 32)),
        ({'turn': quaternion(yaw=math.pi / 2)}, (3, 1, 2), (-1, 3, 2)),
        ({'turn': quaternion(roll=math.pi)}, (3, 1, 2), (3, -1, -2)),
        ({'x': 1.0, 'turn': quaternion(math.pi / 2, math.pi / 2)}, (3, 1, 2), (3, 3, 1)),
        ({'turn': tuple(1.2 * each for each in quaternion(math.pi))}, (3, 1, 2), (-3, -1, 2)),
    ],
)
def test_matrices_are_those_worked_out_by_hand(given, point, expected):
    from trt_inference.transforms_node import as_matrix

    matrix = as_matrix(transform(**given))
    np.testing.assert_allclose(matrix @ [*point, 1], [*expected, 1], atol=1e-9)
    np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-9)


def test_a_quaternion_without_a_length_is_refused():
    from trt_inference.transforms_node import as_matrix

    with pytest.raises(
        PointsError, match=r'the quaternion \[0.0, 0.0, 0.0, 0.0\]; wanted a length'
    ):
        as_matrix(transform(turn=(0.0, 0.0, 0.0, 0.0)))


@pytest.fixture
def make():
    """Return a function that makes a lidar node with parameters in this process."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from trt_inference.lidar.node import LidarNode

    nodes = []

    def make(*given):
        words = ['--ros-args', *(word for each in given for word in ('-p', each))]
        rclpy.init(args=words, signal_handler_options=SignalHandlerOptions.NO)
        nodes.append(LidarNode())
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown()


def test_clouds_are_placed_by_their_own_stamp(make, tf2):
    from trt_inference.cdr import serialize_points

    tf2.known['base', 'lidar'] = transform(1.0)
    tf2.known['odom', 'base'] = transform(100.0)
    node = make(
        'card:=no/such.yaml', 'target_frame:=base', 'fixed_frame:=odom', 'sweeps:=2',
        'tf_timeout_ms:=20.0',
    )  # fmt: skip
    node.trigger_configure()  # fails for want of the card, after TF
    message = serialize_points(7_000_000_005, 'lidar', np.ones((1, 3), np.float32), 'xyz')

    view, place = node._open(Frame(0, message, 0.0))
    placed = place()

    assert view.frame_id == 'lidar'
    assert (placed.transform[0, 3], placed.pose[0, 3]) == (1, 100)
    when = (7_000_000_005, 20_000_000)
    assert tf2.asked == [('base', 'lidar', *when), ('odom', 'base', *when)]

    del tf2.known['odom', 'base']
    with pytest.raises(
        PointsError,
        match=r"no transform from 'base' to 'odom' at 7\.000 s within 20 ms: base is unknown; is",
    ):
        place()
    (listener,) = tf2.listeners
    assert listener.node is node
    node.trigger_configure()
    assert len(tf2.listeners) == 1
    node._free()
    assert tf2.listeners == []


@pytest.mark.parametrize(
    ('given', 'front', 'rear'),
    [
        ((), 'front', 'rear'),
        (('target_frame:=base',), 'base', 'base'),
        (('fixed_frame:=odom',), 'odom', 'odom'),
    ],
    ids=['as they come', 'target frame', 'fixed frame'],
)
def test_sweeps_of_two_lidars_are_one_cloud_only_where_tf_brings_them_together(
    make, tf2, given, front, rear
):
    from trt_inference.cdr import serialize_points

    for pair in (('base', 'front'), ('base', 'rear'), ('odom', 'front'), ('odom', 'rear')):
        tf2.known[pair] = transform()
    node = make('card:=no/such.yaml', 'sweeps:=2', *given)
    node.trigger_configure()
    stills = []
    for frame in ('front', 'rear'):
        message = serialize_points(0, frame, np.ones((1, 3), np.float32), 'xyz')
        stills.append(node._open(Frame(0, message, 0.0))[1]().still)
    assert stills == [front, rear]


def test_a_stamp_below_zero_makes_a_cloud_unusable_and_ends_no_node(make, tf2):
    from trt_inference.cdr import serialize_points

    tf2.known['base', 'lidar'] = transform(1.0)
    node = make('card:=no/such.yaml', 'target_frame:=base')
    node.trigger_configure()
    message = serialize_points(-2_000_000_000, 'lidar', np.ones((1, 3), np.float32), 'xyz')
    with pytest.raises(PointsError, match=r'the stamp -2\.000 s is below zero, '):
        node._open(Frame(0, message, 0.0))[1]()


def test_a_cloud_in_the_target_frame_needs_no_transform(make, tf2):
    from trt_inference.cdr import serialize_points

    node = make('target_frame:=base')
    node.trigger_configure()
    message = serialize_points(0, 'base', np.ones((1, 3), np.float32), 'xyz')
    placed = node._open(Frame(0, message, 0.0))[1]()
    assert (placed.transform, placed.pose, tf2.asked) == (None, None, [])


def test_without_tf2_the_node_says_what_to_install(make, monkeypatch, capfd):
    from rclpy.lifecycle import TransitionCallbackReturn

    from trt_inference.transforms_node import Transforms

    monkeypatch.setitem(sys.modules, 'tf2_ros', None)
    node = make('target_frame:=base')
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert 'tf2_ros cannot be imported' in capfd.readouterr().err
    with pytest.raises(ConfigError, match='apt install ros-'):
        Transforms(node, 50.0)


@pytest.fixture
def make_fusion():
    """Return a function that makes a fusion node with parameters in this process."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from trt_inference.fusion.node import FusionNode

    nodes = []

    def make(*given):
        words = ['--ros-args', *(word for each in given for word in ('-p', each))]
        rclpy.init(args=words, signal_handler_options=SignalHandlerOptions.NO)
        nodes.append(FusionNode())
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown()


def header(frame, stamp_ns):
    from builtin_interfaces.msg import Time
    from std_msgs.msg import Header

    return Header(frame_id=frame, stamp=Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9))


@pytest.mark.parametrize(
    ('given', 'asked', 'shift'),
    [
        ((), [('camera', 'lidar', 7_000_000_005)], 1),
        (
            ('fixed_frame:=odom',),
            [('odom', 'lidar', 7_000_000_005), ('camera', 'odom', 7_020_000_000)],
            110,
        ),
    ],
)
def test_fusion_asks_tf_for_where_the_boxes_were_and_the_camera_is(
    make_fusion, tf2, given, asked, shift
):
    tf2.known['camera', 'lidar'] = transform(1.0)
    tf2.known['odom', 'lidar'] = transform(100.0)
    tf2.known['camera', 'odom'] = transform(10.0)
    node = make_fusion(*given)
    headers = header('camera', 7_020_000_000), header('lidar', 7_000_000_005)

    assert node._transform(*headers)[0, 3] == shift
    assert [each[:3] for each in tf2.asked] == asked
    assert node._transform_problem == ''

    tf2.known.clear()
    with pytest.raises(PointsError, match=r"TF has no transform from 'lidar' to "):
        node._transform(*headers)
    assert 'TF has no transform' in node._transform_problem


def test_fusion_without_tf2_and_without_extrinsic_says_what_to_do(make_fusion, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tf2_ros', None)
    with pytest.raises(
        ConfigError, match=r'extrinsic is not set, and tf2_ros cannot .*, or set extrinsic'
    ):
        make_fusion()
