# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What is done to the points of clouds before a network sees them: moved, cropped, accumulated.

Clouds are (N, channels) float32 whose first three numbers are x, y, z in metres. They are kept
column by column in memory, as `point_view.PointReader` gives them. Transforms are 4x4 float64 that
take a point of the frame that they are `from` to one that they are `to`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from trt_engine.backend import Array
from trt_engine.errors import ConfigError
from trt_engine.errors import PointsError

_NSEC = 1e9
# How far the axes of a rotation may be from upright to each other and from a length of 1.
_RIGID = 1e-3

Corners = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class CloudOptions:
    """What is done to each cloud; by default nothing.

    Attributes:
        self_box_m: Lowest x, y, z, then highest: points within are of the vehicle itself.
        near_m: Points nearer than this to the origin, seen from above, do not count.
        far_m: Nor do points farther than this; None for no limit.
        ground_offset_m: Added to z before the network, taken from the boxes after it: the height
            of the origin above the ground here, less that of the sensor it was trained with.
        sweeps: How many clouds the network sees at once, the newest and those before it.
        sweep_age_s: Earlier clouds count while they are not older than this.
    """

    self_box_m: Corners | None = None
    near_m: float = 0.0
    far_m: float | None = None
    ground_offset_m: float = 0.0
    sweeps: int = 1
    sweep_age_s: float = 1.0

    @property
    def idle(self) -> bool:
        """Return whether clouds stay as they come."""
        return self == CloudOptions(sweep_age_s=self.sweep_age_s)

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ConfigError: Names the value, and what is wanted.
        """
        box = self.self_box_m
        if box is not None and not all(a < b for a, b in zip(box[:3], box[3:], strict=True)):
            raise ConfigError(f'self_box_m is {list(box)}; wanted lowest x, y, z, then highest')
        if self.far_m is not None and self.far_m <= self.near_m:
            raise ConfigError(
                f'near_m is {self.near_m:g} and far_m is {self.far_m:g}, which leaves no point; '
                'wanted far_m above near_m'
            )
        if self.sweeps < 1 or self.sweep_age_s <= 0:
            raise ConfigError(
                f'{self.sweeps} sweeps of the last {self.sweep_age_s:g} s are wanted; allowed: at '
                'least 1, of more than 0 s'
            )


def check_transform(matrix: Array, what: str) -> None:
    """Refuse what moves no rigid body.

    Raises:
        PointsError: The matrix has another shape, or is no rotation and translation.
    """
    good = matrix.shape == (4, 4) and bool(np.isfinite(matrix).all())
    if good:
        turn = matrix[:3, :3]
        upright = np.abs(turn @ turn.T - np.eye(3)).max() < _RIGID
        good = bool(upright and np.linalg.det(turn) > 0 and (matrix[3] == (0, 0, 0, 1)).all())
    if not good:
        raise PointsError(
            f'{what} is {matrix.tolist()}; wanted 4x4 numbers, a rotation and a translation'
        )


def inverse(matrix: Array) -> Array:
    """Return the transform back of a rotation and translation."""
    back = np.eye(4)
    back[:3, :3] = matrix[:3, :3].T
    back[:3, 3] = -matrix[:3, :3].T @ matrix[:3, 3]
    return back


def move(points: Array, matrix: Array) -> None:
    """Take points to another frame, in place.

    Sums are written out: a matrix product may round a point by where it stands in the cloud.
    """
    rows = matrix.astype(np.float32)
    x, y, z = (points[:, axis].copy() for axis in range(3))
    for axis, (along_x, along_y, along_z, shift) in enumerate(rows[:3]):
        out = points[:, axis]
        np.multiply(x, along_x, out=out)
        out += y * along_y
        out += z * along_z
        out += shift


def inside(points: Array, options: CloudOptions) -> Array | None:
    """Return a mask of the points that count; None where all do."""
    keep: Array | None = None
    if options.self_box_m is not None:
        own = np.ones(len(points), bool)
        for axis in range(3):
            own &= points[:, axis] >= options.self_box_m[axis]
            own &= points[:, axis] <= options.self_box_m[axis + 3]
        keep = ~own
    if options.near_m > 0 or options.far_m is not None:
        away = points[:, 0] ** 2
        away += points[:, 1] ** 2
        near = away >= options.near_m**2
        if options.far_m is not None:
            near &= away <= options.far_m**2
        keep = near if keep is None else keep & near
    return keep


@dataclass(frozen=True, eq=False)
class _Sweep:
    stamp_ns: int
    pose: Array
    still: str
    columns: Array


class Sweeps:
    """The newest cloud and those before it, in the frame of the newest.

    Args:
        channels: Numbers of a point.
        lag_channel: Which of them says how long before the newest a point was seen, in seconds;
            None where none does.
        options: How many clouds, and how old they may be.

    Attributes:
        merged: Clouds in what was returned last.
    """

    def __init__(self, channels: int, lag_channel: int | None, options: CloudOptions) -> None:
        self._lag_channel = lag_channel
        self._options = options
        self._earlier: deque[_Sweep] = deque(maxlen=options.sweeps - 1)
        self.merged = 1
        self._buffer: Array = np.empty((channels, 0), np.float32)

    def __len__(self) -> int:
        return len(self._earlier)

    def clear(self) -> None:
        """Forget the clouds before."""
        self._earlier.clear()

    def __call__(self, points: Array, stamp_ns: int, pose: Array, still: str = '') -> Array:
        """Return the points of this cloud, then of those before it, the newest of them first.

        The order matters: where a pillar is full, the oldest points are left out. A stamp that
        is not after the last one begins anew, as a recording does that is played in a loop; so does
        another `still`, as nobody knows how the two lie to each other.

        Args:
            points: (N, channels) float32 of the newest cloud; its lag is set to 0.
            stamp_ns: When it was taken.
            pose: From the frame of the cloud to one that does not move, such as `odom`.
            still: The name of that.

        Returns:
            (M, channels) float32, column by column in memory, valid until the next call.

        Raises:
            PointsError: The pose is no rotation and translation.
        """
        if self._lag_channel is not None:
            points[:, self._lag_channel] = 0
        if self._options.sweeps == 1:
            return points
        check_transform(pose, 'the pose of the cloud')
        if self._earlier and (
            stamp_ns <= self._earlier[0].stamp_ns or still != self._earlier[0].still
        ):
            self.clear()
        oldest_ns = stamp_ns - round(self._options.sweep_age_s * _NSEC)
        while self._earlier and self._earlier[-1].stamp_ns < oldest_ns:
            self._earlier.pop()
        self.merged = 1 + len(self._earlier)
        merged = self._merged(points, stamp_ns, pose)
        self._earlier.appendleft(_Sweep(stamp_ns, pose, still, points.T.copy()))
        return merged

    def _merged(self, points: Array, stamp_ns: int, pose: Array) -> Array:
        count = len(points) + sum(sweep.columns.shape[1] for sweep in self._earlier)
        if count > self._buffer.shape[1]:
            self._buffer = np.empty((self._buffer.shape[0], count), np.float32)
        out: Array = self._buffer[:, :count].T
        out[: len(points)] = points
        place = len(points)
        for sweep in self._earlier:
            end = place + sweep.columns.shape[1]
            part = out[place:end]
            part[:] = sweep.columns.T
            # in float64: poses may be kilometres from their origin, what is between them is not
            move(part, inverse(pose) @ sweep.pose)
            if self._lag_channel is not None:
                part[:, self._lag_channel] = (stamp_ns - sweep.stamp_ns) / _NSEC
            place = end
        return out
