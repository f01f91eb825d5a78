"""Log states: `ros2 launch emollama_ros csv_logger.launch.py source:=CLIP.mp4 path:=STATES.csv`."""

from __future__ import annotations

from emollama_ros.behaviours.csv_logger import CsvLoggerParameters
from emollama_ros.behaviours.launching import with_perception
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Return what `ros2 launch` runs."""
    return with_perception("csv_logger", CsvLoggerParameters)
