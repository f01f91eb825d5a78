"""Media files as streams: any file FFmpeg reads becomes stamped pictures and 16 kHz mono sound.

Pictures and sound are decoded by two readers of the same file and merged by stamp, so memory stays
constant however badly the file interleaves them. Only local files are opened: a play list inside a
file cannot make the robot open a network connection.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from emollama_ros.errors import InputError
from emollama_ros.preprocess.audio import Resampler, to_float
from emollama_ros.streams.stamps import NS_PER_S, to_duration_ns, to_ns

_LOG = logging.getLogger(__name__)

#: Samples of one ``AudioEvent`` at 16 kHz: 32 ms, the chunk of common ROS microphone drivers.
CHUNK_S = 0.032

#: A jump between audio frames beyond this is a hole in the file, not rounding of its time stamps.
_HOLE_NS = to_ns(0.06)

#: A file that ends this much before its announced duration was cut off.
_MISSING_S = 0.5

#: Weight of each loudspeaker channel in mono, before they are scaled to sum to 1 (ITU-R BS.775: centre
#: 1, front 0.71, surround 0.5). The low-frequency channel carries effects, not speech.
_CHANNEL_WEIGHTS = {"FC": 1.0, "FL": 0.7071, "FR": 0.7071, "LFE": 0.0, "LFE2": 0.0}
_SURROUND_WEIGHT = 0.5

_FIX = "give a video or audio file that plays in ffplay or VLC"


@dataclass(frozen=True)
class MediaInfo:
    """What a file contains.

    Attributes:
        duration_s: Announced duration, s; 0 when the file does not say.
        has_video: It has moving pictures (cover art does not count).
        has_audio: It has sound.
        width: Picture width as displayed (rotation applied), pixels; 0 without video.
        height: Picture height as displayed, pixels; 0 without video.
        fps: Average pictures per second; 0 without video or when unknown.
        rate: Audio samples per second in the file, Hz; 0 without audio.
        channels: Audio channels in the file; 0 without audio.
    """

    duration_s: float
    has_video: bool
    has_audio: bool
    width: int
    height: int
    fps: float
    rate: int
    channels: int


@dataclass(frozen=True)
class VideoEvent:
    """One picture: ``rgb`` is uint8 ``[height, width, 3]``, upright; ``stamp_ns`` counts from 0."""

    stamp_ns: int
    rgb: NDArray[np.uint8]


@dataclass(frozen=True)
class AudioEvent:
    """One chunk of sound: float32 mono ``[n]``, full scale 1; ``stamp_ns`` is that of its first sample."""

    stamp_ns: int
    samples: NDArray[np.float32]


MediaEvent: TypeAlias = VideoEvent | AudioEvent


@dataclass(frozen=True)
class MediaReport:
    """How reading went so far.

    Attributes:
        frames: Pictures decoded.
        samples: Audio samples delivered, at the rate asked for.
        damaged: Packets or pictures that could not be decoded whole and were left out.
        end_s: End of the last datum delivered, s.
        problem: In words, what is wrong with the file; empty when nothing is.
    """

    frames: int = 0
    samples: int = 0
    damaged: int = 0
    end_s: float = 0.0
    problem: str = ""

    @property
    def complete(self) -> bool:
        """Whether all of the file was read without damage (so far, while reading)."""
        return not self.problem and not self.damaged


def open_media(path: str | PathLike[str]) -> MediaInfo:
    """Look into a file without reading it through.

    Args:
        path: A local file of any container and codec that FFmpeg knows.

    Raises:
        InputError: Missing, empty, not media, or without picture and sound; says which and the fix.
    """
    with _open(path) as container:
        video, audio = _video_stream(container), _audio_stream(container)
        if video is None and audio is None:
            raise InputError(f"{path}: has neither picture nor sound that can be decoded; {_FIX}")
        width, height = _display_size(container, video) if video else (0, 0)
        return MediaInfo(
            duration_s=max(0.0, (container.duration or 0) / av.time_base),
            has_video=video is not None,
            has_audio=audio is not None,
            width=width,
            height=height,
            fps=float((video.average_rate or video.guessed_rate or 0) if video else 0),
            rate=audio.codec_context.sample_rate if audio else 0,
            channels=audio.codec_context.channels if audio else 0,
        )


def read_media(path: str | PathLike[str], *, sample_rate: int = 16000) -> MediaReader:
    """Read a file as stamped events in time order.

    Args:
        path: A local file.
        sample_rate: Rate of the sound delivered, Hz.

    Returns:
        An iterator over the events; its ``report`` says what was read and what was wrong.

    Raises:
        InputError: As ``open_media``; and from the iterator when nothing at all could be decoded.
    """
    return MediaReader(path, sample_rate=sample_rate)


class MediaReader(Iterator[MediaEvent]):
    """Iterator over the events of one file, in order of their stamps.

    A damaged file gives what can be decoded and then ends; ``report.problem`` says what is missing, and
    a warning is logged. Not thread-safe; ``close`` (or leaving a ``with`` block) frees the file early.

    Attributes:
        info: What the file contains.
    """

    def __init__(self, path: str | PathLike[str], *, sample_rate: int = 16000) -> None:
        """Open the file; see ``read_media``."""
        self.info = open_media(path)
        self._path = path
        self._tally = _Tally()
        self._rate = sample_rate
        self._events = self._merge()

    @property
    def report(self) -> MediaReport:
        """How reading went so far; final once the iterator has ended."""
        t = self._tally
        return MediaReport(t.frames, t.samples, t.damaged, t.end_s, t.problem)

    def __next__(self) -> MediaEvent:
        """Return the next event.

        Raises:
            InputError: The file ended and nothing could be decoded.
        """
        return next(self._events)

    def close(self) -> None:
        """Stop reading and free the file; iteration then ends."""
        self._events.close()

    def __enter__(self) -> MediaReader:
        """Return the reader itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Free the file."""
        self.close()

    def _merge(self) -> Generator[MediaEvent, None, None]:
        parts: list[Iterator[MediaEvent]] = []
        if self.info.has_video:
            parts.append(_video_events(self._path, self._tally))
        if self.info.has_audio:
            parts.append(_audio_events(self._path, self._rate, self._tally))
        for event in heapq.merge(*parts, key=lambda e: e.stamp_ns):
            self._tally.count(event, self._rate)
            yield event
        self._conclude()

    def _conclude(self) -> None:
        tally = self._tally
        if not tally.frames and not tally.samples:
            raise InputError(f"{self._path}: nothing in it could be decoded; it is damaged. {_FIX}")
        tally.problem = "; ".join(tally.problems(self.info.duration_s))
        if tally.problem:
            _LOG.warning("%s: %s", self._path, tally.problem)


@dataclass
class _Part:
    """How far one stream should go and did go, s."""

    announced_s: float = 0.0
    end_s: float = 0.0

    def lacks(self) -> bool:
        return self.announced_s - self.end_s > _MISSING_S

    def __str__(self) -> str:
        return f"ends at {self.end_s:.2f} s of {self.announced_s:.2f} s announced"


@dataclass
class _Tally:
    """Running counts of one reading."""

    frames: int = 0
    samples: int = 0
    damaged: int = 0
    broken: bool = False
    picture: _Part = field(default_factory=_Part)
    sound: _Part = field(default_factory=_Part)
    problem: str = ""

    @property
    def end_s(self) -> float:
        return max(self.picture.end_s, self.sound.end_s)

    def count(self, event: MediaEvent, rate: int) -> None:
        if isinstance(event, VideoEvent):
            self.frames += 1
            self.picture.end_s = event.stamp_ns / NS_PER_S
        else:
            self.samples += len(event.samples)
            self.sound.end_s = event.stamp_ns / NS_PER_S + len(event.samples) / rate

    def problems(self, duration_s: float) -> Iterator[str]:
        """Say in words what is missing of a file of this announced duration."""
        whole = _Part(duration_s, self.end_s)
        parts = {"it": whole, "its picture": self.picture, "its sound": self.sound}
        short = [f"{name} {part}" for name, part in parts.items() if part.lacks()]
        if short or self.broken:
            yield f"{', '.join(short) or f'it breaks off at {self.end_s:.2f} s'}: cut off or damaged"
        if self.damaged:
            yield f"{self.damaged} damaged packets or pictures were left out"


def _open(path: str | PathLike[str]) -> Any:
    """Open a local file with FFmpeg, or say why not."""
    file = Path(path)
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        raise InputError(f"{path}: {what}; {_FIX}")
    if file.stat().st_size == 0:
        raise InputError(f"{path}: is empty (0 bytes); copy or record it again")
    try:
        # An absolute path cannot be mistaken for "protocol:address".
        return av.open(str(file.resolve()), options={"protocol_whitelist": "file"})
    except (FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path}: is not a readable video or audio file, or is cut off before its index ({reason}); "
            f"{_FIX}"
        ) from error


def _video_stream(container: Any) -> Any:
    """Return the main video stream, or ``None``; cover art and streams without a decoder do not count."""
    moving = [s for s in container.streams.video if s.codec_context and not _is_cover(s)]
    best = container.streams.best("video")
    return best if best in moving else next(iter(moving), None)


def _is_cover(stream: Any) -> bool:
    return "attached_pic" in str(stream.disposition)


def _audio_stream(container: Any) -> Any:
    """Return the main audio stream that can be decoded, or ``None``."""
    sounding = [s for s in container.streams.audio if s.codec_context and s.codec_context.sample_rate]
    best = container.streams.best("audio")
    return best if best in sounding else next(iter(sounding), None)


def _display_size(container: Any, stream: Any) -> tuple[int, int]:
    """Return (width, height) of the first picture; the header does not know of its rotation."""
    for frame in _frames(container, stream, _Tally()):
        return (frame.height, frame.width) if _turns(frame) % 2 else (frame.width, frame.height)
    return stream.codec_context.width, stream.codec_context.height


def _turns(frame: Any) -> int:
    """Return how many quarter turns counter-clockwise make the picture upright, 0 to 3."""
    return int(round(frame.rotation / 90)) % 4


def _frames(container: Any, stream: Any, tally: _Tally) -> Iterator[Any]:
    """Decode one stream, leaving out damaged packets and ending where the file breaks off."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (FFmpegError, OSError):
            tally.broken = True
            packet = None
        if packet is None:
            return
        try:
            frames = packet.decode()
        except FFmpegError:
            tally.damaged += 1
            continue
        whole = [frame for frame in frames if not frame.is_corrupt]
        tally.damaged += len(frames) - len(whole)
        yield from whole


