# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Installs jetson_monitor as an ament_python package."""

from setuptools import find_packages
from setuptools import setup

NAME = 'jetson_monitor'

setup(
    name=NAME,
    version='0.1.0',
    packages=find_packages(),
    package_data={NAME: ['py.typed']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
    ],
    zip_safe=False,
    maintainer='jetson_perception maintainers',
    maintainer_email='maintainers@jetson-perception.dev',
    description='Reports how the board is doing, and when to worry.',
    license='Apache-2.0',
    extras_require={'test': ['pytest']},  # without it colcon test runs nothing, and passes
    entry_points={'console_scripts': ['jetson_monitor = jetson_monitor.entry:main']},
)
