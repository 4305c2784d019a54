# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What `make bench-monitor` runs: what watching the board costs; Markdown for docs/performance.md.

The monitor watches a fake AGX Orin at 1 Hz, and a bare rclpy node spins beside it at the same time.
Both are processes of their own; this one listens to what the monitor says, as a robot would.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
from dataclasses import dataclass
from datetime import date
import os
from pathlib import Path
import platform
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from diagnostic_msgs.msg import DiagnosticArray
import rclpy

from jetson_monitor.fake_board import FakeBoard
from jetson_monitor.tegrastats import parse_line
from trt_interfaces.msg import JetsonStats

BARE = 'import rclpy; rclpy.init(); rclpy.spin(rclpy.create_node("bench_bare"))'
MONITOR = ('-m', 'jetson_monitor.entry', '--ros-args', '-p', 'source:=sysfs', '-p')
WARM_UP_S = 5.0
LINES = 100_000
ROUNDS = 5
NUMBER = re.compile(r'-?\d+(?:\.\d+)?')
# Of the form of an AGX Orin with R36, as root; # is a number.
SHAPE = (
    'RAM #/62841MB (lfb #x4MB) SWAP #/31420MB (cached #MB) CPU [#%@2201,#%@2201,#%@2201,#%@2201,'
    '#%@1113,#%@1113,#%@1113,#%@1113,off,off,off,off] EMC_FREQ #%@3199 GR3D_FREQ #%@[#,#] NVENC '
    'off NVDEC off NVJPG off NVJPG1 off VIC #%@115 OFA off NVDLA0 off NVDLA1 off PVA0_FREQ off '
    'APE 174 cpu@#.#C soc2@#.#C tboard@#.#C soc0@#.#C tdiode@#.#C gpu@#.#C tj@#.#C soc1@#.#C '
    'VDD_GPU_SOC #mW/#mW VDD_CPU_CV #mW/#mW VIN_SYS_5V0 #mW/#mW VDDQ_VDD2_1V8AO #mW/#mW'
)


@dataclass(frozen=True)
class Cost:
    """What a process took: of one core, and of memory."""

    cpu_s: float
    cpu_percent: float
    resident_mib: float


def row(*cells: object) -> None:
    words = (f'{cell:.2f}' if isinstance(cell, float) else str(cell) for cell in cells)
    print(f'| {" | ".join(words)} |')


def machine() -> str:
    """Return the machine in one line."""
    found = re.search(r'model name\s*: (.*)', Path('/proc/cpuinfo').read_text())
    return (
        f'{found[1] if found else platform.processor()}, {os.cpu_count()} cores, '
        f'Linux {platform.release()}, CPython {platform.python_version()}, load when begun '
        f'{os.getloadavg()[0]:.1f}'
    )


