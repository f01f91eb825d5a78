"""A microphone's sound in, what was said out: cut, recognised and judged in a thread of its own."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import EmollamaError
from emollama_ros.speech.judging import Doubts
from emollama_ros.speech.utterances import Segmenter, Utterance, UtteranceSettings, is_voice
from emollama_ros.speech.whisper import Cancelled, Stop, Whisper

_LOG = logging.getLogger(__name__)

#: An utterance that is not written down after so long is given up, s.
DEADLINE_S = 8.0
#: Steps of niceness by which labels and reasonings go first where the processor is short.
_NICER = 5


@dataclass(frozen=True)
class SpeechHealth:
    """What became of the sound since the start, for diagnostics.

    Attributes:
        utterances: Pieces of sound that ended.
        texts: Of these, what was written down and handed on.
        dropped: Left out because a newer one came before they were begun.
        left_out: Left out for other reasons, by reason: ``no voice``, or one of ``judging.REASONS``.
        faults: That failed.
        last_error: Latest fault, in words.
        last_ms: How long the latest text took.
        busy_ms: How long the present one has been worked on; 0 for none.
        is_speaking: Whether an utterance is under way.
        lost_samples: That stamps say are missing.
        buffered_bytes: Sound held.
    """

    utterances: int = 0
    texts: int = 0
    dropped: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    faults: int = 0
    last_error: str = ""
    last_ms: float = 0.0
    busy_ms: float = 0.0
    is_speaking: bool = False
    lost_samples: int = 0
    buffered_bytes: int = 0


def _loaded(model: Whisper | Path | str | None, threads: int) -> Whisper:
    if isinstance(model, Whisper):
        return model
    return Whisper.load(Path(model) if model else None, threads)


class SpeechToText:
    """Turns sound into texts. ``push`` may be called from any thread and returns at once.

    One utterance is worked on and one waits; when another ends, it takes the place of the one that waits.
    What is handed on are words that somebody said, data like any transcript, whatever they ask for.
    """

    def __init__(
        self,
        model: Whisper | Path | str | None,
        threads: int,
        on_text: Callable[[int, str], None],
        settings: UtteranceSettings | None = None,
        doubts: Doubts | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """Load the model and stay silent until `start`.

        Args:
            model: Folder of the assembled speech model; ``None`` or empty for the usual one; or a loaded
                model, which several may share.
            threads: CPU threads of a model that is loaded here.
            on_text: Called from the worker with the stamp of the end of the utterance, and the text.
            settings: What counts as an utterance.
            doubts: Which texts are left out.
            deadline_s: An utterance that is not written down after so long is given up.

        Raises:
            ConfigError: The speech model is not assembled; says how that is done.
            BundleError: A file of it is damaged.
            EngineError: onnxruntime is missing.
        """
        self.model = (
            model if isinstance(model, Whisper) else Whisper.load(Path(model) if model else None, threads)
        )
        self._on_text = on_text
        self._doubts = doubts or Doubts()
        self._deadline_s = deadline_s
        self._wake = threading.Condition()
        self._segmenter = Segmenter(settings)
        self._mail: Utterance | None = None
        self._stop: Stop | None = None
        self._worker: threading.Thread | None = None
        self._counts: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._last_error, self._last_ms, self._begun = "", 0.0, 0.0

    def start(self) -> None:
        """Listen. Does nothing when it does already."""
        if self._worker is not None:
            return
        stop = Stop()
        self._worker = threading.Thread(target=self._run, args=(stop,), name="emollama-speech", daemon=True)
        with self._wake:
            self._stop = stop
        self._worker.start()

    def stop(self) -> None:
        """Stop at once, within the computation of a text, and forget all sound; no text comes after it."""
        with self._wake:
            if self._stop is not None:
                self._stop.set()
            self._stop = self._mail = None
            self._segmenter.reset()
            self._wake.notify()
        if self._worker is not None:
            self._worker.join()
            self._worker = None

    def push(self, stamp_ns: int, samples: NDArray[np.float32]) -> None:
        """Hand in sound; when not listening it is left alone.

        Args:
            stamp_ns: Of the first sample.
            samples: float32 (n,), mono, 16 kHz, full scale 1.
        """
        with self._wake:
            if self._stop is None:
                return
            for utterance in self._segmenter.push(stamp_ns, samples):
                self._counts["utterances"] += 1
                self._counts["dropped"] += self._mail is not None
                self._mail = utterance
                self._wake.notify()

    def health(self) -> SpeechHealth:
        """Counters as of now."""
        with self._wake:
            waiting = self._mail.samples.nbytes if self._mail else 0
            return SpeechHealth(
                **{name: self._counts[name] for name in ("utterances", "texts", "dropped", "faults")},
                left_out=dict(self._left_out),
                last_error=self._last_error,
                last_ms=self._last_ms,
                busy_ms=(time.monotonic() - self._begun) * 1e3 if self._begun else 0.0,
                is_speaking=self._segmenter.is_open,
                lost_samples=self._segmenter.lost,
                buffered_bytes=self._segmenter.nbytes + waiting,
            )

    def _run(self, stop: Stop) -> None:
        _let_others_go_first()
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._mail is not None or stop.is_set)
                if stop.is_set:
                    return
                assert self._mail is not None
                utterance, self._mail = self._mail, None
                self._begun = time.monotonic()
            try:
                self._listen_to(utterance, stop)
            except Cancelled:
                pass
            except Exception as error:  # a worker that died would leave a robot that only seems to listen
                self._fail(error)
            finally:
                with self._wake:
                    self._last_ms, self._begun = (time.monotonic() - self._begun) * 1e3, 0.0

    def _listen_to(self, utterance: Utterance, stop: Stop) -> None:
        if not is_voice(utterance.samples):
            self._leave_out("no voice")
            return
        heard = self.model.transcribe(utterance.samples, deadline_s=self._deadline_s, stop=stop)
        if why_not := self._doubts.why_not(heard):
            self._leave_out(why_not)
            return
        if stop.is_set:
            raise Cancelled
        with self._wake:
            self._counts["texts"] += 1
        self._on_text(utterance.end_ns, heard.text)

    def _leave_out(self, reason: str) -> None:
        with self._wake:
            self._left_out[reason] += 1

    def _fail(self, error: Exception) -> None:
        foreseen = isinstance(error, EmollamaError)
        text = str(error) if foreseen else f"{type(error).__name__}: {error}"
        with self._wake:
            known, self._last_error = self._last_error, text
            self._counts["faults"] += 1
        if text != known:
            _LOG.error("speech-to-text failed: %s", text, exc_info=None if foreseen else error)


def _let_others_go_first() -> None:
    """Lower the priority of this thread; a model on one thread computes in it."""
    if sys.platform == "linux":  # elsewhere a priority is the whole process's
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + _NICER))
