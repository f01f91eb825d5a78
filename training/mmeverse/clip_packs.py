"""Decoded clips in one file: what travels to the machine that trains.

Frames are JPEG-coded and thinned to the robot's rate, sound is FLAC at 16 kHz. A video is decoded once,
and the machine that trains needs neither PyAV nor the data sets.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from emollama_ros.preprocess.image import to_model_frame
from training.mmeverse.clips import Clip
from training.mmeverse.decoding import RATE, decode_clip

#: Quality of the JPEGs; their artefacts are one more thing the trunk must not mind.
_JPEG_QUALITY = 88


@dataclass(frozen=True)
class RawClip:
    """A decoded clip.

    Attributes:
        name: ``source/id``.
        person: ``source:person``.
        label: One of ``DEFAULT_LABELS``.
        samples: float32 (n,), 16 kHz mono; empty without sound.
        frames: uint8 (m, 224, 224, 3) at ``FRAME_HZ``; empty without pictures.
    """

    name: str
    person: str
    label: str
    samples: NDArray[np.float32]
    frames: NDArray[np.uint8]


def decode(clip: Clip) -> RawClip:
    """Decode a clip's media into samples and thinned frames."""
    found = decode_clip(clip.media, clip.root, to_model_frame)
    pictures = np.stack(found.pictures) if found.pictures else np.zeros((0, 224, 224, 3), np.uint8)
    return RawClip(f"{clip.source}/{clip.id}", clip.person, clip.label, found.samples, pictures)


def pack(clips: Iterable[RawClip], path: Path) -> None:
    """Write clips to a safetensors file."""
    entries, jpegs, flacs = [], [], []
    for clip in clips:
        pictures = [_jpeg(frame) for frame in clip.frames]
        flac = _flac(clip.samples) if len(clip.samples) else b""
        entries.append(
            {
                "name": clip.name,
                "person": clip.person,
                "label": clip.label,
                "jpegs": [len(p) for p in pictures],
                "flac": len(flac),
            }
        )
        jpegs += pictures
        flacs.append(flac)
    blobs = {"index": json.dumps(entries).encode(), "jpeg": b"".join(jpegs), "flac": b"".join(flacs)}
    save_file(
        {k: torch.from_numpy(np.frombuffer(v or b"\0", np.uint8).copy()) for k, v in blobs.items()}, path
    )


def unpack(path: Path) -> list[RawClip]:
    """Read what ``pack`` wrote."""
    stored = {name: tensor.numpy().tobytes() for name, tensor in load_file(path).items()}
    jpeg, flac = io.BytesIO(stored["jpeg"]), io.BytesIO(stored["flac"])
    return [_read(entry, jpeg, flac) for entry in tqdm(json.loads(stored["index"]), desc=path.stem)]


def counts(path: Path) -> tuple[int, int]:
    """Clips and people of a pack, without decoding any."""
    with safe_open(path, framework="pt") as stored:
        entries = json.loads(stored.get_tensor("index").numpy().tobytes())
    return len(entries), len({entry["person"] for entry in entries})


def _read(entry: dict, jpeg: io.BytesIO, flac: io.BytesIO) -> RawClip:
    pictures = [np.asarray(Image.open(io.BytesIO(jpeg.read(size))).convert("RGB")) for size in entry["jpegs"]]
    samples = np.zeros(0, np.float32)
    if entry["flac"]:
        samples = soundfile.read(io.BytesIO(flac.read(entry["flac"])), dtype="float32")[0]
    frames = np.stack(pictures) if pictures else np.zeros((0, 224, 224, 3), np.uint8)
    return RawClip(entry["name"], entry["person"], entry["label"], samples, frames)


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _flac(samples: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples, -1, 1), RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()
