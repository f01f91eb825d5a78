"""Our node and a straightforward one (``rival_node``) on the same clip with the same weights, in turns.

What differs is architecture alone, so that the difference is what the architecture is worth. Neither reasons.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark import clip as clips
from benchmark import graph
from benchmark.record import significant, summary
from emollama_ros.bundle import Bundle

RIVAL = graph.Case("straightforward", module="benchmark.rival_node")
SIDES = {"here": graph.LABELS_ONLY, "straightforward": RIVAL}
#: Times at which somebody looks at the newest state, ns apart.
LOOKS_NS = 10_000_000


@dataclass(frozen=True)
class Round:
    """One playing of the clip to one node.

    Attributes:
        states: What it published.
        lost: Samples sent that are in no window, nor wait for the next.
        usage: Of its process.
    """

    states: Sequence[graph.State]
    lost: int
    usage: dict[str, float]


def measure(bundle: Bundle, clip: Path, scratch: Path, rounds: int) -> dict[str, Any]:
    """Play the clip to both nodes in turn, again and again.

    Args:
        bundle: The model of both.
        clip: Made by ``clip.make_clip``.
        scratch: Folder for traces.
        rounds: Turns of each.

    Raises:
        GraphError: A process failed.
    """
    sent = clips.count(clip)["samples"]
    taken: dict[str, list[Round]] = {name: [] for name in SIDES}
    for _ in range(rounds):
        for name, case in SIDES.items():
            taken[name].append(_round(bundle, clip, scratch, case, sent))
    seconds = sent / clips.RATE
    return {"clip_s": seconds} | {name: summarise(found, seconds) for name, found in taken.items()}


def _round(bundle: Bundle, clip: Path, scratch: Path, case: graph.Case, sent: int) -> Round:
    trace = scratch / f"side-{case.name}.json"
    heard, usage = graph.play(bundle, clip, trace, case)
    counts = json.loads(trace.read_text())["counts"]
    return Round(heard.states, lost_samples(counts, sent), usage["perception"])


def lost_samples(counts: dict[str, int], sent: int) -> int:
    """Samples that were sent and never perceived; from the counts of either node."""
    if "samples_used" in counts:
        return sent - counts["samples_used"] - counts["samples_pending"]
    return sent - counts["audio_samples"] + counts["audio_lost"]


def summarise(rounds: Sequence[Round], seconds: float) -> dict[str, Any]:
    """Put the rounds of a node together.

    Args:
        rounds: At least one. Ages are left out where no round has a result.
        seconds: Length of the clip.
    """
    results = sum(len(found.states) for found in rounds)
    lost, played_s = sum(found.lost for found in rounds), len(rounds) * seconds
    return {
        "rounds": len(rounds),
        "results": results,
        "results_a_second": significant(results / played_s, 3),
        **(ages(rounds, seconds) if results else {}),
        "audio_samples_lost": lost,
        "audio_lost_percent": significant(100 * lost / (played_s * clips.RATE), 3),
        "cpu_percent_of_a_core": significant(
            float(np.mean([found.usage["cpu_percent_of_a_core"] for found in rounds])), 3
        ),
        "peak_resident_mb": max(found.usage["peak_resident_mb"] for found in rounds),
    }


def ages(rounds: Sequence[Round], seconds: float) -> dict[str, Any]:
    """How old results are when they are sent, and how old the newest one is whenever somebody looks, ms."""
    answered = [found.states for found in rounds if found.states]
    return {
        "age_when_sent_ms": summary((s[2] - s[1]) / 1e6 for states in answered for s in states),
        "age_when_read_ms": summary(np.concatenate([ages_when_read(states, seconds) for states in answered])),
    }


def ages_when_read(states: Sequence[graph.State], seconds: float) -> NDArray[np.float64]:
    """How old the newest state is, ms, whenever one looks: each 10 ms from the first to the clip's end.

    Args:
        states: In the order in which they were sent; the first window begins with the clip.
        seconds: Length of the clip.
    """
    sent, ends = (np.array([state[i] for state in states], np.int64) for i in (2, 1))
    until = max(states[0][0] + round(seconds * 1e9), int(sent[0]) + 1)
    looks = np.arange(sent[0], until, LOOKS_NS)
    return np.asarray((looks - ends[np.searchsorted(sent, looks, "right") - 1]) / 1e6)
