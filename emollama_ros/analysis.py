"""A media file through the robot's own intake, perception and reasoner, without ROS and without threads.

Nothing is in a hurry here, so no window is skipped: events come in time order, and before the first event
at or after a window's end is taken, that window is perceived. What it holds is therefore exactly what a
robot that loses nothing would have had.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from emollama_ros.bundle import Bundle
from emollama_ros.engines import EngineOptions
from emollama_ros.estimate import EmotionEstimate, Modality, Reasoning, Status
from emollama_ros.labels import UNCERTAIN, UNKNOWN
from emollama_ros.pipeline import Explainer, Intake, Perceiver, PipelineConfig, note_missing
from emollama_ros.preprocess.audio import SAMPLE_RATE
from emollama_ros.streams import MediaEvent, MediaInfo, VideoEvent, read_media
from emollama_ros.uncertainty import NEVER, Doubt, Uncertainty, uncertainty_of

_S = 1_000_000_000
#: A last window that would add less than this to the one before it says nothing new.
_LEAST_NEW_NS = _S // 20
#: A hole of this length ends a scene: the windows before it are finished, and the clock begins anew.
_PAUSE_NS = 10 * _S
#: Most kinds of faults named in a summary.
_FAULTS_NAMED = 4


@dataclass(frozen=True)
class AnalysisOptions:
    """How to analyse.

    Attributes:
        bundle: Model bundle; ``None`` for the default one.
        engine: One of ``engines.base.KINDS``.
        threads: CPU threads, >= 1.
        window_s: Length of a window, 1..30 s.
        hop_s: Time between windows, 0.1..10 s.
        reasoning: Whether to say why in words.
        least_confidence: Probability below which a label is `uncertain`, up to 1; 0 = never, negative = what
            the bundle says.
    """

    bundle: Path | None = None
    engine: str = "auto"
    threads: int = 2
    window_s: float = 4.0
    hop_s: float = 0.5
    reasoning: bool = True
    least_confidence: float = -1.0


@dataclass(frozen=True)
class Analysis:
    """What was perceived in a clip.

    Attributes:
        clip: The path as it was given.
        duration_s: End of the last datum that was read, s.
        label: The label of the clip, ``uncertain`` when none is likely enough, ``unknown`` when nothing could
            be perceived.
        scores: Probability of each label: the weighted mean over the windows (see ``weights``); all 0 when
            nothing could be perceived.
        valence: Weighted mean, -1 to 1.
        arousal: Weighted mean, -1 to 1.
        modalities: Inputs that were used in at least one window.
        reasoning: Why, in words; empty without a language model.
        windows: Every window, oldest first.
        timing: Where the time went, milliseconds (``realtime_factor``: duration / time, above 1 is faster).
        status: Whether every window was perceived from all that the file has.
        status_text: In words, what was not.
        warnings: What a user should know about the file or the bundle.
    """

    clip: str
    duration_s: float
    label: str
    scores: Mapping[str, float]
    valence: float
    arousal: float
    modalities: Modality
    reasoning: str
    windows: tuple[EmotionEstimate, ...]
    timing: Mapping[str, Any]
    status: Status = Status.OK
    status_text: str = ""
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the documented JSON object; the README describes its fields."""
        return {
            "clip": self.clip,
            "duration_s": round(self.duration_s, 3),
            "label": self.label,
            "scores": _rounded(self.scores),
            "valence": round(self.valence, 6),
            "arousal": round(self.arousal, 6),
            "modalities": list(self.modalities.names()),
            "reasoning": self.reasoning,
            "windows": [_window_json(w) for w in self.windows],
            "timing": self.timing,
            "status": self.status.name.lower(),
            "status_text": self.status_text,
            "warnings": list(self.warnings),
        }


def _window_json(window: EmotionEstimate) -> dict[str, Any]:
    return {
        "start_s": round(window.start_ns / _S, 3),
        "end_s": round(window.end_ns / _S, 3),
        "label": window.label,
        "scores": _rounded(dict(zip(window.labels, window.scores, strict=True))),
        "modalities": list(window.modalities.names()),
    }


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    return {label: round(float(p), 6) for label, p in scores.items()}


