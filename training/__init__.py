"""Training of the perception and reasoning networks, and the data they learn from.

Runs from the checkout (``python -m training``); it is never installed with the ROS package.
"""
