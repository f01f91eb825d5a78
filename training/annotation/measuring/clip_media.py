"""Pictures and sound of a record, its span of the file only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import InputError
from emollama_ros.streams.media import VideoEvent, open_media, read_media
from emollama_ros.streams.stamps import NS_PER_S
from training.annotation.agents import AgentError, Request
from training.mmeverse.schema import Media

#: Rate of all sound here, Hz.
RATE = 16_000


def picture_file(request: Request) -> Path | None:
    """The file to look at; None where the record has no moving picture."""
    return _existing(request.root, request.record.media.video)


def sound_file(request: Request) -> Path | None:
    """The file to listen to: its sound alone if distributed, else its video; None without sound."""
    media = request.record.media
    path = _existing(request.root, media.audio or media.video)
    return path if path is not None and open_whole(path).has_audio else None


def open_whole(path: Path):
    """`open_media`, with its error as the agent's.

    Raises:
        AgentError: The file cannot be read; says why.
    """
    try:
        return open_media(path)
    except InputError as error:
        raise AgentError(str(error)) from None


def _existing(root: Path, name: str | None) -> Path | None:
    if name is None:
        return None
    path = root / name
    if not path.is_file():
        raise AgentError(f"{name}: not found under the root folder; give --root the folder of the source")
    return path


def frames(path: Path, media: Media) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """Decode the pictures of the clip.

    Args:
        path: Video file.
        media: Whose span counts.

    Yields:
        Index of the frame in the file, from 0; its time, ns; RGB uint8 [h, w, 3].
    """
    first, last = _span_ns(media)
    index = -1
    with read_media(path) as events:
        for event in events:
            if not isinstance(event, VideoEvent):
                continue
            index += 1
            if event.stamp_ns >= last:
                return
            if event.stamp_ns >= first:
                yield index, event.stamp_ns, event.rgb


def sound(path: Path, media: Media) -> NDArray[np.float32]:
    """Decode the sound of the clip, float32 [n], mono, 16 kHz; empty where the span holds none."""
    first, last = _span_ns(media)
    pieces = []
    with read_media(path, sample_rate=RATE) as events:
        for event in events:
            if isinstance(event, VideoEvent):
                continue
            if event.stamp_ns >= last:
                break
            pieces.append(_inside(event.samples, event.stamp_ns, first, last))
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def _inside(samples: NDArray[np.float32], stamp_ns: int, first: int, last: float) -> NDArray[np.float32]:
    begin = max(0, round((first - stamp_ns) * RATE / NS_PER_S))
    end = len(samples) if last == float("inf") else max(0, round((last - stamp_ns) * RATE / NS_PER_S))
    return samples[begin:end]


def _span_ns(media: Media) -> tuple[int, float]:
    first = round((media.start_s or 0.0) * NS_PER_S)
    return first, float("inf") if media.end_s is None else media.end_s * NS_PER_S
