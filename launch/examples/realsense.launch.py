"""The colour picture of a RealSense camera: `ros2 launch emollama_ros realsense.launch.py`."""

from __future__ import annotations

from launch.substitutions import LaunchConfiguration

from emollama_ros.nodes.drivers import Driver, argument, with_driver
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Return what `ros2 launch` runs."""
    driver = Driver(
        package="realsense2_camera",
        executable="realsense2_camera_node",
        name="realsense",
        remappings=[
            ("~/color/image_raw", "camera/image_raw"),
            ("~/color/image_raw/compressed", "camera/image_raw/compressed"),
            ("~/color/camera_info", "camera/camera_info"),
        ],
        parameters={
            "enable_color": True,
            "enable_depth": False,
            "enable_infra1": False,
            "enable_infra2": False,
            "rgb_camera.color_profile": "640x480x15",
        },
        install="sudo apt install ros-$ROS_DISTRO-realsense2-camera",
    )
    sound = argument("source", "live", "live = start the microphone; empty = listen to topics that exist")
    return with_driver(driver, sound, source=LaunchConfiguration("source"))
