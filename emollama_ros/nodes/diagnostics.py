"""The report on /diagnostics: what the node gets, what it does, and with what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from emollama_ros.estimate import Status
from emollama_ros.nodes.inputs import Inputs

_LEVELS = {
    Status.OK: DiagnosticStatus.OK,
    Status.DEGRADED: DiagnosticStatus.WARN,
    Status.STALE: DiagnosticStatus.STALE,
}


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Turn nested dataclasses and mappings into ``{"a.b": "1.5"}``."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        parts: dict[str, str] = {}
        for key, inner in value.items():
            parts.update(flatten(inner, f"{prefix}.{key}" if prefix else str(key)))
        return parts
    return {prefix: f"{value:.3g}" if isinstance(value, float) else str(value)}


def input_facts(inputs: Inputs) -> dict[str, str]:
    """Return rate, count, refusals and losses of each input topic."""
    facts = {}
    for meter in inputs.all:
        facts[f"{meter.topic} rate"] = f"{meter.rate_hz:.1f} Hz"
        facts[f"{meter.topic} received"] = str(meter.received)
        facts[f"{meter.topic} refused"] = str(meter.refused)
        facts[f"{meter.topic} lost"] = str(meter.lost)
    return facts


def report(stamp: Any, name: str, status: Status, summary: str, facts: Mapping[str, str]) -> DiagnosticArray:
    """Make the message.

    Args:
        stamp: Time of the report, ``builtin_interfaces/Time``.
        name: Fully qualified node name.
        status: How well perception goes.
        summary: In words, what is wrong; or that all is well.
        facts: Everything worth a line.
    """
    values = [KeyValue(key=key, value=value) for key, value in facts.items()]
    entry = DiagnosticStatus(
        level=_LEVELS[status],
        name=f"{name}: emotion perception",
        message=summary,
        hardware_id=name,
        values=values,
    )
    array = DiagnosticArray(status=[entry])
    array.header.stamp = stamp
    return array
