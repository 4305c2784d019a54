# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a machine is, from its files; what they do not say is None."""

from __future__ import annotations

from pathlib import Path

import pytest

from trt_engine import platform
from trt_engine.platform import has_gpu
from trt_engine.platform import Platform
from trt_engine.platform import read_platform

# Forms as documented for L4T R36.4 on an Orin Nano Super, and for the desktop driver.
ORIN_NANO = {
    'proc/device-tree/model': 'NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0',
    'proc/device-tree/compatible': 'nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0'
    'nvidia,tegra234\0',
    'etc/nv_tegra_release': '# R36 (release), REVISION: 4.4, GCID: 41062509, BOARD: generic, '
    'EABI: aarch64, DATE: Mon Jun 16 16:07:13 UTC 2025\n# KERNEL_VARIANT: oot\n',
    'var/lib/dpkg/status': 'Package: nvidia-jetpack-dev\nStatus: install ok installed\n'
    'Version: 9.9\n\nPackage: nvidia-jetpack\nStatus: install ok installed\n'
    'Version: 6.2.1+b38\n\nPackage: nvidia-l4t-core\nStatus: install ok installed\n'
    'Version: 36.4.4-20250616085344\n',
    'usr/local/cuda/version.json': '{"cuda": {"name": "CUDA SDK", "version": "12.6.11"}}',
    'proc/driver/nvidia/version': 'NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  '
    '540.4.0  Release Build  (buildbrain@mobile)\nGCC version: gcc 11.4.0\n',
    'var/lib/nvpmodel/status': 'pmode:0002 fmode:quiet\n',
    'etc/nvpmodel.conf': '< PARAM TYPE=FILE NAME=TPC_POWER_GATING >\n'
    'TPC_PG_MASK /sys/devices/platform/gpu.0/tpc_pg_mask\n\n'
    '< POWER_MODEL ID=0 NAME=15W >\nTPC_POWER_GATING TPC_PG_MASK 252\n'
    '< POWER_MODEL ID=1 NAME=25W >\n'
    '< POWER_MODEL ID=2 NAME=MAXN_SUPER >\nCPU_ONLINE CORE_0 1\n'
    'TPC_POWER_GATING TPC_PG_MASK 240\nFBP_POWER_GATING FBP_PG_MASK 2\n'
    'GPU_POWER_CONTROL_ENABLE GPU_PWR_CNTL_EN on\n\n< PM_CONFIG DEFAULT=1 >\n',
}
DESKTOP = {
    'proc/driver/nvidia/version': 'NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  '
    'Tue Mar  5 22:23:56 UTC 2024\n',
    'proc/driver/nvidia/gpus/0000:01:00.0/information': 'Model: \t\t NVIDIA H200\nIRQ: 1\n',
}

TENSORRT_VERSION = platform.tensorrt_version


@pytest.fixture(autouse=True)
def no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, 'tensorrt_version', lambda flavour: None)


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_orin_nano(tmp_path: Path) -> None:
    assert read_platform(tree(tmp_path, ORIN_NANO)) == Platform(
        board='NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super',
        l4t='36.4.4',
        jetpack='6.2.1',
        cuda='12.6.11',
        driver='540.4.0',
        sm='8.7',
        dla_cores=0,
        power_mode='MAXN_SUPER',
        gpu_masks='FBP_PG_MASK=2 TPC_PG_MASK=240',
    )


def test_desktop(tmp_path: Path) -> None:
    assert read_platform(tree(tmp_path, DESKTOP)) == Platform(
        driver='550.54.15', gpu_name='NVIDIA H200'
    )


def test_nothing_is_known_of_an_empty_tree(tmp_path: Path) -> None:
    assert read_platform(tmp_path) == Platform()


@pytest.mark.parametrize(
    ('number', 'found'), [(0, ('15W', 'TPC_PG_MASK=252')), (1, ('25W', None)), (7, (None, None))]
)
def test_power_modes(tmp_path: Path, number: int, found: tuple[str | None, str | None]) -> None:
    files = {**ORIN_NANO, 'var/lib/nvpmodel/status': f'pmode:000{number}\n'}
    here = read_platform(tree(tmp_path, files))
    assert (here.power_mode, here.gpu_masks) == found


def test_l4t_from_dpkg_where_the_release_file_is_absent(tmp_path: Path) -> None:
    files = {k: v for k, v in ORIN_NANO.items() if k != 'etc/nv_tegra_release'}
    assert read_platform(tree(tmp_path, files)).l4t == '36.4.4'


@pytest.mark.parametrize(
    ('compatible', 'sm', 'dla_cores'),
    [
        ('nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0', '8.7', 2),
        ('nvidia,p3768-0000+p3767-0000\0nvidia,p3767-0000\0nvidia,tegra234\0', '8.7', 2),
        ('nvidia,p3768-0000+p3767-0001\0nvidia,p3767-0001\0nvidia,tegra234\0', '8.7', 1),
        ('nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0', '11.0', 0),
        ('acme,carrier\0nvidia,tegra234\0', '8.7', None),
        ('raspberrypi,5-model-b\0brcm,bcm2712\0', None, None),
    ],
)
def test_modules(tmp_path: Path, compatible: str, sm: str | None, dla_cores: int | None) -> None:
    found = read_platform(tree(tmp_path, {'proc/device-tree/compatible': compatible}))
    assert (found.sm, found.dla_cores) == (sm, dla_cores)


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('etc/nv_tegra_release', 'nonsense'),
        ('usr/local/cuda/version.json', '[1]'),
        ('usr/local/cuda/version.json', '{'),
        ('var/lib/nvpmodel/status', 'pmode:0007\n'),
        ('var/lib/dpkg/status', 'Package: nvidia-jetpack\nStatus: deinstall ok config-files\n'),
    ],
)
def test_what_cannot_be_understood_is_none(tmp_path: Path, name: str, text: str) -> None:
    assert read_platform(tree(tmp_path, {name: text})) == Platform()


def test_gpu_is_there_if_a_device_node_is(tmp_path: Path) -> None:
    assert not has_gpu(tmp_path)
    assert has_gpu(tree(tmp_path, {'dev/nvgpu/igpu0/ctrl': ''}))


def test_a_library_that_was_only_unpacked_says_its_version_in_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'tensorrt_rtx').mkdir()
    text = 'import nothing_that_is_here\n__version__ = "1.7.1.116"\n'
    (tmp_path / 'tensorrt_rtx/__init__.py').write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))

    def absent(name: str) -> str:
        raise platform.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(platform.metadata, 'version', absent)
    assert TENSORRT_VERSION('tensorrt_rtx') == '1.7.1.116'
