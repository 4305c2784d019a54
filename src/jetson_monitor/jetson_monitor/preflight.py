# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The checklist before a robot leaves: each item with the fact, and with the fix where it fails."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jetson_monitor.board import Board
from jetson_monitor.config import MonitorConfig
from jetson_monitor.engine_store import store_root
from jetson_monitor.engine_store import stored_engines
from jetson_monitor.errors import SourceError
from jetson_monitor.health import Status
from jetson_monitor.rules import Level
from jetson_monitor.sample import Sample
from jetson_monitor.sources import SourceState

_GPU_NODES = ('nvgpu/igpu0/power', 'nvhost-gpu', 'nvhost-ctrl-gpu', 'nvidia0')
_CONTAINER_FILES = ('.dockerenv', 'run/.containerenv')
_FREE_DISK_MIB = 10 * 1000**3 / 1024**2
_LEAST_DISK_MIB = 1000**3 / 1024**2
_SMALL_BOARD_MIB = 9 * 1024
# An uncompressed Full-HD image has 6 MB; with a smaller buffer its fragments are lost on the way.
_RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024
_BUILD = 'ros2 run trt_builder trt_build'

# What a Jetson shows: beginning and end of the names, and why it may not be there.
_READABLE = (
    ('temperatures', 'temp_', '_c', 'see /sys/class/thermal'),
    ('trips', 'trip_', '_c', 'heat is shown but not judged; see /sys/class/thermal'),
    ('throttling', 'throttle_', '_state', 'see /sys/class/thermal/cooling_device*'),
    ('rails', 'rail_', '_mw', 'see /sys/class/hwmon; some boards have no sensor'),
    ('GPU load', 'gpu_', 'load_percent', 'on Thor: pip install nvidia-ml-py'),
    ('over-current counters', 'oc', '_events', 'fine on boards that have none'),
    ('memory bus load', 'emc_', 'load_percent', 'needs root, or jtop, or tegrastats run by root'),
)


@dataclass(frozen=True)
class Item:
    """One line of the checklist: OK, WARN, or ERROR for what will not work."""

    name: str
    level: Level
    fact: str
    fix: str = ''

    def line(self) -> str:
        """Return it as a line for people."""
        fix = f'; {self.fix}' if self.fix else ''
        return f'{_WORDS[self.level]:<5} {self.name}: {self.fact}{fix}'

    def as_dict(self) -> dict[str, str]:
        """Return it for programs."""
        return {
            'name': self.name,
            'result': _WORDS[self.level],
            'fact': self.fact,
            'fix': self.fix,
        }


_WORDS = {Level.OK: 'ok', Level.WARN: 'warn', Level.ERROR: 'fail', Level.STALE: 'warn'}


def preflight(
    config: MonitorConfig,
    board: Board,
    sample: Sample,
    statuses: Sequence[Status],
    sources: Sequence[SourceState],
    environ: Mapping[str, str],
) -> list[Item]:
    """Return the checklist; what only a Jetson has is asked of a Jetson only.

    Args:
        config: What is expected.
        board: The machine.
        sample: What is seen of it now.
        statuses: How that is judged.
        sources: What it was read from, and what could not be read.
        environ: Environment of this process.
    """
    root = Path(config.root)
    items = [_board(board)]
    if board.is_jetson:
        items += [*_software(board), _gpu(root), *_readable(sample)]
        items += [_power_mode(config, sample), _clocks(config, sample), _fan(sample)]
    items += [*_sources(sources), _disk(sample), _memory(sample), _container(root)]
    items += [_cameras(root), _ros(environ), _receive_buffer(root)]
    items += _engines(store_root(environ), board, root)
    items += [
        Item(f'{each.name} now', each.level, each.message)
        for each in statuses
        if each.level > Level.OK
    ]
    return items


def preflight_status(items: Sequence[Item]) -> Status:
    """Return the checklist as one diagnostic status."""
    bad = [each for each in items if each.level > Level.OK]
    level = max((each.level for each in items), default=Level.OK)
    message = f'{len(items) - len(bad)} of {len(items)} checks are well'
    if bad:
        worst = next(each for each in bad if each.level == level)
        message += f'; first: {worst.name}: {worst.fact}; {worst.fix}'.rstrip('; ')
    return Status('preflight', level, message, {each.name: each.line() for each in items})


