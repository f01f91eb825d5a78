"""Rings and window clock of one source: what was received, and which windows are complete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emollama_ros import conditions
from emollama_ros.estimate import EmotionEstimate, Modality, Status
from emollama_ros.pipeline.config import MOST_PATIENCE_S, PipelineConfig
from emollama_ros.preprocess.image import to_model_frame
from emollama_ros.streams import AudioRing, FrameRing, Grid, TranscriptRing, Window, WindowClock, cut_window

#: A window is still whole when it is cut this long after its end: the longest patience, and work begun late.
_SLACK_S = MOST_PATIENCE_S + 1.0
_MOST_FRAME_BYTES = 128 * 2**20


class Intake:
    """What one source sent in the last seconds. Thread-safe; one thread hands in pictures."""

    def __init__(self, config: PipelineConfig, grid: Grid | None = None) -> None:
        """Take the memory of the rings.

        Args:
            config: Times and frames.
            grid: Where windows end, shared with other sources.
        """
        keep_s = config.window_s + _SLACK_S
        self._size, self._hz = config.frame_size, config.frame_hz
        self._frames = FrameRing(keep_s, config.frame_hz, config.frame_size, _MOST_FRAME_BYTES)
        self._audio = AudioRing(keep_s)
        self._transcripts = TranscriptRing(keep_s)
        self.clock = WindowClock(
            config.window_s,
            config.hop_s,
            config.patience_s,
            min_window_s=min(1.0, config.window_s),
            grid=grid,
        )
        self.frames_received = 0

    def wants_frame(self, stamp_ns: int) -> bool:
        """Whether ``push_frame`` would keep this picture; if not, see ``skip_frame``."""
        return self._frames.wants(stamp_ns)

    def push_frame(self, stamp_ns: int, rgb: NDArray[np.uint8]) -> bool:
        """Take a picture (h, w, 3). It is resized only if the model needs it.

        Returns:
            Whether the clock started again.
        """
        self.frames_received += 1
        if self._frames.wants(stamp_ns):
            self._frames.push(stamp_ns, to_model_frame(rgb, self._size))
        return self.clock.advance("video", stamp_ns)

    def skip_frame(self, stamp_ns: int) -> bool:
        """Note a picture that need not be converted. Returns whether the clock started again."""
        self.frames_received += 1
        return self.clock.advance("video", stamp_ns)

    def push_audio(self, stamp_ns: int, samples: NDArray[np.float32]) -> bool:
        """Take mono samples at 16 kHz; returns whether the clock started again."""
        self._audio.push(stamp_ns, samples)
        latest = self._audio.latest_ns
        return latest is not None and self.clock.advance("audio", latest, begin_ns=stamp_ns)

    def push_transcript(self, stamp_ns: int, text: str) -> None:
        """Take an utterance. Words never complete a window: nobody speaks all the time."""
        self._transcripts.push(stamp_ns, text)

    def window(self, end_ns: int) -> Window:
        """Cut the window that ends at ``end_ns``."""
        start, end = self.clock.span(end_ns)
        return cut_window(start, end, frames=self._frames, audio=self._audio, transcripts=self._transcripts)

    def forget(self) -> None:
        """Forget everything that was received, and what time it is; the counters go on."""
        for ring in (self._frames, self._audio, self._transcripts):
            ring.clear()
        self.clock.reset()

    def fill(self, window: Window) -> dict[str, float]:
        """How much of a window was there, 0..1, by stream."""
        frames = len(window.frames) if window.frames is not None else 0
        wanted = (window.end_ns - window.start_ns) / 1e9 * self._hz
        return {
            "video": min(1.0, frames / wanted),
            "audio": window.audio.valid if window.audio is not None else 0.0,
        }

    @property
    def frames_kept(self) -> int:
        """Pictures put into the ring."""
        return self._frames.totals.stored

    @property
    def audio_samples(self) -> int:
        """Samples received."""
        return self._audio.totals.appended

    @property
    def audio_lost(self) -> int:
        """Samples that stamps say are missing, and that did not come late."""
        return self._audio.totals.lost

    @property
    def buffered_s(self) -> Mapping[str, float]:
        """Time from the oldest to the newest datum, by stream."""
        return {"video": self._frames.kept_ns / 1e9, "audio": self._audio.kept_ns / 1e9}

    @property
    def nbytes(self) -> int:
        """Memory that the rings take."""
        return self._frames.nbytes + self._audio.nbytes


def note_missing(estimate: EmotionEstimate, window: Window, expected: Modality) -> EmotionEstimate:
    """Degrade an estimate whose window lacks an input that is connected, saying which."""
    present = (Modality.VIDEO if window.frames is not None else Modality.NONE) | (
        Modality.AUDIO if window.audio is not None else Modality.NONE
    )
    missing = (expected & ~present & ~Modality.TEXT).names()
    if not missing:
        return estimate
    said = [conditions.MISSING.say(modality=name).text for name in missing]
    return replace(
        estimate, status=Status.DEGRADED, status_text="; ".join(filter(None, [estimate.status_text, *said]))
    )
