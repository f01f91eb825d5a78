"""The running graph: player, perception and listener in processes of their own, over real DDS."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from benchmark import clip as clips
from benchmark.processes import Usage, UsageMeter
from benchmark.record import significant, summary
from emollama_ros.bundle import Bundle
from emollama_ros.nodes.children import Child, command
from emollama_ros.nodes.media_player_node import STARTED
from emollama_ros.nodes.transport import with_profile

#: Longest wait for the model to load and for the player to begin, seconds.
LOADING_S = 180.0
#: How long to listen on after the clip's end: the last window, and a reasoning under way.
AFTER_S = 6.0
FULL_WINDOW_NS = 3_999_000_000
#: Of a state: start and end of its window, sent, received, ns; latency ms.
State = tuple[int, int, int, int, float]


class GraphError(RuntimeError):
    """A process of the graph ended with an error, or never began."""


@dataclass
class Heard:
    """What the listener heard, with the moments at which DDS says it was sent, ns.

    Attributes:
        states: (start, end, sent, received, latency ms) of each state but those with nothing perceived.
        repeated: States sent again because there was no other: input ended, or the model is late.
        texts: (sequence, end, sent, tokens, elapsed ms, final) of each piece of reasoning.
        statuses: How often each status was published.
    """

    states: list[State] = field(default_factory=list)
    texts: list[tuple[int, int, int, int, float, bool]] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    repeated: int = 0

    def take(self, state: State) -> None:
        """Note a state; the second one of a window is no news."""
        if self.states and state[1] == self.states[-1][1]:
            self.repeated += 1
        else:
            self.states.append(state)


@dataclass(frozen=True)
class Case:
    """What takes the place of the perception node, and how it is run.

    Attributes:
        name: Of the case, in files and results.
        module: Run with ``python -m``; its first argument is the trace to write.
        options: Further arguments.
        reasoning: Whether the node itself reasons.
        after_s: How long to listen on after the clip's end, s.
    """

    name: str
    module: str = "benchmark.traced_node"
    options: tuple[str, ...] = ()
    reasoning: bool = False
    after_s: float = 2.0


LABELS_ONLY = Case("labels_only")
#: As on a robot: a reasoning now and then, mostly over before the next window is due.
WITH_REASONING = Case("with_reasoning", reasoning=True, after_s=AFTER_S)
RESTLESS = Case("reasoning_without_rest", options=("--restless",))
NULL_ENGINE = Case("null_engine", options=("--null",))
BARE_SUBSCRIBER = Case("bare_subscriber", module="benchmark.bare_subscriber")


def measure(bundle: Bundle, clip: Path, scratch: Path, case: Case) -> dict[str, Any]:
    """Play the clip once through the graph and measure it from outside and inside.

    Args:
        bundle: The model.
        clip: Made by ``clip.make_clip``.
        scratch: Folder for the trace.
        case: What is measured.

    Raises:
        GraphError: A process failed; its last words are in the message.
    """
    trace = scratch / f"trace-{case.name}.json"
    heard, usage = play(bundle, clip, trace, case)
    traced = json.loads(trace.read_text())
    found = summarise(heard, traced, clips.count(clip))
    found |= {"restless": traced["restless"]} if "restless" in traced else {}
    return {"reasoning": case.reasoning} | found | {"processes": usage}


def received(bundle: Bundle, clip: Path, scratch: Path, case: Case) -> dict[str, Any]:
    """Play the clip once to something that publishes nothing: what it counted, and what it used.

    Raises:
        GraphError: A process failed.
    """
    trace = scratch / f"trace-{case.name}.json"
    _, usage = play(bundle, clip, trace, case)
    return {"sent": clips.count(clip), "counts": json.loads(trace.read_text())["counts"], "processes": usage}


def compared(runs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Add to each run its rate of labels over that of labels alone, where those were measured."""
    alone = runs.get(LABELS_ONLY.name, {}).get("labels_hz")
    if alone:
        for run in runs.values():
            run["labels_hz_over_labels_only"] = significant(run["labels_hz"] / alone)
    return runs


