"""Thin ROS 2 adapters: the only place of the package that imports rclpy."""
