# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Installs trt_validation as an ament_python package."""

from setuptools import find_packages
from setuptools import setup

NAME = 'trt_validation'

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
    description='Says whether a network still sees what it should.',
    license='Apache-2.0',
    extras_require={'test': ['pytest']},  # without it colcon test runs nothing, and passes
    entry_points={
        'console_scripts': [
            'accuracy = trt_validation.entry:accuracy',
            'lidar_accuracy = trt_validation.entry:lidar_accuracy',
        ],
    },
)
