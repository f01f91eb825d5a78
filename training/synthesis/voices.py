"""Voices without faces: a tenth of the work of a clip, for what listens only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from training.synthesis import cues
from training.synthesis.assets import Floats
from training.synthesis.clip import draw_segment
from training.synthesis.look import draw_look, person_rng
from training.synthesis.options import VERSION, Options, cast
from training.synthesis.performance import perform
from training.synthesis.prosody import make_speaker
from training.synthesis.room import draw_room, place_in_room
from training.synthesis.truth import speech_record
from training.synthesis.voice import ENVELOPE_HZ

#: Sets their chance apart from that of clips of the same seed.
_STREAM = 2


def generate_voices(count: int, options: Options) -> Iterator[tuple[Floats, dict[str, Any]]]:
    """Let people speak, one sentence each time; people of the same numbers have the voices of their clips.

    Args:
        count: How many sentences.
        options: Seed, people, labels, length.

    Yields:
        Sound float32 [n] at 16 kHz, and of the truth (``truth.truth``) what is about voices: ``label``,
        ``person``, ``segments``, ``cues``; ``action_units`` is None.

    Raises:
        InputError: The speech model is missing.
    """
    for index in range(count):
        yield _voice(index, options)


def _voice(index: int, options: Options) -> tuple[Floats, dict[str, Any]]:
    rng = np.random.default_rng([VERSION, options.seed, index, _STREAM])
    person, label = cast(index, options)
    speaker = make_speaker(person, draw_look(person_rng(person, "look")))
    segment = draw_segment(label, 0.0, options.seconds, rng, options, conflict=False)
    steps = round(options.seconds * ENVELOPE_HZ) + 1
    spoken = perform(speaker, (segment,), options.seconds, np.ones(steps, bool), rng)
    room = draw_room(rng)
    speech = speech_record(spoken.facts[0], segment.prosody, speaker, room)
    record = {
        "label": label,
        "person": person,
        "modalities": ["audio"],
        "segments": [{"start_s": 0.0, "end_s": options.seconds, "label": label, "speech": speech}],
        "action_units": None,
        "cues": {"visual": [], "voice": list(cues.voice_cues(speech, speaker.pitch_hz))},
    }
    return place_in_room(spoken.audio, room, rng), record
