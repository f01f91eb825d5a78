"""One source of a pipeline: where its input goes in, and its windows come out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emollama_ros.estimate import EmotionEstimate
from emollama_ros.pipeline.config import PipelineConfig
from emollama_ros.pipeline.health import FeedHealth
from emollama_ros.pipeline.intake import Intake, note_missing
from emollama_ros.smoothing import Smoother
from emollama_ros.streams import Grid, Window
from emollama_ros.uncertainty import Doubt


@dataclass(frozen=True)
class Turn:
    """A complete window whose turn it is.

    Attributes:
        feed: Whose it is.
        window: What was received.
        sequence: Number of its estimate, of this source, from 0.
    """

    feed: Feed
    window: Window
    sequence: int


class Feed:
    """The input of one source. ``push_*`` and ``skip_frame`` return at once.

    One thread hands in pictures; everything else may come from any thread.
    """

    def __init__(
        self, source: int, config: PipelineConfig, notify: Callable[[], None], grid: Grid | None = None
    ) -> None:
        """Make an empty feed.

        Args:
            source: Its index in the pipeline.
            config: Times and expectations.
            notify: Called when a window is complete, or the clock began anew.
            grid: Where windows end, shared with other sources, so that they are perceived together.
        """
        self.source = source
        self._config = config
        self._notify = notify
        self._intake = Intake(config, grid)
        self._smoother, self._doubt = Smoother(config.smoothing), Doubt(config.uncertainty)
        self._lock = threading.Lock()
        self._restarted = False
        self._due_since_ns: int | None = None
        self._windows = self._skipped = self._faults = 0
        self._last_error = ""
        self._fill: Mapping[str, float] = {}

    @property
    def intake(self) -> Intake:
        """Rings and clock."""
        return self._intake

    @property
    def frame_size(self) -> int:
        """Side of the pictures that are kept, pixels; one of that size is taken as it is."""
        return self._config.frame_size

    def wants_frame(self, stamp_ns: int) -> bool:
        """Whether a picture would be kept; ask before converting one, and call ``skip_frame`` if not."""
        return self._intake.wants_frame(stamp_ns)

    def push_frame(self, stamp_ns: int, rgb: NDArray[np.uint8]) -> None:
        """Hand in a picture, uint8 (h, w, 3), RGB, of any size."""
        self._received(self._intake.push_frame(stamp_ns, rgb))

    def skip_frame(self, stamp_ns: int) -> None:
        """Hand in the stamp of a picture that ``wants_frame`` declined."""
        self._received(self._intake.skip_frame(stamp_ns))

    def push_audio(self, stamp_ns: int, samples: NDArray[np.float32]) -> None:
        """Hand in samples, float32 (n,), mono, 16 kHz, full scale 1; the stamp is the first sample's."""
        self._received(self._intake.push_audio(stamp_ns, samples))

    def push_transcript(self, stamp_ns: int, text: str) -> None:
        """Hand in an utterance, stamped with its end."""
        self._intake.push_transcript(stamp_ns, text)

    def health(self) -> FeedHealth:
        """Counters as of now."""
        intake = self._intake
        with self._lock:
            counted = (self._windows, self._skipped, self._faults, self._last_error)
            fill = self._fill
        return FeedHealth(
            *counted,
            restarts=intake.clock.restarts,
            frames_received=intake.frames_received,
            frames_kept=intake.frames_kept,
            audio_samples=intake.audio_samples,
            audio_lost=intake.audio_lost,
            fill=fill,
            buffered_s=intake.buffered_s,
            buffered_bytes=intake.nbytes,
        )

    def reconfigure(self, config: PipelineConfig) -> None:
        """Take other times and expectations; the buffered input stays."""
        self._intake.clock.retime(config.hop_s, config.patience_s)
        self._smoother.settings, self._doubt.settings = config.smoothing, config.uncertainty
        self._config = config
        self._received(False)

    def forget(self) -> None:
        """Forget what was received and how labels were going; the counters go on."""
        self._intake.forget()
        self._forget_labels()
        with self._lock:
            self._due_since_ns = None

    @property
    def waiting_ms(self) -> float:
        """How long a complete window has waited to be begun, 0 when there is none."""
        since = self._due_since_ns
        return 0.0 if since is None else (time.monotonic_ns() - since) / 1e6

    def _received(self, restarted: bool) -> None:
        with self._lock:
            self._restarted |= restarted
            due = self._intake.clock.is_due
            if due and self._due_since_ns is None:
                self._due_since_ns = time.monotonic_ns()
        if due or restarted:
            self._notify()

    # The fast worker's side.

    def take_restart(self) -> bool:
        """Whether the clock began anew since the last call, so that what was remembered is obsolete."""
        with self._lock:
            restarted, self._restarted = self._restarted, False
        if restarted:
            self._forget_labels()
        return restarted

    def take_turn(self) -> Turn | None:
        """Cut the newest window that is complete, if there is one; older ones are skipped and counted."""
        with self._lock:
            self._due_since_ns = None
            ends = self._intake.clock.due()
        if not ends:
            return None
        window = self._intake.window(ends[-1])
        with self._lock:
            self._skipped += len(ends) - 1
            self._fill = self._intake.fill(window)
            return Turn(self, window, self._windows)

    def complete(self, estimate: EmotionEstimate, window: Window) -> EmotionEstimate:
        """Count an estimate, smooth it, withhold its label if it is too unlikely, say what is missing."""
        with self._lock:
            self._windows += 1
        told = self._doubt.update(self._smoother.update(estimate))
        return note_missing(told, window, self._config.expected)

    def _forget_labels(self) -> None:
        self._smoother.reset()
        self._doubt.reset()

    def fail(self, error: str) -> None:
        """Count a window that failed."""
        with self._lock:
            self._faults += 1
            self._last_error = error
