"""One source on the dashboard: what is subscribed to while a page is open, and what the page is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import Bool

from emollama_ros.dashboard.board import Board
from emollama_ros.dashboard.drawing import small_jpeg
from emollama_ros.dashboard.loudness import LoudnessMeter
from emollama_ros.dashboard.views import StateView, sentence
from emollama_ros.msg import EmotionReasoning, EmotionState
from emollama_ros.nodes import qos
from emollama_ros.nodes.adapters.sound import Chunk
from emollama_ros.nodes.clock import SECOND
from emollama_ros.nodes.image_input import image_pixels
from emollama_ros.nodes.listening import Listener
from emollama_ros.nodes.parameters import option
from emollama_ros.nodes.watching import Microphone, Presence, camera, reasoning_view, state_view

if TYPE_CHECKING:
    from rclpy.node import Node

#: How long to go on after the last page was closed, seconds: it may only have been loaded again.
LINGER_S = 5.0
#: How long a page that was just opened is told nothing about who is missing, ns.
LOOKING_NS = 2 * SECOND


@dataclass(frozen=True)
class DashboardParameters:
    """Parameters of ``dashboard_node``; read when the node starts."""

    host: str = option("127.0.0.1", "address to listen on; anything but this machine's own asks for a token")
    port: int = option(8777, "port to listen on; 0 = any that is free, said in the log", 0, 65535)
    names: str = option("", "further host names by which browsers reach this machine, separated by commas")
    sources: tuple[str, ...] = option(
        (), "names of the sources, as perception_node has them; empty = one without a name"
    )
    perception: str = option("perception_node", "name of the perception node, whose diagnostics are shown")
    image_transport: str = option(
        "raw",
        "raw = sensor_msgs/Image; compressed = sensor_msgs/CompressedImage on camera/image_raw/compressed",
        choices=("raw", "compressed"),
    )
    fps: float = option(6.0, "pictures a second for each page, at most", 0.2, 30.0)
    max_side: int = option(640, "larger pictures are scaled down to this, pixels", 64, 1920)


class Watch:
    """Follows one source for as long as a page is open. Used in the executor's thread only."""

    def __init__(
        self,
        node: Node,
        source: str,
        board: Board,
        settings: DashboardParameters,
        now_ns: Callable[[], int],
    ) -> None:
        """Prepare; nothing is subscribed to.

        Args:
            node: Where to subscribe.
            source: Name of the source; empty where there is but one.
            board: Where it is shown.
            settings: Of the node.
            now_ns: The steady clock.
        """
        self._node, self._board, self._settings, self._now_ns = node, board, settings, now_ns
        self._source, self._prefix = source, f"{source}/" if source else ""
        self._subscriptions: list[Any] = []
        self._senses: tuple[Listener | Microphone, ...] = ()
        self._presence = Presence()
        self._meter = LoudnessMeter()
        self._word = ""
        self._shown_ns = self._since_ns = 0

    @property
    def is_open(self) -> bool:
        """Whether anything is subscribed to."""
        return bool(self._subscriptions)

    def open(self) -> None:
        """Subscribe, if that is not so already; camera and sound follow when the robot itself looks."""
        if self.is_open:
            return
        self._presence, self._word, self._since_ns = Presence(), "", self._now_ns()
        hear, own = self._node.create_subscription, self._prefix
        self._subscriptions = [
            hear(EmotionState, f"{own}emotion/state", self._on_state, qos.STATE),
            hear(EmotionReasoning, f"{own}emotion/reasoning", self._on_reasoning, qos.REASONING),
            hear(Bool, "emotion/paused", self._on_paused, qos.PAUSED),
            hear(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.DIAGNOSTICS),
        ]

    def close(self) -> None:
        """Unsubscribe and forget everything."""
        self._look_away()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        self._board.forget()

    def tick(self) -> None:
        """Follow the perception node: whether it is there, and whether it looks."""
        if not self.is_open:
            return
        if self._board.unwatched_s() > LINGER_S:
            self.close()
            return
        now = self._now_ns()
        word = self._presence.word(now)
        if word == "gone" and now - self._since_ns < LOOKING_NS:
            word = "looking"  # for it: a page that was just opened has not heard anything yet
        if word != self._word:
            self._word = word
            self._board.post("link", word)
        self._follow()
        for sense in self._senses:
            sense.tick()

    def _follow(self) -> None:
        """Look where the robot looks, and look away where it does."""
        may_look = self._presence.may_look(self._now_ns())
        if may_look and not self._senses:
            self._meter = LoudnessMeter()
            self._senses = (
                camera(
                    self._node, self._prefix, self._settings.image_transport, self._on_image, self._now_ns
                ),
                Microphone(self._node, self._prefix, self._on_sound, self._now_ns),
            )
        elif not may_look:
            self._look_away()

    def _look_away(self) -> None:
        for sense in self._senses:
            sense.close()
        self._senses = ()
        self._board.forget("level")

    # --- what arrives

    def _on_state(self, message: EmotionState) -> None:
        self._presence.state(self._now_ns())
        view = state_view(message)
        age_ms = (self._node.get_clock().now().nanoseconds - view.end_ns) / 1e6
        self._board.post("state", state_json(view, age_ms))

    def _on_reasoning(self, message: EmotionReasoning) -> None:
        if not self._presence.is_paused:  # what was under way when it was paused is forgotten too
            self._board.post("reasoning", asdict(reasoning_view(message)))

    def _on_paused(self, message: Bool) -> None:
        self._presence.is_paused = message.data
        if message.data:
            self._board.forget("reasoning")
        self._board.post("paused", message.data)
        self._follow()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        home = self._node.get_namespace().strip("/")
        beginning = f"{home}/{self._settings.perception}: ".lstrip("/")
        entries = [e for e in message.status if e.name.startswith(beginning)]
        if not entries:
            return
        self._presence.report(self._now_ns())
        others = {f" {name}" for name in self._settings.sources if name != self._source}
        shown = [
            health_json(e, beginning, self._source)
            for e in entries
            if not any(e.name.endswith(other) for other in others)
        ]
        self._board.post("health", shown)

    def _on_image(self, message: Any) -> None:
        now = self._now_ns()
        if not self._board.wants_frame or now - self._shown_ns < SECOND / self._settings.fps:
            return
        self._shown_ns = now
        self._board.show(small_jpeg(image_pixels(message), self._settings.max_side))

    def _on_sound(self, chunk: Chunk) -> None:
        level = self._meter.push(chunk.samples, chunk.rate, chunk.channels)
        if level is not None:
            self._board.post("level", {"rms": round(level.rms_db, 1), "peak": round(level.peak_db, 1)})


def state_json(view: StateView, age_ms: float) -> dict[str, Any]:
    """Return a state as the page gets it.

    Args:
        view: The state.
        age_ms: Since the end of its window; nothing where clocks do not agree.
    """
    return {
        "sequence": view.sequence,
        "label": view.label,
        "title": view.title,
        "line": view.line,
        "scores": {name: round(score, 4) for name, score in view.scores.items()},
        "valence": round(view.valence, 3),
        "arousal": round(view.arousal, 3),
        "confidence": round(view.confidence, 4),
        "used": view.used,
        "latency_ms": round(view.latency_ms, 1),
        "age_ms": round(age_ms) if 0 <= age_ms < 10_000 else None,
        "status": view.status,
        "trouble": sentence(view.status_text),
        "paused": view.is_paused,
    }


def health_json(entry: Any, beginning: str, source: str) -> dict[str, Any]:
    """Return an entry of /diagnostics as the page gets it."""
    name = entry.name[len(beginning) :]
    return {
        "name": name.removesuffix(f" {source}") if source else name,
        "level": int.from_bytes(entry.level, "little") if isinstance(entry.level, bytes) else entry.level,
        "message": sentence(entry.message),
        "values": {pair.key: pair.value for pair in entry.values},
    }
