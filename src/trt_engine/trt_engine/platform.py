# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What this machine is, read from files; what they do not say is None."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
import json
from pathlib import Path
import re

ROOT = Path('/')

# of the Python packages of each flavour, then of its modules
_TENSORRT_NAMES = {
    'tensorrt': ('tensorrt', 'tensorrt_cu13', 'tensorrt_cu12'),
    'tensorrt_rtx': ('tensorrt_rtx', 'tensorrt_rtx_cu13_bindings', 'tensorrt_rtx_cu12_bindings'),
}
TENSORRT_MODULES = {
    'tensorrt': ('tensorrt',),
    'tensorrt_rtx': ('tensorrt_rtx', 'tensorrt_rtx_bindings'),
}
_GPU_NODES = ('dev/nvidia0', 'dev/nvhost-gpu', 'dev/nvhost-ctrl-gpu', 'dev/nvgpu/igpu0')
_SM = {
    'nvidia,tegra264': '11.0',
    'nvidia,tegra234': '8.7',
    'nvidia,tegra194': '7.2',
    'nvidia,tegra186': '6.2',
    'nvidia,tegra210': '5.3',
}
# nvpmodel.conf names DLA clocks on modules without them; the module number is what can be trusted
_DLA_CORES = {
    'p3701': 2,
    'p3767-0000': 2,
    'p3767-0001': 1,
    'p3767-0003': 0,
    'p3767-0004': 0,
    'p3767-0005': 0,
    'p3834': 0,
}


@dataclass(frozen=True)
class Platform:
    """One machine; None is what could not be read.

    Attributes:
        board: Model from the device tree, such as NVIDIA Jetson Orin Nano Developer Kit.
        l4t: Jetson Linux release, such as 36.4.4.
        jetpack: Version of the package nvidia-jetpack, such as 6.2.1.
        tensorrt: Version of the Python package of this interpreter, of the flavour asked for.
        cuda: Version of the toolkit under /usr/local/cuda.
        driver: Version of the NVIDIA kernel driver.
        sm: Compute capability of a Jetson's GPU, such as 8.7.
        gpu_name: Name of a discrete GPU.
        dla_cores: Number of DLA cores of a Jetson module.
        power_mode: Name of the nvpmodel mode, never its number.
        gpu_masks: Masks of the GPU units that this mode gates, such as TPC_PG_MASK=252.
    """

    board: str | None = None
    l4t: str | None = None
    jetpack: str | None = None
    tensorrt: str | None = None
    cuda: str | None = None
    driver: str | None = None
    sm: str | None = None
    gpu_name: str | None = None
    dla_cores: int | None = None
    power_mode: str | None = None
    gpu_masks: str | None = None


def read_platform(root: Path = ROOT, *, flavour: str = 'tensorrt') -> Platform:
    """Return what the files below `root` say of this machine.

    Args:
        root: Where the file system of the machine begins.
        flavour: Whose version `tensorrt` is: tensorrt or tensorrt_rtx.
    """
    compatible = text_of(root / 'proc/device-tree/compatible').split('\0')
    packages = text_of(root / 'var/lib/dpkg/status')
    power_mode, gpu_masks = _power_mode(
        text_of(root / 'var/lib/nvpmodel/status'), text_of(root / 'etc/nvpmodel.conf')
    )
    return Platform(
        board=text_of(root / 'proc/device-tree/model').rstrip('\0\n') or None,
        l4t=_l4t(text_of(root / 'etc/nv_tegra_release'), packages),
        jetpack=_package_version(packages, 'nvidia-jetpack'),
        tensorrt=tensorrt_version(flavour),
        cuda=_cuda(text_of(root / 'usr/local/cuda/version.json')),
        driver=_match(
            r'Kernel Module.*?\s(\d+(?:\.\d+)+)\s', text_of(root / 'proc/driver/nvidia/version')
        ),
        sm=next((_SM[name] for name in compatible if name in _SM), None),
        gpu_name=_gpu_name(root / 'proc/driver/nvidia/gpus'),
        dla_cores=next(
            (cores for name in compatible if (cores := dla_cores_of(name)) is not None), None
        ),
        power_mode=power_mode,
        gpu_masks=gpu_masks,
    )


def dla_cores_of(module: str) -> int | None:
    """Return how many DLA cores a Jetson module has, by its number, such as p3767-0003."""
    return next(
        (cores for known, cores in _DLA_CORES.items() if re.search(rf'\b{known}\b', module)), None
    )


def has_gpu(root: Path = ROOT) -> bool:
    """Return whether a device node of an NVIDIA GPU is there, as it is not in a plain container."""
    return any((root / node).exists() for node in _GPU_NODES)


def tensorrt_version(flavour: str = 'tensorrt') -> str | None:
    """Return the version of TensorRT's Python package without importing it; None if absent."""
    for name in _TENSORRT_NAMES[flavour]:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    # one that was unpacked rather than installed says it in its first file
    for name in TENSORRT_MODULES[flavour]:
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            return _match(r'^__version__ = [\'"]([\d.]+)', text_of(Path(spec.origin)))
    return None


def text_of(path: Path) -> str:
    """Return what a file says; '' where it cannot be read."""
    try:
        return path.read_text(errors='replace')
    except OSError:
        return ''


def _match(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1].strip() if found else None


def _l4t(release: str, packages: str) -> str | None:
    if found := re.search(r'# R(\d+) \(release\), REVISION: ([\d.]+)', release):
        return f'{found[1]}.{found[2]}'
    # the release file is often absent in containers
    version = _package_version(packages, 'nvidia-l4t-core')
    return version.partition('-')[0] if version else None


def _package_version(packages: str, name: str) -> str | None:
    for entry in packages.split('\n\n'):
        if not re.search(rf'^Package: {re.escape(name)}$', entry, re.MULTILINE):
            continue
        if re.search(r'^Status: .* installed$', entry, re.MULTILINE):
            version = _match(r'^Version: (\S+)', entry)
            return version.partition('+')[0] if version else None
    return None


def _cuda(version_json: str) -> str | None:
    try:
        return str(json.loads(version_json)['cuda']['version'])
    except (ValueError, KeyError, TypeError):
        return None


def _gpu_name(gpus: Path) -> str | None:
    for information in sorted(gpus.glob('*/information')):
        return _match(r'^Model:\s*(.+)$', text_of(information))
    return None


def _power_mode(status: str, conf: str) -> tuple[str | None, str | None]:
    number = _match(r'^pmode:(\d+)', status)
    if number is None:
        return None, None
    mode = re.search(
        rf'<\s*POWER_MODEL\s+ID=0*{int(number)}\s+NAME=(\S+)\s*>([^<]*)', conf, re.MULTILINE
    )
    if mode is None:
        return None, None
    masks = re.findall(r'^\s*(?:GPU|TPC|FBP)_POWER_GATING\s+(\w+)\s+(\w+)', mode[2], re.MULTILINE)
    return mode[1], ' '.join(sorted(f'{name}={mask}' for name, mask in masks)) or None
