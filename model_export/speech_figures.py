"""How many words the speech model gets wrong, and what that costs, for ways to fill up its 30 s.

    python -m model_export.speech_figures [--ravdess DIR] [--each N] [--out FILE]

What is said is known: sentences of the generator of people, in four voices, quiet and in rooms, and with
emotion; of espeak-ng where that is installed; and of RAVDESS (real people, two sentences only) where its
folder is given. Then sounds in which nobody speaks. Errors are word errors: wrong, missing and added words
over words said, after lower case, without punctuation, small numbers written out. Time is that of the
processor, on one thread.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import re
import resource
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import InputError
from emollama_ros.speech import Doubts, Whisper
from emollama_ros.speech.utterances import is_voice
from emollama_ros.streams import read_media
from emollama_ros.streams.media import AudioEvent

Floats = NDArray[np.float32]

RATE = 16_000
#: Ways to fill up 30 s: seconds of silence that are encoded, and whether encoded silence is joined.
WAYS: Mapping[str, tuple[float, bool]] = {
    "the sound alone": (0.0, False),
    "1 s of silence": (1.0, False),
    "2 s of silence": (2.0, False),
    "4 s of silence": (4.0, False),
    "8 s of silence": (8.0, False),
    "silence up to 30 s": (30.0, False),
    "1 s, encoded silence joined": (1.0, True),
}
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_SPELLINGS = {"cannot": "can not", "neighbor": "neighbour"}


@dataclass(frozen=True)
class Said:
    """A sound with its words."""

    kind: str
    text: str
    samples: Floats


@dataclass
class Tally:
    """Sums over the sounds of one kind.

    Attributes:
        sounds: How many.
        said: Words that were said.
        wrong: Word errors.
        believed: Texts that the robot would have taken.
        repeated: Texts that go round in circles.
        no_speech: Probability that nobody speaks, of each sound.
        cpu_s: Of each sound.
    """

    sounds: int = 0
    said: int = 0
    wrong: int = 0
    believed: int = 0
    repeated: int = 0
    no_speech: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def as_row(self) -> dict[str, float | None]:
        """Return what is reported."""
        return {
            "sounds": self.sounds,
            "words": self.said,
            "word_error_rate": round(self.wrong / self.said, 4) if self.said else None,
            "believed": round(self.believed / max(1, self.sounds), 4),
            "repeated": self.repeated,
            "no_speech_least": round(min(self.no_speech), 3),
            "no_speech_most": round(max(self.no_speech), 3),
            "cpu_s_median": round(float(np.median(self.cpu_s)), 3),
        }


def words(text: str) -> list[str]:
    """Words as they are compared."""
    plain = re.sub(r"\d+", lambda n: _ONES[int(n[0])] if int(n[0]) < len(_ONES) else n[0], text.lower())
    for odd, usual in _SPELLINGS.items():
        plain = plain.replace(odd, usual)
    return re.sub(r"[^a-z0-9' ]", " ", plain).split()


def word_errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """Least number of words to change, leave out and add (Levenshtein 1966)."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        last, row = row, [i]
        for j, other in enumerate(heard, 1):
            row.append(min(row[-1] + 1, last[j] + 1, last[j - 1] + (word != other)))
    return row[-1]


def generated() -> Iterator[Said]:
    """Sentences of the generator: quiet, in a room, and with emotion in a room."""
    from training.synthesis.prosody import PROFILES, Prosody, Speaker
    from training.synthesis.room import draw_room, place_in_room
    from training.synthesis.sentences import EMOTIONAL, NEUTRAL
    from training.synthesis.voice import speak

    pitches, formants = (205, 120, 160, 240), (1.0, 0.86, 0.93, 1.08)
    people = [Speaker(p, f, 1.0, 0.05, 0.0, 1.0) for p, f in zip(pitches, formants, strict=True)]
    for i, text in enumerate(NEUTRAL):
        rng = np.random.default_rng(i)
        samples = speak(text, people[i % 4], Prosody(), rng).samples
        yield Said("generated, quiet", text, samples)
        yield Said("generated, in a room", text, place_in_room(samples, draw_room(rng), rng))
    felt = [(label, text) for label, texts in EMOTIONAL.items() for text in texts]
    for i, (label, text) in enumerate(felt):
        rng = np.random.default_rng(1000 + i)
        samples = speak(text, people[i % 4], PROFILES[label][0], rng).samples
        yield Said("generated, emotional, in a room", text, place_in_room(samples, draw_room(rng), rng))


def espoken() -> Iterator[Said]:
    """Sentences of espeak-ng, in four voices; none where it is not installed."""
    from training.synthesis.sentences import NEUTRAL

    if shutil.which("espeak-ng") is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        for i, text in enumerate(NEUTRAL):
            path, voice = Path(folder) / "said.wav", ("en-gb", "en-us", "en-gb+f3", "en-us+m3")[i % 4]
            subprocess.run(["espeak-ng", "-v", voice, "-s", "150", "-w", str(path), text], check=True)
            yield Said("espeak-ng", text, 0.5 * sound_of(path))


