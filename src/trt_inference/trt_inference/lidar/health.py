# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Says from the counters of clouds whether a lidar network sees all that it should."""

from __future__ import annotations

from dataclasses import dataclass

from trt_engine.health import Health
from trt_engine.health import Level
from trt_engine.lidar.pillars import PillarCounts


@dataclass(frozen=True)
class CloudCounts:
    """The counters of a `CloudDetector` at one moment.

    Attributes:
        clouds: Clouds that were looked at.
        overflows: Of these, clouds that overflowed.
        dropped: Points of the last cloud that were no measurement.
        cropped: Points of the last cloud that the node was told to cut away.
        last: Where the others went, with those of earlier sweeps; None before the first cloud.
        sweeps: Clouds that the network saw at once the last time.
        intensity: What one point of a hundred of the last cloud exceeds, as the network gets it;
            None where there is none.
    """

    clouds: int = 0
    overflows: int = 0
    dropped: int = 0
    cropped: int = 0
    last: PillarCounts | None = None
    sweeps: int = 1
    intensity: float | None = None


def points_health(
    now: CloudCounts,
    before: CloudCounts,
    sweeps: int = 1,
    intensity_max: float | None = None,
) -> Health:
    """Judge what happened to the points of the clouds between two moments.

    A cloud that overflows is a warning: what stands in the pillars beyond the cap, which are the
    last in the order of cells, goes unseen. Points for which a pillar has no room are only told:
    every dense cloud has some, and the network was trained without them. A warning is also a cloud
    that is seen alone where it should not: the network was trained with denser ones. Intensities
    beyond those of the training make it see things everywhere.

    Args:
        now: The counters.
        before: What they were.
        sweeps: How many clouds the network is to see at once.
        intensity_max: The greatest that the network was trained with; None where nobody knows.
    """
    last = now.last
    if last is None:
        return Health(Level.OK, 'no cloud yet')
    points = last.points + now.dropped + now.cropped
    values = {
        'clouds that overflowed': str(now.overflows),
        'sweeps at once': f'{now.sweeps} of {sweeps}',
        'points of the last cloud': str(points),
        'no measurement': str(now.dropped),
        'cropped': str(now.cropped),
        'outside of the range': str(last.outside),
        'beyond max_points': str(last.over_points),
        'in pillars beyond max_voxels': str(last.over_voxels),
        'seen by the network': str(last.kept),
        'pillars': str(last.voxels),
        'pillars beyond max_voxels': str(last.voxels_dropped),
        'intensity, but for 1 % of points, up to': _short(now.intensity),
    }
    overflows, clouds = now.overflows - before.overflows, now.clouds - before.clouds
    if clouds and not last.kept:
        return Health(Level.WARN, _unseen(now, last, points), values)
    if clouds and intensity_max is not None and (now.intensity or 0.0) > intensity_max:
        return Health(
            Level.WARN,
            f'intensities reach {_short(now.intensity)}, and the network was trained with up to '
            f'{intensity_max:g}: it sees what is not there; set input.intensity_scale of the card',
            values,
        )
    # the first cloud of all has none before it
    if clouds and now.clouds > 1 and now.sweeps < min(sweeps, 2):
        return Health(
            Level.WARN,
            f'the last cloud was seen alone, and sweeps is {sweeps}; do header stamps rise, by '
            'less than sweep_age_s, in one frame?',
            values,
        )
    if overflows:
        told = last.overflow() or 'not the last one'
        return Health(
            Level.WARN, f'{overflows} of {clouds} clouds hold more than the network: {told}', values
        )
    where = f' in {last.voxels} pillars' if last.voxels else ''
    if where and last.over_points:
        where += f', {last.over_points} more of which they had no room for'
    return Health(Level.OK, f'{last.kept} points{where}', values)


def _unseen(now: CloudCounts, last: PillarCounts, points: int) -> str:
    """Return why the network saw no point of the last cloud."""
    if not points:
        return 'the last cloud was empty'
    told = {
        'are no measurement': now.dropped,
        'were cut away by self_box_m, near_m or far_m': now.cropped,
        'are outside of its range; are frame and units those of the card?': last.outside,
    }
    reasons = ', '.join(f'{count} {why}' for why, count in told.items() if count)
    return f'the network saw none of {points} points: {reasons}'


def _short(intensity: float | None) -> str:
    """Return an intensity for a person: some lidars count to 1, others to 65535."""
    return 'unknown' if intensity is None else f'{intensity:.3g}'
