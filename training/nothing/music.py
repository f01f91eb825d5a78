"""Music without singing: chords, melodies, bass and drums, played by made-up instruments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.mmeverse.decoding import RATE
from training.nothing.sounds import COUNT, band, place, pulse, recorded, swell, tone
from training.synthesis.room import coloured_noise

#: Semitones over the key note: major, minor, dorian, pentatonic, blues, whole tones.
_SCALES = (
    (0, 2, 4, 5, 7, 9, 11),
    (0, 2, 3, 5, 7, 8, 10),
    (0, 2, 3, 5, 7, 9, 10),
    (0, 2, 4, 7, 9),
    (0, 3, 5, 6, 7, 10),
    (0, 2, 4, 6, 8, 10),
)

Samples = NDArray[np.float32]
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Instrument:
    """How a note sounds.

    Attributes:
        partials: Amplitude of each harmonic.
        attack_s: Time until it is at its loudest.
        decay_s: Time constant of its dying away.
        vibrato: Depth, as a share of the frequency; 0 is none.
    """

    partials: tuple[float, ...]
    attack_s: float
    decay_s: float
    vibrato: float


@dataclass(frozen=True)
class Piece:
    """What all players of a piece share.

    Attributes:
        key: Key note, semitones over A at 55 Hz.
        scale: Semitones over the key note.
        beat_s: Length of a beat.
    """

    key: int
    scale: tuple[int, ...]
    beat_s: float

    def hz(self, degree: int, octave: int = 0) -> float:
        """Frequency of a step of the scale."""
        octaves, step = divmod(degree, len(self.scale))
        return 55.0 * 2 ** ((self.key + self.scale[step]) / 12 + octave + octaves)


def music(rng: np.random.Generator) -> Samples:
    """Four seconds of a piece that is made up on the spot, through a loudspeaker in a room."""
    piece = Piece(
        int(rng.integers(0, 12)), _SCALES[int(rng.integers(len(_SCALES)))], 60 / float(rng.uniform(60, 170))
    )
    chosen = rng.random(4) < (0.6, 0.6, 0.4, 0.5)
    chosen[int(rng.integers(0, 4))] = True
    sound = 1e-3 * coloured_noise(COUNT, 1.0, rng)
    for player, plays in zip((_chords, _melody, _bass, _drums), chosen, strict=True):
        if plays:
            part = player(piece, rng)
            sound = sound + rng.uniform(0.3, 1) * part / (part.std() + 1e-9)
    return recorded(sound * swell(rng, 0.2), rng, (-40, -12))


def _draw_instrument(rng: np.random.Generator) -> Instrument:
    """Between flute and organ in its partials, between a plucked string and a bow in its envelope."""
    count, fall = int(rng.integers(2, 14)), rng.uniform(0.3, 2.5)
    partials = np.arange(1, count + 1) ** -fall * rng.uniform(0.3, 1, count)
    if rng.random() < 0.3:
        partials[1::2] = 0
    is_plucked = rng.random() < 0.5
    return Instrument(
        tuple(partials.tolist()),
        float(rng.uniform(0.002, 0.02) if is_plucked else rng.uniform(0.02, 0.3)),
        float(rng.uniform(0.1, 0.8) if is_plucked else rng.uniform(1, 6)),
        float(rng.uniform(0.002, 0.015) if rng.random() < 0.4 else 0),
    )


def _note(hz: float, seconds: float, instrument: Instrument, rng: np.random.Generator) -> Floats:
    length = max(200, int(seconds * RATE))
    time = np.arange(length) / RATE
    wobble = 1 + instrument.vibrato * np.sin(2 * np.pi * 5.5 * time)
    release = np.clip((seconds - time) / 0.03, 0, 1)
    loudness = np.minimum(1, time / instrument.attack_s) * np.exp(-time / instrument.decay_s) * release
    return loudness * tone(hz * wobble, np.array(instrument.partials), rng, length)


def _chords(piece: Piece, rng: np.random.Generator) -> Floats:
    instrument, sound, at = _draw_instrument(rng), np.zeros(COUNT), 0.0
    octave, beats = int(rng.integers(1, 3)), float(rng.choice([1, 2, 4]))
    while at < 4:
        root = int(rng.choice([0, 0, 3, 4, 5]))
        for step in (0, 2, 4):
            chord = _note(piece.hz(root + step, octave), beats * piece.beat_s, instrument, rng)
            sound += place(chord, int(at * RATE))
        at += beats * piece.beat_s
    return sound


def _melody(piece: Piece, rng: np.random.Generator) -> Floats:
    instrument, sound, at = _draw_instrument(rng), np.zeros(COUNT), 0.0
    octave, degree = int(rng.integers(1, 4)), int(rng.integers(0, 6))
    while at < 4:
        seconds = piece.beat_s * float(rng.choice([0.25, 0.5, 0.5, 1, 1.5]))
        if rng.random() < 0.85:
            sound += place(_note(piece.hz(degree, octave), seconds, instrument, rng), int(at * RATE))
        degree = int(np.clip(degree + rng.integers(-2, 3), -3, 10))
        at += seconds
    return sound


def _bass(piece: Piece, rng: np.random.Generator) -> Floats:
    instrument, sound = _draw_instrument(rng), np.zeros(COUNT)
    for at in np.arange(0, 4, piece.beat_s * float(rng.choice([0.5, 1, 2]))):
        degree = int(rng.choice([0, 0, 0, 2, 4]))
        sound += place(_note(piece.hz(degree), piece.beat_s * 0.9, instrument, rng), int(at * RATE))
    return sound


def _drums(piece: Piece, rng: np.random.Generator) -> Floats:
    """A pattern of eight half beats that is repeated."""
    sound = np.zeros(COUNT)
    strokes = (_kick(rng), _snare(rng), _hat(rng))
    pattern = rng.random((8, 3)) < np.array([0.35, 0.25, 0.6])
    pattern[0, 0] = pattern[4, 1] = True
    for i, at in enumerate(np.arange(0, 4, piece.beat_s / 2)):
        for stroke, is_hit in zip(strokes, pattern[i % 8], strict=True):
            if is_hit:
                sound += place(stroke * rng.uniform(0.7, 1), int(at * RATE))
    return sound


def _kick(rng: np.random.Generator) -> Floats:
    length = int(rng.uniform(0.12, 0.3) * RATE)
    hz = rng.uniform(40, 60) * (1 + 3 * np.exp(-np.arange(length) / 400))
    return 3 * tone(hz, np.array([1.0, 0.2]), rng, length) * pulse(length)


def _snare(rng: np.random.Generator) -> Floats:
    length = int(rng.uniform(0.08, 0.25) * RATE)
    return (band(400, 5000, rng, length) + tone(rng.uniform(150, 250), np.ones(2), rng, length)) * pulse(
        length
    )


def _hat(rng: np.random.Generator) -> Floats:
    length = int(rng.uniform(0.02, 0.15) * RATE)
    return 0.5 * band(4500, 7800, rng, length) * pulse(length, 4)
