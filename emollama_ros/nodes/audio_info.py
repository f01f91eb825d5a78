"""What bytes of sound are, where their messages do not say it: the topic ``audio_info``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emollama_ros.nodes import qos
from emollama_ros.nodes.adapters.choice import Adapter, message_class
from emollama_ros.nodes.adapters.sound import Form, form_of
from emollama_ros.nodes.listening import SubscriptionEventCallbacks

if TYPE_CHECKING:
    from rclpy.node import Node

_INFO = Adapter("audio_common_msgs/AudioInfo", form_of, ("sample_rate", "sample_format", "coding_format"))


def info_topic(node: Node, prefix: str) -> str:
    """Return the topic of ``AudioInfo``: beside that of the sound, unless ``audio_info`` is remapped."""
    name = f"{prefix}audio_info"
    resolved = node.resolve_topic_name(name)
    if resolved != node.resolve_topic_name(name, only_expand=True):
        return resolved
    return f"{node.resolve_topic_name(f'{prefix}audio').rpartition('/')[0]}/audio_info"


class AudioInfoInput:
    """Knows the form of the bytes: what the latest ``AudioInfo`` said, or what the parameters assume.

    Attributes:
        form: How to read the bytes.
        topic: Resolved name.
    """

    def __init__(self, node: Node, prefix: str, assumed: Form) -> None:
        """Start with the assumption, not subscribed.

        Args:
            node: Where to subscribe.
            prefix: Of the source's topics.
            assumed: The form until one is told.
        """
        self.form = self._assumed = assumed
        self.topic = info_topic(node, prefix)
        self._node = node
        self._open: list[Any] = []
        self._said = False

    def open(self) -> None:
        """Subscribe, unless it is done.

        Twice: ros-drivers keeps the message for late subscribers since 0.4.0 and repeats it before that, and
        a subscription that asks for kept messages is not connected to a publisher that does not keep them.
        """
        if self._open:
            return
        quiet = SubscriptionEventCallbacks(incompatible_qos=lambda event: None)
        self._open = [
            self._node.create_subscription(
                message_class(_INFO), self.topic, self._take, profile, event_callbacks=quiet
            )
            for profile in (qos.AUDIO_INFO_KEPT, qos.AUDIO_INFO_REPEATED)
        ]

    def close(self) -> None:
        """Unsubscribe and forget what was told."""
        for subscription in self._open:
            self._node.destroy_subscription(subscription)
        self._open = []
        self.form = self._assumed

    def say_what_is_assumed(self, audio_topic: str) -> None:
        """Log, once, that nobody told the form of the sound that arrives."""
        if self._open and not self.form.told and not self._said:
            self._said = True
            form = self.form
            self._node.get_logger().warning(
                f"{audio_topic}: no AudioInfo on {self.topic}, so its bytes are taken for"
                f" {form.sample_format}, {form.rate} Hz, {form.channels} channel(s); if that is wrong, set"
                " audio_rate and audio_channels, or remap audio_info"
            )

    def _take(self, message: Any) -> None:
        self.form = form_of(message)
