"""Quality of service of every topic, in one place and with the reason."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

_RELIABILITY = {"best_effort": ReliabilityPolicy.BEST_EFFORT, "reliable": ReliabilityPolicy.RELIABLE}

#: Latched: who joins late (a behaviour, ``ros2 topic echo --once``) gets the present state at once.
STATE = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
#: To hear every state, also when a few come at once while the listener is busy.
STATES_HEARD = QoSProfile(
    depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
#: A text is streamed in several messages; none of the last few may be lost.
REASONING = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
#: A change happens once: none may be lost, and who joins late is told the present by the state.
EVENT = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
#: Latched, as the state.
PAUSED = STATE
DIAGNOSTICS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
TRANSCRIPT = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
#: What raw sound is: kept for late subscribers by ros-drivers' audio_capture 0.4.0, repeated before that.
AUDIO_INFO_KEPT = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
AUDIO_INFO_REPEATED = QoSProfile(depth=1)
#: Offered reliable, so that a subscriber of either kind is served.
IMAGE_OUT = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
AUDIO_OUT = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)


def image_in(reliability: str) -> QoSProfile:
    """Subscribe to a camera: an old frame is worth nothing, so a short queue."""
    return QoSProfile(depth=2, reliability=_RELIABILITY[reliability])


def audio_in(reliability: str) -> QoSProfile:
    """Subscribe to a microphone: every sample counts, so a queue of seconds."""
    return QoSProfile(depth=100, reliability=_RELIABILITY[reliability])


def transcript_in(reliability: str) -> QoSProfile:
    """Subscribe to a speech recogniser: every sentence counts."""
    return QoSProfile(depth=10, reliability=_RELIABILITY[reliability])
