"""For tools that ask for setup.py; everything is said in pyproject.toml.

`pip install .` gives the ROS-free part. colcon does not read this file: package.xml says ament_cmake.
"""

from setuptools import setup

setup()
