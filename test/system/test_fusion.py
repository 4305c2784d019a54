# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Fusion of a camera and a lidar over real DDS; and what its messages may hold."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest

from trt_engine.errors import FusionError
from trt_inference.fusion.camera_model import camera_model

# the camera looks ahead from the very place of the lidar
EXTRINSIC = '[0.0, 0.0, 0.0, 0.5, -0.5, 0.5, 0.5]'
K = [100.0, 0.0, 99.5, 0.0, 100.0, 49.5, 0.0, 0.0, 1.0]
NAN = math.nan


def header(stamp_ms, frame='lidar'):
    from builtin_interfaces.msg import Time
    from std_msgs.msg import Header

    stamp = Time(sec=stamp_ms // 1000, nanosec=stamp_ms % 1000 * 1_000_000)
    return Header(stamp=stamp, frame_id=frame)


def camera_info(**changes):
    from sensor_msgs.msg import CameraInfo

    given = {'width': 200, 'height': 100, 'distortion_model': 'plumb_bob', 'k': K, **changes}
    return CameraInfo(header=header(0, 'camera'), **given)


def hypothesis(label, score):
    from vision_msgs.msg import ObjectHypothesis
    from vision_msgs.msg import ObjectHypothesisWithPose

    return ObjectHypothesisWithPose(hypothesis=ObjectHypothesis(class_id=label, score=score))


def image(stamp_ms, *found):
    """Return the message of x, y, width, height, turn, label, score in an image."""
    from vision_msgs.msg import BoundingBox2D
    from vision_msgs.msg import Detection2D
    from vision_msgs.msg import Detection2DArray
    from vision_msgs.msg import Point2D
    from vision_msgs.msg import Pose2D

    message = Detection2DArray(header=header(stamp_ms, 'camera'))
    for x, y, width, height, turn, *results in found:
        center = Pose2D(position=Point2D(x=float(x), y=float(y)), theta=float(turn))
        message.detections.append(
            Detection2D(
                bbox=BoundingBox2D(center=center, size_x=float(width), size_y=float(height)),
                results=[hypothesis(*each) for each in results],
            )
        )
    return message


def boxes(stamp_ms, *found):
    """Return the message of (x, y, z), (length, width, height), label, score in a cloud."""
    from geometry_msgs.msg import Point
    from geometry_msgs.msg import Pose
    from geometry_msgs.msg import Vector3
    from vision_msgs.msg import BoundingBox3D
    from vision_msgs.msg import Detection3D
    from vision_msgs.msg import Detection3DArray

    message = Detection3DArray(header=header(stamp_ms))
    for number, (place, size, *results) in enumerate(found):
        center, lengths = (
            dict(zip('xyz', map(float, each), strict=True)) for each in (place, size)
        )
        box = BoundingBox3D(center=Pose(position=Point(**center)), size=Vector3(**lengths))
        message.detections.append(
            Detection3D(
                header=message.header,
                bbox=box,
                id=str(number),
                results=[hypothesis(*each) for each in results],
            )
        )
    return message


# 10 m ahead a car, whose near face is 20 px wide at 9 m; behind a pedestrian
CAR = ((10, 0, 0), (2, 1.8, 1.8), ('car', 0.4))
BEHIND = ((-10, 0, 0), (1, 1, 1.8), ('pedestrian', 0.6))
SEEN = (99.5, 49.5, 20, 20, 0, ('truck', 0.2), ('van', 0.9))


class Fusion:
    """Sends to a fusion node, and has what it says."""

    def __init__(self, listener, wait_until):
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import CameraInfo
        from vision_msgs.msg import Detection2DArray
        from vision_msgs.msg import Detection3DArray

        create = listener.node.create_publisher
        self.infos = create(CameraInfo, '/camera_info', 10)
        self.images = create(Detection2DArray, '/inference/detections', 10)
        self.clouds = create(Detection3DArray, '/lidar_inference/detections', 10)
        self.found = listener.listen(Detection3DArray, '/fusion/detections')
        self.reports = listener.listen(DiagnosticArray, '/diagnostics')
        self.wait_until = wait_until
        self.stamp_ms = 1000
        self.info = None

    def wait(self):
        """Wait until the node hears."""
        for each in (self.infos, self.images, self.clouds):
            self.wait_until(lambda each=each: each.get_subscription_count(), 'the node', 30)

    def send(self, seen, *found, later_ms=7):
        """Send a camera, an image and boxes."""
        self.stamp_ms += 200
        if self.info is not None:
            self.infos.publish(self.info)
        self.clouds.publish(boxes(self.stamp_ms, *found))
        self.images.publish(image(self.stamp_ms + later_ms, *seen))

    def ask(self, seen, *found):
        """Send until boxes come back."""
        before = len(self.found)

        def back():
            self.send(seen, *found)
            return len(self.found) > before

        self.wait_until(back, 'fused boxes', 20)
        return self.found[-1]

    def status(self, name):
        found = [each for report in list(self.reports) for each in report.status]
        return next((each for each in reversed(found) if each.name == f'fusion: {name}'), None)

    def wait_for(self, name, words, *message, **how):
        """Wait for a diagnostic, and send a message meanwhile if one is given."""

        def told():
            if message:
                self.send(*message, **how)
            status = self.status(name)
            return status is not None and words in status.message

        self.wait_until(told, f'{words!r} in diagnostics of {name}', 20)
        return self.status(name)


@pytest.fixture
def fusion(listener, wait_until):
    return Fusion(listener, wait_until)


def test_label_from_the_image_and_box_from_the_lidar(start, fusion):
    start('fusion', extrinsic=EXTRINSIC, label_groups='[van=car]')
    fusion.wait()
    fusion.info = camera_info()
    message = fusion.ask([SEEN], CAR, BEHIND)

    assert message.header.frame_id == 'lidar'
    assert message.header.stamp.nanosec % 100_000_000 == 0, 'the stamp is that of the lidar'
    matched, alone = message.detections
    (result,) = matched.results
    assert (result.hypothesis.class_id, result.hypothesis.score) == ('van', 0.9)
    assert matched.bbox == boxes(0, CAR).detections[0].bbox
    assert (matched.id, matched.header) == ('0', message.header)
    assert alone.bbox == boxes(0, BEHIND).detections[0].bbox
    assert alone.results == [hypothesis('pedestrian', 0.6)]

    assert fusion.wait_for('camera', '200x100').level == b'\0'
    assert fusion.wait_for('transform', 'the parameter extrinsic').level == b'\0'
    fusion.wait_for('matches', 'have a partner in the image')
    values = {each.key: each.value for each in fusion.status('matches').values}
    assert values['boxes in view'] == values['matched'] != '0'
    fusion.wait_for('rate', 'no message on inference/detections and lidar_inference/detections')


def test_what_is_missing_or_broken_is_told_and_mended(start, fusion):
    log = start('fusion', extrinsic=EXTRINSIC, publish_unmatched='false', score='lidar')
    fusion.wait()
    fusion.wait_for('camera', 'no CameraInfo on camera_info yet; is it published?')
    fusion.wait_for('rate', 'nothing usable: no CameraInfo', [SEEN], CAR)

    fusion.info = camera_info(k=[0.0] * 9)
    status = fusion.wait_for('camera', 'K of CameraInfo is all zeros', [SEEN], CAR)
    assert status.level == b'\2'
    fusion.info = camera_info(d=[NAN] * 5)
    fusion.wait_for('camera', 'D of CameraInfo is [nan', [SEEN], CAR)

    fusion.info = camera_info(d=[-0.1, 0.01, 0.0, 0.0, 0.0])
    seen = (*SEEN[:5], ('car', 0.9))
    message = fusion.ask([seen], CAR, BEHIND)
    assert [each.results for each in message.detections] == [[hypothesis('car', 0.4)]]

    fusion.wait_for('rate', 'box 0 of the image is [nan', [(NAN, *seen[1:])], CAR)
    status = fusion.wait_for('synchronisation', 'within 50 ms', [seen], CAR, later_ms=60)
    assert 'clouds have no image within 50 ms; the nearest to the last one is 60.0 ms off' in (
        status.message
    )
    assert fusion.ask([seen], CAR).detections
    assert fusion.ask([], CAR).detections == []
    assert 'defect' not in log.read_text()


def test_a_defect_ends_the_node_rather_than_leave_it_silent(monkeypatch, wait_until, capfd):
    import threading

    from trt_inference.fusion import node as fusion_node

    def broken(*args):
        raise RuntimeError('a defect')

    nodes = []

    class Node(fusion_node.FusionNode):
        def __init__(self):
            super().__init__()
            nodes.append(self)

    monkeypatch.setattr(fusion_node, 'fuse', broken)
    monkeypatch.setattr(fusion_node, 'FusionNode', Node)
    statuses = []
    words = ['fusion', '--ros-args', '-p', f'extrinsic:={EXTRINSIC}']
    told_to_stop = Never()
    thread = threading.Thread(
        target=lambda: statuses.append(fusion_node.main(told_to_stop, words)), daemon=True
    )
    thread.start()
    wait_until(lambda: nodes, 'the node', 20)
    (node,) = nodes
    node._on_camera_info(camera_info())
    node._on_boxes(boxes(100, CAR))
    node._on_image(image(100, SEEN))
    wait_until(lambda: statuses, 'the end', 20)
    assert statuses == [1]
    error = capfd.readouterr().err
    assert 'defect, please report it' in error
    assert 'RuntimeError: a defect' in error


class Never:
    """Tells nobody to stop."""

    def __call__(self):
        return False

    def ignore(self):
        pass


def test_turned_boxes_and_those_without_a_class():
    from trt_inference.fusion.conversions import seen_by_lidar
    from trt_inference.fusion.conversions import seen_in_image

    seen = seen_in_image(
        image(0, (50, 50, 40, 20, math.pi / 2, ('car', 0.5)), (1, 1, 1, 1, 0), SEEN)
    )
    assert seen.labels == ('car', 'van')
    assert seen.boxes[0] == pytest.approx([40, 30, 60, 70])
    found = seen_by_lidar(boxes(0, CAR, ((1, 2, 3), (4, 5, 6))))
    assert found.labels == ('car', '')
    assert found.scores.tolist() == [0.4, 0]
    assert found.centers[1].tolist() == [1, 2, 3]
    assert found.sizes[1].tolist() == [4, 5, 6]
    assert found.quaternions[1].tolist() == [0, 0, 0, 1]
    assert seen_in_image(image(0)).boxes.shape == (0, 4)
    assert seen_by_lidar(boxes(0)).centers.shape == (0, 3)


NUMBERS = st.one_of(st.floats(), st.floats(-200, 200), st.sampled_from([0.0, 1e300, NAN]))
RESULTS = st.lists(st.tuples(st.sampled_from(['car', 'dog', '']), NUMBERS), max_size=2)


@settings(max_examples=300, deadline=None)
@given(
    info=st.fixed_dictionaries(
        {
            'd': st.lists(NUMBERS, max_size=9),
            'k': st.one_of(st.just(K), st.lists(NUMBERS, min_size=9, max_size=9)),
            'width': st.integers(0, 5000),
            'binning_x': st.integers(0, 2**32 - 1),
        }
    ),
    seen=st.lists(st.tuples(*[NUMBERS] * 5, RESULTS).map(lambda each: (*each[:5], *each[5]))),
    found=st.lists(
        st.tuples(st.tuples(*[NUMBERS] * 3), st.tuples(*[NUMBERS] * 3), RESULTS).map(
            lambda each: (*each[:2], *each[2])
        )
    ),
)
def test_whatever_messages_hold_there_are_boxes_or_a_reason(info, seen, found):
    import numpy as np

    from trt_inference.fusion import conversions
    from trt_inference.fusion.association import fuse
    from trt_inference.fusion.association import Rules

    lidar = boxes(0, *found)
    try:
        fused = fuse(
            conversions.seen_in_image(image(0, *seen)),
            conversions.seen_by_lidar(lidar),
            camera_model(conversions.calibration(camera_info(**info))),
            np.eye(4),
            Rules(max_center_distance=1.0),
        )
    except FusionError:
        return
    message = conversions.fused_detections(lidar, fused)
    assert {each.id for each in message.detections} == {each.id for each in lidar.detections}
