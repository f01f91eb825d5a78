"""Sound to words: Whisper's encoder once, then its decoder token by token, taking the best every time.

NumPy and ONNX Runtime, no torch. The rules of decoding are those of openai/whisper (``decoding.py``): a text
begins without time stamps; marks of sounds and speakers, control tokens, and a space or an end as the first
token are never written; what a text is judged by afterwards (mean log probability, probability that nobody
speaks, compression ratio) is measured as there.

One thing is our own. Whisper learnt on 30 s: given the sound alone, it says a sentence again and again;
padded to 30 s, four seconds cost as much as thirty. So only the sound and a second of silence go through the
encoder, and behind them stands what the encoder made of 30 s of silence, once, at the same places. The
loudness of a sound is made equal first, because it decides what silence looks like beside it.
"""

from __future__ import annotations

import math
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emollama_ros.engines.onnx_runtime import import_onnxruntime
from emollama_ros.errors import EngineError, InputError
from emollama_ros.language.tokenizer import Tokenizer
from emollama_ros.preprocess.audio import SAMPLE_RATE, log_mel
from emollama_ros.speech.assemble import DECODER, ENCODER, TOKENIZER, SpeechLayout, require_speech

Floats = NDArray[np.float32]

#: Longest sound that Whisper knows places for, s.
LONGEST_S = 30.0
#: Silence put behind a sound and encoded with it, s; figures in docs/speech.md.
PAD_S = 1.0
#: Value of the loudest cell of a spectrogram, and of silence beside it: Whisper keeps 8 decades, in quarters.
_LOUDEST, _SILENT = 1.5, -0.5
#: Most that a spectrogram is raised, which is 40 dB; digital silence then stays silence.
_MOST_RAISED = 1.0
#: Frames of 10 ms in 30 s.
_FRAMES = 3000
#: Most tokens of a text, and of a second: nobody speaks faster, but a model that repeats itself does.
_MOST_TOKENS, _MOST_A_SECOND, _FEWEST = 224, 10, 16


class Cancelled(Exception):  # noqa: N818 - not an error: somebody wanted it
    """The text is no longer wanted."""


@dataclass(frozen=True)
class Heard:
    """A text, and how far it can be believed.

    Attributes:
        text: Words, stripped; may be empty.
        log_probability: Mean of the tokens and of the end, natural logarithm, at most 0.
        no_speech: Probability that nobody speaks, 0..1.
        compression: Bytes of the text over those of it compressed by zlib; above 2.4 it repeats itself.
        tokens: How many were written.
        is_whole: Whether it ended by itself, neither by the deadline nor by its length.
    """

    text: str
    log_probability: float
    no_speech: float
    compression: float
    tokens: int
    is_whole: bool


class Stop:
    """Ends a text that is being written, from any thread; whatever the model is computing is left undone."""

    def __init__(self) -> None:
        self._options = import_onnxruntime().RunOptions()

    @property
    def options(self) -> Any:
        """What every run of the graphs is given."""
        return self._options

    @property
    def is_set(self) -> bool:
        """Whether it was asked for."""
        return bool(self._options.terminate)

    def set(self) -> None:
        """Ask for it."""
        self._options.terminate = True


