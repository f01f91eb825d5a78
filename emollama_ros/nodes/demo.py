"""The demo: player and perception in their own processes, and a subscriber that shows what they say.

Nothing here is special to the demo: the topics are ordinary topics, and a second terminal may subscribe.
"""

from __future__ import annotations

import importlib.resources
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rich.console import Console

from emollama_ros.errors import ConfigError, EmollamaError, InputError
from emollama_ros.estimate import Modality, Status
from emollama_ros.msg import EmotionReasoning, EmotionState
from emollama_ros.nodes import qos
from emollama_ros.nodes.children import Child, Children
from emollama_ros.nodes.clock import SECOND, stamp_ns
from emollama_ros.nodes.demo_view import LiveView, PlainView, Shown, View, Why
from emollama_ros.nodes.media_player_node import STARTED
from emollama_ros.nodes.microphone_node import choose, input_devices, load_pyaudio
from emollama_ros.nodes.timeline import Segment, compare, load_truth, merge
from emollama_ros.nodes.transport import with_profile
from emollama_ros.streams.media import open_media

CAMERA = "/camera/image_raw"
#: Quiet after the clip's end that means that everything was said, seconds.
QUIET_S = 1.5
#: Longest wait for a reasoning that is being written when the clip ends, seconds.
LAST_WORDS_S = 20.0
#: Longest wait for the model to load, seconds.
LOADING_S = 180.0
#: How long to look for a camera that is already there, seconds.
LOOKING_S = 3.0
INTERRUPTED = 130


def run(
    source: str | None = None,
    *,
    bundle: str = "",
    speed: float = 1.0,
    plain: bool | None = None,
    console: Console | None = None,
) -> int:
    """Run the demo until the clip ends, or until Ctrl-C.

    Args:
        source: A media file; ``live`` for microphone and camera; ``None`` for the sample of the package.
        bundle: Model bundle; empty for the default one.
        speed: Speed of playing.
        plain: Print lines instead of drawing; ``None`` draws only in a terminal.
        console: Where to print; ``None`` for the standard output.

    Returns:
        Exit status: 0 after the end of the clip, 1 when a process failed, 2 when there is nothing to
        play, 130 after Ctrl-C.
    """
    console = console or Console()
    os.environ.update(with_profile())
    try:
        with Interruption() as interruption:
            if source == "live":
                return Demo(console, plain, None, interruption).live(bundle)
            clip = Path(source) if source else sample_clip()
            open_media(clip)
            os.environ.setdefault(
                "ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST"
            )  # a clip is nobody else's business
            return Demo(console, plain, clip, interruption).play(bundle, speed)
    except KeyboardInterrupt:
        console.print("interrupted", highlight=False)
        return INTERRUPTED
    except EmollamaError as error:
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return 2


def sample_clip() -> Path:
    """Return the clip that ships with the package.

    Raises:
        InputError: This installation has none.
    """
    path = Path(str(importlib.resources.files("emollama_ros"))) / "samples" / "sample.mp4"
    if not path.is_file():
        raise InputError(f"{path}: the sample clip is not installed; name a file: make demo SOURCE=CLIP.mp4")
    return path


class Interruption:
    """Ctrl-C and SIGTERM, noticed between two callbacks, so that no process is left behind.

    An exception raised at once would pass through rclpy's C++, which makes another error of it.
    """

    def __init__(self) -> None:
        """Nothing is interrupted yet."""
        self._is_asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        """Take the two signals."""
        self._before = {n: signal.signal(n, self._ask) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception: object) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._is_asked = True

    def check(self) -> None:
        """Raise `KeyboardInterrupt` when one of the signals came."""
        if self._is_asked:
            raise KeyboardInterrupt