def summarise(heard: Heard, traced: dict[str, Any], sent: dict[str, int]) -> dict[str, Any]:
    """Turn notes into figures; only windows of full length count, because early ones are cheaper."""
    full = [s for s in heard.states if s[1] - s[0] >= FULL_WINDOW_NS]
    if not full:
        raise GraphError(f"no state of a full window was heard, of {len(heard.states)} states")
    estimated = {e["end_ns"]: e for e in traced["estimates"]}
    stage_ms: dict[str, list[float]] = {}
    for e in traced["estimates"]:
        if e["end_ns"] - e["start_ns"] >= FULL_WINDOW_NS:
            for name, value in e["stage_ms"].items():
                stage_ms.setdefault(name, []).append(value)
    outgoing = [(s[2] - estimated[s[1]]["at_ns"]) / 1e6 for s in full if s[1] in estimated]
    return {
        "sent": sent,
        "dropped": dropped(traced, sent),
        "frames_missing_at_s": frames_missing(traced["messages"]["image"]),
        "states": {
            "heard": len(heard.states),
            "repeated": heard.repeated,
            "full_windows": len(full),
            "statuses": heard.statuses,
        },
        "labels_hz": rate_hz(full),
        "counts": traced["counts"],
        "age_ms": summary((s[2] - s[1]) / 1e6 for s in full),
        "age_at_listener_ms": summary((s[3] - s[1]) / 1e6 for s in full),
        "latency_ms": summary(s[4] for s in full),
        "waiting_ms": summary((s[2] - s[1]) / 1e6 - s[4] for s in full),
        "stage_ms": {name: summary(values) for name, values in stage_ms.items()},
        "overhead": overhead(traced["messages"], outgoing),
        "reasonings": reasonings(heard),
    }


def rate_hz(states: list[State]) -> float:
    """States a second, by the moments at which they were sent; 0 of fewer than two."""
    sent = [state[2] for state in states]
    return significant((len(sent) - 1) / (sent[-1] - sent[0]) * 1e9) if len(sent) > 1 else 0.0


def dropped(traced: dict[str, Any], sent: dict[str, int]) -> dict[str, int]:
    """What was sent and did not reach a buffer."""
    counts = traced["counts"]
    return {
        "audio_samples": sent["samples"] - counts["audio_samples"],
        "audio_gaps_samples": counts["audio_lost"],
        "frames": sent["frames"] - counts["frames_received"],
        "windows_skipped": counts["windows_skipped"],
    }


def frames_missing(notes: list[list[int]]) -> list[float]:
    """Where the stamps of the pictures leave a gap, seconds after the first; at the ends no gap shows."""
    stamps = np.array([note[0] for note in notes], np.int64)
    period_ns = float(1 / clips.FPS) * 1e9
    gaps = np.flatnonzero(np.diff(stamps) > 1.5 * period_ns)
    return [round(float(stamps[i] - stamps[0]) / 1e9, 2) for i in gaps]


def overhead(messages: dict[str, list[list[int]]], outgoing: list[float]) -> dict[str, Any]:
    """What ROS costs on the way in and out, ms; from notes (stamp, sent, received, begun, done)."""
    found: dict[str, Any] = {}
    for kind, notes in messages.items():
        times = np.array(notes, np.float64).reshape(-1, 5)
        found[kind] = {
            "sent_to_arrival_ms": summary((times[:, 2] - times[:, 1]) / 1e6),
            "arrival_to_buffer_ms": summary((times[:, 4] - times[:, 2]) / 1e6),
            "callback_ms": summary((times[:, 4] - times[:, 3]) / 1e6),
        }
    return found | {"estimate_to_publish_ms": summary(outgoing)}


def reasonings(heard: Heard) -> dict[str, Any]:
    """First words and whole texts while labels run beside, ms after the reasoning was begun."""
    first: dict[int, float] = {}
    for sequence, _, _, _, elapsed, _ in heard.texts:
        first.setdefault(sequence, elapsed)
    finals = [t for t in heard.texts if t[5]]
    if not finals:
        return {"finished": 0}
    return {
        "finished": len(finals),
        "first_words_ms": summary(first.values()),
        "whole_ms": summary(t[4] for t in finals),
        "tokens_s": summary(t[3] / t[4] * 1e3 for t in finals),
        "age_when_whole_ms": summary((t[2] - t[1]) / 1e6 for t in finals),
    }