class Analyzer:
    """Loaded models that analyse one clip after the other. Used from one thread at a time."""

    def __init__(
        self,
        perceiver: Perceiver,
        explainer: Explainer | None,
        config: PipelineConfig,
        warnings: Sequence[str] = (),
        load_ms: float = 0.0,
    ) -> None:
        """Take loaded models.

        Args:
            perceiver: Gives estimates.
            explainer: Says why, or ``None``.
            config: Windows and frames; ``expected`` is replaced by what each file has.
            warnings: Said with every clip.
            load_ms: How long loading took.
        """
        self._perceiver = perceiver
        self._explainer = explainer
        self._config = config
        self._warnings = tuple(warnings)
        self._load_ms = load_ms

    @staticmethod
    def load(options: AnalysisOptions | None = None) -> Analyzer:
        """Load a bundle.

        Raises:
            EmollamaError: An option is out of range, the bundle is missing or damaged, or the engine
                cannot run. A language model that cannot be loaded only costs the reasoning (a warning).
        """
        from emollama_ros.reasoning import load_reasoner

        options = options or AnalysisOptions()
        began = time.perf_counter()
        engine = EngineOptions(kind=options.engine, threads=options.threads)
        config = PipelineConfig(window_s=options.window_s, hop_s=options.hop_s)
        bundle = Bundle.load(options.bundle)
        preprocessing = bundle.manifest.preprocessing
        config = replace(
            config,
            frame_size=preprocessing.frame_size,
            frame_hz=preprocessing.frame_hz,
            uncertainty=uncertainty_of(options.least_confidence, bundle.manifest.calibration.uncertain_below),
        )
        perceiver = _load_perception(bundle, engine)
        explainer, warnings = load_reasoner(bundle, options.threads) if options.reasoning else (None, ())
        return Analyzer(perceiver, explainer, config, warnings, (time.perf_counter() - began) * 1e3)

    def analyze(self, clip: Path | str, transcript: str = "") -> Analysis:
        """Analyse a clip.

        Args:
            clip: A video or audio file.
            transcript: What is said in it, taken as said over the whole clip.

        Raises:
            InputError: The file is missing, not media, or nothing in it can be decoded.
            EngineError: The engine failed.
        """
        self._perceiver.reset()
        watch = _Watch()
        with watch.stage("total"):
            reader = read_media(clip)
            config = replace(self._config, expected=_contents(reader.info))
            walk = _Walk(self._perceiver, config, transcript, watch, _frame_ns(reader.info))
            with reader:
                for event in reader:
                    walk.take(event)
            walk.finish()
            summary = summarise(walk.windows, config.hop_s, config.uncertainty)
            reasoning = self._explain(walk.windows, summary, transcript, watch)
        report = reader.report
        return Analysis(
            clip=str(clip),
            duration_s=walk.end_ns / _S,
            reasoning=reasoning.text if reasoning else "",
            windows=tuple(walk.windows),
            timing=self._timing(watch, walk, reasoning),
            warnings=((f"{clip}: {report.problem}",) if report.problem else ()) + self._warnings,
            **vars(summary),
        )

    def _explain(
        self, windows: Sequence[EmotionEstimate], summary: Summary, transcript: str, watch: _Watch
    ) -> Reasoning | None:
        if self._explainer is None or summary.label == UNKNOWN:
            return None
        with watch.stage("reasoning"):
            return self._explainer.explain(
                representative(windows, summary.label),
                transcript,
                on_text=lambda _: None,
                should_stop=lambda: False,
            )

    def _timing(self, watch: _Watch, walk: _Walk, reasoning: Reasoning | None) -> dict[str, Any]:
        ms = watch.ms
        stages = sorted({name for w in walk.windows for name in w.stage_ms})
        means = {n: float(np.mean([w.stage_ms[n] for w in walk.windows if n in w.stage_ms])) for n in stages}
        times = {
            "load_ms": self._load_ms,
            "decode_ms": ms["total"] - ms.get("perceive", 0.0) - ms.get("reasoning", 0.0),
            "perceive_ms": ms.get("perceive", 0.0),
            "reasoning_ms": ms.get("reasoning", 0.0),
            "total_ms": ms["total"],
            "realtime_factor": walk.end_ns / 1e6 / max(ms["total"], 1e-3),
        }
        return {
            **{name: round(value, 3) for name, value in times.items()},
            "reasoning_tokens": reasoning.tokens if reasoning else 0,
            "window_stages_ms": {name: round(value, 3) for name, value in means.items()},
        }


def _load_perception(bundle: Bundle, engine: EngineOptions) -> Perceiver:
    from emollama_ros.perception import Perception

    perception = Perception(bundle, engine)
    perception.warm_up()
    return perception


def _contents(info: MediaInfo) -> Modality:
    video = Modality.VIDEO if info.has_video else Modality.NONE
    return video | (Modality.AUDIO if info.has_audio else Modality.NONE)


def _frame_ns(info: MediaInfo) -> int:
    """How long a picture is shown; a still picture, or one of a file that does not say, for 1/25 s."""
    return round(_S / info.fps) if info.fps >= 1.0 else _S // 25


