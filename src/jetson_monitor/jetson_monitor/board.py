# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What board this is and what is installed on it: all that does not change while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import fields
import json
from pathlib import Path
import re

from jetson_monitor.sysfs.files import read_text
from jetson_monitor.sysfs.power import PowerMode


@dataclass(frozen=True)
class Release:
    """A release of JetPack, and the versions of the libraries that belong to it.

    Each version may be followed by more numbers where it is installed.
    """

    jetpack: str
    cuda: str
    cudnn: str
    tensorrt: str


# by release of Jetson Linux; what is not here is not known
RELEASES: Mapping[str, Release] = {
    '35.4.1': Release('5.1.2', '11.4', '8.6.0', '8.5.2'),
    '36.3.0': Release('6.0', '12.2', '8.9.4', '8.6.2'),
    '36.4.0': Release('6.1', '12.6', '9.3.0', '10.3.0'),
    '36.4.3': Release('6.2', '12.6', '9.3.0', '10.3.0'),
    '36.4.4': Release('6.2.1', '12.6', '9.3.0', '10.3.0'),
    '36.4.7': Release('6.2.1', '12.6', '9.3.0', '10.3.0'),
    '36.5.0': Release('6.2.2', '12.6', '9.3.0', '10.3.0'),
    '36.5.2': Release('6.2.3', '12.6', '9.3.0', '10.3.0'),
    '38.2.0': Release('7.0', '13.0', '9.12.0', '10.13'),
    '38.2.1': Release('7.0', '13.0', '9.12.0', '10.13.3'),
    '38.2.2': Release('7.0', '13.0', '9.12.0', '10.13.3'),
    '38.4.0': Release('7.1', '13.0', '9.12.0', '10.13.3'),
    '39.2.0': Release('7.2', '13.2', '9.20.0', '10.16.2'),
    '39.2.1': Release('7.2.1', '13.2', '9.20.0', '10.16.2'),
}


@dataclass(frozen=True)
class Board:
    """One machine; None is what could not be read.

    Attributes:
        model: Such as NVIDIA Jetson Orin Nano Developer Kit.
        soc: The chip: tegra186, 194, 210, 234 or 264. Only a Jetson has one.
        module: Part number of the module, such as p3767-0005.
        serial: Serial number.
        l4t: Release of Jetson Linux, such as 36.4.4.
        jetpack: Version of the package nvidia-jetpack, else that which belongs to this L4T.
        cuda: Version of the toolkit below /usr/local/cuda.
        cudnn: Version of the package.
        tensorrt: Version of the package.
        driver: Version of NVIDIA's kernel driver.
        gpu: Name of a discrete GPU.
        power_modes: Names of the modes of nvpmodel, by number.
        default_power_mode: Name of the mode after a first start.
    """

    model: str | None = None
    soc: str | None = None
    module: str | None = None
    serial: str | None = None
    l4t: str | None = None
    jetpack: str | None = None
    cuda: str | None = None
    cudnn: str | None = None
    tensorrt: str | None = None
    driver: str | None = None
    gpu: str | None = None
    power_modes: tuple[str, ...] = ()
    default_power_mode: str | None = None

    @property
    def is_jetson(self) -> bool:
        """Whether this is a Jetson, as far as can be seen; containers may hide it."""
        return self.soc is not None or self.l4t is not None

    @property
    def release(self) -> Release | None:
        """What belongs together on this release of Jetson Linux; None for one not known."""
        return RELEASES.get(self.l4t or '')

    def facts(self) -> dict[str, str]:
        """Return what is known as texts, by the names of the attributes."""
        known = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {
            name: ', '.join(value) if isinstance(value, tuple) else value
            for name, value in known
            if value
        }


def read_board(root: Path = Path('/')) -> Board:
    """Return what the files below a root say of this machine."""
    tree = root / 'proc/device-tree'
    compatible = read_text(tree / 'compatible')
    packages = dict(_packages(read_text(root / 'var/lib/dpkg/status')))
    l4t = _l4t(read_text(root / 'etc/nv_tegra_release'), packages)
    release = RELEASES.get(l4t or '')
    modes = PowerMode(root)
    nvidia = root / 'proc/driver/nvidia'
    return Board(
        model=_line(tree / 'model') or _line(root / 'sys/class/dmi/id/product_name'),
        soc=_last(r'nvidia,(tegra\d+)', compatible),
        module=_last(r'\b(p\d{4}-\d{4})\b', compatible),
        serial=_line(tree / 'serial-number'),
        l4t=l4t,
        jetpack=packages.get('nvidia-jetpack') or (release.jetpack if release else None),
        cuda=_cuda(read_text(root / 'usr/local/cuda/version.json')),
        cudnn=_version(packages, r'libcudnn\d+(-cuda-\d+)?'),
        tensorrt=_version(packages, r'libnvinfer\d+'),
        driver=_last(r'Kernel Module.*?\s(\d+(?:\.\d+)+)\s', read_text(nvidia / 'version')),
        gpu=_discrete_gpu(nvidia / 'gpus'),
        power_modes=tuple(name for _, name in sorted(modes.names.items())),
        default_power_mode=modes.default,
    )


def _line(path: Path) -> str | None:
    return read_text(path).strip('\0').partition('\n')[0] or None


def _last(pattern: str, text: str) -> str | None:
    found = re.findall(pattern, text)
    return found[-1] if found else None


def _discrete_gpu(gpus: Path) -> str | None:
    first = next(iter(sorted(gpus.glob('*/information'))), None)  # of several, as trt_builder
    return _last(r'(?m)^Model:\s*(.+?)\s*$', read_text(first)) if first else None


def _l4t(release: str, packages: Mapping[str, str]) -> str | None:
    if found := re.search(r'# R(\d+) \(release\), REVISION: ([\d.]+)', release):
        return f'{found[1]}.{found[2]}'
    # containers often have no such file
    version = packages.get('nvidia-l4t-core')
    return version.partition('-')[0] if version else None


def _packages(status: str) -> Iterator[tuple[str, str]]:
    """Yield the packages that dpkg has installed, with their versions less the build."""
    for entry in status.split('\n\n'):
        name = re.search(r'^Package: (\S+)$', entry, re.MULTILINE)
        version = re.search(r'^Version: ([^\s+]+)', entry, re.MULTILINE)
        if name and version and re.search(r'^Status: .* installed$', entry, re.MULTILINE):
            yield name[1], version[1]


def _version(packages: Mapping[str, str], pattern: str) -> str | None:
    found = (version for name, version in packages.items() if re.fullmatch(pattern, name))
    return next((version.partition('-')[0] for version in found), None)


def _cuda(version_json: str) -> str | None:
    try:
        return str(json.loads(version_json)['cuda']['version'])
    except (ValueError, KeyError, TypeError):
        return None
