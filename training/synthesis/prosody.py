"""How people speak: constant traits of a voice, and how seven emotions change its use.

The emotion profiles follow Scherer (2003, Speech Communication 40, table 3) and Banse and Scherer
(1996): anger loud, fast, wide, with energy at high frequencies; sadness slow, low, quiet, flat;
happiness high, wide, lively; fear high, fast, trembling; surprise high with a rise at the end; disgust
low, slow, creaking.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

from emollama_ros.errors import ConfigError
from training.synthesis.look import Look, person_rng


@dataclass(frozen=True)
class Speaker:
    """What is constant about a voice.

    Attributes:
        pitch_hz: Usual middle pitch.
        formant: Vocal-tract scale relative to the model's woman; above 1 is a shorter tract.
        rate: Usual speaking rate relative to the model's.
        breath: Usual breathiness, 0 to 1.
        tilt: Usual spectral tilt in dB per octave relative to the model's.
        liveliness: Usual pitch range relative to the model's.
    """

    pitch_hz: float
    formant: float
    rate: float
    breath: float
    tilt: float
    liveliness: float


@dataclass(frozen=True)
class Prosody:
    """How something is said, relative to the speaker's usual way.

    Attributes:
        pitch_st: Middle pitch, semitones.
        range: Factor on the pitch excursions.
        slope_st: Change of pitch from the beginning to the end of the sentence, semitones.
        end_st: Extra rise (or fall) over the last 0.4 s, semitones.
        rate: Factor on the speaking rate.
        level_db: Loudness, dB.
        tilt: Spectral tilt, dB per octave; positive is sharper and tenser.
        dynamics: Factor on the loudness differences inside the sentence.
        tremor_st: Depth of a 5 to 8 Hz trembling of the pitch, semitones.
        jitter: Irregularity of the pitch from frame to frame, semitones.
        breath: Added breathiness, 0 to 1.
        creak: Depth of creaking (every other pulse weakened, low pitch), 0 to 1.
        formant: Factor on the formants (spread or rounded lips).
        pause_s: Length of a hesitation within the sentence, seconds; below 0.2 there is none.
    """

    pitch_st: float = 0.0
    range: float = 1.0
    slope_st: float = 0.0
    end_st: float = 0.0
    rate: float = 1.0
    level_db: float = 0.0
    tilt: float = 0.0
    dynamics: float = 1.0
    tremor_st: float = 0.0
    jitter: float = 0.0
    breath: float = 0.0
    creak: float = 0.0
    formant: float = 1.0
    pause_s: float = 0.0


#: How often people hesitate within a sentence of each label.
_HESITATION: Mapping[str, float] = {
    "neutral": 0.1,
    "sad": 0.6,
    "scared": 0.4,
    "disgusted": 0.2,
    "surprised": 0.1,
}

#: How each label is spoken at full strength, by variant.
PROFILES: Mapping[str, tuple[Prosody, ...]] = {
    "neutral": (Prosody(), Prosody(range=0.9), Prosody(rate=1.03, range=1.05)),
    "happy": (
        Prosody(
            pitch_st=4.0, range=1.75, rate=1.08, level_db=4, tilt=1.0, dynamics=1.15, formant=1.04, end_st=1.0
        ),
        Prosody(pitch_st=3.0, range=1.5, rate=1.15, level_db=3, tilt=0.8, formant=1.05, slope_st=1.5),
    ),
    "sad": (
        Prosody(
            pitch_st=-2.0,
            range=0.45,
            slope_st=-2.0,
            rate=0.74,
            level_db=-8,
            tilt=-2.2,
            breath=0.45,
            dynamics=0.8,
        ),
        Prosody(
            pitch_st=-0.5,
            range=0.5,
            slope_st=-2.5,
            rate=0.8,
            level_db=-6,
            tilt=-1.6,
            breath=0.6,
            tremor_st=0.25,
        ),
    ),
    "angry": (
        Prosody(
            pitch_st=3.0,
            range=1.4,
            rate=1.16,
            level_db=9,
            tilt=2.6,
            dynamics=1.35,
            jitter=0.25,
            slope_st=-1.0,
        ),
        Prosody(
            pitch_st=0.5, range=1.1, rate=1.05, level_db=8, tilt=3.0, dynamics=1.5, jitter=0.3, slope_st=-2.0
        ),
    ),
    "surprised": (
        Prosody(pitch_st=5.0, range=1.8, rate=1.0, level_db=4, tilt=0.6, end_st=7.0, slope_st=2.0),
        Prosody(pitch_st=6.0, range=2.0, rate=0.95, level_db=4, tilt=0.4, end_st=5.0, breath=0.2),
    ),
    "scared": (
        Prosody(
            pitch_st=5.5,
            range=0.65,
            rate=1.25,
            level_db=0,
            tremor_st=0.8,
            jitter=0.3,
            breath=0.4,
            slope_st=1.0,
        ),
        Prosody(
            pitch_st=4.5, range=0.6, rate=1.15, level_db=-4, tremor_st=1.0, jitter=0.35, breath=0.7, tilt=-0.8
        ),
    ),
    "disgusted": (
        Prosody(
            pitch_st=-3.0, range=0.8, rate=0.8, level_db=-1, creak=0.7, tilt=0.4, slope_st=-3.0, formant=0.97
        ),
        Prosody(
            pitch_st=-2.0, range=1.1, rate=0.84, level_db=1, creak=0.5, tilt=0.8, slope_st=-4.0, formant=1.04
        ),
    ),
}


def make_speaker(person_id: int, look: Look) -> Speaker:
    """Draw the voice of a person; it fits the person's sex and age.

    Args:
        person_id: The person's number; the same number always has the same voice.
        look: For gender and age.
    """
    rng = person_rng(person_id, "voice")
    child = max(0.0, 1 - look.age / 0.33)
    old = max(0.0, (look.age - 0.6) / 0.4)
    pitch = 205.0 * (112.0 / 205.0) ** look.gender
    pitch *= (280.0 / pitch) ** (0.9 * child) * 2 ** (rng.normal(0, 1.9) / 12)
    formant = (1 - 0.15 * look.gender) * (1.16**child) * rng.normal(1, 0.035)
    return Speaker(
        pitch_hz=float(np.clip(pitch, 80, 320)),
        formant=float(np.clip(formant, 0.78, 1.25)),
        rate=float(np.clip(rng.normal(1.0 - 0.08 * old, 0.07), 0.8, 1.2)),
        breath=float(np.clip(rng.normal(0.1 + 0.1 * old, 0.1), 0, 0.5)),
        tilt=float(np.clip(rng.normal(0, 0.8), -2, 2)),
        liveliness=float(np.clip(rng.normal(0.95, 0.15), 0.6, 1.3)),
    )


def draw_prosody(label: str, rng: np.random.Generator, intensity: float) -> Prosody:
    """Draw how ``label`` is spoken at ``intensity`` (0 to 1), with personal variation.

    Raises:
        ConfigError: No profile for this label.
    """
    if label not in PROFILES:
        raise ConfigError(f"no voice profile for label {label!r}; known: {', '.join(PROFILES)}")
    full = PROFILES[label][rng.integers(len(PROFILES[label]))]
    usual = Prosody()
    values = {}
    for field in fields(Prosody):
        rest, apex = getattr(usual, field.name), getattr(full, field.name)
        values[field.name] = rest + (apex - rest) * intensity * rng.uniform(0.75, 1.25)
    drawn = Prosody(**values)
    return replace(
        drawn,
        pitch_st=drawn.pitch_st + rng.normal(0, 0.6),
        range=max(0.2, drawn.range * rng.normal(1, 0.1)),
        rate=float(np.clip(drawn.rate * rng.normal(1, 0.05), 0.6, 1.5)),
        level_db=drawn.level_db + rng.normal(0, 1.5),
        tilt=drawn.tilt + rng.normal(0, 0.4),
        pause_s=float(rng.uniform(0.3, 0.8)) if rng.random() < _HESITATION.get(label, 0.0) else 0.0,
    )