def _board(board: Board) -> Item:
    model = board.model or 'machine of unknown model'
    if board.soc:
        return Item('board', Level.OK if board.model else Level.WARN, f'{model}, {board.soc}')
    if board.is_jetson:
        return Item(
            'board', Level.WARN, f'{model}, chip not known',
            'in a container, mount /proc/device-tree',
        )  # fmt: skip
    return Item(
        'board', Level.WARN, f'{model}: this is not a Jetson, or a container hides it',
        'on a Jetson, mount /proc/device-tree and /etc/nv_tegra_release into the container',
    )  # fmt: skip


def _software(board: Board) -> Iterator[Item]:
    if board.l4t is None:
        yield Item(
            'L4T', Level.WARN, 'release is not known',
            'in a container, mount /etc/nv_tegra_release',
        )  # fmt: skip
    elif board.release is None:
        yield Item(
            'L4T', Level.WARN, f'{board.l4t} is not in our table',
            'libraries cannot be held against it',
        )  # fmt: skip
    else:
        yield Item('L4T', Level.OK, f'{board.l4t}, JetPack {board.release.jetpack}')
    release = board.release
    for name, found, wanted, missing in (
        ('CUDA', board.cuda, release and release.cuda, Level.WARN),
        ('cuDNN', board.cudnn, release and release.cudnn, Level.WARN),
        ('TensorRT', board.tensorrt, release and release.tensorrt, Level.ERROR),
    ):
        if found is None:
            yield Item(name, missing, 'not found', 'install nvidia-jetpack, or mount it')
        elif wanted and not f'{found}.'.startswith(f'{wanted}.'):
            yield Item(
                name, Level.WARN, f'{found}, but L4T {board.l4t} comes with {wanted}',
                'engines built elsewhere may not load; see that image and board agree',
            )  # fmt: skip
        else:
            yield Item(name, Level.OK, found)


def _gpu(root: Path) -> Item:
    for name in _GPU_NODES:
        if (root / 'dev' / name).exists():
            return Item('GPU', Level.OK, f'/dev/{name}')
    return Item(
        'GPU', Level.ERROR, 'no device node of it',
        'in a container: --runtime nvidia; else see that the driver is loaded',
    )  # fmt: skip


def _readable(sample: Sample) -> Iterator[Item]:
    for name, beginning, end, why in _READABLE:
        if any(each.startswith(beginning) and each.endswith(end) for each in sample.values):
            yield Item(name, Level.OK, 'readable')
        else:
            yield Item(name, Level.WARN, 'not readable here', why)


def _power_mode(config: MonitorConfig, sample: Sample) -> Item:
    mode, wanted = sample.texts.get('power_mode'), config.expected_power_mode
    if mode is None:
        return Item(
            'power mode', Level.WARN, 'not known', 'in a container, mount /var/lib/nvpmodel'
        )
    if wanted and mode != wanted:
        return Item(
            'power mode',
            Level.WARN,
            f'{mode}, wanted {wanted}',
            'set it: sudo nvpmodel -m <number>',
        )
    return Item('power mode', Level.OK, mode)


def _clocks(config: MonitorConfig, sample: Sample) -> Item:
    state = sample.texts.get('jetson_clocks')
    if state is None:
        return Item('clocks', Level.WARN, 'not known', 'see /sys/class/devfreq for the GPU')
    fact = f'jetson_clocks is {state}'
    if config.expect_locked and state != 'on':
        return Item('clocks', Level.WARN, f'{fact}, wanted on', 'sudo jetson_clocks')
    return Item('clocks', Level.OK, fact)


def _fan(sample: Sample) -> Item:
    drives = sample.matching('fan_', '_percent')
    speeds = sample.matching('fan_', '_rpm')
    facts = [f'{fan} driven at {percent:.0f} %' for fan, percent in drives.items()]
    facts += [f'{fan} turns at {rpm:.0f} rpm' for fan, rpm in speeds.items()]
    if not facts:
        return Item('fan', Level.WARN, 'none is seen', 'fine where none is fitted')
    return Item('fan', Level.OK, ', '.join(facts))


def _sources(states: Sequence[SourceState]) -> Iterator[Item]:
    for state in states:
        # A source that is not there is no fault while another one speaks.
        level = Level.OK if any(each.alive for each in states) else Level.ERROR
        fact = 'alive' if state.alive else f'not used: {state.problem}'
        yield Item(f'source {state.name}', level, fact)