def _origin_ns(container: Any) -> int:
    """Return the time of the file's beginning on its own clock: stamps count from here."""
    starts = [
        _ns(s.start_time, s.time_base)
        for s in (_video_stream(container), _audio_stream(container))
        if s is not None and s.start_time is not None
    ]
    return min(starts, default=0)


def _duration_s(stream: Any) -> float:
    """Return how long a stream says it is, s; 0 when it does not say."""
    return float((stream.duration or 0) * stream.time_base)


def _ns(ticks: int, time_base: Fraction) -> int:
    return round(ticks * time_base * NS_PER_S)


def _stamp(frame: Any, stream: Any, origin_ns: int) -> int | None:
    """Return the frame's time since the beginning of the file, or ``None`` when it has none."""
    if frame.pts is None:
        return None
    return max(0, _ns(frame.pts, frame.time_base or stream.time_base) - origin_ns)


def _video_events(path: str | PathLike[str], tally: _Tally) -> Iterator[MediaEvent]:
    with _open(path) as container:
        stream = _video_stream(container)
        stream.thread_type = "AUTO"
        origin_ns, floor_ns, next_ns = _origin_ns(container), 0, 0
        period_ns = round(NS_PER_S / (stream.average_rate or 25))
        tally.picture.announced_s = max(_duration_s(stream), stream.frames * period_ns / NS_PER_S)
        for frame in _frames(container, stream, tally):
            stamp_ns = _stamp(frame, stream, origin_ns)
            # A broken index may go backwards; the merge and every ring need order.
            floor_ns = max(floor_ns, next_ns if stamp_ns is None else stamp_ns)
            next_ns = floor_ns + period_ns
            yield VideoEvent(floor_ns, _upright(frame))


