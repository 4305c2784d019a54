# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Starts what watches the suite: the monitor of the board, and a live summary of one detector."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext
from launch import LaunchDescription
from launch import LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument
from launch.actions import OpaqueFunction
from launch_ros.actions import Node

SHARE = Path(get_package_share_directory('trt_bringup'))

ARGUMENTS = [
    DeclareLaunchArgument('namespace', default_value='', description='Namespace of the nodes.'),
    DeclareLaunchArgument(
        'params_file',
        default_value=str(SHARE / 'config' / 'jetson_monitor.yaml'),
        description='Parameters; every one of the monitor is listed and described in the default.',
    ),
    DeclareLaunchArgument(
        'inference',
        default_value='inference',
        description='Name of the inference node; of one of several cameras: <node>/<camera>.',
    ),
    DeclareLaunchArgument(
        'summary',
        default_value='true',
        choices=['true', 'false'],
        description='Print a live summary of that inference node.',
    ),
    DeclareLaunchArgument(
        'aggregate',
        default_value='false',
        choices=['true', 'false'],
        description='Start diagnostic_aggregator with config/diagnostics.yaml; false: you have it.',
    ),
    DeclareLaunchArgument(
        'autostart',
        default_value='true',
        choices=['true', 'false'],
        description='Start the nodes; false: for a launch file that includes this one.',
    ),
    DeclareLaunchArgument(
        'use_sim_time',
        default_value='',
        choices=['', 'true', 'false'],
        description='Take the time from /clock; the board is sampled in real time anyway; '
        'empty: as params_file says.',
    ),
    DeclareLaunchArgument('log_level', default_value='info', description='Log level of the nodes.'),
]


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    given = context.launch_configurations
    if given['autostart'] == 'false':
        return []
    parameters = [*filter(None, [given['params_file']])]
    for path in parameters:
        if not Path(path).is_file():
            raise RuntimeError(
                f'params_file is {path!r}, and there is no such file; check the path'
            )
    time = {}
    if given['use_sim_time']:
        time['use_sim_time'] = given['use_sim_time'] == 'true'
    common = {
        'namespace': given['namespace'],
        'arguments': ['--ros-args', '--log-level', given['log_level']],
        'output': 'screen',
    }
    nodes = [
        Node(
            package='jetson_monitor',
            executable='jetson_monitor',
            name='jetson_monitor',
            parameters=[*parameters, time],
            respawn=True,
            respawn_delay=1.0,
            **common,
        )
    ]
    if given['summary'] == 'true':
        nodes.append(
            Node(
                package='trt_inference',
                executable='watch',
                name='watch',
                parameters=[*parameters, time, {'node': given['inference']}],
                **common,
            )
        )
    if given['aggregate'] == 'true':
        nodes.append(
            Node(
                package='diagnostic_aggregator',
                executable='aggregator_node',
                name='diagnostic_aggregator',
                parameters=[str(SHARE / 'config' / 'diagnostics.yaml'), time],
                **common,
            )
        )
    return nodes


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start)])
