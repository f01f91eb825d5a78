"""Launch descriptions of perception with a driver of another package: it is started where it is installed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ament_index_python.packages import (
    PackageNotFoundError,
    get_package_prefix,
    get_package_share_directory,
)
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, LogInfo
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchDescription

PACKAGE = "emollama_ros"


@dataclass(frozen=True)
class Driver:
    """A camera or a microphone, as its package starts it.

    Attributes:
        package: ROS package of the driver.
        executable: Of the package.
        name: Of the node.
        remappings: From the driver's topics to ours, below the namespace.
        parameters: Of the node.
        install: What to do where the package is missing.
    """

    package: str
    executable: str
    name: str
    remappings: Sequence[tuple[str, str]] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    install: str = ""

    def action(self, namespace: Any = "") -> Node | LogInfo:
        """Return what starts the driver, or says how to install it."""
        if not is_installed(self.package):
            return LogInfo(msg=f"{self.package} is not installed, so nothing is seen of it: {self.install}")
        return Node(
            package=self.package,
            executable=self.executable,
            name=self.name,
            namespace=namespace,
            output="screen",
            remappings=list(self.remappings),
            parameters=[dict(self.parameters)],
        )


def is_installed(package: str) -> bool:
    """Whether a ROS package is found."""
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        return False
    return True


def argument(name: str, default: str, description: str) -> DeclareLaunchArgument:
    """Declare an argument of an example."""
    return DeclareLaunchArgument(name, default_value=default, description=description)


def perception(**arguments: Any) -> IncludeLaunchDescription:
    """Return what includes perception.launch.py with arguments."""
    file = os.path.join(get_package_share_directory(PACKAGE), "launch", "perception.launch.py")
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(file), launch_arguments=list(arguments.items())
    )


def with_driver(driver: Driver, *arguments: DeclareLaunchArgument, **given: Any) -> LaunchDescription:
    """Return perception together with a driver.

    Args:
        driver: What to start beside it.
        *arguments: That the driver's parameters take.
        **given: Arguments of perception.launch.py.
    """
    namespace = LaunchConfiguration("namespace")
    return LaunchDescription(
        [
            argument("namespace", "", "namespace of all nodes and topics"),
            *arguments,
            driver.action(namespace),
            perception(namespace=namespace, **given),
        ]
    )
