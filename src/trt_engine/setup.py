# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Installs trt_engine as an ament_python package."""

from setuptools import find_packages
from setuptools import setup

NAME = 'trt_engine'

setup(
    name=NAME,
    version='0.1.0',
    packages=find_packages(),
    package_data={NAME: ['py.typed', 'cuda/kernels/*.cu*']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
    ],
    zip_safe=False,
    maintainer='jetson_perception maintainers',
    maintainer_email='maintainers@jetson-perception.dev',
    description='What an engine is, and how one is run; knows neither ROS nor, until asked, a GPU.',
    license='Apache-2.0',
    extras_require={'test': ['pytest']},  # without it colcon test runs nothing, and passes
    entry_points={'console_scripts': ['fetch_model = trt_engine.fetch_model:main']},
)
