"""A ReSpeaker microphone array: `ros2 launch emollama_ros respeaker.launch.py`; the camera driver is yours.

Channels are averaged, so an array with its own processing should send one (the 1-channel firmware): with six,
the last is what the robot itself plays.
"""

from __future__ import annotations

from launch.substitutions import LaunchConfiguration
from launch_ros.parameter_descriptions import ParameterValue

from emollama_ros.nodes.drivers import Driver, argument, with_driver
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Return what `ros2 launch` runs."""
    driver = Driver(
        package="emollama_ros",
        executable="microphone_node",
        name="microphone",
        parameters={
            "device": ParameterValue(LaunchConfiguration("device"), value_type=str),
            "channels": ParameterValue(LaunchConfiguration("channels"), value_type=int),
            "rate": 16000,
            "frame_id": "respeaker",
        },
        install="build this package",
    )
    return with_driver(
        driver,
        argument("device", "ReSpeaker", "part of the name of the sound card"),
        argument("channels", "1", "channels that the firmware sends"),
        argument("camera_topic", "camera/image_raw", "of the camera"),
        camera_topic=LaunchConfiguration("camera_topic"),
    )