def _upright(frame: Any) -> NDArray[np.uint8]:
    rgb = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(rgb, _turns(frame)))


def _audio_events(path: str | PathLike[str], rate: int, tally: _Tally) -> Iterator[MediaEvent]:
    with _open(path) as container:
        stream, origin_ns = _audio_stream(container), _origin_ns(container)
        tally.sound.announced_s = _duration_s(stream)
        line = _SoundLine(rate)
        for frame in _frames(container, stream, tally):
            yield from line.add(_stamp(frame, stream, origin_ns), frame.sample_rate, _mono(frame))
        yield from line.end()


def _mono(frame: Any) -> NDArray[np.float32]:
    """Return a decoded frame as float32 ``[n]``: the weighted mean of its channels."""
    data = to_float(frame.to_ndarray())
    count = len(frame.layout.channels)
    planes: NDArray[np.float32] = data if frame.format.is_planar else data.reshape(-1, count).T
    if count == 1:
        return np.ascontiguousarray(planes[0])
    weights = np.array([_CHANNEL_WEIGHTS.get(name, _SURROUND_WEIGHT) for name in _channel_names(frame)])
    total = weights.sum() or 1.0
    mono: NDArray[np.float32] = (weights / total).astype(np.float32) @ planes
    return mono


def _channel_names(frame: Any) -> list[str]:
    """Return the loudspeaker of each channel; where the file does not say, the usual order is taken."""
    names = [channel.name for channel in frame.layout.channels]
    usual = {6: "5.1", 8: "7.1"}.get(len(names))
    if usual is not None and set(names) == {"NONE"}:
        names = [channel.name for channel in av.AudioLayout(usual).channels]
    return names