def play(bundle: Bundle, clip: Path, trace: Path, case: Case) -> tuple[Heard, dict[str, Any]]:
    """Play the clip once; returns what was heard, and what each process used while it was played.

    Raises:
        GraphError: A process failed; its last words are in the message.
    """
    heard = Heard()
    with listening(heard) as spin, ExitStack() as ending:
        perception = _perception(bundle, trace, case)
        ending.callback(perception.stop)
        player = _player(clip)
        ending.callback(player.stop)

        def serve_until(condition: Callable[[], Any]) -> None:
            while not condition():
                spin()
                _complain(perception, player)

        deadline = monotonic() + LOADING_S
        serve_until(lambda: player.line_with(STARTED) or monotonic() > deadline)
        if not player.line_with(STARTED):
            raise GraphError(f"the player did not begin within {LOADING_S:.0f} s: perception is not there")
        meters = {child.name: UsageMeter(child.pid) for child in (perception, player)}

        def ended() -> bool:
            for meter in meters.values():
                meter.note()
            return player.exit_status is not None

        serve_until(ended)
        usage = {name: _usage(meter.usage()) for name, meter in meters.items()}
        deadline = monotonic() + case.after_s
        serve_until(lambda: monotonic() > deadline)
    return heard, usage


class Process(Child):
    """A child whose use of the machine can be followed."""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid


def _perception(bundle: Bundle, trace: Path, case: Case) -> Process:
    """Start what is measured, with the parameters of an ordinary node."""
    ros = {
        "autostart": "true",
        "reasoning": str(case.reasoning).lower(),
        "bundle": json.dumps(str(bundle.path)),
    }
    words = command("perception_node", ros)
    started = [sys.executable, "-m", case.module, str(trace), *case.options]
    return Process("perception", [*started, *words[words.index("--ros-args") :]], os.environ)


def _player(clip: Path) -> Process:
    ros = {"path": json.dumps(str(clip)), "wait_for_subscribers": str(LOADING_S), "max_side": "0"}
    return Process("player", command("media_player_node", ros), os.environ)


def _usage(usage: Usage) -> dict[str, float]:
    return {
        "cpu_percent_of_a_core": significant(usage.cpu_percent, 3),
        "resident_mb": significant(usage.resident_mb),
        "peak_resident_mb": significant(usage.peak_mb),
        "over_s": significant(usage.seconds, 3),
    }


def _complain(*children: Child) -> None:
    for child in children:
        if child.exit_status not in (None, 0):
            raise GraphError(child.epitaph())


@contextmanager
def listening(heard: Heard) -> Iterator[Callable[[], None]]:
    """Subscribe in this process; yields a function that serves the subscriptions for a moment."""
    os.environ.update(with_profile())
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)  # nobody else's traffic in our figures
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node

    from emollama_ros.msg import EmotionReasoning, EmotionState
    from emollama_ros.nodes import qos
    from emollama_ros.nodes.clock import stamp_ns

    def on_state(state: EmotionState, info: Any) -> None:
        heard.statuses[state.status] = heard.statuses.get(state.status, 0) + 1
        if state.modalities:
            times = info["source_timestamp"], info["received_timestamp"]
            ends = stamp_ns(state.window_start), stamp_ns(state.header.stamp)
            heard.take((*ends, *times, state.latency_ms))

    def on_text(text: EmotionReasoning, info: Any) -> None:
        end, sent = stamp_ns(text.header.stamp), info["source_timestamp"]
        heard.texts.append((text.sequence, end, sent, text.tokens, text.elapsed_ms, text.final))

    rclpy.init(args=[])
    node = Node("benchmark_listener", start_parameter_services=False)
    node.create_subscription(EmotionState, "emotion/state", on_state, qos.STATES_HEARD)
    node.create_subscription(EmotionReasoning, "emotion/reasoning", on_text, qos.REASONING)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        yield lambda: executor.spin_once(timeout_sec=0.1)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown()
