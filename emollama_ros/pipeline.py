"""Streams in, estimates and reasonings out, at two rates. There is no ROS in here.

    push_* -> Intake (rings, clock) -> fast worker -> on_estimate
                                            |  mailbox of depth 1, newest wins
                                            +-> slow worker -> on_reasoning

The label never waits for the language model: the fast worker hands its estimate over and goes on. When
either worker is late, work is skipped, never queued, so that what is published is always about now.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import ConfigError, EmollamaError
from emollama_ros.estimate import EmotionEstimate, Modality, Reasoning, Status
from emollama_ros.preprocess.image import to_model_frame
from emollama_ros.streams import AudioRing, FrameRing, TranscriptRing, Window, WindowClock, cut_window

_LOG = logging.getLogger(__name__)


class Perceiver(Protocol):
    """What the fast worker needs; ``perception.Perception`` is one."""

    def perceive(self, window: Window, sequence: int) -> EmotionEstimate:
        """Estimate the emotion shown in a window."""

    def reset(self) -> None:
        """Forget what was seen before."""


class Explainer(Protocol):
    """What the slow worker needs; ``reasoning.Reasoner`` is one."""

    def explain(
        self,
        estimate: EmotionEstimate,
        transcript: str,
        *,
        on_text: Callable[[Reasoning], None],
        should_stop: Callable[[], bool],
    ) -> Reasoning:
        """Write why, calling ``on_text`` as the text grows."""


@dataclass(frozen=True)
class PipelineConfig:
    """Times and expectations.

    Attributes:
        window_s: Length of a window, 1..30 s.
        hop_s: Time between windows, 0.1..10 s.
        patience_s: How far a stream may lag behind the newest before a window goes on without it, s.
        frame_size: Side of the square frames of the model, pixels.
        frame_hz: Frames taken from the camera, per second.
        expected: Inputs that are connected; one of them missing from a window degrades the state.
        reasoning_interval_s: Least time between the starts of two reasonings, unless the label changes, s.
    """

    window_s: float = 4.0
    hop_s: float = 0.5
    patience_s: float = 0.3
    frame_size: int = 224
    frame_hz: float = 4.0
    expected: Modality = Modality.VIDEO | Modality.AUDIO
    reasoning_interval_s: float = 3.0

    def __post_init__(self) -> None:
        if not 1.0 <= self.window_s <= 30.0:
            raise ConfigError(f"window_s is {self.window_s}; use 1 to 30 seconds")
        if not 0.1 <= self.hop_s <= 10.0:
            raise ConfigError(f"hop_s is {self.hop_s}; use 0.1 to 10 seconds")


@dataclass(frozen=True)
class Health:
    """Counters since the start, for diagnostics.

    Attributes:
        windows: Estimates given.
        windows_skipped: Windows left out because the fast worker was late.
        reasonings: Reasonings finished.
        faults: Windows or reasonings that failed.
        restarts: Times the clock jumped and everything buffered was forgotten.
        frames_received: Pictures handed in, whether the model needed them or not.
        audio_samples: Samples handed in.
        audio_lost: Samples that stamps say are missing.
        last_error: Latest fault, in words; it stays when things work again.
        stage_ms: Stage times of the latest window.
    """

    windows: int = 0
    windows_skipped: int = 0
    reasonings: int = 0
    faults: int = 0
    restarts: int = 0
    frames_received: int = 0
    audio_samples: int = 0
    audio_lost: int = 0
    last_error: str = ""
    stage_ms: dict[str, float] = field(default_factory=dict)


class Intake:
    """Rings and window clock: what was received, and which windows are complete. Thread-safe."""

    def __init__(self, config: PipelineConfig) -> None:
        keep = config.window_s + 2 * config.patience_s + config.hop_s + 1.0
        self._config = config
        self._frames = FrameRing(keep, config.frame_hz, config.frame_size)
        self._audio = AudioRing(keep)
        self._transcripts = TranscriptRing(keep)
        self.clock = WindowClock(
            config.window_s, config.hop_s, config.patience_s, min_window_s=min(1.0, config.window_s)
        )
        self.frames_received = 0

    def push_frame(self, stamp_ns: int, rgb: NDArray[np.uint8]) -> bool:
        """Take a picture (h, w, 3). It is resized only if the model needs it.

        Returns:
            Whether the clock started again.
        """
        self.frames_received += 1
        if self._frames.wants(stamp_ns):
            self._frames.push(stamp_ns, to_model_frame(rgb, self._config.frame_size))
        return self.clock.advance("video", stamp_ns)

    def wants_frame(self, stamp_ns: int) -> bool:
        """Whether ``push_frame`` would keep this picture; if not, see ``skip_frame``."""
        return self._frames.wants(stamp_ns)

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

    @property
    def audio_samples(self) -> int:
        """Samples received."""
        return self._audio.totals.appended

    @property
    def audio_lost(self) -> int:
        """Samples that stamps say are missing."""
        return self._audio.totals.gap_samples


def note_missing(estimate: EmotionEstimate, window: Window, expected: Modality) -> EmotionEstimate:
    """Degrade an estimate whose window lacks an input that is connected, saying which."""
    present = (Modality.VIDEO if window.frames is not None else Modality.NONE) | (
        Modality.AUDIO if window.audio is not None else Modality.NONE
    )
    missing = (expected & ~present & ~Modality.TEXT).names()
    if not missing:
        return estimate
    said = [f"no {name} received in this window" for name in missing]
    return replace(
        estimate, status=Status.DEGRADED, status_text="; ".join(filter(None, [estimate.status_text, *said]))
    )


def describe_fault(what: str, error: Exception, known: str) -> str:
    """Say in words what failed, and log it unless it is what was already known.

    Unforeseen errors are named by their class and logged with a traceback. A fault that repeats with every
    window is logged once, not twice a second.
    """
    foreseen = isinstance(error, EmollamaError)
    text = str(error) if foreseen else f"{type(error).__name__}: {error}"
    if text != known:
        _LOG.error("%s failed: %s", what, text, exc_info=None if foreseen else error)
    return text


class EmotionPipeline:
    """Owns the two workers. ``push_*`` may be called from any thread and return at once."""

    def __init__(
        self,
        perception: Perceiver,
        reasoner: Explainer | None,
        config: PipelineConfig,
        on_estimate: Callable[[EmotionEstimate], None],
        on_reasoning: Callable[[Reasoning], None] = lambda _: None,
    ) -> None:
        """Make a stopped pipeline.

        Args:
            perception: Fast path; used by the fast worker alone.
            reasoner: Slow path, or ``None`` for labels only.
            config: Times and expectations.
            on_estimate: Called from the fast worker.
            on_reasoning: Called from the slow worker, several times a reasoning.
        """
        self._perception = perception
        self._config = config
        self._on_estimate = on_estimate
        self._intake = Intake(config)
        self._slow = SlowPath(reasoner, config, on_reasoning) if reasoner else None
        self._wake = threading.Condition()
        self._pending = False
        self._restarted = False
        self._stopping = False
        self._worker: threading.Thread | None = None
        self._health = Health()

    @property
    def intake(self) -> Intake:
        """Rings and clock; what a node asks before it converts a picture."""
        return self._intake

    def start(self) -> None:
        """Start the workers. Does nothing when they run."""
        if self._worker is not None:
            return
        self._stopping = False
        if self._slow:
            self._slow.start()
        self._worker = threading.Thread(target=self._run, name="emollama-fast", daemon=True)
        self._worker.start()

    def stop(self) -> None:
        """Stop the workers; the current window is finished, a reasoning under way is cancelled."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._slow:
            self._slow.stop()
        if self._worker is not None:
            self._worker.join()
            self._worker = None

    def push_frame(self, stamp_ns: int, rgb: NDArray[np.uint8]) -> None:
        """Hand in a picture, uint8 (h, w, 3), RGB."""
        self._notify(self._intake.push_frame(stamp_ns, rgb))

    def skip_frame(self, stamp_ns: int) -> None:
        """Hand in the stamp of a picture that ``intake.wants_frame`` declined."""
        self._notify(self._intake.skip_frame(stamp_ns))

    def push_audio(self, stamp_ns: int, samples: NDArray[np.float32]) -> None:
        """Hand in samples, float32 (n,), mono, 16 kHz, full scale 1; the stamp is the first sample's."""
        self._notify(self._intake.push_audio(stamp_ns, samples))

    def push_transcript(self, stamp_ns: int, text: str) -> None:
        """Hand in an utterance, stamped with its end."""
        self._intake.push_transcript(stamp_ns, text)

    def health(self) -> Health:
        """Counters as of now."""
        intake = self._intake
        with self._wake:
            health = self._health
        slow = self._slow
        return replace(
            health,
            reasonings=slow.finished if slow else 0,
            faults=health.faults + (slow.faults if slow else 0),
            last_error=health.last_error or (slow.last_error if slow else ""),
            restarts=intake.clock.restarts,
            frames_received=intake.frames_received,
            audio_samples=intake.audio_samples,
            audio_lost=intake.audio_lost,
        )

    def _notify(self, restarted: bool) -> None:
        with self._wake:
            self._pending = True
            self._restarted |= restarted
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._pending or self._stopping)
                if self._stopping:
                    return
                self._pending = False
                restarted, self._restarted = self._restarted, False
            try:
                self._step(restarted)
            except Exception as error:  # a worker that died would leave a robot that only seems to run
                self._count(fault=describe_fault("window", error, self._health.last_error))

    def _step(self, restarted: bool) -> None:
        if restarted:
            self._perception.reset()
        ends = self._intake.clock.due()
        if ends:
            self._count(skipped=len(ends) - 1)
            self._perceive(ends[-1])

    def _perceive(self, end_ns: int) -> None:
        window = self._intake.window(end_ns)
        estimate = self._perception.perceive(window, self._health.windows)
        estimate = note_missing(estimate, window, self._config.expected)
        self._count(windows=1, stage_ms=dict(estimate.stage_ms))
        self._on_estimate(estimate)
        if self._slow and estimate.modalities:
            self._slow.offer(estimate, window.transcript)

    def _count(
        self, windows: int = 0, skipped: int = 0, stage_ms: dict[str, float] | None = None, fault: str = ""
    ) -> None:
        with self._wake:
            was = self._health
            self._health = replace(
                was,
                windows=was.windows + windows,
                windows_skipped=was.windows_skipped + skipped,
                faults=was.faults + bool(fault),
                last_error=fault or was.last_error,
                stage_ms=was.stage_ms if stage_ms is None else stage_ms,
            )


