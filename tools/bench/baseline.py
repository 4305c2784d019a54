# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The frame path that most Python detector nodes take, as the benchmark's baseline.

Typed message, cv_bridge, float NumPy letterbox and normalise, a Python loop over the candidates,
one message object for each box. The network and its backend are those of our own path.
"""

from __future__ import annotations

import sys
from types import ModuleType

import cv2
from cv_bridge import CvBridge
import numpy as np
from rclpy.publisher import Publisher
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2D
from vision_msgs.msg import Detection2DArray
from vision_msgs.msg import ObjectHypothesisWithPose

from trt_engine.backend import Array
from trt_engine.backend import Backend
from trt_engine.card import Card

# cvbridge3 is cv_bridge without its compiled helper; these are its answers for bgr8.
_helper = ModuleType('cv_bridge.boost.cv_bridge_boost')
_helper.getCvType = lambda encoding: {'bgr8': cv2.CV_8UC3}[encoding]  # type: ignore[attr-defined]
_helper.CV_MAT_CNWrap = lambda kind: 3  # type: ignore[attr-defined]
_helper.CV_MAT_DEPTHWrap = lambda kind: 0  # type: ignore[attr-defined]
sys.modules.setdefault(_helper.__name__, _helper)

Box = tuple[float, float, float, float, float, int]


class BaselineNode:
    """A YOLOX node as one finds it; `on_message` is its subscription's callback."""

    def __init__(self, card: Card, backend: Backend, publisher: Publisher) -> None:
        self.card = card
        self.backend = backend
        self.publisher = publisher
        self.bridge = CvBridge()
        self.grid = self._grid()

    def _grid(self) -> Array:
        size = self.card.image
        cells = []
        for stride in self.card.head.options.get('strides', (8, 16, 32)):
            y, x = np.mgrid[: size.height // stride, : size.width // stride]
            cells.append(np.stack([x.ravel(), y.ravel(), np.full(x.size, stride)], axis=1))
        return np.concatenate(cells)

    def on_message(self, serialized: bytes) -> None:
        """Take one message from the bytes, as rclpy does for a typed callback, to the publisher."""
        message = deserialize_message(serialized, Image)
        image = self.bridge.imgmsg_to_cv2(message, 'passthrough')  # is bgr8
        tensor, ratio = self.preprocess(image)
        outputs = self.backend.run({self.card.image.tensor: tensor})
        boxes = self.decode(next(iter(outputs.values()))[0], ratio)
        self.publish(message, boxes)

    def preprocess(self, image: Array) -> tuple[Array, float]:
        """Letterbox and normalise in float."""
        size = self.card.image
        ratio = min(size.height / image.shape[0], size.width / image.shape[1])
        resized = cv2.resize(
            image,
            (int(image.shape[1] * ratio), int(image.shape[0] * ratio)),
            interpolation=cv2.INTER_LINEAR,
        )
        padded = np.full((size.height, size.width, 3), 114, dtype=np.float32)
        padded[: resized.shape[0], : resized.shape[1]] = resized
        if size.color == 'rgb':
            padded = padded[:, :, ::-1]
        padded = (padded * size.scale - np.array(size.mean)) / np.array(size.std)
        return np.ascontiguousarray(padded.transpose(2, 0, 1)[None], dtype=np.float32), ratio

    def decode(self, predictions: Array, ratio: float) -> list[Box]:
        """Go through the cells one by one, then suppress."""
        thresholds = self.card.thresholds
        found: list[Box] = []
        for row, (grid_x, grid_y, stride) in zip(predictions, self.grid, strict=True):
            scores = row[5:] * row[4]
            label = int(np.argmax(scores))
            score = float(scores[label])
            if score < thresholds.score:
                continue
            x, y = (row[0] + grid_x) * stride, (row[1] + grid_y) * stride
            w, h = np.exp(row[2]) * stride, np.exp(row[3]) * stride
            found.append((
                (x - w / 2) / ratio, (y - h / 2) / ratio, w / ratio, h / ratio, score, label,
            ))  # fmt: skip
        if not found:
            return []
        kept = cv2.dnn.NMSBoxes(
            [[float(v) for v in box[:4]] for box in found], [box[4] for box in found],
            thresholds.score, thresholds.nms_iou,
        )  # fmt: skip
        return [found[i] for i in np.array(kept).ravel()]

    def publish(self, message: Image, boxes: list[Box]) -> None:
        """Build one message object for each box."""
        result = Detection2DArray(header=message.header)
        for x, y, w, h, score, label in boxes:
            detection = Detection2D(header=message.header)
            detection.bbox.center.position.x = float(x + w / 2)
            detection.bbox.center.position.y = float(y + h / 2)
            detection.bbox.size_x = float(w)
            detection.bbox.size_y = float(h)
            hypothesis = ObjectHypothesisWithPose()
            hypothesis.hypothesis.class_id = self.card.classes[label]
            hypothesis.hypothesis.score = score
            detection.results.append(hypothesis)
            result.detections.append(detection)
        self.publisher.publish(result)
