"""Detectors of cues (``emollama_ros.cue_head``), fitted on generated people of whom everything is known.

One L2-regularised logistic regression a cue, on features that the bundle's own encoders give. A cue that
the synthesis says can be noticed is a positive; a clip in which it is not true, with a tolerance, a negative;
what lies between (too small, too faint, too near the bound) is left out. Strength of regularisation and
calibration (Platt 1999) come from people that a fit has not seen.

Generated voices are fast and clear beside recorded ones, so that a detector which knows nothing else calls
every recorded voice slow. Neutral speech of real people says what is usual: it is a negative for every trait
of the voice that is told against the usual.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold
from tqdm import tqdm

from emollama_ros.bundle import Bundle
from emollama_ros.cue_head import CueHead, Detectors, audio_features, statistics
from emollama_ros.cues import SURE
from emollama_ros.encoders import Encoders, StageTimer, WindowFeatures
from emollama_ros.engines import EngineOptions
from emollama_ros.errors import InputError
from emollama_ros.estimate import Modality
from emollama_ros.language.phrases import Claim
from emollama_ros.preprocess.image import to_model_frame
from emollama_ros.prosody import Prosody, analyse
from emollama_ros.streams import AudioSpan, FrameBatch, Window
from emollama_ros.usable import usable_modalities
from training.evaluation.reasoning_claims import CUE_OF, conditions, facts_of, modality_of
from training.mmeverse.clips import Clip, read_clips
from training.mmeverse.decoding import RATE, DecodedClip, decode_clip
from training.mmeverse.schema import Media
from training.synthesis.options import Options

Floats = NDArray[np.float32]

#: Fields of ``Prosody`` that detectors of the voice read behind the encoder's features.
MEASURES = (
    "pitch_hz", "pitch_range", "pitch_slope", "unsteadiness", "loudness_dbfs", "loudness_spread",
    "rate", "pauses", "sharpness",
)  # fmt: skip
#: Inverse strengths of regularisation that are tried.
STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3)
_FOLDS = 5
#: Marks neutral speech of real people among the records, and how often each counts.
_USUAL, _WEIGHT_OF_USUAL = "usual", 3
#: Traits that neutral speech may have or lack, and the one in which generated voices stand for all: on real
#: speech a raised pitch was told rightly without being told what is usual, and hardly ever with it.
_NOT_AGAINST_USUAL = frozenset({
    ("voice.pauses", "many"), ("voice.manner", "even"), ("voice.register", "raised"),
    ("voice.register", "lowered"),
})  # fmt: skip
#: A detector that is right less often than this, on people it was not fitted on, or never sure, is not kept.
LEAST_PRECISION = 0.7
#: Fewest clips on either side from which a detector is fitted.
_FEWEST = 12


@dataclass(frozen=True)
class Examples:
    """Windows with what is known about them.

    Attributes:
        persons: (N,) numbers of the people.
        audio: (N, d) features of the voice, NaN rows where it is not heard.
        video: (N, e) features of the picture, NaN rows where it is not seen.
        truth: Claim -> (N,) 1 where it can be noticed, 0 where it is not true, -1 between.
    """

    persons: NDArray[np.int64]
    audio: Floats
    video: Floats
    truth: Mapping[Claim, NDArray[np.int8]]


@dataclass(frozen=True)
class Quality:
    """How well a detector does on people it was not fitted on.

    Attributes:
        positives: Windows in which the cue can be noticed.
        negatives: Windows in which it is not true.
        precision: Share of windows above ``cues.SURE`` in which it can be noticed; NaN for none.
        recall: Share of positives above ``cues.SURE``.
    """

    positives: int
    negatives: int
    precision: float
    recall: float


def collect(
    bundle: Bundle, windows: Iterable[tuple[Window, Mapping[str, Any]]], threads: int = 2
) -> Examples:
    """Encode windows of generated people.

    Args:
        bundle: Whose encoders.
        windows: Each with its truth; see `clip_windows` and `voice_windows`.
        threads: CPU threads.

    Raises:
        InputError: A clip cannot be decoded, or there are none.
    """
    encoders = Encoders(bundle, EngineOptions("auto", threads))
    heard: list[Floats | None] = []
    seen: list[Floats | None] = []
    records = []
    for window, record in windows:
        features, prosody = encode(encoders, window)
        voiced = prosody is not None and prosody.pitch_hz is not None and features.audio is not None
        times = _WEIGHT_OF_USUAL if _USUAL in record else 1
        heard += [audio_features(features.audio, prosody, MEASURES) if voiced else None] * times
        seen += [None if features.video is None else statistics(features.video)] * times
        records += [record] * times
    if not records:
        raise InputError("no generated people to fit detectors of cues on")
    persons = np.array([record["person"] for record in records], np.int64)
    return Examples(persons, _stacked(heard), _stacked(seen), truth_of(records))


def clip_windows(
    folder: Path, records: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Window, Mapping[str, Any]]]:
    """Whole clips of a folder, with their truth (`training.evaluation.reasoning_truth.read_truth`)."""
    for record in tqdm(records, "clips"):
        yield clip_window(folder, record), record


def voice_windows(count: int, options: Options) -> Iterator[tuple[Window, Mapping[str, Any]]]:
    """Voices made on the spot, which costs a tenth of a clip."""
    from training.synthesis.voices import generate_voices

    for samples, record in tqdm(generate_voices(count, options), "voices", count):
        yield Window(0, round(options.seconds * 1e9), None, AudioSpan(0, samples, 1.0), ""), record


def usual_windows(root: Path, sources: Sequence[str]) -> Iterator[tuple[Window, Mapping[str, Any]]]:
    """Neutral speech of real people.

    Args:
        root: Folder that holds the sources' folders.
        sources: Which; what is shown to these people must not be measured with what is fitted.
    """
    clips = [clip for source in sources for clip in read_clips(source, root) if clip.label == "neutral"]
    numbers = {person: -1 - i for i, person in enumerate(sorted({clip.person for clip in clips}))}
    for clip in tqdm(clips, "neutral speech"):
        yield (
            replace(real_window(clip), frames=None),
            {"person": numbers[clip.person], _USUAL: True},
        )


def encode(encoders: Encoders, window: Window) -> tuple[WindowFeatures, Prosody | None]:
    """Features of a window, and what was measured of its voice, as the robot has them."""
    encoders.reset()
    usable = usable_modalities(window)[0] & ~Modality.TEXT
    features = encoders.encode([window], [usable], [0], StageTimer())[0]
    return features, analyse(window.audio.samples) if window.audio is not None else None


def clip_window(folder: Path, record: Mapping[str, Any], with_words: bool = False) -> Window:
    """A whole generated clip as a window; with the words that are said, or without."""
    is_film = "video" in record["modalities"]
    media = Media(video=record["clip"]) if is_film else Media(audio=record["clip"])
    words = record["transcript"] if with_words else ""
    return _window(decode_clip(media, folder, to_model_frame), record["segments"][-1]["end_s"], words)


def real_window(clip: Clip) -> Window:
    """A whole clip of a real source as a window."""
    found = decode_clip(clip.media, clip.root, to_model_frame)
    heard_s, seen_ns = len(found.samples) / RATE, max(found.stamps_ns, default=0)
    return _window(found, max(heard_s, (seen_ns + 1) / 1e9))


def _window(clip: DecodedClip, length_s: float, words: str = "") -> Window:
    frames = (
        FrameBatch(np.array(clip.stamps_ns, np.int64), np.stack(clip.pictures)) if clip.pictures else None
    )
    sound = AudioSpan(0, clip.samples, 1.0) if len(clip.samples) else None
    return Window(0, max(1, round(length_s * 1e9)), frames, sound, words)


def truth_of(records: Sequence[Mapping[str, Any]]) -> dict[Claim, NDArray[np.int8]]:
    """What is known of each claim that names a cue of the synthesis; see ``Examples.truth``."""
    wanted = conditions()
    facts = [{} if _USUAL in record else facts_of(record) for record in records]
    noticed = [
        set() if _USUAL in record else {*record["cues"]["visual"], *record["cues"]["voice"]}
        for record in records
    ]

    def one(claim: Claim, cue: str, at: int) -> int:
        if _USUAL in records[at]:
            return -1 if claim in _NOT_AGAINST_USUAL else 0
        if cue in noticed[at]:
            return 1
        return -1 if all(c.holds(facts[at]) for c in wanted[claim]) else 0

    return {
        claim: np.array([one(claim, cue, i) for i in range(len(records))], np.int8)
        for claim, cue in CUE_OF.items()
    }


def _stacked(rows: Sequence[Floats | None]) -> Floats:
    size = max((len(row) for row in rows if row is not None), default=1)
    return np.stack([np.full(size, np.nan, np.float32) if row is None else row for row in rows])


def fit_cue_head(data: Examples) -> tuple[CueHead, dict[Claim, Quality]]:
    """Fit a detector for every cue that is there often enough, and keep those that can be relied on.

    Returns:
        The detectors, and how each that was fitted does on people it was not fitted on.
    """
    quality: dict[Claim, Quality] = {}
    heads = {}
    for modality, features, measures in (
        (Modality.AUDIO, data.audio, MEASURES),
        (Modality.VIDEO, data.video, ()),
    ):
        claims = [claim for claim in data.truth if modality_of(claim) == modality]
        heads[modality] = _fit(features, data, claims, measures, quality)
    return CueHead(heads[Modality.AUDIO], heads[Modality.VIDEO]), quality


def _fit(
    features: Floats,
    data: Examples,
    claims: Sequence[Claim],
    measures: tuple[str, ...],
    quality: dict[Claim, Quality],
) -> Detectors | None:
    there = ~np.isnan(features).all(axis=1)
    if there.sum() < 2 * _FEWEST:
        return None
    rows, persons = features[there], data.persons[there]
    mean, scale = np.nanmean(rows, axis=0), np.nanstd(rows, axis=0) + 1e-3
    # As the robot has it: measures that are not known count as the mean, and nothing is far out.
    standard = np.clip(np.nan_to_num((rows - mean) / scale), -4.0, 4.0)
    # In the space of the principal components a fit costs a tenth, and none is left out.
    _, _, axes = np.linalg.svd(standard - standard.mean(axis=0), full_matrices=False)
    projected = standard @ axes.T
    kept: list[tuple[Claim, Floats, float]] = []
    for claim in tqdm(claims, "detectors"):
        truth = data.truth[claim][there]
        known = truth >= 0
        if min((truth == 1).sum(), (truth == 0).sum()) < _FEWEST:
            continue
        weights, bias, found = _detector(projected[known], truth[known], persons[known])
        quality[claim] = found
        if not found.precision >= LEAST_PRECISION:
            continue
        kept.append((claim, (axes.T @ weights).astype(np.float32), bias))
    if not kept:
        return None
    return Detectors(
        claims=tuple(claim for claim, _, _ in kept),
        mean=mean.astype(np.float32),
        scale=scale.astype(np.float32),
        weights=np.stack([weights for _, weights, _ in kept]),
        bias=np.array([bias for *_, bias in kept], np.float32),
        measures=measures,
    )


def _detector(
    rows: Floats, truth: NDArray[np.int8], persons: NDArray[np.int64]
) -> tuple[Floats, float, Quality]:
    """Weights and bias for calibrated log odds."""
    unseen = {strength: _unseen_odds(rows, truth, persons, strength) for strength in STRENGTHS}
    strength = min(STRENGTHS, key=lambda c: log_loss(truth, _likely(_calibrated(unseen[c], truth)[0])))
    odds, slope, shift = _calibrated(unseen[strength], truth)
    sure = _likely(odds) >= SURE
    quality = Quality(
        positives=int((truth == 1).sum()),
        negatives=int((truth == 0).sum()),
        precision=float(truth[sure].mean()) if sure.any() else float("nan"),
        recall=float(sure[truth == 1].mean()),
    )
    model = _regression(rows, truth, strength)
    return slope * model.coef_[0], float(slope * model.intercept_[0] + shift), quality


def _unseen_odds(
    rows: Floats, truth: NDArray[np.int8], persons: NDArray[np.int64], strength: float
) -> Floats:
    """Log odds of each row by a fit that saw nobody of its person."""
    odds = np.zeros(len(rows), np.float32)
    for train, test in _folds(rows, truth, persons):
        odds[test] = _regression(rows[train], truth[train], strength).decision_function(rows[test])
    return odds


def _folds(
    rows: Floats, truth: NDArray[np.int8], persons: NDArray[np.int64]
) -> Iterator[tuple[NDArray, NDArray]]:
    count = min(_FOLDS, len(np.unique(persons)))
    return GroupKFold(count).split(rows, truth, persons)


def _calibrated(odds: Floats, truth: NDArray[np.int8]) -> tuple[Floats, float, float]:
    """Odds that mean what they say, and the slope and shift that make them so."""
    model = _regression(odds[:, None], truth, 1e3)
    slope, shift = float(model.coef_[0, 0]), float(model.intercept_[0])
    return slope * odds + shift, slope, shift


def _regression(rows: Floats, truth: NDArray[np.int8], strength: float) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, max_iter=200).fit(rows, truth)


def _likely(odds: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(odds, -30, 30)))