class SlowPath:
    """The language model in its own thread, behind a mailbox of depth one."""

    def __init__(
        self, reasoner: Explainer, config: PipelineConfig, on_reasoning: Callable[[Reasoning], None]
    ) -> None:
        self._reasoner = reasoner
        self._interval_ns = round(config.reasoning_interval_s * 1e9)
        self._on_reasoning = on_reasoning
        self._wake = threading.Condition()
        self._mail: tuple[EmotionEstimate, str] | None = None
        self._last: tuple[int, str] | None = None
        self._stopping = False
        self._worker: threading.Thread | None = None
        self.finished = 0
        self.faults = 0
        self.last_error = ""

    def start(self) -> None:
        """Start the worker."""
        self._stopping = False
        self._worker = threading.Thread(target=self._run, name="emollama-slow", daemon=True)
        self._worker.start()

    def stop(self) -> None:
        """Cancel at the next token and stop."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._worker is not None:
            self._worker.join()
            self._worker = None
        self._mail = self._last = None

    def offer(self, estimate: EmotionEstimate, transcript: str) -> None:
        """Leave an estimate to be explained; one that was not begun yet is replaced."""
        with self._wake:
            if self._is_wanted(estimate):
                self._mail = (estimate, transcript)
                self._wake.notify()

    def _is_wanted(self, estimate: EmotionEstimate) -> bool:
        """Explain at once when the label changes, else not more often than the interval."""
        if self._last is None:
            return True
        begun_ns, label = self._last
        return estimate.label != label or not 0 <= estimate.end_ns - begun_ns < self._interval_ns

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._mail is not None or self._stopping)
                if self._stopping:
                    return
                assert self._mail is not None
                estimate, transcript = self._mail
                self._mail, self._last = None, (estimate.end_ns, estimate.label)
            self._explain(estimate, transcript)

    def _explain(self, estimate: EmotionEstimate, transcript: str) -> None:
        try:
            self._reasoner.explain(
                estimate, transcript, on_text=self._on_reasoning, should_stop=lambda: self._stopping
            )
        except Exception as error:  # as in the fast worker
            self.faults += 1
            self.last_error = describe_fault("reasoning", error, self.last_error)
        else:
            self.finished += 1
