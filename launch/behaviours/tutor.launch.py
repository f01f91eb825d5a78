"""Start a tutor: `ros2 launch emollama_ros tutor.launch.py source:=live`."""

from __future__ import annotations

from emollama_ros.behaviours.launching import with_perception
from emollama_ros.behaviours.tutor import TutorParameters
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Return what `ros2 launch` runs."""
    return with_perception("tutor", TutorParameters)
