"""ROS messages to the package's plain values and back."""

from __future__ import annotations

from collections.abc import Sequence

from emollama_ros.estimate import EmotionEstimate, Reasoning, Status
from emollama_ros.labels import UNKNOWN
from emollama_ros.msg import EmotionEvent, EmotionReasoning, EmotionState
from emollama_ros.nodes.clock import ros_duration, ros_time


def state_message(
    estimate: EmotionEstimate, sequence: int, complaints: Sequence[str], latency_ms: float
) -> EmotionState:
    """Fill a state from an estimate and from what is wrong with the inputs."""
    message = EmotionState()
    message.header.stamp = ros_time(estimate.end_ns)
    message.window_start = ros_time(estimate.start_ns)
    message.sequence = sequence
    message.label = estimate.label
    message.labels = list(estimate.labels)
    message.scores = [float(score) for score in estimate.scores]
    message.valence = float(estimate.valence)
    message.arousal = float(estimate.arousal)
    message.confidence = float(estimate.confidence)
    message.modalities = int(estimate.modalities)
    message.latency_ms = float(latency_ms)
    message.status = int(max(estimate.status, Status.DEGRADED if complaints else Status.OK))
    message.status_text = "; ".join([estimate.status_text] * bool(estimate.status_text) + list(complaints))
    return message


def blank_message(end_ns: int, sequence: int, status: Status, text: str) -> EmotionState:
    """Fill a state that says nothing can be perceived, and why."""
    message = EmotionState(label=UNKNOWN, sequence=sequence, status=int(status), status_text=text)
    message.header.stamp = ros_time(end_ns)
    message.window_start = ros_time(end_ns)
    return message


def event_message(state: EmotionState, previous: str, lasted_ns: int) -> EmotionEvent:
    """Fill an event from the state whose label is another than that of the state before."""
    return EmotionEvent(
        header=state.header,
        source_id=state.source_id,
        previous=previous,
        label=state.label,
        confidence=state.confidence,
        valence=state.valence,
        arousal=state.arousal,
        state_sequence=state.sequence,
        previous_for=ros_duration(lasted_ns),
        modalities=state.modalities,
    )


def reasoning_message(reasoning: Reasoning, sequence: int, explains: int) -> EmotionReasoning:
    """Fill a reasoning; ``explains`` is the published sequence of the state it is about."""
    message = EmotionReasoning()
    message.header.stamp = ros_time(reasoning.end_ns)
    message.window_start = ros_time(reasoning.start_ns)
    message.sequence = sequence
    message.explains = explains
    message.label = reasoning.label
    message.text = reasoning.text
    message.final = reasoning.final
    message.tokens = reasoning.tokens
    message.elapsed_ms = float(reasoning.elapsed_ms)
    return message
