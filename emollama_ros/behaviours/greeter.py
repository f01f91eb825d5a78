"""A greeter: says hello to whoever comes, and a word about how they seem; never the same word twice in a row.

Publishes what a robot would say on ``greeter/say`` (std_msgs/String); connect your text-to-speech there. With
``why`` it also asks perception for the reason, and publishes the answer on ``greeter/why``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rclpy.node import Node
from std_msgs.msg import String

from emollama_ros.behaviours.steady import Steady, seconds, told
from emollama_ros.client import Answer, EmotionListener
from emollama_ros.nodes.parameters import declare, option
from emollama_ros.nodes.running import main_of

if TYPE_CHECKING:
    from emollama_ros.msg import EmotionState

HELLO = "Hello!"
#: What is said of a feeling. Perception errs, so it is offered and not stated as a fact; of neutral, nothing.
REMARKS = {
    "happy": "You seem happy, and that is good to see.",
    "sad": "You seem a little sad. Shall I be quiet?",
    "angry": "You seem upset. I will keep my distance.",
    "surprised": "Did something surprise you?",
    "scared": "You seem uneasy. I will move slowly.",
    "disgusted": "Something does not seem to please you.",
}


@dataclass(frozen=True)
class GreeterParameters:
    """Parameters of ``greeter_node``; read when the node starts."""

    source: str = option("", "name of the source to follow, where perception_node has several")
    hold_s: float = option(1.5, "how long a feeling must last before anything is said, seconds", 0.0, 60.0)
    least_confidence: float = option(0.5, "a label less sure than this is not reacted to", 0.0, 1.0)
    again_s: float = option(60.0, "time until the same feeling is remarked on again, seconds", 0.0, 3600.0)
    gone_s: float = option(
        15.0, "after so long without a label somebody new is greeted, seconds", 0.0, 3600.0
    )
    why: bool = option(False, "ask for the reason of what is remarked on, and publish it on greeter/why")


class Greeter:
    """The rules: states in, now and then a sentence out."""

    def __init__(self, settings: GreeterParameters) -> None:
        """Know nobody."""
        self._settings = settings
        self._steady = Steady(settings.hold_s)
        self._seen_s: float | None = None
        self._remarked: dict[str, float] = {}
        self._feeling: str | None = None

    def see(self, state: EmotionState) -> str | None:
        """Take a state; return what to say, None for nothing.

        Where perception is uncertain or sees nothing, nothing is said about anybody. After ``gone_s`` of that
        the person is taken to have left: an empty room is uncertain too.
        """
        now, label = seconds(state), told(state, self._settings.least_confidence)
        if self._seen_s is not None and not 0 <= now - self._seen_s < self._settings.gone_s:
            self._seen_s, self._feeling, self._remarked = None, None, {}
        held = self._steady.update(now, label)
        if self._seen_s is not None and label is not None:
            self._seen_s = now
        if held is None:
            return None
        greeting, self._seen_s = HELLO if self._seen_s is None else "", now
        return " ".join(part for part in (greeting, self._remark(now, held)) if part) or None

    def _remark(self, now_s: float, feeling: str) -> str:
        is_news, self._feeling = feeling != self._feeling, feeling
        is_told = now_s - self._remarked.get(feeling, float("-inf")) < self._settings.again_s
        if not is_news or is_told or feeling not in REMARKS:
            return ""
        self._remarked[feeling] = now_s
        return REMARKS[feeling]


class GreeterNode(Node):
    """Hears states and says what the rules say."""

    def __init__(self, **node_options: Any) -> None:
        """Subscribe and publish.

        Raises:
            ConfigError: A parameter is not legal.
        """
        super().__init__("greeter", **node_options)
        self._settings = declare(self, GreeterParameters)
        self._rules = Greeter(self._settings)
        self._say = self.create_publisher(String, "greeter/say", 10)
        self._why = self.create_publisher(String, "greeter/why", 10)
        self._listener = EmotionListener(self, source=self._settings.source)
        self._listener.on_state(self._on_state)

    def _on_state(self, state: EmotionState) -> None:
        sentence = self._rules.see(state)
        if sentence is None:
            return
        self.get_logger().info(sentence)
        self._say.publish(String(data=sentence))
        if self._settings.why and sentence != HELLO:
            self._listener.ask_async("why?", about=state, on_answer=self._on_answer)

    def _on_answer(self, answer: Answer) -> None:
        if answer.is_whole:
            self._why.publish(String(data=answer.text))
        else:
            self.get_logger().warning(f"no reason was given: {answer.why}")


main = main_of(GreeterNode)

if __name__ == "__main__":
    main()