class _SoundLine:
    """Resamples consecutive frames and cuts them into equal chunks, starting again at every hole."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._size = max(1, round(CHUNK_S * rate))
        self._resampler: Resampler | None = None
        self._pending = np.zeros(0, np.float32)
        self._begin_ns = 0  # stamp of the first sample since the last hole
        self._taken = 0  # samples received since then, at the file's rate
        self._given = 0  # samples delivered since then, at our rate

    def add(self, stamp_ns: int | None, rate_in: int, mono: NDArray[np.float32]) -> Iterator[AudioEvent]:
        """Take one decoded frame; a frame without a stamp continues the one before."""
        if self._resampler is None or self._breaks(self._resampler, stamp_ns, rate_in):
            yield from self.end()
            # Never before what was delivered: events stay in order whatever the file says.
            self._begin_ns = max(stamp_ns or 0, self._next_ns())
            self._resampler, self._taken, self._given = Resampler(rate_in, 1, self._rate), 0, 0
        self._taken += len(mono)
        yield from self._cut(self._resampler.push(mono), self._size)

    def end(self) -> Iterator[AudioEvent]:
        """Deliver what is left, in a last chunk that may be short."""
        if self._resampler is not None:
            yield from self._cut(self._resampler.flush(), 1)
            self._resampler = None

    def _breaks(self, resampler: Resampler, stamp_ns: int | None, rate_in: int) -> bool:
        if rate_in != resampler.rate_in or stamp_ns is None:
            return rate_in != resampler.rate_in
        expected_ns = self._begin_ns + to_duration_ns(self._taken, resampler.rate_in)
        return abs(stamp_ns - expected_ns) > _HOLE_NS

    def _next_ns(self) -> int:
        return self._begin_ns + to_duration_ns(self._given, self._rate)

    def _cut(self, samples: NDArray[np.float32], least: int) -> Iterator[AudioEvent]:
        self._pending = np.concatenate([self._pending, samples])
        while len(self._pending) >= least:
            chunk, self._pending = self._pending[: self._size], self._pending[self._size :]
            yield AudioEvent(self._next_ns(), chunk)
            self._given += len(chunk)
