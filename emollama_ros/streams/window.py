"""Windows: what was seen, heard and said in one interval, and when that interval is complete."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from emollama_ros.errors import ConfigError
from emollama_ros.streams.audio_ring import AudioRing, AudioSpan
from emollama_ros.streams.frame_ring import FrameBatch, FrameRing
from emollama_ros.streams.limits import require_positive
from emollama_ros.streams.stamps import JUMP_NS, NS_PER_S, to_ns
from emollama_ros.streams.transcript_ring import TranscriptRing


@dataclass(frozen=True)
class Window:
    """All data of ``[start_ns, end_ns)``. A modality that has none is absent, not zero.

    Attributes:
        start_ns: First instant, acquisition clock.
        end_ns: First instant after it; the stamp of whatever is perceived in it.
        frames: The pictures, or ``None`` when there are none.
        audio: The sound, exactly as long as the window, or ``None`` when no sample of it arrived.
        transcript: What was said, or an empty string.
    """

    start_ns: int
    end_ns: int
    frames: FrameBatch | None = None
    audio: AudioSpan | None = None
    transcript: str = ""


def cut_window(
    start_ns: int,
    end_ns: int,
    *,
    frames: FrameRing | None = None,
    audio: AudioRing | None = None,
    transcripts: TranscriptRing | None = None,
) -> Window:
    """Copy one interval out of the rings that exist.

    Args:
        start_ns: First instant.
        end_ns: First instant after it.
        frames: Ring of pictures, if the robot has a camera.
        audio: Ring of sound, if it has a microphone.
        transcripts: Ring of words, if it has a speech recogniser.

    Raises:
        InputError: The interval ends before it starts.
    """
    batch = frames.between(start_ns, end_ns) if frames is not None else None
    span = audio.between(start_ns, end_ns) if audio is not None else None
    said = transcripts.between(start_ns, end_ns) if transcripts is not None else ""
    return Window(start_ns, end_ns, batch or None, span if span and span.valid + span.bad > 0 else None, said)


class Grid:
    """Where windows end: whole hops from one instant. Clocks that share it are due together. Thread-safe."""

    def __init__(self) -> None:
        self._origin_ns: int | None = None
        self._lock = threading.Lock()

    def origin(self, first_ns: int) -> int:
        """Return the instant that hops count from; the first who asks brings it."""
        with self._lock:
            if self._origin_ns is None:
                self._origin_ns = first_ns
            return self._origin_ns


class WindowClock:
    """Decides from data stamps alone when the next window is complete.

    Windows end on a grid: whole hops after the first stamp, or after another clock's with which the grid is
    shared. A window is due once every *active* stream has reached its end. A stream that is more than the
    patience behind the newest one is not active: a dead camera delays nothing for longer than the patience,
    and counts again when it catches up.

    The first window is due after ``min_window_s``, so that a robot answers early; until ``window_s`` of
    data exist, windows are shorter at the front (see ``span``).

    The clock starts again, with a new grid and without what was pending, when a stream falls back by
    more than a second, or when nothing was received for ``pause_s``: a looped recording or a driver
    that switches from uptime to calendar time must not cause a million empty windows. It also starts again
    when the stream that is ahead stands still while another goes on for more than a second: nothing is
    worth waiting for that was stamped in the future once.

    Threads: any; every method takes the clock's own lock.
    """

    def __init__(
        self,
        window_s: float = 4.0,
        hop_s: float = 0.5,
        patience_s: float = 0.3,
        min_window_s: float = 1.0,
        pause_s: float = 10.0,
        grid: Grid | None = None,
    ) -> None:
        """Make a clock that waits for its first stamp.

        Args:
            window_s: Length of a window, s.
            hop_s: Time from the end of one window to the end of the next, s.
            patience_s: How far a stream may be behind the newest and still be waited for, s.
            min_window_s: Data needed before the first window, s; at most ``window_s``.
            pause_s: Silence of all streams after which the clock starts again, s.
            grid: Shared with the clocks of other sources; ``None`` for one of its own, which begins at the
                first stamp of every start.

        Raises:
            ConfigError: A value is not positive, or ``min_window_s`` exceeds ``window_s``.
        """
        require_positive("WindowClock", window_s=window_s, min_window_s=min_window_s, pause_s=pause_s)
        if min_window_s > window_s:
            raise ConfigError(
                f"WindowClock: min_window_s {min_window_s} exceeds window_s {window_s}; lower it"
            )
        self._window_ns = to_ns(window_s)
        self._least_ns = to_ns(min_window_s)
        self._pause_ns = to_ns(pause_s)
        self._grid = grid
        self._set_times(hop_s, patience_s)
        self._restarts = 0
        self._first_ns: int | None = None
        self._next_ns = 0
        self._latest: dict[str, int] = {}
        self._behind_ns: dict[str, int] = {}
        self._disbelieved: tuple[str, int] | None = None
        self._lock = threading.Lock()

    @property
    def restarts(self) -> int:
        """How often stamps fell back or paused so that the grid began anew."""
        with self._lock:
            return self._restarts

    @property
    def first_ns(self) -> int | None:
        """Origin of the grid: the first stamp since the last (re)start, ``None`` before it."""
        with self._lock:
            return self._first_ns

    @property
    def is_due(self) -> bool:
        """Whether ``due`` would return anything."""
        with self._lock:
            mark = self._watermark()
            return mark is not None and mark >= self._next_ns

    def retime(self, hop_s: float, patience_s: float) -> None:
        """Take another hop and patience; the next window ends at most one new hop after the last.

        Raises:
            ConfigError: As when the clock is made.
        """
        with self._lock:
            last_ns = self._next_ns - self._hop_ns
            self._set_times(hop_s, patience_s)
            if self._first_ns is not None:
                earliest_ns = self._on_grid(self._first_ns + self._first_end_ns)
                self._next_ns = max(earliest_ns, self._on_grid(last_ns + 1))

    def advance(self, stream: str, stamp_ns: int, begin_ns: int | None = None) -> bool:
        """Note that a stream's data are complete up to a stamp.

        Args:
            stream: Any fixed name, such as ``video``.
            stamp_ns: Stamp of the frame, or just after the last sample (``AudioRing.latest_ns``).
                A stamp slightly older than the stream's newest changes nothing.
            begin_ns: First instant of the new data where that is earlier, as with a chunk of sound: if
                they are the first, the grid begins there.

        Returns:
            Whether the clock started again: what the caller derived from earlier windows is obsolete.
        """
        with self._lock:
            if (stream, stamp_ns) == self._disbelieved:
                return False
            restarted = self._breaks(stream, stamp_ns)
            if restarted:
                self._forget()
                self._restarts += 1
            if self._first_ns is None:
                self._first_ns = stamp_ns if begin_ns is None else min(begin_ns, stamp_ns)
                self._next_ns = self._on_grid(self._first_ns + self._first_end_ns)
            self._note(stream, stamp_ns)
            return restarted

    def due(self) -> list[int]:
        """Return the ends of the windows completed since the last call, oldest first, each once.

        Call it after every ``advance``: a restart forgets ends that were not fetched.
        """
        with self._lock:
            mark = self._watermark()
            if mark is None or mark < self._next_ns:
                return []
            count = (mark - self._next_ns) // self._hop_ns + 1
            ends = [self._next_ns + k * self._hop_ns for k in range(count)]
            self._next_ns = ends[-1] + self._hop_ns
            return ends

    def span(self, end_ns: int) -> tuple[int, int]:
        """Return (start_ns, end_ns) of the window with this end; early ones begin at the first stamp."""
        with self._lock:
            start_ns = end_ns - self._window_ns
            if self._first_ns is not None and self._first_ns < end_ns:
                start_ns = max(start_ns, self._first_ns)
            return start_ns, end_ns

    def reset(self) -> None:
        """Forget all stamps; the next one is the first. The restart count stays."""
        with self._lock:
            self._forget()

    def _set_times(self, hop_s: float, patience_s: float) -> None:
        require_positive("WindowClock", hop_s=hop_s)
        pause_s = self._pause_ns / NS_PER_S
        if not 0 <= patience_s < pause_s:
            raise ConfigError(
                f"WindowClock: patience_s is {patience_s}; it must be 0 to below pause_s {pause_s:g}"
            )
        self._hop_ns = max(1, to_ns(hop_s))
        self._patience_ns = to_ns(patience_s)
        # The first grid point with enough data before it.
        self._first_end_ns = -(-self._least_ns // self._hop_ns) * self._hop_ns

    def _on_grid(self, stamp_ns: int) -> int:
        """The first end of a window at or after a stamp."""
        assert self._first_ns is not None
        origin_ns = self._grid.origin(self._first_ns) if self._grid else self._first_ns
        return stamp_ns + (origin_ns - stamp_ns) % self._hop_ns

    def _forget(self) -> None:
        self._first_ns = None
        self._latest.clear()
        self._behind_ns.clear()

    def _note(self, stream: str, stamp_ns: int) -> None:
        """Note how far a stream is, and how far it went since each of the others last moved."""
        moved_ns = stamp_ns - self._latest.get(stream, stamp_ns)
        if moved_ns < 0 or (moved_ns == 0 and stream in self._latest):
            return  # what repeats a stamp, or falls back a little, stands still
        self._latest[stream] = stamp_ns
        self._behind_ns = {s: ns + moved_ns for s, ns in self._behind_ns.items()} | {stream: 0}

    def _breaks(self, stream: str, stamp_ns: int) -> bool:
        if not self._latest:
            return False
        newest_ns = max(self._latest.values())
        fell_back = stamp_ns < self._latest.get(stream, stamp_ns) - JUMP_NS
        return fell_back or stamp_ns > newest_ns + self._pause_ns or self._is_led_astray(stamp_ns)

    def _is_led_astray(self, stamp_ns: int) -> bool:
        """Whether the newest stamp is out of reach, and of a stream that has stood still for a second."""
        leader, newest_ns = max(self._latest.items(), key=lambda item: item[1])
        stood = self._behind_ns[leader] > JUMP_NS + self._patience_ns
        astray = stood and stamp_ns < newest_ns - self._patience_ns
        if astray:
            self._disbelieved = (leader, newest_ns)  # it may be repeated for ever
        return astray

    def _watermark(self) -> int | None:
        """Up to where every active stream is complete."""
        if not self._latest:
            return None
        newest = max(self._latest.values())
        return min(stamp for stamp in self._latest.values() if newest - stamp <= self._patience_ns)
