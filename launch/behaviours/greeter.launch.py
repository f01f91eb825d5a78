"""Start a greeter: `ros2 launch emollama_ros greeter.launch.py source:=CLIP.mp4`."""

from __future__ import annotations

from emollama_ros.behaviours.greeter import GreeterParameters
from emollama_ros.behaviours.launching import with_perception
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Return what `ros2 launch` runs."""
    return with_perception("greeter", GreeterParameters)
