"""Speaking the segments of a clip one after the other: sound, mouth, and what the voice did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.synthesis.assets import Floats
from training.synthesis.expressions import Span
from training.synthesis.prosody import Prosody, Speaker
from training.synthesis.sentences import NEUTRAL, Sentence
from training.synthesis.voice import ENVELOPE_HZ, Speech, speak
from training.synthesis.voice_facts import RATE, prosody_facts

#: Where time is short, the shortest two of so many sentences are tried; none fits in less than this, s.
_DRAWN, _LEAST_S = 10, 1.2


@dataclass(frozen=True)
class Segment:
    """A stretch of a clip with one true label.

    Attributes:
        start_s: Beginning.
        end_s: End.
        label: What the person feels.
        face: What the face shows; differs from ``label`` in a conflict.
        voice: What the voice carries.
        intensity: Strength, 0 to 1.
        span: The expression as animated.
        prosody: How it is said.
        sentence: What is said.
    """

    start_s: float
    end_s: float
    label: str
    face: str
    voice: str
    intensity: float
    span: Span
    prosody: Prosody
    sentence: Sentence


@dataclass(frozen=True)
class Spoken:
    """All segments, spoken.

    Attributes:
        audio: Without the room, float32 [n] at 16 kHz.
        opening: Opening of the mouth at ``ENVELOPE_HZ``, float32 in 0..1.
        sentences: What was said in each.
        facts: Of each: ``voice_facts.prosody_facts`` of what is in the clip, ``start_s``, ``end_s``, and
            ``whole`` (1 where all of the sentence fitted).
    """

    audio: Floats
    opening: Floats
    sentences: tuple[Sentence, ...]
    facts: tuple[Mapping[str, float], ...]


def perform(
    speaker: Speaker, segments: Sequence[Segment], length_s: float, kept: np.ndarray, rng: np.random.Generator
) -> Spoken:
    """Speak.

    Args:
        speaker: Whose voice.
        segments: What.
        length_s: Length of the sound.
        kept: Which steps at ``ENVELOPE_HZ`` are not cut out, bool [length_s * ENVELOPE_HZ + 1].
        rng: Source of chance.
    """
    audio = np.zeros(round(length_s * RATE), np.float32)
    opening = np.zeros(round(length_s * ENVELOPE_HZ) + 1, np.float32)
    sentences, facts = [], []
    for segment in segments:
        sentence, speech = _say_what_fits(segment, speaker, rng)
        start, end = segment.start_s + _lead_in(segment, _length(speech), rng), min(length_s, segment.end_s)
        _place(audio, speech.samples, round(start * RATE), round(end * RATE))
        _place(opening, speech.envelope, round(start * ENVELOPE_HZ), round(end * ENVELOPE_HZ))
        sentences.append(sentence)
        facts.append(_facts(speech, start, end, kept))
    return Spoken(audio, opening, tuple(sentences), tuple(facts))


def _length(speech: Speech) -> float:
    return len(speech.samples) / RATE


def _say_what_fits(segment: Segment, speaker: Speaker, rng: np.random.Generator) -> tuple[Sentence, Speech]:
    """Say the sentence, or a shorter one of neutral words where there is no time for it."""
    room = segment.end_s - segment.start_s - 0.1
    sentence, said = segment.sentence, speak(segment.sentence.text, speaker, segment.prosody, rng)
    if _length(said) <= room or room < _LEAST_S:
        return sentence, said
    drawn = rng.choice(NEUTRAL, _DRAWN, replace=False)
    for text in sorted(map(str, drawn), key=len)[:2][::-1]:
        sentence, said = Sentence(text, False), speak(text, speaker, segment.prosody, rng)
        if _length(said) <= room:
            break
    return sentence, said


def _lead_in(segment: Segment, spoken_s: float, rng: np.random.Generator) -> float:
    """Silence before the words: some of what is left over, at least a breath."""
    spare = segment.end_s - segment.start_s - spoken_s
    return float(rng.uniform(0.05, max(0.1, 0.6 * spare)))


def _place(target: Floats, source: Floats, start: int, end: int) -> None:
    """Copy ``source`` into ``target[start:end]``, fading out what does not fit."""
    count = max(0, min(len(source), end - start))
    part = source[:count].copy()
    if count < len(source):
        fade = min(count, max(1, len(source) // 100))
        part[count - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    target[start : start + count] += part


def _facts(speech: Speech, start_s: float, end_s: float, kept: np.ndarray) -> dict[str, float]:
    steps = np.round(start_s * ENVELOPE_HZ).astype(int) + np.arange(len(speech.pitch))
    inside = steps < round(end_s * ENVELOPE_HZ)
    heard = inside & kept[np.minimum(steps, len(kept) - 1)]
    return {
        **prosody_facts(speech.samples, speech.pitch, speech.syllables, heard),
        "start_s": round(start_s, 3),
        "end_s": round(min(end_s, start_s + _length(speech)), 3),
        "whole": int(heard.all()),
    }