def acted(folder: Path, count: int = 80) -> Iterator[Said]:
    """Clips of RAVDESS, drawn with seed 0.

    Raises:
        InputError: There is no ``labels.csv`` with path and transcript.
    """
    listing = folder / "labels.csv"
    if not listing.is_file():
        raise InputError(f"{listing}: missing; give the folder of RAVDESS with its labels.csv")
    with listing.open() as file:
        rows = list(csv.DictReader(file))
    for i in np.random.default_rng(0).permutation(len(rows))[:count]:
        yield Said("RAVDESS, real people", rows[i]["transcript"], sound_of(folder / rows[i]["path"]))


def unspoken() -> Iterator[Said]:
    """Sounds in which nobody speaks: every text that is believed is made up."""
    from training.synthesis.room import coloured_noise

    rng, seconds = np.random.default_rng(0), np.arange(4 * RATE) / RATE
    for slope in (0.0, 1.0, 2.0):
        for dbfs in (-50, -40, -30, -20, -10):
            sound = coloured_noise(len(seconds), slope, rng) * 10 ** (dbfs / 20)
            yield Said("nobody: noise", "", sound.astype(np.float32))
    for hertz in (50, 120, 220, 440, 880, 1000, 3000):
        held = 0.1 * np.sin(2 * np.pi * hertz * seconds)
        yield Said("nobody: tones and beeps", "", held.astype(np.float32))
        yield Said("nobody: tones and beeps", "", (held * (seconds % 0.7 < 0.3)).astype(np.float32))
    for _ in range(40):
        yield Said("nobody: melodies", "", _melody(rng, len(seconds)))


def _melody(rng: np.random.Generator, count: int) -> Floats:
    """Plucked notes of a scale with overtones, two at a time, at a speed and height that is drawn."""
    step, lowest = int(rng.uniform(0.12, 0.5) * RATE), rng.uniform(110, 440)
    time, sound = np.arange(RATE // 2) / RATE, np.zeros(count + RATE)
    for begin in range(0, count, step):
        for hertz in lowest * 2 ** (rng.choice([0, 2, 4, 5, 7, 9, 11, 12], 2) / 12):
            note = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 6)) * np.exp(-4 * time)
            sound[begin : begin + len(time)] += 0.05 * note
    return sound[:count].astype(np.float32)


def sound_of(path: Path) -> Floats:
    """Sound of a file, 16 kHz, mono."""
    events = read_media(path, sample_rate=RATE)
    return np.concatenate([event.samples for event in events if isinstance(event, AudioEvent)])


def most_of_each(sounds: Sequence[Said], count: int) -> list[Said]:
    """Keep the first ``count`` sounds of every kind."""
    seen: Counter[str] = Counter()
    kept = []
    for sound in sounds:
        seen[sound.kind] += 1
        if seen[sound.kind] <= count:
            kept.append(sound)
    return kept


def measure(whisper: Whisper, sounds: Sequence[Said], pad_s: float, joins: bool) -> dict[str, Tally]:
    """Write down every sound one way."""
    tallies: dict[str, Tally] = {}
    for sound in sounds:
        began = time.thread_time()
        heard = whisper.transcribe(sound.samples[: 30 * RATE], pad_s=pad_s, joins_silence=joins)
        tally = tallies.setdefault(sound.kind, Tally())
        tally.cpu_s.append(time.thread_time() - began)
        tally.no_speech.append(heard.no_speech)
        truth = words(sound.text)
        tally.sounds += 1
        tally.said += len(truth)
        tally.wrong += word_errors(truth, words(heard.text))
        tally.believed += is_voice(sound.samples) and not Doubts().why_not(heard)
        tally.repeated += heard.compression > Doubts().compression or not heard.is_whole
    return tallies


def _resident_mb() -> float:
    """Memory of this process, MB; 0 where the system does not tell."""
    status = Path("/proc/self/statm")
    pages = int(status.read_text().split()[1]) if status.is_file() else 0
    return pages * resource.getpagesize() / 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(prog="python -m model_export.speech_figures", description=__doc__)
    parser.add_argument("--ravdess", type=Path, help="folder of RAVDESS at 16 kHz with labels.csv")
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--each", type=int, default=1000, help="most sounds of a kind")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    given = parser.parse_args(arguments)
    before, began = _resident_mb(), time.thread_time()
    whisper = Whisper.load(threads=1)
    print(f"loading: {time.thread_time() - began:.1f} s, {_resident_mb() - before:.0f} MB", flush=True)
    spoken = [*generated(), *espoken(), *(acted(given.ravdess) if given.ravdess else ())]
    sounds = most_of_each([*spoken, *unspoken()], given.each)
    report = {"model": f"{whisper.layout.name}, {whisper.layout.weights}", "machine": platform.machine()}
    report["ways"] = {}
    for way in given.ways:
        rows = {kind: tally.as_row() for kind, tally in measure(whisper, sounds, *WAYS[way]).items()}
        report["ways"][way] = rows
        for kind, row in rows.items():
            print(f"{way:30} {kind:32} {json.dumps(row)}", flush=True)
    if given.out:
        given.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
