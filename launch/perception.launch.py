# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Starts the inference nodes, and starts them again should they die."""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext
from launch import LaunchDescription
from launch import LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument
from launch.actions import OpaqueFunction
from launch.actions import SetEnvironmentVariable
from launch_ros.actions import Node

SHARE = Path(get_package_share_directory('trt_bringup'))

ARGUMENTS = [
    DeclareLaunchArgument('namespace', default_value='', description='Namespace of the nodes.'),
    DeclareLaunchArgument(
        'sensors',
        default_value='camera',
        choices=['camera', 'lidar', 'both'],
        description='Which nodes: camera starts inference, lidar starts lidar_inference.',
    ),
    DeclareLaunchArgument(
        'fusion',
        default_value='false',
        choices=['true', 'false'],
        description='Also start fusion of what they see; calibration and transform: params_file.',
    ),
    DeclareLaunchArgument(
        'params_file',
        default_value=str(SHARE / 'config' / 'trt_inference.yaml'),
        description='Parameters of the nodes; every one is listed and described in the default.',
    ),
    DeclareLaunchArgument(
        'card',
        default_value='',
        description='Model card: name or path; empty: as params_file says.',
    ),
    DeclareLaunchArgument(
        'onnx', default_value='', description="ONNX file instead of the card's; empty: the card's."
    ),
    DeclareLaunchArgument(
        'image_topic', default_value='', description='Image topic; empty: as params_file says.'
    ),
    DeclareLaunchArgument(
        'transport', default_value='', description='raw or compressed; empty: as params_file says.'
    ),
    DeclareLaunchArgument(
        'lidar_card',
        default_value='',
        description='Model card of the lidar; empty: as params_file says.',
    ),
    DeclareLaunchArgument(
        'points_topic',
        default_value='',
        description='Topic of the point clouds; empty: as params_file says.',
    ),
    DeclareLaunchArgument(
        'autostart',
        default_value='',
        choices=['', 'true', 'false'],
        description='Configure and activate by itself; empty: as params_file says.',
    ),
    DeclareLaunchArgument(
        'use_sim_time',
        default_value='',
        choices=['', 'true', 'false'],
        description='Take the time from /clock, as a replay with publish_clock gives it; '
        'empty: as params_file says.',
    ),
    DeclareLaunchArgument('log_level', default_value='info', description='Log level of the nodes.'),
    DeclareLaunchArgument(
        'dds_profile',
        default_value=os.environ.get(
            'FASTRTPS_DEFAULT_PROFILES_FILE', str(SHARE / 'config' / 'dds' / 'fastdds.xml')
        ),
        description='Fast DDS profile; the default gives large images room. Empty: none.',
    ),
]


# What is for one kind of node, and what it has instead where there is only the other kind.
OF_CAMERA = {
    'card': 'lidar_card',
    'onnx': 'onnx of lidar_inference in params_file',
    'image_topic': 'points_topic',
    'transport': 'nothing: clouds have none',
}
OF_LIDAR = {'lidar_card': 'card', 'points_topic': 'image_topic'}


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    given = context.launch_configurations
    refuse_what_nobody_takes(given)
    camera: dict[str, object] = {
        name: given[name] for name in ('card', 'onnx', 'transport') if given[name]
    }
    if given['image_topic']:
        camera['image_topics'] = [given['image_topic']]
    lidar: dict[str, object] = {}
    if given['lidar_card']:
        lidar['card'] = given['lidar_card']
    if given['points_topic']:
        lidar['points_topic'] = given['points_topic']
    entities: list[LaunchDescriptionEntity] = []
    if given['dds_profile']:
        entities.append(
            SetEnvironmentVariable('FASTRTPS_DEFAULT_PROFILES_FILE', given['dds_profile'])
        )
    autostart = flag('autostart', given)
    if given['sensors'] != 'lidar':
        entities.append(node('inference', given, camera | autostart))
    if given['sensors'] != 'camera':
        entities.append(node('lidar_inference', given, lidar | autostart))
    if given['fusion'] == 'true':
        entities.append(node('fusion', given, {}))
    return entities


def refuse_what_nobody_takes(given: dict[str, str]) -> None:
    """Refuse what would be left out without a word, and another network run than was meant."""
    path, sensors = given['params_file'], given['sensors']
    if not Path(path).is_file():
        raise RuntimeError(f'params_file is {path!r}, and there is no such file; check the path')
    for name, instead in {'camera': OF_LIDAR, 'lidar': OF_CAMERA}.get(sensors, {}).items():
        if given[name]:
            raise RuntimeError(
                f'{name} is {given[name]!r}, which no node takes with sensors:={sensors}; '
                f'wanted {instead}, or sensors:=both'
            )


def node(name: str, given: dict[str, str], overrides: dict[str, object]) -> Node:
    """Return a node whose parameters are those of the file, then those given."""
    overrides |= flag('use_sim_time', given)
    return Node(
        package='trt_inference',
        executable=name,
        name=name,
        namespace=given['namespace'],
        parameters=[given['params_file'], overrides],
        arguments=['--ros-args', '--log-level', given['log_level']],
        respawn=True,
        respawn_delay=0.2,
        output='screen',
        emulate_tty=True,
    )


def flag(name: str, given: dict[str, str]) -> dict[str, object]:
    """Return the parameter of an argument that was given."""
    return {name: given[name] == 'true'} if given[name] else {}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start)])
