"""Clips, records and agents for the tests of the annotation pipeline."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np

from training.annotation.agents import Agent, AgentError, Finding, Request
from training.annotation.limits import Ledger
from training.mmeverse.schema import Media, Record, Task, write_records

LABELS = ("anger", "happiness", "neutral")


def write_clip(path: Path, seed: int, seconds: float = 0.6, fps: int = 10, sound: bool = True) -> None:
    """A grey picture that gets brighter, and a tone; each seed another one."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=fps)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = out.add_stream("aac", rate=16000) if sound else None
        for index in range(round(seconds * fps)):
            grey = np.full((48, 64, 3), (seed * 7 + index * 20) % 256, np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(grey, "rgb24")))
        if audio is not None:
            time = np.arange(round(seconds * 16000)) / 16000
            tone = (0.3 * np.sin(2 * math.pi * (200 + 10 * seed) * time)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
            frame.sample_rate = 16000
            out.mux(audio.encode(frame))
            out.mux(audio.encode(None))
        out.mux(video.encode(None))


def record(index: int, **changes: Any) -> Record:
    """The record of one clip."""
    return Record(
        **{
            "id": f"clip-{index:03}",
            "source": "made_up",
            "split": "train",
            "media": Media(video=f"clip-{index:03}.mp4"),
            "transcript": f"well, this is sentence number {index}",
            "language": "en",
            "task": Task.EMOTION,
            "label_space": LABELS,
            "label": LABELS[index % len(LABELS)],
            **changes,
        }
    )


def write_set(folder: Path, count: int, media: bool = True) -> Path:
    """A file of records beside its clips; returns the file."""
    folder.mkdir(exist_ok=True)
    for index in range(count):
        path = folder / f"clip-{index:03}.mp4"
        write_clip(path, index) if media else path.write_bytes(b"clip %d" % index)
    write_records(map(record, range(count)), folder / "records.jsonl")
    return folder / "records.jsonl"


@dataclass(frozen=True)
class FakeAgent:
    """Says something that depends on all it may depend on, and fails for some clips."""

    role: Any
    writes: str
    model: str = "fake-1"
    prompt: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    is_telling: bool = False

    def annotate(self, request: Request) -> Finding:
        """Says a digest of the clip and what is known of it."""
        if self.is_telling:
            # A pipe is what the test waits on.
            sys.stdout.write(f"{self.role} {request.record.id}\n")
            sys.stdout.flush()
        if request.record.id.endswith("7") and self.role == "visual":
            raise AgentError("nobody to be seen")
        known = request.record.to_line() if self.role == "fusion" else request.record.id
        text = hashlib.sha256(f"{self.role} {known}".encode()).hexdigest()
        value: Any = 3 if self.writes == "clues.peak_frame" else f"words {text[:20]}"
        flags = ("looks odd",) if request.record.id.endswith("4") else ()
        return Finding({self.writes: value}, flags)


@dataclass(frozen=True)
class FakeFactory:
    """Four fake agents, out of order."""

    is_telling: bool = False

    def __call__(self, ledger: Ledger) -> Sequence[Agent]:
        """Make them."""
        parts = {
            "fusion": "reasoning",
            "visual": "clues.visual",
            "audio": "clues.audio",
            "face": "clues.peak_frame",
        }
        return [FakeAgent(role, writes, is_telling=self.is_telling) for role, writes in parts.items()]
