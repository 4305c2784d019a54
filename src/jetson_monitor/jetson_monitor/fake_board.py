# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Builds a folder that looks like the root of a board, for tests and for trying the monitor out.

It is written after what is known of the boards' files, not captured on one: good for showing how
the monitor behaves, no proof that a board has these files. A folder built here is given to the
monitor as `root`; change a file of it, and the next sample shows that.

    board = FakeBoard(Path('/tmp/orin'), 'orin_nano')  # jetson_monitor watch --root /tmp/orin
    board.set_temperature('tj-thermal', 97.5)
    board.play(heat)  # a script of jetson_monitor.scenarios, or your own
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
import itertools
import os
from pathlib import Path
import time


@dataclass(frozen=True)
class Model:
    """A kind of board, as far as the monitor can tell kinds apart.

    Attributes:
        name: What its device tree calls it.
        compatible: The device tree's list; () for a PC.
        l4t: First line of /etc/nv_tegra_release.
        cores: Number of CPU cores.
        max_khz: Highest clock of a core.
        zones: Thermal zones with their temperature in millidegrees.
        trips: Trip points of every zone: type with temperature in millidegrees.
        gpu: Folder of the GPU below /sys/devices, '' where its load has no file.
        gpu_clock: Name of the GPU below /sys/class/devfreq.
        rails: Chips of type ina3221, each with its labels, voltages in mV and currents in mA.
        modes: Modes of nvpmodel by number.
        mode: The number of the mode now.
        engines: Names below /sys/bus/platform/devices.
        memory_mib: Memory in all.
    """

    name: str
    compatible: tuple[str, ...]
    l4t: str
    cores: int
    max_khz: int
    zones: Mapping[str, int]
    trips: Mapping[str, int]
    gpu: str
    gpu_clock: str
    rails: tuple[Mapping[str, tuple[int, int]], ...]
    modes: Mapping[int, str]
    mode: int
    engines: tuple[str, ...]
    memory_mib: int


_ORIN_TRIPS = {'passive': 99_000, 'critical': 104_500}
_ORIN_ZONES = {
    'cpu-thermal': 50_031, 'gpu-thermal': 49_031, 'soc0-thermal': 50_000,
    'soc1-thermal': 50_250, 'soc2-thermal': 49_031, 'tj-thermal': 50_250,
}  # fmt: skip
_ORIN_RAILS = ({'VDD_IN': (5_000, 964), 'VDD_CPU_GPU_CV': (5_000, 103), 'VDD_SOC': (5_000, 295)},)
_DLA = ('15880000.nvdla0', '158c0000.nvdla1')

