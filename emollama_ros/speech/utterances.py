"""Cutting a stream of sound into utterances by its level, in bounded memory.

A frame of 20 ms is active when it is louder than a quiet room and clearly louder than the background, which
is the quietest moment of the last seconds (minimum statistics, Martin 2001, without the bias correction). An
utterance begins a little before its first active frames and ends at a pause; one that goes on too long is cut
at its quietest moment. Whether somebody speaks, or something hums, is decided afterwards, by `is_voice`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emollama_ros import prosody
from emollama_ros.errors import ConfigError
from emollama_ros.preprocess.audio import SAMPLE_RATE, SILENCE_DBFS
from emollama_ros.streams.stamps import JUMP_NS, to_duration_ns, to_ns

Floats = NDArray[np.float32]

_FRAME = 320
_FRAME_S = _FRAME / SAMPLE_RATE
#: Active frames in a row that begin an utterance: a click is shorter.
_ONSET = 3
#: Frames of the background's memory: ten minima of half a second.
_BLOCK, _BLOCKS = 25, 10
#: Frames at the end of a long utterance among which the quietest is looked for.
_SEARCH = 150
#: Disagreement of stamp and sample count that is taken for jitter, as in ``streams.AudioRing``.
_TOLERANCE_NS = to_ns(0.06)
#: Sound with a pitch in the shortest word ("Stop!": 0.16 s; noise: at most 0.06 s).
_LEAST_VOICED_S = 0.12
#: Range of the pitch that every voice has, semitones; that of a hum or a beep is smaller.
_STEADY_ST = 0.3


@dataclass(frozen=True)
class UtteranceSettings:
    """What counts as an utterance.

    Attributes:
        pause_s: A pause of this length ends it.
        longest_s: It is cut after so long, at most 30 s, which is what the model can hear at once.
        shortest_s: One with less sound than this is nothing.
        lead_s: Sound kept from before the first active frame, and behind the last.
        above_db: How much louder than the background speech is.
    """

    pause_s: float = 0.6
    longest_s: float = 15.0
    shortest_s: float = 0.25
    lead_s: float = 0.3
    above_db: float = 8.0

    def __post_init__(self) -> None:
        if not 4.0 <= self.longest_s <= 28.0:
            raise ConfigError(f"longest_s is {self.longest_s}; use 4 to 28 seconds")
        if not 0.1 <= self.lead_s <= self.pause_s <= 3.0:
            raise ConfigError(
                f"lead_s is {self.lead_s}, pause_s {self.pause_s}; use 0.1 <= lead_s <= pause_s <= 3 seconds"
            )


@dataclass(frozen=True)
class Utterance:
    """A piece of sound in which something was loud.

    Attributes:
        start_ns: Stamp of the first sample.
        end_ns: Stamp just behind the last active frame.
        samples: float32 (n,), mono, 16 kHz; ends a little behind ``end_ns``.
    """

    start_ns: int
    end_ns: int
    samples: Floats

    @property
    def seconds(self) -> float:
        """Length of the sound."""
        return len(self.samples) / SAMPLE_RATE


class Segmenter:
    """Takes sound as it comes and gives utterances as they end. One thread at a time.

    Holds at most ``longest_s`` of sound. Stamps that disagree with the samples by more than jitter end the
    utterance: words on both sides of a gap do not belong together.
    """

    def __init__(self, settings: UtteranceSettings | None = None) -> None:
        """Begin in silence; settings are the usual ones if ``None``."""
        self._settings = s = settings or UtteranceSettings()
        self._pause, self._lead = (round(seconds / _FRAME_S) for seconds in (s.pause_s, s.lead_s))
        self._longest, self._shortest = (round(seconds / _FRAME_S) for seconds in (s.longest_s, s.shortest_s))
        self.lost = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._rest = np.zeros(0, np.float32)
        self._next_ns: int | None = None
        # A room is taken for quiet until it has been heard for a while.
        self._minima = deque([SILENCE_DBFS], maxlen=_BLOCKS)
        self._block: list[float] = []
        self._forget_utterance()

    def _forget_utterance(self) -> None:
        self._frames: list[Floats] = []
        self._levels: list[float] = []
        self._active: list[bool] = []
        self._is_open = False

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return self._rest.nbytes + len(self._frames) * _FRAME * 4

    @property
    def is_open(self) -> bool:
        """Whether something is being said."""
        return self._is_open

    def push(self, stamp_ns: int, samples: Floats) -> list[Utterance]:
        """Take a chunk; return what ended in it.

        Args:
            stamp_ns: Of the first sample.
            samples: float32 (n,), mono, 16 kHz, full scale 1; what is not finite counts as silence.
        """
        ended = self._bridge(stamp_ns)
        if ended is None:
            return []
        clean = np.nan_to_num(np.asarray(samples, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        sound = np.concatenate([self._rest, clean])
        begin_ns = stamp_ns - to_duration_ns(len(self._rest), SAMPLE_RATE)
        frames = sound[: len(sound) // _FRAME * _FRAME].reshape(-1, _FRAME)
        self._rest = sound[frames.size :].copy()
        self._next_ns = stamp_ns + to_duration_ns(len(clean), SAMPLE_RATE)
        for i, (frame, level) in enumerate(zip(frames, _levels(frames), strict=True)):
            found = self._take(begin_ns + to_duration_ns((i + 1) * _FRAME, SAMPLE_RATE), frame, level)
            ended += [found] if found else []
        return ended

    def _bridge(self, stamp_ns: int) -> list[Utterance] | None:
        """Compare a chunk's stamp with what was expected; None for sound that was there already."""
        if self._next_ns is None or abs(off := stamp_ns - self._next_ns) <= _TOLERANCE_NS:
            return []
        if -JUMP_NS <= off < 0:
            return None
        self.lost += max(0, off) * SAMPLE_RATE // 10**9 if off < JUMP_NS else 0
        before = self._ended(self._next_ns) if self._is_open and off > 0 else None
        self._rest = np.zeros(0, np.float32)
        self._forget_utterance()
        return [before] if before else []

    def _take(self, end_ns: int, frame: Floats, level: float) -> Utterance | None:
        self._frames.append(frame.copy())  # else it would hold the whole chunk
        self._levels.append(level)
        self._active.append(level > self._threshold(level))
        if not self._is_open:
            self._is_open = len(self._active) >= _ONSET and all(self._active[-_ONSET:])
            self._keep_last(self._lead + _ONSET if not self._is_open else len(self._frames))
            return None
        if not any(self._active[-self._pause :]):
            ended = self._ended(end_ns)
            self._forget_utterance()
            return ended
        return self._cut(end_ns) if len(self._frames) >= self._longest else None

    def _threshold(self, level: float) -> float:
        """Level from which a frame is active, with this one in the background's memory."""
        self._block.append(level)
        floor = min(*self._minima, *self._block)
        if len(self._block) == _BLOCK:
            self._minima.append(min(self._block))
            self._block = []
        return max(SILENCE_DBFS, floor + self._settings.above_db)

    def _ended(self, now_ns: int) -> Utterance | None:
        """Return the utterance up to its last active frame and a little more, if it is one."""
        if sum(self._active) < self._shortest:
            return None
        last = len(self._active) - self._active[::-1].index(True)
        behind = len(self._frames) - last
        samples = np.concatenate(self._frames[: last + self._lead])
        start_ns = now_ns - to_duration_ns(len(self._frames) * _FRAME, SAMPLE_RATE)
        return Utterance(start_ns, now_ns - to_duration_ns(behind * _FRAME, SAMPLE_RATE), samples)

    def _cut(self, now_ns: int) -> Utterance | None:
        """Cut a long utterance at its quietest moment; what follows goes on as the next."""
        smooth = np.convolve(self._levels[-_SEARCH:], np.ones(5) / 5, "valid")
        behind = len(smooth) - int(smooth.argmin()) + 2
        rest = self._frames[-behind:], self._levels[-behind:], self._active[-behind:]
        self._keep_first(len(self._frames) - behind)
        ended = self._ended(now_ns - to_duration_ns(behind * _FRAME, SAMPLE_RATE))
        self._frames, self._levels, self._active = rest
        return ended

    def _keep_last(self, count: int) -> None:
        self._frames, self._levels = self._frames[-count:], self._levels[-count:]
        self._active = self._active[-count:]

    def _keep_first(self, count: int) -> None:
        self._frames, self._levels = self._frames[:count], self._levels[:count]
        self._active = self._active[:count]


def _levels(frames: Floats) -> list[float]:
    """Level of each frame (n, 320) without its mean, dB of full scale."""
    power = np.square(frames - frames.mean(axis=1, keepdims=True)).mean(axis=1) if len(frames) else frames
    return [float(level) for level in 10 * np.log10(np.maximum(power, 1e-12)).reshape(-1)]


def is_voice(samples: Floats) -> bool:
    """Whether a sound may be a voice: some of it has a pitch, and the pitch moves.

    Noise has no pitch, and that of a hum or a beep stays. Music passes, and so does what is too short to
    tell.
    """
    found = prosody.analyse(samples)
    if found.voiced * len(samples) / SAMPLE_RATE < _LEAST_VOICED_S:
        return False
    return found.pitch_range is None or found.pitch_range > _STEADY_ST
