# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Installs trt_inference as an ament_python package."""

from setuptools import find_packages
from setuptools import setup

NAME = 'trt_inference'

setup(
    name=NAME,
    version='0.1.0',
    packages=find_packages(),
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
    ],
    zip_safe=True,
    maintainer='jetson_perception maintainers',
    maintainer_email='maintainers@jetson-perception.dev',
    description='Turns camera and lidar messages into detections with one engine.',
    license='Apache-2.0',
    extras_require={'test': ['pytest']},  # without it colcon test runs nothing, and passes
    entry_points={
        'console_scripts': [
            'fusion = trt_inference.entry:fusion',
            'inference = trt_inference.entry:inference',
            'lidar_inference = trt_inference.entry:lidar_inference',
            'plan = trt_inference.entry:plan',
            'replay = trt_inference.entry:replay',
            'watch = trt_inference.entry:watch',
        ],
    },
)
