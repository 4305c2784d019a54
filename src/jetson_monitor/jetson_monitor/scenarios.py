# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What may happen to a robot's board, as scripts for a fake one: `FakeBoard.play`.

Each is written for the files of an Orin, and begins and ends well unless it says otherwise. A
script of your own is a function that changes the board and yields the seconds until it goes on.
"""

from __future__ import annotations

from collections.abc import Iterator

from jetson_monitor.fake_board import FakeBoard


def heat(board: FakeBoard) -> Iterator[float]:
    """Heat up until the board is throttled, at last as far as it can be, and cool down again."""
    zone, throttle = 'tj-thermal', f'{board.cooling_device("cpufreq-cpu0")}/cur_state'
    hottest_c = board.model.trips['passive'] // 1000
    for celsius in range(50, hottest_c, 2):
        board.set_temperature(zone, celsius)
        yield 1.0
    for state in (2, 5, 10):
        hottest_c += 1
        board.set_temperature(zone, hottest_c)
        board.write(throttle, state)
        yield 5.0
    board.write(throttle, 0)
    for celsius in range(hottest_c, 50, -5):
        board.set_temperature(zone, celsius)
        yield 1.0


def under_voltage(board: FakeBoard) -> Iterator[float]:
    """Let the supply give way for a moment, which the first over-current counter counts."""
    input_mv = f'{board.hwmon("ina3221")}/in1_input'  # VDD_IN
    yield 1.0
    board.write(input_mv, 4_480)
    board.count_over_current(1)
    yield 2.0
    board.write(input_mv, 5_000)
    yield 1.0


def over_current(board: FakeBoard, counter: int = 3, per_s: int = 30) -> Iterator[float]:
    """Count so many over-current events a second, for more than a minute; the third is usual."""
    for _ in range(65):
        board.count_over_current(counter, per_s)
        yield 1.0


def mode_drift(board: FakeBoard) -> Iterator[float]:
    """Choose another power mode, as somebody on ssh may, and after a while the first one again."""
    mode = board.model.mode
    other = max(set(board.model.modes) - {mode})
    for number in (mode, other, mode):
        board.write('var/lib/nvpmodel/status', f'pmode:{number:04}')
        yield 5.0


def clocks_lost(board: FakeBoard) -> Iterator[float]:
    """Lock the clocks, and lose that: a restarted nvpmodel service does it. They stay lost."""
    for locked in (True, False):
        board.set_clocks(locked=locked)
        yield 10.0


def fan_dead(board: FakeBoard) -> Iterator[float]:
    """Stop the fan although it is driven, until somebody helps it."""
    rpm, drive = f'{board.hwmon("pwm_tach")}/rpm', f'{board.hwmon("pwmfan")}/pwm1'
    board.write(drive, 200)
    for speed in (4_000, 0):
        board.write(rpm, speed)
        yield 15.0
    board.write(rpm, 4_000)
    yield 1.0


def cma_leak(board: FakeBoard) -> Iterator[float]:
    """Lose contiguous memory, as to a camera driver, until next to none is left; it stays lost."""
    for free_mib in range(200, 0, -4):
        board.set_memory(board.model.memory_mib // 2, free_mib)
        yield 1.0


def memory_leak(board: FakeBoard) -> Iterator[float]:
    """Leak memory until the kernel kills a process, after which it is there again."""
    whole_mib = board.model.memory_mib
    for percent in range(50, 0, -2):
        board.set_memory(whole_mib * percent // 100)
        yield 1.0
    board.write('proc/vmstat', 'nr_free_pages 1000\noom_kill 1')
    board.set_memory(whole_mib // 2)
    yield 1.0


def read_only(board: FakeBoard) -> Iterator[float]:
    """Mount the root read-only, as the kernel does after errors of the drive; it stays so."""
    yield 1.0
    board.write('proc/mounts', '/dev/nvme0n1p1 / ext4 ro,relatime 0 0')
    yield 1.0


def sensor_asleep(board: FakeBoard) -> Iterator[float]:
    """Take the power from the GPU's sensor, which then answers EAGAIN, and give it back."""
    temperature = f'{board.zone("gpu-thermal")}/temp'
    yield 1.0
    board.gate(temperature)
    yield 10.0
    board.write(temperature, 49_031)
    yield 1.0


def hwmons_renumbered(board: FakeBoard) -> Iterator[float]:
    """Give the hardware monitors other numbers while they are being read."""
    yield 1.0
    board.renumber_hwmons()
    yield 10.0
