"""Records what a perception node senses and tells, as bytes, into a bag that can be replayed.

Messages are written as they came over the network, never decoded; and the recorder is a process of its own:
it costs the node no more than one more subscriber does.
"""

from __future__ import annotations

import heapq
import importlib
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import TransitionEvent
from rcl_interfaces.msg import ParameterEvent
from rcl_interfaces.srv import GetParameters
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from std_msgs.msg import Bool

from emollama_ros.bags.contents import (
    DIAGNOSTICS_TOPIC,
    EVENT_NAME,
    INFO,
    PARAMETER_TOPIC,
    REASONING_NAME,
    SENSED,
    STATE_NAME,
)
from emollama_ros.bags.results import parameter_event
from emollama_ros.bags.writing import BagWriter
from emollama_ros.errors import ConfigError
from emollama_ros.msg import EmotionEvent, EmotionReasoning, EmotionState
from emollama_ros.nodes import qos
from emollama_ros.nodes.parameters import PerceptionParameters, check
from emollama_ros.nodes.recording_options import RecordOptions
from emollama_ros.nodes.running import run_node
from emollama_ros.nodes.sensors import input_topics
from emollama_ros.nodes.transport import with_profile

#: How often the graph is asked who publishes what, s: what is sent before that is not recorded.
LOOK_S = 0.25
#: How often everything is put on the disk, s.
FLUSH_S = 1.0
#: How long a message is held back, s: callbacks do not come in the order in which messages arrived.
#: A recorder that is killed loses so much, and what came since the disk was written last.
HOLD_S = 0.5
#: Less is left free of the disk for nobody, bytes.
SPARE_BYTES = 500_000_000
_MB = 1_000_000
_CAMERA_DEPTH, _OTHER_DEPTH = 10, 100

Say = Callable[[str], None]
#: Says whether a message of a topic that others use too is about the perception node.
IsOurs = Callable[[bytes], bool]


