# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Plays a recording through the inference node, with a live summary; ends when that is done."""

from collections.abc import Mapping
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext
from launch import LaunchDescription
from launch import LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument
from launch.actions import EmitEvent
from launch.actions import IncludeLaunchDescription
from launch.actions import OpaqueFunction
from launch.actions import RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

SHARE = Path(get_package_share_directory('trt_bringup'))

ARGUMENTS = [
    DeclareLaunchArgument(
        'source',
        description='What to play: rosbag2, pictures, point clouds, video, device.',
    ),
    DeclareLaunchArgument(
        'sensors', default_value='camera', choices=['camera', 'lidar'],
        description='Which inference node: camera starts inference, lidar starts lidar_inference.',
    ),
    DeclareLaunchArgument('card', default_value='demo', description='Model card: name or path.'),
    DeclareLaunchArgument(
        'onnx', default_value='', description="ONNX file instead of the card's; empty: the card's."
    ),
    DeclareLaunchArgument(
        'params_file',
        default_value=str(SHARE / 'config' / 'trt_inference.yaml'),
        description='Parameters of the inference node.',
    ),
    DeclareLaunchArgument('namespace', default_value='', description='Namespace of all nodes.'),
    DeclareLaunchArgument(
        'image_topic', default_value='/camera/image_raw', description='Topic that is played.'
    ),
    DeclareLaunchArgument(
        'points_topic', default_value='points', description='Topic of clouds that are played.'
    ),
    DeclareLaunchArgument(
        'transport', default_value='raw', choices=['raw', 'compressed'],
        description='Image or CompressedImage.',
    ),
    DeclareLaunchArgument('rate', default_value='1.0', description='Speed of the replay.'),
    DeclareLaunchArgument(
        'frame_rate', default_value='15.0', description='Hz, for pictures and clouds.'
    ),
    DeclareLaunchArgument(
        'loop', default_value='false', choices=['true', 'false'], description='Play for ever.'
    ),
    DeclareLaunchArgument(
        'out', default_value='', description='Folder for the annotated video and the last overlay.'
    ),
    DeclareLaunchArgument(
        'watch',
        default_value='true',
        choices=['true', 'false'],
        description='Start the summary, and end with it; make demo has its own on the terminal.',
    ),
    DeclareLaunchArgument(
        'autostart', default_value='', choices=['', 'true', 'false'],
        description='Configure and activate the inference node by itself; empty: as params_file '
        'says.',
    ),
    DeclareLaunchArgument(
        'use_sim_time', default_value='false', choices=['true', 'false'],
        description="Run on the recording's clock, which the replay then publishes.",
    ),
    DeclareLaunchArgument('log_level', default_value='info', description='Log level of all nodes.'),
]  # fmt: skip


def replay(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Start the replay; should it die rather than end, start another."""
    given = context.launch_configurations
    sim_time = given['use_sim_time'] == 'true'
    node = Node(
        package='trt_inference',
        executable='replay',
        name='replay',
        namespace=given['namespace'],
        parameters=[
            {
                'source': given['source'],
                'rate': float(given['rate']),
                'frame_rate': float(given['frame_rate']),
                'loop': given['loop'] == 'true',
                'image_topic': given['image_topic'],
                'points_topic': given['points_topic'],
                'transport': given['transport'],
                'publish_clock': sim_time,
            }
        ],
        arguments=['--ros-args', '--log-level', given['log_level']],
        output='screen',
    )

    def restart_if_it_died(
        event: ProcessExited, context: LaunchContext
    ) -> list[LaunchDescriptionEntity] | None:
        if event.returncode < 0 and not context.is_shutdown:
            return replay(context)
        return None

    handler = OnProcessExit(target_action=node, on_exit=restart_if_it_died)
    return [RegisterEventHandler(handler), node]


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    given = context.launch_configurations
    forwarded = {
        name: given[name]
        for name in ('namespace', 'params_file', 'sensors', 'card', 'onnx', 'image_topic',
                     'points_topic', 'transport', 'autostart', 'use_sim_time', 'log_level')
    }  # fmt: skip
    # Not left out: an included file sees the arguments of this one where it is given none.
    if given['sensors'] == 'lidar':
        forwarded |= {'lidar_card': given['card'], 'card': '', 'image_topic': '', 'transport': ''}
    else:
        forwarded['points_topic'] = ''
    perception = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / 'launch' / 'perception.launch.py')),
        launch_arguments=list(forwarded.items()),
    )
    return [perception, *replay(context), *(watch(given) if given['watch'] == 'true' else ())]


def watch(given: Mapping[str, str]) -> list[LaunchDescriptionEntity]:
    """Start the summary; when it ends, so does everything."""
    parameters: dict[str, object] = {'out': given['out'], 'idle_timeout_s': 3.0}
    if given['sensors'] == 'lidar':
        parameters |= {'node': 'lidar_inference', 'points_topic': given['points_topic']}
    node = Node(
        package='trt_inference',
        executable='watch',
        name='watch',
        namespace=given['namespace'],
        parameters=[parameters],
        output='screen',
    )
    end = EmitEvent(event=Shutdown(reason='the demo is over'))
    return [RegisterEventHandler(OnProcessExit(target_action=node, on_exit=[end])), node]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start)])
