"""Soak: two hours of stream time through the running node, and what it holds afterwards.

    python -m benchmark.soak [--minutes 120] [--real-time 2] [--speed 11] [--engine bundle|null] [--out DIR]

A camera and a microphone, looped from the bundled sample, are sent over DDS to the node in a process of its
own: first in real time, then as fast as ``--speed`` and the node allow, with stamps of stream time. Every
second memory, threads, open files and subscriptions are noted. The exit status is 1 where memory grew by
more than 1 % over the second half, a thread or a file stayed, an audio sample was lost, or a window is not
accounted for. Ctrl-C ends it and tells what there is; that is not kept.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import monotonic, time_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from benchmark import record
from benchmark.graph import GraphError, Process
from benchmark.processes import memory_mb
from benchmark.soak_verdict import Account, Sample, complaints, due_windows, figures
from emollama_ros.nodes.children import command
from emollama_ros.nodes.transport import with_profile
from emollama_ros.streams.media import AudioEvent, VideoEvent, read_media

SAMPLE = record.ROOT / "emollama_ros" / "samples" / "sample.mp4"
SAMPLE_RATE = 16_000
HOP_S = 0.5
#: How far the streams may run ahead of the latest state, s: less than what the node's queues hold.
LEAD_S = 4.0
#: How long windows wait for the slower stream, s of stream time: longer than it can be behind.
PATIENCE_S = 5.0
#: Pictures that are made beforehand and sent in turn.
PICTURES = 40
#: Longest wait for the model to load, for a state, and for the last windows to be counted, s.
LOADING_S, STUCK_S, SETTLING_S = 180.0, 60.0, 30.0
#: Time between two looks at the node, s.
LOOK_S = 1.0
FULL_MINUTES = 120.0
NODE = "perception_node"


@dataclass(frozen=True)
class Part:
    """A stretch of stream time.

    Attributes:
        name: For people.
        seconds: Its length, s of stream time.
        speed: Stream time per wall time, at most.
        tick_ms: Sound is sent in chunks of this length, ms.
        pictures_every: A picture comes with every so manieth chunk.
        size: Width and height of the pictures.
    """

    name: str
    seconds: float
    speed: float
    tick_ms: int
    pictures_every: int
    size: tuple[int, int]


@dataclass(frozen=True)
class Plan:
    """A whole run.

    Attributes:
        parts: In order.
        engine: ``bundle`` for the default one, ``null`` for an engine that answers at once.
    """

    parts: tuple[Part, ...]
    engine: str

    @property
    def seconds(self) -> float:
        """Stream time of all parts."""
        return sum(part.seconds for part in self.parts)


def make_plan(minutes: float, real_time: float, speed: float, engine: str) -> Plan:
    """Put the parts together: real time first, because larger pictures take larger buffers once and for all.

    Args:
        minutes: Stream time of all.
        real_time: Of them in real time.
        speed: Of the others.
        engine: See ``Plan``.
    """
    slow = Part("real time", 60 * real_time, 1.0, 40, 1, (640, 480))
    fast = Part("accelerated", 60 * (minutes - real_time), speed, 100, 2, (160, 120))
    return Plan(tuple(part for part in (slow, fast) if part.seconds > 0), engine)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and write one JSON; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.soak", description="Feed the node for hours of stream time."
    )
    parser.add_argument("--minutes", type=float, default=FULL_MINUTES, help="stream time (120)")
    parser.add_argument("--real-time", type=float, default=2.0, help="of it in real time, minutes (2)")
    parser.add_argument("--speed", type=float, default=11.0, help="how fast the rest is sent, at most (11)")
    parser.add_argument("--engine", choices=("bundle", "null"), default="bundle", help="what perceives")
    parser.add_argument("--out", type=Path, help="folder for the JSON (benchmark/results if whole and well)")
    given = parser.parse_args(arguments)
    if not 0 <= given.real_time <= given.minutes or given.speed <= 0:
        parser.error("--real-time must be 0 to --minutes, and --speed above 0")
    plan = make_plan(given.minutes, given.real_time, given.speed, given.engine)
    try:
        return tell(plan, *run(plan), given.out)
    except GraphError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def tell(plan: Plan, samples: Sequence[Sample], account: Account, whole: bool, out: Path | None) -> int:
    """Write and print what a run showed; returns the exit status."""
    try:
        wrong = complaints(samples, account)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    wrong += [] if whole else ["interrupted"]
    parts = [asdict(part) for part in plan.parts]
    settings = {
        "engine": plan.engine,
        "parts": parts,
        "hop_s": HOP_S,
        "minutes": plan.seconds / 60,
        "seed": 0,
    }
    found = record.document("soak", settings, [SAMPLE], figures(samples, account) | {"complaints": wrong})
    keep = not wrong and plan.engine == "bundle" and plan.seconds >= 60 * FULL_MINUTES
    path = record.write(found, out or (record.RESULTS if keep else record.ROOT / "build" / "benchmark"))
    shown = {name: value for name, value in found["results"].items() if name != "samples"}
    print(json.dumps(shown, indent=1))
    print(f"written: {path}")
    for complaint in wrong:
        print(f"error: {complaint}", file=sys.stderr)
    return int(bool(wrong))


def run(plan: Plan) -> tuple[list[Sample], Account, bool]:
    """Feed the node; returns the samples, the account, and whether it went on to the end.

    Raises:
        GraphError: The node ended, or does not give a state.
    """
    with graph() as (node, spin):
        child = start(plan.engine)
        try:
            soak = Soak(node, spin, child)
            try:
                for part in plan.parts:
                    soak.play(part)
                whole = True
            except KeyboardInterrupt:
                print("interrupted", file=sys.stderr)
                whole = False
            return soak.samples, soak.settle(), whole
        finally:
            child.stop()


def start(engine: str) -> Process:
    """Start the node with its defaults, but for how long a window waits.

    At ten times real time a stream is soon a second behind. Windows wait for it, so that a state says that
    both streams got there; and every picture is asked for, so that the last one comes.
    """
    given = {"autostart": "true", "image_reliability": "reliable", "patience_s": str(PATIENCE_S)}
    words = command(NODE, given)
    if engine == "null":
        words[words.index("-m") + 1] = "benchmark.null_engine"
    return Process(NODE, words, os.environ)


@contextmanager
def graph() -> Iterator[tuple[Any, Callable[[float], None]]]:
    """A node of this process on a domain of its own, and what serves it for at most so many seconds."""
    os.environ.update(with_profile())
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    # Ctrl-C is for us: what there is by then is told.
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("soak", start_parameter_services=False)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        yield node, lambda seconds: executor.spin_once(timeout_sec=max(0.0, seconds))
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown()


class Soak:
    """Sends the streams, hears the states, and looks at the process.

    Attributes:
        samples: One a second.
    """

    def __init__(self, node: Any, spin: Callable[[float], None], child: Process) -> None:
        """Publish and subscribe, and wait until the node is there.

        Args:
            node: Of this process.
            spin: Serves it for at most so many seconds.
            child: The perception node.

        Raises:
            GraphError: It is not there in time.
        """
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import Image

        from emollama_ros.msg import AudioChunk, EmotionState
        from emollama_ros.nodes import qos

        self._node, self._spin, self._child = node, spin, child
        self.samples: list[Sample] = []
        self._began = self._looked = monotonic()
        self._facts: dict[str, str] = {}
        self._begin_ns, self._sent_ns, self._told_ns = time_ns(), 0, 0
        self._chunks, self._samples_sent = 0, 0
        self._pictures = node.create_publisher(Image, "camera/image_raw", qos.IMAGE_OUT)
        self._sounds = node.create_publisher(AudioChunk, "audio", qos.AUDIO_OUT)
        node.create_subscription(EmotionState, "emotion/state", self._hear, qos.STATES_HEARD)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._note, qos.DIAGNOSTICS)
        self._sound = sound(SAMPLE)
        self._await(self._is_heard, LOADING_S, "the node to subscribe")
        self._began = monotonic()

    def play(self, part: Part) -> None:
        """Send a part.

        Raises:
            GraphError: The node ended, or gives no states any more.
        """
        print(f"{part.name}: {part.seconds / 60:g} minutes at {part.speed:g} times real time", flush=True)
        pictures = itertools.cycle(image_messages(SAMPLE, part.size))
        began = monotonic()
        for tick in range(round(part.seconds * 1000 / part.tick_ms)):
            due = began + tick * part.tick_ms / 1000 / part.speed
            self._await(partial(self._may_send, due), STUCK_S, "a state")
            if tick % part.pictures_every == 0:
                self._send_picture(next(pictures))
            self._send_sound(part.tick_ms * SAMPLE_RATE // 1000)
            self._serve(0.0)

    def settle(self) -> Account:
        """Let the last window be complete, and count."""
        self._send_picture(image_messages(SAMPLE, (160, 120))[0])
        try:
            self._await(lambda: self._account().is_settled, SETTLING_S, "the last window to be counted")
        except GraphError as error:
            print(f"error: {error}", file=sys.stderr)
        return self._account()

    def _account(self) -> Account:
        def fact(name: str) -> int:
            return int(self._facts.get(name, 0))

        return Account(
            due=due_windows(self._sent_ns / 1e9, HOP_S),
            windows=fact("windows"),
            left_out=fact("windows left out"),
            failed=fact("windows failed"),
            samples_sent=self._samples_sent,
            samples=fact("audio samples"),
            samples_lost=fact("audio samples lost"),
            restarts=fact("restarts"),
        )

    def _may_send(self, due: float) -> bool:
        """Whether it is time, and the node is not left behind."""
        return monotonic() >= due and self._sent_ns - self._told_ns <= LEAD_S * 1e9

    def _is_heard(self) -> bool:
        return all(p.get_subscription_count() for p in (self._pictures, self._sounds))

    def _await(self, condition: Callable[[], bool], patience_s: float, what: str) -> None:
        deadline = monotonic() + patience_s
        while not condition():
            if monotonic() > deadline:
                raise GraphError(f"waited {patience_s:g} s for {what}; " + "; ".join(self._child.lines))
            self._serve(0.002)

    def _serve(self, seconds: float) -> None:
        self._spin(seconds)
        if self._child.exit_status is not None:
            raise GraphError(self._child.epitaph())
        if self._sent_ns and monotonic() - self._looked >= LOOK_S:
            self._looked = monotonic()
            self._look()

    def _look(self) -> None:
        proc = Path("/proc") / str(self._child.pid)
        topics = self._node.get_subscriber_names_and_types_by_node(NODE, "/")
        self.samples.append(
            Sample(
                at_s=monotonic() - self._began,
                stream_s=self._sent_ns / 1e9,
                resident_mb=memory_mb(proc)[0],
                threads=len(os.listdir(proc / "task")),
                files=len(os.listdir(proc / "fd")),
                subscriptions=len(topics),
            )
        )

    def _send_picture(self, message: Any) -> None:
        message.header.stamp = self._stamp()
        self._pictures.publish(message)

    def _send_sound(self, count: int) -> None:
        from emollama_ros.msg import AudioChunk

        at = np.arange(self._samples_sent, self._samples_sent + count) % len(self._sound)
        message = AudioChunk(sample_rate=SAMPLE_RATE, channels=1, sequence=self._chunks % 2**32)
        message.header.stamp, message.first_sample = self._stamp(), self._samples_sent
        message.samples.frombytes(self._sound[at].tobytes())
        self._sounds.publish(message)
        self._chunks += 1
        self._samples_sent += count
        self._sent_ns = self._samples_sent * 10**9 // SAMPLE_RATE

    def _stamp(self) -> Any:
        from emollama_ros.nodes.clock import ros_time

        return ros_time(self._begin_ns + self._sent_ns)

    def _hear(self, state: Any) -> None:
        from emollama_ros.nodes.clock import stamp_ns

        if state.modalities:
            self._told_ns = max(self._told_ns, stamp_ns(state.header.stamp) - self._begin_ns)

    def _note(self, array: Any) -> None:
        for entry in array.status:
            if entry.name == f"{NODE}: perception":
                self._facts = {pair.key: pair.value for pair in entry.values}


def image_messages(clip: Path, size: tuple[int, int]) -> list[Any]:
    """Pictures of a clip, evenly spread, as messages."""
    from emollama_ros.nodes.media_player_node import image_message

    pictures = [event.rgb for event in read_media(clip) if isinstance(event, VideoEvent)]
    chosen = [pictures[i] for i in np.linspace(0, len(pictures) - 1, PICTURES).astype(int)]
    scaled = (np.asarray(Picture.fromarray(rgb).resize(size)) for rgb in chosen)
    return [image_message(rgb, 0, "soak") for rgb in scaled]


def sound(clip: Path) -> NDArray[np.int16]:
    """The sound of a clip, 16 bits."""
    parts = [event.samples for event in read_media(clip) if isinstance(event, AudioEvent)]
    return (np.clip(np.concatenate(parts), -1, 1) * 32767).astype(np.int16)


if __name__ == "__main__":
    raise SystemExit(main())
