"""Tiny clips, recordings and pictures. What they show and sound like follows from ``name`` alone.

Two names give different pictures (a pattern of random blocks) and different tones, one name always the
same. Folders are made on the way. The suffix of a path decides the container: mp4, avi, mkv, mov, flv, webm;
wav, flac, mp3, m4a; jpg, png.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

SIZE = 32
FPS = 10
RATE = 16000
SECONDS = 0.3

_VIDEO_CODECS = {".webm": "libvpx", ".flv": "flv"}
_AUDIO_CODECS = {
    ".wav": "pcm_s16le", ".flac": "flac", ".mp3": "libmp3lame", ".m4a": "aac",
    ".mp4": "aac", ".mkv": "aac", ".mov": "aac", ".avi": "pcm_s16le", ".flv": "aac", ".webm": "libopus",
}  # fmt: skip


def write_clip(path: Path, name: str | None = None, seconds: float = SECONDS, *, sound: bool = True) -> Path:
    """Write a clip of 32 x 32 pixels at 10 frames a second, with a tone unless ``sound`` is False.

    Args:
        path: Where; its suffix is the container.
        name: What it shows follows from this; None for the file's name.
        seconds: How long.
        sound: With a tone.
    """
    name = path.name if name is None else name
    with av.open(_ready(path), "w") as out:
        video = out.add_stream(_VIDEO_CODECS.get(path.suffix.lower(), "mpeg4"), rate=FPS)
        video.width, video.height, video.pix_fmt = SIZE, SIZE, "yuv420p"
        tone = out.add_stream(_AUDIO_CODECS[path.suffix.lower()], rate=RATE) if sound else None
        for index in range(max(1, round(seconds * FPS))):
            frame = av.VideoFrame.from_ndarray(picture(name, index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if tone is not None:
            _add_tone(out, tone, name, seconds)
    return path


def write_sound(path: Path, name: str | None = None, seconds: float = SECONDS) -> Path:
    """Write a recording: a tone, 16 kHz mono."""
    with av.open(_ready(path), "w") as out:
        stream = out.add_stream(_AUDIO_CODECS[path.suffix.lower()], rate=RATE)
        _add_tone(out, stream, path.name if name is None else name, seconds)
    return path


def write_picture(path: Path, name: str | None = None) -> Path:
    """Write a still picture."""
    codec, form = ("png", "rgb24") if path.suffix.lower() == ".png" else ("mjpeg", "yuvj420p")
    with av.open(_ready(path), "w", format="image2", options={"update": "1"}) as out:
        stream = out.add_stream(codec, rate=FPS)
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, form
        pixels = picture(path.name if name is None else name)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def write_text(path: Path, lines: Iterable[str], encoding: str = "utf-8") -> Path:
    """Write a text file, a line each."""
    Path(_ready(path)).write_text("".join(f"{line}\n" for line in lines), encoding=encoding, newline="\n")
    return path


def write_table(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], delimiter: str = ","
) -> Path:
    """Write a table with a header line, quoted where it must be."""

    with Path(_ready(path)).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerows([header, *rows])
    return path


def missing(root: Path, records: Iterable[object]) -> list[str]:
    """Files that these records name and that are not under ``root``."""
    return [name for record in records for name in record.media.files() if not (root / name).is_file()]


def picture(name: str, index: int = 0) -> NDArray[np.uint8]:
    """A picture, uint8 [32, 32, 3]: blocks that follow from the name, brighter from frame to frame."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    blocks = random.integers(20, 200, (4, 4, 3)) + 4 * (index % 10)
    return np.kron(blocks, np.ones((SIZE // 4, SIZE // 4, 1))).astype(np.uint8)


def _add_tone(out: av.container.OutputContainer, stream: av.AudioStream, name: str, seconds: float) -> None:
    time = np.arange(round(seconds * RATE)) / RATE
    hertz = 100 + zlib.crc32(name.encode()) % 300
    samples = (6000 * np.sin(2 * np.pi * hertz * time)).astype(np.int16)[None]
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), 0
    out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def _ready(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    return str(path)
