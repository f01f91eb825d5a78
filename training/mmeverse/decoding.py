"""The media of a clip, decoded: the part of the files that is the clip, pictures thinned out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from emollama_ros.errors import InputError
from emollama_ros.streams.media import AudioEvent, read_media
from training.mmeverse.schema import Media

#: Pictures kept a second, as the robot keeps them.
FRAME_HZ = 4.0
#: Samples a second of the sound.
RATE = 16_000
#: Longest part of a clip that is looked at, s: what Whisper's encoder takes at once.
LONGEST_S = 30.0

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class DecodedClip:
    """What can be seen and heard.

    Attributes:
        samples: float32 (n,), 16 kHz mono; empty without sound.
        pictures: uint8 (height, width, 3) each, as ``prepare`` of `decode_clip` left them.
        stamps_ns: Time of each picture since the clip's beginning.
    """

    samples: NDArray[np.float32]
    pictures: tuple[Picture, ...] = ()
    stamps_ns: tuple[int, ...] = ()


def decode_clip(
    media: Media, root: Path, prepare: Callable[[Picture], Picture] = lambda rgb: rgb
) -> DecodedClip:
    """Decode a clip.

    Args:
        media: Which files, and which part of them.
        root: Folder of the source.
        prepare: What is done to each picture that is kept, for example scaling.

    Raises:
        InputError: A file is missing or cannot be decoded, or nothing of it lies in the clip's span.
    """
    if media.image is not None:
        return DecodedClip(np.zeros(0, np.float32), (prepare(_image(root / media.image)),), (0,))
    start_ns = round((media.start_s or 0.0) * 1e9)
    end_ns = min(start_ns + round(LONGEST_S * 1e9), round(media.end_s * 1e9) if media.end_s else 2**62)
    sound, pictures = _Sound(start_ns, end_ns), _Pictures(start_ns, end_ns, prepare)
    separate = media.audio is not None and media.video is not None
    for name in media.files():
        takes_sound = not separate or name == media.audio
        _read(root / name, end_ns, sound if takes_sound else None, pictures if name == media.video else None)
    clip = DecodedClip(sound.joined(), tuple(pictures.kept.values()), tuple(pictures.stamps_ns()))
    if media.files() and not clip.pictures and not len(clip.samples):
        raise InputError(
            f"{root / media.files()[0]}: nothing lies between {media.start_s} and {media.end_s} s"
        )
    return clip


class _Sound:
    """Chunks of sound within the span."""

    def __init__(self, start_ns: int, end_ns: int) -> None:
        self._start_ns, self._end_ns = start_ns, end_ns
        self._chunks: list[NDArray[np.float32]] = []

    def add(self, stamp_ns: int, samples: NDArray[np.float32]) -> None:
        first = max(0, round((self._start_ns - stamp_ns) * RATE / 1e9))
        last = max(0, round((self._end_ns - stamp_ns) * RATE / 1e9))
        self._chunks.append(samples[first:last])

    def joined(self) -> NDArray[np.float32]:
        return np.concatenate(self._chunks) if self._chunks else np.zeros(0, np.float32)


class _Pictures:
    """The first picture of each cell of a grid in time."""

    def __init__(self, start_ns: int, end_ns: int, prepare: Callable[[Picture], Picture]) -> None:
        self._start_ns, self._end_ns, self._prepare = start_ns, end_ns, prepare
        self.kept: dict[int, Picture] = {}

    def add(self, stamp_ns: int, rgb: Picture) -> None:
        cell = int((stamp_ns - self._start_ns) * FRAME_HZ / 1e9)
        if self._start_ns <= stamp_ns < self._end_ns and cell not in self.kept:
            self.kept[cell] = self._prepare(rgb)

    def stamps_ns(self) -> list[int]:
        return [round(cell * 1e9 / FRAME_HZ) for cell in self.kept]


def _read(path: Path, end_ns: int, sound: _Sound | None, pictures: _Pictures | None) -> None:
    with read_media(path, sample_rate=RATE) as events:
        for event in events:
            if event.stamp_ns >= end_ns:
                return
            if isinstance(event, AudioEvent):
                if sound is not None:
                    sound.add(event.stamp_ns, event.samples)
            elif pictures is not None:
                pictures.add(event.stamp_ns, event.rgb)


def _image(path: Path) -> Picture:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError, ValueError) as error:
        raise InputError(f"{path}: is not a picture that can be read ({error})") from error