class Demo:
    """An ordinary subscriber of the emotion topics that shows and remembers what it hears."""

    def __init__(
        self, console: Console, plain: bool | None, clip: Path | None, interruption: Interruption
    ) -> None:
        """Prepare; nothing is started yet."""
        self._console = console
        self._interruption = interruption
        self._plain = not console.is_terminal if plain is None else plain
        self._clip = clip
        self._truth = load_truth(clip) if clip else ()
        self._view: View = PlainView(console)
        self._windows: list[Segment] = []
        self._reasonings = 0
        self._writing = False
        self._can_reason = True
        self._is_loaded = False
        self._origin_ns: int | None = None
        self._told_ns: int | None = None
        self._player: Child | None = None
        self._news_s = monotonic()

    def play(self, bundle: str, speed: float) -> int:
        """Play the clip and show what is perceived; returns the exit status."""
        with Children(os.environ) as children, self._listening() as spin:
            self._view.note("loading the model")
            perception = children.node("perception_node", self._perception(bundle))
            # The clip starts when the model is loaded and its states reach us, so that none is missed.
            while not self._connected():
                spin()
                if perception.exit_status is not None:
                    return self._fail(perception)
            self._player = children.node(
                "media_player_node",
                {
                    "path": json.dumps(str(self._clip)),
                    "rate": str(float(speed)),
                    "wait_for_subscribers": str(LOADING_S),
                },
            )
            while not self._over(self._player):
                spin()
                fallen = children.fallen() or (perception if perception.exit_status is not None else None)
                if fallen is not None:
                    return self._fail(fallen)
        self._conclude()
        return 0

    def live(self, bundle: str) -> int:
        """Perceive camera and microphone until Ctrl-C; returns the exit status."""
        no_microphone = microphone_problem()
        with Children(os.environ) as children, self._listening() as spin:
            if not no_microphone:
                children.node("microphone_node", {})
            no_camera = self._camera_problem(spin)
            for problem in filter(None, (no_microphone, no_camera)):
                self._view.note(problem)
            if no_microphone and no_camera:
                raise InputError("neither microphone nor camera: nothing to perceive")
            perception = children.node("perception_node", self._perception(bundle))
            while True:
                spin()
                fallen = children.fallen() or (perception if perception.exit_status is not None else None)
                if fallen is not None:
                    return self._fail(fallen)

    @staticmethod
    def _perception(bundle: str) -> dict[str, str]:
        return {"autostart": "true", **({"bundle": json.dumps(bundle)} if bundle else {})}

    @contextmanager
    def _listening(self) -> Iterator[Callable[[], None]]:
        """Subscribe and open the view; yields a function that serves the node for a moment."""
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("emotion_demo", start_parameter_services=False)
        self._node.create_subscription(EmotionState, "emotion/state", self._on_state, qos.STATES_HEARD)
        self._node.create_subscription(
            EmotionReasoning, "emotion/reasoning", self._on_reasoning, qos.REASONING
        )
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.DIAGNOSTICS)
        executor = SingleThreadedExecutor()
        executor.add_node(self._node)
        title = f"emollama_ros  {self._clip.name if self._clip else 'live'}"
        self._view = PlainView(self._console) if self._plain else LiveView(self._console, title)

        def spin() -> None:
            executor.spin_once(timeout_sec=0.1)
            self._interruption.check()

        try:
            yield spin
        finally:
            self._view.close()
            executor.shutdown()
            self._node.destroy_node()
            rclpy.shutdown()

    def _over(self, player: Child) -> bool:
        """Whether the clip has ended and everything about it was said."""
        if player.exit_status != 0:
            return False
        quiet_s = monotonic() - self._news_s
        waiting = self._writing or (self._can_reason and not self._reasonings)
        return quiet_s > (LAST_WORDS_S if waiting else QUIET_S)

    def _connected(self) -> bool:
        return self._is_loaded and bool(self._node.count_publishers("emotion/state"))

    def _on_state(self, state: EmotionState) -> None:
        if state.modalities and stamp_ns(state.header.stamp) == self._told_ns:
            return  # said again, so that nobody takes the node for dead
        self._told_ns = stamp_ns(state.header.stamp)
        if state.status != Status.STALE:
            self._news_s = monotonic()
        elif self._windows or (self._clip and not self._began()):
            return  # before and after the clip there is nothing to perceive, which is no news
        shown = self._shown(state)
        self._view.state(shown)
        if state.modalities:
            self._windows.append(Segment(shown.start_s, shown.end_s, shown.label))

    def _on_reasoning(self, reasoning: EmotionReasoning) -> None:
        self._news_s = monotonic()
        self._writing = not reasoning.final
        self._reasonings += reasoning.final
        end_s = self._media_s(stamp_ns(reasoning.header.stamp))
        self._view.why(Why(end_s, reasoning.label, reasoning.text, reasoning.final))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for entry in message.status:
            facts = {pair.key: pair.value for pair in entry.values}
            if "bundle" in facts:
                self._is_loaded = True
                self._can_reason = facts.get("reasoning") == "on"
                self._view_engine(facts)

    def _view_engine(self, facts: dict[str, str]) -> None:
        if isinstance(self._view, LiveView):
            self._view.note(f"{facts['bundle'].split(' (')[0]} on {facts.get('engine', '?')}   Ctrl-C ends")

    def _shown(self, state: EmotionState) -> Shown:
        return Shown(
            start_s=self._media_s(stamp_ns(state.window_start)),
            end_s=self._media_s(stamp_ns(state.header.stamp)),
            label=state.label,
            scores=dict(zip(state.labels, state.scores, strict=False)),
            valence=state.valence,
            arousal=state.arousal,
            confidence=state.confidence,
            modalities=Modality(state.modalities).names(),
            latency_ms=state.latency_ms,
            status=state.status,
            status_text=state.status_text,
        )

    def _began(self) -> bool:
        """Whether the player has said that it plays."""
        return self._player is not None and self._player.line_with(STARTED) is not None

    def _media_s(self, time_ns: int) -> float:
        """Return media time, which the player tells; without a player, time since the first window."""
        if self._origin_ns is None:
            line = self._player.line_with(STARTED) if self._player else None
            found = re.search(rf"{STARTED} (\d+)", line) if line else None
            self._origin_ns = int(found.group(1)) if found else time_ns
        return (time_ns - self._origin_ns) / SECOND

    def _camera_problem(self, spin: Callable[[], Any]) -> str:
        deadline = monotonic() + LOOKING_S
        while monotonic() < deadline:
            if self._node.count_publishers(CAMERA):
                return ""
            spin()
        return (
            f"no camera: nothing publishes {CAMERA}; start a driver: ros2 run v4l2_camera v4l2_camera_node "
            "--ros-args -r image_raw:=camera/image_raw"
        )

    def _fail(self, child: Child) -> int:
        self._view.close()
        self._console.print(child.epitaph(), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1

    def _conclude(self) -> None:
        lines = PlainView(self._console)
        lines.note(f"{len(self._windows)} states, {self._reasonings} reasonings; the timeline:")
        for segment in merge(self._windows):
            lines.note(f"  {segment.start_s:6.1f} to {segment.end_s:6.1f} s  {segment.label}")
        if self._truth:
            lines.note(str(compare(self._windows, self._truth)))


def microphone_problem() -> str:
    """Say why there is no microphone; empty when there is one."""
    try:
        audio = load_pyaudio().PyAudio()
        try:
            choose(input_devices(audio), "", None)
        finally:
            audio.terminate()
    except (ConfigError, InputError) as error:
        return f"no microphone: {error}"
    return ""
