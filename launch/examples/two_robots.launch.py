"""Two robots, or more, each in a namespace: `ros2 launch emollama_ros two_robots.launch.py robots:=r1,r2`.

Topics are then /r1/camera/image_raw, /r1/emotion/state, /r2/emotion/state. Each robot has a model of its own;
where one machine looks through several cameras, `sources` of perception.launch.py shares one.
"""

from __future__ import annotations

from launch.actions import GroupAction, OpaqueFunction
from launch.substitutions import LaunchConfiguration

from emollama_ros.nodes.drivers import argument, perception
from launch import LaunchContext, LaunchDescription


def names_in(text: str) -> list[str]:
    """Split at commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def start_robots(context: LaunchContext) -> list:
    """Include perception once for each robot.

    Raises:
        ValueError: There are not as many files as robots.
    """
    robots, sources = (
        names_in(LaunchConfiguration(name).perform(context)) for name in ("robots", "sources_of_robots")
    )
    if sources and len(sources) != len(robots):
        raise ValueError(
            f"sources_of_robots: {len(sources)} for the robots {', '.join(robots)}; name one for each"
        )
    files = sources or [""] * len(robots)
    # A group keeps the arguments of one robot from becoming those of the next.
    return [
        GroupAction([perception(namespace=name, source=file)], forwarding=True)
        for name, file in zip(robots, files, strict=True)
    ]


def generate_launch_description() -> LaunchDescription:
    """Return what `ros2 launch` runs."""
    return LaunchDescription(
        [
            argument("robots", "robot1,robot2", "their namespaces, separated by commas"),
            argument("sources_of_robots", "", "media file, or live, for each; empty = topics that exist"),
            OpaqueFunction(function=start_robots),
        ]
    )
