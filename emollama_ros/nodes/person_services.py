"""Services about the person in front of a source: this one is neutral now; this is somebody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from std_srvs.srv import Trigger

from emollama_ros.errors import EmollamaError

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

    from emollama_ros.adaptation import Person

#: What is answered where nothing is perceived, or cannot be allowed for.
NOT_PERCEIVING = "nothing is perceived now: the node is not active, or paused"
NOT_AVAILABLE = "the bundle does not say what is needed to follow a person (calibration.adaptation)"
NEW_PERSON = "forgotten: what comes next is of somebody else"


class PersonServices:
    """Answers for one source. Used in the executor's thread only.

    Attributes:
        person: Whom the source follows; ``None`` where the bundle cannot.
        is_perceiving: Whether anything is perceived now.
    """

    def __init__(self, node: LifecycleNode, prefix: str = "") -> None:
        """Create the services.

        Args:
            node: Where.
            prefix: Put before their names, such as ``left/``.
        """
        self.person: Person | None = None
        self.is_perceiving = False
        self._node = node
        self._services = [
            node.create_service(Trigger, f"{prefix}emotion/set_neutral", self._on_set_neutral),
            node.create_service(Trigger, f"{prefix}emotion/new_person", self._on_new_person),
        ]

    def destroy(self) -> None:
        """Take the services away."""
        for service in self._services:
            self._node.destroy_service(service)

    def _on_set_neutral(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._answer(response, lambda person: person.set_neutral())

    def _on_new_person(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        def forget(person: Person) -> str:
            person.forget()
            return NEW_PERSON

        return self._answer(response, forget)

    def _answer(self, response: Trigger.Response, do: Callable[[Person], str]) -> Trigger.Response:
        if not self.is_perceiving:
            response.message = NOT_PERCEIVING
        elif self.person is None:
            response.message = NOT_AVAILABLE
        else:
            try:
                response.message, response.success = do(self.person), True
            except EmollamaError as error:
                response.message = str(error)
        return response