def _disk(sample: Sample) -> Item:
    free_mib = sample.matching('disk_', '_free_mib')
    if not free_mib:
        return Item(
            'disk', Level.WARN, 'free space is not known', 'name existing folders in mounts'
        )
    mount = min(free_mib, key=lambda each: free_mib[each])
    fact = f'{mount} has {free_mib[mount] * 1024**2 / 1000**3:.1f} GB free'
    if free_mib[mount] >= _FREE_DISK_MIB:
        return Item('disk', Level.OK, fact)
    level = Level.WARN if free_mib[mount] >= _LEAST_DISK_MIB else Level.ERROR
    return Item('disk', level, fact, 'make room: 10 GB are wanted for engines, logs and recordings')


def _memory(sample: Sample) -> Item:
    values = sample.values
    total, available = values.get('ram_total_mib'), values.get('ram_available_mib')
    if total is None or available is None:
        return Item('memory', Level.WARN, 'not known', 'mount /proc in a container')
    swap = values.get('swap_total_mib')
    fact = f'{available:.0f} of {total:.0f} MiB available, swap '
    if swap is None:
        return Item('memory', Level.WARN, f'{fact}not known', 'see free -m')
    fact += f'{swap:.0f} MiB'
    if total < _SMALL_BOARD_MIB and not swap:
        return Item(
            'memory', Level.WARN, fact, 'add swap: building an engine may need more than there is'
        )
    return Item('memory', Level.OK, fact)


def _container(root: Path) -> Item:
    if any((root / each).exists() for each in _CONTAINER_FILES):
        return Item('container', Level.OK, 'this is one')
    if (root / 'usr/bin/nvidia-container-runtime').exists():
        return Item('container', Level.OK, 'NVIDIA container runtime is installed')
    return Item('container', Level.OK, 'no NVIDIA container runtime: fine where none is used')


def _cameras(root: Path) -> Item:
    nodes = sorted(f'/dev/{each.name}' for each in (root / 'dev').glob('video*'))
    none = 'no /dev/video*: fine where images come over the network'
    return Item('cameras', Level.OK, ', '.join(nodes) or none)


def _ros(environ: Mapping[str, str]) -> Item:
    distribution = environ.get('ROS_DISTRO')
    if not distribution:
        return Item('ROS', Level.WARN, 'ROS_DISTRO is not set', 'source the setup file of ROS 2')
    middleware = environ.get('RMW_IMPLEMENTATION', "the distribution's own middleware")
    return Item('ROS', Level.OK, f'{distribution}, {middleware}')


def _receive_buffer(root: Path) -> Item:
    try:
        largest = int((root / 'proc/sys/net/core/rmem_max').read_text())
    except (OSError, ValueError):
        return Item('socket buffer', Level.WARN, 'size is not known', 'mount /proc')
    fact = f'net.core.rmem_max is {largest} bytes'
    if largest >= _RECEIVE_BUFFER_BYTES:
        return Item('socket buffer', Level.OK, fact)
    return Item(
        'socket buffer', Level.WARN, fact,
        'large images may be lost between machines: '
        f'sudo sysctl -w net.core.rmem_max={_RECEIVE_BUFFER_BYTES}',
    )  # fmt: skip


def _engines(store: Path, board: Board, root: Path) -> Iterator[Item]:
    try:
        engines = stored_engines(store, board, root)
    except SourceError as exc:
        yield Item('engines', Level.WARN, str(exc))
        return
    if engines is None:
        return
    if not engines:
        yield Item('engines', Level.OK, f'none in {store} yet')
        return
    misfits = [each for each in engines if each.misfits]
    doubtful = [each for each in engines if each.doubts and not each.misfits]
    fact = f'{len(engines)} in {store}'
    if misfits:
        reasons = _some([f'{each.name}: {", ".join(each.misfits)}' for each in misfits])
        fact += f', {len(misfits)} for another board or release ({reasons})'
    if doubtful:
        reasons = _some([f'{each.name}: {", ".join(each.doubts)}' for each in doubtful])
        fact += f', {len(doubtful)} of which it cannot be told whether they fit ({reasons})'
    if not (misfits or doubtful):
        yield Item('engines', Level.OK, f'{fact}, all fit this board')
        return
    cards = sorted({each.card for each in (*misfits, *doubtful) if each.card}) or ['<card>']
    fix = 'build here what is used: ' + _some([f'{_BUILD} {card}' for card in cards])
    yield Item('engines', Level.WARN, fact, f'{fix}; drop the rest: {_BUILD} store remove <key>')


def _some(texts: Sequence[str]) -> str:
    more = f'; and {len(texts) - 3} more' if len(texts) > 3 else ''
    return '; '.join(texts[:3]) + more
