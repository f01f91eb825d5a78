"""The dashboard: what a perception node does, on a local web page, and drawn on its picture. No ROS in it."""