class RecorderNode(Node):
    """Subscribes to everything that belongs to a perception node, and writes it down.

    Attributes:
        done: Why the recording ended by itself; empty while it goes on.
        heard: Messages by topic, on the disk or not.
    """

    def __init__(self, options: RecordOptions, bag: BagWriter, say: Say, **node_options: Any) -> None:
        """Begin to record.

        Args:
            options: What, and until when.
            bag: New and empty; closed with this node.
            say: Prints a line.
            **node_options: Of ``rclpy.node.Node``.
        """
        super().__init__("emollama_record", **node_options)
        self.done, self.heard = "", Counter[str]()
        self._pending: list[tuple[int, int, str, bytes]] = []
        self._options, self._bag, self._say = options, bag, say
        self._began_s = time.monotonic()
        self._heard: dict[str, Subscription] = {}
        self._guessed: set[str] = set()
        self._troubles: set[str] = set()
        self._prefixes: tuple[str, ...] = ()
        self._settings = PerceptionParameters()
        self._asking: Any = None
        self._is_told = False
        self._client = self.create_client(GetParameters, f"{options.node_name}/get_parameters")
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._hear_about_node()
        self._hear_results(("",))
        self.create_timer(LOOK_S, self._look, clock=steady)
        self.create_timer(FLUSH_S, self._flush, clock=steady)
        self._look()

    @property
    def knows_parameters(self) -> bool:
        """Whether it is written down how the perception node is set."""
        return self._is_told

    def close(self) -> None:
        """Finish the file, and say what is in it."""
        try:
            self._put_down(float("inf"))
            self._bag.close()
        except OSError as error:
            self.done = f"the end is missing, for the disk cannot be written: {error.strerror or error}"
        seconds, size = time.monotonic() - self._began_s, self._bag.size / _MB
        self._say(
            f"recorded {seconds:.1f} s, {size:.1f} MB in {self._bag.path}{self.done and f': {self.done}'}"
        )
        for topic, count in sorted(self._bag.counts.items()):
            self._say(f"  {count:6d}  {topic}")
        if not self._is_told:
            name = self._options.node_name
            self._say(f"warning: {name} did not tell its parameters, so a replay will take defaults")
        self._say(f"it shows people; delete it with: rm -r {self._bag.path}")

    # --- what belongs to the node

    def _hear_about_node(self) -> None:
        name = self._options.node_name
        self._hear(PARAMETER_TOPIC, ParameterEvent, is_ours=self._is_about_node)
        self._hear(f"{name}/transition_event", TransitionEvent)
        self._hear(DIAGNOSTICS_TOPIC, DiagnosticArray, qos.DIAGNOSTICS, self._is_from_node)

    def _is_about_node(self, data: bytes) -> bool:
        return bool(deserialize_message(data, ParameterEvent).node == self._options.node_name)

    def _is_from_node(self, data: bytes) -> bool:
        statuses = deserialize_message(data, DiagnosticArray).status
        return any(self._options.node in status.name for status in statuses)

    def _hear_results(self, prefixes: tuple[str, ...]) -> None:
        """Subscribe to what is told of the sources; those who are there no more stay subscribed."""
        self._prefixes = prefixes
        for prefix in prefixes:
            home = self._options.home + prefix
            self._hear(home + STATE_NAME, EmotionState, qos.STATES_HEARD)
            self._hear(home + EVENT_NAME, EmotionEvent, qos.EVENT)
            self._hear(home + REASONING_NAME, EmotionReasoning, qos.REASONING)
        self._hear(f"{self._options.home}emotion/paused", Bool, qos.PAUSED)

    def _ask(self) -> None:
        """Ask the node for its parameters until it has answered once."""
        if self._is_told or self._asking is not None or not self._client.service_is_ready():
            return
        names = list(PerceptionParameters.__dataclass_fields__)
        self._asking = self._client.call_async(GetParameters.Request(names=names))
        self._asking.add_done_callback(lambda future: self._note_parameters(names, future))

    def _note_parameters(self, names: list[str], future: Any) -> None:
        """Write the answer down, as the event that a node would publish that sets them all."""
        self._asking = None
        answer = None if future.cancelled() or future.exception() else future.result()
        if answer is None or len(answer.values) != len(names):
            return
        given = {name: parameter_value_to_python(v) for name, v in zip(names, answer.values, strict=True)}
        try:
            # An empty array comes without a value.
            values = {name: () if value is None else value for name, value in given.items()}
            self._settings = check(PerceptionParameters, values)
        except ConfigError as error:
            self._trouble(f"how {self._options.node_name} is set is not understood: {error}")
            return
        data = parameter_event(self._bag, self._options.node_name, self._settings, time.time_ns())
        self._write(PARAMETER_TOPIC, ParameterEvent, bytes(data), time.time_ns())
        self._is_told = True
        if self._settings.sources:
            self._hear_results(tuple(f"{name}/" for name in self._settings.sources))
        self._look()

    # --- what it senses

    def _look(self) -> None:
        """Subscribe to sensors that have publishers; once the node itself has subscribed, to its own only."""
        self._ask()
        own = set(self._sensed_by_node())
        for topic in self._guessed - own if own else ():
            self.destroy_subscription(self._heard.pop(topic))
            self._guessed.discard(topic)
        for topic in sorted(own or set(self._usual_topics())):
            if topic not in self._heard and self._hear_sensor(topic) and not own:
                self._guessed.add(topic)

    def _sensed_by_node(self) -> Iterable[str]:
        """Return what the node subscribes to, remapped or not, of what is wanted."""
        name, space = self._options.node, self._options.home.rstrip("/") or "/"
        try:
            found = self.get_subscriber_names_and_types_by_node(name, space)
        except Exception:  # rclpy has several: the node is not there (yet)
            return []
        wanted = set(self._wanted_types())
        return [topic for topic, types in found if wanted & set(types)]

    def _usual_topics(self) -> Iterable[str]:
        """Return the names of the sensors where nobody remapped them, of what is wanted."""
        for prefix in self._prefixes:
            camera, audio, words = input_topics(self._settings, self._options.home + prefix)
            yield from [camera] * self._options.video
            yield from [audio, words, f"{audio.rpartition('/')[0]}/audio_info"] * self._options.audio

    def _wanted_types(self) -> list[str]:
        pictures = SENSED["camera"] if self._options.video else ()
        sounds = (*SENSED["audio"], *SENSED["transcript"], INFO) if self._options.audio else ()
        return [*pictures, *sounds]

    def _hear_sensor(self, topic: str) -> bool:
        """Subscribe as the publishers offer it; return whether that was possible."""
        offered = self.get_publishers_info_by_topic(topic)
        kind = next((k for k in self._wanted_types() if k in {p.topic_type for p in offered}), None)
        if kind is None:
            return False
        profiles = [p.qos_profile for p in offered if p.topic_type == kind]
        is_reliable = all(p.reliability == ReliabilityPolicy.RELIABLE for p in profiles)
        is_kept = all(p.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in profiles)
        profile = QoSProfile(
            depth=_CAMERA_DEPTH if kind in SENSED["camera"] else _OTHER_DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if is_kept else DurabilityPolicy.VOLATILE,
        )
        package, _, name = kind.partition("/msg/")
        try:
            message = getattr(importlib.import_module(f"{package}.msg"), name)
            self._hear(topic, message, profile)
        except Exception as error:  # not installed, or compiled for another Python
            self._trouble(f"{topic} is not recorded: {kind} cannot be imported ({error})")
            return False
        self._say(f"  {topic}  {kind}")
        return True

    # --- writing

    def _hear(self, topic: str, kind: Any, profile: Any = 10, is_ours: IsOurs | None = None) -> None:
        if topic in self._heard:
            return

        def take(data: bytes, info: dict[str, int]) -> None:
            if is_ours is None or is_ours(data):
                self._write(topic, kind, data, info.get("received_timestamp") or time.time_ns())

        callback = take if hasattr(Subscription, "CallbackType") else lambda data: take(data, {})
        self._heard[topic] = self.create_subscription(kind, topic, callback, profile, raw=True)

    def _write(self, topic: str, kind: Any, data: bytes, log_ns: int) -> None:
        if self.done:
            return
        name = f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}"
        try:
            self._bag.add(topic, name, is_kept=kind in (EmotionState, Bool))
        except ConfigError as error:
            self._trouble(str(error))
            return
        self.heard[topic] += 1
        heapq.heappush(self._pending, (log_ns, self.heard.total(), topic, data))

    def _put_down(self, until_ns: float) -> None:
        """Write what arrived until then, in the order in which it arrived."""
        while self._pending and self._pending[0][0] <= until_ns:
            log_ns, _, topic, data = heapq.heappop(self._pending)
            self._bag.put_raw(topic, log_ns, data)

    def _trouble(self, words: str) -> None:
        if words not in self._troubles:
            self._troubles.add(words)
            self._say(f"warning: {words}")

    def _flush(self) -> None:
        """Put everything on the disk, and end if it is time."""
        try:
            self._put_down(time.time_ns() - HOLD_S * 1e9)
            self._bag.flush()
        except OSError as error:
            self.done = f"it ended because the disk cannot be written: {error.strerror or error}"
        options, seconds = self._options, time.monotonic() - self._began_s
        if options.duration_s and seconds >= options.duration_s:
            self.done = self.done or f"it ended after {options.duration_s:g} s, as asked"
        elif self._bag.size >= options.limit_mb * _MB:
            self.done = self.done or f"it ended at {options.limit_mb:g} MB, the limit (--limit-mb)"
        elif shutil.disk_usage(self._bag.path).free < SPARE_BYTES:
            self.done = (
                self.done or f"it ended because less than {SPARE_BYTES / _MB:.0f} MB of the disk are free"
            )


def _spin_until_done(node: RecorderNode, executor: SingleThreadedExecutor) -> None:
    while not node.done:
        executor.spin_once()


def run(options: RecordOptions, say: Say) -> int:
    """Record until Ctrl-C, or until the options end it; return the exit status.

    Raises:
        ConfigError: The package ``rosbags`` is not installed.
        InputError: The folder exists, or cannot be written.
    """
    bag = BagWriter(options.out)
    os.environ.update(with_profile())
    say(options.warning)
    say("Ctrl-C ends it" + (f", or {options.duration_s:g} s" if options.duration_s else ""))
    return run_node(lambda: RecorderNode(options, bag, say), _spin_until_done)