MODELS: Mapping[str, Model] = {
    'tx2': Model(
        'quill', ('nvidia,p2597-0000+p3310-1000', 'nvidia,tegra186'),
        '# R32 (release), REVISION: 7.3', 6, 2_035_200,
        {'MCPU-therm': 42_500, 'GPU-therm': 41_000, 'BCPU-therm': 42_500, 'PMIC-Die': 100_000},
        {'passive': 95_500, 'critical': 101_000},
        'gpu.0', '17000000.gp10b', (), {0: 'MAXN', 1: 'MAXQ', 3: 'MAXP_CORE_ARM'}, 3, (), 7_852,
    ),
    'xavier_nx': Model(
        'NVIDIA Jetson Xavier NX Developer Kit',
        ('nvidia,p3509-0000+p3668-0001', 'nvidia,tegra194'),
        '# R35 (release), REVISION: 4.1', 6, 1_907_200,
        {'CPU-therm': 43_500, 'GPU-therm': 43_000, 'AUX-therm': 41_500, 'PMIC-Die': 100_000},
        {'passive': 95_500, 'critical': 101_000},
        'platform/17000000.gv11b', '17000000.gv11b',
        ({'VDD_IN': (5_000, 813), 'VDD_CPU_GPU_CV': (5_000, 148), 'VDD_SOC': (5_000, 271)},),
        {0: 'MODE_15W_2CORE', 2: 'MODE_15W_6CORE', 8: 'MODE_20W_6CORE'}, 2, _DLA, 7_772,
    ),
    'orin_nano': Model(
        'NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super',
        ('nvidia,p3768-0000+p3767-0005', 'nvidia,p3767-0005', 'nvidia,tegra234'),
        '# R36 (release), REVISION: 4.4', 6, 1_728_000, _ORIN_ZONES, _ORIN_TRIPS,
        'platform/bus@0/17000000.gpu', '17000000.gpu', _ORIN_RAILS,
        {0: '15W', 1: '25W', 2: 'MAXN_SUPER', 3: '7W'}, 2, (), 7_620,
    ),
    'orin_nx': Model(
        'NVIDIA Jetson Orin NX Engineering Reference Developer Kit',
        ('nvidia,p3768-0000+p3767-0000', 'nvidia,p3767-0000', 'nvidia,tegra234'),
        '# R36 (release), REVISION: 4.3', 8, 1_984_000, _ORIN_ZONES, _ORIN_TRIPS,
        'platform/bus@0/17000000.gpu', '17000000.gpu', _ORIN_RAILS,
        {0: 'MAXN', 1: '10W', 2: '15W', 3: '25W'}, 2, _DLA, 15_656,
    ),
    'agx_orin': Model(
        'NVIDIA Jetson AGX Orin Developer Kit',
        ('nvidia,p3737-0000+p3701-0005', 'nvidia,p3701-0005', 'nvidia,tegra234'),
        '# R36 (release), REVISION: 4.4', 12, 2_201_600, _ORIN_ZONES, _ORIN_TRIPS,
        'platform/bus@0/17000000.gpu', '17000000.gpu',
        (
            {'VDD_GPU_SOC': (19_000, 127), 'VDD_CPU_CV': (19_000, 85), 'VIN_SYS_5V0': (5_000, 921)},
            {'NC': (0, 0), 'VDDQ_VDD2_1V8AO': (19_000, 16)},
        ),
        {0: 'MAXN', 1: 'MODE_15W', 2: 'MODE_30W', 3: 'MODE_50W'}, 0, _DLA, 62_841,
    ),
    'thor': Model(
        'NVIDIA Jetson AGX Thor Developer Kit',
        ('nvidia,p4071-0000+p3834-0008', 'nvidia,p3834-0008', 'nvidia,tegra264'),
        '# R38 (release), REVISION: 4.0', 14, 2_601_000,
        {'cpu-thermal': 37_343, 'gpu-thermal': 38_875, 'soc012-thermal': 37_468,
         'soc345-thermal': 37_406, 'tj-thermal': 38_875},
        {'critical': 114_500}, '', 'gpu-gpc-0',
        ({'VDD_GPU': (19_000, 103), 'VDD_CPU_SOC_MSS': (19_000, 310),
          'VIN_SYS_5V0': (5_000, 1_127)},),
        {0: 'MAXN', 1: '120W'}, 1, (), 125_772,
    ),
    'pc': Model(
        'PC', (), '', 4, 3_600_000, {'x86_pkg_temp': 55_000}, {'critical': 100_000}, '', '', (),
        {}, 0, (), 16_000,
    ),
}  # fmt: skip


# What happens to a board: it changes files, and yields how many seconds pass before it goes on.
Script = Callable[['FakeBoard'], Iterator[float]]

_CPU = 'sys/devices/system/cpu'
_COOLING = (
    'pwm-fan', 'cpu-throttle-alert', 'gpu-throttle-alert', 'hot-surface-alert', 'cpufreq-cpu0',
    'devfreq-17000000.gpu',
)  # fmt: skip
_MIN_KHZ = 729_600
_GPU_MIN_HZ, _GPU_MAX_HZ = 306_000_000, 1_020_000_000


