"""The media of a clip, decoded: the part of the files that is the clip.

`decode_clip` goes through a file once and thins the pictures out; `sound_of` and `frames_of` give one stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from emollama_ros.errors import InputError
from emollama_ros.streams.media import AudioEvent, VideoEvent, read_media
from emollama_ros.streams.stamps import NS_PER_S
from training.mmeverse.schema import Media

#: Pictures kept a second, as the robot keeps them.
FRAME_HZ = 4.0
#: Samples a second of the sound.
RATE = 16_000
#: Longest part of a clip that is looked at, s: what Whisper's encoder takes at once.
LONGEST_S = 30.0
#: Behind the end of every file.
_FAR_NS = 2**62

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
        return DecodedClip(np.zeros(0, np.float32), (prepare(read_picture(root / media.image)),), (0,))
    start_ns, end_ns = span_ns(media, LONGEST_S)
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


def span_ns(media: Media, longest_s: float | None = None) -> tuple[int, int]:
    """Where a clip begins and ends in its files, at most ``longest_s`` apart; far away where not told."""
    start_ns = round((media.start_s or 0.0) * NS_PER_S)
    end_ns = _FAR_NS if media.end_s is None else round(media.end_s * NS_PER_S)
    return start_ns, end_ns if longest_s is None else min(end_ns, start_ns + round(longest_s * NS_PER_S))


def sound_of(path: Path, media: Media, longest_s: float | None = None) -> NDArray[np.float32]:
    """The sound of a clip, float32 (n,), mono 16 kHz; empty where the span holds none.

    Args:
        path: The file to listen to.
        media: Whose span counts.
        longest_s: What is longer is cut off; None takes all.

    Raises:
        InputError: The file is missing or cannot be decoded.
    """
    sound = _Sound(*span_ns(media, longest_s))
    _read(path, sound.end_ns, sound, None)
    return sound.joined()


def frames_of(path: Path, media: Media) -> Iterator[tuple[int, int, Picture]]:
    """Every picture of a clip.

    Args:
        path: The file to look at.
        media: Whose span counts.

    Yields:
        Index of the frame in the file, from 0; its time in the file, ns; RGB uint8 (height, width, 3).

    Raises:
        InputError: The file is missing or cannot be decoded.
    """
    start_ns, end_ns = span_ns(media)
    with read_media(path) as events:
        for index, event in enumerate(event for event in events if isinstance(event, VideoEvent)):
            if event.stamp_ns >= end_ns:
                return
            if event.stamp_ns >= start_ns:
                yield index, event.stamp_ns, event.rgb


class _Sound:
    """Chunks of sound within the span."""

    def __init__(self, start_ns: int, end_ns: int) -> None:
        self._start_ns, self.end_ns = start_ns, end_ns
        self._chunks: list[NDArray[np.float32]] = []

    def add(self, stamp_ns: int, samples: NDArray[np.float32]) -> None:
        first = max(0, round((self._start_ns - stamp_ns) * RATE / NS_PER_S))
        last = max(0, round((self.end_ns - stamp_ns) * RATE / NS_PER_S))
        self._chunks.append(samples[first:last])

    def joined(self) -> NDArray[np.float32]:
        return np.concatenate(self._chunks) if self._chunks else np.zeros(0, np.float32)


class _Pictures:
    """The first picture of each cell of a grid in time."""

    def __init__(self, start_ns: int, end_ns: int, prepare: Callable[[Picture], Picture]) -> None:
        self._start_ns, self._end_ns, self._prepare = start_ns, end_ns, prepare
        self.kept: dict[int, Picture] = {}

    def add(self, stamp_ns: int, rgb: Picture) -> None:
        cell = int((stamp_ns - self._start_ns) * FRAME_HZ / NS_PER_S)
        if self._start_ns <= stamp_ns < self._end_ns and cell not in self.kept:
            self.kept[cell] = self._prepare(rgb)

    def stamps_ns(self) -> list[int]:
        return [round(cell * NS_PER_S / FRAME_HZ) for cell in self.kept]


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


def read_picture(path: Path) -> Picture:
    """A picture file as RGB uint8 (height, width, 3).

    Raises:
        InputError: It is missing, or no picture.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: is not a picture that can be read ({error})") from error
