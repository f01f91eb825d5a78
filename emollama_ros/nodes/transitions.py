"""Requests for lifecycle transitions that are not possible now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lifecycle_msgs.srv import ChangeState
from rclpy._rclpy_pybind11 import RCLError

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode


def refuse_impossible(node: LifecycleNode) -> None:
    """Have a node answer "no": rclpy (7.1) raises an error in the callback, which ends the process."""
    (service,) = (s for s in node.services if s.srv_type is ChangeState)
    change = service.callback

    def answer(request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        try:
            return change(request, response)
        except RCLError as error:
            node.get_logger().warning(f"transition {request.transition.id} refused: {error}")
            response.success = False
            return response

    service.callback = answer
