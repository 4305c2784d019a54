# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The verb `ros2 launch` for machines where ROS comes from wheels, which lack ros2launch.

Takes what ros2launch takes in daily use: a file, or a package and a file name; `name:=value`
arguments; --show-args; --debug.
"""

from __future__ import annotations

import argparse
from pathlib import Path
import signal

from ament_index_python.packages import get_package_share_directory
from ament_index_python.packages import PackageNotFoundError
from launch import LaunchDescription
from launch import LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource
from ros2cli.command import CommandExtension


def find_launch_file(words: list[str]) -> tuple[Path, list[str]]:
    """Split the words of a command line into the launch file and its arguments.

    Raises:
        FileNotFoundError: neither such a file nor such a package with such a file exists.
    """
    path = Path(words[0])
    if path.is_file():
        return path, words[1:]
    if len(words) < 2 or ':=' in words[1]:
        raise FileNotFoundError(f'no launch file {path}; give a file, or a package and a file name')
    try:
        share = Path(get_package_share_directory(words[0]))
    except PackageNotFoundError as exc:
        raise FileNotFoundError(f'no package {words[0]!r} in AMENT_PREFIX_PATH') from exc
    found = sorted(share.rglob(words[1]))
    if not found:
        raise FileNotFoundError(f'package {words[0]!r} has no launch file {words[1]!r} in {share}')
    return found[0], words[2:]


def show_arguments(path: Path) -> str:
    """Return what `--show-args` prints: each argument, its description, its default."""
    source = AnyLaunchDescriptionSource(str(path))
    service = LaunchService(argv=[])
    description = source.get_launch_description(service.context)
    lines = ["Arguments (pass arguments as '<name>:=<value>'):"]
    for argument in description.get_launch_arguments():
        lines += ['', f'    {argument.name!r}:', f'        {argument.description}']
        if argument.default_value is not None:
            default = ''.join(part.describe() for part in argument.default_value)
            lines.append(f'        (default: {default})')
    return '\n'.join(lines)


class LaunchCommand(CommandExtension):
    """Run a launch file."""

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str) -> None:
        """Declare what the verb takes."""
        parser.add_argument('-s', '--show-args', '--show-arguments', action='store_true',
                            help='show the arguments of the launch file, and stop')  # fmt: skip
        parser.add_argument('-d', '--debug', action='store_true', help='log what launch does')
        parser.add_argument('words', nargs='+', metavar='file | package file | name:=value')

    def main(self, *, parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
        """Start the file, and return launch's own exit status."""
        try:
            path, words = find_launch_file(args.words)
        except FileNotFoundError as exc:
            parser.error(str(exc))
        if args.show_args:
            print(show_arguments(path))
            return 0
        unclear = [word for word in words if ':=' not in word]
        if unclear:
            parser.error(f'arguments are name:=value; got {" ".join(unclear)}')
        service = LaunchService(argv=words, debug=args.debug)
        service.include_launch_description(
            LaunchDescription(
                [
                    IncludeLaunchDescription(
                        AnyLaunchDescriptionSource(str(path)),
                        launch_arguments=[tuple(word.split(':=', 1)) for word in words],
                    ),
                ]
            )
        )
        # launch hears Ctrl-C by itself, through a file descriptor. Python would besides throw
        # KeyboardInterrupt into what launch is doing: if that starts a process, launch never ends.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, lambda number, frame: None)
        return int(service.run())
