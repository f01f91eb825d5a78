"""What a soak run shows: memory, threads and files over hours, and whether everything is accounted for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.record import significant, summary

#: Most that memory may grow over the second half of a run, %.
MOST_GROWTH_PERCENT = 1.0
#: Samples at either end of the second half that are compared, where a whole number must not grow.
ENDS = 5


@dataclass(frozen=True)
class Sample:
    """One look at the node.

    Attributes:
        at_s: Wall time since the beginning.
        stream_s: Stream time sent by then.
        resident_mb: Resident memory, MB (10^6 bytes).
        threads: Threads of the process.
        files: Open file descriptors.
        subscriptions: Topics that it subscribes to.
    """

    at_s: float
    stream_s: float
    resident_mb: float
    threads: int
    files: int
    subscriptions: int


@dataclass(frozen=True)
class Account:
    """What was sent, and what the node says became of it.

    Attributes:
        due: Windows that the stamps make complete.
        windows: Estimates given.
        left_out: Windows left out because the one before took too long.
        failed: Windows in which the engine raised an error.
        samples_sent: Audio samples sent.
        samples: Audio samples in its buffers.
        samples_lost: Samples that stamps say are missing.
        restarts: Times it forgot everything because stamps jumped.
    """

    due: int
    windows: int
    left_out: int
    failed: int
    samples_sent: int
    samples: int
    samples_lost: int
    restarts: int

    @property
    def is_settled(self) -> bool:
        """Whether every window is accounted for."""
        return self.windows + self.left_out + self.failed == self.due


def due_windows(seconds: float, hop_s: float, first_s: float = 1.0) -> int:
    """Windows that are complete when both streams are there up to ``seconds`` after their first stamp.

    Args:
        seconds: Length of the stream.
        hop_s: Time between windows.
        first_s: Data needed before the first, as of ``streams.WindowClock``.
    """
    hop_ns, first_ns = round(hop_s * 1e9), round(first_s * 1e9)
    first_end_ns = -(-first_ns // hop_ns) * hop_ns
    return max(0, (round(seconds * 1e9) - first_end_ns) // hop_ns + 1)


def second_half(samples: Sequence[Sample]) -> list[Sample]:
    """Samples of the second half of the stream: warmed up."""
    return [s for s in samples if s.stream_s >= samples[-1].stream_s / 2] if samples else []


def growth_percent(samples: Sequence[Sample]) -> float:
    """Growth of memory over some samples by a straight line through them, % of their mean.

    Raises:
        ValueError: Fewer than three samples.
    """
    if len(samples) < 3:
        raise ValueError(f"{len(samples)} samples are too few for a line; let it run for longer")
    at, memory = np.array([(s.at_s, s.resident_mb) for s in samples]).T
    slope = np.polyfit(at - at[0], memory, 1)[0]
    return float(100 * slope * (at[-1] - at[0]) / memory.mean())


def grew(samples: Sequence[Sample], name: str) -> int:
    """How much a whole number is larger at the end than at the beginning, by the medians of a few samples."""
    values = [getattr(s, name) for s in samples]
    return int(np.median(values[-ENDS:]) - np.median(values[:ENDS]))


def complaints(samples: Sequence[Sample], account: Account) -> list[str]:
    """What a run must not show, in words; empty when all is well."""
    warm = second_half(samples)
    found = []
    growth = growth_percent(warm)
    if growth > MOST_GROWTH_PERCENT:
        found.append(
            f"memory grows by {growth:.2f} % over the second half; at most {MOST_GROWTH_PERCENT:g} %"
        )
    for name in ("threads", "files", "subscriptions"):
        if (more := grew(warm, name)) > 0:
            found.append(f"{more} more {name} at the end than after warm-up")
    if account.samples_lost or account.samples != account.samples_sent:
        found.append(
            f"of {account.samples_sent} audio samples {account.samples} arrived, {account.samples_lost} are"
            " missing by their stamps"
        )
    if not account.is_settled:
        told = f"{account.windows} given, {account.left_out} left out, {account.failed} failed"
        found.append(f"of {account.due} windows that were due: {told}")
    if account.failed or account.restarts:
        found.append(f"{account.failed} windows failed, {account.restarts} restarts")
    return found


def figures(samples: Sequence[Sample], account: Account) -> dict[str, Any]:
    """The results of a run as they are written."""
    warm, last = second_half(samples), samples[-1]
    memory = [s.resident_mb for s in warm]
    return {
        "stream_s": significant(last.stream_s, 6),
        "wall_s": significant(last.at_s, 4),
        "windows": {
            "due": account.due,
            "given": account.windows,
            "left_out": account.left_out,
            "failed": account.failed,
        },
        "audio_samples": {
            "sent": account.samples_sent,
            "arrived": account.samples,
            "lost": account.samples_lost,
        },
        "restarts": account.restarts,
        "memory": {
            "resident_mb": summary(memory),
            "resident_mb_at_half": significant(memory[0]),
            "resident_mb_at_end": significant(memory[-1]),
            "growth_percent_second_half": significant(growth_percent(warm), 3),
        },
        "held": held(warm),
        "samples": [_row(s) for s in samples[:: max(1, len(samples) // 240)]],
    }


def held(warm: Sequence[Sample]) -> Mapping[str, Mapping[str, int]]:
    """Threads, files and subscriptions after warm-up and at the end."""
    names = ("threads", "files", "subscriptions")
    return {
        name: {"at_half": getattr(warm[0], name), "at_end": getattr(warm[-1], name), "grew": grew(warm, name)}
        for name in names
    }


def _row(sample: Sample) -> list[float]:
    times = (round(sample.at_s, 1), round(sample.stream_s, 1), round(sample.resident_mb, 2))
    return [*times, sample.threads, sample.files, sample.subscriptions]
