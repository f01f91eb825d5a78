"""What a model behind an endpoint is shown of a clip: a WAV of its sound, JPEGs of some of its frames."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from emollama_ros.errors import InputError
from emollama_ros.streams.media import VideoEvent, open_media, read_media
from emollama_ros.streams.stamps import NS_PER_S
from training.mmeverse.decoding import RATE, read_picture, sound_of
from training.mmeverse.schema import Media, Record

_INT16 = 32767


@dataclass(frozen=True)
class Span:
    """Part of a file, seconds from its beginning; ``end_s`` may be infinite."""

    start_s: float
    end_s: float

    def holds(self, stamp_ns: int) -> bool:
        """Whether a stamp lies in it."""
        return self.start_s <= stamp_ns / NS_PER_S < self.end_s


def span_of(media: Media) -> Span:
    """The part of the files that is the clip."""
    return Span(media.start_s or 0.0, float("inf") if media.end_s is None else media.end_s)


def wav_of(record: Record, root: Path, longest_s: float) -> bytes | None:
    """The clip's sound as a WAV file, 16-bit mono at 16 kHz.

    Args:
        record: The clip.
        root: Folder its media lie in.
        longest_s: What is longer is cut off.

    Returns:
        None where the clip has no sound.

    Raises:
        InputError: A file cannot be read, or the clip lies behind its end.
    """
    file = record.media.audio or record.media.video
    if file is None or not open_media(root / file).has_audio:
        return None
    samples = sound_of(root / file, record.media, longest_s)
    if not len(samples):
        raise InputError(f"{file}: has no sound in the part that is the clip")
    return _wav(samples)


def jpegs_of(record: Record, root: Path, frames: int, longest_side: int, quality: int) -> tuple[bytes, ...]:
    """Frames of the clip as JPEG: its peak frame where that is known, then some from all over it.

    Args:
        record: The clip.
        root: Folder its media lie in.
        frames: How many besides the peak frame, in the middles of as many equal parts of the clip.
        longest_side: Pixels; larger frames are made smaller.
        quality: Of the JPEG, 1 to 95.

    Returns:
        In the order said; nothing where the clip has no picture.

    Raises:
        InputError: A file cannot be read, or the clip lies behind its end.
    """
    if record.media.video is not None and open_media(root / record.media.video).has_video:
        pictures = _frames(root / record.media.video, record, frames)
        if not pictures:
            raise InputError(f"{record.media.video}: has no picture in the part that is the clip")
    elif record.media.image is not None:
        pictures = [read_picture(root / record.media.image)]
    else:
        return ()
    return tuple(_jpeg(picture, longest_side, quality) for picture in pictures)


def _wav(samples: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(samples, -1, 1) * _INT16).round().astype("<i2").tobytes())
    return buffer.getvalue()


def _frames(path: Path, record: Record, count: int) -> list[NDArray[np.uint8]]:
    """The peak frame, then frames of the middles of ``count`` equal parts; fewer where there are fewer."""
    span = span_of(record.media)
    length_s = _length_s(path, span)
    wanted = [span.start_s + (i + 0.5) / count * length_s for i in range(count)]
    peak, shown, chosen = None, None, []
    for index, event in _video(path):
        if index == record.clues.peak_frame:
            peak = event.rgb
        if span.holds(event.stamp_ns):
            # A frame is shown until the next one; the first also before it.
            while wanted and shown is not None and event.stamp_ns / NS_PER_S > wanted[0]:
                chosen.append(shown)
                del wanted[0]
            shown = event.rgb
    if wanted and shown is not None:
        chosen.append(shown)
    if record.clues.peak_frame is not None and peak is None:
        raise InputError(
            f"{path.name}: has no frame {record.clues.peak_frame}, which should be its peak frame"
        )
    chosen = [b for a, b in zip([None, *chosen], chosen, strict=False) if a is not b]
    return chosen if peak is None else [peak, *chosen]


def _video(path: Path) -> Iterator[tuple[int, VideoEvent]]:
    with read_media(path) as events:
        yield from enumerate(event for event in events if isinstance(event, VideoEvent))


def _length_s(path: Path, span: Span) -> float:
    """How long the clip is, of a file that may not say how long it is itself."""
    announced = open_media(path).duration_s
    if not announced:
        announced = max((event.stamp_ns / NS_PER_S for _, event in _video(path)), default=0.0)
    return max(0.0, min(span.end_s, announced) - span.start_s)


def _jpeg(picture: NDArray[np.uint8], longest_side: int, quality: int) -> bytes:
    image = Image.fromarray(picture)
    image.thumbnail((longest_side, longest_side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
