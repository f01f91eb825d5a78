"""A webcam and the default microphone: `ros2 launch emollama_ros usb_cam.launch.py`."""

from __future__ import annotations

from launch.substitutions import LaunchConfiguration

from emollama_ros.nodes.drivers import Driver, argument, with_driver
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Return what `ros2 launch` runs."""
    driver = Driver(
        package="usb_cam",
        executable="usb_cam_node_exe",
        name="usb_cam",
        remappings=[
            ("image_raw", "camera/image_raw"),
            ("image_raw/compressed", "camera/image_raw/compressed"),
            ("camera_info", "camera/camera_info"),
        ],
        parameters={
            "video_device": LaunchConfiguration("video_device"),
            "image_width": 640,
            "image_height": 480,
            "framerate": 15.0,
        },
        install="sudo apt install ros-$ROS_DISTRO-usb-cam",
    )
    device = argument("video_device", "/dev/video0", "the camera")
    sound = argument("source", "live", "live = start the microphone; empty = listen to topics that exist")
    return with_driver(driver, device, sound, source=LaunchConfiguration("source"))
