"""Parameters that change while the node runs: refused with the reason, or applied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import SetParametersResult

from emollama_ros.errors import ConfigError
from emollama_ros.nodes.loading import NOT_POSSIBLE
from emollama_ros.nodes.parameters import PerceptionParameters, checked, declare, effects, read

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode
    from rclpy.parameter import Parameter

    from emollama_ros.nodes.loading import Model

_ITEMS = {item.name: item for item in fields(PerceptionParameters)}
_EFFECTS = effects(PerceptionParameters)


class Tuning:
    """The parameters of a perception node. Used in the executor's thread only.

    Attributes:
        settings: Those in use.
    """

    def __init__(
        self, node: LifecycleNode, model: Callable[[], Model | None], change: Callable[[set[str]], None]
    ) -> None:
        """Declare the parameters.

        Args:
            node: Whose they are.
            model: Returns what is loaded, ``None`` while the node is unconfigured.
            change: Told when ``settings`` has changed: the effects of the parameters that did, and the names.

        Raises:
            ConfigError: A value given at start is not legal.
        """
        self._node, self._model, self._change = node, model, change
        self.settings = declare(node, PerceptionParameters)
        node.add_on_set_parameters_callback(self._check)
        # Values are stored only after the last check, and Humble has no callback for that moment.
        self._changed = node.create_guard_condition(self.apply)

    def apply(self) -> None:
        """Use the present values now. Does nothing when none has changed."""
        before, now = self.settings, read(self._node, PerceptionParameters)
        self.settings = now
        changed = {name for name in _ITEMS if getattr(before, name) != getattr(now, name)}
        if changed:
            self._change(changed | {_EFFECTS[name] for name in changed})

    def _check(self, changed: list[Parameter]) -> SetParametersResult:
        reason = next(filter(None, (self._veto(p.name, p.value) for p in changed if p.name in _ITEMS)), "")
        if not reason:
            self._changed.trigger()
        return SetParametersResult(successful=not reason, reason=reason)

    def _veto(self, name: str, value: Any) -> str:
        """Say why a parameter may not have a value now; empty when it may."""
        try:
            value = checked(_ITEMS[name], value)
        except ConfigError as error:
            return str(error)
        model, present = self._model(), getattr(self.settings, name)
        if model is None or value == present:
            return ""
        if _EFFECTS[name] == "configure":
            return (
                f"parameter {name}: {value!r} can be set only while the node is unconfigured; now it is"
                f" {present!r}: deactivate and clean up, set it, configure and activate"
            )
        if name == "reasoning" and value and model.facts.get("reasoning") == "off":
            return (
                "parameter reasoning: True needs the language model, which was not loaded when the node was"
                " configured; deactivate and clean up, set it, configure and activate"
            )
        if name == "adaptation" and value != "off" and model.people is None:
            return f"parameter adaptation: {value!r} is not possible {NOT_POSSIBLE}"
        return ""