class Whisper:
    """The speech model. ``transcribe`` may be called from several threads."""

    def __init__(self, folder: Path, layout: SpeechLayout, threads: int = 1) -> None:
        """Load graphs and tokenizer from a verified folder; see `load`."""
        self.layout = layout
        self._rules = rules = layout.rules
        self._tokenizer = Tokenizer.load(folder / TOKENIZER)
        self._encoder, self._decoder = (_session(folder / name, threads) for name in (ENCODER, DECODER))
        self._outputs = [[o.name for o in s.get_outputs()] for s in (self._encoder, self._decoder)]
        shape = layout.shape
        size = (1, shape["heads"], 0, shape["width"] // shape["heads"])
        self._nothing = {
            f"past.{i}.{part}": np.zeros(size, np.float32)
            for i in range(shape["layers"])
            for part in ("key", "value")
        }
        silence = np.full((1, shape["mels"], _FRAMES), _SILENT, np.float32)
        self._silence = self._run(self._encoder, self._outputs[0], {"mel": silence}, Stop())
        self._never = np.zeros(shape["vocab"], np.bool_)
        # Behind the end come control tokens only; time stamps are among them.
        self._never[[*rules.suppressed, *range(rules.last_word + 1, shape["vocab"])]] = True
        self._never_first = self._never.copy()
        self._never_first[list(rules.suppressed_first)] = True

    @staticmethod
    def load(folder: Path | None = None, threads: int = 1) -> Whisper:
        """Verify and load a speech model.

        Args:
            folder: Where it was assembled; ``None`` for the usual place.
            threads: CPU threads.

        Raises:
            ConfigError: It is not assembled.
            BundleError: A file is damaged.
            EngineError: onnxruntime is missing or cannot run the graphs.
        """
        return Whisper(*require_speech(folder), threads=threads)

    def transcribe(
        self,
        samples: Floats,
        *,
        pad_s: float = PAD_S,
        joins_silence: bool = True,
        deadline_s: float = math.inf,
        stop: Stop | None = None,
    ) -> Heard:
        """Write down what is said.

        Args:
            samples: float32 (n,), mono, 16 kHz, full scale 1; at most 30 s.
            pad_s: Silence put behind it and encoded with it, as far as 30 s allow.
            joins_silence: Put silence that was encoded before behind that, up to 30 s; without, the model
                repeats itself.
            deadline_s: The text is ended after so long, s.
            stop: Asked during the whole computation.

        Raises:
            InputError: Longer than 30 s, or shorter than 10 ms.
            Cancelled: ``stop`` was set.
            EngineError: The engine failed.
        """
        until = time.monotonic() + deadline_s
        seconds = len(samples) / SAMPLE_RATE
        if not 0.01 <= seconds <= LONGEST_S:
            raise InputError(f"speech of {seconds:.2f} s; give 0.01 to {LONGEST_S:g} s")
        whole = np.pad(samples, (0, round(min(pad_s, LONGEST_S - seconds) * SAMPLE_RATE)))
        stop = stop or Stop()
        cross = self._encoded(log_mel(whole), stop)
        if joins_silence:
            cross = self._with_silence(cross)
        most = min(_MOST_TOKENS, _FEWEST + round(_MOST_A_SECOND * seconds))
        return self._write(cross, most, until, stop)

    def _encoded(self, mel: Floats, stop: Stop) -> dict[str, Floats]:
        """Encode a spectrogram (mels, T), made equally loud."""
        raised = mel + np.float32(min(_LOUDEST - float(mel.max()), _MOST_RAISED))
        equal = np.maximum(raised, np.float32(_SILENT))
        return self._run(self._encoder, self._outputs[0], {"mel": equal[None]}, stop)

    def _with_silence(self, cross: dict[str, Floats]) -> dict[str, Floats]:
        """Put encoded silence behind encoded sound, up to 30 s."""
        places = next(iter(cross.values())).shape[2]
        return {
            name: np.concatenate([sound, self._silence[name][:, :, places:]], axis=2)
            for name, sound in cross.items()
        }

    def _write(self, cross: dict[str, Floats], most: int, until: float, stop: Stop) -> Heard:
        state, logits = _Text(self, cross, stop), np.zeros(0, np.float32)
        no_speech = 0.0
        for token in self._rules.begin:
            logits = state.step(token)
            no_speech = no_speech or float(np.exp(_log_softmax(logits)[self._rules.no_speech]))
        written: list[int] = []
        total, never = 0.0, self._never_first
        while len(written) < most and time.monotonic() < until:
            chances = _log_softmax(np.where(never, -np.inf, logits))
            best = int(chances.argmax())
            total += float(chances[best])
            if best == self._rules.end:
                return self._heard(written, total, no_speech, is_whole=True)
            written.append(best)
            logits, never = state.step(best), self._never
        return self._heard(written, total, no_speech, is_whole=False)

    def _heard(self, tokens: list[int], total: float, no_speech: float, is_whole: bool) -> Heard:
        text = self._tokenizer.decode(tokens).strip()
        data = text.encode()
        compression = len(data) / len(zlib.compress(data)) if data else 0.0
        return Heard(text, total / (len(tokens) + 1), no_speech, compression, len(tokens), is_whole)

    def _run(self, session: Any, outputs: list[str], inputs: dict[str, Any], stop: Stop) -> dict[str, Floats]:
        try:
            values = session.run(outputs, inputs, stop.options)
        except Exception as error:  # onnxruntime raises its own classes, which share no useful base
            if stop.is_set:
                raise Cancelled from None
            raise EngineError(f"speech: inference failed: {error}") from error
        return dict(zip(outputs, values, strict=True))


class _Text:
    """The decoder's caches while one text is written."""

    def __init__(self, whisper: Whisper, cross: dict[str, Floats], stop: Stop) -> None:
        self._whisper, self._stop = whisper, stop
        self._inputs: dict[str, Any] = {**cross, **whisper._nothing}
        self._position = 0

    def step(self, token: int) -> Floats:
        """Append a token; return the logits (vocab,) of the next."""
        whisper, inputs = self._whisper, self._inputs
        inputs["token"], inputs["position"] = np.array([token]), np.array([self._position])
        found = whisper._run(whisper._decoder, whisper._outputs[1], inputs, self._stop)
        inputs.update((f"past{name[7:]}", value) for name, value in found.items() if name != "logits")
        self._position += 1
        return found["logits"][0]


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def _session(graph: Path, threads: int) -> Any:
    ort = import_onnxruntime()
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.enable_cpu_mem_arena = False  # it would keep the memory of the longest sound
    settings.log_severity_level = 3
    # Spinning workers would take the cores from the camera and the fast path.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(graph), settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise EngineError(f"{graph.name}: cannot be loaded: {error}") from error
