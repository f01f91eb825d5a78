"""What a face does: recipes of ARKit face units for seven labels, and how they move in time.

The recipes follow the facial action units that Ekman and Friesen's EMFACS lists for each emotion
(for example happiness 6+12, sadness 1+4+15, anger 4+5+7+23, surprise 1+2+5+26, fear 1+2+4+5+20,
disgust 9+15 or 10+16), written in ARKit units. Each label has several variants, because people
differ; weights are those of full strength.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from emollama_ros.errors import ConfigError
from training.synthesis.assets import Floats

_PAIRED = """
    browDown browOuterUp cheekSquint eyeBlink eyeLookDown eyeLookIn eyeLookOut eyeLookUp eyeSquint eyeWide
    mouthDimple mouthFrown mouthLowerDown mouthPress mouthSmile mouthStretch mouthUpperUp noseSneer
"""
#: ARKit units that exist once for each half of the face; recipes name the pair.
PAIRED: frozenset[str] = frozenset(_PAIRED.split())


def _recipe(text: str) -> Mapping[str, float]:
    """Read ``unit weight unit weight ...``."""
    words = text.split()
    return dict(zip(words[::2], map(float, words[1::2]), strict=True))


#: Face units of each label at full strength, by variant.
RECIPES: Mapping[str, tuple[Mapping[str, float], ...]] = {
    "neutral": (
        _recipe(""),
        _recipe("mouthPress 0.12"),
        _recipe("browInnerUp 0.1"),
        _recipe("eyeSquint 0.1 mouthShrugUpper 0.08"),
    ),
    "happy": (
        _recipe("mouthSmile 0.95 cheekSquint 0.8 eyeSquint 0.4 mouthDimple 0.3"),
        _recipe("mouthSmile 1 cheekSquint 0.9 eyeSquint 0.5 mouthUpperUp 0.55 jawOpen 0.14"),
        _recipe("mouthSmile 1 cheekSquint 1 eyeSquint 0.7 jawOpen 0.38 mouthUpperUp 0.5 browOuterUp 0.2"),
        _recipe("mouthSmile 0.85 cheekSquint 0.5 mouthDimple 0.5 browInnerUp 0.2 browOuterUp 0.25"),
    ),
    "sad": (
        _recipe("browInnerUp 1 mouthFrown 0.9 eyeBlink 0.22 mouthShrugLower 0.4"),
        _recipe("browInnerUp 0.9 browDown 0.3 mouthFrown 1 mouthShrugLower 0.7 eyeSquint 0.3 eyeBlink 0.15"),
        _recipe("browInnerUp 1 mouthFrown 0.7 eyeBlink 0.22 eyeLookDown 0.4 mouthPress 0.2"),
        _recipe(
            "browInnerUp 0.8 mouthFrown 1 mouthLowerDown 0.15 mouthStretch 0.25 cheekSquint 0.4 eyeBlink 0.25"
        ),
    ),
    "angry": (
        _recipe("browDown 1 eyeSquint 0.5 mouthPress 0.9 mouthFrown 0.35 noseSneer 0.25 jawForward 0.3"),
        _recipe(
            "browDown 1 eyeWide 0.5 mouthFunnel 0.35 jawOpen 0.3 "
            "mouthLowerDown 0.7 mouthUpperUp 0.5 noseSneer 0.35"
        ),
        _recipe(
            "browDown 1 eyeSquint 0.35 eyeWide 0.35 mouthRollLower 0.4 mouthRollUpper 0.4 mouthPress 0.6"
        ),
        _recipe("browDown 1 eyeSquint 0.4 mouthStretch 0.45 mouthLowerDown 0.8 jawOpen 0.12 noseSneer 0.3"),
    ),
    "surprised": (
        _recipe("browInnerUp 0.9 browOuterUp 1 eyeWide 0.9 jawOpen 0.55"),
        _recipe("browInnerUp 1 browOuterUp 1 eyeWide 1 jawOpen 0.4 mouthFunnel 0.5"),
        _recipe("browInnerUp 0.8 browOuterUp 1 eyeWide 0.7 jawOpen 0.25"),
        _recipe("browInnerUp 1 browOuterUp 0.9 eyeWide 1 jawOpen 0.75"),
    ),
    "scared": (
        _recipe("browInnerUp 1 browDown 0.45 eyeWide 1 mouthStretch 1 mouthLowerDown 0.3 jawOpen 0.1"),
        _recipe("browInnerUp 1 browDown 0.3 eyeWide 1 mouthStretch 0.9 jawOpen 0.28 mouthLowerDown 0.45"),
        _recipe("browInnerUp 1 browOuterUp 0.3 browDown 0.5 eyeWide 0.9 mouthStretch 1 mouthPress 0.2"),
        _recipe("browInnerUp 0.9 browDown 0.35 eyeWide 1 mouthStretch 0.8 mouthFrown 0.3 mouthUpperUp 0.2"),
    ),
    "disgusted": (
        _recipe("noseSneer 1 mouthUpperUp 0.8 browDown 0.45 cheekSquint 0.5 eyeSquint 0.5 mouthFrown 0.4"),
        _recipe("noseSneer 1 mouthUpperUp 0.7 mouthShrugLower 0.6 eyeSquint 0.6 mouthFrown 0.7 browDown 0.3"),
        _recipe(
            "noseSneer 0.9 mouthUpperUp 1 jawOpen 0.2 mouthLowerDown 0.3 "
            "cheekSquint 0.6 eyeSquint 0.5 browDown 0.4"
        ),
        _recipe("noseSneer 1 mouthFrown 0.9 mouthShrugUpper 0.5 eyeSquint 0.6 browDown 0.35 eyeBlink 0.15"),
    ),
}

#: Typical head pitch (radians, positive down) and gaze of each label.
_HEAD_PITCH = {
    "sad": 0.14,
    "angry": 0.06,
    "surprised": -0.05,
    "scared": -0.04,
    "happy": -0.03,
    "disgusted": -0.05,
}


@dataclass(frozen=True)
class Expression:
    """One expression to be shown.

    Attributes:
        label: One of ``emollama_ros.labels.DEFAULT_LABELS``.
        variant: Which recipe of the label.
        intensity: Strength at the apex, 0.3 to 1.
        asymmetry: How much weaker the weaker half is, 0 to 0.3; negative weakens the right half.
    """

    label: str
    variant: int = 0
    intensity: float = 1.0
    asymmetry: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no recipe covers."""
        if self.label not in RECIPES:
            raise ConfigError(f"no expression for label {self.label!r}; known: {', '.join(RECIPES)}")
        if not 0 <= self.variant < len(RECIPES[self.label]):
            raise ConfigError(
                f"label {self.label!r} has variants 0 to {len(RECIPES[self.label]) - 1}, not {self.variant}"
            )
        if not 0 <= self.intensity <= 1:
            raise ConfigError(f"intensity must lie in 0..1, found {self.intensity}")

    def units(self) -> dict[str, float]:
        """Return ARKit unit weights at the apex, by full name (both halves)."""
        strength = {"L": 1 - max(0.0, self.asymmetry), "R": 1 - max(0.0, -self.asymmetry)}
        weights: dict[str, float] = {}
        for name, weight in RECIPES[self.label][self.variant].items():
            for full in expand(name):
                half = "L" if full.endswith("Left") else "R" if full.endswith("Right") else ""
                weights[full] = weight * self.intensity * strength.get(half, 1.0)
        return weights