@contextlib.contextmanager
def python(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
        if process.poll() is not None:
            sys.exit(f'bench-monitor: {" ".join(arguments)} ended with {process.returncode}')
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def cpu_s(pid: int) -> float:
    """Return what all threads of a process have used so far, in the kernel too."""
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def resident_mib(pid: int) -> float:
    found = re.search(r'VmRSS:\s*(\d+) kB', Path(f'/proc/{pid}/status').read_text())
    return int(found[1]) / 1024 if found else float('nan')


def overhead(seconds: float, root: Path) -> tuple[dict[str, Cost], dict[str, int]]:
    """Return what each process cost at the same time, and how many messages were heard."""
    heard = {'/diagnostics': 0, '/jetson_monitor/stats': 0}

    def listen(kind: type, topic: str) -> None:
        def count(_: object) -> None:
            heard[topic] += 1

        node.create_subscription(kind, topic, count, 10)

    def spin(duration_s: float) -> None:
        end_s = time.monotonic() + duration_s
        while (left_s := end_s - time.monotonic()) > 0:
            rclpy.spin_once(node, timeout_sec=left_s)

    os.environ['ROS_DOMAIN_ID'] = str(random.randint(1, 100))  # no other monitor shall be heard
    rclpy.init()
    node = rclpy.create_node('bench_listener')
    listen(DiagnosticArray, '/diagnostics')
    listen(JetsonStats, '/jetson_monitor/stats')
    with python('-c', BARE) as bare, python(*MONITOR, f'root:={root}') as monitor:
        processes = {'bare rclpy node': bare.pid, 'jetson_monitor': monitor.pid}
        spin(WARM_UP_S)
        heard.update(dict.fromkeys(heard, 0))
        begun_s = time.monotonic()
        before_s = {name: cpu_s(pid) for name, pid in processes.items()}
        spin(seconds)
        elapsed_s = time.monotonic() - begun_s
        costs = {}
        for name, pid in processes.items():
            used_s = cpu_s(pid) - before_s[name]
            costs[name] = Cost(used_s, 100 * used_s / elapsed_s, resident_mib(pid))
    node.destroy_node()
    rclpy.shutdown()
    return costs, heard


def made_up_lines() -> list[str]:
    chance = random.Random(0)
    return [re.sub('#', lambda _: str(chance.randrange(100)), SHAPE) for _ in range(1000)]


def seconds_of(parse: Callable[[str], object], lines: Sequence[str]) -> float:
    """Return how long a function takes for LINES lines."""
    begun_s = time.perf_counter()
    for number in range(LINES):
        parse(lines[number % len(lines)])
    return time.perf_counter() - begun_s


def main() -> int:
    """Run everything; the exit status says only whether it ran."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seconds', type=float, default=60.0, help='how long both nodes run')
    parser.add_argument(
        '--lines', type=Path, help='captured lines of tegrastats; default: made up, of one shape'
    )
    arguments = parser.parse_args()
    if not arguments.seconds > 0:
        parser.error(f'--seconds is {arguments.seconds:g}; wanted more than 0')
    lines = made_up_lines()
    if arguments.lines:
        try:
            text = arguments.lines.read_text(errors='replace')
        except OSError as exc:
            parser.error(f'{arguments.lines} cannot be read: {exc.strerror}')
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith('#')]
        if not lines:
            parser.error(f'{arguments.lines} has no lines of tegrastats')
    print(f'{date.today()}: {machine()}\n')

    with tempfile.TemporaryDirectory() as folder:
        costs, heard = overhead(arguments.seconds, FakeBoard(Path(folder), 'agx_orin').root)
    bare, ours = costs['bare rclpy node'], costs['jetson_monitor']
    row(f'{arguments.seconds:.0f} s at 1 Hz, fake AGX Orin', 'CPU s', '% of a core', 'resident MiB')
    row('---', '---:', '---:', '---:')
    for name, cost in costs.items():
        row(name, cost.cpu_s, cost.cpu_percent, cost.resident_mib)
    row('**more than bare**', ours.cpu_s - bare.cpu_s, ours.cpu_percent - bare.cpu_percent,
        ours.resident_mib - bare.resident_mib)  # fmt: skip
    words = ', '.join(f'{count} on {topic}' for topic, count in heard.items())
    print(f'\nMessages heard meanwhile: {words}.\n')

    pairs = [(seconds_of(parse_line, lines), seconds_of(NUMBER.findall, lines))
             for _ in range(ROUNDS)]  # fmt: skip
    parsed_s, found_s = (statistics.median(times) for times in zip(*pairs, strict=True))
    row(f'{LINES} lines of tegrastats, {len(set(lines))} different', 's', 'lines a second')
    row('---', '---:', '---:')
    row('parse_line', parsed_s, round(LINES / parsed_s))
    row('re.findall of all numbers', found_s, round(LINES / found_s))
    row('**ratio of times**', parsed_s / found_s, '')
    return 0


if __name__ == '__main__':
    sys.exit(main())
