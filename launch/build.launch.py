# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Starts the builder node, which builds engines when asked, and starts it again should it die."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext
from launch import LaunchDescription
from launch import LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument
from launch.actions import ExecuteProcess
from launch.actions import OpaqueFunction
from launch.actions import RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch_ros.actions import Node

SHARE = Path(get_package_share_directory('trt_bringup'))

ARGUMENTS = [
    DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node.'),
    DeclareLaunchArgument(
        'params_file',
        default_value=str(SHARE / 'config' / 'trt_builder.yaml'),
        description='Parameters of the node; every one is listed and described in the default.',
    ),
    DeclareLaunchArgument(
        'card',
        default_value='',
        description='Model card to build at the start: name or path; empty: as params_file says.',
    ),
    DeclareLaunchArgument(
        'autostart',
        default_value='true',
        choices=['true', 'false'],
        description='Build at the start; false: whatever is named, wait to be asked.',
    ),
    DeclareLaunchArgument(
        'fetch',
        default_value='false',
        choices=['true', 'false'],
        description='First download the network of `card`, or check it if it is here.',
    ),
    DeclareLaunchArgument(
        'use_sim_time',
        default_value='',
        choices=['', 'true', 'false'],
        description='Take the time from /clock; empty: as params_file says.',
    ),
    DeclareLaunchArgument('log_level', default_value='info', description='Log level of the node.'),
]


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    given = context.launch_configurations
    path = given['params_file']
    if not Path(path).is_file():
        raise RuntimeError(f'params_file is {path!r}, and there is no such file; check the path')
    overrides: dict[str, object] = {}
    if given['use_sim_time']:
        overrides['use_sim_time'] = given['use_sim_time'] == 'true'
    if given['autostart'] == 'false':
        overrides['cards'] = ['']  # how ROS writes an empty list
    elif given['card']:
        overrides['cards'] = [given['card']]
    node = Node(
        package='trt_builder',
        executable='builder',
        name='builder',
        namespace=given['namespace'],
        parameters=[path, overrides],
        arguments=['--ros-args', '--log-level', given['log_level']],
        respawn=True,
        respawn_delay=0.2,
        output='screen',
        emulate_tty=True,
    )
    if given['fetch'] == 'false':
        return [node]
    fetch = ExecuteProcess(
        cmd=['ros2', 'run', 'trt_engine', 'fetch_model', given['card']],
        output='screen',
        emulate_tty=True,
    )
    # Also after a failed download: the node can build the other cards, and says what is missing.
    return [RegisterEventHandler(OnProcessExit(target_action=fetch, on_exit=[node])), fetch]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start)])
