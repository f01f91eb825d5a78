"""Launch descriptions of the behaviours: perception, unless it runs already, and a node."""

from __future__ import annotations

import os
from dataclasses import Field, fields

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from emollama_ros.nodes.parameters import default_text
from launch import LaunchDescription

PACKAGE = "emollama_ros"
#: The node's parameter `source` is another thing than the launch argument, which names a file to play.
RENAMED = {"source": "follow"}


def with_perception(name: str, parameters: type) -> LaunchDescription:
    """Return what starts a behaviour.

    Args:
        name: Of the behaviour; its executable is NAME_node.
        parameters: Its table; each parameter becomes a launch argument.
    """
    shared = {argument: LaunchConfiguration(argument) for argument in ("namespace", "source")}
    perception = os.path.join(get_package_share_directory(PACKAGE), "launch", "perception.launch.py")
    node = Node(
        package=PACKAGE,
        executable=f"{name}_node",
        name=name,
        namespace=shared["namespace"],
        output="screen",
        parameters=[{item.name: _value(item) for item in fields(parameters)}],
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument("namespace", default_value="", description="namespace of all nodes"),
            DeclareLaunchArgument(
                "source",
                default_value="",
                description="media file to play; live = start the microphone; empty = topics that exist",
            ),
            DeclareLaunchArgument(
                "perception",
                default_value="true",
                choices=["true", "false"],
                description="start perception too; false where it runs already",
            ),
            *(_argument(item) for item in fields(parameters)),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(perception),
                launch_arguments=shared.items(),
                condition=IfCondition(LaunchConfiguration("perception")),
            ),
            node,
        ]
    )


def _argument(item: Field) -> DeclareLaunchArgument:
    default = item.default if isinstance(item.default, str) else default_text(item)
    return DeclareLaunchArgument(_named(item), default_value=default, description=item.metadata["doc"])


def _value(item: Field) -> ParameterValue:
    return ParameterValue(LaunchConfiguration(_named(item)), value_type=type(item.default))


def _named(item: Field) -> str:
    return RENAMED.get(item.name, item.name)
