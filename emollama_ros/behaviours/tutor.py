"""A tutor that slows down when the learner seems lost, and speeds up again when that has passed.

No label of the default bundle is called "confused", and this behaviour does not pretend that there is one. It
looks at the probability that a state gives to surprised, scared and sad together, averaged over some seconds:
what a face and a voice do when somebody stops following is mostly told as one of these, weakly. It is a
heuristic about the pace of a lesson, not a finding about a person.

Where all seven labels are equally likely the three have 3/7 = 0.43 of it, which lies between the two
thresholds: who perceives nothing certain changes nothing.

Publishes ``tutor/pace`` (std_msgs/Float32, latched, 1 = normal) and ``tutor/say`` (std_msgs/String).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING, Any

from rclpy.node import Node
from std_msgs.msg import Float32, String

from emollama_ros.behaviours.steady import seconds
from emollama_ros.client import EmotionListener
from emollama_ros.errors import ConfigError
from emollama_ros.nodes import qos
from emollama_ros.nodes.parameters import declare, option
from emollama_ros.nodes.running import main_of

if TYPE_CHECKING:
    from emollama_ros.msg import EmotionState

#: What somebody who is lost is told as.
LOST = frozenset({"surprised", "scared", "sad"})
NORMAL_PACE = 1.0
SLOWER, FASTER = "Let us take this more slowly.", "Good, on we go."


@dataclass(frozen=True)
class TutorParameters:
    """Parameters of ``tutor_node``; read when the node starts."""

    source: str = option("", "name of the source to follow, where perception_node has several")
    over_s: float = option(4.0, "time constant of the average, seconds", 0.1, 60.0)
    slow_at: float = option(0.5, "probability of surprised, scared and sad at which it slows down", 0.0, 1.0)
    normal_at: float = option(0.3, "probability at which it goes on as before; below slow_at", 0.0, 1.0)
    slow_pace: float = option(0.6, "pace when slow, of the normal one", 0.1, 1.0)
    gone_s: float = option(
        10.0, "after so long without anybody the pace is normal again, seconds", 0.0, 3600.0
    )


class Tutor:
    """The rules: states in, a pace out.

    Attributes:
        pace: Of the lesson, 1 = normal.
        trouble: Average probability that the learner is lost, 0..1.
    """

    def __init__(self, settings: TutorParameters) -> None:
        """Begin at the normal pace.

        Raises:
            ConfigError: The two thresholds leave no room between them.
        """
        if settings.normal_at >= settings.slow_at:
            raise ConfigError(
                f"parameter normal_at: {settings.normal_at} must be below slow_at, {settings.slow_at}, or the"
                " pace would flicker"
            )
        self._settings = settings
        self.pace, self.trouble = NORMAL_PACE, 0.0
        self._seen_s: float | None = None

    def see(self, state: EmotionState) -> bool:
        """Take a state; return whether the pace became another."""
        before, now = self.pace, seconds(state)
        if any(state.scores):
            likely = zip(state.labels, state.scores, strict=False)
            self._average(now, sum(p for name, p in likely if name in LOST))
        elif self._seen_s is not None and now - self._seen_s >= self._settings.gone_s:
            self._seen_s, self.trouble = None, 0.0
        if self.trouble >= self._settings.slow_at:
            self.pace = self._settings.slow_pace
        elif self.trouble <= self._settings.normal_at:
            self.pace = NORMAL_PACE
        return self.pace != before

    def _average(self, now_s: float, trouble: float) -> None:
        # The first state only starts the clock, and none after a gap counts for more than the others did.
        passed_s = 0.0 if self._seen_s is None else now_s - self._seen_s
        passed_s = min(max(0.0, passed_s), self._settings.over_s / 2)
        self.trouble += (1.0 - exp(-passed_s / self._settings.over_s)) * (trouble - self.trouble)
        self._seen_s = now_s


class TutorNode(Node):
    """Hears states and tells the pace."""

    def __init__(self, **node_options: Any) -> None:
        """Subscribe and publish.

        Raises:
            ConfigError: A parameter is not legal.
        """
        super().__init__("tutor", **node_options)
        settings = declare(self, TutorParameters)
        self._rules = Tutor(settings)
        self._pace = self.create_publisher(Float32, "tutor/pace", qos.STATE)
        self._say = self.create_publisher(String, "tutor/say", 10)
        self._pace.publish(Float32(data=self._rules.pace))
        self._listener = EmotionListener(self, source=settings.source)
        self._listener.on_state(self._on_state)

    def _on_state(self, state: EmotionState) -> None:
        if self._rules.see(state):
            sentence = FASTER if self._rules.pace == NORMAL_PACE else SLOWER
            self.get_logger().info(f"pace {self._rules.pace:g}: {sentence}")
            self._pace.publish(Float32(data=self._rules.pace))
            self._say.publish(String(data=sentence))


main = main_of(TutorNode)

if __name__ == "__main__":
    main()