class _Watch:
    """Sums up the milliseconds of named stages."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.ms[name] = self.ms.get(name, 0.0) + (time.perf_counter() - began) * 1e3


@dataclass
class _Walk:
    """One clip on its way through the intake."""

    perceiver: Perceiver
    config: PipelineConfig
    transcript: str
    watch: _Watch
    frame_ns: int
    windows: list[EmotionEstimate] = field(default_factory=list)
    end_ns: int = 0
    _last_ns: int | None = None

    def __post_init__(self) -> None:
        self._intake = Intake(self.config)
        self._doubt = Doubt(self.config.uncertainty)

    def take(self, event: MediaEvent) -> None:
        """Perceive every window that ends before an event, then take the event."""
        if event.stamp_ns > self.end_ns + _PAUSE_NS and self._intake.clock.first_ns is not None:
            self.finish()
            self._intake, self._last_ns = Intake(self.config), None
            self.perceiver.reset()
            self._doubt.reset()
        self._complete(event.stamp_ns)
        if isinstance(event, VideoEvent):
            self._intake.push_frame(event.stamp_ns, event.rgb)
            end_ns = event.stamp_ns + self.frame_ns
        else:
            self._intake.push_audio(event.stamp_ns, event.samples)
            end_ns = event.stamp_ns + len(event.samples) * _S // SAMPLE_RATE
        self.end_ns = max(self.end_ns, end_ns)

    def finish(self) -> None:
        """Perceive what the end of the file completes, and a last window up to its very end."""
        self._complete(self.end_ns)
        if self._last_ns is None or self.end_ns - self._last_ns >= _LEAST_NEW_NS:
            self._perceive(self.end_ns)

    def _complete(self, stamp_ns: int) -> None:
        """Events come in order, so every stream of the file is complete up to the next event."""
        for name in self.config.expected.names():
            self._intake.clock.advance(name, stamp_ns)
        for end_ns in self._intake.clock.due():
            self._perceive(end_ns)

    def _perceive(self, end_ns: int) -> None:
        window = replace(self._intake.window(end_ns), transcript=" ".join(self.transcript.split()))
        with self.watch.stage("perceive"):
            (estimate,) = self.perceiver.perceive([window], [len(self.windows)], [0])
        self.windows.append(note_missing(self._doubt.update(estimate), window, self.config.expected))
        self._last_ns = end_ns


@dataclass(frozen=True)
class Summary:
    """What the windows of a clip say together; the fields are those of ``Analysis``."""

    label: str
    scores: Mapping[str, float]
    valence: float
    arousal: float
    modalities: Modality
    status: Status
    status_text: str


def weights(windows: Sequence[EmotionEstimate], hop_s: float) -> np.ndarray:
    """Return the weight of each window in the mean of its clip.

    The weight is the window's length in seconds (the short windows at the beginning know less), times the
    share of a hop by which it goes beyond the one before (the last window of a file nearly repeats the one
    before it). Windows in which nothing was perceived weigh nothing.
    """
    ends = [w.end_ns for w in windows]
    new_s = np.array([windows[0].end_ns - windows[0].start_ns, *np.diff(ends)]) / _S
    lengths_s = np.array([(w.end_ns - w.start_ns) / _S for w in windows])
    perceived = np.array([bool(w.modalities) for w in windows])
    weight: np.ndarray = lengths_s * np.minimum(1.0, new_s / hop_s) * perceived
    return weight


def summarise(windows: Sequence[EmotionEstimate], hop_s: float, uncertainty: Uncertainty = NEVER) -> Summary:
    """Summarise the windows of a clip, at least one.

    Args:
        windows: Oldest first.
        hop_s: Time between them.
        uncertainty: When the clip's label is not likely enough to be told.
    """
    weight = weights(windows, hop_s)
    labels, used = windows[0].labels, Modality.NONE
    for window in windows:
        used |= window.modalities
    status = max(w.status for w in windows)
    if not weight.any():
        nothing = dict.fromkeys(labels, 0.0)
        return Summary(UNKNOWN, nothing, 0.0, 0.0, used, Status.DEGRADED, _faults(windows))
    table = np.array([(*w.scores, w.valence, w.arousal) for w in windows])
    *scores, valence, arousal = (weight / weight.sum() @ table).tolist()
    best = labels[int(np.argmax(scores))] if max(scores) >= uncertainty.least_confidence else UNCERTAIN
    named = dict(zip(labels, scores, strict=True))
    return Summary(best, named, valence, arousal, used, status, _faults(windows))


def _faults(windows: Sequence[EmotionEstimate]) -> str:
    """Say what was wrong, the most frequent first, and in how many windows where not in all."""
    counts = Counter(part for w in windows for part in w.status_text.split("; ") if part)
    total = len(windows)
    return "; ".join(
        text if count == total else f"{text} (in {count} of {total} windows)"
        for text, count in counts.most_common(_FAULTS_NAMED)
    )


def representative(windows: Sequence[EmotionEstimate], label: str) -> EmotionEstimate:
    """Return the window that shows the label of the clip most clearly, bearing that label.

    A clip may be called by what is never the first guess of any window and always the second; the
    reasoning explains what is published. Of an uncertain clip it is the window that is least sure.
    """
    perceived = [w for w in windows if w.modalities]
    if label == UNCERTAIN:
        return replace(min(perceived, key=lambda w: w.confidence), label=label)
    fitting = [w for w in perceived if w.label == label] or perceived
    index = fitting[0].labels.index(label)
    best = max(fitting, key=lambda w: w.scores[index])
    return replace(best, label=label, confidence=best.scores[index])