def expand(name: str) -> tuple[str, ...]:
    """Return the full ARKit names behind a recipe's name."""
    return (f"{name}Left", f"{name}Right") if name in PAIRED else (name,)


def draw_expression(
    label: str, rng: np.random.Generator, intensity: tuple[float, float] = (0.45, 1.0)
) -> Expression:
    """Draw a variant, a strength and a little asymmetry for ``label``."""
    return Expression(
        label=label,
        variant=int(rng.integers(len(RECIPES[label]))),
        intensity=float(rng.uniform(*intensity)),
        asymmetry=float(np.clip(rng.normal(0, 0.08), -0.3, 0.3)),
    )


@dataclass(frozen=True)
class Span:
    """An expression held for a while.

    Attributes:
        start_s: Beginning of the onset.
        end_s: End of the offset.
        expression: What is shown.
        onset_s: Time to reach the apex; 0 starts at the apex.
        offset_s: Time to leave it; 0 stays at the apex.
    """

    start_s: float
    end_s: float
    expression: Expression
    onset_s: float = 0.35
    offset_s: float = 0.4

    def strength(self, seconds: np.ndarray, lag_s: float = 0.0) -> np.ndarray:
        """Return how far the expression, or a part of it that begins later, is developed, [n] in [0, 1]."""
        rise = _ramp(seconds - self.start_s - lag_s, self.onset_s)
        fall = _ramp(self.end_s - seconds, self.offset_s)
        inside = (seconds >= self.start_s) & (seconds < self.end_s)
        return np.minimum(rise, fall) * inside