class FakeBoard:
    """A board below a folder.

    Args:
        root: The folder; it is made where it is not there.
        model: One of MODELS.
    """

    def __init__(self, root: Path, model: str) -> None:
        self.root = root
        self.model = MODELS[model]
        self._gates: dict[Path, int] = {}
        self._devices: dict[str, str] = {}
        self._write_system()
        self._write_cores()
        self._write_gpu()
        self._write_thermal()
        self._write_hwmons()

    def play(self, script: Script, pass_time: Callable[[float], object] = time.sleep) -> None:
        """Let happen what a script says.

        Args:
            script: Called with this board; see jetson_monitor.scenarios for some.
            pass_time: Called with the seconds between two changes; a test may have its own clock.
        """
        for seconds in script(self):
            pass_time(seconds)

    def write(self, path: str, text: object) -> None:
        """Write a file below the root, with a newline at its end as the kernel has it.

        Whoever reads it at the same time finds the old text or the new, and no half of one. A file
        that was gated answers again.
        """
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f'.{file.name}')
        new.write_text(f'{text}\n')
        new.replace(file)
        if file in self._gates:
            os.close(self._gates.pop(file))

    def hwmon(self, name: str, number: int = 0) -> str:
        """Return the folder of a hardware monitor by its name, the first or a later one."""
        folders = [folder for folder, chip in self._devices.items() if chip == name]
        return folders[number]

    def zone(self, kind: str) -> str:
        """Return the folder of a thermal zone by its type."""
        return f'sys/class/thermal/thermal_zone{list(self.model.zones).index(kind)}'

    def cooling_device(self, kind: str) -> str:
        """Return the folder of a cooling device by its type, such as cpufreq-cpu0."""
        return f'sys/class/thermal/cooling_device{_COOLING.index(kind)}'

    def gate(self, path: str) -> None:
        """Make a file answer EAGAIN, as a sensor without power does."""
        file = self.root / path
        file.unlink()
        os.mkfifo(file)
        # a pipe that somebody may write to, and nobody has, has nothing to read for now
        self._gates[file] = os.open(file, os.O_RDWR)

    def close(self) -> None:
        """Let go of the files that are gated."""
        while self._gates:
            os.close(self._gates.popitem()[1])

    def set_load(self, busy_ticks: int, idle_ticks: int) -> None:
        """Set how many ticks each core was busy and idle since the start."""
        row = f'{busy_ticks} 0 0 {idle_ticks} 0 0 0 0 0 0'
        cores = '\n'.join(f'cpu{core} {row}' for core in range(self.model.cores))
        self.write('proc/stat', f'cpu  {row}\n{cores}\nintr 1 2 3')

    def set_temperature(self, kind: str, celsius: float) -> None:
        """Set how hot a thermal zone is, by its type."""
        self.write(f'{self.zone(kind)}/temp', round(celsius * 1000))

    def count_over_current(self, counter: int, events: int = 1) -> None:
        """Have one of the over-current counters, 1 to 3, count some events more."""
        path = f'{self.hwmon("soctherm_oc")}/oc{counter}_event_cnt'
        self.write(path, int((self.root / path).read_text()) + events)

    def set_clocks(self, *, locked: bool) -> None:
        """Set the lowest clocks of GPU and cores, as jetson_clocks does: at the highest, or not."""
        lowest_khz = self.model.max_khz if locked else _MIN_KHZ
        for core in range(self.model.cores):
            self.write(f'{_CPU}/cpu{core}/cpufreq/scaling_min_freq', lowest_khz)
        gpu = f'sys/class/devfreq/{self.model.gpu_clock}/min_freq'
        self.write(gpu, _GPU_MAX_HZ if locked else _GPU_MIN_HZ)

    def set_memory(self, available_mib: int, cma_free_mib: int = 200) -> None:
        """Set how much memory is left, and how much of the 256 MiB that is contiguous."""
        kib = 1024
        amounts = {
            'MemTotal': self.model.memory_mib * kib,
            'MemFree': available_mib * kib // 2,
            'MemAvailable': available_mib * kib,
            'SwapCached': 0,
            'SwapTotal': 2048 * kib,
            'SwapFree': 1536 * kib,
            'CmaTotal': 256 * kib,
            'CmaFree': cma_free_mib * kib,
        }
        lines = (f'{name + ":":<16}{amount:>8} kB' for name, amount in amounts.items())
        self.write('proc/meminfo', '\n'.join(lines))

    def _write_system(self) -> None:
        model = self.model
        self.set_load(100, 900)
        self.set_memory(model.memory_mib // 2)
        self.write('proc/uptime', '1234.56 4321.00')
        self.write('proc/vmstat', 'nr_free_pages 1000\noom_kill 0')
        self.write('proc/buddyinfo', f'Node 0, zone   Normal {" 1" * 10} 466')
        self.write('proc/pressure/memory', 'some avg10=0.00 avg60=0.00 avg300=0.00 total=0')
        self.write('proc/mounts', '/dev/nvme0n1p1 / ext4 rw,relatime 0 0')
        if model.compatible:
            tree = {'model': (model.name,), 'compatible': model.compatible,
                    'serial-number': ('1420123456789',)}  # fmt: skip
            for name, texts in tree.items():
                self.write(f'proc/device-tree/{name}', '')
                path = self.root / 'proc/device-tree' / name
                path.write_text(''.join(f'{text}\0' for text in texts))
            self.write('etc/nv_tegra_release', f'{model.l4t}, GCID: 1, BOARD: generic')
            self.write('var/lib/nvpmodel/status', f'pmode:{model.mode:04}')
            modes = (f'< POWER_MODEL ID={i} NAME={name} >' for i, name in model.modes.items())
            default = f'< PM_CONFIG DEFAULT={model.mode} >'
            self.write('etc/nvpmodel.conf', '\n'.join([*modes, default]))
        for name in model.engines:
            self.write(f'sys/bus/platform/devices/{name}/power/runtime_status', 'suspended')

    def _write_cores(self) -> None:
        for list_name in ('present', 'online'):
            self.write(f'{_CPU}/{list_name}', f'0-{self.model.cores - 1}')
        for core in range(self.model.cores):
            for name, khz in (('cur', _MIN_KHZ), ('min', _MIN_KHZ), ('max', self.model.max_khz)):
                self.write(f'{_CPU}/cpu{core}/cpufreq/scaling_{name}_freq', khz)
            self.write(f'{_CPU}/cpu{core}/cpufreq/cpuinfo_cur_freq', _MIN_KHZ)

    def _write_gpu(self) -> None:
        if self.model.gpu:
            self.write(f'sys/devices/{self.model.gpu}/load', 430)
            self.write(f'sys/devices/{self.model.gpu}/power/runtime_status', 'active')
        if self.model.gpu_clock:
            folder = f'sys/class/devfreq/{self.model.gpu_clock}'
            clocks = (('cur', _GPU_MIN_HZ), ('min', _GPU_MIN_HZ), ('max', _GPU_MAX_HZ))
            for name, hz in clocks:
                self.write(f'{folder}/{name}_freq', hz)
            self.write(f'{folder}/governor', 'nvhost_podgov')

    def _write_thermal(self) -> None:
        for kind, millidegrees in self.model.zones.items():
            self.write(f'{self.zone(kind)}/type', kind)
            self.write(f'{self.zone(kind)}/temp', millidegrees)
            for i, (trip, limit) in enumerate(self.model.trips.items()):
                self.write(f'{self.zone(kind)}/trip_point_{i}_type', trip)
                self.write(f'{self.zone(kind)}/trip_point_{i}_temp', limit)
        if self.model.compatible:
            for kind in _COOLING:
                folder = self.cooling_device(kind)
                self.write(f'{folder}/type', kind)
                self.write(f'{folder}/cur_state', 0)
                self.write(f'{folder}/max_state', 1 if 'alert' in kind else 10)

    def _write_hwmons(self) -> None:
        self._numbers = itertools.count()
        for rails in self.model.rails:
            chip: dict[str, object] = {}
            for i, (label, (millivolts, milliamperes)) in enumerate(rails.items(), 1):
                chip |= {
                    f'in{i}_label': label, f'in{i}_input': millivolts,
                    f'curr{i}_input': milliamperes, f'curr{i}_max': 4_984, f'curr{i}_crit': 5_500,
                    f'curr{i}_max_alarm': 0, f'curr{i}_crit_alarm': 0,
                }  # fmt: skip
            self.add_hwmon('ina3221', chip | {'in7_label': 'sum of shunt voltages'})
        if self.model.compatible:
            counts: dict[str, object] = {f'oc{i}_event_cnt': 0 for i in (1, 2, 3)}
            self.add_hwmon('soctherm_oc', counts | {f'oc{i}_throt_en': 1 for i in (1, 2, 3)})
            self.add_hwmon('pwmfan', {'pwm1': 77, 'pwm1_enable': 1})
            self.add_hwmon('pwm_tach', {'rpm': 1_800})
        if 'R38' in self.model.l4t:
            self.add_hwmon('ina238', {'power1_input': 19_780_000, 'in1_input': 20_000,
                                      'power1_max': 168_000_000})  # fmt: skip
        self.add_hwmon('nvme', {'temp1_input': 41_850, 'temp1_crit': 84_850})

    def add_hwmon(self, name: str, files: Mapping[str, object]) -> None:
        """Add a hardware monitor under the next free number."""
        folder = f'sys/class/hwmon/hwmon{next(self._numbers)}'
        self._devices[folder] = name
        for file, content in {'name': name, **files}.items():
            self.write(f'{folder}/{file}', content)

    def renumber_hwmons(self) -> None:
        """Give every hardware monitor another number, as another start of the board may."""
        parent = self.root / 'sys/class/hwmon'
        moved = {}
        for folder, name in self._devices.items():
            number = next(self._numbers)
            (self.root / folder).rename(parent / f'hwmon{number}')
            moved[f'sys/class/hwmon/hwmon{number}'] = name
        self._devices = moved
