"""The fast path: a window in, an estimate out. It never waits for the language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from emollama_ros.adaptation import People
from emollama_ros.bundle import Bundle
from emollama_ros.cue_head import CueHead
from emollama_ros.cues import CueHistory, measure
from emollama_ros.encoders import Encoders, StageTimer, WindowFeatures
from emollama_ros.engines import EngineOptions
from emollama_ros.estimate import Cue, EmotionEstimate, Modality, Status
from emollama_ros.graphs import GraphLoader, load_graph
from emollama_ros.labels import UNKNOWN
from emollama_ros.manifest import Manifest
from emollama_ros.preprocess.text import hash_ngrams
from emollama_ros.prosody import Prosody, analyse
from emollama_ros.sharing import ByContent
from emollama_ros.streams import AudioSpan, FrameBatch, Window
from emollama_ros.usable import usable_modalities

Floats = NDArray[np.float32]

#: Keeps logarithms of probabilities finite.
TINY = 1e-9


class Perception:
    """Encoders, fusion and head of a bundle. Used from one thread at a time.

    Attributes:
        bundle: That was loaded.
        people: What is learnt of the people in front of the sources, which any thread may ask; switched off
            until its ``use`` says otherwise. ``None`` where the bundle cannot.
    """

    def __init__(
        self, bundle: Bundle, options: EngineOptions | None = None, load: GraphLoader = load_graph
    ) -> None:
        """Load the graphs; ``load`` makes an engine of each, which those who compare engines put in."""
        options = options or EngineOptions()
        self.bundle = bundle
        prior = bundle.manifest.calibration.adaptation
        self.people = People(prior, bundle.manifest.labels) if prior else None
        self._encoders = Encoders(bundle, options, load)
        self._fusion = load(bundle, "fusion", options)
        self._text = load(bundle, "text", options) if "text" in bundle.manifest.graphs else None
        self._cue_head = CueHead.load(bundle)
        self._histories: dict[int, CueHistory] = {}
        self._prosody = ByContent[Prosody](lambda sounds: [analyse(samples) for samples in sounds])

    @property
    def device(self) -> str:
        """Where the graphs run."""
        return self._encoders.device

    @property
    def labels(self) -> tuple[str, ...]:
        """The label set, in the order of the scores."""
        return self.bundle.manifest.labels

    def reset(self, source: int | None = None) -> None:
        """Forget what was seen before, of one source or of all, as after a clock jump or for a new clip."""
        self._encoders.reset(source)
        self._prosody.forget()
        if self.people is not None:
            self.people.forget(source)
        if source is None:
            self._histories.clear()
        else:
            self._histories.pop(source, None)

    def warm_up(self) -> None:
        """Run every graph once, so that the first window is as fast as the others."""
        settings = self.bundle.manifest.preprocessing
        noise = np.random.default_rng(0)
        frames = noise.integers(0, 255, (2, settings.frame_size, settings.frame_size, 3), np.uint8)
        samples = noise.normal(0, 0.1, 4 * settings.audio_rate).astype(np.float32)
        window = Window(
            0, 4_000_000_000, FrameBatch(np.array([1, 2]), frames), AudioSpan(0, samples, 1.0), "hello"
        )
        self.perceive_one(window)
        self.reset()

    def perceive_one(self, window: Window, sequence: int = 0) -> EmotionEstimate:
        """Estimate the emotion shown in a window of the only source; see ``perceive``."""
        return self.perceive([window], [sequence], [0])[0]

    def perceive(
        self, windows: Sequence[Window], sequences: Sequence[int], sources: Sequence[int]
    ) -> list[EmotionEstimate]:
        """Estimate the emotion shown in windows of several sources, with as few runs as possible.

        Args:
            windows: What was received between two stamps, at most one of each source; a missing modality is
                ``None`` or empty.
            sequences: Number of each window.
            sources: Whose each is. Frames already encoded, cues and what is learnt of a person are remembered
                a source.

        Returns:
            One estimate a window; its label is ``unknown`` when no modality could be used. ``stage_ms`` is of
            all windows together.
        """
        timer = StageTimer()
        found = [usable_modalities(window) for window in windows]
        usable = [used if self._text else used & ~Modality.TEXT for used, _ in found]
        features = self._encoders.encode(windows, usable, sources, timer)
        with timer.stage("fusion"):
            fused = self._fuse(features, [used & ~Modality.TEXT for used in usable])
            views = [
                self._views(one, window, window.transcript if Modality.TEXT in used else "", source)
                for one, window, used, source in zip(fused, windows, usable, sources, strict=True)
            ]
        with timer.stage("cues"):
            cues = self._measure(windows, sources, features, usable)
        self._learn(windows, sources, views)
        timer.ms["total"] = sum(timer.ms.values())
        return [
            replace(
                self._estimate(windows[i], usable[i], found[i][1], views[i], cues[i]),
                sequence=sequences[i],
                source=sources[i],
                stage_ms=timer.ms,
            )
            for i in range(len(windows))
        ]

    def _measure(
        self,
        windows: Sequence[Window],
        sources: Sequence[int],
        features: Sequence[WindowFeatures],
        usable: Sequence[Modality],
    ) -> list[tuple[Cue, ...]]:
        heard = {i: w.audio.samples for i, w in enumerate(windows) if w.audio is not None}
        prosodies = dict(zip(heard, self._prosody(list(heard.values())), strict=True))
        return [
            measure(
                window,
                self._histories.setdefault(source, CueHistory()),
                prosodies.get(i),
                self._cue_head.detect(features[i], prosodies.get(i), usable[i]),
            )
            for i, (window, source) in enumerate(zip(windows, sources, strict=True))
        ]

    def _learn(self, windows: Sequence[Window], sources: Sequence[int], views: Sequence[_Views]) -> None:
        """Let what was found count for the windows to come; where nothing is sure, nobody may be there."""
        least = self.bundle.manifest.calibration.uncertain_below
        for window, source, found in zip(windows, sources, views, strict=True):
            scores = found.joint[0]
            if self.people is not None and found.raw and scores.max() >= least:
                self.people.at(source).observe(window.start_ns, window.end_ns, found.raw, scores)

    def _estimate(
        self, window: Window, usable: Modality, faults: Sequence[str], views: _Views, cues: Sequence[Cue]
    ) -> EmotionEstimate:
        if not usable:
            return self._nothing(window, faults)
        scores, affect = views.joint
        best = int(np.argmax(scores))
        return EmotionEstimate(
            start_ns=window.start_ns,
            end_ns=window.end_ns,
            sequence=0,
            label=self.labels[best],
            labels=self.labels,
            scores=_as_floats(scores),
            valence=float(affect[0]),
            arousal=float(affect[1]),
            confidence=float(scores[best]),
            modalities=usable,
            views=views.single,
            cues=tuple(cue for cue in cues if cue.modality in usable),
            status=Status.DEGRADED if faults else Status.OK,
            status_text="; ".join(faults),
            soft_tokens=views.soft,
        )

    def _fuse(self, features: Sequence[WindowFeatures], seen: Sequence[Modality]) -> list[_Fused]:
        """Fuse every window as seen and heard, and each of its senses alone, in one run."""
        masks = [_masks(sensed) for sensed in seen]
        rows = [
            fusion_inputs(one, some, self.bundle.manifest)
            for one, some in zip(features, masks, strict=True)
            if some
        ]
        if not rows:
            return [_Fused() for _ in masks]
        out = self._fusion.run({name: np.concatenate([row[name] for row in rows]) for name in rows[0]})
        ends = np.cumsum([len(some) for some in masks])
        return [
            _Fused(some, {name: values[end - len(some) : end] for name, values in out.items()})
            for some, end in zip(masks, ends.tolist(), strict=True)
        ]

    def _views(self, fused: _Fused, window: Window, transcript: str, source: int) -> _Views:
        calibration = self.bundle.manifest.calibration
        single: dict[Modality, tuple[float, ...]] = {}
        joint, affect, soft = np.full(len(self.labels), 1 / len(self.labels)), np.zeros(2), None
        raw: Mapping[str, Floats] = {}
        if fused.masks:
            raw = {_name(mask): row for mask, row in zip(fused.masks, fused.out["logits"], strict=True)}
            allowed = self.people.at(source).corrected(window.end_ns, raw) if self.people else raw
            by_mask = {mask: allowed[_name(mask)] for mask in fused.masks}
            joint, affect = self._joint(fused.masks[0], by_mask), fused.out["affect"][0]
            if "soft_tokens" in fused.out:
                soft = fused.out["soft_tokens"][0][fused.out["soft_mask"][0].astype(bool)]
            for mask, logits in by_mask.items():
                if len(mask.names()) == 1:
                    tempered = (logits / calibration.temperature[_name(mask)]).astype(np.float32)
                    single[mask] = _as_floats(_softmax(tempered))
        if transcript:
            words = self._read(transcript, calibration.temperature["text"])
            single[Modality.TEXT] = _as_floats(words)
            joint = _pool(joint, words, calibration.text_weight) if fused.masks else words
        return _Views((joint, np.clip(affect, -1, 1)), single, soft, raw)

    def _joint(self, seen: Modality, logits: Mapping[Modality, Floats]) -> Floats:
        """What sound and picture say together.

        Where both are present the voice alone is pooled with the fused view, so that a face the network
        misreads cannot overrule a clear voice.
        """
        calibration = self.bundle.manifest.calibration
        joint = logits[seen]
        if calibration.voice_weight and Modality.AUDIO in logits and seen != Modality.AUDIO:
            voice = calibration.voice_weight * np.log(_softmax(logits[Modality.AUDIO]) + TINY)
            joint = voice + calibration.fusion_weight * np.log(_softmax(joint) + TINY)
        return _softmax(joint / calibration.temperature[_name(seen)])

    def _read(self, transcript: str, temperature: float) -> Floats:
        """What the words say on their own."""
        assert self._text is not None
        ids = hash_ngrams(transcript, self.bundle.manifest.preprocessing.text_buckets)
        return _softmax(self._text.run({"ngrams": ids})["logits"] / temperature)

    def _nothing(self, window: Window, faults: Sequence[str]) -> EmotionEstimate:
        return EmotionEstimate(
            start_ns=window.start_ns,
            end_ns=window.end_ns,
            sequence=0,
            label=UNKNOWN,
            labels=self.labels,
            scores=(0.0,) * len(self.labels),
            valence=0.0,
            arousal=0.0,
            confidence=0.0,
            modalities=Modality.NONE,
            status=Status.DEGRADED,
            status_text="; ".join(faults),
        )


@dataclass(frozen=True)
class _Fused:
    """What the fusion gave of one window: a row a mask, the first of all that is there."""

    masks: Sequence[Modality] = ()
    out: Mapping[str, Floats] = field(default_factory=dict)


def _masks(seen: Modality) -> list[Modality]:
    """Everything that is there together, then each of both senses alone."""
    alone = [sense for sense in (Modality.VIDEO, Modality.AUDIO) if sense in seen and sense != seen]
    return [seen, *alone] if seen else []


@dataclass(frozen=True)
class _Views:
    joint: tuple[Floats, Floats]
    single: Mapping[Modality, tuple[float, ...]]
    soft: Floats | None
    raw: Mapping[str, Floats]


def fusion_inputs(
    features: WindowFeatures, masks: Sequence[Modality], manifest: Manifest
) -> dict[str, Floats]:
    """Stack one row a mask. A missing modality is passed as zeros and masked inside the graph.

    Args:
        features: Of a window.
        masks: What each row may use.
        manifest: Its graph ``fusion`` says which features are wanted, in which shapes, and whether
            ``present`` has two columns (sound, pictures) or three (sound, one picture, many).
    """
    inputs = manifest.graphs["fusion"].inputs
    columns = int(inputs["present"].shape[-1])
    rows: dict[str, Floats] = {
        "present": np.array([present(features, m)[:columns] for m in masks], np.float32)
    }
    for name, spec in inputs.items():
        if name not in rows:
            value, shape = getattr(features, name), tuple(int(d) for d in spec.shape[1:])
            value = np.zeros(shape, np.float32) if value is None else value.reshape(shape)
            rows[name] = np.broadcast_to(value, (len(masks), *shape)).astype(np.float32)
    return rows


def present(features: WindowFeatures, mask: Modality) -> tuple[bool, bool, bool]:
    """Whether there is sound, one picture, many pictures, of what a mask lets be used."""
    sees = Modality.VIDEO in mask
    return Modality.AUDIO in mask, sees, sees and features.moves


def _name(mask: Modality) -> str:
    """Name of a view in a manifest's calibration."""
    return "+".join(mask.names())


def _softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max())
    return shifted / shifted.sum()


def _pool(seen: Floats, words: Floats, weight: float) -> Floats:
    """Logarithmic opinion pool (Genest & Zidek 1986): p proportional to seen * words ** weight."""
    return _softmax(np.log(seen + TINY) + weight * np.log(words + TINY))


def _as_floats(values: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