def _stem(name: str) -> str:
    return name.removesuffix("Left").removesuffix("Right")


def _draw_lags(span: Span, rng: np.random.Generator) -> dict[str, float]:
    """Draw how much later than the first each muscle begins, seconds: they do not start as one.

    Both halves of a pair start together; what is at its apex from the first moment has no lag.
    """
    stems = dict.fromkeys(_stem(name) for name in span.expression.units())
    most = 0.5 * min(span.onset_s, 0.4)
    return {stem: float(rng.uniform(0, most)) if most else 0.0 for stem in stems}


def _ramp(seconds: np.ndarray, length: float) -> np.ndarray:
    if length <= 0:
        return np.ones_like(seconds)
    t = np.clip(seconds, 0, length) / length
    return t * t * (3 - 2 * t)


@dataclass(frozen=True)
class FaceTrack:
    """How a face moves.

    Attributes:
        seconds: Times, float64 [n].
        units: Unit weights at each time, float32 [n, 52] in the order of the mesh.
        pose: Yaw, pitch, roll, gaze_x, gaze_y (radians), sway_x, sway_y (decimetres), float32 [n, 7].
    """

    seconds: np.ndarray
    units: Floats
    pose: Floats


def animate(
    seconds: np.ndarray,
    spans: Sequence[Span],
    speech: np.ndarray,
    unit_names: Sequence[str],
    rng: np.random.Generator,
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> FaceTrack:
    """Move a face through expressions while it speaks, blinks and never keeps quite still.

    Args:
        seconds: Times of the frames, [n].
        spans: What is shown when; spans may overlap.
        speech: Mouth opening from the voice at each time, [n] in [0, 1].
        unit_names: Order of the units.
        rng: Source of chance.
        turn: Mean yaw, pitch and roll of the head in radians.
    """
    index = {name: i for i, name in enumerate(unit_names)}
    units = np.zeros((len(seconds), len(unit_names)))
    pitch = np.zeros(len(seconds))
    for span in spans:
        strength = span.strength(seconds)
        waver = 1 + 0.08 * wander(seconds, 1.2, rng)
        lags = _draw_lags(span, rng)
        for name, weight in span.expression.units().items():
            units[:, index[name]] += weight * span.strength(seconds, lags[_stem(name)]) * waver
        pitch += _HEAD_PITCH.get(span.expression.label, 0.0) * span.expression.intensity * strength
    _talk(units, index, seconds, speech, rng)
    _blink(units, index, seconds, spans, rng)
    pose = _move_head(seconds, speech, pitch, turn, rng)
    return FaceTrack(seconds, np.clip(units, 0, 1).astype(np.float32), pose)


def wander(seconds: np.ndarray, rate_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Return a smooth random curve of about unit deviation that changes at ``rate_hz``, [n]."""
    frequency = rate_hz * rng.uniform(0.4, 1.4, 4)
    phase = rng.uniform(0, 2 * np.pi, 4)
    return np.sin(2 * np.pi * frequency[:, None] * np.asarray(seconds)[None] + phase[:, None]).sum(
        0
    ) / np.sqrt(2)


def _talk(
    units: np.ndarray,
    index: Mapping[str, int],
    seconds: np.ndarray,
    speech: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Open the mouth with the voice and shape it as vowels do, leaving the expression visible."""
    free = 1 - 0.6 * np.clip(speech * 1.5, 0, 1)
    for name in ("mouthPressLeft", "mouthPressRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower"):
        units[:, index[name]] *= free
    jaw = units[:, index["jawOpen"]]
    units[:, index["jawOpen"]] = np.maximum(jaw * (0.55 + 0.45 * free), 0.45 * jaw + 0.32 * speech)
    rounded = speech * np.clip(wander(seconds, 3.0, rng), 0, 1)
    spread = speech * np.clip(wander(seconds, 3.0, rng), 0, 1)
    units[:, index["mouthFunnel"]] += 0.35 * rounded
    units[:, index["mouthPucker"]] += 0.2 * rounded
    for half in ("Left", "Right"):
        units[:, index[f"mouthLowerDown{half}"]] += 0.25 * spread
        units[:, index[f"mouthUpperUp{half}"]] += 0.12 * spread


#: Blinks per minute while a label is shown; fear and surprise hold the eyes open.
_BLINKS = {"scared": 8.0, "surprised": 8.0, "angry": 10.0, "sad": 20.0}


def _blink(
    units: np.ndarray,
    index: Mapping[str, int],
    seconds: np.ndarray,
    spans: Sequence[Span],
    rng: np.random.Generator,
) -> None:
    """Close the lids for about 0.2 s now and then; wide eyes relax while they close."""
    at = float(seconds[0]) + rng.uniform(0, 3)
    while at < seconds[-1]:
        shut = np.exp(-(((seconds - at) / 0.075) ** 2))
        for half in ("Left", "Right"):
            lid = units[:, index[f"eyeBlink{half}"]]
            units[:, index[f"eyeBlink{half}"]] = lid + (1 - lid) * shut
            units[:, index[f"eyeWide{half}"]] *= 1 - shut
        label = next((s.expression.label for s in spans if s.start_s <= at < s.end_s), "neutral")
        at += 0.3 + rng.exponential(60.0 / _BLINKS.get(label, 15.0))


def _move_head(
    seconds: np.ndarray, speech: np.ndarray, pitch: np.ndarray, turn, rng: np.random.Generator
) -> Floats:
    """Sway, nod with the voice and let the gaze jump; float32 [n, 7], see ``FaceTrack.pose``."""
    pose = np.zeros((len(seconds), 7))
    for column, (mean, spread) in enumerate(zip(turn, (0.05, 0.035, 0.03), strict=True)):
        pose[:, column] = mean + spread * wander(seconds, 0.3, rng)
    pose[:, 1] += pitch + 0.05 * speech * wander(seconds, 1.0, rng)
    jumps = np.sort(rng.uniform(seconds[0], seconds[-1] + 1e-6, max(1, int(np.ptp(seconds) / 1.2))))
    fixation = np.searchsorted(jumps, seconds)
    # People mostly look at the robot: gaze returns against the turn of the head.
    pose[:, 3] = np.clip(-0.7 * turn[0] + rng.normal(0, 0.06, len(jumps) + 1)[fixation], -0.35, 0.35)
    pose[:, 4] = np.clip(0.7 * turn[1] + rng.normal(0, 0.04, len(jumps) + 1)[fixation], -0.2, 0.2)
    pose[:, 5] = 0.05 * wander(seconds, 0.25, rng)
    pose[:, 6] = 0.03 * wander(seconds, 0.25, rng)
    return pose.astype(np.float32)
