"""The last utterances, by the time they were spoken."""

from __future__ import annotations

import threading
from bisect import insort
from dataclasses import dataclass, replace

from emollama_ros.streams.limits import require_positive
from emollama_ros.streams.stamps import JUMP_NS, to_ns


@dataclass(frozen=True, order=True)
class Utterance:
    """One recognised piece of speech.

    Attributes:
        end_ns: When its last word ended.
        start_ns: When its first word began, at most ``end_ns``.
        text: What was said, one line.
    """

    end_ns: int
    start_ns: int
    text: str


@dataclass(frozen=True)
class TranscriptReport:
    """What became of one pushed text.

    Attributes:
        stored: It is in the ring; otherwise it was blank, or a repetition.
        cut: It was longer than the ring may hold; only its end was kept.
        jumped: Its stamp fell back by more than the ring is long, so everything older was dropped first.
    """

    stored: bool
    cut: bool = False
    jumped: bool = False


@dataclass(frozen=True)
class TranscriptTotals:
    """Counts since the ring was made: utterances stored, cut short, and clock falls."""

    stored: int = 0
    cut: int = 0
    jumps: int = 0


class TranscriptRing:
    """Utterances of the last seconds, sorted by time, bounded in seconds and in UTF-8 bytes.

    Speech recognisers answer late and out of order, so an utterance may be up to ``seconds`` older
    than the newest one before its stamp counts as a clock that fell back.

    Threads: any number of readers and writers; every method takes the ring's own lock.
    """

    def __init__(self, seconds: float, max_bytes: int = 64 * 2**10) -> None:
        """Make an empty ring.

        Args:
            seconds: How far back, from the newest utterance, text is kept, s.
            max_bytes: Upper bound of the text kept, UTF-8 bytes; the oldest goes first.

        Raises:
            ConfigError: A value is not positive.
        """
        require_positive("TranscriptRing", seconds=seconds, max_bytes=max_bytes)
        self._keep_ns = to_ns(seconds)
        self._max_bytes = max_bytes
        self._utterances: list[Utterance] = []
        self._totals = TranscriptTotals()
        self._lock = threading.Lock()

    @property
    def latest_ns(self) -> int | None:
        """End of the newest utterance, ``None`` when empty."""
        with self._lock:
            return self._utterances[-1].end_ns if self._utterances else None

    @property
    def totals(self) -> TranscriptTotals:
        """Counts since the ring was made; ``clear`` keeps them."""
        with self._lock:
            return self._totals

    def push(self, stamp_ns: int, text: str, start_ns: int | None = None) -> TranscriptReport:
        """Add an utterance.

        Args:
            stamp_ns: When it ended (acquisition clock), or the only moment known of it.
            text: What was said, in any form; white space and line breaks become single spaces.
            start_ns: When it began; ``stamp_ns`` where the recogniser does not say.
        """
        line = " ".join(text.split())
        if not line:
            return TranscriptReport(stored=False)
        kept = _tail(line, self._max_bytes)
        cut = kept != line
        began_ns = stamp_ns if start_ns is None else min(start_ns, stamp_ns)
        with self._lock:
            jumped = self._fell_back(stamp_ns)
            if jumped:
                self._utterances.clear()
            stored = self._insert(Utterance(stamp_ns, began_ns, kept))
            self._count(stored, cut, jumped)
        return TranscriptReport(stored, cut, jumped)

    def between(self, start_ns: int, end_ns: int) -> str:
        """Return what was said during ``[start_ns, end_ns)``, oldest first, joined by spaces.

        An utterance counts with all its words as soon as any of its time lies in the interval.
        """
        with self._lock:
            spoken = [u.text for u in self._utterances if u.end_ns >= start_ns and u.start_ns < end_ns]
        return " ".join(spoken)

    def clear(self) -> None:
        """Forget all utterances; counts stay."""
        with self._lock:
            self._utterances.clear()

    def _fell_back(self, stamp_ns: int) -> bool:
        allowed = max(self._keep_ns, JUMP_NS)
        return bool(self._utterances) and stamp_ns < self._utterances[-1].end_ns - allowed

    def _insert(self, utterance: Utterance) -> bool:
        if utterance in self._utterances:
            return False
        insort(self._utterances, utterance)
        oldest_ns = self._utterances[-1].end_ns - self._keep_ns
        self._utterances = [u for u in self._utterances if u.end_ns >= oldest_ns]
        while sum(len(u.text.encode()) for u in self._utterances) > self._max_bytes:
            del self._utterances[0]
        return True

    def _count(self, stored: bool, cut: bool, jumped: bool) -> None:
        was = self._totals
        self._totals = replace(
            was, stored=was.stored + stored, cut=was.cut + (stored and cut), jumps=was.jumps + jumped
        )


def _tail(line: str, max_bytes: int) -> str:
    """Return the end of a line that fits; the latest words say most about the present."""
    data = line.encode()
    return line if len(data) <= max_bytes else data[-max_bytes:].decode(errors="ignore")
