"""What the ROS-free part logs, on /rosout: pipeline and engines use ``logging``, a robot reads ROS logs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from emollama_ros.logs import Throttle, ThrottleFilter

if TYPE_CHECKING:
    from rclpy.node import Node

#: The logger of everything in the package.
PACKAGE = "emollama_ros"


class RosHandler(logging.Handler):
    """Hands records on to a ROS logger. May be called in any thread, as ROS loggers may."""

    def __init__(self, logger: Any) -> None:
        """Hand on to the logger of a node, ``node.get_logger()``."""
        super().__init__(logging.INFO)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on one record, with its traceback if it has one."""
        write(self._logger, record.levelno, self.format(record))


def write(logger: Any, severity: int, text: str) -> None:
    """Write a line to a ROS logger.

    Args:
        logger: ``node.get_logger()``.
        severity: One of ``logging``.
        text: The line.
    """
    # One line of code a severity: rclpy refuses one that logs with another severity than before.
    if severity >= logging.CRITICAL:
        logger.fatal(text)
    elif severity >= logging.ERROR:
        logger.error(text)
    elif severity >= logging.WARNING:
        logger.warning(text)
    else:
        logger.info(text)


def forward(node: Node, throttle: Throttle | None = None) -> None:
    """Send what the package logs to the log of a node, each matter once per period.

    Args:
        node: Whose log; the one before it, if any, gets no more.
        throttle: What decides how often; one of its own if left out.
    """
    end()
    handler = RosHandler(node.get_logger())
    handler.addFilter(ThrottleFilter(throttle))
    logging.getLogger(PACKAGE).addHandler(handler)


def end() -> None:
    """Send nothing any more; call it before the node is destroyed."""
    logger = logging.getLogger(PACKAGE)
    for handler in [h for h in logger.handlers if isinstance(h, RosHandler)]:
        logger.removeHandler(handler)
